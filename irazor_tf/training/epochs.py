"""One training, epoch by epoch: for each epoch Keras' `Model.fit` is called, the epoch is recorded,
and the state is written to disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import tf_keras as keras

from irazor_tf.config.layout import FitPaths
from irazor_tf.evaluation.task import Task
from irazor_tf.model.recommender import Recommender
from irazor_tf.training.callbacks import Checkpoints, Finite, Progress, write_scalars
from irazor_tf.training.plan import Course, FitPlan
from irazor_tf.training.source import Source
from irazor_tf.training.state import TrainingState


class Judge(Protocol):
    """The attributes and methods of a trainer that `EpochLoop` uses; `Trainer` has them all."""

    options: Any
    task: Task
    progress: bool
    tensorboard: bool

    def evaluate(self, model: Recommender, source: Source) -> dict[str, float]:
        """The task's metrics on every row of `source`, name -> value."""


class EpochLoop:
    """The epochs of one training, from the position that its state has.

    Args:
      trainer: Judges models, and holds the training settings.
      model: Model made ready for the training, with the weights of the state.
      plan: What the training does.
      course: Length and end of the training.
      state: State of the training on disk.
      seed: Seed of the order of rows.
    """

    def __init__(
        self,
        trainer: Judge,
        model: Recommender,
        plan: FitPlan,
        course: Course,
        state: TrainingState,
        seed: int,
    ):
        self._trainer = trainer
        self._model = model
        self._plan = plan
        self._course = course
        self._state = state
        self._seed = seed
        self._curves = FitPaths(state.directory).tensorboard if trainer.tensorboard else None
        self._callbacks: list[keras.callbacks.Callback] = [
            Finite(state),
            Checkpoints(state, trainer.options.checkpoint_steps, course),
            Progress(course.epochs),
        ]
        if self._curves is not None:
            self._callbacks.append(keras.callbacks.TensorBoard(self._curves, profile_batch=0))

    def run(self) -> None:
        """Trains until the training has ended, or until the epoch at which the plan pauses it."""
        state, course = self._state, self._course
        if self._plan.keep_start and course.patience and not state.begun:
            state.begin(self._value(self._trainer.evaluate(self._model, course.judge)))
        while not (state.done or course.pauses(len(state.history))):
            self._run_epoch()

    def _run_epoch(self) -> None:
        """Trains from the state's position to the end of that epoch, and records the epoch."""
        state = self._state
        epoch, end = self._course.epoch_at(state.step)
        self._model.freeze(self._plan.frozen_at(epoch))
        record = {"epoch": epoch + 1} | self._train(epoch, end - state.step) | self._judge()
        if self._curves is not None:
            write_scalars(os.path.join(self._curves, "epochs"), record)
        state.end_epoch(end, record, self._value(record), self._course)
        if self._trainer.progress:
            figures = "  ".join(f"{key} {value:.5g}" for key, value in record.items())
            print(f"  {figures}", flush=True)

    def _train(self, epoch: int, steps: int) -> dict[str, float]:
        """Trains for some steps, and returns the means over them: the loss, and the gates'
        penalties by group.

        Args:
          epoch: Number of the epoch, from 0.
          steps: Number of steps.
        """
        elements = self._plan.step.elements(
            self._course.train,
            self._course.valid,
            self._trainer.options.batch_size,
            self._seed,
            self._state.step,
        )
        means: Mapping[str, Sequence[float]] = self._model.fit(
            elements.take(steps),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=steps,
            verbose="auto" if self._trainer.progress else 0,
            callbacks=self._callbacks,
        ).history
        return {key: float(values[-1]) for key, values in means.items()}

    def _judge(self) -> dict[str, float]:
        """The metrics on the rows that the course is judged by, and the gates' traces."""
        figures = dict(self._trainer.evaluate(self._model, self._course.judge))
        for gate in self._model.gates.values():
            figures |= {key: float(value) for key, value in gate.traces().items()}
        return figures

    def _value(self, record: Mapping[str, float]) -> float:
        """The metric that decides on stopping and on the best epoch, with its sign such that larger
        is better.

        Args:
          record: Metric -> value.
        """
        metric = self._course.metric
        return self._trainer.task.directions[metric] * record[metric]
