"""The recipe that HAM and its variants share: Algorithm 1 of HAM, with any kind of mask on
embedding columns."""

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
    """Base of the methods that follow Algorithm 1 of HAM, each with a mask of its own on embedding
    columns.

    Soft and random masks are not trained for a certain size, so that one search of theirs serves
    all sizes.
    """

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
        """The gate with the method's mask.

        Args:
          schema: The data's fields.
          config: The config that is searched.
          size: The size to search for, in the unit of `costs`.
          seed: Seed of the mask's noise.
        """

    def costs(self, schema: Schema, config: InputConfig) -> np.ndarray:
        """What each column adds to a size, [N, D], 0 in padding: 1, so that sizes are numbers of
        columns."""
        return np.minimum(column_params(schema, config), 1)

    def reach(self, schema: Schema, space: InputConfig) -> InputConfig:
        """The config that is searched: `space` with every field cut to its base dimension,
        min(base_dim, number of features)."""
        base_dims = [
            min(self.params.base_dim, schema.field(name).vocabulary_size) for name in space.kept
        ]
        return chosen(space, np.arange(space.max_dim) < np.array(base_dims)[:, None])

    def goal(self, schema: Schema, space: InputConfig) -> int:
        """The size that is searched for, s, in the unit of `costs`.

        Raises:
          ValueError: the size, or that of an earlier stage, is larger than the searched space.
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
        """Name of a site -> gate.

        Args:
          schema: The data's fields.
          space: A config at base dimensions, as `reach` gives it.
        """
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
        """The pretrained model from which all searches in `config` start, whatever their size."""
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
        """A search inside a config, which starts from the weights of an earlier one.

        Args:
          config: The config that is searched.
          before: The earlier search.
          size: The size to search for, in the unit of `costs`.
          trainer: Works in the search's folder.
          name: Name of the training.
        """
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

        With soft and random masks it never does: the metric of a model whose columns are masked
        softly or at random is not that of the columns selected from it (section 3.3).

        Args:
          history: A record per epoch so far, with "size" and the metric.
          size: s, in the unit of `costs`.
          metric, direction: The validation metric, and whether it is to grow (1) or to fall (-1).
        """
        return False

    def select(self, search: Search, size: int) -> InputConfig:
        """The config that a search for `size` leads to: the columns of largest alpha (section
        4.2)."""
        return self._leading(search, search.gate.costs, size, "columns")

    def _leading(
        self, search: Search, costs: np.ndarray, limit: int, unit: str = "parameters"
    ) -> InputConfig:
        """The config of the columns of largest alpha that fit in a limit. Notices say where alpha
        has not decided, and where much of the limit is left over.

        Args:
          search: The trained search.
          costs: What each column counts, [N, D], 0 for columns that may not be taken.
          limit: Most that the columns taken may count together.
          unit: What is counted, in words.
        """
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
        """A config as `SearchMethod.derive` describes it. With a budget, it has the columns of
        largest alpha up to the first that does not fit."""
        model = search.model
        if budget is None:
            return self.select(search, self.goal(model.schema, space))
        costs = column_params(model.schema, model.config)
        return self._leading(search, np.where(self.eligible(search), costs, 0), budget)

    def eligible(self, search: Search) -> np.ndarray:
        """Which columns may be kept under a budget, [N, D] bool; with soft and random masks all of
        them."""
        return search.gate.exists

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        """The method with other values of `share`; none with `stages`, which lead to a single
        size."""
        if self.params.stages:
            return []
        by_share = type(self)(dataclasses.replace(self.params, size=None))
        return variants(by_share, "share", self.params.sweep)

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """The arrays are alpha and mask of every column. A field's score is the sum of its alphas;
        of several scores that were tried it is the best, but not a dependable one (see
        `Traits.ranks_fields`)."""
        arrays = search.gate.arrays()
        sums = arrays["alpha"].sum(axis=1)
        scores = {
            name: float(total) for name, total in zip(search.model.config.kept, sums, strict=True)
        }
        return Explanation(scores, arrays, mask_pictures(search.model))
