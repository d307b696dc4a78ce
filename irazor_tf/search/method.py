"""Search methods: a function from an input config to a narrower one, made of gates, a step and a
derivation.

`docs/write_a_method.md` writes one from nothing. What a method is not free to decide stands in its
`Traits`, which jobs and tests read; what it has to show of a search, in an `Explanation`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf.config.checks import finite
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.registry import Registry
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import RouterRef, SearchResult
from irazor_tf.config.specs import Spec
from irazor_tf.model.base import BaseModel
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import Router
from irazor_tf.search.notices import Notice, Notices
from irazor_tf.search.pictures import Picture
from irazor_tf.training.cost import Spent
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.steps import Joint, Step

METHODS = Registry("method", "irazor_tf.methods")
WEIGHTS = ("bias", "network")  # groups of variables that are no architecture
BUDGETS = ("obeyed", "own", "exceeded")
RESULTS = ("config", "clusters", "gates")


@dataclasses.dataclass(frozen=True)
class Traits:
    """What a method is, as far as others have to know; settings may change it from one instance to
    another.

    Args:
      needs: Sites that the base model has to have: "embedding", or none.
      budget: What a budget is to the method: "obeyed" (what is derived fits in it), "exceeded"
        (what the method needs beside its configs does not count, so that the whole may be larger),
        "own" (as a control the method stands at its own setting, not at the found config's size).
      ranks_fields: Whether the scores of an explanation say which fields matter.
      result: What a search leaves: "config" (one, in which another method can search), "clusters"
        (a config per cluster of rows), "gates" (the space itself, gates going on to choose in it).
      init: How the final model starts: fresh, ticket, continue or keep (see `SearchResult`).
      derive_only: Settings that derivation alone reads: one training serves all their values.
      recipe: Optimizer specs by group for all trainings of the method, final models included,
        instead of the training settings'.
    """

    needs: frozenset[str] = frozenset({"embedding"})
    budget: str = "obeyed"
    ranks_fields: bool = True
    result: str = "config"
    init: str = "fresh"
    derive_only: frozenset[str] = frozenset()
    recipe: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.budget in BUDGETS and self.result in RESULTS, self


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search has trained, and what the method counted in it; configs are derived from it.

    Args:
      model: The supernet, with its gates.
      counted: The method's own record of what it measured once training had ended; None where the
        supernet says it all.
      notices: Fallbacks taken: by the training, and by the derivation that the record is for.
      spent: What the search took apart from any fit; None where fits are all.
      trained: The notices of the training alone, once `again` has set them apart.
    """

    model: Recommender
    counted: Any = None
    notices: Notices = dataclasses.field(default_factory=Notices)
    spent: Spent | None = None
    trained: tuple[Notice, ...] | None = None

    @property
    def gate(self) -> Any:
        """The gate at the site "embedding"."""
        return self.model.gates["embedding"]

    def again(self) -> Search:
        """The same search for a derivation, which adds its notices to those of the training."""
        trained = tuple(self.notices) if self.trained is None else self.trained
        return dataclasses.replace(self, notices=Notices(trained), trained=trained)


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What a report and a user may see of a search, and of the configs derived from it.

    Args:
      scores: Field -> how much the field deserves to stay, larger is better.
      arrays: Name -> array with a row per field, for example {"alpha": [N, K]}.
      pictures: What else is worth drawing.
      notices: Fallbacks that the search took, and why its configs may be chance.
    """

    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    notices: Sequence[Notice] = ()


class SearchMethod(abc.ABC):
    """Base of all methods.

    A method trains a supernet once (`train_or_resume`) and derives configs from it as often as
    asked (`derive`): with its own setting, or as wide as a budget allows.

    Args:
      params: The settings; None: the defaults.
      operands: The methods that this one works on, where its traits say so.
    """

    @dataclasses.dataclass(frozen=True)
    class Params:
        """Settings of all methods that train weights; theirs extend these, and are checked in
        __post_init__.

        Args:
          optimizer: Optimizer of all weights in all trainings of the method, that is pretraining,
            search and final models alike: one spec, or one by group ({'bias': ..., 'network': ...},
            first-order terms and all else). If None (default), the training settings'.
        """

        optimizer: str | Mapping[str, str] | None = None

        def __post_init__(self) -> None:
            for field in dataclasses.fields(self):
                if not finite(value := getattr(self, field.name)):
                    raise ValueError(
                        f"`{field.name}` of a method should be finite. Received: {value}"
                    )
            if isinstance(self.optimizer, Mapping) and not set(self.optimizer) <= set(WEIGHTS):
                raise ValueError(
                    f"`optimizer` of a method should have specs for some of {', '.join(WEIGHTS)}. "
                    f"Received: {self.optimizer}"
                )

    presets: Mapping[str, Mapping[str, Any]] = {}  # name -> parameters
    traits = Traits()
    takes_operands = False  # whether the method works on another one: NAME(METHOD(setting=value))

    def __init__(self, params: Any = None, *operands: SearchMethod):
        self.params: Any = params if params is not None else self.Params()
        self.operands = operands
        # A method without weights to train may have settings of another kind.
        optimizer = getattr(self.params, "optimizer", None)
        recipe = dict.fromkeys(WEIGHTS, optimizer) if isinstance(optimizer, str) else optimizer
        self.traits = dataclasses.replace(type(self).traits, recipe=dict(recipe or {}))

    def spec(self) -> Spec:
        """The spec that makes this method again."""
        values = dataclasses.asdict(self.params)
        defaults = {field.name: field.default for field in dataclasses.fields(self.Params)}
        changed = tuple((key, value) for key, value in values.items() if value != defaults[key])
        name = getattr(self, "registry_name", type(self).__name__)
        return Spec(name, changed, tuple(operand.spec() for operand in self.operands))

    def check(self, trainer: Trainer, space: InputConfig) -> None:
        """Raises ValueError where a setting is out of range for this space or these rows, as the
        search itself would. A job asks all its methods before any of them is trained."""

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        """Site -> gate."""
        return {}

    def step(self) -> Step:
        """How an element of the data becomes updates while searching."""
        return Joint()

    def optimizers(self) -> dict[str, str]:
        """Optimizer specs by group for the search alone, instead of the recipe's and the
        settings'."""
        return {}

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        """The recipe of the search: the trained supernet, from disk where the search is finished,
        going on where it was interrupted."""
        supernet = build_supernet(trainer, space, lambda: self.gates(trainer.schema, space))
        trainer.fit(supernet, "supernet", FitPlan(step=self.step(), optimizers=self.optimizers()))
        return Search(supernet)

    @abc.abstractmethod
    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        """A config within `space`.

        Args:
          search: As `train_or_resume` left it; fallbacks taken go to `search.notices`.
          space: The config that the search started from.
          budget: Most embedding values allowed, the widest config that fits being taken. If None
            (default), the method's own setting.

        Raises:
          ValueError: nothing fits in the budget.
        """

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        """Points of the method's curve: label -> the method with another setting. Where that is one
        of `derive` alone, one supernet serves it."""
        return []

    def search(
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        search: Search | None = None,
    ) -> tuple[SearchResult, Search]:
        """Trains the supernet, unless it is given, and derives; override where the result is more
        than one config."""
        search = (self.train_or_resume(trainer, space) if search is None else search).again()
        config = self.derive(search, space, budget)
        notices = tuple(map(str, self.explain(search, (config,)).notices))
        return SearchResult((config,), self.spec(), self.traits.init, notices=notices), search

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """What there is to show of a search and of the configs derived from it."""
        return Explanation()


class RoutingMethod(SearchMethod):
    """Base of methods that leave a config per cluster of rows, and say which cluster a row is
    in."""

    @abc.abstractmethod
    def router(self, schema: Schema, ref: RouterRef, directory: str) -> Router:
        """The router that `ref` in a result of this method stands for; weights are read from
        `directory`."""


def check_sites(method: SearchMethod, base: BaseModel) -> None:
    """Raises ValueError where the base model lacks a site that the method needs."""
    lacking = sorted(method.traits.needs - base.sites)
    if lacking:
        names = [getattr(one, "registry_name", type(one).__name__) for one in (method, base)]
        have = ", ".join(sorted(base.sites)) or "none"
        raise ValueError(
            "A method should meet a model that has the sites it needs. Received: method "
            f"{names[0]!r}, which needs {', '.join(lacking)}, on model {names[1]!r}, which has: "
            f"{have}"
        )


def build_supernet(
    trainer: Trainer, space: InputConfig, make_gates: Callable[[], Mapping[str, Gate]]
) -> Recommender:
    """A supernet of `space` with fresh weights; its gates are made where variables belong."""
    with trainer.scope():
        gates = make_gates()
    return trainer.build(space, gates)


def group_optimizers(architecture: str | None, weights: str | None) -> dict[str, str]:
    """For `SearchMethod.optimizers`: one spec for the architecture, one for all weights; None
    leaves those to others."""
    chosen = {"architecture": architecture, **dict.fromkeys(WEIGHTS, weights)}
    return {group: spec for group, spec in chosen.items() if spec is not None}


def variants(
    method: SearchMethod, parameter: str, values: Iterable[Any]
) -> list[tuple[str, SearchMethod]]:
    """For `SearchMethod.sweep`: "parameter=value" -> the method with that value."""
    return [
        (
            f"{parameter}={value:g}",
            type(method)(dataclasses.replace(method.params, **{parameter: value})),
        )
        for value in values
    ]
