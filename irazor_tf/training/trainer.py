"""Training with few verbs: build, fit, evaluate, restore. All that a search recipe may use.

`fit` is Keras `Model.fit`, one call per epoch, between which the state goes to disk: weights,
optimizers, metric, history and the step, which is also the position in the data. A run that was
killed continues from there and ends as if it had not been."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.input_config import InputConfig, digest, identity
from irazor_tf.config.schema import Schema
from irazor_tf.config.seeds import seed_of
from irazor_tf.evaluation.task import Task
from irazor_tf.model.base import BaseModel
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import RoutedRecommender
from irazor_tf.model.variables import GROUPS
from irazor_tf.training.optimizers import make_optimizer
from irazor_tf.training.options import TrainOptions, known_of
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.source import Source
from irazor_tf.training.state import TrainingState, read_state
from irazor_tf.training.steps import Joint, Step


class Trainer:
    """Trains models of one base model on one data set.

    Args:
      schema: the data's fields.
      data_dir: folder with records and manifest.
      base: the base model's settings.
      task: loss and metrics.
      options: training settings; what is "auto" in them is resolved by the data's size.
      work_dir: where states go; every fit has its own folder there.
      strategy: distribution strategy; None: the default one.
      seed: seed of initial values, noise and the order of rows.
      progress: whether to draw progress bars.
      tensorboard: whether to write curves for TensorBoard beside the states: losses, validation
        metrics, the gates' traces.
      shared_dir: where trainings lie that several searches share; default `work_dir`.
      optimizers: group -> spec, instead of the options', of every fit: a method's recipe.
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
        self.schema = schema
        self.base = base
        self.task = task
        self.work_dir = work_dir
        self.shared_dir = shared_dir or work_dir
        self.optimizers = dict(optimizers or {})
        self.pretrained: dict[
            str, float
        ] = {}  # folders of the shared trainings asked for -> seconds that asking took now
        self.seed = seed
        self.train, self.valid, self.test = (
            Source(data_dir, split) for split in ("train", "valid", "test")
        )
        # `Any`: these are `TrainOptions` in which nothing is "auto" any more, so that numbers are
        # numbers.
        self.options: Any = options.resolved(known_of(schema, self.train.rows, base))
        self._strategy = strategy
        self._progress = progress
        self._tensorboard = tensorboard
        task.check_metric(options.metric)

    def inside(
        self,
        name: str,
        options: TrainOptions | None = None,
        optimizers: Mapping[str, str] | None = None,
    ) -> Trainer:
        """The same trainer working in the subfolder `name`, optionally with other options, or with
        a method's optimizers."""
        own = self.optimizers if optimizers is None else optimizers
        return self._at(os.path.join(self.work_dir, name), options or self.options, own)

    def _at(self, work_dir: str, options: TrainOptions, optimizers: Mapping[str, str]) -> Trainer:
        return Trainer(
            self.schema,
            self.train.directory,
            self.base,
            self.task,
            options,
            work_dir,
            strategy=self._strategy,
            seed=self.seed,
            progress=self._progress,
            tensorboard=self._tensorboard,
            shared_dir=self.shared_dir,
            optimizers=optimizers,
        )

    def scope(self) -> contextlib.AbstractContextManager:
        """Where variables have to be made."""
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    def build(self, config: InputConfig, gates: Mapping[str, Gate] | None = None) -> Recommender:
        """A model with fresh weights."""
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
        self,
        model: Recommender,
        name: str,
        plan: FitPlan = FitPlan(),
    ) -> list[dict[str, float]]:
        """Trains as `plan` says; resumes, or returns at once, where that was done before.

        Args:
          model: made by `build` or `restrict`.
          name: folder of the state under `work_dir`.
          plan: what the training does; the default is plain training by the options.

        Returns:
          One record per epoch: epoch, loss, mean penalty by group, the metrics of the plan's
            `judge`, and the gates' traces.
        """
        options, step, warmup = self.options, plan.step, plan.warmup
        epochs = options.epochs if plan.epochs is None else plan.epochs
        patience = options.patience if plan.patience is None else plan.patience
        metric = self.task.check_metric(plan.metric or options.metric)
        judge = plan.judge or self.valid
        # What an alternating step calls validation rows: a cluster's own where one is trained.
        rows = self.valid if plan.train is None else judge
        train = plan.train or self.train
        seed = seed_of(self.seed, "rows", name)
        per_epoch = step.steps_per_epoch(train, options.batch_size)
        if plan.steps is not None:
            epochs = -(-plan.steps // per_epoch)
        total = warmup * per_epoch + (epochs * per_epoch if plan.steps is None else plan.steps)
        specs = options.optimizers() | self.optimizers | dict(plan.optimizers)
        with self.scope():
            model.optimizers = {group: make_optimizer(specs[group]) for group in model.groups}
            for group, optimizer in model.optimizers.items():
                # A function that makes variables is traced twice.
                optimizer._create_all_weights(model.variable_groups[group])
            model.compile(steps_per_execution=options.steps_per_execution)
        model.step = step
        model.frozen = always = frozenset(plan.frozen)
        known = {*GROUPS, *(part.name for part in model.layers_in_order())}
        if always - known:
            raise ValueError(
                f"`frozen` should name some of {', '.join(sorted(known))}. Received: "
                f"{', '.join(sorted(always - known))}"
            )
        model.train_function = None
        state = TrainingState(
            os.path.join(self.work_dir, name), model, step.batches_per_step, judge.name
        )
        if state.done:
            state.restore_final()
            return state.history
        state.restore_last()
        if plan.keep_start and patience and not state.begun:
            state.begin(self.task.directions[metric] * self.evaluate(model, judge)[metric])
        callbacks: list[keras.callbacks.Callback] = [
            _Finite(state),
            state.callback(options.checkpoint_steps, per_epoch, total),
            _Progress(warmup + epochs),
        ]
        if self._tensorboard:
            callbacks.append(
                keras.callbacks.TensorBoard(
                    os.path.join(state.directory, "tensorboard"), profile_batch=0
                )
            )
        while not state.done and (plan.pause is None or len(state.history) < plan.pause):
            epoch = state.step // per_epoch
            end = min((epoch + 1) * per_epoch, total)
            frozen = always | {"architecture"} if epoch < warmup else always
            if model.frozen != frozen:
                model.frozen = frozen
                model.train_function = None  # it was traced for other groups
            elements = step.elements(train, rows, options.batch_size, seed, state.step).take(
                end - state.step
            )
            logs = model.fit(
                elements,
                initial_epoch=epoch,
                epochs=epoch + 1,
                steps_per_epoch=end - state.step,
                verbose="auto" if self._progress else 0,
                callbacks=callbacks,
            ).history
            means = {
                key: float(values[-1]) for key, values in logs.items()
            }  # the loss, and the gates' penalties
            record = {"epoch": epoch + 1} | means | self.evaluate(model, judge)
            for gate in model.gates.values():
                record |= {key: float(value) for key, value in gate.traces().items()}
            value = self.task.directions[metric] * record[metric]
            if self._tensorboard:
                _write_scalars(os.path.join(state.directory, "tensorboard", "epochs"), record)
            state.end_epoch(end, record, value, patience, warmup, epochs, plan.stop)
            if self._progress:
                print(
                    "  " + "  ".join(f"{key} {value:.5g}" for key, value in record.items()),
                    flush=True,
                )
        if state.done:
            state.restore_final()
        return state.history

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
        """Plain training of a model of `space`, done once for all searches under `shared_dir` that
        ask for the same.

        Args:
          space: of the model.
          epochs, patience: instead of those in the options.
          gates: site -> gate without weights, for a penalty.
          step: how a step is made.
          key: what gates and step do, where they are not the default: trainings with different keys
            are different ones.

        Returns:
          The trained model.

        Raises:
          ValueError: a gate has weights to train.
        """
        epochs = self.options.epochs if epochs is None else epochs
        patience = self.options.patience if patience is None else patience
        own = (
            [self.optimizers] if self.optimizers else []
        )  # trainings by other optimizers are other trainings
        name = os.path.join("pretrained", digest([identity(space), epochs, patience, key, *own]))
        start = time.perf_counter()
        shared = self._at(self.shared_dir, self.options, self.optimizers)
        model = shared.build(space, gates)
        if model.variable_groups["architecture"]:
            raise ValueError(
                "A gate of a pretraining should have no weights to train. Received: "
                f"{model.variable_groups['architecture']}"
            )
        try:
            shared.fit(model, name, FitPlan(step=step, epochs=epochs, patience=patience))
        finally:
            self.pretrained[os.path.join(self.shared_dir, name)] = time.perf_counter() - start
        return model

    def is_done(self, name: str) -> bool:
        """Whether the fit called `name` has ended before."""
        path = os.path.join(self.work_dir, name, "state.json")
        return os.path.exists(path) and read_state(path)["done"]

    def restore(self, model: Recommender, name: str) -> None:
        """Gives `model` the weights that the fit called `name` ended with.

        Raises:
          ValueError: that fit has not ended.
        """
        if not self.is_done(name):
            raise ValueError(
                "Weights can be restored from a fit that has ended. Received: "
                f"{os.path.join(self.work_dir, name)}"
            )
        TrainingState(os.path.join(self.work_dir, name), model).restore_final()

    def predictions(
        self,
        model: Recommender | RoutedRecommender,
        source: Source,
        config: InputConfig | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predictions of every row, [rows] each, in the order of the files; `config`
        masks the rest (see `hard_mask`)."""
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
        """Compiles prediction, so that what is timed next is prediction alone."""
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
        """The task's metrics on every row of `source`; `config` masks what it does not keep
        (weight-sharing evaluation)."""
        labels, predicted = self.predictions(model, source, config)
        return self.task.metrics(labels, predicted)


class _Finite(keras.callbacks.Callback):
    """Stops a fit where a mean of the epoch, the loss first, is no longer a finite number, before a
    checkpoint is made of it."""

    def __init__(self, state: TrainingState):
        super().__init__()
        self._state = state

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch, self._first = epoch + 1, self._state.step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        _check_finite(logs or {}, self._epoch, self._first + batch + 1, self._state.directory)


class DivergedError(ValueError):
    """A training whose loss is no longer a number."""


def _check_finite(means: Mapping[str, float], epoch: int, step: int, directory: str) -> None:
    """Raises DivergedError where a mean is not finite; steps are looked at as often as Keras comes
    back from the compiled function."""
    for key, value in sorted(
        means.items(), key=lambda item: item[0] != "loss"
    ):  # which the others are part of
        if not math.isfinite(value):
            raise DivergedError(
                f"`{key}` should stay finite. Received: {value} in epoch {epoch}, by step {step} "
                f"of the training in {directory} (try lower "
                "learning rates or a smaller `stddev`, in another `model_dir`)"
            )


class _Progress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar. `Trainer.fit` calls Keras once per epoch, so the number of epochs to
    count to has to be told.

    Args:
      epochs: most epochs of the fit, its warm-up among them.
    """

    def __init__(self, epochs: int):
        super().__init__(count_mode="steps")
        self._last = epochs

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params | {"epochs": self._last})


def _write_scalars(directory: str, record: Mapping[str, float]) -> None:
    """An epoch's metrics and the gates' traces as TensorBoard scalars."""
    with tf.summary.create_file_writer(directory).as_default(step=int(record["epoch"])) as writer:
        for key, value in record.items():
            if key != "epoch":
                tf.summary.scalar(key, value)
        writer.flush()


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
