"""What a fit leaves on disk, so that a killed one goes on as if it had not been: `state.json` and
the checkpoints it names."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config import integrity
from irazor_tf.config.files import check_version, read_json, write_json
from irazor_tf.model.recommender import Recommender

_VERSION = 1


class TrainingState:
    """Step, history, last and best checkpoint of one fit.

    Args:
      directory: folder of the fit.
      model: with its optimizers.
      batches_per_step: batches that a step learns from.
      judge: name of the rows that the records are of.
    """

    def __init__(
        self, directory: str, model: Recommender, batches_per_step: int = 1, judge: str = "valid"
    ):
        self.directory = directory
        self._path = os.path.join(directory, "state.json")
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
        }
        self._value["judge"] = judge
        self._resumed_means: list[np.ndarray] | None = None
        self._since = time.perf_counter()
        if os.path.exists(self._path):
            self._value = read_state(self._path)

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
        path = os.path.join(self.directory, name)
        said = next(
            (
                f"{os.path.basename(file)} is not as it was written"
                for file in _files(path)
                if integrity.damaged(file)
            ),
            None,
        )
        if said is None:
            try:
                checkpoint.restore(path).expect_partial()
                return
            except (tf.errors.OpError, ValueError, RuntimeError, TypeError) as error:
                said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"A checkpoint should be whole, and of this model. Received: {path} ({said}). Delete "
            f"the folder {self.directory} and run the "
            "same command again: what else is finished stays, and this training is done anew"
        )

    def begin(self, value: float) -> None:
        """Keeps the weights as they are for the best ones so far, epoch 0."""
        self._save("step-0", {"best": {"value": value, "epoch": 0, "checkpoint": "step-0"}})

    def end_epoch(
        self,
        step: int,
        record: dict[str, float],
        value: float,
        patience: int,
        warmup: int,
        epochs: int,
        stop: Callable[[list[dict[str, float]]], bool] | None = None,
    ) -> None:
        """Records an epoch, the better the larger `value`; writes checkpoint and state; decides
        whether the fit has ended."""
        name = f"step-{step}"
        history = [*self._value["history"], record]
        best = self._value["best"]
        if len(history) > warmup and (best is None or value > best["value"]):
            best = {"value": value, "epoch": len(history), "checkpoint": name}
        waited = len(history) - best["epoch"] if best else 0
        done = (
            len(history) >= warmup + epochs
            or bool(patience and waited >= patience)
            or bool(stop and stop(history))
        )
        self._save(
            name,
            {"step": step, "best": best if patience else None, "done": done, "history": history},
        )
        self._resumed_means = None

    def callback(self, every: int, per_epoch: int, total: int) -> keras.callbacks.Callback:
        """Writes a checkpoint every so many steps, but where an epoch ends: there, and after
        `total` steps, `end_epoch` does."""
        return _Checkpoints(self, every, per_epoch, total)

    def save_inside(self, step: int) -> None:
        """A checkpoint inside an epoch."""
        self._save(f"step-{step}", {"step": step})

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
        os.makedirs(self.directory, exist_ok=True)
        path = os.path.join(self.directory, name)
        self._checkpoint.write(path)
        for file in _files(path):
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
        write_json(self._path, self._value)
        kept = {self._value["last"], best["checkpoint"] if best else None}
        for path in glob.glob(os.path.join(glob.escape(self.directory), "step-*")):
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


def _files(path: str) -> list[str]:
    """The files of the checkpoint called `path`."""
    return sorted(glob.glob(f"{glob.escape(path)}.*"))


class _Checkpoints(keras.callbacks.Callback):
    def __init__(self, state: TrainingState, every: int, per_epoch: int, total: int):
        super().__init__()
        self._state = state
        self._every = every
        self._per_epoch = per_epoch
        self._total = total

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first = self._saved = self._state.step
        if self._state.step % self._per_epoch:
            self._state.load_means()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step = self._first + batch + 1
        if (
            self._every
            and step - self._saved >= self._every
            and step % self._per_epoch
            and step < self._total
        ):
            self._saved = step
            self._state.save_inside(step)
