"""The mask that stands for a narrower config in a model that stays wide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras


class HardMask(keras.layers.Layer):
    """Constants that stand for a narrower config; a layer, so that a model tracks them while it
    holds them, and no longer.

    Args:
      shape: N and D: number of fields, and their largest dimension.
      entries: see `FieldEmbedding.entry_masks`. If None, the config masks no entries.
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
        """Whether a config with these entry masks can be assigned."""
        return (self.entries is None) == (entries is None)

    def assign(
        self, columns: np.ndarray, fields: np.ndarray, entries: Sequence[np.ndarray] | None
    ) -> None:
        """Takes the masks of another config: columns [N, D], fields [N], and entries."""
        self.columns.assign(columns)
        self.fields.assign(fields)
        for variable, mask in zip(self.entries or (), entries or (), strict=True):
            variable.assign(mask)
