"""Every law has a test, and every registered entry is covered by every law that speaks of its kind,
or declares what puts it outside."""

from __future__ import annotations

import contextlib
import importlib
import pathlib
from collections.abc import Iterator

import pytest

from irazor_tf.model.base import MODELS
from irazor_tf.models.mlp import MLP
from irazor_tf.search.method import METHODS
from tests.conformance import cases, laws
from tests.conformance.laws import Law
from tests.conformance.toys import FoldedColumns, NeedsPairs

# Tests enter `laws.COVERED` and `laws.TESTS` when their modules are imported.
for path in sorted(pathlib.Path(__file__).parent.glob("test_*_laws.py")):
    importlib.import_module(f"tests.conformance.{path.stem}")


@contextlib.contextmanager
def stray(registry, entry) -> Iterator[str]:
    """The name of an entry that is registered inside alone, after the tests were collected."""
    registry.register("toy_stray")(type("Stray", (entry,), {}))
    try:
        yield "toy_stray"
    finally:
        registry.remove("toy_stray")


def test_every_entry_is_covered():
    assert not list(laws.uncovered())


@pytest.mark.parametrize("law", Law, ids=lambda law: law.name)
def test_an_entry_that_a_law_does_not_cover_is_found(law):
    for kind, registry, entry in (("method", METHODS, FoldedColumns), ("model", MODELS, MLP)):
        with stray(registry, entry) as name:
            line = f"{kind} {name} by law {law.number}: {law.sentence}"
            outside = kind not in law.kinds or law.excuse(kind, name)
            assert (line in laws.uncovered()) != bool(outside)


def test_laws_run_to_twelve():
    assert [law.number for law in Law] == list(range(1, 13))
    assert all(law.sentence.endswith(".") for law in Law)


@pytest.mark.parametrize("law", Law, ids=lambda law: law.name)
def test_every_law_has_a_test(law):
    assert laws.TESTS[law]
    assert any(laws.COVERED[law].values())


def test_what_an_entry_declares_is_its_excuse():
    for name in METHODS.names():
        ranks = METHODS.build(cases.tiny_spec(METHODS, name)).traits.ranks_fields
        assert (Law.RANKING.excuse("method", name) is None) == ranks
        assert Law.SEED.excuse("method", name) is None


def test_the_covering_holds_every_entry_and_variant():
    covering = cases.covering_cases()
    assert {case.method.name for case in covering} == {*METHODS.names()}
    assert {case.model.name for case in covering} == {*MODELS.names()}
    assert {case.task for case in covering} == {*laws.TASKS.names()}
    assert {*cases.method_specs(variants=True)} == {case.method for case in covering}
    assert all(cases.fits(case.method, case.model) for case in covering)
    assert {case for case in covering if case.method in cases.method_specs(False)} <= {
        *cases.product_cases(),
        *(case for case in covering if case.task != "ctr"),
    }
    assert len({str(case) for case in covering}) == len(covering)
    entries = len(cases.method_specs(variants=True)) + len(MODELS.names()) + len(laws.TASKS.names())
    assert len(covering) < entries, "a covering grows with the entries, not with their product"


def test_a_new_method_and_a_new_model_enter_the_covering():
    with stray(METHODS, FoldedColumns) as name:
        assert name in {case.method.name for case in cases.covering_cases.__wrapped__()}
    with stray(MODELS, MLP) as name:
        assert name in {case.model.name for case in cases.covering_cases.__wrapped__()}
    with stray(METHODS, NeedsPairs) as name:  # no model meets its needs
        assert name not in {case.method.name for case in cases.covering_cases.__wrapped__()}


def test_a_covering_takes_the_rows_in_turn():
    def fit(row: str, column: str) -> bool:
        return not (row in "ab" and column == "z")

    pairs = cases.covering("abc", "xyzw", fit)
    assert pairs == [("a", "x"), ("b", "x"), ("c", "x"), ("a", "y"), ("c", "z"), ("b", "w")]
    assert cases.covering("abc", "xyzw", fit) == pairs
    assert cases.covering("ab", "z", fit) == [], "what fits nothing is in no pair"
