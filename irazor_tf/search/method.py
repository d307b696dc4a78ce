"""The contract of search methods: a method finds a narrower config within an input config, by
gates, a training step and a derivation.

`docs/write_a_method.md` writes one from nothing. The fixed properties of a method stand in its
`Traits`, which jobs and tests read; what it can show of a search, in an `Explanation`.
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

# Longer than 300 lines: the contract of all methods, which is mostly documentation.
METHODS = Registry("method", "irazor_tf.methods")
WEIGHTS = ("bias", "network")  # groups of variables that are no architecture
BUDGETS = ("obeyed", "own", "exceeded")
RESULTS = ("config", "clusters", "gates")


@dataclasses.dataclass(frozen=True)
class Traits:
    """The properties of a method that jobs and tests rely on. They may depend on the method's
    settings.

    Args:
      needs: Sites that the base model has to have: "embedding", or none.
      budget: How the method treats a budget: "obeyed" (what is derived fits in it), "exceeded"
        (what the method needs beside its configs does not count, so that the whole may be larger),
        "own" (as a control the method stands at its own setting, not at the found config's size).
      ranks_fields: Whether the scores of an explanation say which fields matter.
      result: What a search leaves: "config" (one, in which another method can search), "clusters"
        (a config per cluster of rows), "gates" (the space itself, gates going on to choose in it).
      init: How the final model starts: fresh, ticket, continue or keep (see `SearchResult`).
      derive_only: Names of settings that only the derivation reads: one training serves all their
        values.
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
    """The trained state of a search, from which configs are derived.

    Args:
      model: The supernet, with its gates.
      counted: What the method measured after training, in a form of its own. None where it measured
        nothing.
      notices: Fallbacks that the training took, and those of the derivation that uses this object.
      spent: Cost of work outside any fit. None where there was none.
      trained: The notices of the training alone; None before `again` has separated them.
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
        """A copy of this search for another derivation: its notices are those of the training
        alone, to which the derivation adds its own."""
        trained = tuple(self.notices) if self.trained is None else self.trained
        return dataclasses.replace(self, notices=Notices(trained), trained=trained)


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What the report and the user are shown of a search and of the configs derived from it.

    Args:
      scores: Field -> how much the field deserves to stay, larger is better.
      arrays: Name -> array with a row per field, for example {"alpha": [N, K]}.
      pictures: Further pictures for the report.
      notices: Fallbacks that the search took, and reasons why its configs may be chance.
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
      params: The settings. None stands for the defaults.
      operands: The methods that this one works on, for a class with `takes_operands`.
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
        """The spec from which the registry builds this method again; settings at their default are
        left out."""
        values = dataclasses.asdict(self.params)
        defaults = {field.name: field.default for field in dataclasses.fields(self.Params)}
        changed = tuple((key, value) for key, value in values.items() if value != defaults[key])
        name = getattr(self, "registry_name", type(self).__name__)
        return Spec(name, changed, tuple(operand.spec() for operand in self.operands))

    def check(self, trainer: Trainer, space: InputConfig) -> None:
        """Raises ValueError where a setting is out of range for this space or these rows, before
        anything is trained. A job calls this for all its methods first.

        Args:
          trainer: Has the data that the search would train on.
          space: The config that would be searched.
        """

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        """The method's gates, freshly made: name of a site of the base model -> gate.

        Args:
          schema: The data's fields.
          space: The config that is searched.
        """
        return {}

    def step(self) -> Step:
        """The training step of the search: how an element of the data becomes updates of the
        model."""
        return Joint()

    def optimizers(self) -> dict[str, str]:
        """Group of variables -> optimizer spec for the search alone. A group that is not named has
        the optimizer of the method's recipe, or else of the training settings."""
        return {}

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        """Trains the supernet and returns the search. A finished search is read from disk; an
        interrupted one is continued.

        Args:
          trainer: Works in the search's folder.
          space: The config that is searched.
        """
        supernet = build_supernet(trainer, space, lambda: self.gates(trainer.schema, space))
        trainer.fit(supernet, "supernet", FitPlan(step=self.step(), optimizers=self.optimizers()))
        return Search(supernet)

    @abc.abstractmethod
    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        """A config within `space`.

        Args:
          search: The trained search; the derivation adds fallbacks that it takes to
            `search.notices`.
          space: The config that the search started from.
          budget: Most embedding values allowed; the widest config that fits is taken. If None
            (default), the method's own setting decides.

        Raises:
          ValueError: nothing fits in the budget.
        """

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        """The settings for the points of the method's curve: (label, the method with another
        setting) for each. Where only `derive` reads that setting, all points share one supernet.

        Args:
          space: The config that is searched.
        """
        return []

    def search(
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        search: Search | None = None,
    ) -> tuple[SearchResult, Search]:
        """Trains the supernet, unless a trained one is given, and derives a config. Methods whose
        result is more than one config override this.

        Args:
          trainer: Works in the search's folder.
          space: The config that is searched.
          budget: see `derive`.
          search: A search that was trained before. If None (default), `train_or_resume` gives it.

        Returns:
          The result, and the search that it was derived from.
        """
        search = (self.train_or_resume(trainer, space) if search is None else search).again()
        config = self.derive(search, space, budget)
        notices = tuple(map(str, self.explain(search, (config,)).notices))
        return SearchResult((config,), self.spec(), self.traits.init, notices=notices), search

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """Scores, arrays, pictures and notices of a search and of configs derived from it.

        Args:
          search: The trained search.
          configs: The configs derived, one or one per cluster.
        """
        return Explanation()


class RoutingMethod(SearchMethod):
    """Base of methods whose result is a config per cluster of rows, and a router that says which
    cluster a row belongs to."""

    @abc.abstractmethod
    def router(self, schema: Schema, ref: RouterRef, directory: str) -> Router:
        """The router of a result of this method, made again.

        Args:
          schema: The data's fields.
          ref: The reference to the router in the result.
          directory: Folder that `ref.weights` is relative to.
        """


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
    """A supernet with fresh weights.

    Args:
      trainer: Builds the model.
      space: Config of the supernet.
      make_gates: Makes the gates; called in the trainer's scope, where variables have to be made.
    """
    with trainer.scope():
        gates = make_gates()
    return trainer.build(space, gates)


def group_optimizers(architecture: str | None, weights: str | None) -> dict[str, str]:
    """A value for `SearchMethod.optimizers`.

    Args:
      architecture: Optimizer spec for the architecture parameters; None leaves that group out.
      weights: Optimizer spec for all other groups; None leaves those out.
    """
    chosen = {"architecture": architecture, **dict.fromkeys(WEIGHTS, weights)}
    return {group: spec for group, spec in chosen.items() if spec is not None}


def variants(
    method: SearchMethod, parameter: str, values: Iterable[Any]
) -> list[tuple[str, SearchMethod]]:
    """A value for `SearchMethod.sweep`: ("parameter=value", the method with that value) for each
    value.

    Args:
      method: The method whose setting is changed.
      parameter: Name of the setting.
      values: Its values, numbers.
    """
    return [
        (
            f"{parameter}={value:g}",
            type(method)(dataclasses.replace(method.params, **{parameter: value})),
        )
        for value in values
    ]
