"""On logs too small for the default search, log, summary and report say that it has not decided;
where it has, they do not."""

from __future__ import annotations

import html
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.recipes import FORM, log_lines
from irazor_tf.jobs import stages as jobs
from tests.jobs.small_jobs import FORMER, job_of

UNDECIDED = "this search has not decided after"


def small_log(folder: pathlib.Path, rows: int) -> dict[str, str]:
    """A log with an id per row and one column twice; users and items matter, junk does not."""
    rng = np.random.default_rng(rows)
    users, items, junk = (
        rng.zipf(1.3, rows) % 2000,
        rng.integers(200, size=rows),
        rng.integers(500, size=rows),
    )
    user_effect, item_effect = rng.normal(size=2000), rng.normal(size=200)
    labels = rng.random(rows) < 1 / (
        1 + np.exp(1.5 - 0.7 * user_effect[users] - 0.5 * item_effect[items])
    )
    (folder / "log.csv").write_text(
        "\n".join(log_lines(labels, users, items, junk)), encoding="utf-8"
    )
    (folder / "log.yaml").write_text(FORM, encoding="utf-8")
    return {"reader": "table", "schema": str(folder / "log.yaml"), "input": str(folder / "log.csv")}


def told(
    log: dict[str, Any], folder: pathlib.Path, caplog: pytest.LogCaptureFixture, **settings: Any
) -> str | None:
    """What log, summary and report, one and all, say of the search being undecided.

    The search has the settings that were the flags' before "auto"; the final training, which is not
    looked at, is cut short."""
    given = {
        "model_dir": str(folder),
        "batch_size": 1024,
        "controls": "",
        "epochs": 1,
        "progress": False,
    }
    jobs.pipeline(job_of({**FORMER, **given, **log, **settings}))
    (record,) = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    page = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    notices = [notice for notice in record["notices"] if UNDECIDED in notice]
    assert len(notices) <= 1
    for text in (caplog.text, page):
        assert (UNDECIDED in text) == bool(notices) and all(notice in text for notice in notices)
    return notices[0] if notices else None


def test_a_generated_log_of_5000_rows(tmp_path, caplog):
    """Three steps; the map of alpha is called flat, too."""
    notice = told(small_log(tmp_path, 5000), tmp_path / "job", caplog)
    assert notice is not None and "after 3 steps: alpha has 98." in notice
    assert "This map is flat: its rows have 98." in (tmp_path / "job" / "report.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.slow
def test_a_generated_log_of_30000_rows(tmp_path, caplog):
    notice = told(small_log(tmp_path, 30_000), tmp_path / "job", caplog)
    assert notice is not None and "after 23 steps: alpha has 98." in notice


@pytest.mark.slow
def test_adult(shared_data, tmp_path, caplog):
    files = {
        "input": shared_data / "adult" / "adult.data.gz",
        "test_input": shared_data / "adult" / "adult.test.gz",
    }
    notice = told({"reader": "table", "schema": "adult", **files}, tmp_path, caplog)
    assert notice is not None and "after 28 steps: alpha has 98." in notice


@pytest.mark.slow
def test_avazu(shared_data, tmp_path, caplog):
    log = {
        "reader": "table",
        "schema": "avazu",
        "input": shared_data / "avazu" / "avazu_first9999.csv.gz",
    }
    notice = told(log, tmp_path, caplog)
    assert notice is not None and "after 7 steps: alpha has 99." in notice


@pytest.mark.slow
def test_the_planted_log_has_been_decided(tmp_path, caplog):
    """155 steps at the settings of the quickstart."""
    log = {"reader": "planted", "width": 8, "model": "mlp(hidden=(128,64))"}
    log |= {"network_optimizer": "adagrad(learning_rate=0.05, initial_accumulator_value=1e-8)"}
    assert (
        told(log, tmp_path, caplog, method="irazor(temperature=0.05, penalty=0.01, cpt=0.4)")
        is None
    )
