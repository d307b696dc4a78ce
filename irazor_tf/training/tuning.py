"""The choice of training settings: a dozen recipes around the rule's, and successive halving among
them. No TensorFlow import."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from irazor_tf.config.recipe import adagrad
from irazor_tf.config.specs import parse_spec

T = TypeVar("T")

DROPOUT = "dropout"
# Shares of the most epochs after which half of the recipes go.
RUNGS = (0.2, 0.4)
_ADAM = "adam(learning_rate=0.001)"


def times(factor: float) -> Callable[[Any], Any]:
    """A function that multiplies a setting by a factor; of an optimizer spec, its learning rate."""

    def change(value: Any) -> Any:
        if isinstance(value, str):
            spec = parse_spec(value)
            rate = dict(spec.arguments)["learning_rate"] * factor
            return str(spec.replace(learning_rate=float(f"{rate:.3g}")))
        if isinstance(value, int):
            return max(1, round(value * factor))
        return float(f"{value * factor:.3g}")

    return change


def _to(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


# What each recipe changes, for models with embeddings and for those of first-order terms alone.
CHANGES: tuple[Mapping[str, Callable[[Any], Any]], ...] = (
    {"batch_size": times(4), "network_optimizer": _to(adagrad(0.05))},
    {"batch_size": times(0.5), "network_optimizer": _to(adagrad(0.01))},
    {"network_optimizer": _to(adagrad(0.01))},
    {"network_optimizer": _to(adagrad(0.05))},
    {"network_optimizer": _to(_ADAM)},
    {"embedding_ridge": times(0.2)},
    {"embedding_ridge": times(4)},
    {"bias_optimizer": times(0.4)},
    {"bias_optimizer": times(2.5)},
    {DROPOUT: _to(0.3)},
    {"network_optimizer": _to(_ADAM), DROPOUT: _to(0.3), "embedding_ridge": times(0.2)},
)
FIRST_ORDER_CHANGES: tuple[Mapping[str, Callable[[Any], Any]], ...] = tuple(
    {"bias_optimizer": times(rate), "linear_ridge": times(ridge)}
    for rate in (0.4, 1.0, 2.5)
    for ridge in (0.1, 0.3, 1.0, 3.0)
    if (rate, ridge) != (1.0, 1.0)
)


def varied(first_order: bool) -> list[str]:
    """Names of the settings in which recipes differ.

    Args:
      first_order: see `recipes`.
    """
    return sorted({key for changes in _changes(first_order) for key in changes})


def recipes(values: Mapping[str, Any], first_order: bool, rows: int) -> list[dict[str, Any]]:
    """The recipes to try: the rule's own, and up to eleven others, each as the settings that it
    changes, name -> value; the rule's own is the empty dict and comes first.

    Args:
      values: The rule's values of the settings that may be changed, `dropout` among them where the
        base model has it.
      first_order: Whether the model has first-order terms alone.
      rows: Number of training rows; no batch is larger.
    """
    around: list[dict[str, Any]] = [{}]
    for changes in _changes(first_order):
        new = {key: change(values[key]) for key, change in changes.items() if key in values}
        new = {key: value for key, value in new.items() if value != values[key]}
        if new not in around and new.get("batch_size", 0) <= rows:
            around.append(new)
    return around


def _changes(first_order: bool) -> tuple[Mapping[str, Callable[[Any], Any]], ...]:
    return FIRST_ORDER_CHANGES if first_order else CHANGES


@dataclasses.dataclass(frozen=True)
class Rung:
    """A stage of successive halving.

    Args:
      epochs: Number of epochs up to which the recipes are trained. If None, they are trained to
        their end.
      kept: How many recipes go on to the next stage; 1 for the last stage, the best.
    """

    epochs: int | None
    kept: int


def rungs(number: int, epochs: int) -> list[Rung]:
    """The stages of successive halving: half of the recipes are dropped after a fifth of the
    epochs, and half of the rest after two fifths; those that remain are trained to their end. Any
    earlier, a recipe that learns slowly looks worse than it ends.

    Args:
      number: Number of recipes.
      epochs: Most epochs of a training.
    """
    stages = []
    for share in RUNGS:
        number = math.ceil(number / 2)
        stages.append(Rung(max(1, round(share * epochs)), number))
    return [*stages, Rung(None, 1)]


def most_epochs(number: int, epochs: int) -> int:
    """Most passes over the training rows that `halved` takes, all recipes together. The first
    recipe, which is never dropped, may be one more in each stage.

    Args:
      number: Number of recipes.
      epochs: Most epochs of a training.
    """
    total = before = 0
    for place, rung in enumerate(rungs(number, epochs)):
        until = epochs if rung.epochs is None else rung.epochs
        total += (number + (place > 0)) * (until - before)
        before, number = until, rung.kept
    return total


def halved(items: Sequence[T], epochs: int, value: Callable[[T, int | None], float]) -> list[T]:
    """Successive halving (Jamieson and Talwalkar 2016) in which the first item is always trained to
    its end.

    Args:
      items: The recipes, the rule's first; hashable.
      epochs: Most epochs of a training.
      value: Function that trains an item up to an epoch (None: to its end) and returns its best
        value so far, larger being better; -inf where it cannot be trained.

    Returns:
      The items that were trained to their end, the best first.
    """
    alive = list(items)
    for rung in rungs(len(alive), epochs):
        scores = {item: value(item, rung.epochs) for item in alive}
        alive.sort(key=lambda item: -scores[item])  # stable: of equals, the one listed first
        if rung.epochs is None:
            break
        alive = [
            item for number, item in enumerate(alive) if number < rung.kept or item == items[0]
        ]
        alive = [item for item in alive if scores[item] > -math.inf or item == items[0]]
    return alive
