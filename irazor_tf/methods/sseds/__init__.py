"""SSEDS."""

from irazor_tf.methods.sseds import method as method
