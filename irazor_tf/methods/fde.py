"""Fixed dimension embedding: every field of the space at one width. The control that every search has to beat."""

from __future__ import annotations

import dataclasses

from irazor_tf.input_config import FieldConfig, InputConfig
from irazor_tf.method import METHODS, SearchMethod, budget_error
from irazor_tf.recommender import Recommender
from irazor_tf.trainer import Trainer


@METHODS.register("fde")
class FDE(SearchMethod):
    """Uniform width, no search."""

    @dataclasses.dataclass(frozen=True)
    class Params:
        """Settings.

        Args:
          dim: the width; None: the width of the space, field by field.
          sweep: widths worth a point on the curve.
        """

        dim: int | None = None
        sweep: tuple[int, ...] = (1, 2, 4, 8, 16, 30)

        def __post_init__(self) -> None:
            for dim in (self.dim, *self.sweep):
                if dim is not None and dim < 1:
                    raise ValueError(f"`dim` of fde should be at least 1. Received: {dim}")

    needs = frozenset()
    ranks_fields = False
    control_at_budget = False
    derive_only = frozenset({"dim", "sweep"})

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        return trainer.build(space)

    def derive(self, supernet: Recommender, space: InputConfig, budget: int | None = None) -> InputConfig:
        if budget is None:
            return narrow(space, space.max_dim if self.params.dim is None else self.params.dim)
        fitting = [config for dim in range(1, space.max_dim + 1) if (config := narrow(space, dim)).num_params(supernet.schema) <= budget]
        if not fitting:
            raise budget_error(budget, narrow(space, 1).num_params(supernet.schema))
        return fitting[-1]

    def sweep(self) -> list[tuple[str, SearchMethod]]:
        return [(f"dim={dim}", type(self)(dataclasses.replace(self.params, dim=dim))) for dim in self.params.sweep]


def narrow(space: InputConfig, dim: int) -> InputConfig:
    """Every field of the space at `dim` or at its own smaller width, its first columns."""
    fields = {}
    for name, field in space.fields.items():
        kept = field.labels[: min(dim, field.dim)]
        fields[name] = FieldConfig(len(kept), kept)
    return InputConfig(fields)
