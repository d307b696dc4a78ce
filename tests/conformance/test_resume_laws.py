"""Law 10: a run that was killed and resumed ends like one that was not, and finished work is not
done again."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

import numpy as np
import pytest
import tf_keras as keras

from irazor_tf.config.files import read_json
from irazor_tf.model.recommender import Recommender
from irazor_tf.training.plan import FitPlan
from tests.conformance import cases, runs
from tests.conformance.laws import Law, law, of_law


class Killed(Exception):
    """The process ends here."""


class Killer(keras.callbacks.Callback):
    """Kills after so many training steps in this process, or where a later epoch begins, that is
    right after an epoch was saved."""

    def __init__(self, steps: int | None):
        super().__init__()
        self._steps = steps
        self._seen = 0
        self._last = -1

    def on_epoch_begin(self, epoch, logs=None):
        self._last = -1
        if self._steps is None and epoch:
            raise Killed

    def on_train_batch_end(self, batch, logs=None):
        self._seen += batch - self._last
        self._last = batch
        if self._steps is not None and self._seen >= self._steps:
            raise Killed


def watched(monkeypatch: pytest.MonkeyPatch, killer: Killer | None) -> list[int]:
    """Adds the killer to every `Model.fit`; the list has one entry per call."""
    calls: list[int] = []

    def fit(self, *args, callbacks=(), **kwargs):
        calls.append(1)
        return keras.Model.fit(
            self, *args, callbacks=[*callbacks, *([killer] if killer else [])], **kwargs
        )

    monkeypatch.setattr(Recommender, "fit", fit)
    return calls


# Training anew costs most: further settings of a method are for the slow suite.
@law(Law.RESUMING, cases.covering_cases(variants=False))
def test_killed_and_resumed_equals_uninterrupted(case, searched, tiny, tmp_path, monkeypatch):
    run = searched(case)
    check_resumed(run, tiny, tmp_path, monkeypatch)


@of_law(Law.RESUMING)
def test_killed_and_resumed_with_several_steps_per_call(
    tiny, tmp_path, tmp_path_factory, monkeypatch
):
    case = cases.named("irazor")
    trainer = tiny.trainer(case, tmp_path_factory.mktemp("whole"), options=runs.SEVERAL)
    fits = runs.watch_fits(monkeypatch)
    method, result, search = runs.train(case, trainer, tiny.space)
    run = runs.Run(case, trainer, method, result, search, fits, runs.values(search.model))
    check_resumed(run, tiny, tmp_path, monkeypatch)


def check_resumed(
    run: runs.Run, tiny: runs.Tiny, work_dir: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills the same search twice, and compares how it ends with `run`."""
    options = dataclasses.replace(run.trainer.options, checkpoint_steps=8)

    def train() -> tuple[Any, Recommender]:
        _, result, search = runs.train(
            run.case, tiny.trainer(run.case, work_dir, options=options), tiny.space
        )
        return dataclasses.replace(result, seconds=0.0), search.model

    # In the middle of an epoch, with steps lost since the last checkpoint, then where an epoch has
    # just been saved.
    for killer in (Killer(11), Killer(None)):
        watched(monkeypatch, killer)
        with pytest.raises(Killed):
            train()
    calls = watched(monkeypatch, None)
    result, supernet = train()
    assert 0 < len(calls) < len(run.fits), "epochs that had ended should not be trained again"
    assert runs.histories(str(work_dir)) == runs.histories(run.trainer.work_dir)
    assert not runs.differing(run.at_end, runs.values(supernet))
    assert result == dataclasses.replace(run.result, seconds=0.0)
    calls.clear()
    result, supernet = train()
    assert not calls, "a finished fit should not be trained again"
    assert not runs.differing(
        weights(run.supernet, run.at_end), weights(supernet, runs.values(supernet))
    )
    assert result == dataclasses.replace(run.result, seconds=0.0)


@of_law(Law.RESUMING)
def test_a_fit_of_so_many_steps_ends_there_killed_in_its_last_epoch_or_not(
    tiny, tmp_path, monkeypatch
):
    """32 steps, 25 of them in an epoch."""

    def fit(folder: str, every: int) -> tuple[Recommender, list[dict[str, float]]]:
        trainer = tiny.trainer(
            CASE,
            tmp_path / folder,
            options=dataclasses.replace(runs.OPTIONS, checkpoint_steps=every),
        )
        model = trainer.build(tiny.space)
        return model, trainer.fit(model, "final", FitPlan(steps=32))

    model, history = fit("whole", 0)
    assert int(model.clock) == 32 and [record["epoch"] for record in history] == [1, 2]
    # After 30 steps; after the last one, on which a checkpoint inside the epoch would fall, before
    # the epoch is recorded.
    for every, steps, saved in ((3, 30, 28), (7, 32, 25)):
        watched(monkeypatch, Killer(steps))
        with pytest.raises(Killed):
            fit(f"killed-{every}", every)
        assert (
            read_json(str(tmp_path / f"killed-{every}" / "final" / "state.json"))[0]["step"]
            == saved
        )
        watched(monkeypatch, None)
        resumed, same = fit(f"killed-{every}", every)
        assert same == history and not runs.differing(runs.values(model), runs.values(resumed))


@of_law(Law.RESUMING)
def test_epochs_are_counted_to_the_last_one_that_there_may_be(tiny, tmp_path, monkeypatch, capsys):
    """The warm-up's among them; by a resumed fit, too."""

    def fit() -> list[dict[str, float]]:
        trainer = tiny.trainer(cases.named("irazor"), tmp_path, progress=True)
        method = cases.named("irazor").make_method()
        with trainer.scope():
            gates = method.gates(tiny.schema, tiny.space)
        return trainer.fit(trainer.build(tiny.space, gates), "search", FitPlan(warmup=1, epochs=2))

    watched(monkeypatch, Killer(None))
    with pytest.raises(Killed):
        fit()
    assert re.findall(r"Epoch \d+/\d+", capsys.readouterr().out) == ["Epoch 1/3", "Epoch 2/3"], (
        "the killer comes after the line"
    )
    watched(monkeypatch, None)
    assert len(fit()) == 3
    assert re.findall(r"Epoch \d+/\d+", capsys.readouterr().out) == ["Epoch 2/3", "Epoch 3/3"]


def weights(model: keras.Model, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the model, without its optimizers'."""
    names = [f"{i}:{variable.name}" for i, variable in enumerate(model.variables)]
    return {name: found[name] for name in names}


CASE = cases.named("fde")
FAST = "adam(learning_rate=0.1)"
OVERFITTING = dataclasses.replace(
    runs.OPTIONS, patience=1, epochs=9, network_optimizer=FAST, bias_optimizer=FAST
)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory) -> tuple[str, Recommender, list[dict[str, float]]]:
    """A fit that stopped early: its folder, model and history."""
    folder = str(tmp_path_factory.mktemp("whole"))
    return folder, *plain(tiny, folder)


def plain(tiny, work_dir: Any) -> tuple[Recommender, list[dict[str, float]]]:
    trainer = tiny.trainer(CASE, work_dir, options=OVERFITTING)
    model = trainer.build(tiny.space)
    return model, trainer.fit(model, "final")


@of_law(Law.RESUMING)
def test_a_fit_stopped_early_ends_with_its_best_epoch_every_time(tiny, whole, monkeypatch):
    folder, model, history = whole
    best = int(np.argmax([record["auc"] for record in history]))
    assert best == len(history) - 2 and 2 < len(history) < 9, (
        "the settings should make the fit stop early"
    )
    trainer = tiny.trainer(CASE, folder, options=OVERFITTING)
    assert trainer.evaluate(model, trainer.valid)["auc"] == history[best]["auc"]
    calls = watched(monkeypatch, None)
    again, same = plain(tiny, folder)
    assert not calls and same == history
    assert not runs.differing(
        weights(model, runs.values(model)), weights(again, runs.values(again))
    )
    restored = trainer.build(tiny.space)
    trainer.restore(restored, "final")
    assert not runs.differing(weights(model, runs.values(model)), runs.values(restored))


@of_law(Law.RESUMING)
@pytest.mark.parametrize(
    "call, path, times",
    [
        pytest.param("replace", "state.json", 2, id="before the state of an epoch"),
        pytest.param("replace", "state.json", -1, id="before the state of the last epoch"),
        pytest.param("remove", "step-", 2, id="while old checkpoints go"),
    ],
)
def test_killed_while_saving(call, path, times, tiny, whole, tmp_path, monkeypatch):
    _, model, history = whole
    original = getattr(os, call)
    left = times if times > 0 else len(history)

    def kill(*args: Any) -> Any:
        nonlocal left
        left -= path in args[-1]
        if not left:
            raise Killed
        return original(*args)

    monkeypatch.setattr(os, call, kill)
    with pytest.raises(Killed):
        plain(tiny, tmp_path / "killed")
    monkeypatch.undo()
    resumed, same = plain(tiny, tmp_path / "killed")
    assert same == history
    assert not runs.differing(runs.values(model), runs.values(resumed))
