"""Algorithm 1 of HAM with any auxiliary mask."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.methods.ham.equations import (
    chosen,
    column_params,
    cosine_orthogonality,
    leading,
    soft_orthogonality,
)
from irazor_tf.methods.ham.gates import MaskGate, OrthogonalityGate
from irazor_tf.methods.ham.pictures import mask_pictures
from irazor_tf.methods.ham.settings import PRESETS, MaskSettings
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.budget import budget_error
from irazor_tf.search.method import (
    Explanation,
    Search,
    SearchMethod,
    Traits,
    build_supernet,
    group_optimizers,
    variants,
)
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.steps import Alternating, Joint, Step


class AuxiliaryMasks(SearchMethod):
    """Algorithm 1 with any mask.

    The soft and random masks do not search for a size: one search serves all sizes."""

    Params = MaskSettings
    presets = PRESETS
    traits = Traits(
        init="continue",
        derive_only=frozenset({"share", "size", "sweep"}),
        # Alpha compares columns. Neither the largest nor the mean nor the sum of a field's put
        # noise fields last dependably: of the (strong, noise) pairs of the planted log .5 to 1.0
        # are in order, by method and seed (docs/results.md).
        ranks_fields=False,
    )

    @abc.abstractmethod
    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        """The gate that searches for `size` in `config`."""

    def costs(self, schema: Schema, config: InputConfig) -> np.ndarray:
        """What a column counts in a size, [N, D], 0 in padding."""
        return np.minimum(column_params(schema, config), 1)

    def reach(self, schema: Schema, space: InputConfig) -> InputConfig:
        """The space that is searched: every field at its base dimension, min(base_dim, number of
        features)."""
        base_dims = [
            min(self.params.base_dim, schema.field(name).vocabulary_size) for name in space.kept
        ]
        return chosen(space, np.arange(space.max_dim) < np.array(base_dims)[:, None])

    def goal(self, schema: Schema, space: InputConfig) -> int:
        """The size searched for in `space`, s.

        Raises:
          ValueError: the size, or a stage before it, is larger than the space.
        """
        params, name = self.params, self.spec().name
        whole = int(self.costs(schema, self.reach(schema, space)).sum())
        size = max(1, round(params.share * whole)) if params.size is None else params.size
        for key, value in [("size", size), *(("stages", stage) for stage in params.stages)]:
            if value > whole:
                raise ValueError(
                    f"`{key}` of {name} should be no larger than the space that is searched, "
                    f"{whole:,}. Received: {value:,}"
                )
        if params.stages and params.stages[-1] <= size:
            raise ValueError(
                f"`stages` of {name} should descend towards the last size, {size:,}. Received: "
                f"{params.stages}"
            )
        return size

    def check(self, trainer: Trainer, space: InputConfig) -> None:
        self.goal(trainer.schema, space)

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        """Site -> gate, for a `space` at base dimensions (`reach`)."""
        return {"embedding": self.mask_gate(schema, space, self.goal(schema, space), 0)}

    def step(self) -> Step:
        return Alternating(architecture_first=True)

    def optimizers(self) -> dict[str, str]:
        return group_optimizers(
            architecture=self.params.alpha_optimizer, weights=self.params.weights_optimizer
        )

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        size = self.goal(trainer.schema, space)
        search = Search(self.pretrained(trainer, self.reach(trainer.schema, space)))
        config = search.model.config
        for number, stage in enumerate(self.params.stages):
            search = self._search_in(config, search, stage, trainer, f"stage-{number}")
            config = search.model.aligned(self.select(search, stage))
        return self._search_in(config, search, size, trainer, "supernet")

    def pretrained(self, trainer: Trainer, config: InputConfig) -> Recommender:
        """The model that all searches in `config` start from, whatever their size."""
        params = self.params
        if not params.orthogonality:
            return trainer.pretrain(
                config, epochs=params.pretrain_epochs, patience=params.pretrain_patience
            )
        measure = cosine_orthogonality if params.cosine else soft_orthogonality
        return trainer.pretrain(
            config,
            epochs=params.pretrain_epochs,
            patience=params.pretrain_patience,
            gates={"embedding": OrthogonalityGate(params.orthogonality, measure)},
            step=Joint(penalty_every=params.orthogonality_every),
            key=f"orthogonality={params.orthogonality}, cosine={params.cosine}, "
            f"every={params.orthogonality_every}",
        )

    def _search_in(
        self, config: InputConfig, before: Search, size: int, trainer: Trainer, name: str
    ) -> Search:
        """The search for `size` in `config`, on the weights that `before` has left."""
        metric = trainer.options.metric
        direction = trainer.task.directions[metric]

        def make_gates() -> dict[str, Gate]:
            gate = self.mask_gate(trainer.schema, config, size, trainer.seed)
            gate.scale = float(trainer.options.batch_size) if self.params.summed else 1.0
            return {"embedding": gate}

        supernet = build_supernet(trainer, config, make_gates)
        supernet.inherit(before.model)
        plan = FitPlan(
            step=self.step(),
            epochs=self.params.epochs,
            patience=0,
            optimizers=self.optimizers(),
            stop=lambda history: self.stops(history, size, metric, direction),
        )
        trainer.fit(supernet, name, plan)
        return dataclasses.replace(before, model=supernet)

    def stops(
        self, history: Sequence[Mapping[str, float]], size: int, metric: str, direction: int
    ) -> bool:
        """Whether a search for `size` ends before `epochs`.

        Never with these masks: the score of a model whose columns are masked softly or at random is
        not that of the columns selected from it (section 3.3).

        Args:
          history: A record per epoch so far, with "size" and the metric.
          size: s, in the unit of `costs`.
          metric, direction: The validation metric, and whether it is to grow (1) or to fall (-1).
        """
        return False

    def select(self, search: Search, size: int) -> InputConfig:
        """What a search for `size` keeps: the columns of largest alpha (section 4.2)."""
        return self._leading(search, search.gate.costs, size, "columns")

    def _leading(
        self, search: Search, costs: np.ndarray, limit: int, unit: str = "parameters"
    ) -> InputConfig:
        """The columns of largest alpha whose costs fit in a limit, in `unit`; notices say where
        alpha has not decided, and where much of the limit is left over."""
        alpha, notices, spec = search.gate.alpha.numpy(), search.notices, str(self.spec())
        kept = leading(alpha, costs, limit)
        if not kept.any():
            raise budget_error(limit, int(costs[costs > 0].min()))
        left_out, used = (costs > 0) & ~kept, int(costs[kept].sum())
        last = alpha[kept].min()
        if tied := np.count_nonzero(left_out & (alpha == last)):
            notices.add(
                f"{tied} columns left out have the alpha of the last one kept ({last:.4g}); the "
                "order of the fields decides among them",
                spec,
            )
        if left_out.any() and used < limit / 2:
            next_cost = int(costs[left_out][np.argmax(alpha[left_out])])
            notices.add(
                f"the ranking ends at a column with {next_cost:,} {unit}, and the {used:,} kept "
                f"are less than half of the {limit:,} allowed",
                spec,
            )
        return chosen(search.model.config, kept)

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        """A config as `SearchMethod.derive` describes it; with a budget, the columns of largest
        alpha up to the first that does not fit."""
        model = search.model
        if budget is None:
            return self.select(search, self.goal(model.schema, space))
        costs = column_params(model.schema, model.config)
        return self._leading(search, np.where(self.eligible(search), costs, 0), budget)

    def eligible(self, search: Search) -> np.ndarray:
        """The columns that a budget may be spent on, [N, D] bool; all of them with these masks."""
        return search.gate.exists

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        """Other shares; none with stages, which lead to one size."""
        if self.params.stages:
            return []
        by_share = type(self)(dataclasses.replace(self.params, size=None))
        return variants(by_share, "share", self.params.sweep)

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """Alpha and mask of every column. A field's score is the sum of its alpha, the best guide
        of several tried, and yet no dependable one (`Traits.ranks_fields`)."""
        arrays = search.gate.arrays()
        sums = arrays["alpha"].sum(axis=1)
        scores = {
            name: float(total) for name, total in zip(search.model.config.kept, sums, strict=True)
        }
        return Explanation(scores, arrays, mask_pictures(search.model))
