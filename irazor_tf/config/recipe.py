"""What "auto" stands for in the training settings: a rule that derives them from the size of a log.
No TensorFlow import.

docs/recipe.md has the measurements behind every line of the rule, and what it was not measured for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Known:
    """What the rule for "auto" is given: the size of a log, and the kind of model that is to learn
    from it.

    Args:
      rows: Number of rows in the training split.
      fields: Number of fields.
      features: Number of ids of all fields together, out-of-vocabulary ids included.
      tower: Whether the model has dense layers on its embeddings. In models without them
        (factorisation machines, say) the first-order terms matter most.
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
    """How often a feature has to occur in the training rows to get an id of its own: 2 below a
    million rows; 4, 10 and 20 from one, ten and a hundred million rows on.

    A feature that occurs once teaches nothing, and a field with another value in each row would
    fill the memory with ids.
    """
    return 2 + 2 * (rows >= 10**6) + 6 * (rows >= 10**7) + 10 * (rows >= 10**8)


def batch_size(known: Known) -> int:
    """The power of two nearest to the square root of the number of training rows, from 64 to 8,192,
    so that an epoch has about as many steps as a batch has rows. With fewer than 64 rows, the
    largest power of two not above their number."""
    return 2 ** min(round(min(max(math.log2(known.rows) / 2, 6), 13)), int(math.log2(known.rows)))


def linear_ridge(known: Known) -> float:
    """25 features / rows, but at least .1 and at most 30: the fewer rows there are per feature, the
    more its first-order term is pulled towards zero."""
    return float(f"{min(max(25 * known.features / known.rows, 0.1), 30.0):.2g}")


def bias_rate(known: Known) -> float:
    """The learning rate of the first-order terms: a share of 1 / sqrt(`linear_ridge`), the standard
    deviation of their prior, which is the scale that a term is expected to have.

    With a tower the share is a tenth, and the rate at most .04, because faster first-order terms
    leave the tower nothing to learn; without one the share is .3, and the rate at most .15.
    """
    share, most = (0.1, 0.04) if known.tower else (0.3, 0.15)
    return float(f"{min(share / math.sqrt(linear_ridge(known)), most):.2g}")


def adagrad(rate: float) -> str:
    """Spec of an Adagrad optimizer whose first step has the full size `rate` (its accumulators
    start near zero)."""
    return f"adagrad(learning_rate={rate:.2g}, initial_accumulator_value=1e-8)"


# Setting of `TrainOptions` -> its value.
RULE: Mapping[str, Callable[[Known], Any]] = {
    "batch_size": batch_size,
    # An epoch without a tower teaches little, and costs little.
    "epochs": lambda known: 20 if known.tower else 60,
    "patience": lambda known: 3,
    "bias_optimizer": lambda known: adagrad(bias_rate(known)),
    "network_optimizer": lambda known: adagrad(0.02),
    "embedding_l2": lambda known: 0.0,
    # A tower can make up for small embeddings, products cannot.
    "embedding_ridge": lambda known: 500.0 if known.tower else 50.0,
    "linear_ridge": linear_ridge,
    # An epoch, of about the square root of the rows in steps; more of them memorise.
    "search_steps": lambda known: 0,
}


def resolved(settings: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """The values of the settings that are "auto": name -> value by the rule.

    Args:
      settings: Name of a setting -> its value, or "auto".
      known: What the rule goes by.
    """
    return {key: rule(known) for key, rule in RULE.items() if settings.get(key) == AUTO}
