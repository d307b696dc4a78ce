"""`fields(X)`: method X's choice of fields, every one of them at the space's width (the papers' "X
w/ FDE")."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, SearchMethod
from irazor_tf.search.pictures import Picture
from irazor_tf.training.trainer import Trainer


@METHODS.register("fields")
class Fields(SearchMethod):
    """Field selection alone, by another method. A budget is given to that method, so the result may
    be wider than it."""

    @dataclasses.dataclass(frozen=True)
    class Params:
        """None of its own: the method that it takes has them."""

    takes_operands = True
    obeys_budget = False

    def __init__(self, params: Fields.Params | None = None, inner: SearchMethod | None = None):
        super().__init__(params)
        if inner is None:
            raise ValueError(
                "`fields` takes a method: fields(METHOD(setting=value)). Received: none"
            )
        if not inner.narrows:
            raise ValueError(
                "`fields` takes a method whose result says which fields to keep. Received: "
                f"{inner.spec()}"
            )
        self.inner = inner
        self.needs = inner.needs
        self.ranks_fields = inner.ranks_fields

    def recipe(self) -> dict[str, str]:
        return self.inner.recipe()

    def check_space(self, trainer: Trainer, space: InputConfig) -> None:
        self.inner.check_space(trainer, space)

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        return self.inner.train(trainer, space)

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        return self.inner.derive(supernet, space, budget).fields_only(space)

    def notices(self, supernet: Recommender) -> list[str]:
        return self.inner.notices(supernet)

    def search(
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        supernet: Recommender | None = None,
    ) -> tuple[SearchResult, Recommender]:
        """The method's search; its doubts are about what it would have kept, before the fields get
        their width back."""
        supernet = self.train(trainer, space) if supernet is None else supernet
        narrow = self.inner.derive(supernet, space, budget)
        notices = (*self.notices(supernet), *self.inner.doubts(supernet, narrow))
        return SearchResult(
            (narrow.fields_only(space),), self.spec(), self.init, notices=notices
        ), supernet

    def spec(self) -> Spec:
        return Spec("fields", (), (self.inner.spec(),))

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        return self.inner.field_scores(supernet)

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        return self.inner.architecture(supernet)

    def pictures(self, supernet: Recommender, clusters: Sequence[InputConfig]) -> list[Picture]:
        return self.inner.pictures(supernet, clusters)

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return [(label, Fields(self.params, other)) for label, other in self.inner.sweep(space)]
