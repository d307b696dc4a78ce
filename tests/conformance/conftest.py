"""Made once per process: the tiny data set, and one finished search per case, which most laws look
at."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator

import pytest
import tensorflow as tf

from tests.conformance import cases, runs, tiny_data

KEPT_RUNS = 3


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> runs.Tiny:
    directory = str(tmp_path_factory.mktemp("tiny") / "data")
    return runs.Tiny(tiny_data.write(directory), directory)


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    with cases.registered():
        yield


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """One for all: the collective operations of a second strategy would take the keys of the first
    one's, and fail on their shapes."""

    class WithKeysOfItsOwn(tf.distribute.MirroredStrategy):
        _collective_key_base = 500_000  # as TensorFlow's own tests do

    return WithKeysOfItsOwn(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def searched(
    tiny: runs.Tiny, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[cases.Case], runs.Run]:
    """case -> its run, searched for the first law that asks.

    The tests of a case follow one another (`laws.on_case`), so the last few runs are enough to
    have each case searched once, and the memory of the others is free.
    """
    kept: collections.OrderedDict[cases.Case, runs.Run] = collections.OrderedDict()

    def run(case: cases.Case) -> runs.Run:
        if case not in kept:
            trainer = tiny.trainer(case, tmp_path_factory.mktemp("run"))
            with pytest.MonkeyPatch.context() as patch:
                fits = runs.watch_fits(patch)
                method, result, search = runs.train(case, trainer, tiny.space)
            kept[case] = runs.Run(
                case, trainer, method, result, search, fits, runs.values(search.model)
            )
        kept.move_to_end(case)
        while len(kept) > KEPT_RUNS:
            kept.popitem(last=False)
        return kept[case]

    return run
