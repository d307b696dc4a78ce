"""The laws that every method, model and task keeps, and the record of which test covers whom."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from irazor_tf.config.registry import Registry
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS
from irazor_tf.search.method import METHODS
from tests.conformance.cases import (
    USUAL_METHOD,
    Case,
    covering_cases,
    named,
    product_cases,
    tiny_spec,
)

REGISTRIES: dict[str, Registry] = {"method": METHODS, "model": MODELS, "task": TASKS}
EVERY_KIND = frozenset(REGISTRIES)


class Law(enum.Enum):
    """A law: its number, its sentence, and the kinds of entry that it speaks of."""

    NO_RETRACING = 1, "A fit trains in graph mode, without tracing its steps again."
    DECLARED_VARIABLES = 2, "Only the variables that a step declares move in it."
    NO_SIDE_EFFECT = 3, "Evaluation has no side effect."
    WITHIN_SPACE = 4, "The result of a search lies within its space."
    ROUND_TRIP = 5, "What is written as JSON and read again is the same."
    RESTRICTION = (
        6,
        "A supernet under a hard mask, in evaluation mode and with the linear terms of removed "
        "fields masked too, equals its restriction to 1e-6.",
    )
    REPLICAS = 7, "One and two replicas agree to 1e-5, noise included."
    SEED = 8, "The same seed gives the same result, and another one another."
    SAVED_MODEL = (
        9,
        "A reloaded SavedModel equals the model bit for bit on the same batch, and to 1e-6 on "
        "batches of other sizes.",
    )
    RESUMING = (
        10,
        "A run that was killed and resumed ends like one that was not, times aside, and does no "
        "finished work again.",
    )
    RANKING = (
        11,
        "On planted data a method that ranks fields puts the strong ones first.",
        frozenset({"method"}),
    )
    MISFIT = (
        12,
        "A method on a model that lacks what it needs fails at once, with a message that names "
        "both.",
        frozenset({"method", "model"}),
    )

    def __init__(self, number: int, sentence: str, kinds: frozenset[str] = EVERY_KIND):
        self.number = number
        self.sentence = sentence
        self.kinds = kinds

    def excuse(self, kind: str, name: str) -> str | None:
        """What an entry of the kind declares that puts it outside the law; None if nothing does."""
        if self is Law.RANKING and not METHODS.build(tiny_spec(METHODS, name)).traits.ranks_fields:
            return "`ranks_fields` is False"
        return None


# Law -> kind of entry -> names that a test runs the law on, and law -> names of its tests. Filled
# when the modules of tests are imported, compared with the registries by `test_coverage`.
COVERED: dict[Law, dict[str, set[str]]] = {law: {kind: set() for kind in REGISTRIES} for law in Law}
TESTS: dict[Law, list[str]] = {law: [] for law in Law}


def covers(law: Law, **names: Iterable[str]) -> None:
    """Records whom a law covers: by kind of entry, their names."""
    for kind, entries in names.items():
        COVERED[law][kind].update(entries)


def of_law(law: Law) -> Callable[[Any], Any]:
    """Marks a test as one of the law."""

    def mark(test: Any) -> Any:
        TESTS[law].append(test.__name__)
        return pytest.mark.law(law)(test)

    return mark


def on_case(case: Case, *marks: Any) -> Any:
    """The case as a parameter of a test. All tests that look at the shared search of a case run in
    one process, one after the other, by the @ in their names (`tests/conftest.py`)."""
    return pytest.param(case, id=f"@{case}", marks=marks)


def with_case(method: str) -> pytest.MarkDecorator:
    """Gives a test the case of a method on the first model that meets its needs."""
    return pytest.mark.parametrize("case", [on_case(named(method))])


def law(which: Law, cases: Sequence[Case], *, product: bool = True) -> Callable[[Any], Any]:
    """Marks a test as one of the law and parametrises it by cases, whom the law then covers; the
    rest of the product of methods and models is marked slow."""
    covers(
        which,
        method=(case.method.name for case in cases),
        model=(case.model.name for case in cases),
        task=(case.task for case in cases),
    )
    parameters = []
    for case in dict.fromkeys(
        [*cases, *((*covering_cases(), *product_cases()) if product else ())]
    ):
        if case not in cases:
            parameters.append(on_case(case, pytest.mark.slow))
        elif case == named(USUAL_METHOD):
            parameters.append(on_case(case, pytest.mark.quick))
        else:
            parameters.append(on_case(case))
    return lambda test: of_law(which)(pytest.mark.parametrize("case", parameters)(test))


def uncovered() -> Iterator[str]:
    """What is registered, spoken of by a law, not excused, and yet run by none of its tests."""
    for law in Law:
        for kind in sorted(law.kinds):
            for name in REGISTRIES[kind].names():
                if name not in COVERED[law][kind] and law.excuse(kind, name) is None:
                    yield f"{kind} {name} by law {law.number}: {law.sentence}"
