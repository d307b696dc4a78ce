"""`fields(X)`: the fields that method X keeps, each at its full width in the space (the papers' "X
w/ FDE")."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.search_result import SearchResult
from irazor_tf.search.method import METHODS, Explanation, Search, SearchMethod
from irazor_tf.training.trainer import Trainer


@METHODS.register("fields")
class Fields(SearchMethod):
    """The choice of fields by another method, each kept field at its full width in the space.

    A budget is passed on to that other method, so the result may exceed it. Traits, among them the
    optimizers of trainings, are those of the other method, except that the final model starts with
    fresh weights.
    """

    @dataclasses.dataclass(frozen=True)
    class Params:
        """No settings of its own: those of the other method are written in its spec."""

    takes_operands = True

    def __init__(self, params: Any = None, *operands: SearchMethod):
        super().__init__(params, *operands)
        if len(operands) != 1:
            received = ", ".join(str(operand.spec()) for operand in operands) or "none"
            raise ValueError(
                f"`fields` takes a method: fields(METHOD(setting=value)). Received: {received}"
            )
        if self.inner.traits.result == "gates":
            raise ValueError(
                "`fields` takes a method whose result says which fields to keep. Received: "
                f"{self.inner.spec()}"
            )
        self.traits = dataclasses.replace(
            self.inner.traits,
            budget="exceeded",
            result="config",
            init="fresh",
            derive_only=frozenset(),  # settings of this method, which has none
        )

    @property
    def inner(self) -> SearchMethod:
        """The other method, which chooses the fields."""
        return self.operands[0]

    def check(self, trainer: Trainer, space: InputConfig) -> None:
        self.inner.check(trainer, space)

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        return self.inner.train_or_resume(trainer, space)

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        return self.inner.derive(search, space, budget).fields_only(space)

    def search(
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        search: Search | None = None,
    ) -> tuple[SearchResult, Search]:
        """The search of the other method, with the kept fields at full width. Its notices are about
        what the other method would have kept, before fields get their width back."""
        search = (self.train_or_resume(trainer, space) if search is None else search).again()
        narrow = self.inner.derive(search, space, budget)
        notices = tuple(map(str, self.inner.explain(search, (narrow,)).notices))
        wide = narrow.fields_only(space)
        return SearchResult((wide,), self.spec(), self.traits.init, notices=notices), search

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """The explanation of the other method. Of its notices only those about the search are
        passed on, because the configs' widths are not its own; `search` gives the others."""
        notices = self.inner.explain(search, ()).notices
        return dataclasses.replace(self.inner.explain(search, configs), notices=notices)

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return [(label, Fields(self.params, other)) for label, other in self.inner.sweep(space)]
