"""The soft selection layer of DNIS, which multiplies embeddings by alpha, and the merging of alpha
into the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.model.gate import Apply, Gate


def normalize_rows(gradients: tf.Tensor, widths: tf.Tensor, epsilon: float) -> tf.Tensor:
    """g_lk / (sum_k |g_lk| / K_l + epsilon), equation 8: every block's gradient on the same scale,
    however many rows of the batch it is in.

    Args:
      gradients: g, [L, D], zero beyond a block's width.
      widths: K_l, the blocks' widths, [L, 1] float.
      epsilon: epsilon_g, above 0; keeps a block that the batch does not touch at zero.
    """
    return gradients / (tf.reduce_sum(tf.abs(gradients), axis=1, keepdims=True) / widths + epsilon)


def merge(table: np.ndarray, alpha: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Merged embeddings of a field's features, e_v * alpha_block(v), [V, d] (equation 4).

    Args:
      table: The field's embeddings e, [V, d].
      alpha: The factors of all blocks, [L, D].
      blocks: Block of every feature, [V].
    """
    return table * alpha[blocks, : table.shape[1]]


class SoftSelection(Gate):
    """The soft selection layer: out = x * alpha_block(id), where alpha [L, D], a factor per block
    of features and dimension, starts at 1 and stays in [0, 1] (equation 4).

    Args:
      blocks: Block of every feature of every kept field, N arrays [V].
      dims: Widths of the kept fields, [N]; what lies beyond is padding, and no part of alpha.
      epsilon: epsilon_g of the gradients' normalisation (equation 8), above 0.
      l1: Weight of sum |alpha| in the loss of alpha, at least 0.
    """

    def __init__(
        self,
        blocks: Sequence[np.ndarray],
        dims: Sequence[int],
        *,
        epsilon: float = 1e-7,
        l1: float = 0.0,
    ):
        super().__init__(name="soft_selection")
        self.field_blocks = tuple(np.asarray(field, np.int32) for field in blocks)
        self._epsilon = epsilon
        self._l1 = l1
        self.used = np.zeros((1 + max(int(field.max()) for field in blocks), max(dims)), bool)
        for field, dim in zip(blocks, dims, strict=True):
            self.used[np.unique(field), :dim] = True
        self._used = self.used.astype(np.float32)
        self._widths = self._used.sum(axis=1, keepdims=True)
        self._offsets = np.cumsum([0, *(len(field) for field in blocks[:-1])]).astype(np.int64)

    def build(self, input_shape: Any) -> None:
        self.alpha = self.add_architecture("alpha", self.used.shape, "ones")
        # A variable, because a constant as long as the vocabularies would stand in every graph.
        every = np.concatenate(self.field_blocks)
        constant = keras.initializers.Constant(every)
        self.blocks = self.add_weight(
            "blocks", every.shape, tf.int32, initializer=constant, trainable=False
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        blocks = tf.gather(self.blocks, tf.cast(ids, tf.int64) + self._offsets)
        return x * tf.gather(self.alpha, blocks)

    def penalty(
        self, embedding: keras.layers.Layer, x: tf.Tensor, ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return {"architecture": self._l1 * tf.reduce_sum(tf.abs(self.alpha) * self._used)}

    def update(self, gradients: Sequence[tf.Tensor], apply: Apply) -> None:
        """A step of alpha by normalised gradients, after which alpha is clipped to [0, 1]
        (Algorithm 1, lines 8 and 9)."""
        (gradient,) = gradients
        apply([normalize_rows(gradient, self._widths, self._epsilon)])
        self.alpha.assign(tf.clip_by_value(self.alpha, 0.0, 1.0))

    def fold(self, embedding: keras.layers.Layer) -> None:
        alpha = self.alpha.numpy()
        blocks = dict(zip(embedding.fields, self.field_blocks, strict=True))
        tables: dict[Any, tuple[tf.Variable, np.ndarray]] = {}
        for piece in embedding.pieces():
            variable, table = tables.setdefault(
                piece.variable.ref(), (piece.variable, piece.variable.numpy())
            )
            first, last = piece.rows
            table[first:last] = merge(table[first:last], alpha, blocks[piece.key.split("/", 1)[1]])
        for variable, table in tables.values():
            variable.assign(table)

    def traces(self) -> dict[str, tf.Tensor]:
        entries = self._used.sum()
        at_zero = tf.cast(tf.equal(self.alpha, 0.0), tf.float32) * self._used
        return {
            "alpha_mean": tf.reduce_sum(self.alpha * self._used) / entries,
            "alpha_at_zero": tf.reduce_sum(at_zero) / entries,
            "alpha_l1": self.penalty(None, None, None)["architecture"],
        }
