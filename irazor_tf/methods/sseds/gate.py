"""The mask of SSEDS: a factor of 1 at every column, by which the loss is differentiated."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from irazor_tf.model.gate import Gate


class OnesMask(Gate):
    """A mask of ones: out = x * alpha with alpha = 1, which changes nothing but has a gradient
    (equations 8 and 10).

    Where alpha is set to the zeros and ones of equation 12, a field whose columns are all at 0 is
    closed: pruned as a whole (section 3.2.3).

    Args:
      real: Which positions of the padded [N, D] are columns and not padding, bool.
    """

    def __init__(self, real: np.ndarray):
        super().__init__(name="mask")
        self._real = np.asarray(real, bool)

    def build(self, input_shape: Any) -> None:
        self.alpha = self.add_architecture("alpha", self._real.shape, "ones")
        super().build(input_shape)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        return x * self.alpha

    def open_fields(self, training: bool = False) -> tf.Tensor | None:
        return tf.cast(tf.reduce_any((self.alpha != 0.0) & self._real, axis=1), self.alpha.dtype)
