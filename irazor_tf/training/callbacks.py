"""Keras callbacks that act within a training, between two calls of the compiled step: checkpoints,
a check that the loss is finite, the progress bar."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from irazor_tf.training.plan import Course
from irazor_tf.training.state import TrainingState


class DivergedError(ValueError):
    """The error of a training whose loss is no longer a finite number."""


class Finite(keras.callbacks.Callback):
    """A callback that stops a training with a `DivergedError` where a mean over the epoch, such as
    the loss, is no longer a finite number, before a checkpoint is made of it.

    The means are looked at whenever Keras comes back from the compiled function.

    Args:
      state: State of the training on disk.
    """

    def __init__(self, state: TrainingState):
        super().__init__()
        self._state = state

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch, self._first = epoch + 1, self._state.step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        means = dict(logs or {})
        # The loss, which the others are part of, is named where it is one of them.
        for key in sorted(means, key=lambda key: key != "loss"):
            if not math.isfinite(means[key]):
                raise DivergedError(
                    f"`{key}` should stay finite. Received: {means[key]} in epoch {self._epoch}, "
                    f"by step {self._first + batch + 1} of the training in "
                    f"{self._state.directory} (try lower learning rates or a smaller `stddev`, in "
                    "another `model_dir`)"
                )


class Checkpoints(keras.callbacks.Callback):
    """A callback that writes a checkpoint every so many steps inside an epoch; at the end of an
    epoch, `TrainingState.end_epoch` writes one.

    Args:
      state: State of the training on disk.
      every: Steps between two checkpoints; at 0 there is none inside an epoch.
      course: Length of the training and of its epochs.
    """

    def __init__(self, state: TrainingState, every: int, course: Course):
        super().__init__()
        self.state = state
        self._every = every
        self._course = course

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first = self._saved = self.state.step
        if self.state.step % self._course.steps_per_epoch:
            self.state.load_means()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step = self._first + batch + 1
        if (
            self._every
            and step - self._saved >= self._every
            and step % self._course.steps_per_epoch
            and step < self._course.steps
        ):
            self._saved = step
            self.state.save_inside(step)


class Progress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar. `Trainer.fit` calls Keras once per epoch, so the bar has to know the
    number of epochs to count to.

    Args:
      epochs: Largest number of epochs of the training, its warm-up among them.
    """

    def __init__(self, epochs: int):
        super().__init__(count_mode="steps")
        self._last = epochs

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params | {"epochs": self._last})


def write_scalars(directory: str, record: Mapping[str, float]) -> None:
    """Writes an epoch's metrics and the gates' traces as TensorBoard scalars.

    Args:
      directory: Folder of the TensorBoard files.
      record: Name -> value, with the epoch's number under "epoch".
    """
    with tf.summary.create_file_writer(directory).as_default(step=int(record["epoch"])) as writer:
        for key, value in record.items():
            if key != "epoch":
                tf.summary.scalar(key, value)
        writer.flush()
