"""What "auto" stands for: a written rule from the size of a log to the settings of plain training.
No TensorFlow import.

docs/recipe.md has the measurements that every line of the rule stands on, and what it was not
measured for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Known:
    """What the rule knows of a log and of the model that is to learn from it.

    Args:
      rows: of the training split.
      fields: how many.
      features: ids of all fields, out-of-vocabulary among them.
      tower: whether dense layers read the embeddings; without them (factorisation machines, say)
        the first-order terms lead.
    """

    rows: int
    fields: int
    features: int
    tower: bool = True

    def __post_init__(self) -> None:
        for key in ("rows", "fields", "features"):
            if getattr(self, key) < 1:
                raise ValueError(
                    f"`{key}` of a log should be at least 1. Received: {getattr(self, key)}"
                )


def min_count(rows: int) -> int:
    """How often a feature has to occur in the training rows to have an id of its own: 2 below a
    million rows, 4, 10 and 20 above one, ten and a hundred millions. One occurrence teaches
    nothing, and a field with an id per row would fill the memory with them."""
    return 2 + 2 * (rows >= 10**6) + 6 * (rows >= 10**7) + 10 * (rows >= 10**8)


def batch_size(known: Known) -> int:
    """The power of two nearest to the square root of the rows, from 64 to 8,192: so an epoch has
    about as many steps as a batch rows. Of fewer than 64 rows, the largest power of two that they
    fill."""
    return 2 ** min(round(min(max(math.log2(known.rows) / 2, 6), 13)), int(math.log2(known.rows)))


def linear_ridge(known: Known) -> float:
    """25 features / rows, from .1 to 30: the fewer rows a feature has, the closer to zero it is
    believed to be."""
    return float(f"{min(max(25 * known.features / known.rows, 0.1), 30.0):.2g}")


def bias_rate(known: Known) -> float:
    """A share of the prior's standard deviation, 1 / sqrt(`linear_ridge`), which is the scale that
    a first-order term is believed to have: a tenth and at most .04 beside a tower, which a faster
    first-order term leaves nothing to learn, .3 and at most .15 without one."""
    share, most = (0.1, 0.04) if known.tower else (0.3, 0.15)
    return float(f"{min(share / math.sqrt(linear_ridge(known)), most):.2g}")


def adagrad(rate: float) -> str:
    """Spec of an Adagrad that takes its rate for its first step."""
    return f"adagrad(learning_rate={rate:.2g}, initial_accumulator_value=1e-8)"


# Setting of `TrainOptions` -> its value.
RULE: Mapping[str, Callable[[Known], Any]] = {
    "batch_size": batch_size,
    "epochs": lambda known: (
        20 if known.tower else 60
    ),  # an epoch without a tower teaches little, and costs little
    "patience": lambda known: 3,
    "bias_optimizer": lambda known: adagrad(bias_rate(known)),
    "network_optimizer": lambda known: adagrad(0.02),
    "embedding_l2": lambda known: 0.0,
    "embedding_ridge": lambda known: (
        500.0 if known.tower else 50.0
    ),  # a tower can make up for small embeddings, products cannot
    "linear_ridge": linear_ridge,
    "search_steps": lambda known: (
        0
    ),  # an epoch, of about the square root of the rows in steps; more of them memorise
}


def resolved(settings: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """The values of those settings that are "auto"."""
    return {key: rule(known) for key, rule in RULE.items() if settings.get(key) == AUTO}
