"""The settings that the trainings of searches and of final models share. No TensorFlow import."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from irazor_tf.config.checks import Range, at_least, check_ranges, check_types
from irazor_tf.config.recipe import AUTO, RULE, Known, resolved
from irazor_tf.config.schema import Schema

if TYPE_CHECKING:
    from irazor_tf.model.base import BaseModel

# Names of `tf.distribute` strategies; off: none.
STRATEGIES = ("off", "one_device", "mirrored")

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
    """The settings that the trainings of searches and of final models share. "auto" stands for the
    value that `recipe.RULE` gives for the size of the log.

    Every field has a flag of the same name, whose help text is what stands here.

    Args:
      batch_size: Rows per step, over all replicas.
      epochs: Most passes over the training rows.
      patience: Epochs without a better validation metric before training stops; 0: never.
      metric: Validation metric that decides when training stops and which weights are kept: one of
        those that `irazor settings TASK` lists.
      bias_optimizer: Optimizer of first-order terms and bias, a spec like that of the network's.
      network_optimizer: Optimizer of embeddings and dense layers: adagrad, adam, lazy_adam, ftrl or
        sgd, with settings.
      architecture_optimizer: Optimizer of architecture parameters.
      embedding_l2: Half of this times the mean squared norm of a row's embeddings enters the loss.
      linear_l2: Half of this times the mean squared norm of a row's first-order terms enters the
        loss.
      embedding_ridge: Half of this times the squared norm of all embeddings enters the loss of an
        epoch, summed over its rows: 1/C of scikit-learn.
      linear_ridge: Half of this times the squared norm of all first-order terms enters the loss of
        an epoch, summed over its rows: 1/C of scikit-learn.
      search_steps: Steps of a search by a method with a setting of this name that its spec does not
        give; 0: one epoch.
      stddev: Standard deviation of the embeddings' initial values.
      eval_batch_size: Rows per step of an evaluation.
      steps_per_execution: Steps per call of the compiled function.
      checkpoint_steps: Steps between checkpoints inside an epoch; 0: at the end of epochs.
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
        """The settings with the rule's values in place of "auto".

        Args:
          known: What the rule goes by.
        """
        return dataclasses.replace(self, **resolved(dataclasses.asdict(self), known))

    def optimizers(self) -> dict[str, str]:
        """Group of variables (bias, network, architecture) -> optimizer spec, or "auto"."""
        return {
            "bias": self.bias_optimizer,
            "network": self.network_optimizer,
            "architecture": self.architecture_optimizer,
        }


def known_of(schema: Schema, rows: int, base: BaseModel) -> Known:
    """What the rule for "auto" goes by.

    Args:
      schema: The data's fields.
      rows: Number of training rows.
      base: The base model.
    """
    return Known(rows, len(schema.fields), schema.num_features, "flat" in base.uses)
