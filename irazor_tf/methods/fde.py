"""Fixed dimension embedding: every field of the space at one width. The control that every search
has to beat."""

from __future__ import annotations

import dataclasses
import logging

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.search_result import SearchResult
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, SearchMethod, budget_error
from irazor_tf.training.trainer import Trainer

_notices = logging.getLogger("irazor_tf")


@METHODS.register("fde")
class FDE(SearchMethod):
    """Uniform width, no search."""

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          dim: the width; None: the width of the space, field by field.
          sweep: widths worth a point on the curve, as far as the space goes.
        """

        dim: int | None = None
        sweep: tuple[int, ...] = (1, 2, 4, 8, 16, 30)

        def __post_init__(self) -> None:
            super().__post_init__()
            for dim in (self.dim, *self.sweep):
                if dim is not None and dim < 1:
                    raise ValueError(f"`dim` of fde should be at least 1. Received: {dim}")

    needs = frozenset()
    ranks_fields = False
    control_at_budget = False
    derive_only = frozenset({"dim", "sweep"})

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        return trainer.build(space)

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        if budget is None:
            return narrow(space, space.max_dim if self.params.dim is None else self.params.dim)
        fitting = [
            config
            for dim in range(1, space.max_dim + 1)
            if (config := narrow(space, dim)).num_params(supernet.schema) <= budget
        ]
        if not fitting:
            raise budget_error(budget, narrow(space, 1).num_params(supernet.schema))
        return fitting[-1]

    def search(
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        supernet: Recommender | None = None,
    ) -> tuple[SearchResult, Recommender]:
        result, supernet = super().search(trainer, space, budget, supernet)
        if budget is None and self.params.dim is not None and self.params.dim > space.max_dim:
            # Not an error: after another method in a chain, how wide its fields are is not known
            # beforehand.
            _notices.warning(
                "%s: the space is no wider than %d (--width)", result.method, space.max_dim
            )
            result = dataclasses.replace(result, method=result.method.replace(dim=space.max_dim))
        return result, supernet

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return self.each("dim", [dim for dim in self.params.sweep if dim <= space.max_dim])


def narrow(space: InputConfig, dim: int) -> InputConfig:
    """Every field of the space at `dim` or at its own smaller width, its first columns."""
    fields = {}
    for name, field in space.fields.items():
        fields[name] = field.cut(field.labels[:dim])
    return InputConfig(fields)
