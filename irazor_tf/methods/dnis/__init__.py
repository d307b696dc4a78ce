"""DNIS."""

from irazor_tf.methods.dnis import method as method
