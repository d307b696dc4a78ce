"""Written once per session: the tiny data set, and one finished search per case, which most laws
look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import tensorflow as tf

from tests.conformance import laws, tiny_data


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> laws.Tiny:
    directory = str(tmp_path_factory.mktemp("tiny") / "data")
    return laws.Tiny(tiny_data.write(directory), directory)


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    with laws.registered():
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
    tiny: laws.Tiny, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[laws.Case], laws.Run]:
    """case -> its run; the first law that asks waits for it."""
    runs: dict[laws.Case, laws.Run] = {}

    def run(case: laws.Case) -> laws.Run:
        if case not in runs:
            trainer = tiny.trainer(case, tmp_path_factory.mktemp("run"))
            with pytest.MonkeyPatch.context() as patch:
                fits = laws.watch_fits(patch)
                method, result, supernet = laws.train(case, trainer, tiny.space)
            runs[case] = laws.Run(
                case, trainer, method, result, supernet, fits, laws.values(supernet)
            )
        return runs[case]

    return run
