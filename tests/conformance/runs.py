"""What the laws look at: the tiny data set, a search on it, and what a model and the folder of its
run show."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from benchmarks.common import FORMER
from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import Search, SearchMethod
from irazor_tf.training.options import TrainOptions
from irazor_tf.training.source import Source
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.steps import Step
from tests.conformance import tiny_data
from tests.conformance.cases import EPOCHS, Case

WIDTH = 6

# One step per call compiles in half the time of several, and a fused loop rounds otherwise: SEVERAL
# is for tests of its own.
OPTIONS = dataclasses.replace(
    FORMER,
    batch_size=128,
    epochs=EPOCHS,
    patience=0,
    embedding_l2=0.01,
    linear_l2=0.01,
    embedding_ridge=0.1,
    linear_ridge=0.1,
    stddev=0.3,
    eval_batch_size=256,
    steps_per_execution=1,
)
SEVERAL = dataclasses.replace(OPTIONS, steps_per_execution=4)


@dataclasses.dataclass(frozen=True)
class Tiny:
    """The tiny data set."""

    schema: Schema
    directory: str

    @property
    def space(self) -> InputConfig:
        return InputConfig.uniform(self.schema, WIDTH)

    @property
    def awkward(self) -> InputConfig:
        """Gaps at the front, in the middle and at the end, a field gone, one at full width, several
        widths."""
        columns = {
            "strong_a": (1, 4),
            "noise_low": (),
            "pair_a": (0, 2, 5),
            "strong_b": tuple(range(WIDTH)),
            "noise_high": (3,),
        }
        columns["pair_b"] = (0, 1, 2)
        return InputConfig(
            {name: FieldConfig(len(labels), labels) for name, labels in columns.items()}
        )

    @property
    def masked(self) -> InputConfig:
        """The awkward config with a mask of features on one field and masks of entries on two."""
        generator = np.random.default_rng(2)
        fields = dict(self.awkward.fields)
        for name, feature_mask in (("strong_a", True), ("strong_b", False), ("pair_a", False)):
            rows = self.schema.field(name).vocabulary_size
            kept = generator.random((rows,) if feature_mask else (rows, fields[name].dim)) < 0.7
            fields[name] = dataclasses.replace(fields[name], mask=BitMask.from_array(kept))
        return InputConfig(fields)

    def trainer(
        self,
        case: Case,
        work_dir: pathlib.Path | str,
        *,
        seed: int = 1,
        strategy: Any = None,
        options: TrainOptions = OPTIONS,
        progress: bool = False,
    ) -> Trainer:
        task = TASKS.build(case.task)
        options = dataclasses.replace(options, metric=next(iter(task.directions)))
        return Trainer(
            self.schema,
            self.directory,
            case.make_base(),
            task,
            options,
            str(work_dir),
            strategy=strategy,
            seed=seed,
            progress=progress,
        )

    def batch(self, split: str = "test", rows: int = 200) -> dict[str, tf.Tensor]:
        return next(iter(Source(self.directory, split).ordered(rows)))


@dataclasses.dataclass
class Fit:
    """One call of `Model.fit`: traces and eager calls of the training step in it, traces of the
    prediction step after it."""

    epoch: int
    frozen: frozenset[str]
    train_traces: int = 0
    eager: int = 0
    predict_traces: int = 0
    functions: int = 0


def watch_fits(patch: pytest.MonkeyPatch) -> list[Fit]:
    """A record of every call of `Model.fit` from now on."""
    fits: list[Fit] = []
    fit, train_step, predict_step = (
        keras.Model.fit,
        Recommender.train_step,
        Recommender.predict_step,
    )

    def watched_fit(self, *args, initial_epoch=0, **kwargs):
        fits.append(Fit(initial_epoch, self.frozen))
        result = fit(self, *args, initial_epoch=initial_epoch, **kwargs)
        fits[-1].functions = self.train_tf_function.experimental_get_tracing_count()
        return result

    def watched_train_step(self, data):
        if tf.executing_eagerly():
            fits[-1].eager += 1
        else:
            fits[-1].train_traces += 1
        return train_step(self, data)

    def watched_predict_step(self, data):
        if fits:
            fits[-1].predict_traces += 1
        return predict_step(self, data)

    patch.setattr(Recommender, "fit", watched_fit)
    patch.setattr(Recommender, "train_step", watched_train_step)
    patch.setattr(Recommender, "predict_step", watched_predict_step)
    return fits


@dataclasses.dataclass
class Run:
    """A finished search; laws leave its model as they found it (`untouched`)."""

    case: Case
    trainer: Trainer
    method: SearchMethod
    result: SearchResult
    search: Search
    fits: list[Fit]
    at_end: dict[str, np.ndarray]  # by position and name

    @property
    def supernet(self) -> Recommender:
        return self.search.model


def train(
    case: Case, trainer: Trainer, space: InputConfig
) -> tuple[SearchMethod, SearchResult, Search]:
    """The search; a supernet that its method does not train is trained plainly, as the final model
    would be."""
    method = case.make_method()
    result, search = method.search(trainer, space)
    if not search.model.optimizers:
        trainer.fit(search.model, "plain")
    return method, result, search


def values(model: keras.Model) -> dict[str, np.ndarray]:
    """Every variable of the model, and those of its optimizers."""
    found = list(model.variables)
    for optimizer in getattr(model, "optimizers", {}).values():
        found += optimizer.variables()
    return {f"{i}:{variable.name}": variable.numpy() for i, variable in enumerate(found)}


@contextlib.contextmanager
def untouched(model: Recommender) -> Iterator[None]:
    """Whatever is done inside, variables end as they were."""
    kept = [
        *model.variables,
        *(
            variable
            for optimizer in model.optimizers.values()
            for variable in optimizer.variables()
        ),
    ]
    before = [variable.numpy() for variable in kept]
    frozen, step = model.frozen, model.step
    try:
        yield
    finally:
        for variable, value in zip(kept, before, strict=True):
            variable.assign(value)
        model.frozen, model.step = frozen, step


def differing(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> list[str]:
    """Names of the variables that are not bit for bit the same."""
    assert list(a) == list(b), "not the same variables"
    return [name for name in a if not np.array_equal(a[name], b[name])]


def elements(step: Step, trainer: Trainer, count: int, seed: int = 3) -> list[Any]:
    """Some elements of the step's own streams."""
    return list(
        step.elements(trainer.train, trainer.valid, trainer.options.batch_size, seed, 0).take(count)
    )


def histories(work_dir: str) -> dict[str, Any]:
    """Folder of a fit -> its history."""
    found = {}
    for path in pathlib.Path(work_dir).rglob("state.json"):
        found[os.path.relpath(path.parent, work_dir)] = json.loads(path.read_text())["history"]
    return found


def raw_features(schema: Schema, ids: np.ndarray, names: Sequence[str]) -> dict[str, tf.Tensor]:
    """What a client would send for these ids."""
    return {
        name: tf.constant(
            [f"{name}_{k}" if k else "never seen" for k in ids[:, schema.index(name)]]
        )
        for name in names
    }


def auc(scores: dict[str, float]) -> float:
    """Share of (strong, noise) pairs in the right order; a tie is half a pair."""
    pairs = [
        (scores[strong], scores[noise]) for strong in tiny_data.STRONG for noise in tiny_data.NOISE
    ]
    return float(np.mean([(strong > noise) + 0.5 * (strong == noise) for strong, noise in pairs]))
