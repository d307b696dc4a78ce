"""What "auto" stands for: a written rule from the size of a log to the settings of plain training. No TensorFlow import.

docs/recipe.md has the measurements that every line of the rule stands on, and what it was not measured for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class LogSize:
    """What the rule knows of a log.

    Args:
      rows: of the training split.
      fields: how many.
      features: ids of all fields, out-of-vocabulary among them.
    """

    rows: int
    fields: int
    features: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"`{field.name}` of a log should be at least 1. Received: {getattr(self, field.name)}")


def min_count(rows: int) -> int:
    """How often a feature has to occur in the training rows to have an id of its own: 2 below a million rows, 4, 10 and 20 above one,
    ten and a hundred millions. One occurrence teaches nothing, and a field with an id per row would fill the memory with them."""
    return 2 + 2 * (rows >= 10**6) + 6 * (rows >= 10**7) + 10 * (rows >= 10**8)


def batch_size(size: LogSize) -> int:
    """The power of two nearest to the square root of the rows, from 64 to 8,192: so an epoch has about as many steps as a batch rows."""
    return 2 ** round(min(max(math.log2(size.rows) / 2, 6), 13))


def linear_ridge(size: LogSize) -> float:
    """25 features / rows, from .1 to 30: the fewer rows a feature has, the closer to zero it is believed to be."""
    return float(f"{min(max(25 * size.features / size.rows, 0.1), 30.0):.2g}")


# Setting of `TrainOptions` -> its value.
RULE: Mapping[str, Callable[[LogSize], Any]] = {
    "batch_size": batch_size,
    "epochs": lambda size: 20,
    "patience": lambda size: 2,
    "bias_optimizer": lambda size: "adagrad(learning_rate=0.1, initial_accumulator_value=1e-8)",
    "network_optimizer": lambda size: "adagrad(learning_rate=0.02, initial_accumulator_value=1e-8)",
    "embedding_l2": lambda size: 0.0,
    "embedding_ridge": lambda size: 100.0,
    "linear_ridge": linear_ridge,
}


def resolved(settings: Mapping[str, Any], size: LogSize) -> dict[str, Any]:
    """The values of those settings that are "auto"."""
    return {key: rule(size) for key, rule in RULE.items() if settings.get(key) == AUTO}
