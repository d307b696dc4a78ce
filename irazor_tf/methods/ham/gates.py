"""The gates of HAM and of its ablations SAM, SAM-GS and HAM-p."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.seeds import seed_of
from irazor_tf.methods.ham.equations import bernoulli, gumbel_sigmoid, indicator, some_open
from irazor_tf.model.gate import Apply, Gate


class OrthogonalityGate(Gate):
    """A gate for pretraining: it leaves embeddings as they are, and adds weight * sum_i
    measure(V_i), the sum over the fields' tables, to the loss of the weights (equation 1).

    Sum, gradient and update run over every row of every table, about rows * d^2 products a step;
    `Joint(penalty_every=k)` computes them for every k-th batch only.

    Args:
      weight: Factor of the penalty, lambda.
      measure: Penalty of one table [rows, d], `soft_orthogonality` or `cosine_orthogonality`.
    """

    def __init__(self, weight: float, measure: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__(name="orthogonality")
        self.weight = weight
        self.measure = measure

    def penalty(
        self, embedding: keras.layers.Layer, x: tf.Tensor, ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        rows: dict[Any, list[int]] = {}
        for piece in embedding.pieces():
            rows.setdefault(piece.variable.ref(), []).append(piece.rows[1] - piece.rows[0])
        # One split per fused table: its gradient is one concatenation, that of a slice per field
        # would be a whole table each.
        fused = zip(embedding.tables, embedding.masked_tables(), strict=True)
        tables = [
            table for variable, values in fused for table in tf.split(values, rows[variable.ref()])
        ]
        return {"network": self.weight * tf.add_n([self.measure(table) for table in tables])}


class MaskGate(Gate):
    """A mask on embedding columns, the same for all rows: out_ij = x_ij mask_ij, where mask [N, D]
    is a function of the parameters alpha [N, D]. Padding is masked. This base class has mask =
    alpha.

    A hard mask that closes all columns of a field closes the field; a soft one makes columns small
    and closes no field.

    Args:
      costs: What a column counts in a size, [N, D] whole numbers, 0 in padding.
      start: Alpha before the first step.
      lowest, highest: Ends of the interval to which alpha is clipped after every step.

    Attributes:
      hard: Whether the mask is 0 or 1 while training, so that a masked column acts as if removed.
      scale: Factor by which alpha's gradient is multiplied before the optimizer's step.
      exists: Columns that are not padding, [N, D] bool.
    """

    hard = False
    scale = 1.0

    def __init__(self, costs: np.ndarray, *, start: float, lowest: float, highest: float):
        super().__init__(name="mask")
        self.costs = np.asarray(costs, np.int64)
        self.exists = self.costs > 0
        self._start = start
        self._bounds = (lowest, highest)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest alpha, to which every step brings it back."""
        return self._bounds

    def build(self, input_shape: Any) -> None:
        self.alpha = self.add_architecture(
            "alpha", self.costs.shape, keras.initializers.Constant(self._start)
        )
        super().build(input_shape)

    def mask(self, training: bool) -> tf.Tensor:
        """The mask, [N, D]; its values in padding are ignored.

        Args:
          training: Whether the mask is that of a training pass (which may be random), or that of an
            evaluation.
        """
        return tf.identity(self.alpha)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays "alpha" and "mask" (the mask of an evaluation), [N, D] each, 0 in padding."""
        arrays = {"alpha": self.alpha.numpy(), "mask": self.mask(False).numpy()}
        return {name: np.where(self.exists, values, 0.0) for name, values in arrays.items()}

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        return x * (self.mask(training) * tf.cast(self.exists, x.dtype))

    def open_fields(self, training: bool = False) -> tf.Tensor | None:
        if not self.hard:
            return None
        return some_open(self.mask(training) * tf.cast(self.exists, self.alpha.dtype))

    def update(self, gradients: Sequence[tf.Tensor], apply: Apply) -> None:
        apply([self.scale * gradient for gradient in gradients])
        self.alpha.assign(tf.clip_by_value(self.alpha, *self.bounds))

    def traces(self) -> dict[str, tf.Tensor]:
        """`size`, the sum of the evaluation's mask with each column weighted by its cost, and
        `alpha_mean`."""
        size = tf.reduce_sum(tf.cast(self.mask(False), tf.float64) * self.costs.astype(np.float64))
        return {
            "size": size,
            "alpha_mean": tf.reduce_mean(tf.boolean_mask(self.alpha, self.exists)),
        }


class IndicatorGate(MaskGate):
    """The mask of HAM: 1 where alpha > 0, else 0 (equation 2). Its update also lets alpha drift
    towards the wanted size (equation 3).

    A column whose alpha is exactly 0 is masked: the paper's indicator says so, its Algorithm 1
    (masked below 0) leaves it open.

    Args:
      costs: See `MaskGate`.
      size: s, the size searched for, in the unit of `costs`.
      epsilon: Alpha before the first step, above 0, so that nothing is masked then.
      drift: mu, the distance by which every alpha drifts in a step.
    """

    hard = True

    def __init__(self, costs: np.ndarray, *, size: int, epsilon: float, drift: float):
        super().__init__(costs, start=epsilon, lowest=-np.inf, highest=np.inf)
        self.size = size
        self._drift = drift

    def mask(self, training: bool) -> tf.Tensor:
        return indicator(self.alpha)

    def unmasked(self) -> np.ndarray:
        """Which columns are open, [N, D] bool."""
        return self.arrays()["mask"] > 0

    def excess(self) -> tf.Tensor:
        """sign(count - s): 1 where the open columns count more than the size s, -1 where less, 0
        where the same. Computed in whole numbers, since a float would not hold a count of
        parameters."""
        counted = tf.where(self.alpha > 0, self.costs, np.zeros_like(self.costs))
        return tf.sign(tf.reduce_sum(counted) - self.size)

    def update(self, gradients: Sequence[tf.Tensor], apply: Apply) -> None:
        """One step of alpha: alpha <- alpha - eta gradient - mu sign(count(alpha) - s), where count
        is taken before the step (equation 3).

        eta is the optimizer's learning rate; mu is not multiplied by it. At the wanted size nothing
        drifts, because sign(0) = 0.
        """
        drift = self._drift * tf.cast(self.excess(), self.alpha.dtype)
        apply([self.scale * gradient for gradient in gradients])
        self.alpha.assign_sub(drift * tf.cast(self.exists, self.alpha.dtype))

    def traces(self) -> dict[str, tf.Tensor]:
        return super().traces() | {"penalty_sign": self.excess()}


class ClippedGate(MaskGate):
    """The mask of SAM: mask = alpha, clipped to [0, 1]; it starts at 1, where nothing is masked
    (Table 1)."""

    def __init__(self, costs: np.ndarray):
        super().__init__(costs, start=1.0, lowest=0.0, highest=1.0)


class NoisyGate(MaskGate):
    """Base of random masks: a uniform random number u per column and step, which is the same for
    all rows, on all replicas and for both batches of a step.

    Alpha starts at 1/2, from where it can go either way.

    Args:
      costs: See `MaskGate`.
      margin: Distance that alpha keeps from 0 and from 1.
      seed: Seed of the noise.
    """

    def __init__(self, costs: np.ndarray, *, margin: float, seed: int):
        super().__init__(costs, start=0.5, lowest=margin, highest=1.0 - margin)
        self._seed = seed_of(seed, "mask")

    def uniform(self) -> tf.Tensor:
        """The random numbers u of the current step, [N, D] in (0, 1)."""
        assert self.clock is not None
        seeds = tf.stack([tf.constant(self._seed, tf.int64), tf.cast(self.clock, tf.int64)])
        return tf.maximum(tf.random.stateless_uniform(self.costs.shape, seeds), 2.0**-24)


class GumbelSigmoidGate(NoisyGate):
    """The mask of SAM-GS: gumbel_sigmoid(alpha, u, temperature). In evaluation u = 1/2, which adds
    no noise.

    Args:
      costs, margin, seed: See `NoisyGate`.
      temperature: See `gumbel_sigmoid`.
    """

    def __init__(self, costs: np.ndarray, *, temperature: float, margin: float, seed: int):
        super().__init__(costs, margin=margin, seed=seed)
        self._temperature = temperature

    def mask(self, training: bool) -> tf.Tensor:
        u = self.uniform() if training else tf.fill(self.costs.shape, 0.5)
        return gumbel_sigmoid(self.alpha, u, self._temperature)

    def traces(self) -> dict[str, tf.Tensor]:
        return super().traces() | {"temperature": tf.constant(self._temperature)}


class BernoulliGate(NoisyGate):
    """The mask of HAM-p: bernoulli(alpha, u), where alpha holds the probabilities. In evaluation
    the mask is alpha itself, its expectation, and a field is open by the probability that one of
    its columns is."""

    hard = True

    def mask(self, training: bool) -> tf.Tensor:
        return bernoulli(self.alpha, self.uniform()) if training else super().mask(training)
