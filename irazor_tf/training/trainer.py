"""The trainer: all that a search method needs to train models, in a few methods (build, fit,
evaluate, restore).

`fit` is Keras `Model.fit`, one call per epoch, between which the state goes to disk: weights,
optimizers, metric, history and the step, which is also the position in the data. An interrupted run
continues from there and ends with the same numbers.
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from irazor_tf.config.input_config import InputConfig, digest, identity
from irazor_tf.config.layout import FitPaths, shared_fit
from irazor_tf.config.schema import Schema
from irazor_tf.config.seeds import seed_of
from irazor_tf.evaluation.task import Task
from irazor_tf.model.base import BaseModel
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import RoutedRecommender
from irazor_tf.training.epochs import EpochLoop
from irazor_tf.training.options import TrainOptions, known_of
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.source import Source
from irazor_tf.training.state import TrainingState, read_state
from irazor_tf.training.updates.optimizers import make_optimizer
from irazor_tf.training.updates.steps import Joint, Step


class Trainer:
    """Trains models with one base model on one data set.

    Args:
      schema: The data's fields.
      data_dir: Folder with records and manifest.
      base: The base model's settings.
      task: Loss and metrics.
      options: Training settings; what is "auto" in them is resolved by the data's size.
      work_dir: Folder for the states of trainings; every fit has a folder of its own there.
      strategy: Distribution strategy. If None (default), TensorFlow's default one.
      seed: Seed of initial values, noise and the order of rows.
      progress: Whether to draw progress bars.
      tensorboard: Whether to write curves for TensorBoard beside the states: losses, validation
        metrics, the gates' traces.
      shared_dir: Folder for trainings that several searches share. If None (default), `work_dir`.
      optimizers: Group of variables -> optimizer spec, instead of the options', of every fit: a
        method's recipe. If None (default), the options' for every group.
    """

    def __init__(
        self,
        schema: Schema,
        data_dir: str,
        base: BaseModel,
        task: Task,
        options: TrainOptions,
        work_dir: str,
        *,
        strategy: tf.distribute.Strategy | None = None,
        seed: int = 0,
        progress: bool = False,
        tensorboard: bool = False,
        shared_dir: str | None = None,
        optimizers: Mapping[str, str] | None = None,
    ):
        task.check_metric(options.metric)
        self.schema = schema
        self.base = base
        self.task = task
        self.seed = seed
        self.train, self.valid, self.test = (
            Source(data_dir, split) for split in ("train", "valid", "test")
        )
        # `Any`: these are `TrainOptions` in which nothing is "auto" any more, so that numbers are
        # numbers.
        self.options: Any = options.resolved(known_of(schema, self.train.rows, base))
        self.shared_dir = shared_dir or work_dir
        self._strategy = strategy
        self.progress = progress
        self.tensorboard = tensorboard
        # What differs between a trainer and the one inside it.
        self.work_dir = work_dir
        self.optimizers = dict(optimizers or {})
        # Folders of the shared trainings asked for -> seconds that asking took now.
        self.pretrained: dict[str, float] = {}

    def inside(self, name: str, optimizers: Mapping[str, str] | None = None) -> Trainer:
        """The same trainer working in the subfolder `name`, with a method's optimizers (group of
        variables -> spec) in place of its own unless they are None."""
        return self._at(
            os.path.join(self.work_dir, name),
            self.optimizers if optimizers is None else optimizers,
        )

    def _at(self, work_dir: str, optimizers: Mapping[str, str]) -> Trainer:
        """A copy of this trainer with another folder and other optimizers; manifests and options
        are not read again."""
        trainer = copy.copy(self)
        trainer.work_dir = work_dir
        trainer.optimizers = dict(optimizers)
        trainer.pretrained = {}
        return trainer

    def _paths(self, name: str) -> FitPaths:
        return FitPaths(os.path.join(self.work_dir, name))

    def scope(self) -> contextlib.AbstractContextManager:
        """The context in which variables have to be made: that of the distribution strategy."""
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    def build(self, config: InputConfig, gates: Mapping[str, Gate] | None = None) -> Recommender:
        """A model of `config` with fresh weights. `gates`: name of a site of the base model ->
        gate; None for no gates."""
        options = self.options
        with self.scope():
            return Recommender(
                self.schema,
                config,
                self.base,
                self.task,
                gates=gates,
                embedding_l2=options.embedding_l2,
                linear_l2=options.linear_l2,
                embedding_ridge=options.embedding_ridge,
                linear_ridge=options.linear_ridge,
                stddev=options.stddev,
                seed=self.seed,
            )

    def fit(
        self, model: Recommender, name: str, plan: FitPlan = FitPlan()
    ) -> list[dict[str, float]]:
        """Trains a model as the plan says. A fit of this name that was interrupted is continued; of
        one that has ended, the weights are read.

        Args:
          model: Made by `build` or `restrict`.
          name: Name of the fit, and of its folder under `work_dir`.
          plan: What the training does; the default is plain training by the options.

        Returns:
          One record per epoch: number of the epoch, loss, mean penalty by group, the metrics on the
          rows that the plan judges by, and the gates' traces.
        """
        self.task.check_metric(plan.metric or self.options.metric)
        course = plan.course(self.options, self.train, self.valid)
        self._prepare(model, plan)
        state = TrainingState(
            self._paths(name).root, model, plan.step.batches_per_step, course.judge.name
        )
        if not state.done:
            state.restore_last()
            seed = seed_of(self.seed, "rows", name)
            EpochLoop(self, model, plan, course, state, seed).run()
        if state.done:
            state.restore_final()
        return state.history

    def _prepare(self, model: Recommender, plan: FitPlan) -> None:
        """Makes a model ready for a training. A group of variables has the optimizer of the plan,
        or else of this trainer's recipe, or else of the options."""
        specs = self.options.optimizers() | self.optimizers | dict(plan.optimizers)
        with self.scope():
            model.prepare(
                plan.step,
                {group: make_optimizer(specs[group]) for group in model.groups},
                frozen=plan.frozen,
                steps_per_execution=self.options.steps_per_execution,
            )

    def pretrain(
        self,
        space: InputConfig,
        *,
        epochs: int | None = None,
        patience: int | None = None,
        gates: Mapping[str, Gate] | None = None,
        step: Step = Joint(),
        key: str = "",
    ) -> Recommender:
        """A model that was trained plainly, for searches to start from. The training is done once
        for all searches under `shared_dir` that ask for the same.

        Args:
          space: Config of the model.
          epochs, patience: see `FitPlan`.
          gates: Name of a site of the base model -> gate that adds a penalty and has no weights. If
            None (default), no gates.
          step: see `FitPlan`.
          key: Text that stands for what gates and step do, where they are not the default:
            trainings with different keys are kept apart.

        Raises:
          ValueError: a gate has weights to train.
        """
        epochs = self.options.epochs if epochs is None else epochs
        patience = self.options.patience if patience is None else patience
        # Trainings by other optimizers are other trainings.
        recipe = [self.optimizers] if self.optimizers else []
        name = shared_fit(digest([identity(space), epochs, patience, key, *recipe]))
        start = time.perf_counter()
        shared = self._at(self.shared_dir, self.optimizers)
        model = shared.build(space, gates)
        if model.variable_groups["architecture"]:
            raise ValueError(
                "A gate of a pretraining should have no weights to train. Received: "
                f"{model.variable_groups['architecture']}"
            )
        try:
            shared.fit(model, name, FitPlan(step=step, epochs=epochs, patience=patience))
        finally:
            self.pretrained[shared._paths(name).root] = time.perf_counter() - start
        return model

    def is_done(self, name: str) -> bool:
        """Whether the fit called `name` has ended."""
        path = self._paths(name).state
        return os.path.exists(path) and read_state(path)["done"]

    def restore(self, model: Recommender, name: str) -> None:
        """Gives `model` the weights that the fit called `name` ended with.

        Raises:
          ValueError: the fit called `name` has not ended.
        """
        folder = self._paths(name).root
        if not self.is_done(name):
            raise ValueError(
                f"Weights can be restored from a fit that has ended. Received: {folder}"
            )
        TrainingState(folder, model).restore_final()

    def predictions(
        self,
        model: Recommender | RoutedRecommender,
        source: Source,
        config: InputConfig | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predictions of every row of a source, [rows] each, in the order of the files.

        Args:
          model: The model.
          source: The rows.
          config: A narrower config, by which the model scores as if it were cut to it (see
            `Predictor.hard_mask`). If None (default), the model scores as it is.
        """
        size = self.options.eval_batch_size
        with self.scope(), _masked(model, config):
            predicted, labels = model.predict(
                source.ordered(size), steps=-(-source.rows // size), verbose=0
            )
        if len(labels) != source.rows:
            raise ValueError(
                f"An evaluation should see every row. Received: {len(labels)} of {source.rows} "
                f"rows of {source.split!r}"
            )
        return labels, predicted

    def warm_up(self, model: Recommender | RoutedRecommender) -> None:
        """Compiles the model's prediction, so that a measurement of time that follows does not
        include it."""
        with self.scope():
            model.predict(
                self.valid.ordered(self.options.eval_batch_size).take(1), steps=1, verbose=0
            )

    def evaluate(
        self,
        model: Recommender | RoutedRecommender,
        source: Source,
        config: InputConfig | None = None,
    ) -> dict[str, float]:
        """The task's metrics on every row of `source`, name -> value; arguments as in
        `predictions`. With a `config` this is what papers call weight-sharing evaluation."""
        labels, predicted = self.predictions(model, source, config)
        return self.task.metrics(labels, predicted)


@contextlib.contextmanager
def _masked(model: Recommender | RoutedRecommender, config: InputConfig | None) -> Iterator[None]:
    if config is None:
        yield
        return
    assert isinstance(model, Recommender)
    model.hard_mask(config)
    try:
        yield
    finally:
        model.hard_mask(None)
