"""What is "auto" in a job is resolved once, kept, shown, and never changed on resume."""

import json
import logging
import logging.handlers
import pathlib
import queue

import pytest

from data_pipelines.manifest import load_manifest
from irazor_tf.config import recipe
from irazor_tf.config.files import read_json, write_json
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.job import Job
from tests.jobs.small_jobs import SMALL, job_of, write_table

RULED = tuple(recipe.RULE)
# A job that leaves to the rule what the other tests pin.
GIVEN = {key: value for key, value in SMALL.items() if key not in (*RULED, "min_count")} | {
    "controls": "",
    "epochs": 1,
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("log"))


def read(folder: pathlib.Path, name: str):
    return json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def preprocessed(table, tmp_path_factory):
    """A job that has stopped after preprocessing, and what it said."""
    folder = tmp_path_factory.mktemp("job")
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(records)
    logger = logging.getLogger("irazor_tf")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        jobs.preprocess(job_of({**table, **GIVEN, "model_dir": folder}))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return folder, [records.get().getMessage() for _ in range(records.qsize())]


def test_a_job_that_stops_after_preprocessing_shows_the_values(preprocessed):
    folder, said = preprocessed
    manifest, resolved = load_manifest(str(folder / "data")), read(folder, "resolved.json")
    size = recipe.Known(**resolved["known"])
    assert size.rows == manifest["splits"]["train"]["rows"] and size.fields == 4
    assert size.features == sum(
        field["vocabulary_size"] for field in read(folder / "data", "schema.json")["fields"]
    )
    assert manifest["resolved"] == {"min_count": 2} and min(read_counts(folder)) >= 2
    expected = {key: rule(size) for key, rule in recipe.RULE.items() if key != "epochs"}
    assert resolved["values"] == expected
    assert resolved["recipe"] == expected | {"epochs": 1, "min_count": 2}
    (told,) = [text for text in said if text.startswith("auto: ")]
    for key, value in (expected | {"min_count": 2}).items():
        assert f"{key} {value}" in told


def read_counts(folder: pathlib.Path) -> list[int]:
    """Counts of all ids but those of out-of-vocabulary and of missing values."""
    import numpy as np

    with np.load(folder / "data" / "counts.npz", allow_pickle=False) as counts:
        return [int(count) for name in counts.files for count in counts[name][1:]]


def test_the_settings_keep_auto(preprocessed):
    settings = read(preprocessed[0], "job.json")["settings"]
    assert all(settings["train"][key] == "auto" for key in RULED if key != "epochs")
    assert settings["data"]["min_count"] == "auto"


def test_settings_that_change_before_training_are_resolved_anew(table, tmp_path):
    job = {**table, **GIVEN, "model_dir": tmp_path}
    jobs.preprocess(job_of(job))
    before = read(tmp_path, "resolved.json")
    jobs.preprocess(job_of({**job, "batch_size": 96}))
    after = read(tmp_path, "resolved.json")
    assert "batch_size" in before["values"] and "batch_size" not in after["values"]
    assert after["recipe"] == before["recipe"] | {"batch_size": 96}


def test_another_model_before_training_is_resolved_anew(table, tmp_path):
    job = {**table, **GIVEN, "method": "fde", "model_dir": tmp_path}
    jobs.preprocess(job_of(job))
    assert read(tmp_path, "resolved.json")["known"]["tower"] is True
    jobs.preprocess(job_of({**job, "model": "lr"}))
    after = read(tmp_path, "resolved.json")
    assert after["known"]["tower"] is False and after["values"]["embedding_ridge"] == recipe.RULE[
        "embedding_ridge"
    ](recipe.Known(**after["known"]))


def test_a_job_begun_before_a_setting_was_there_keeps_its_values(table, tmp_path, monkeypatch):
    """`search_steps` came after `resolved.json`: a trained job of before has none, and the rest of
    its recipe stays as it was."""
    job = job_of({**table, **GIVEN, "model_dir": tmp_path})
    jobs.search(job)
    for name, places in (
        ("job.json", ("settings", "train")),
        ("resolved.json", ("given",)),
        ("resolved.json", ("values",)),
    ):
        value = read_json(str(tmp_path / name))[0]
        inner = value
        for place in places:
            inner = inner[place]
        del inner["search_steps"]
        write_json(str(tmp_path / name), value)
    (tmp_path / ".checksums").unlink()
    before = read(tmp_path, "resolved.json")
    monkeypatch.setattr(recipe, "RULE", dict.fromkeys(recipe.RULE, lambda size: 1))
    options = Job(job).options
    jobs.retrain(job)
    assert read(tmp_path, "resolved.json") == before
    assert options.search_steps == 0 and options.batch_size == before["values"]["batch_size"]


def test_values_stay_what_they_were(table, tmp_path, monkeypatch):
    """Another rule, as a later version of the package may have one, changes nothing in a job that
    was begun."""
    job = job_of({**table, **GIVEN, "model_dir": tmp_path})
    jobs.search(job)
    before = read(tmp_path, "resolved.json")
    result = (tmp_path / "search" / "result.json").read_bytes()
    monkeypatch.setattr(recipe, "RULE", dict.fromkeys(recipe.RULE, lambda size: 1))
    summary = jobs.pipeline(job)
    assert (
        read(tmp_path, "resolved.json") == before
        and (tmp_path / "search" / "result.json").read_bytes() == result
    )
    assert all(record["recipe"] == before["recipe"] for record in summary) and summary
    steps = before["known"]["rows"] // before["recipe"]["batch_size"]
    assert [record["train_steps"] for record in summary] == [steps]


def test_a_search_takes_the_steps_of_the_training_settings(table, tmp_path):
    """Where its method's spec gives no length; one that does goes its own way."""
    for name, method, steps in (("settings", "irazor()", 3), ("spec", "irazor(search_steps=2)", 2)):
        job = job_of(
            {**table, **GIVEN, "method": method, "search_steps": 3, "model_dir": tmp_path / name}
        )
        jobs.search(job)
        (path,) = (tmp_path / name / "search").glob("*/supernet/state.json")
        assert json.loads(path.read_text(encoding="utf-8"))["step"] == steps


def test_damage_is_named(table, tmp_path):
    job = job_of({**table, **GIVEN, "model_dir": tmp_path})
    jobs.preprocess(job)
    path = tmp_path / "resolved.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"batch_size": 64', '"batch_size": 65'),
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match="resolved.json"):
        jobs.search(job)


def test_a_job_begun_before_there_were_ridges_goes_on_without(table, tmp_path):
    """Its `job.json` lacks them, and they were as good as 0."""
    job = {**table, **SMALL, "controls": "", "epochs": 1, "model_dir": tmp_path}
    jobs.search(job_of(job))
    path = str(tmp_path / "job.json")
    settings = read_json(path)[0]
    for key in ("embedding_ridge", "linear_ridge"):
        assert settings["settings"]["train"].pop(key) == 0
    write_json(path, settings)
    (tmp_path / ".checksums").unlink()
    jobs.search(job_of(job))
    with pytest.raises(ValueError, match="`train.linear_ridge` was 0.0 and is 2.0"):
        jobs.search(job_of({**job, "linear_ridge": 2}))
