"""Every registered entry is covered by every law that speaks of its kind."""

from __future__ import annotations

from irazor_tf.search.method import METHODS
from tests.conformance import laws, test_result_laws, test_resume_laws, test_training_laws
from tests.conformance.toys import NeedsPairs

MODULES = (
    test_result_laws,
    test_resume_laws,
    test_training_laws,
)  # their laws enter `laws.COVERED` when they are imported
LAWS = {
    "method": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12),
    "model": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12),
    "task": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
}


def uncovered() -> list[str]:
    """What is registered and not covered, in words."""
    found = []
    for kind, registry in laws.REGISTRIES.items():
        for name in registry.names():
            numbers = list(LAWS[kind])
            if kind == "method" and METHODS.build(laws.tiny_spec(METHODS, name)).ranks_fields:
                numbers.append(11)
            found += [
                f"{kind} {name} by law {number}"
                for number in numbers
                if name not in laws.COVERED[number][kind]
            ]
    return found


def test_every_entry_is_covered():
    assert not uncovered()


def test_an_entry_that_no_law_covers_is_found():
    METHODS.register("toy_stray")(NeedsPairs)
    try:
        assert f"method toy_stray by law {LAWS['method'][0]}" in uncovered()
    finally:
        METHODS.remove("toy_stray")


def test_laws_run_to_twelve():
    assert sorted(laws.COVERED) == list(range(1, 13))
