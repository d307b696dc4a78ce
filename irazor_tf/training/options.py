"""Settings of training, search and retraining alike."""

from __future__ import annotations

import dataclasses

from irazor_tf.config.checks import check_types
from irazor_tf.config.recipe import AUTO, RULE, Known, resolved
from irazor_tf.config.schema import Schema
from irazor_tf.model.base import BaseModel


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Settings of training, search and retraining alike; "auto" stands for what `recipe.RULE` says
    for the log's size.

    Args:
      batch_size: rows per step, over all replicas; or auto.
      epochs: passes over the training rows, at most; or auto.
      patience: epochs without a better validation metric after which training stops; 0: never
        before `epochs`; or auto.
      metric: validation metric that decides on stopping and on the best weights.
      bias_optimizer, network_optimizer: specs for first-order terms, and for tables and dense
        weights; or auto.
      architecture_optimizer: spec for the gates' weights.
      embedding_l2, linear_l2: see `Recommender`; the first may be auto.
      embedding_ridge, linear_ridge: see `Shares`; or auto.
      search_steps: steps of a search whose method's spec gives no length; 0: one epoch; or auto.
      stddev: standard deviation of the embeddings' initial values.
      eval_batch_size: rows per step of an evaluation.
      steps_per_execution: steps per call of the compiled function.
      checkpoint_steps: steps between two checkpoints inside an epoch; 0: at the end of epochs only.
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
        at_least_one = ("batch_size", "epochs", "eval_batch_size", "steps_per_execution")
        penalties = ("embedding_l2", "linear_l2", "embedding_ridge", "linear_ridge")
        for key in (
            *at_least_one,
            "patience",
            "search_steps",
            *penalties,
            "stddev",
            "checkpoint_steps",
        ):
            value = getattr(self, key)
            if key in RULE and value == AUTO:
                continue
            if isinstance(value, str):
                raise ValueError(f"`{key}` should be a number, or {AUTO}. Received: {value!r}")
            least = 1 if key in at_least_one else 0
            if value < least:
                raise ValueError(f"`{key}` should be at least {least}. Received: {value}")
            if (
                key in penalties and value > 1e10
            ):  # beyond it the product with a weight leaves float32
                raise ValueError(f"`{key}` should be at most 1e10. Received: {value}")

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
