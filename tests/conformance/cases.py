"""On whom the laws are run: every registered method, model and task at toy size, found by
enumeration, and the pairs of them that a suite takes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import pathlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from irazor_tf.config.registry import Registry
from irazor_tf.config.specs import Spec, parse_spec
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS, BaseModel
from irazor_tf.search.method import METHODS, SearchMethod, check_sites
from tests.conformance.toys import TOYS

Row = TypeVar("Row")
Column = TypeVar("Column")

EPOCHS = 2
# What entries are given where they have a parameter of that name; an entry needs no line here.
TINY = {"hidden": (8,), "dropout": 0.3, "epochs": EPOCHS}
OPERAND = "magnitude"  # for methods that take one
# The method of the tasks and of the quick suite, and the model of every method that it fits.
USUAL_METHOD, USUAL_MODEL = "irazor", "mlp"
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
    """The toys as entries of the registry; inside another such block they are already."""
    new = {name: entry for name, entry in TOYS.items() if name not in METHODS.names()}
    for name, entry in new.items():
        METHODS.register(name)(entry)
    try:
        yield
    finally:
        for name in new:
            METHODS.remove(name)


def tiny_spec(registry: Registry, name: str) -> Spec:
    """The entry at toy size."""
    entry = registry.get(name)
    known = {field.name for field in dataclasses.fields(entry.Params) if field.init}
    operands = (tiny_spec(METHODS, OPERAND),) if getattr(entry, "takes_operands", False) else ()
    settings = TINY | getattr(_BESIDE.get(name), "TINY", {})
    arguments = tuple((key, value) for key, value in settings.items() if key in known)
    return Spec(name, arguments, operands)


def fits(method: Spec, model: Spec) -> bool:
    """Whether the model has what the method needs."""
    try:
        check_sites(METHODS.build(method), MODELS.build(model))
    except ValueError:
        return False
    return True


def method_names() -> list[str]:
    return sorted({*METHODS.names(), *TOYS})


def method_specs(variants: bool) -> list[Spec]:
    """Every method, the usual one first, and then, if `variants`, their further settings."""
    names = sorted(method_names(), key=lambda name: (name != USUAL_METHOD, name))
    further = [spec for name in names for spec in VARIANTS.get(name, [])] if variants else []
    return [*(tiny_spec(METHODS, name) for name in names), *further]


def model_specs() -> list[Spec]:
    """Every model, the usual one first."""
    names = sorted(MODELS.names(), key=lambda name: (name != USUAL_MODEL, name))
    return [tiny_spec(MODELS, name) for name in names]


def covering(
    rows: Sequence[Row], columns: Sequence[Column], fit: Callable[[Row, Column], bool]
) -> list[tuple[Row, Column]]:
    """Pairs that fit and in which every row and every column stands that fits anything at all.

    Every row is paired with the first column that fits; every column that is left is paired with a
    row of its own, as long as there are enough of them: the rows are taken in turn. So there are
    about as many pairs as rows and columns together, where the product has rows times columns.
    """
    pairs = []
    for row in rows:
        pairs += [(row, column) for column in columns if fit(row, column)][:1]
    turn = list(rows)
    for column in columns:
        if column in [taken for _, taken in pairs]:
            continue
        fitting = [row for row in turn if fit(row, column)][:1]
        for row in fitting:
            pairs.append((row, column))
            turn.remove(row)
            turn.append(row)
    return pairs


@functools.cache
def covering_cases(variants: bool = True) -> tuple[Case, ...]:
    """What the fast suite runs every law on: the covering of methods (with their variants) and
    models, and every task."""
    with registered():
        pairs = covering(method_specs(variants), model_specs(), fits)
    tasks = (
        Case(tiny_spec(METHODS, USUAL_METHOD), tiny_spec(MODELS, USUAL_MODEL), task)
        for task in TASKS.names()
    )
    return tuple(dict.fromkeys([*(Case(*pair) for pair in pairs), *tasks]))


def method_cases() -> list[Case]:
    """Every method on the first model that meets its needs, for laws in which the model plays no
    part."""
    cases: dict[str, Case] = {}
    for case in covering_cases(variants=False):
        cases.setdefault(case.method.name, case)
    return list(cases.values())


def named(method: str) -> Case:
    """The case of a method on the first model that meets its needs."""
    return next(case for case in method_cases() if case.method.name == method)


def ranking_cases() -> list[Case]:
    """The methods that say something about fields."""
    with registered():
        return [case for case in method_cases() if case.make_method().traits.ranks_fields]


@functools.cache
def product_cases() -> tuple[Case, ...]:
    """Every method on every model whose sites meet its needs."""
    with registered():
        return tuple(
            Case(method, model)
            for method in method_specs(variants=False)
            for model in model_specs()
            if fits(method, model)
        )
