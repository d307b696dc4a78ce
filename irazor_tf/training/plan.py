"""The plan of one training, made before it starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from irazor_tf.config.checks import at_least, check_ranges
from irazor_tf.training.source import Source
from irazor_tf.training.updates.steps import Joint, Step


@dataclasses.dataclass(frozen=True)
class FitPlan:
    """The plan of a training, an argument of `Trainer.fit`. A number that is None is taken from the
    trainer's options.

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
      judge: Rows on which the metric is computed. If None (default), the validation split.
      train: Rows to learn from. If None (default), the training split.
      optimizers: Group of variables -> optimizer spec; a group that is not named here has the
        trainer's.
      frozen: Names of groups that do not move, and of parts of the model (embedding, alignment,
        linear, base, intercept) that do not.
      warmup: Epochs, before `epochs`, in which the architecture does not move either; they do not
        compete for the best epoch.
      stop: Function that is called after every epoch with the records so far, and says whether the
        training ends there. If None (default), it ends as `epochs` and `patience` say.
      keep_start: Whether the weights that the training starts from compete for the best epoch, as
        epoch 0: a trained model that is trained further may only get worse.
      pause: Number of epochs, warm-up among them, after which `fit` returns with the weights of the
        last one although the training has not ended; another call continues it. If None (default),
        `fit` trains to the end.

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

    def frozen_at(self, epoch: int) -> frozenset[str]:
        """Names of the groups and parts that are not trained in an epoch.

        Args:
          epoch: Number of the epoch, from 0.
        """
        return frozenset(self.frozen) | ({"architecture"} if epoch < self.warmup else set())

    def course(self, options: Any, train: Source, valid: Source) -> Course:
        """The course of the training: the plan with the values of options and splits in place of
        None.

        Args:
          options: `TrainOptions` in which nothing is "auto".
          train, valid: The training and the validation split.

        Raises:
          ValueError: a batch is larger than the rows it is to come from.
        """
        judge, train_rows = self.judge or valid, self.train or train
        per_epoch = self.step.steps_per_epoch(train_rows, options.batch_size)
        epochs = options.epochs if self.epochs is None else self.epochs
        steps = epochs * per_epoch
        if self.steps is not None:
            epochs, steps = -(-self.steps // per_epoch), self.steps
        return Course(
            train=train_rows,
            # Of a part of the rows that is trained on alone (a cluster's), the judge's rows are the
            # validation rows.
            valid=valid if self.train is None else judge,
            judge=judge,
            metric=self.metric or options.metric,
            patience=options.patience if self.patience is None else self.patience,
            warmup=self.warmup,
            epochs=self.warmup + epochs,
            steps_per_epoch=per_epoch,
            steps=self.warmup * per_epoch + steps,
            stop=self.stop,
            pause=self.pause,
        )


@dataclasses.dataclass(frozen=True)
class Course:
    """The course of a training: rows, length and end, as plan, options and splits give them.

    Args:
      train: Rows to learn from.
      valid: Validation rows, for a step that learns from two kinds of rows.
      judge: Rows on which the metric is computed.
      metric: Validation metric that decides on stopping and on the best weights.
      patience, stop, pause: see `FitPlan`.
      warmup: Epochs of the warm-up.
      epochs: Largest number of epochs, the warm-up's among them.
      steps_per_epoch: Steps of a whole epoch.
      steps: Largest number of steps, the warm-up's among them.
    """

    train: Source
    valid: Source
    judge: Source
    metric: str
    patience: int
    warmup: int
    epochs: int
    steps_per_epoch: int
    steps: int
    stop: Callable[[list[dict[str, float]]], bool] | None
    pause: int | None

    def epoch_at(self, step: int) -> tuple[int, int]:
        """The epoch that the next step belongs to.

        Args:
          step: Number of steps taken so far.

        Returns:
          The number of the epoch, from 0, and the number of steps after which it ends.
        """
        epoch = step // self.steps_per_epoch
        return epoch, min((epoch + 1) * self.steps_per_epoch, self.steps)

    def is_over(self, history: list[dict[str, float]], best: int | None) -> bool:
        """Whether the training ends with the last recorded epoch.

        Args:
          history: A record per epoch so far.
          best: Number of the best epoch so far, from 1. If None, there is none yet.
        """
        waited = 0 if best is None else len(history) - best
        return (
            len(history) >= self.epochs
            or bool(self.patience and waited >= self.patience)
            or bool(self.stop and self.stop(history))
        )

    def pauses(self, epochs: int) -> bool:
        """Whether `fit` returns here although the training has not ended.

        Args:
          epochs: Number of epochs trained so far.
        """
        return self.pause is not None and epochs >= self.pause
