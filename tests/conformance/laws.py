"""What the laws are run on: every registered entry at toy size, found by enumeration, and the runs
that several laws share."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import json
import os
import pathlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from benchmarks.common import FORMER
from irazor_tf.config.input_config import BitMask, FieldConfig, InputConfig
from irazor_tf.config.registry import Registry
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec, parse_spec
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS, BaseModel
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, SearchMethod
from irazor_tf.training.options import TrainOptions
from irazor_tf.training.steps import Step
from irazor_tf.training.trainer import Trainer
from tests.conformance import tiny_data
from tests.conformance.toys import TOYS

WIDTH = 6
EPOCHS = 2
# What entries are given where they have a parameter of that name; an entry needs no line here.
TINY = {"hidden": (8,), "dropout": 0.3, "epochs": EPOCHS}
OPERAND = "magnitude"  # for methods that take one
# Beside an entry, in a module of its name: SPECS, further settings that take another path through
# the spine, and TINY, more of what it is given at toy size.
_BESIDE = {
    name: importlib.import_module(f"tests.conformance.variants.{name}")
    for _, name, _ in pkgutil.iter_modules([str(pathlib.Path(__file__).parent / "variants")])
}
VARIANTS = {
    "toy_masked": [
        Spec("toy_masked", (("every", 2), ("architecture_first", True), ("held_out", None)))
    ],
    **{name: [parse_spec(text) for text in module.SPECS] for name, module in _BESIDE.items()},
}
FEW_METHODS = (
    "fde",
    "irazor",
    "magnitude",
)  # those that every model is run under; magnitude leaves every kind of gap

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


def tiny_spec(registry: Registry, name: str) -> Spec:
    """The entry at toy size."""
    entry = registry.get(name)
    known = {field.name for field in dataclasses.fields(entry.Params) if field.init}
    operands = (tiny_spec(METHODS, OPERAND),) if getattr(entry, "takes_operands", False) else ()
    given = TINY | getattr(_BESIDE.get(name), "TINY", {})
    return Spec(name, tuple((key, value) for key, value in given.items() if key in known), operands)


@dataclasses.dataclass(frozen=True)
class Case:
    """One method on one model under one task, all at toy size."""

    method: Spec
    model: Spec
    task: str = "ctr"

    def __str__(self) -> str:
        method = re.sub(r"\W+", "_", str(self.method)).strip("_")
        return f"{method}-{self.model.name}-{self.task}"

    def make_method(self) -> SearchMethod:
        return METHODS.build(self.method)

    def make_base(self) -> BaseModel:
        return MODELS.build(self.model)


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """The toys are entries of the registry; inside another such block they are already."""
    new = {name: entry for name, entry in TOYS.items() if name not in METHODS.names()}
    for name, entry in new.items():
        METHODS.register(name)(entry)
    try:
        yield
    finally:
        for name in new:
            METHODS.remove(name)


def fits(method: Spec, model: Spec) -> bool:
    try:
        METHODS.build(method).check(MODELS.build(model))
    except ValueError:
        return False
    return True


def method_names() -> list[str]:
    return sorted({*METHODS.names(), *TOYS})


@functools.cache
def method_cases(variants: bool = True) -> tuple[Case, ...]:
    """Every method, and its variants, on one model that meets its needs (the MLP where it does)."""
    models = [
        tiny_spec(MODELS, name)
        for name in sorted(MODELS.names(), key=lambda name: (name != "mlp", name))
    ]
    cases = []
    with registered():
        for name in method_names():
            for spec in [tiny_spec(METHODS, name), *(VARIANTS.get(name, []) if variants else [])]:
                cases += [Case(spec, model) for model in models if fits(spec, model)][:1]
    return tuple(cases)


def named(method: str) -> Case:
    """The first case of a method."""
    return next(case for case in method_cases() if case.method.name == method)


@functools.cache
def model_cases() -> tuple[Case, ...]:
    """Every model under a few methods, as far as it meets their needs."""
    models = [tiny_spec(MODELS, name) for name in MODELS.names()]
    methods = [tiny_spec(METHODS, name) for name in FEW_METHODS]
    return tuple(
        Case(method, model) for method in methods for model in models if fits(method, model)
    )


@functools.cache
def training_cases() -> tuple[Case, ...]:
    """For laws that train again: every method, and every model under the first of a few methods
    whose needs it meets."""
    first: dict[str, Case] = {}
    for method in ("irazor", "fde"):
        for case in model_cases():
            if case.method.name == method:
                first.setdefault(case.model.name, case)
    return tuple(dict.fromkeys([*method_cases(), *first.values(), *task_cases()]))


@functools.cache
def task_cases() -> tuple[Case, ...]:
    return tuple(
        Case(tiny_spec(METHODS, "irazor"), tiny_spec(MODELS, "mlp"), task) for task in TASKS.names()
    )


@functools.cache
def all_cases() -> tuple[Case, ...]:
    """Every method on one model, every model under a few methods, every task; the rest of the
    product is marked slow."""
    return tuple(dict.fromkeys([*method_cases(), *model_cases(), *task_cases()]))


@functools.cache
def ranking_cases() -> tuple[Case, ...]:
    """The methods that say something about fields."""
    with registered():
        ranking = {
            case.method.name: case
            for case in reversed(method_cases())
            if case.make_method().ranks_fields
        }
    return tuple(ranking[name] for name in sorted(ranking))


@functools.cache
def product_cases() -> tuple[Case, ...]:
    """The full product of methods and models."""
    with registered():
        specs = [tiny_spec(METHODS, name) for name in method_names()]
        models = [tiny_spec(MODELS, name) for name in MODELS.names()]
        return tuple(
            Case(method, model) for method in specs for model in models if fits(method, model)
        )


# Law number -> names of the entries it is run on, by kind; `test_coverage` compares it with the
# registries.
REGISTRIES: dict[str, Registry] = {"method": METHODS, "model": MODELS, "task": TASKS}
COVERED: dict[int, dict[str, set[str]]] = {}


def covers(number: int, **names: Iterable[str]) -> None:
    """Remembers whom a law covers: by kind of entry, their names."""
    covered = COVERED.setdefault(number, {kind: set() for kind in REGISTRIES})
    for kind, found in names.items():
        covered[kind].update(found)


def law(number: int, cases: Sequence[Case], *, product: bool = True) -> Callable[[Any], Any]:
    """Parametrises a test by cases, and remembers whom the law covers; the rest of the product of
    methods and models is marked slow."""
    cases = tuple(dict.fromkeys(cases))
    covers(
        number,
        method=(case.method.name for case in cases),
        model=(case.model.name for case in cases),
        task=(case.task for case in cases),
    )
    parameters = [pytest.param(case, id=str(case)) for case in cases]
    rest = [case for case in product_cases() if case not in cases] if product else []
    parameters += [pytest.param(case, id=str(case), marks=pytest.mark.slow) for case in rest]
    return pytest.mark.parametrize("case", parameters)


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
        )

    def batch(self, split: str = "test", rows: int = 200) -> dict[str, tf.Tensor]:
        from irazor_tf.training.source import Source

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
    supernet: Recommender
    fits: list[Fit]
    at_end: dict[str, np.ndarray]  # by position and name


def train(
    case: Case, trainer: Trainer, space: InputConfig
) -> tuple[SearchMethod, SearchResult, Recommender]:
    """The search; a supernet that its method does not train is trained plainly, as the final model
    would be."""
    method = case.make_method()
    result, supernet = method.search(trainer, space)
    if not supernet.optimizers:
        trainer.fit(supernet, "plain")
    return method, result, supernet


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
