"""Settings of training, search and retraining alike."""

from __future__ import annotations

import dataclasses

from irazor_tf.config.checks import Range, at_least, check_ranges, check_types
from irazor_tf.config.recipe import AUTO, RULE, Known, resolved
from irazor_tf.config.schema import Schema
from irazor_tf.model.base import BaseModel

_PENALTIES = ("embedding_l2", "linear_l2", "embedding_ridge", "linear_ridge")
# Beyond it the product with a weight leaves float32.
_STRENGTH = Range(0, 1e10, False, False, "be at most 1e10")
_RANGES: dict[str, Range] = {
    "batch_size": at_least(1),
    "epochs": at_least(1),
    "eval_batch_size": at_least(1),
    "steps_per_execution": at_least(1),
    "patience": at_least(0),
    "search_steps": at_least(0),
    **dict.fromkeys(_PENALTIES, at_least(0)),
    "stddev": at_least(0),
    "checkpoint_steps": at_least(0),
}


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Settings of training, search and retraining alike; "auto" stands for what `recipe.RULE` says
    for the log's size.

    Args:
      batch_size: Rows per step, over all replicas; or auto.
      epochs: Passes over the training rows, at most; or auto.
      patience: Epochs without a better validation metric after which training stops; at 0 it goes
        on to its last epoch. Or auto.
      metric: Validation metric that decides on stopping and on the best weights.
      bias_optimizer: Spec of the optimizer of first-order terms; or auto.
      network_optimizer: Spec of the optimizer of tables and dense weights; or auto.
      architecture_optimizer: Spec of the optimizer of the gates' weights.
      embedding_l2, linear_l2: see `WeightPenalties`; the first may be auto.
      embedding_ridge, linear_ridge: see `Shares`; or auto.
      search_steps: Steps of a search whose method's spec gives no length; at 0 such a search takes
        one epoch. Or auto.
      stddev: Standard deviation of the embeddings' initial values.
      eval_batch_size: Rows per step of an evaluation.
      steps_per_execution: Steps per call of the compiled function.
      checkpoint_steps: Steps between two checkpoints inside an epoch; at 0 checkpoints are written
        at the end of epochs only.
    """

    batch_size: int | str = AUTO
    epochs: int | str = AUTO
    patience: int | str = AUTO
    metric: str = "log_loss"
    bias_optimizer: str = AUTO
    network_optimizer: str = AUTO
    architecture_optimizer: str = "adagrad(learning_rate=0.02)"
    embedding_l2: float | str = AUTO
    linear_l2: float = 0.0
    embedding_ridge: float | str = AUTO
    linear_ridge: float | str = AUTO
    search_steps: int | str = AUTO
    stddev: float = 0.01
    eval_batch_size: int = 8192
    steps_per_execution: int = 8
    checkpoint_steps: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        numbers = {key: interval for key, interval in _RANGES.items() if not self._is_auto(key)}
        for key in numbers:
            if isinstance(getattr(self, key), str):
                raise ValueError(
                    f"`{key}` should be a number, or {AUTO}. Received: {getattr(self, key)!r}"
                )
        check_ranges(self, "", **numbers)
        check_ranges(self, "", **{key: _STRENGTH for key in _PENALTIES if key in numbers})

    def _is_auto(self, key: str) -> bool:
        return key in RULE and getattr(self, key) == AUTO

    def resolved(self, known: Known) -> TrainOptions:
        """The settings with the rule's values for "auto"."""
        return dataclasses.replace(self, **resolved(dataclasses.asdict(self), known))

    def optimizers(self) -> dict[str, str]:
        """Group -> optimizer spec, or "auto"."""
        return {
            "bias": self.bias_optimizer,
            "network": self.network_optimizer,
            "architecture": self.architecture_optimizer,
        }


def known_of(schema: Schema, rows: int, base: BaseModel) -> Known:
    """What the rule for "auto" knows of a log with so many training rows and of a model."""
    return Known(rows, len(schema.fields), schema.num_features, "flat" in base.uses)
