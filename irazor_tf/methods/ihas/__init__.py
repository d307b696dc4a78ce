"""iHAS."""

from irazor_tf.methods.ihas import method as method
