"""`fields(X)`: method X's choice of fields, every one of them at the space's width (the papers' "X
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
    """Field selection alone, by another method.

    A budget is given to that method, so the result may be wider than it. What the method is and
    needs, its trainings' optimizers among it, is that of the one it takes; the final model starts
    fresh.
    """

    @dataclasses.dataclass(frozen=True)
    class Params:
        """None: the method that it takes has them."""

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
        """The method that chooses the fields."""
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
        """The inner method's search. Its notices are about what it would have kept, before the
        fields get their width back."""
        search = (self.train_or_resume(trainer, space) if search is None else search).again()
        narrow = self.inner.derive(search, space, budget)
        notices = tuple(map(str, self.inner.explain(search, (narrow,)).notices))
        wide = narrow.fields_only(space)
        return SearchResult((wide,), self.spec(), self.traits.init, notices=notices), search

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """The inner method's explanation; of its notices those that are about the search alone,
        because `configs` have the width that it did not give them (`search` has the others)."""
        notices = self.inner.explain(search, ()).notices
        return dataclasses.replace(self.inner.explain(search, configs), notices=notices)

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return [(label, Fields(self.params, other)) for label, other in self.inner.sweep(space)]
