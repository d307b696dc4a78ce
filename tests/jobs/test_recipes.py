"""A method's own optimizers hold in pretraining, search and final training alike, tell its models
from others, and survive a kill."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.config.files import read_json
from irazor_tf.config.input_config import InputConfig, digest, identity
from irazor_tf.config.layout import Role
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.job import Job
from irazor_tf.search.method import METHODS
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.state import TrainingState
from irazor_tf.training.trainer import Trainer
from tests.jobs.small_jobs import small_job, without_timing

ADAM = {"bias": "adam(learning_rate=0.001)", "network": "adam(learning_rate=0.001)"}
DECAYED = "adam(learning_rate=0.001, weight_decay=1e-06, epsilon=1e-08)"
ADAGRAD = "adagrad(learning_rate=0.02, initial_accumulator_value=1e-8)"
# Method -> its weights' optimizers, and the whole of the search's.
PAPERS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "dnis": (ADAM, {"architecture": "adam(learning_rate=0.01)"}),
    "ham": (ADAM, {"architecture": "sgd(learning_rate=0.001)"}),
    "sam": (ADAM, {"architecture": "sgd(learning_rate=0.01)"}),
    "sam_gs": (ADAM, {"architecture": "sgd(learning_rate=0.01)"}),
    "ham_p": (ADAM, {"architecture": "sgd(learning_rate=0.01)"}),
    "sseds": (ADAM, {}),
    "ihas": ({"bias": DECAYED, "network": DECAYED}, {"architecture": DECAYED}),
    # Alpha by the network's optimizer, accumulator and all.
    "irazor": ({"bias": "ftrl(learning_rate=0.01)", "network": ADAGRAD}, {"architecture": ADAGRAD}),
}
RATE = "optimizer='sgd(learning_rate=0.5)'"
# Method -> its folders of fits.
RUN = {
    f"ham(epochs=1, pretrain_epochs=1, weights_optimizer='sgd(learning_rate=0.25)', {RATE})": [
        "pretrained",
        "supernet",
        "model",
    ],
    f"sseds(epochs=1, kappa=0.5, {RATE})": ["pretrained", "model"],
    f"dnis(epochs=1, pretrain_epochs=1, blocks=2, {RATE})": ["pretrained", "supernet"],
    f"ihas(epochs=1, pretrain_epochs=1, every=1, clusters=1, {RATE})": [
        "pretrained",
        "supernet",
        "model",
    ],
    f"fields(irazor({RATE}))": ["supernet", "model"],
    f"fde + magnitude({RATE})": ["supernet", "model"],
}


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_optimizers(name: str) -> None:
    """Without a preset they are the flags'; `paper` is the recipe."""
    assert METHODS.build(name).traits.recipe == {}
    paper = METHODS.build(f"{name}(preset='paper')")
    weights, search = PAPERS[name]
    assert (paper.traits.recipe, paper.optimizers()) == (weights, search)
    assert METHODS.build(str(paper.spec())).params == paper.params


def test_the_authors_codes_optimizers() -> None:
    assert METHODS.build("dnis(preset='official_code')").traits.recipe == ADAM
    irazor = METHODS.build("irazor(preset='official_code')")
    assert set(irazor.traits.recipe.values()) == {
        "adagrad(learning_rate=0.01, initial_accumulator_value=1e-8)"
    }
    assert set(irazor.optimizers().values()) == {"adam(learning_rate=0.01, epsilon=1e-8)"}


@pytest.fixture(scope="module")
def records(table: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Flags of small jobs that share one preprocessed log."""
    folder = tmp_path_factory.mktemp("records")
    jobs.preprocess(small_job(table, folder))
    return {
        **table,
        "data_dir": str(folder / "data"),
        "epochs": 1,
        "model": "lr",
        "checkpoint_steps": 0,
        "steps_per_execution": 8,
    }


def watched(patch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    """Folder, name and optimizers by group of every fit from now on."""
    seen: list[tuple[str, str, dict[str, Any]]] = []
    original = Trainer.fit

    def fit(self: Any, model: Any, name: str, plan: FitPlan) -> Any:
        try:
            return original(self, model, name, plan)
        finally:
            seen.append((self.work_dir, name, dict(model.optimizers)))

    patch.setattr(Trainer, "fit", fit)
    return seen


@pytest.mark.parametrize("method", RUN)
def test_one_optimizer_holds_in_all_trainings(
    method: str, records: dict[str, Any], tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    fits = watched(monkeypatch)
    jobs.retrain(small_job(records, tmp_path, method=method, model="mlp(hidden=(4,))"))
    done = {
        name.split("/")[0]: {
            g: float(o.learning_rate) for g, o in own.items() if g != "architecture"
        }
        for _, name, own in fits
    }
    assert sorted(done) == sorted(RUN[method])
    for name, rates in done.items():
        rate = 0.25 if "weights_optimizer" in method and name == "supernet" else 0.5
        assert rates == {"bias": rate, "network": rate}, name
        assert all(
            type(o).__name__ == "SGD"
            for _, _, own in fits
            for g, o in own.items()
            if g != "architecture"
        )


def test_one_config_by_two_recipes_is_two_models(
    records: dict[str, Any], tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    """They share no folder; a control without a recipe is trained by the flags' optimizers,
    whatever the found config's."""
    fits = watched(monkeypatch)
    controls = f"fde + magnitude + magnitude({RATE})"
    job = small_job(
        records, tmp_path, method=f"fde({RATE})", controls=controls, model="mlp(hidden=(4,))"
    )
    candidates = jobs.retrain(job)
    found, plain, *_ = candidates
    assert found.result.clusters == plain.result.clusters and found.key != plain.key
    kinds = {folder: type(own["network"]).__name__ for folder, name, own in fits if name == "model"}
    assert (
        kinds[job.path("models", found.key)] == "SGD"
        and kinds[job.path("models", plain.key)] == "Adagrad"
    )
    searched = [type(own["network"]).__name__ for _, name, own in fits if name == "supernet"]
    assert searched == ["Adagrad", "SGD"]
    assert (
        SearchResult.load(job.path("models", found.key, "result.json")).optimizers
        == found.result.optimizers
        != {}
    )
    assert [point.get("optimizers", {}) for point in jobs.evaluate(job)][:2] == [
        found.result.optimizers,
        {},
    ]


def test_keys_of_models_by_the_flags_optimizers_are_what_they_were() -> None:
    """Folders of before there were recipes are found again."""
    config = InputConfig.from_dims({"a": 1})
    result = SearchResult((config,), Spec("x"))
    assert Candidate(Role.FOUND, "x", result).key == digest([[identity(config)], "fresh", "", None])
    by = [dataclasses.replace(result, optimizers={"network": spec}) for spec in ("sgd()", "adam()")]
    assert len({Candidate(Role.FOUND, "x", one).key for one in (result, *by)}) == 3


class Killed(BaseException):
    """In the place of a kill."""


def test_a_recipe_resumes_exactly(
    records: dict[str, Any], tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    """Killed after the first epoch of pretraining, search and final training: the same numbers as
    in one go, and no epoch twice."""
    recipe = "optimizer='adam(learning_rate=0.01, weight_decay=0.001)'"
    method = (
        "ham(epochs=2, pretrain_epochs=2, early_stop=False, "
        f"alpha_optimizer='sgd(learning_rate=1.0)', {recipe})"
    )
    settings = {
        **records,
        "epochs": 2,
        "model": "mlp(hidden=(4,))",
        "method": method,
        "patience": 2,
    }
    (whole,) = jobs.retrain(small_job(settings, tmp_path / "whole"))
    killed, epochs, original = set(), [], TrainingState.end_epoch

    def end_epoch(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        epochs.append(self.directory)
        if self.directory not in killed:
            killed.add(self.directory)
            raise Killed

    monkeypatch.setattr(TrainingState, "end_epoch", end_epoch)
    job = small_job(settings, tmp_path / "killed")
    for _ in range(3):
        with pytest.raises(Killed):
            jobs.retrain(job)
    (again,) = jobs.retrain(job)
    assert len(killed) == 3 and len(epochs) == 6
    assert again.key == whole.key
    paths = [folder / "models" / whole.key for folder in (tmp_path / "whole", tmp_path / "killed")]
    one, other = (without_timing(read_json(str(path / "metrics.json"))[0]) for path in paths)
    one["train_peak_mib"] = other["train_peak_mib"] = 0
    assert one == other
    readers = [tf.train.load_checkpoint(str(_last(path / "model"))) for path in paths]
    names = [
        name
        for name in readers[0].get_variable_to_shape_map()
        if "OBJECT_GRAPH" not in name and "save_counter" not in name
    ]
    assert any("/m/" in name or ".OPTIMIZER_SLOT" in name for name in names)
    for name in names:
        one, other = (reader.get_tensor(name) for reader in readers)
        np.testing.assert_array_equal(one, other, err_msg=name)


def _last(folder: pathlib.Path) -> pathlib.Path:
    return folder / read_json(str(folder / "state.json"))[0]["last"]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "dnis(optimizer='adam(beta_1=2.0)')",
            r"`beta_1` of optimizer 'adam' should lie in \[0, 1\)\. Received: 2\.0",
        ),
        ("fields(irazor(optimizer='adm()'))", r"An optimizer should be one of .*Received: 'adm'"),
        (
            "sseds(optimizer={'network': 'sgd(learning_rate=-1.0)'})",
            r"`learning_rate` of optimizer 'sgd' should lie in .*Received: -1\.0",
        ),
        (
            "ham(alpha_optimizer='sgd(learning_rate=1e30)')",
            r"`learning_rate` of optimizer 'sgd' should lie in .*Received: 1e\+30",
        ),
        (
            "ihas(optimizer={'tables': 'sgd()'})",
            r"`optimizer` of a method should have specs for some of bias, network\. Received: ",
        ),
        (
            "fields(irazor(), optimizer='sgd()')",
            "A parameter of method 'fields' should be one of: none",
        ),
    ],
)
def test_a_recipe_is_checked_before_anything_is_searched(
    method: str, message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=message):
        Job(small_job({"reader": "planted"}, tmp_path, method=method))
    with pytest.raises(ValueError, match=message):
        Job(small_job({"reader": "planted"}, tmp_path, controls=method))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("dnis(l1=1e999)", "`l1` of method 'dnis' should be finite. Received: inf"),
        ("irazor(penalty=1e999)", "`penalty` of method 'irazor' should be finite. Received: inf"),
        (
            "ham(sweep=(0.5, 1e999))",
            r"`sweep` of method 'ham' should be finite\. Received: \(0\.5, inf\)",
        ),
    ],
)
def test_settings_without_an_end_are_refused(method: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        METHODS.build(method)
    with pytest.raises(
        ValueError, match="`temperature` of a method should be finite. Received: nan"
    ):
        METHODS.get("irazor").Params(temperature=float("nan"))
