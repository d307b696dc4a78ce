"""What one training is to do, said before it starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from irazor_tf.config.checks import at_least, check_ranges
from irazor_tf.training.source import Source
from irazor_tf.training.steps import Joint, Step


@dataclasses.dataclass(frozen=True)
class FitPlan:
    """What one call of `Trainer.fit` does; what is None is taken from the trainer's options.

    Args:
      step: How an element of the data becomes updates of the model.
      epochs: Passes over the training rows, at most, after the warm-up. If None (default), the
        options'.
      steps: Length of the training in steps, after the warm-up, instead of `epochs`; the last
        epoch, with its record, ends where they do. If None (default), `epochs` count.
      patience: Epochs without a better validation metric after which the training stops; it then
        ends with the weights of its best epoch. At 0 it never stops early, and ends with its last
        weights. If None (default), the options'.
      metric: Validation metric that decides on stopping and on the best weights. If None (default),
        the options'.
      judge: Rows that the metric is taken of. If None (default), the validation split.
      train: Rows to learn from. If None (default), the training split.
      optimizers: Group of variables -> optimizer spec; a group that is not named here has the
        trainer's.
      frozen: Names of groups that do not move, and of parts of the model (embedding, alignment,
        linear, base, intercept) that do not.
      warmup: Epochs, before `epochs`, in which the architecture does not move either; they do not
        compete for the best epoch.
      stop: Asked after every epoch, with the records so far, whether the training ends there. If
        None (default), it ends as `epochs` and `patience` say.
      keep_start: Whether the weights that the training starts from compete for the best epoch, as
        epoch 0: a trained model that is trained further may only get worse.
      pause: Number of epochs, warm-up among them, after which `fit` returns with the weights of the
        last one though the training has not ended; another call goes on from there. If None
        (default), it goes on to its end.

    Raises:
      ValueError: a number is below its range.
    """

    step: Step = Joint()
    epochs: int | None = None
    steps: int | None = None
    patience: int | None = None
    metric: str | None = None
    judge: Source | None = None
    train: Source | None = None
    optimizers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    warmup: int = 0
    stop: Callable[[list[dict[str, float]]], bool] | None = None
    keep_start: bool = False
    pause: int | None = None

    def __post_init__(self) -> None:
        check_ranges(
            self,
            epochs=at_least(1),
            steps=at_least(1),
            patience=at_least(0),
            warmup=at_least(0),
            pause=at_least(1),
        )
