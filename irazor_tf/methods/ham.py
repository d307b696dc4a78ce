"""HAM: embedding columns pruned by hard masks that gradients pass straight through, and the soft and random masks it is compared with.

Xiao, Xiao, Chen and Chen: Field-wise Embedding Size Search via Structural Hard Auxiliary Mask Pruning for Click-Through Rate
Prediction (CEUR 3317, 2022). The four masks of Table 1 share one recipe, Algorithm 1: a model pretrained with near-orthogonal columns,
a search in which validation rows move alpha and training rows the weights, and training that goes on from the searched weights.
"""

from __future__ import annotations

import abc
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.gate import Apply, Gate
from irazor_tf.input_config import InputConfig
from irazor_tf.method import METHODS, SearchMethod, budget_error
from irazor_tf.ops import seed_of
from irazor_tf.pictures import Bars, HeatMap, Picture
from irazor_tf.recommender import Recommender
from irazor_tf.schema import Schema
from irazor_tf.steps import Alternating, Joint, Step
from irazor_tf.trainer import Trainer

_notices = logging.getLogger("irazor_tf")


# The paper's mathematics ----------------------------------------------------------------------------------------------------------


def soft_orthogonality(table: tf.Tensor) -> tf.Tensor:
    """|V^T V - I|_F^2 / d^2 of one table V [rows, d]: its term in equation 1."""
    dim = table.shape[1]
    return tf.reduce_sum(tf.square(tf.matmul(table, table, transpose_a=True) - tf.eye(dim))) / dim**2


def cosine_orthogonality(table: tf.Tensor) -> tf.Tensor:
    """The same of V with its columns scaled to length 1: the squared cosines between them (section 3.2)."""
    return soft_orthogonality(tf.math.l2_normalize(table, axis=0))


def indicator(alpha: tf.Tensor) -> tf.Tensor:
    """1 where alpha > 0, else 0, so also at 0; backwards the identity (equation 2)."""
    return _straight_through(tf.cast(alpha > 0, alpha.dtype), alpha)


def bernoulli(p: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """1 with probability p, by uniform numbers u: where u < p; backwards the identity (Table 1)."""
    return _straight_through(tf.cast(u < p, p.dtype), p)


def gumbel_sigmoid(alpha: tf.Tensor, u: tf.Tensor, temperature: float) -> tf.Tensor:
    """sigmoid((log(alpha / (1 - alpha)) + log(u / (1 - u))) / temperature), alpha and u in (0, 1) (section 4.2)."""
    return tf.sigmoid((_log_odds(alpha) + _log_odds(u)) / temperature)


def some_open(mask: tf.Tensor) -> tf.Tensor:
    """1 - prod_j (1 - mask_ij), [N, D] -> [N]: of a hard mask whether a field has an open column, of probabilities how likely that is."""
    return 1.0 - tf.reduce_prod(1.0 - mask, axis=1)


def _straight_through(value: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    return value + (alpha - tf.stop_gradient(alpha))  # an exact 0


def _log_odds(p: tf.Tensor) -> tf.Tensor:
    return tf.math.log(p) - tf.math.log1p(-p)


def leading(alpha: np.ndarray, costs: np.ndarray, most: int) -> np.ndarray:
    """The columns of largest alpha, up to the first that would bring their costs above `most`; equal ones in their order.

    Where already the first of all costs too much, the first that does not is taken alone.

    Args:
      alpha: [N, D].
      costs: [N, D], 0 in padding.
      most: in the unit of `costs`.

    Returns:
      [N, D] bool; nothing where no column fits.
    """
    order = np.argsort(np.where(costs > 0, -alpha, np.inf), axis=None, kind="stable")[: np.count_nonzero(costs)]
    ranked = costs.ravel()[order]
    taken = order[: np.searchsorted(np.cumsum(ranked), most, side="right")]
    kept = np.zeros(costs.size, bool)
    kept[taken if taken.size else order[ranked <= most][:1]] = True
    return kept.reshape(costs.shape)


def settled(history: Sequence[Mapping[str, float]], size: int, tolerance: float, metric: str, direction: int, min_gain: float) -> bool:
    """Whether the last epoch ended near the size asked for without a gain over the best epoch before that did (section 3.3).

    Epochs far from the size do not count: what has masked little yet scores higher and is not what is looked for.

    Args:
      history: a record per epoch, with "size" and the metric.
      size: s.
      tolerance: share of s by which the size may be off.
      metric, direction: of the validation rows; to grow (1) or to fall (-1).
      min_gain: what counts as a gain.
    """
    values = [direction * record[metric] if abs(record["size"] - size) <= tolerance * size else -np.inf for record in history]
    return len(values) > 1 and values[-1] > -np.inf and values[-1] < max(values[:-1]) + min_gain


# Gates ----------------------------------------------------------------------------------------------------------------------------


class OrthogonalityGate(Gate):
    """Passes everything; adds weight * sum_i measure(V_i) over the fields' tables to the loss of the weights (equation 1).

    Sum, gradient and update run over every row of every table, about rows * d^2 products a step: `Joint(penalty_every=k)` takes them
    in every k-th batch only.

    Args:
      weight: lambda.
      measure: of one table: `soft_orthogonality` or `cosine_orthogonality`.
    """

    def __init__(self, weight: float, measure: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__(name="orthogonality")
        self._weight = weight
        self._measure = measure

    def penalty(self, embedding: keras.layers.Layer, x: tf.Tensor, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        rows: dict[Any, list[int]] = {}
        for piece in embedding.pieces():
            rows.setdefault(piece.variable.ref(), []).append(piece.rows[1] - piece.rows[0])
        # One split per fused table: its gradient is one concatenation, that of a slice per field would be a whole table each.
        fused = zip(embedding.tables, embedding.masked_tables(), strict=True)
        tables = [table for variable, values in fused for table in tf.split(values, rows[variable.ref()])]
        return {"network": self._weight * tf.add_n([self._measure(table) for table in tables])}


class MaskGate(Gate):
    """out_ij = x_ij mask_ij, mask [N, D] a function of alpha [N, D]; padding is masked.

    A hard mask closes a field with its last column; a soft one makes columns small and closes none.

    Args:
      costs: what a column counts in a size, [N, D] whole numbers, 0 in padding.
      start: alpha before the first step.
      lowest, highest: where every step brings alpha back to.
    """

    hard = False  # whether a mask is 0 or 1, and so what is masked as good as removed
    scale = 1.0  # of alpha's gradient, before the optimizer's step

    def __init__(self, costs: np.ndarray, *, start: float, lowest: float, highest: float):
        super().__init__(name="mask")
        self.costs = np.asarray(costs, np.int64)
        self.exists = self.costs > 0
        self._start = start
        self._bounds = (lowest, highest)

    def build(self, input_shape: Any) -> None:
        self.alpha = self.add_architecture("alpha", self.costs.shape, keras.initializers.Constant(self._start))
        super().build(input_shape)

    def mask(self, training: bool) -> tf.Tensor:
        """[N, D]; what it says of padding is not read."""
        return tf.identity(self.alpha)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        return x * (self.mask(training) * tf.cast(self.exists, x.dtype))

    def open_fields(self, training: bool = False) -> tf.Tensor | None:
        return some_open(self.mask(training) * tf.cast(self.exists, self.alpha.dtype)) if self.hard else None

    def update(self, gradients: Sequence[tf.Tensor], apply: Apply) -> None:
        apply([self.scale * gradient for gradient in gradients])
        self.alpha.assign(tf.clip_by_value(self.alpha, *self._bounds))

    def traces(self) -> dict[str, tf.Tensor]:
        """`size`: sum of the mask in evaluation, each column by its cost; `alpha_mean`."""
        size = tf.reduce_sum(tf.cast(self.mask(False), tf.float64) * self.costs.astype(np.float64))
        return {"size": size, "alpha_mean": tf.reduce_mean(tf.boolean_mask(self.alpha, self.exists))}


class IndicatorGate(MaskGate):
    """HAM: mask = 1 where alpha > 0 (equation 2), with a step of its own (equation 3).

    A column whose alpha is exactly 0 is masked: the paper's indicator says so, its Algorithm 1 (masked below 0) leaves it open.

    Args:
      costs: see `MaskGate`.
      size: s, in the unit of `costs`.
      epsilon: alpha before the first step; nothing is masked then.
      drift: mu.
    """

    hard = True

    def __init__(self, costs: np.ndarray, *, size: int, epsilon: float, drift: float):
        super().__init__(costs, start=epsilon, lowest=-np.inf, highest=np.inf)
        self._size = size
        self._drift = drift

    def mask(self, training: bool) -> tf.Tensor:
        return indicator(self.alpha)

    def excess(self) -> tf.Tensor:
        """sign(count - s); whole numbers, since a float would not hold a count of parameters."""
        return tf.sign(tf.reduce_sum(tf.where(self.alpha > 0, self.costs, np.zeros_like(self.costs))) - self._size)

    def update(self, gradients: Sequence[tf.Tensor], apply: Apply) -> None:
        """alpha <- alpha - eta gradient - mu sign(count(alpha) - s), counted before the step (equation 3).

        eta is the optimizer's; mu is not multiplied by it. At the size asked for nothing drifts: sign(0) = 0.
        """
        drift = self._drift * tf.cast(self.excess(), self.alpha.dtype)
        apply([self.scale * gradient for gradient in gradients])
        self.alpha.assign_sub(drift * tf.cast(self.exists, self.alpha.dtype))

    def traces(self) -> dict[str, tf.Tensor]:
        return super().traces() | {"penalty_sign": self.excess()}


class ClippedGate(MaskGate):
    """SAM: mask = alpha, held in [0, 1], starting at 1 where nothing is masked (Table 1)."""

    def __init__(self, costs: np.ndarray):
        super().__init__(costs, start=1.0, lowest=0.0, highest=1.0)


class NoisyGate(MaskGate):
    """A mask with a uniform number u per column and step, the same for all rows, on all replicas and for both batches of a step.

    Alpha starts at 1/2, where it can go either way.

    Args:
      costs: see `MaskGate`.
      margin: alpha is held in [margin, 1 - margin].
      seed: of the noise.
    """

    def __init__(self, costs: np.ndarray, *, margin: float, seed: int):
        super().__init__(costs, start=0.5, lowest=margin, highest=1.0 - margin)
        self._seed = seed_of(seed, "mask")

    def uniform(self) -> tf.Tensor:
        """u [N, D] in (0, 1)."""
        assert self.clock is not None
        seeds = tf.stack([tf.constant(self._seed, tf.int64), tf.cast(self.clock, tf.int64)])
        return tf.maximum(tf.random.stateless_uniform(self.costs.shape, seeds), 2.0**-24)


class GumbelSigmoidGate(NoisyGate):
    """SAM-GS: mask = gumbel_sigmoid(alpha, u, temperature); in evaluation u = 1/2, which is no noise."""

    def __init__(self, costs: np.ndarray, *, temperature: float, margin: float, seed: int):
        super().__init__(costs, margin=margin, seed=seed)
        self._temperature = temperature

    def mask(self, training: bool) -> tf.Tensor:
        u = self.uniform() if training else tf.fill(self.costs.shape, 0.5)
        return gumbel_sigmoid(self.alpha, u, self._temperature)

    def traces(self) -> dict[str, tf.Tensor]:
        return super().traces() | {"temperature": tf.constant(self._temperature)}


class BernoulliGate(NoisyGate):
    """HAM-p: mask = bernoulli(alpha, u), alpha the probabilities; in evaluation their expectation, and that of a field being open."""

    hard = True

    def mask(self, training: bool) -> tf.Tensor:
        return bernoulli(self.alpha, self.uniform()) if training else super().mask(training)


# Columns of a config --------------------------------------------------------------------------------------------------------------


def column_params(schema: Schema, config: InputConfig) -> np.ndarray:
    """Embedding parameters of every column, [N, D] int64, 0 in padding."""
    params = np.zeros((config.num_fields, config.max_dim), np.int64)
    params[config.slots] = config.column_params(schema)
    return params


def chosen(config: InputConfig, kept: np.ndarray) -> InputConfig:
    """`config` with the columns where `kept` [N, D] is true, their entries masked as they were."""
    return dataclasses.replace(config.with_columns(kept[config.slots]), aligned=config.aligned)


def column_cosines(table: np.ndarray) -> np.ndarray:
    """|cosine| between the columns of a table [rows, d]: [d, d]; 0 with a column of zeros."""
    lengths = np.linalg.norm(table.astype(np.float64), axis=0)
    return np.abs(table.T @ table) / np.maximum(np.outer(lengths, lengths), np.finfo(np.float64).tiny)


# Methods --------------------------------------------------------------------------------------------------------------------------


# Section 4.3: Adam in all three stages, a fixed number of search epochs. Orthogonality, sizes, batch and towers are those of a log
# (launch/presets/paper_ham_*.flags).
PAPER: dict[str, Any] = {
    "optimizer": "adam(learning_rate=0.001)",
    "alpha_optimizer": "sgd(learning_rate=0.01)",
    "epochs": 10,
    "base_dim": 16,
}
# What section 5 has beside them for the indicator.
_PUBLISHED: dict[str, Any] = {"alpha_optimizer": "sgd(learning_rate=0.001)", "epsilon": 0.01, "mu": 5e-5, "early_stop": False}


class AuxiliaryMasks(SearchMethod):
    """Algorithm 1 with any mask. The soft and random ones do not search for a size: one search serves all."""

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings of all masks.

        Args:
          share: s as a share of what is searched, where `size` is not given.
          size: s, the columns to keep in all fields together.
          sweep: other shares worth a point on the curve.
          base_dim: no field is searched wider than this, nor than its number of features; its first columns are (section 4.3).
          orthogonality: lambda of equation 1 while pretraining; 0: plain pretraining.
          cosine: whether equation 1 is of columns scaled to length 1 (the paper on Avazu, with lambda 1e-6).
          orthogonality_every: take equation 1 in every so many-th batch only, times this number.
          pretrain_epochs, pretrain_patience: of the pretraining; None: the flags'.
          epochs: of the search, at most.
          stages: descending sizes searched before s, each inside what the one before kept (section 4.5).
          alpha_optimizer: of alpha.
          weights_optimizer: of all else in the search, where that differs from `optimizer`; None: that one.
          summed: whether alpha descends the sum of a batch's losses, B times their mean, as which the paper's L_batch may be read.
        """

        share: float = 0.5
        size: int | None = None
        sweep: tuple[float, ...] = (0.0625, 0.125, 0.25)
        base_dim: int = 16
        orthogonality: float = 1e-3
        cosine: bool = False
        orthogonality_every: int = 1
        pretrain_epochs: int | None = None
        pretrain_patience: int | None = None
        epochs: int = 10
        stages: tuple[int, ...] = ()
        alpha_optimizer: str = "sgd(learning_rate=0.01)"
        weights_optimizer: str | None = None
        summed: bool = False

        def __post_init__(self) -> None:
            super().__post_init__()
            for share in (self.share, *self.sweep):
                if not 0 < share <= 1:
                    raise ValueError(f"`share` and `sweep` should lie in (0, 1]. Received: {share}")
            at_least = {"size": 1, "base_dim": 1, "orthogonality": 0, "orthogonality_every": 1, "epochs": 1}
            for key, least in (at_least | {"pretrain_epochs": 1, "pretrain_patience": 0}).items():
                value = getattr(self, key)
                if value is not None and value < least:
                    raise ValueError(f"`{key}` should be at least {least}. Received: {value}")
            sizes = (*self.stages, self.size or 0)
            if any(later >= sooner for sooner, later in zip(sizes, sizes[1:], strict=False)):
                raise ValueError(f"`stages` should be positive and descend, above `size`. Received: {self.stages}, `size` {self.size}")

    presets: dict[str, dict[str, Any]] = {"paper": PAPER, "paper_summed": {**PAPER, "summed": True}}
    derive_only = frozenset({"share", "size", "sweep"})
    init = "continue"
    # Alpha compares columns. Neither the largest nor the mean nor the sum of a field's put noise fields last dependably: of the
    # (strong, noise) pairs of the planted log .5 to 1.0 are in order, by method and seed (docs/results.md).
    ranks_fields = False

    @abc.abstractmethod
    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        """The gate that searches for `size` in `config`."""

    def costs(self, schema: Schema, config: InputConfig) -> np.ndarray:
        """What a column counts in a size, [N, D], 0 in padding."""
        return np.minimum(column_params(schema, config), 1)

    def reach(self, schema: Schema, space: InputConfig) -> InputConfig:
        """The space that is searched: every field at its base dimension, min(base_dim, number of features)."""
        most = [min(self.params.base_dim, schema.field(name).vocabulary_size) for name in space.kept]
        return chosen(space, np.arange(space.max_dim) < np.array(most)[:, None])

    def goal(self, schema: Schema, space: InputConfig) -> int:
        """s in `space`.

        Raises:
          ValueError: it, or a stage before it, is larger than the space.
        """
        name, whole = self.spec().name, int(self.costs(schema, self.reach(schema, space)).sum())
        size = max(1, round(self.params.share * whole)) if self.params.size is None else self.params.size
        for key, value in [("size", size), *(("stages", stage) for stage in self.params.stages)]:
            if value > whole:
                raise ValueError(f"`{key}` of {name} should be no larger than the space that is searched, {whole:,}. Received: {value:,}")
        if self.params.stages and self.params.stages[-1] <= size:
            raise ValueError(f"`stages` of {name} should descend towards the last size, {size:,}. Received: {self.params.stages}")
        return size

    def check_space(self, trainer: Trainer, space: InputConfig) -> None:
        self.goal(trainer.schema, space)

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        """For a `space` at base dimensions (`reach`)."""
        return {"embedding": self.mask_gate(schema, space, self.goal(schema, space), 0)}

    def step(self) -> Step:
        return Alternating(architecture_first=True)

    def optimizers(self) -> dict[str, str]:
        weights = self.params.weights_optimizer
        return {"architecture": self.params.alpha_optimizer} | ({} if weights is None else {"bias": weights, "network": weights})

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        size = self.goal(trainer.schema, space)
        model = self.pretrained(trainer, self.reach(trainer.schema, space))
        config = model.config
        for i, stage in enumerate(self.params.stages):
            model = self._search_in(config, model, stage, trainer, f"stage-{i}")
            config = model.aligned(self.select(model, stage))
        return self._search_in(config, model, size, trainer, "supernet")

    def pretrained(self, trainer: Trainer, config: InputConfig) -> Recommender:
        """The model that all searches in `config` start from, whatever their size."""
        params = self.params
        if not params.orthogonality:
            return trainer.pretrain(config, epochs=params.pretrain_epochs, patience=params.pretrain_patience)
        return trainer.pretrain(
            config,
            epochs=params.pretrain_epochs,
            patience=params.pretrain_patience,
            gates={"embedding": OrthogonalityGate(params.orthogonality, cosine_orthogonality if params.cosine else soft_orthogonality)},
            step=Joint(penalty_every=params.orthogonality_every),
            key=f"orthogonality={params.orthogonality}, cosine={params.cosine}, every={params.orthogonality_every}",
        )

    def _search_in(self, config: InputConfig, model: Recommender, size: int, trainer: Trainer, name: str) -> Recommender:
        """Masks of `config` on the weights of `model`, searched."""
        with trainer.scope():
            gate = self.mask_gate(trainer.schema, config, size, trainer.seed)
        gate.scale = float(trainer.options.batch_size) if self.params.summed else 1.0
        supernet = trainer.build(config, {"embedding": gate})
        supernet.inherit(model)
        metric = trainer.options.metric
        trainer.fit(
            supernet,
            name,
            step=self.step(),
            epochs=self.params.epochs,
            patience=0,
            optimizers=self.optimizers(),
            stop=lambda history: self.stops(history, size, metric, trainer.task.directions[metric]),
        )
        return supernet

    def stops(self, history: Sequence[Mapping[str, float]], size: int, metric: str, direction: int) -> bool:
        """Whether a search ends before `epochs`. Not here: what these masks score is not what their columns will (section 3.3)."""
        return False

    def select(self, supernet: Recommender, size: int) -> InputConfig:
        """What a search for `size` keeps: the columns of largest alpha (section 4.2)."""
        return self._leading(supernet, supernet.gates["embedding"].costs, size, "columns")

    def _leading(self, supernet: Recommender, costs: np.ndarray, most: int, unit: str = "parameters") -> InputConfig:
        alpha = supernet.gates["embedding"].alpha.numpy()
        kept = leading(alpha, costs, most)
        if not kept.any():
            raise budget_error(most, int(costs[costs > 0].min()))
        left, used = (costs > 0) & ~kept, int(costs[kept].sum())
        last = alpha[kept].min()
        if tied := np.count_nonzero(left & (alpha == last)):
            message = "%s: %d columns left out have the alpha of the last one kept (%.4g); the order of the fields decides among them"
            _notices.warning(message, self.spec(), tied, last)
        if left.any() and used < most / 2:
            stop = int(costs[left][np.argmax(alpha[left])])
            message = "%s: the ranking ends at a column with %s %s, and the %s kept are less than half of the %s allowed"
            _notices.warning(message, self.spec(), f"{stop:,}", unit, f"{used:,}", f"{most:,}")
        return chosen(supernet.config, kept)

    def derive(self, supernet: Recommender, space: InputConfig, budget: int | None = None) -> InputConfig:
        """With a budget: the columns of largest alpha, up to the first that does not fit."""
        if budget is None:
            return self.select(supernet, self.goal(supernet.schema, space))
        costs = column_params(supernet.schema, supernet.config)
        return self._leading(supernet, np.where(self.eligible(supernet), costs, 0), budget)

    def eligible(self, supernet: Recommender) -> np.ndarray:
        """[N, D]: the columns that a budget may be spent on; all of them here."""
        return supernet.gates["embedding"].exists

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        """Other shares; none with stages, which lead to one size."""
        if self.params.stages:
            return []
        return type(self)(dataclasses.replace(self.params, size=None)).each("share", self.params.sweep)

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        """The sum of a field's alpha, the best guide of several tried, and yet no dependable one (see `ranks_fields`)."""
        sums = self.architecture(supernet)["alpha"].sum(axis=1)
        return {name: float(score) for name, score in zip(supernet.config.kept, sums, strict=True)}

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        gate = supernet.gates["embedding"]
        found = {"alpha": gate.alpha.numpy(), "mask": gate.mask(False).numpy()}
        return {name: np.where(gate.exists, values, 0.0) for name, values in found.items()}

    def pictures(self, supernet: Recommender, clusters: Sequence[InputConfig]) -> list[Picture]:
        """Alpha and mask of every column, and the cosines between the columns of the searched tables (Figure 5)."""
        gate, config = supernet.gates["embedding"], supernet.config
        drawn: list[Picture] = []
        slots = tuple(map(str, range(config.max_dim)))
        for name, values in self.architecture(supernet).items():
            title = f"{name.capitalize()} of every column"
            drawn.append(HeatMap(title, np.where(gate.exists, values, np.nan), config.kept, slots, name))
        assert supernet.embedding is not None
        cosines = {name: column_cosines(supernet.embedding.field_table(name)) for name in config.kept if config.fields[name].dim > 1}
        if cosines:
            widest = max(cosines, key=lambda name: len(cosines[name]))
            labels = tuple(map(str, config.fields[widest].labels))
            drawn.append(HeatMap(f"Cosines between the columns of {widest}", cosines[widest], labels, labels, "|cosine|"))
            means = [found[~np.eye(len(found), dtype=bool)].mean() for found in cosines.values()]
            drawn.append(
                Bars("Cosines between the columns of every field", tuple(cosines), np.array(means), "mean |cosine| of two columns")
            )
        return drawn


@METHODS.register("ham")
class HAM(AuxiliaryMasks):
    """Hard masks: what is searched is what is kept. Every size has a search of its own, from one pretraining for all."""

    @dataclasses.dataclass(frozen=True)
    class Params(AuxiliaryMasks.Params):
        """Settings, beside those of all masks.

        Args:
          alpha_optimizer: of alpha.
          epsilon: alpha before the first step.
          mu: by how much every alpha drifts in a step.
          in_parameters: count sizes (`size`, `share`, `stages`) in embedding parameters instead of columns; not in the paper.
          early_stop: end a search at its size as soon as the validation metric gains nothing (section 3.3; off in section 4).
          size_tolerance: share of s by which the size may be off then.
          min_gain: of the metric.
        """

        alpha_optimizer: str = "sgd(learning_rate=0.001)"
        epsilon: float = 0.01
        mu: float = 5e-5
        in_parameters: bool = False
        early_stop: bool = True
        size_tolerance: float = 0.1
        min_gain: float = 1e-4

        def __post_init__(self) -> None:
            super().__post_init__()
            for key in ("epsilon", "mu"):
                if getattr(self, key) <= 0:
                    raise ValueError(f"`{key}` of ham should be above 0. Received: {getattr(self, key)}")
            for key in ("size_tolerance", "min_gain"):
                if getattr(self, key) < 0:
                    raise ValueError(f"`{key}` of ham should be at least 0. Received: {getattr(self, key)}")

    # One batch's gradient in a mask is about 1e-4 (Criteo, 1,024 rows), so at the paper's rate all alphas stay within one step of mu, cross
    # 0 together, and the size jumps; with the gradient of the batch's sum, B times as large, they do not (`paper_summed`).
    presets = {
        "paper": {**PAPER, **_PUBLISHED},
        "paper_summed": {**PAPER, **_PUBLISHED, "summed": True},
        "small_log": {"alpha_optimizer": "sgd(learning_rate=1.0)", "mu": 3e-4, "epochs": 12},
    }
    derive_only = frozenset({"sweep"})

    def costs(self, schema: Schema, config: InputConfig) -> np.ndarray:
        return column_params(schema, config) if self.params.in_parameters else super().costs(schema, config)

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        return IndicatorGate(self.costs(schema, config), size=size, epsilon=self.params.epsilon, drift=self.params.mu)

    def stops(self, history: Sequence[Mapping[str, float]], size: int, metric: str, direction: int) -> bool:
        params = self.params
        return params.early_stop and settled(history, size, params.size_tolerance, metric, direction, params.min_gain)

    def derive(self, supernet: Recommender, space: InputConfig, budget: int | None = None) -> InputConfig:
        """What the search left unmasked; a budget is met by a search for it (`in_parameters`), and cuts what such a one left above it."""
        config, goal = super().derive(supernet, space, budget), self.goal(supernet.schema, space)
        unmasked = self.architecture(supernet)["mask"] > 0
        size = int(supernet.gates["embedding"].costs[unmasked].sum())
        if abs(size - goal) > self.params.size_tolerance * goal:
            _notices.warning("%s: the search ended at size %s, its target is %s (`epochs`, `mu`)", self.spec(), f"{size:,}", f"{goal:,}")
        found, kept = int(column_params(supernet.schema, supernet.config)[unmasked].sum()), config.num_params(supernet.schema)
        if budget is not None and kept < found:
            _notices.warning("%s: of the %s parameters that are not masked the budget keeps %s", self.spec(), f"{found:,}", f"{kept:,}")
        return config

    def eligible(self, supernet: Recommender) -> np.ndarray:
        """The columns that are not masked; where all are, every column, and a warning."""
        unmasked = self.architecture(supernet)["mask"] > 0
        if unmasked.any():
            return unmasked
        _notices.warning("%s: all columns are masked; those of largest alpha that the budget allows are kept", self.spec())
        return super().eligible(supernet)

    def select(self, supernet: Recommender, size: int) -> InputConfig:
        """The columns that are not masked, however many; where all are, the one of largest alpha, and a warning."""
        unmasked = self.architecture(supernet)["mask"] > 0
        if unmasked.any():
            return chosen(supernet.config, unmasked)
        _notices.warning("%s: all columns are masked; the one of largest alpha is kept (a smaller `mu` moves less at a time)", self.spec())
        return self._leading(supernet, super().costs(supernet.schema, supernet.config), 1, "columns")


# At the paper's rate alpha moves by thousandths in an epoch (see `HAM.presets`).
SMALL_LOG: dict[str, dict[str, Any]] = {"small_log": {"alpha_optimizer": "sgd(learning_rate=1.0)", "epochs": 4}}


@METHODS.register("sam")
class SAM(AuxiliaryMasks):
    """Soft masks."""

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        return ClippedGate(self.costs(schema, config))


@METHODS.register("sam_gs")
class SAMGS(AuxiliaryMasks):
    """Soft masks with Gumbel-sigmoid noise."""

    presets = AuxiliaryMasks.presets | SMALL_LOG

    @dataclasses.dataclass(frozen=True)
    class Params(AuxiliaryMasks.Params):
        """Settings, beside those of all masks.

        Args:
          temperature: lambda of the Gumbel-sigmoid, in the paper 1, 0.1 or 0.01.
          margin: alpha is held in [margin, 1 - margin].
        """

        temperature: float = 0.1
        margin: float = 1e-3

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.temperature <= 0:
                raise ValueError(f"`temperature` of sam_gs should be above 0. Received: {self.temperature}")
            if not 0 < self.margin < 0.5:
                raise ValueError(f"`margin` of sam_gs should lie in (0, 0.5). Received: {self.margin}")

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        params = self.params
        return GumbelSigmoidGate(self.costs(schema, config), temperature=params.temperature, margin=params.margin, seed=seed)


@METHODS.register("ham_p")
class HAMP(AuxiliaryMasks):
    """Hard masks drawn by Bernoulli probabilities."""

    presets = AuxiliaryMasks.presets | SMALL_LOG

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        return BernoulliGate(self.costs(schema, config), margin=0.0, seed=seed)
