"""The state of a fit on disk, from which an interrupted fit continues as if nothing had happened:
the file `state.json` and the checkpoints that it names."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import tensorflow as tf

from irazor_tf.config import integrity
from irazor_tf.config.files import check_version, read_json, write_json
from irazor_tf.config.layout import FitPaths
from irazor_tf.model.recommender import Recommender
from irazor_tf.training.plan import Course

_VERSION = 1


class TrainingState:
    """The state of one fit: its step, its history, its last and its best checkpoint.

    Args:
      directory: Folder of the fit.
      model: Model that is trained, with its optimizers.
      batches_per_step: Number of batches that a step learns from.
      judge: Name of the rows on which the recorded metrics are computed.
    """

    def __init__(
        self, directory: str, model: Recommender, batches_per_step: int = 1, judge: str = "valid"
    ):
        self.directory = directory
        self._paths = FitPaths(directory)
        self._model = model
        self._batches_per_step = batches_per_step
        self._checkpoint = tf.train.Checkpoint(
            model=model, **{f"{group}_optimizer": o for group, o in model.optimizers.items()}
        )
        self._value: dict[str, Any] = {
            "version": _VERSION,
            "step": 0,
            "last": None,
            "best": None,
            "done": False,
            "history": [],
            "judge": judge,
        }
        self._resumed_means: list[np.ndarray] | None = None
        self._since = time.perf_counter()
        if os.path.exists(self._paths.state):
            self._value = read_state(self._paths.state)

    step = property(lambda self: int(self._value["step"]))
    begun = property(lambda self: self._value["last"] is not None)
    done = property(lambda self: bool(self._value["done"]))
    history = property(lambda self: list(self._value["history"]))

    def restore_last(self) -> None:
        """Reads the last checkpoint, with which an interrupted fit continues: weights, optimizers,
        running means."""
        if self._value["last"] is not None:
            self._restore(self._checkpoint, self._value["last"])
            self._resumed_means = [variable.numpy() for variable in self._mean_variables()]

    def restore_final(self) -> None:
        """Reads the weights with which an ended fit leaves its model: those of its best epoch, or
        the last ones for a fit that does not look for a best epoch."""
        name = self._value["best"]["checkpoint"] if self._value["best"] else self._value["last"]
        self._restore(tf.train.Checkpoint(model=self._model), name)

    def _restore(self, checkpoint: tf.train.Checkpoint, name: str) -> None:
        """Reads a checkpoint into its objects.

        Args:
          checkpoint: The objects.
          name: Name of the checkpoint in the fit's folder.

        Raises:
          ValueError: the checkpoint is damaged or gone; the message says which folder to delete for
            the fit to be done again.
        """
        path = self._paths.at(name)
        damaged = [file for file in self._paths.checkpoint_files(name) if integrity.damaged(file)]
        if damaged:
            fault = f"{os.path.basename(damaged[0])} is not as it was written"
        else:
            try:
                checkpoint.restore(path).expect_partial()
                return
            except (tf.errors.OpError, ValueError, RuntimeError, TypeError) as error:
                fault = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"A checkpoint should be whole, and of this model. Received: {path} ({fault}). Delete "
            f"the folder {self.directory} and run the "
            "same command again: what else is finished stays, and this training is done anew"
        )

    def begin(self, value: float) -> None:
        """Saves the weights that the fit starts from as its best ones so far, epoch 0.

        Args:
          value: Their validation metric, with its sign such that larger is better.
        """
        name = self._paths.checkpoint(0)
        self._save(name, {"best": {"value": value, "epoch": 0, "checkpoint": name}})

    def end_epoch(self, step: int, record: dict[str, float], value: float, course: Course) -> None:
        """Records an epoch; writes checkpoint and state; decides whether the fit has ended.

        Args:
          step: Number of steps taken so far.
          record: Record of the epoch: name of a figure -> value.
          value: The epoch's validation metric, with its sign such that larger is better.
          course: Length and end of the training.
        """
        name = self._paths.checkpoint(step)
        history = [*self._value["history"], record]
        best = self._value["best"]
        if len(history) > course.warmup and (best is None or value > best["value"]):
            best = {"value": value, "epoch": len(history), "checkpoint": name}
        self._save(
            name,
            {
                "step": step,
                "best": best if course.patience else None,
                "done": course.is_over(history, best["epoch"] if best else None),
                "history": history,
            },
        )
        self._resumed_means = None

    def save_inside(self, step: int) -> None:
        """Saves a checkpoint inside an epoch.

        Args:
          step: Number of steps taken so far.
        """
        self._save(self._paths.checkpoint(step), {"step": step})

    def load_means(self) -> None:
        """Restores the running means of an epoch that is continued, because Keras has just reset
        them."""
        if self._resumed_means is not None:
            for variable, value in zip(self._mean_variables(), self._resumed_means, strict=True):
                variable.assign(value)
            self._resumed_means = None

    def _mean_variables(self) -> list[tf.Variable]:
        return [variable for metric in self._model.metrics for variable in metric.variables]

    def _save(self, name: str, changes: dict[str, Any]) -> None:
        """Writes the checkpoint `name`, then the state that names it, and removes the checkpoints
        that the state no longer names.

        Args:
          name: Name of the checkpoint.
          changes: Key of the state -> new value.
        """
        os.makedirs(self.directory, exist_ok=True)
        self._checkpoint.write(self._paths.at(name))
        for file in self._paths.checkpoint_files(name):
            integrity.record(file)
        now = time.perf_counter()
        self._value |= changes
        spent = self._value.get("seconds", 0.0) + now - self._since
        self._value |= {
            "last": name,
            "batches": self._value["step"] * self._batches_per_step,
            "seconds": spent,
        }
        self._since = now
        best = self._value["best"]
        if self._value["done"] and best:  # nobody continues from the last epoch any more
            self._value["last"] = best["checkpoint"]
        write_json(self._paths.state, self._value)
        kept = {self._value["last"], best["checkpoint"] if best else None}
        for path in self._paths.checkpoint_files():
            if os.path.basename(path).split(".")[0] not in kept:
                os.remove(path)


def read_state(path: str) -> dict[str, Any]:
    """The content of a fit's `state.json`: step, history, names of the last and the best
    checkpoint, whether the fit has ended.

    Raises:
      ValueError: there is no such file, it is of another version, or it does not hold a state; the
        message names the file.
    """
    if not os.path.exists(path):
        raise ValueError(
            "A training should have left its state (run the stage that trains again). Received: "
            f"no {path}"
        )
    value = read_json(path)[0]
    check_version(value, _VERSION, "The state of a training", f" ({path})")
    lacking = {"step", "last", "best", "done", "history"} - set(value)
    if lacking:
        raise ValueError(
            f"The state of a training should hold {', '.join(sorted(lacking))}. Received: {path}, "
            "without"
        )
    return value
