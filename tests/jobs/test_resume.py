"""A job that was killed and started again ends like one that was not, and does nothing twice; what
may change afterwards, and what not."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest

from irazor_tf.config import integrity
from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.jobs import stages as jobs
from irazor_tf.serving import versions
from tests.jobs import small_jobs
from tests.jobs.small_jobs import SMALL, job_of

RUNNER = pathlib.Path(__file__).with_name("killed.py")
# What each stage has finished for good; later runs leave these files alone.
DONE = {
    "preprocess": ("data/**/*",),
    "search": ("search/*/*/step-*", "search/*/*/state.json", "search/*/search_cost.json"),
    "retrain": ("models/*/model/*", "models/*/metrics.json", "models/*/correction.json"),
    "evaluate": ("models/*/test.json", "models/*/export_size.json", "baselines/*.json"),
    "export": ("export/*/**/*",),
}
STAGES = [*DONE, "report"]
MOMENTS = [
    "preprocess_between_chunks",
    "search_inside_an_epoch",
    "retrain_inside_an_epoch",
    "evaluate_between_two_models",
    "export_before_the_rename",
    "report_while_writing",
]
MORE_MOMENTS = [
    "preprocess_while_writing",
    "preprocess_before_the_rename",
    "search_before_the_first_checkpoint",
    "search_before_the_result",
    "retrain_between_state_and_metrics",
    "retrain_between_metrics_and_correction",
    "evaluate_before_the_summary",
    "export_after_the_rename",
]


def stage_of(moment: str) -> str:
    return moment.split("_")[0]


def run_and_die(moment: str, settings: dict[str, Any]) -> None:
    command = [sys.executable, str(RUNNER), moment, "pipeline", *small_jobs.words(settings)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, (
        f"{moment}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )


def finished_files(folder: str, stages: list[str]) -> dict[str, Any]:
    return small_jobs.snapshot(
        folder, *(pattern for stage in stages for pattern in DONE.get(stage, ()))
    )


@pytest.fixture(scope="module")
def uninterrupted(finished: dict[str, Any]) -> dict[str, Any]:
    """What a job that nobody kills leaves."""
    return small_jobs.leavings(finished["model_dir"])


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sorted(found) == sorted(expected)
    assert not [key for key in expected if found[key] != expected[key]]


def test_killed_in_every_stage(finished, uninterrupted, tmp_path):
    """One job, killed once in the middle of each stage."""
    folder = str(tmp_path / "job")
    settings = {**finished, "model_dir": folder}
    for moment in MOMENTS:
        stages = STAGES[: STAGES.index(stage_of(moment))]
        earlier = finished_files(
            folder, stages[:-1]
        )  # the last of them was killed, and finishes only now
        run_and_die(moment, settings)
        later = finished_files(folder, stages)
        assert all(later[path] == value for path, value in earlier.items()), (
            f"{moment}: something was done again"
        )
        assert not stages or len(later) > len(earlier), f"{moment}: the stage before left nothing"
        assert_in_the_middle(moment, pathlib.Path(folder))
    before = finished_files(folder, STAGES)
    with pytest.MonkeyPatch.context() as patch:
        epochs, passes = small_jobs.fits(patch), small_jobs.evaluations(patch)
        jobs.pipeline(job_of(settings))
    assert not epochs and not passes and finished_files(folder, STAGES) == before
    assert_same(small_jobs.leavings(folder), uninterrupted)


def assert_in_the_middle(moment: str, folder: pathlib.Path) -> None:
    """The process died where this test says it did."""
    place = "models" if stage_of(moment) == "retrain" else "search"
    states = [
        json.loads(path.read_text()) for path in sorted(folder.glob(f"{place}/*/*/state.json"))
    ]
    if moment == "preprocess_between_chunks":
        assert (folder / "data.partial" / "scratch" / "input.arrow").exists() and not (
            folder / "data"
        ).exists()
    elif moment == "search_inside_an_epoch":
        assert [state["step"] for state in states] == [3] and not (
            folder / "search" / "result.json"
        ).exists()
    elif moment == "retrain_inside_an_epoch":
        assert sorted((state["done"], len(state["history"])) for state in states) == [
            (False, 0),
            (True, 2),
        ]
        assert len(list(folder.glob("models/*/metrics.json"))) == 1
    elif moment == "evaluate_between_two_models":
        assert (
            len(list(folder.glob("models/*/test.json"))) == 1
            and not (folder / "summary.json").exists()
        )
    elif moment == "export_before_the_rename":
        assert (folder / "export" / ".1.partial" / "saved_model.pb").exists() and not (
            folder / "export" / "1"
        ).exists()
    elif moment == "report_while_writing":
        assert (folder / "export" / "1").exists() and not (folder / "report.html").exists()
        assert (folder / "report.html.partial").exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", MORE_MOMENTS)
def test_killed_at_another_moment(moment, finished, uninterrupted, tmp_path):
    own = {**finished, "model_dir": str(tmp_path / "job")}
    run_and_die(moment, own)
    before = finished_files(own["model_dir"], STAGES[: STAGES.index(stage_of(moment))])
    jobs.pipeline(job_of(own))
    after = finished_files(own["model_dir"], STAGES)
    assert all(after[path] == value for path, value in before.items())
    assert_same(small_jobs.leavings(own["model_dir"]), uninterrupted)


def test_killed_between_the_rename_of_an_export_and_the_note_of_it(copied, monkeypatch):
    """The version is taken for what it is, not written a second time."""
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    expected = read_json(str(folder / "export.json"))[0]
    (folder / "export.json").unlink()
    shutil.rmtree(folder / "export")
    job = job_of(settings)

    def killed(path: str) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(versions, "size_report", killed)
        with pytest.raises(KeyboardInterrupt):
            jobs.export(job)
    before = small_jobs.snapshot(folder, "export/**/*")
    assert jobs.export(job) == str(folder / "export" / "1")
    assert small_jobs.snapshot(folder, "export/**/*") == before
    again = read_json(str(folder / "export.json"))[0]
    assert set(again) == set(expected) and again["key"] == expected["key"]


def test_seconds_of_a_killed_training_are_those_of_its_fits(copied):
    """Whatever the process that finishes it took: what a fit wrote down before stays."""
    settings = copied()
    path = next(pathlib.Path(settings["model_dir"]).glob("models/*/metrics.json"))
    state = path.parent / "model" / "state.json"
    with integrity.guarding(settings["model_dir"]):  # as a job writes it
        write_json(str(state), read_json(str(state))[0] | {"seconds": 5000.0})
    path.unlink()
    jobs.retrain(job_of(settings))
    assert 5000.0 < read_json(str(path))[0]["train_seconds"] < 5100.0


# What may change ----------------------------------------------------------------------------------


def test_nothing_changed_nothing_done(copied, monkeypatch):
    settings = copied()
    folder = settings["model_dir"]
    before, kept = finished_files(folder, STAGES), small_jobs.leavings(folder)
    epochs, passes = small_jobs.fits(monkeypatch), small_jobs.evaluations(monkeypatch)
    summary = jobs.pipeline(job_of(settings))
    assert not epochs and not passes
    assert finished_files(folder, STAGES) == before
    assert summary == read_json(os.path.join(folder, "summary.json"))[0]
    assert_same(small_jobs.leavings(folder), kept)


@pytest.mark.parametrize(
    "change",
    [
        {"cpt": 0.1, "budget_params": None},
        {"budget_params": 600},
        {"budget_params": None, "budget_mib": 0.0024},
    ],
    ids=str,
)
def test_another_size_needs_no_second_search(change, copied, monkeypatch):
    settings = copied(controls="", **change)
    folder = settings["model_dir"]
    earlier = read_json(os.path.join(folder, "summary.json"))[0][0]
    before = finished_files(folder, ["preprocess", "search"])
    epochs = small_jobs.fits(monkeypatch)
    (record,) = jobs.pipeline(job_of(settings))
    assert finished_files(folder, ["preprocess", "search"]) == before
    assert len(epochs) == settings["epochs"] and all(
        f"{os.sep}models{os.sep}" in path for path in epochs
    ), "the new model alone"
    assert record["params"] != earlier["params"]
    assert record["params"] <= (job_of(settings).budget or record["params"])
    versions = sorted(name for name in os.listdir(os.path.join(folder, "export")) if name.isdigit())
    assert versions == ["1", "2"], "another model is another version"
    assert read_json(os.path.join(folder, "export.json"))[0]["version"] == "2"
    # And back: everything is there, and served again.
    epochs.clear()
    jobs.pipeline(job_of(copied(controls="")))
    assert not epochs
    assert read_json(os.path.join(folder, "export.json"))[0]["version"] == "3"


def test_other_controls_and_a_curve_need_no_second_search(copied, monkeypatch):
    settings = copied(controls="magnitude(share=0.3) + random", curve=True)
    folder = settings["model_dir"]
    before = finished_files(folder, ["preprocess", "search"])
    trained: list[str] = []
    monkeypatch.setattr(
        jobs, "train_candidate", lambda job, candidate: trained.append(candidate.name)
    )
    epochs = small_jobs.fits(monkeypatch)
    candidates = jobs.retrain(job_of(settings))
    assert not epochs and finished_files(folder, ["preprocess", "search"]) == before
    assert trained == [candidate.name for candidate in candidates]
    assert [name for name in trained if " " not in name] == ["irazor", "magnitude", "random"]
    assert "irazor cpt=0.6" in trained and "magnitude at cpt=0.6" in trained


@pytest.mark.slow
def test_a_curve_in_full(copied):
    settings = copied(curve=True)
    jobs.pipeline(job_of(settings))
    points = read_json(os.path.join(settings["model_dir"], "curve.json"))[0]
    assert {point["role"] for point in points} == {"found", "control", "curve"} and len(points) > 12


# What may not -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"width": 8}, "`width` was 4 and is 8"),
        ({"seed": 2}, "`seed` was 1 and is 2"),
        ({"batch_size": 128}, "`train.batch_size` was 256 and is 128"),
        (
            {"model": "mlp(hidden=(8,))"},
            "`model` was 'mlp(hidden=(16,))' and is 'mlp(hidden=(8,))'",
        ),
        (
            {"method": "irazor(temperature=0.1)"},
            "`method` was 'irazor()' and is 'irazor(temperature=0.1)'",
        ),
        ({"retrain_model": "lr"}, "`retrain_model` was None and is 'lr'"),
        ({"min_count": 3}, "`data.min_count` was 1 and is 3"),
        ({"input": "other.csv"}, "is ['other.csv']"),
        ({"width": 8, "seed": 3}, "`seed` was 1 and is 3; `width` was 4 and is 8"),
    ],
    ids=str,
)
def test_a_changed_flag_is_refused_with_the_difference(change, shown, finished):
    job = job_of({**finished, **change})
    for stage in (jobs.preprocess, jobs.search, jobs.retrain, jobs.evaluate, jobs.export):
        with pytest.raises(ValueError) as error:
            stage(job)
        assert shown in str(error.value)


@pytest.fixture(scope="module")
def other_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Records of another log of the same form."""
    folder = tmp_path_factory.mktemp("other")
    log = small_jobs.write_table(folder / "log", small_jobs.table_lines(seed=1))
    jobs.preprocess(job_of({**log, **SMALL, "model_dir": str(folder / "job")}))
    return str(folder / "job" / "data")


def test_other_data_are_refused_with_both_fingerprints(copied, other_data):
    settings = copied(reader=None, input=None, schema=None)
    ours = Schema.load(os.path.join(settings["model_dir"], "data")).fingerprint
    theirs = Schema.load(other_data).fingerprint
    shown = f"`data fingerprint` was {ours!r} and is {theirs!r}"
    for stage in (jobs.preprocess, jobs.search, jobs.evaluate, jobs.export):
        with pytest.raises(ValueError) as error:
            stage(job_of({**settings, "data_dir": other_data}))
        assert shown in str(error.value)
    shutil.rmtree(os.path.join(settings["model_dir"], "data"))
    shutil.copytree(other_data, os.path.join(settings["model_dir"], "data"))
    with pytest.raises(ValueError) as error:
        jobs.search(job_of(settings))
    assert shown in str(error.value)


def test_the_same_data_elsewhere_are_the_same(copied, tmp_path):
    settings = copied(reader=None, input=None, schema=None)
    shutil.move(os.path.join(settings["model_dir"], "data"), tmp_path / "moved")
    result = jobs.search(job_of({**settings, "data_dir": str(tmp_path / "moved")}))
    assert result == SearchResult.load(os.path.join(settings["model_dir"], "search", "result.json"))


def test_data_made_anew_from_a_changed_log_are_refused(table, copied, tmp_path):
    settings = copied(**small_jobs.write_table(tmp_path / "changed"))
    folder = pathlib.Path(settings["model_dir"])
    shutil.rmtree(folder / "data")
    lines = small_jobs.table_lines()
    lines[7] = "1,u1,1,1.0,1"
    small_jobs.write_table(tmp_path / "changed", lines)
    with pytest.raises(ValueError, match="`data fingerprint` was"):
        jobs.search(job_of(settings))


def test_records_made_with_other_flags_are_not_taken(finished, tmp_path):
    """A folder of records that two jobs share."""
    shared = {
        **finished,
        "data_dir": os.path.join(finished["model_dir"], "data"),
        "model_dir": str(tmp_path / "job"),
    }
    jobs.preprocess(job_of(shared))
    with pytest.raises(ValueError, match="`data.min_count` was 1 and is 5"):
        jobs.preprocess(job_of({**shared, "min_count": 5}))


def test_settings_bind_only_what_is_there(table, tmp_path):
    """Before the search has begun its settings may change; data flags may be left out once the
    records are there."""
    folder = str(tmp_path / "job")
    jobs.preprocess(job_of({**table, "model_dir": folder, "block_rows": 128, "progress": False}))
    job = job_of({**SMALL, "model_dir": folder, "controls": ""})
    jobs.search(job)
    stored = read_json(os.path.join(folder, "job.json"))[0]
    assert stored["settings"]["data"]["reader"] == "table" and stored["settings"]["width"] == 4
    with pytest.raises(ValueError, match="`width` was 4 and is 16"):
        jobs.search(job_of({**SMALL, "model_dir": folder, "width": 16}))


def test_later_stages_want_the_choices_that_models_were_trained_for(copied):
    changes: dict[str, dict[str, Any]] = {
        "method": {"cpt": 0.9, "budget_params": None},
        "budget": {"budget_params": 700},
    }
    for key, change in {
        **changes,
        "controls": {"controls": "fde"},
        "curve": {"curve": True},
    }.items():
        for stage in (jobs.evaluate, jobs.export):
            with pytest.raises(
                ValueError, match=rf"last trained for \(retrain\)\. Received: .*`{key}` was "
            ):
                stage(job_of(copied(**change)))
    with pytest.raises(ValueError, match=r"trained before this stage \(retrain\)"):
        settings = copied()
        os.remove(os.path.join(settings["model_dir"], "job.json"))
        for folder in ("search", "models"):  # which are bound to the settings that are gone
            shutil.rmtree(os.path.join(settings["model_dir"], folder))
        jobs.evaluate(job_of(settings))
