"""Fixed dimension embedding: every field of the space at one width, without a search. It is the
control that every search has to surpass."""

from __future__ import annotations

import dataclasses

from irazor_tf.config.checks import at_least, check_ranges
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.search_result import SearchResult
from irazor_tf.search.budget import budget_error
from irazor_tf.search.method import METHODS, Search, SearchMethod, Traits, variants
from irazor_tf.training.trainer import Trainer


@METHODS.register("fde")
class FDE(SearchMethod):
    """Fixed dimension embedding: every field at the same width, without a search."""

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          dim: Embedding dimension of every field, at least 1; a field that is narrower in the space
            keeps its width. If None (default), every field keeps its width in the space
            (`--width`).
          sweep: Other values of `dim`, each of which is a point on the curve of sizes, as far as
            the space goes.
        """

        dim: int | None = None
        sweep: tuple[int, ...] = (1, 2, 4, 8, 16, 30)

        def __post_init__(self) -> None:
            super().__post_init__()
            check_ranges(self, "fde", dim=at_least(1), sweep=at_least(1))

    traits = Traits(
        needs=frozenset(),
        budget="own",
        ranks_fields=False,
        derive_only=frozenset({"dim", "sweep"}),
    )

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        """A model that is not trained: the derivation of a width needs no weights."""
        return Search(trainer.build(space))

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        if budget is None:
            return narrow(space, space.max_dim if self.params.dim is None else self.params.dim)
        schema = search.model.schema
        fitting = [
            config
            for dim in range(1, space.max_dim + 1)
            if (config := narrow(space, dim)).num_params(schema) <= budget
        ]
        if not fitting:
            raise budget_error(budget, narrow(space, 1).num_params(schema))
        return fitting[-1]

    def search(
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        search: Search | None = None,
    ) -> tuple[SearchResult, Search]:
        result, search = super().search(trainer, space, budget, search)
        if budget is None and self.params.dim is not None and self.params.dim > space.max_dim:
            # Not an error: after another method in a chain, how wide its fields are is not known
            # beforehand.
            search.notices.add(
                f"the space is no wider than {space.max_dim} (--width)", str(self.spec())
            )
            result = dataclasses.replace(result, method=result.method.replace(dim=space.max_dim))
        return result, search

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return variants(self, "dim", [dim for dim in self.params.sweep if dim <= space.max_dim])


def narrow(space: InputConfig, dim: int) -> InputConfig:
    """The space with at most the first `dim` columns of every field; a field that is narrower keeps
    its width."""
    return InputConfig(
        {name: field.cut(field.labels[:dim]) for name, field in space.fields.items()}
    )
