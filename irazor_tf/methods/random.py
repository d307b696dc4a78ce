"""Random widths within a budget. A control."""

from __future__ import annotations

import dataclasses

import numpy as np

from irazor_tf.config.input_config import FieldConfig, InputConfig
from irazor_tf.config.seeds import seed_of
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, SearchMethod, budget_error
from irazor_tf.training.trainer import Trainer

_DRAWS = 64


@METHODS.register("random")
class RandomWidths(SearchMethod):
    """Fields in random order take a random width, no wider than what is left of the budget.

    Of 64 such draws the one that uses most of the budget is taken, so that the control is not held
    back by an unlucky draw."""

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          share: parameters kept, as a share of the space's, where no budget is given.
          sweep: other shares worth a point on the curve.
          seed: of the draws, together with the training's seed.
        """

        share: float = 0.5
        sweep: tuple[float, ...] = (0.0625, 0.125, 0.25)
        seed: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            for share in (self.share, *self.sweep):
                if not 0 < share <= 1:
                    raise ValueError(f"`share` of random should lie in (0, 1]. Received: {share}")

    needs = frozenset()
    ranks_fields = False
    derive_only = frozenset({"share", "seed", "sweep"})

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        return trainer.build(space)

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        schema, setting = supernet.schema, None
        if budget is None:
            budget, setting = (
                int(self.params.share * space.num_params(schema)),
                ("`share` of random", self.params.share),
            )
        generator = np.random.Generator(np.random.PCG64(seed_of(self.params.seed, supernet.seed)))
        best: InputConfig | None = None
        for _ in range(_DRAWS):
            config = self._draw(generator, supernet, space, budget)
            if config.num_fields and (
                best is None or config.num_params(schema) > best.num_params(schema)
            ):
                best = config
        if best is None:
            raise budget_error(budget, int(space.column_params(schema).min()), setting)
        return best

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return self.each("share", self.params.sweep)

    @staticmethod
    def _draw(
        generator: np.random.Generator, supernet: Recommender, space: InputConfig, budget: int
    ) -> InputConfig:
        fields = {name: FieldConfig(0) for name in space.fields}
        for i in generator.permutation(space.num_fields):
            name = space.kept[i]
            field = space.fields[name]
            costs = np.cumsum(field.column_params(supernet.schema.field(name).vocabulary_size))
            dim = min(
                int(generator.integers(0, field.dim + 1)),
                int(np.searchsorted(costs, budget, side="right")),
            )
            budget -= int(costs[dim - 1]) if dim else 0
            fields[name] = field.cut(field.labels[:dim])
        return InputConfig(fields)
