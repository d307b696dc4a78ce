"""A mask of zeros and ones that makes a wide model score like the narrower model of another
config."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras


class HardMask(keras.layers.Layer):
    """The constants by which a wide model scores as if it were built for a narrower config. They
    are the weights of a Keras layer, so that a model tracks them exactly as long as it holds the
    layer. All are zero until `assign` is called.

    Args:
      shape: N and D, the number of fields and the largest dimension of the wide model.
      entries: The masks of single table entries, as `FieldEmbedding.entry_masks` gives them, for
        their shapes. If None, the narrower config masks no entries.
    """

    def __init__(self, shape: tuple[int, int], entries: Sequence[np.ndarray] | None):
        super().__init__(name="hard_mask", trainable=False)
        self.columns = self.add_weight("columns", shape, initializer="zeros")
        self.fields = self.add_weight("fields", shape[:1], initializer="zeros")
        self.entries: list[tf.Variable] | None = None
        if entries is not None:
            self.entries = [
                self.add_weight(f"entries_{i}", mask.shape, tf.bool, initializer="zeros")
                for i, mask in enumerate(entries)
            ]

    def takes(self, entries: Sequence[np.ndarray] | None) -> bool:
        """Whether `assign` accepts entry masks like these: a mask has room for them only if it was
        made with some."""
        return (self.entries is None) == (entries is None)

    def assign(
        self, columns: np.ndarray, fields: np.ndarray, entries: Sequence[np.ndarray] | None
    ) -> None:
        """Takes the values of another narrower config.

        Args:
          columns: [N, D]. 1 for a kept column, else 0.
          fields: [N]. 1 for a kept field, else 0.
          entries: The masks of single table entries, as `FieldEmbedding.entry_masks` gives them.
            None for a mask that was made without.
        """
        self.columns.assign(columns)
        self.fields.assign(fields)
        for variable, mask in zip(self.entries or (), entries or (), strict=True):
            variable.assign(mask)
