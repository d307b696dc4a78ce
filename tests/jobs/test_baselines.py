"""Baselines beside the models of a job: their records, where they show, what is said where they
win, and that nothing is fitted twice."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from irazor_tf.config.files import read_json
from irazor_tf.config.schema import Schema
from irazor_tf.evaluation import baselines, metrics
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.baselines import baseline_names
from irazor_tf.jobs.config import JobConfig
from irazor_tf.jobs.job import Job
from irazor_tf.report import tables
from irazor_tf.tasks.ctr import ClickThroughRate
from irazor_tf.training.source import Source
from tests.jobs import small_jobs
from tests.jobs.small_jobs import TIMING, small_job

BOTH = ("logistic_regression", "gradient_boosting")
STILL = {
    "network_optimizer": "sgd(learning_rate=1e-9)",
    "bias_optimizer": "sgd(learning_rate=1e-9)",
}  # the model does not learn


def job_with(
    table: dict[str, str], folder: pathlib.Path, names: tuple[str, ...] = BOTH, **settings: Any
) -> JobConfig:
    """A quick job whose model does not learn, so that the baselines are better."""
    return small_job(
        table,
        folder,
        **{"method": "fde", "epochs": 1, **STILL, "baselines": ",".join(names), **settings},
    )


def fitted(patch: pytest.MonkeyPatch) -> list[str]:
    """The name of every baseline that is fitted from now on."""
    seen: list[str] = []

    def watched(name: str, fit: Any) -> Any:
        return lambda *arguments: (seen.append(name), fit(*arguments))[1]  # type: ignore[func-returns-value]

    for name, fit in baselines.BASELINES.items():
        patch.setitem(baselines.BASELINES, name, watched(name, fit))
    return seen


def split_of(job: JobConfig, split: str) -> tuple[np.ndarray, np.ndarray]:
    batch = next(iter(Source(job.records_dir, split).ordered(10**6)))
    return batch["ids"].numpy(), batch["label"].numpy()


def body_of(job: JobConfig) -> str:
    return pathlib.Path(job.path("report.html")).read_text(encoding="utf-8").partition("<body>")[2]


@pytest.fixture(scope="module")
def beaten(table: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> JobConfig:
    """A finished job whose found model is worse than both baselines."""
    job = job_with(table, tmp_path_factory.mktemp("beaten"))
    jobs.pipeline(job)
    return job


def test_records_stand_in_summary_and_curve_with_the_same_rows_as_the_models(beaten):
    found, *records = read_json(beaten.path("summary.json"))[0]
    assert [record["name"] for record in records] == list(BOTH)
    assert read_json(beaten.path("curve.json"))[0][1:] == records and {
        record["role"] for record in records
    } == {"baseline"}
    (ids, labels), (valid, y_valid), (test, y_test) = (
        split_of(beaten, split) for split in ("train", "valid", "test")
    )
    sizes = tuple(map(int, Schema.load(beaten.records_dir).vocabulary_sizes))
    for record in records:
        alone = baselines.BASELINES[record["name"]](ids, labels, valid, y_valid, sizes, beaten.seed)
        assert record["settings"] == dict(alone.settings) and record["rows"] == record[
            "train_rows"
        ] == len(labels)
        for prefix, rows, y in (("valid_", valid, y_valid), ("", test, y_test)):
            assert record[f"{prefix}auc"] == pytest.approx(
                metrics.auc(y, alone.predict(rows)), abs=1e-6
            )
            assert record[f"{prefix}log_loss"] == pytest.approx(
                metrics.log_loss(y, alone.predict(rows)), abs=1e-6
            )
        assert record["seed"] == beaten.seed and record["auc"] > 0.6 > found["auc"]
        assert all(record[key] > 0 for key in ("train_seconds", "test_seconds")) and {
            "train_seconds",
            "test_seconds",
        } <= set(TIMING)
        assert not {"params", "fields", "dims", "export_mib"} & set(record)
        assert read_json(beaten.path("baselines", f"{record['name']}.json"))[0] == {
            k: v for k, v in record.items() if k != "better_on"
        }


def test_where_a_baseline_wins_the_first_line_of_the_report_says_so(beaten):
    found, linear, boosted = read_json(beaten.path("summary.json"))[0]
    first, second = re.findall(r"<p[^>]*>(.*?)</p>", body_of(beaten))[:2]
    assert (
        re.match(r'\s*<h1>[^<]*</h1>\s*<p class="notice">', body_of(beaten))
        and "fields with" in second
    )
    for record in (linear, boosted):
        assert record["better_on"] == ["auc", "log_loss"]
        told = (
            f"The baseline {record['name']} is better than the found model, fde, in AUC "
            f"({record['valid_auc']:.4f} against "
        )
        told += (
            f"{found['valid_auc']:.4f} on the validation rows, {record['auc']:.4f} against "
            f"{found['auc']:.4f} on the test rows) and "
        )
        assert told + f"log loss ({record['valid_log_loss']:.4f} against " in first


def test_so_do_log_and_notices(table, tmp_path, caplog):
    (found, linear) = jobs.pipeline(job_with(table, tmp_path, BOTH[:1]))
    said = "the baseline logistic_regression is better than the found model, fde, "
    (notice,) = [notice for notice in found["notices"] if notice.startswith(said)]
    assert (
        f"log loss ({linear['valid_log_loss']:.4f} against {found['valid_log_loss']:.4f} on the "
        "validation rows" in notice
    )
    assert notice in caplog.text and notice in html.unescape(
        body_of(job_with(table, tmp_path, BOTH[:1])).partition("<nav>")[2]
    )
    assert read_json(str(tmp_path / "curve.json"))[0][0]["notices"] == found["notices"]
    caplog.clear()
    assert (
        jobs.pipeline(job_with(table, tmp_path, BOTH[:1])) == [found, linear]
        and "is better than" not in caplog.text
    )


def test_a_found_model_that_is_better_has_nothing_to_say(table, tmp_path, monkeypatch):
    """Beside a baseline that knows the base rate alone."""

    def constant(ids: np.ndarray, y: np.ndarray, *_: Any) -> baselines.Fitted:
        return baselines.Fitted(
            lambda rows: np.full(len(rows), y.mean(dtype=float)), {"share": 0.5}
        )

    monkeypatch.setitem(baselines.BASELINES, "logistic_regression", constant)
    adam = "adam(learning_rate=0.01)"
    job = job_with(table, tmp_path, BOTH[:1], epochs=2, network_optimizer=adam, bias_optimizer=adam)
    found, record = jobs.pipeline(job)
    assert (
        record["better_on"] == []
        and record["auc"] == 0.5
        and not [n for n in found["notices"] if "is better than" in n]
    )
    text = body_of(job)
    assert (
        not re.match(r'\s*<h1>[^<]*</h1>\s*<p class="notice">', text)
        and "better than the found model" not in text
    )
    assert f"{found['auc'] - 0.5:+.4f} against logistic_regression" in text


def test_report_and_table_show_them(beaten):
    found, *records = summary = read_json(beaten.path("summary.json"))[0]
    text, lines = html.unescape(body_of(beaten)), tables.summary_table(summary).splitlines()
    sections = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', text, re.DOTALL))
    assert len(lines) == 5 and lines[0].split() == [
        *(
            "model",
            "valid",
            "AUC",
            "valid",
            "log",
            "loss",
            "AUC",
            "log",
            "loss",
            "calibration",
            "error",
        ),
        *("Fields", "Dims", "Params", "export", "MiB", "seconds"),
    ]
    for record, line in zip(records, lines[3:], strict=True):
        shown = [f"{record[key]:.4f}" for key in ("valid_auc", "valid_log_loss", "auc", "log_loss")]
        error = f"{record['calibration']['calibration_error']:.4f}"
        seconds = record["train_seconds"] + record["test_seconds"]
        assert line.split() == [record["name"], *shown, error, "-", "-", "-", "-", f"{seconds:.1f}"]
        for part in ("headline", "models"):
            (row,) = re.findall(rf"<tr[^>]*><td[^>]*>{record['name']}</td>.*?</tr>", sections[part])
            assert all(value in row for value in shown)
        assert f"{record['name']} {record['valid_auc']:.4f}" in sections["quality"]
        chosen = ", ".join(f"{key} {value:g}" for key, value in record["settings"].items())
        assert f"{record['name']} {chosen}" in sections["headline"] and chosen in sections["models"]
    assert lines[2].split()[:3] == [
        found["name"],
        f"{found['valid_auc']:.4f}",
        f"{found['valid_log_loss']:.4f}",
    ]
    assert "chosen.baselines" in sections["settings"] and "learned from" not in text + "".join(
        lines
    )


def test_of_a_large_log_they_learn_from_a_sample_and_it_is_told(table, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_ROWS", 700)
    job = job_with(table, tmp_path, BOTH[:1])
    summary = jobs.pipeline(job)
    rows = Source(job.records_dir, "train").rows
    assert (summary[1]["rows"], summary[1]["train_rows"]) == (700, rows) and rows > 1900
    told = f"(learned from 700 of {rows:,} training rows)"
    first, *_ = re.findall(r"<p[^>]*>(.*?)</p>", body_of(job))
    assert (
        told in first and body_of(job).count(told) >= 3
    )  # the first line, the notice, the note below the table
    assert (
        tables.summary_table(summary).splitlines()[-1]
        == f"logistic_regression has learned from 700 of {rows:,} training rows."
    )
    (ids, labels), (valid, y_valid), (test, y_test) = (
        split_of(job, split) for split in ("train", "valid", "test")
    )
    drawn = baselines.sample(rows, ids.shape[1], job.seed)
    sizes = tuple(map(int, Schema.load(job.records_dir).vocabulary_sizes))
    alone = baselines.logistic_regression(
        ids[drawn], labels[drawn], valid, y_valid, sizes, job.seed
    )
    assert summary[1]["auc"] == pytest.approx(metrics.auc(y_test, alone.predict(test)), abs=1e-6)


def test_without_baselines_there_are_none(table, tmp_path):
    job = job_with(table, tmp_path, ())
    (record,) = jobs.pipeline(job)
    assert read_json(job.path("curve.json"))[0][0]["name"] == record["name"] == "fde"
    assert not os.path.exists(job.path("baselines")) and "aseline" not in re.sub(
        r"chosen\.baselines", "", body_of(job)
    )


def test_what_was_interrupted_is_fitted_anew_and_what_is_finished_is_not(
    table, tmp_path, beaten, monkeypatch
):
    job = job_with(table, tmp_path)

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setitem(baselines.BASELINES, BOTH[1], killed)
        jobs.pipeline(job)
    assert os.listdir(job.path("baselines")) == [f"{BOTH[0]}.json"] and not os.path.exists(
        job.path("summary.json")
    )
    before = small_jobs.snapshot(tmp_path, "baselines/*", "models/*/test.json")
    seen = fitted(monkeypatch)
    jobs.pipeline(job)
    assert seen == [BOTH[1]]
    after = small_jobs.snapshot(tmp_path, "baselines/*", "models/*/test.json")
    assert all(after[path] == value for path, value in before.items())
    expected, found = small_jobs.leavings(beaten.model_dir), small_jobs.leavings(tmp_path)
    assert sorted(found) == sorted(expected)
    assert not [
        key
        for key in expected
        if key not in ("job.json", "log.csv") and found[key] != expected[key]
    ]
    jobs.pipeline(job)
    assert seen == [BOTH[1]] and small_jobs.snapshot(tmp_path, "baselines/*") == {
        key: after[key] for key in after if "baselines" in key
    }


def test_other_baselines_after_training_train_nothing(table, tmp_path, monkeypatch):
    jobs.pipeline(job_with(table, tmp_path, ()))
    epochs, seen = small_jobs.fits(monkeypatch), fitted(monkeypatch)
    names = [record["name"] for record in jobs.evaluate(job_with(table, tmp_path, BOTH[1:]))]
    assert names == ["fde", BOTH[1]] and seen == [BOTH[1]]
    names = [record["name"] for record in jobs.pipeline(job_with(table, tmp_path, BOTH))]
    assert names == ["fde", *BOTH] and seen == [BOTH[1], BOTH[0]]
    jobs.export(job_with(table, tmp_path, ()))
    assert [record["name"] for record in jobs.pipeline(job_with(table, tmp_path, ()))] == ["fde"]
    assert len(seen) == 2 and not epochs
    assert json.loads((tmp_path / "job.json").read_text())["chosen"]["baselines"] == []


def test_a_record_that_is_damaged_is_named(table, tmp_path):
    job = job_with(table, tmp_path, BOTH[:1])
    summary = jobs.pipeline(job)
    path = pathlib.Path(job.path("baselines", f"{BOTH[0]}.json"))
    for text in (path.read_text().replace('"auc": 0.', '"auc": 0.9'), "[]", "{"):
        path.write_text(text)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            jobs.evaluate(job)
    path.unlink()
    assert small_jobs.without_timing(jobs.evaluate(job)) == small_jobs.without_timing(summary)
    path.write_text("[]")
    os.remove(job.path(".checksums"))
    with pytest.raises(ValueError, match=f"should hold its record .*{re.escape(str(path))}"):
        jobs.evaluate(job)


def test_names_are_known_before_anything_is_read_and_count_once(table, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"one of logistic_regression, gradient_boosting\. .*did you mean "
        r"'logistic_regression'",
    ):
        jobs.preprocess(job_with(table, tmp_path, ("logistic_regresion",)))
    assert not (tmp_path / "job.json").exists()
    assert baseline_names(Job(job_with(table, tmp_path, (BOTH[1], BOTH[0], BOTH[1])))) == [
        BOTH[1],
        BOTH[0],
    ]


def test_a_task_that_predicts_no_probability_has_none(monkeypatch):
    job = dataclasses.replace(JobConfig("d"), baselines=BOTH)
    assert baseline_names(Job(job)) == list(BOTH)
    monkeypatch.setattr(ClickThroughRate, "predicts_probability", False)
    assert baseline_names(Job(job)) == []
