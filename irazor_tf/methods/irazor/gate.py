"""The gate of i-Razor: a softmax over the candidate regions of every field, by whose weights the
embedding columns are multiplied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.methods.irazor import regions
from irazor_tf.model.gate import Apply, Gate

RECENT_STEPS = 32  # steps of which the course of alpha is kept


class RegionGate(Gate):
    """Batch norm without scale and centre, then each column times its region's softmax weight
    (equations 2 to 4).

    x'_ij = (x_ij - mean_ij(B)) / sqrt(var_ij(B) + eps) out_ij = x'_ij alpha_i,region(j) alpha_i =
    softmax(w_i / tau)

    Args:
      candidates: Candidate dimensions of every kept field, ascending; between two of them lies a
        region.
      size_weights: Weights of the fields in the size penalty, [N]; |f_i| / sum_j |f_j| in the
        paper.
      temperature: tau of the softmax.
      penalty_weight: lambda, the weight of the size penalty in the loss.
      normalize: Whether the batch norm is applied; if not, x' = x.
      batch_statistics: Whether the batch norm uses the batch's mean and variance while training. If
        not, it stays at mean 0 and variance 1, as in the authors' code.
      epsilon: Small constant that the batch norm adds to the variance.
    """

    def __init__(
        self,
        candidates: Sequence[Sequence[int]],
        size_weights: np.ndarray,
        *,
        temperature: float,
        penalty_weight: float,
        normalize: bool = True,
        batch_statistics: bool = True,
        epsilon: float = 1e-3,
    ):
        super().__init__(name="regions")
        self._temperature = temperature
        self._penalty_weight = penalty_weight
        self._size_weights = np.asarray(size_weights, np.float32)
        self._batch_statistics = batch_statistics
        self.num_fields = len(candidates)
        self.max_dim = max(dims[-1] for dims in candidates)
        self.num_regions = max(len(dims) for dims in candidates)
        self.sizes = np.zeros((self.num_fields, self.num_regions), np.float32)
        self._exists = np.zeros((self.num_fields, self.num_regions), bool)
        self._regions = np.zeros((self.num_fields, self.max_dim), np.int32)
        for i, dims in enumerate(candidates):
            self.sizes[i, : len(dims)] = regions.region_sizes(dims)
            self._exists[i, : len(dims)] = True
            self._regions[i, : dims[-1]] = regions.column_regions(dims)
        self.norm = None
        if normalize:
            self.norm = keras.layers.BatchNormalization(
                axis=-1,
                center=False,
                scale=False,
                epsilon=epsilon,
                momentum=0.9,
                synchronized=True,
                name="norm",
            )

    def build(self, input_shape: Any) -> None:
        self.logits = self.add_architecture("logits", (self.num_fields, self.num_regions), "zeros")
        self.recent = self.add_record(
            "recent_alpha", (RECENT_STEPS, self.num_fields, self.num_regions)
        )
        super().build(input_shape)

    def alpha(self) -> tf.Tensor:
        """The weights of the regions, alpha = softmax(w / tau) (equation 2), [N, K]; 0 for regions
        that a field does not have."""
        return tf.nn.softmax(
            tf.where(self._exists, self.logits / self._temperature, -np.inf), axis=1
        )

    def alpha_values(self) -> np.ndarray:
        """The present `alpha` as a numpy array, [N, K] float64."""
        return self.alpha().numpy().astype(np.float64)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        if self.norm is not None:
            flat = tf.reshape(x, (-1, self.num_fields * self.max_dim))
            normed = self.norm(flat, training=training and self._batch_statistics)
            x = tf.reshape(normed, (-1, self.num_fields, self.max_dim))
        return x * tf.gather(self.alpha(), self._regions, axis=1, batch_dims=1)

    def update(self, gradients: Sequence[tf.Tensor], apply: Apply) -> None:
        """Moves the logits w, and records the alpha that results in place of the oldest record."""
        apply(gradients)
        self.recent.assign(tf.concat([self.recent[1:], self.alpha()[tf.newaxis]], axis=0))

    def course(self) -> np.ndarray:
        """Alpha after each of the last steps, the newest last, [T, N, K]; T is at most
        `RECENT_STEPS`, and less if alpha has been moved less often."""
        recent = self.recent.numpy().astype(np.float64)
        return recent[recent.any(axis=(1, 2))]

    def penalty(
        self, embedding: keras.layers.Layer, x: tf.Tensor, ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The size penalty, lambda sum_i weight_i sum_m c_m alpha_im (equations 5 and 6)."""
        expected_dims = tf.reduce_sum(self.sizes * self.alpha(), axis=1)
        return {
            "architecture": self._penalty_weight * tf.reduce_sum(self._size_weights * expected_dims)
        }

    def traces(self) -> dict[str, tf.Tensor]:
        alpha = self.alpha()
        entropy = -tf.reduce_mean(tf.reduce_sum(tf.math.xlogy(alpha, alpha), axis=1))
        return {
            "alpha_entropy": entropy,
            "alpha_first_region": tf.reduce_mean(alpha[:, 0]),
            "size_penalty": self.penalty(None, None, None)["architecture"],
        }
