"""Written once per session: the tiny data set, and one finished search per case, which most laws look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import tensorflow as tf
import tf_keras as keras

from irazor_tf.recommender import Recommender
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
    """One per process: the collective operations of a second strategy would take the keys of the first one's."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def searched(tiny: laws.Tiny, tmp_path_factory: pytest.TempPathFactory) -> Callable[[laws.Case], laws.Run]:
    """case -> its run; the first law that asks waits for it."""
    runs: dict[laws.Case, laws.Run] = {}

    def run(case: laws.Case) -> laws.Run:
        if case not in runs:
            trainer = tiny.trainer(case, tmp_path_factory.mktemp("run"))
            with pytest.MonkeyPatch.context() as patch:
                fits = watch_fits(patch)
                method, result, supernet = laws.train(case, trainer, tiny.space)
            runs[case] = laws.Run(case, trainer, method, result, supernet, fits, laws.values(supernet))
        return runs[case]

    return run


def watch_fits(patch: pytest.MonkeyPatch) -> list[laws.Fit]:
    """A record of every call of `Model.fit` from now on."""
    fits: list[laws.Fit] = []
    fit, train_step, predict_step = keras.Model.fit, Recommender.train_step, Recommender.predict_step

    def watched_fit(self, *args, initial_epoch=0, **kwargs):
        fits.append(laws.Fit(first=initial_epoch == 0))
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
