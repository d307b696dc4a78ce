"""A job at work: its settings parsed, checked and turned into objects once, passed from stage to
stage."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

from data_pipelines.reader import Reader
from irazor_tf.config.checks import did_you_mean
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import JobPaths
from irazor_tf.config.recipe import AUTO
from irazor_tf.config.schema import Schema
from irazor_tf.config.specs import Spec
from irazor_tf.evaluation.baselines import BASELINES
from irazor_tf.evaluation.task import TASKS, Task
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.config import JobConfig
from irazor_tf.jobs.recipe import resolved_options
from irazor_tf.model.base import MODELS, BaseModel
from irazor_tf.search.method import METHODS, SearchMethod, check_sites
from irazor_tf.training.options import TrainOptions
from irazor_tf.training.strategy import strategy_of
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.optimizers import make_optimizer


class Job:
    """A job's settings and the objects made of them.

    Every spec is built once, and every folder has one trainer. Objects that need the records
    (schema, resolved training settings, trainers) are made on first use.

    Args:
      config: The settings.

    Raises:
      ValueError: a name or a setting does not exist, or parts do not go together.
    """

    def __init__(self, config: JobConfig):
        self.config = config
        self._methods: dict[str, SearchMethod] = {}
        self._trainers: dict[str, Trainer] = {}
        specs = config.specs
        self.base: BaseModel = MODELS.build(specs.model)
        self.methods = tuple(map(self.method, specs.methods))
        for method in self.methods:
            check_sites(method, self.base)
        _check_chain(self.methods)
        self.controls = tuple(map(self.method, specs.controls))
        _check_optimizers(config.train, (*self.methods, *self.controls))
        same = specs.final_model == specs.model
        self.final_base: BaseModel = self.base if same else MODELS.build(specs.final_model)
        for method in () if same else (self.methods[-1], *self.controls):
            _check_goes_on(method, config)
        self.task: Task = TASKS.build(specs.task)
        self.task.check_metric(config.train.metric)
        for name in config.baselines:
            if name not in BASELINES:
                raise ValueError(
                    f"A baseline should be one of {', '.join(BASELINES)}. "
                    f"{did_you_mean(name, BASELINES)}"
                )
        if config.data is not None and not config.has_records:
            _ = self.reader

    @property
    def paths(self) -> JobPaths:
        """The job's folder, with the paths of everything in it."""
        return self.config.paths

    @functools.cached_property
    def reader(self) -> Reader:
        """The reader of the log; only for a job whose settings say how records are made."""
        assert self.config.data is not None
        return self.config.data.make_reader()

    @functools.cached_property
    def schema(self) -> Schema:
        """The fields of the data, read from the records, which have to exist."""
        return Schema.load(self.config.records_dir)

    @functools.cached_property
    def options(self) -> TrainOptions:
        """The training settings, with numbers and specs in place of "auto"."""
        return resolved_options(self.config, self.schema, self.base)

    @property
    def space(self) -> InputConfig:
        """The config that is searched: every field at full width."""
        return InputConfig.uniform(self.schema, self.config.width)

    def method(self, spec: Spec) -> SearchMethod:
        """The method of a spec; equal specs give the same object."""
        key = str(spec)
        if key not in self._methods:
            self._methods[key] = METHODS.build(spec)
        return self._methods[key]

    @property
    def trainer(self) -> Trainer:
        """The trainer of the searches; each search has a subfolder of its folder."""
        return self._trainer(self.base, self.options)

    def final_trainer(self, candidate: Candidate) -> Trainer:
        """The trainer of a candidate's final models, in the folder of these models."""
        folder = os.path.relpath(self.paths.model(candidate.key).root, self.config.model_dir)
        return self._trainer(self.final_base, self.options, folder, candidate.result.optimizers)

    def tuning_trainer(self, folder: str, base: BaseModel, options: TrainOptions) -> Trainer:
        """The trainer of one recipe of the tuning.

        Args:
          folder: Its folder, relative to the job's.
          base: The recipe's base model.
          options: The recipe's training settings.
        """
        return self._trainer(base, options, folder)

    def on_one_device(self) -> Job:
        """The same job without a distribution strategy, for exporting and serving."""
        if self.config.distribution_strategy == "off":
            return self
        return self._on_one_device

    @functools.cached_property
    def _on_one_device(self) -> Job:
        job = copy.copy(self)
        job.config = dataclasses.replace(self.config, distribution_strategy="off")
        job._trainers = {}
        return job

    def _trainer(
        self,
        base: BaseModel,
        options: TrainOptions,
        folder: str = "",
        optimizers: Mapping[str, str] | None = None,
    ) -> Trainer:
        config = self.config
        if folder not in self._trainers:
            self._trainers[folder] = Trainer(
                self.schema,
                config.records_dir,
                base,
                self.task,
                options,
                os.path.join(config.model_dir, folder) if folder else config.model_dir,
                strategy=strategy_of(config.distribution_strategy),
                seed=config.seed,
                progress=config.progress,
                tensorboard=config.tensorboard,
                shared_dir=self.paths.searches,
                optimizers=optimizers,
            )
        return self._trainers[folder]


def _check_chain(methods: tuple[SearchMethod, ...]) -> None:
    """Raises ValueError where a method that another one follows does not leave one config to search
    in."""
    for method in methods[:-1]:
        if method.traits.result == "clusters":
            raise ValueError(
                "A method that another one follows should leave one config. Received: "
                f"{str(method.spec())!r}: one per cluster of rows"
            )
        if method.traits.result == "gates":
            raise ValueError(
                "A method that another one follows should say what to keep. Received: "
                f"{str(method.spec())!r}: gates in all of it"
            )


def _check_optimizers(options: TrainOptions, methods: tuple[SearchMethod, ...]) -> None:
    """Raises ValueError where an optimizer that some training would use does not exist."""
    for group, optimizer in options.optimizers().items():
        if optimizer == AUTO:
            continue
        try:
            make_optimizer(optimizer)
        except ValueError as error:
            raise ValueError(f"`{group}_optimizer`: {error}") from None
    for method in _with_operands(methods):
        for optimizer in (*method.traits.recipe.values(), *method.optimizers().values()):
            make_optimizer(optimizer)


def _check_goes_on(method: SearchMethod, config: JobConfig) -> None:
    """Raises ValueError where the final models would have another base model than the search,
    although the method's final model continues with the searched weights."""
    if method.traits.init in ("continue", "keep"):
        raise ValueError(
            "A method whose final model goes on with the searched weights should be retrained "
            "on the model it was searched with. "
            f"Received: method {str(method.spec())!r}, searched with {config.model!r}, retrained "
            f"with {config.final_model!r}"
        )


def _with_operands(methods: tuple[Any, ...]) -> list[SearchMethod]:
    """The methods, each followed by those that it works on (its operands, and theirs)."""
    return [inner for method in methods for inner in (method, *_with_operands(method.operands))]
