"""Random widths within a budget, a control."""

from __future__ import annotations

import dataclasses

import numpy as np

from irazor_tf.config.checks import check_ranges, inside
from irazor_tf.config.field_config import FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.config.seeds import seed_of
from irazor_tf.search.budget import budget_error
from irazor_tf.search.method import METHODS, Search, SearchMethod, Traits, variants
from irazor_tf.search.selection import take_while_fits
from irazor_tf.training.trainer import Trainer

_DRAWS = 64


@METHODS.register("random")
class RandomWidths(SearchMethod):
    """Random widths: fields, in random order, take a random width that is no larger than the rest
    of the budget allows.

    Of 64 such draws the one that uses most of the budget is taken, so that the control is not held
    back by an unlucky draw.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          share: Share, in (0, 1], of the space's embedding parameters that are kept at most, where
            no budget is given.
          sweep: Other values of `share`, each of which is a point on the curve of sizes.
          seed: Seed of the draws, together with the training's seed.
        """

        share: float = 0.5
        sweep: tuple[float, ...] = (0.0625, 0.125, 0.25)
        seed: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_ranges(self, "random", share=inside(0, 1, "(]"), sweep=inside(0, 1, "(]"))

    traits = Traits(
        needs=frozenset(),
        ranks_fields=False,
        derive_only=frozenset({"share", "seed", "sweep"}),
    )

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        """A model that is not trained: a random draw needs no weights."""
        return Search(trainer.build(space))

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        schema, setting = search.model.schema, None
        if budget is None:
            budget = int(self.params.share * space.num_params(schema))
            setting = ("`share` of random", self.params.share)
        seed = seed_of(self.params.seed, search.model.seed)
        generator = np.random.Generator(np.random.PCG64(seed))
        draws = [draw(generator, schema, space, budget) for _ in range(_DRAWS)]
        drawn = [config for config in draws if config.num_fields]
        if not drawn:
            raise budget_error(budget, int(space.column_params(schema).min()), setting)
        return max(drawn, key=lambda config: config.num_params(schema))

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return variants(self, "share", self.params.sweep)


def draw(
    generator: np.random.Generator, schema: Schema, space: InputConfig, budget: int
) -> InputConfig:
    """A config of random widths: fields, in random order, take their first columns up to a random
    width, as far as these fit in the rest of the budget.

    Args:
      generator: Source of the random numbers.
      schema: The data's fields.
      space: The config whose columns are drawn from.
      budget: Most embedding parameters.
    """
    fields = {name: FieldConfig(0) for name in space.fields}
    for i in generator.permutation(space.num_fields):
        name = space.kept[i]
        field = space.fields[name]
        costs = field.column_params(schema.field(name).vocabulary_size)
        width = int(generator.integers(0, field.dim + 1))
        taken = take_while_fits(range(width), costs, budget)
        budget -= int(costs[taken].sum())
        fields[name] = field.cut(field.labels[: int(taken.sum())])
    return InputConfig(fields)
