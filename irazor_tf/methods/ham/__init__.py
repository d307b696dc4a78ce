"""HAM, SAM, SAM-GS and HAM-p."""

from irazor_tf.methods.ham import method as method
