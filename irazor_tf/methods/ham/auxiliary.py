"""Algorithm 1 of HAM with any auxiliary mask."""

from __future__ import annotations

import abc
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.methods.ham.equations import (
    chosen,
    column_cosines,
    column_params,
    cosine_orthogonality,
    leading,
    soft_orthogonality,
)
from irazor_tf.methods.ham.gates import MaskGate, OrthogonalityGate
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import SearchMethod, budget_error
from irazor_tf.search.pictures import Bars, HeatMap, Picture
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.steps import Alternating, Joint, Step
from irazor_tf.training.trainer import Trainer

_notices = logging.getLogger("irazor_tf")

# Section 4.3: Adam in all three stages, a fixed number of search epochs. Orthogonality, sizes,
# batch and towers are those of a log (launch/presets/paper_ham_*.flags).
PAPER: dict[str, Any] = {
    "optimizer": "adam(learning_rate=0.001)",
    "alpha_optimizer": "sgd(learning_rate=0.01)",
    "epochs": 10,
    "base_dim": 16,
}


# What section 5 has beside them for the indicator.
PUBLISHED: dict[str, Any] = {
    "alpha_optimizer": "sgd(learning_rate=0.001)",
    "epsilon": 0.01,
    "mu": 5e-5,
    "early_stop": False,
}


class AuxiliaryMasks(SearchMethod):
    """Algorithm 1 with any mask. The soft and random ones do not search for a size: one search
    serves all."""

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings of all masks.

        Args:
          share: s as a share of what is searched, where `size` is not given.
          size: s, the columns to keep in all fields together.
          sweep: other shares worth a point on the curve.
          base_dim: no field is searched wider than this, nor than its number of features; its first
            columns are (section 4.3).
          orthogonality: lambda of equation 1 while pretraining; 0: plain pretraining.
          cosine: whether equation 1 is of columns scaled to length 1 (the paper on Avazu, with
            lambda 1e-6).
          orthogonality_every: take equation 1 in every so many-th batch only, times this number.
          pretrain_epochs, pretrain_patience: of the pretraining; None: the flags'.
          epochs: of the search, at most.
          stages: descending sizes searched before s, each inside what the one before kept (section
            4.5).
          alpha_optimizer: of alpha.
          weights_optimizer: of all else in the search, where that differs from `optimizer`; None:
            that one.
          summed: whether alpha descends the sum of a batch's losses, B times their mean, as which
            the paper's L_batch may be read.
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
            at_least = {
                "size": 1,
                "base_dim": 1,
                "orthogonality": 0,
                "orthogonality_every": 1,
                "epochs": 1,
            }
            for key, least in (at_least | {"pretrain_epochs": 1, "pretrain_patience": 0}).items():
                value = getattr(self, key)
                if value is not None and value < least:
                    raise ValueError(f"`{key}` should be at least {least}. Received: {value}")
            sizes = (*self.stages, self.size or 0)
            if any(later >= sooner for sooner, later in zip(sizes, sizes[1:], strict=False)):
                raise ValueError(
                    "`stages` should be positive and descend, above `size`. Received: "
                    f"{self.stages}, `size` {self.size}"
                )

    presets: dict[str, dict[str, Any]] = {"paper": PAPER, "paper_summed": {**PAPER, "summed": True}}
    derive_only = frozenset({"share", "size", "sweep"})
    init = "continue"
    # Alpha compares columns. Neither the largest nor the mean nor the sum of a field's put noise
    # fields last dependably: of the (strong, noise) pairs of the planted log .5 to 1.0 are in
    # order, by method and seed (docs/results.md).
    ranks_fields = False

    @abc.abstractmethod
    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        """The gate that searches for `size` in `config`."""

    def costs(self, schema: Schema, config: InputConfig) -> np.ndarray:
        """What a column counts in a size, [N, D], 0 in padding."""
        return np.minimum(column_params(schema, config), 1)

    def reach(self, schema: Schema, space: InputConfig) -> InputConfig:
        """The space that is searched: every field at its base dimension, min(base_dim, number of
        features)."""
        most = [
            min(self.params.base_dim, schema.field(name).vocabulary_size) for name in space.kept
        ]
        return chosen(space, np.arange(space.max_dim) < np.array(most)[:, None])

    def goal(self, schema: Schema, space: InputConfig) -> int:
        """s in `space`.

        Raises:
          ValueError: it, or a stage before it, is larger than the space.
        """
        name, whole = self.spec().name, int(self.costs(schema, self.reach(schema, space)).sum())
        size = (
            max(1, round(self.params.share * whole))
            if self.params.size is None
            else self.params.size
        )
        for key, value in [("size", size), *(("stages", stage) for stage in self.params.stages)]:
            if value > whole:
                raise ValueError(
                    f"`{key}` of {name} should be no larger than the space that is searched, "
                    f"{whole:,}. Received: {value:,}"
                )
        if self.params.stages and self.params.stages[-1] <= size:
            raise ValueError(
                f"`stages` of {name} should descend towards the last size, {size:,}. Received: "
                f"{self.params.stages}"
            )
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
        return {"architecture": self.params.alpha_optimizer} | (
            {} if weights is None else {"bias": weights, "network": weights}
        )

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
            return trainer.pretrain(
                config, epochs=params.pretrain_epochs, patience=params.pretrain_patience
            )
        return trainer.pretrain(
            config,
            epochs=params.pretrain_epochs,
            patience=params.pretrain_patience,
            gates={
                "embedding": OrthogonalityGate(
                    params.orthogonality,
                    cosine_orthogonality if params.cosine else soft_orthogonality,
                )
            },
            step=Joint(penalty_every=params.orthogonality_every),
            key=f"orthogonality={params.orthogonality}, cosine={params.cosine}, "
            f"every={params.orthogonality_every}",
        )

    def _search_in(
        self, config: InputConfig, model: Recommender, size: int, trainer: Trainer, name: str
    ) -> Recommender:
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
            FitPlan(
                step=self.step(),
                epochs=self.params.epochs,
                patience=0,
                optimizers=self.optimizers(),
                stop=lambda history: self.stops(
                    history, size, metric, trainer.task.directions[metric]
                ),
            ),
        )
        return supernet

    def stops(
        self, history: Sequence[Mapping[str, float]], size: int, metric: str, direction: int
    ) -> bool:
        """Whether a search ends before `epochs`. Not here: what these masks score is not what their
        columns will (section 3.3)."""
        return False

    def select(self, supernet: Recommender, size: int) -> InputConfig:
        """What a search for `size` keeps: the columns of largest alpha (section 4.2)."""
        return self._leading(supernet, supernet.gates["embedding"].costs, size, "columns")

    def _leading(
        self, supernet: Recommender, costs: np.ndarray, most: int, unit: str = "parameters"
    ) -> InputConfig:
        alpha = supernet.gates["embedding"].alpha.numpy()
        kept = leading(alpha, costs, most)
        if not kept.any():
            raise budget_error(most, int(costs[costs > 0].min()))
        left, used = (costs > 0) & ~kept, int(costs[kept].sum())
        last = alpha[kept].min()
        if tied := np.count_nonzero(left & (alpha == last)):
            message = (
                "%s: %d columns left out have the alpha of the last one kept (%.4g); the "
                "order of the fields decides among them"
            )
            _notices.warning(message, self.spec(), tied, last)
        if left.any() and used < most / 2:
            stop = int(costs[left][np.argmax(alpha[left])])
            message = (
                "%s: the ranking ends at a column with %s %s, and the %s kept are less than "
                "half of the %s allowed"
            )
            _notices.warning(message, self.spec(), f"{stop:,}", unit, f"{used:,}", f"{most:,}")
        return chosen(supernet.config, kept)

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
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
        return type(self)(dataclasses.replace(self.params, size=None)).each(
            "share", self.params.sweep
        )

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        """The sum of a field's alpha, the best guide of several tried, and yet no dependable one
        (see `ranks_fields`)."""
        sums = self.architecture(supernet)["alpha"].sum(axis=1)
        return {name: float(score) for name, score in zip(supernet.config.kept, sums, strict=True)}

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        gate = supernet.gates["embedding"]
        found = {"alpha": gate.alpha.numpy(), "mask": gate.mask(False).numpy()}
        return {name: np.where(gate.exists, values, 0.0) for name, values in found.items()}

    def pictures(self, supernet: Recommender, clusters: Sequence[InputConfig]) -> list[Picture]:
        """Alpha and mask of every column, and the cosines between the columns of the searched
        tables (Figure 5)."""
        gate, config = supernet.gates["embedding"], supernet.config
        drawn: list[Picture] = []
        slots = tuple(map(str, range(config.max_dim)))
        for name, values in self.architecture(supernet).items():
            title = f"{name.capitalize()} of every column"
            drawn.append(
                HeatMap(title, np.where(gate.exists, values, np.nan), config.kept, slots, name)
            )
        assert supernet.embedding is not None
        cosines = {
            name: column_cosines(supernet.embedding.field_table(name))
            for name in config.kept
            if config.fields[name].dim > 1
        }
        if cosines:
            widest = max(cosines, key=lambda name: len(cosines[name]))
            labels = tuple(map(str, config.fields[widest].labels))
            drawn.append(
                HeatMap(
                    f"Cosines between the columns of {widest}",
                    cosines[widest],
                    labels,
                    labels,
                    "|cosine|",
                )
            )
            means = [found[~np.eye(len(found), dtype=bool)].mean() for found in cosines.values()]
            drawn.append(
                Bars(
                    "Cosines between the columns of every field",
                    tuple(cosines),
                    np.array(means),
                    "mean |cosine| of two columns",
                )
            )
        return drawn
