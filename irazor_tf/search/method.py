"""Search methods: a function from an input config to a narrower one, made of gates, a step and a
derivation."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
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
from irazor_tf.search.pictures import Picture
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.steps import Joint, Step
from irazor_tf.training.trainer import Trainer

METHODS = Registry("method", "irazor_tf.methods")
WEIGHTS = ("bias", "network")  # groups of variables that are no architecture


class SearchMethod(abc.ABC):
    """Base of all methods.

    A method trains a supernet once (`train`) and derives configs from it as often as asked
    (`derive`): with its own setting, or as wide as a budget allows. What it cannot do it declares
    in the class attributes, which jobs and tests read."""

    @dataclasses.dataclass(frozen=True)
    class Params:
        """Settings of all methods that train weights; theirs extend these, and are checked in
        __post_init__.

        Args:
          optimizer: of all weights in all trainings of the method, that is pretraining, search and
            final models alike: one spec, or one by group ({'bias': ..., 'network': ...},
            first-order terms and all else); None: the flags' ones.
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
    derive_only: frozenset[str] = frozenset()  # parameters that `train` does not depend on
    needs: frozenset[str] = frozenset({"embedding"})  # sites that the base model has to have
    ranks_fields = True  # whether `field_scores` says anything about fields
    obeys_budget = True  # whether what `derive` gives fits in the budget it was given
    control_at_budget = (
        True  # as a control: derived at the found config's size; False: at its own setting
    )
    # whether a result is one config, in which another method can search; an instance may have its
    # own
    one_config = True
    # whether that is about what to keep; False: gates go on choosing in the whole space; an
    # instance may have its own
    narrows = True
    init = "fresh"  # how the final model starts; an instance may have its own

    def __init__(self, params: Any = None):
        self.params: Any = params if params is not None else self.Params()

    def check(self, base: BaseModel) -> None:
        """Raises ValueError where the base model lacks a site that the method needs."""
        lacking = sorted(self.needs - base.sites)
        if lacking:
            method, model = (
                getattr(self, "registry_name", type(self).__name__),
                getattr(base, "registry_name", type(base).__name__),
            )
            have = ", ".join(sorted(base.sites)) or "none"
            raise ValueError(
                "A method should meet a model that has the sites it needs. Received: method "
                f"{method!r}, which needs "
                f"{', '.join(lacking)}, on model {model!r}, which has: {have}"
            )

    def check_space(self, trainer: Trainer, space: InputConfig) -> None:
        """Raises ValueError where a setting is out of range for this space or these rows, as the
        search itself would. A job asks all its methods before any of them is trained."""

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        """Site -> gate."""
        return {}

    def step(self) -> Step:
        return Joint()

    def recipe(self) -> dict[str, str]:
        """Optimizer specs by group for all trainings of the method, final models included, instead
        of those in the flags."""
        chosen = getattr(
            self.params, "optimizer", None
        )  # a method without weights to train may have settings of another kind
        return dict.fromkeys(WEIGHTS, chosen) if isinstance(chosen, str) else dict(chosen or {})

    def optimizers(self) -> dict[str, str]:
        """Optimizer specs by group for the search alone, instead of those in `recipe` and the
        flags."""
        return {}

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        """The recipe of the search: trains and returns the supernet;
        resumable, as every `fit` is."""
        with trainer.scope():
            gates = self.gates(trainer.schema, space)
        supernet = trainer.build(space, gates)
        trainer.fit(supernet, "supernet", FitPlan(step=self.step(), optimizers=self.optimizers()))
        return supernet

    @abc.abstractmethod
    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        """A config within `space`.

        Args:
          supernet: as `train` left it.
          space: the config that the search started from.
          budget: most embedding values allowed, the widest config that fits being taken; None: the
            method's own setting.

        Raises:
          ValueError: nothing fits in the budget.
        """

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        """Points of its curve: label -> the method with another setting. Where that is one of
        `derive` alone, one supernet serves it."""
        return []

    def each(self, parameter: str, values: Iterable[Any]) -> list[tuple[str, SearchMethod]]:
        """For `sweep`: "parameter=value" -> the method with that value."""
        return [
            (
                f"{parameter}={value:g}",
                type(self)(dataclasses.replace(self.params, **{parameter: value})),
            )
            for value in values
        ]

    def search(
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        supernet: Recommender | None = None,
    ) -> tuple[SearchResult, Recommender]:
        """Trains the supernet, unless it is given, and derives; override where the result is more
        than one config."""
        supernet = self.train(trainer, space) if supernet is None else supernet
        config = self.derive(supernet, space, budget)
        notices = (*self.notices(supernet), *self.doubts(supernet, config))
        return SearchResult((config,), self.spec(), self.init, notices=notices), supernet

    def notices(self, supernet: Recommender) -> list[str]:
        """Fallbacks that the search took, whatever is derived from it."""
        return []

    def doubts(self, supernet: Recommender, config: InputConfig) -> list[str]:
        """Why `config`, derived from the supernet, may be chance: notices, none where the search
        has decided."""
        return []

    def router(self, schema: Schema, ref: RouterRef, directory: str) -> Router:
        """The router that `ref` in a result of this method stands for; weights are read from
        `directory`."""
        raise ValueError(f"A router needs a method that makes clusters. Received: {self.spec()}")

    def spec(self) -> Spec:
        """The spec that makes this method again."""
        given = dataclasses.asdict(self.params)
        defaults = {field.name: field.default for field in dataclasses.fields(self.Params)}
        changed = tuple((key, value) for key, value in given.items() if value != defaults[key])
        return Spec(getattr(self, "registry_name", type(self).__name__), changed)

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        """How much each field deserves to stay, larger is better."""
        return {}

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        """Arrays for the report with a row per field, for example {"alpha": [N, K]}."""
        return {}

    def pictures(self, supernet: Recommender, clusters: Sequence[InputConfig]) -> list[Picture]:
        """What else the report draws of a search, and of the configs that it found."""
        return []


class BudgetError(ValueError):
    """Nothing can be kept: nothing fits in the budget, or a search has left nothing."""


def budget_error(
    budget: int,
    smallest: int,
    setting: tuple[str, Any] | None = None,
    *,
    owner: str = "the smallest config",
) -> BudgetError:
    """What a method says when nothing fits.

    Args:
      budget: what there is.
      smallest: what it would take.
      setting: that the budget comes from, and its value.
      owner: what it would take that for.
    """
    least = f"{owner}'s {smallest:,} embedding parameters"
    if setting is not None:
        return BudgetError(
            f"{setting[0]} should leave at least {least}, and leaves {budget:,}. Received: "
            f"{setting[1]}"
        )
    return BudgetError(f"The budget should be at least {least}. Received: {budget:,}")
