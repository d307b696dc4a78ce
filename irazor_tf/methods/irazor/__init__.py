"""i-Razor."""

from irazor_tf.methods.irazor import method as method
