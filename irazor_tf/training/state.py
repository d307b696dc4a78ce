"""What a fit leaves on disk, so that a killed one goes on as if it had not been: `state.json` and
the checkpoints it names."""

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
    """Step, history, last and best checkpoint of one fit.

    Args:
      directory: Folder of the fit.
      model: Model that is trained, with its optimizers.
      batches_per_step: Number of batches that a step learns from.
      judge: Name of the rows that the records' metrics are of.
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
        """Where an interrupted fit stood: weights, optimizers, the running means."""
        if self._value["last"] is not None:
            self._restore(self._checkpoint, self._value["last"])
            self._resumed_means = [variable.numpy() for variable in self._mean_variables()]

    def restore_final(self) -> None:
        """The weights that an ended fit leaves: those of its best epoch, or the last ones where
        none is looked for."""
        name = self._value["best"]["checkpoint"] if self._value["best"] else self._value["last"]
        self._restore(tf.train.Checkpoint(model=self._model), name)

    def _restore(self, checkpoint: tf.train.Checkpoint, name: str) -> None:
        """Reads a checkpoint.

        Raises:
          ValueError: it is damaged or gone; the message says which folder to delete, for the fit to
            be done again.
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
        """Keeps the weights as they are for the best ones so far, epoch 0."""
        name = self._paths.checkpoint(0)
        self._save(name, {"best": {"value": value, "epoch": 0, "checkpoint": name}})

    def end_epoch(self, step: int, record: dict[str, float], value: float, course: Course) -> None:
        """Records an epoch; writes checkpoint and state; decides whether the fit has ended.

        Args:
          step: Steps taken so far.
          record: Figures of the epoch.
          value: The epoch's validation metric, the better the larger.
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
        """A checkpoint inside an epoch."""
        self._save(self._paths.checkpoint(step), {"step": step})

    def load_means(self) -> None:
        """Keras resets the running means when a fit starts; inside a resumed epoch they go on from
        where they stood."""
        if self._resumed_means is not None:
            for variable, value in zip(self._mean_variables(), self._resumed_means, strict=True):
                variable.assign(value)
            self._resumed_means = None

    def _mean_variables(self) -> list[tf.Variable]:
        return [variable for metric in self._model.metrics for variable in metric.variables]

    def _save(self, name: str, changes: dict[str, Any]) -> None:
        """Writes the checkpoint `name` and then the state that names it, and removes what the state
        names no longer."""
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
    """What a `state.json` holds.

    Raises:
      ValueError: there is none, it is of another version, or not a state; the message names the
        file.
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
