"""What searches have to say and cost reaches summary and report, whichever part of a job they are;
what cannot be is said first."""

from __future__ import annotations

import html
import json
import logging
import pathlib
import re
from typing import Any

import pytest

from irazor_tf.config import integrity
from irazor_tf.config.search_result import SearchResult
from irazor_tf.jobs import stages as jobs
from irazor_tf.methods.ihas import method as ihas
from irazor_tf.search.pictures import load_pictures
from launch import stages
from tests.jobs import small_jobs
from tests.jobs.small_jobs import job_of, small_job

MASKED = "ham(mu=1.0, epochs=1, pretrain_epochs=1)"  # one step closes every column
FALLBACK = "all columns are masked; the one of largest alpha is kept"


def report_of(folder: pathlib.Path) -> str:
    return html.unescape((folder / "report.html").read_text(encoding="utf-8"))


def cost_of(folder: pathlib.Path, method: str) -> dict[str, Any]:
    (path,) = folder.glob(f"search/{method}-*/search_cost.json")
    return json.loads(path.read_text())


def test_a_chain_tells_what_all_its_searches_had_to_say_and_cost(table, tmp_path):
    (record,) = jobs.pipeline(
        small_job(table, tmp_path, method=f"{MASKED} + sseds(kappa=1.0, epochs=1)")
    )
    told = [notice for notice in record["notices"] if FALLBACK in notice]
    assert len(told) == 1 and told[0].startswith("ham(") and told[0] in report_of(tmp_path)
    assert SearchResult.load(str(tmp_path / "search" / "result.json")).notices == tuple(
        record["notices"]
    )
    first, last = cost_of(tmp_path, "ham"), cost_of(tmp_path, "sseds")
    assert (
        record["search_steps"] == first["steps"] + last["steps"]
        and min(first["steps"], last["steps"]) > 1
    )
    assert record["search_peak_mib"] == max(first["peak_mib"], last["peak_mib"])
    assert (
        record["pretraining_seconds"]
        == first["pretraining"]["seconds"] + last["pretraining"]["seconds"]
        > 0
    )
    assert record["search_seconds"] == pytest.approx(first["seconds"] + last["seconds"])
    assert record["search_proper"]["steps"] == 1, "of the one method that says what it adds"
    again = jobs.pipeline(
        small_job(table, tmp_path, method=f"{MASKED} + sseds(kappa=1.0, epochs=1)")
    )
    assert again == [record]


def test_the_points_of_a_curve_tell_what_their_searches_had_to_say(table, tmp_path):
    """Every size of HAM is a search of its own."""
    method = "ham(share=1.0, sweep=(0.25,), mu=0.05, epochs=1, pretrain_epochs=1)"
    (record,) = jobs.pipeline(small_job(table, tmp_path, method=method, curve=True))
    found, point = json.loads((tmp_path / "curve.json").read_text())
    assert point["name"] == "ham share=0.25" and found["notices"] == record["notices"]
    assert not any(FALLBACK in notice for notice in found["notices"])
    (notice,) = [notice for notice in point["notices"] if FALLBACK in notice]
    assert f"ham share=0.25: {notice}" in report_of(tmp_path)


def test_what_several_points_of_one_search_have_to_say_stands_there_once(table, tmp_path):
    method = "ihas(preset='small_log', epochs=1, patience=0, clusters=1, sweep=(0.3,))"
    jobs.pipeline(small_job(table, tmp_path, method=method, curve=True))
    text = report_of(tmp_path)
    assert (
        "ihas, ihas majority=0.3: " in text
        and text.count("have no local minimum in the histogram") == 1
    )


def test_the_fields_of_a_search_come_with_its_fallbacks_and_pictures(table, tmp_path, caplog):
    jobs.pipeline(
        small_job(table, tmp_path, method="fields(ihas(preset='small_log', epochs=1, patience=0))")
    )
    (record,) = json.loads((tmp_path / "summary.json").read_text())
    (notice,) = [
        notice for notice in record["notices"] if "have no local minimum in the histogram" in notice
    ]
    assert notice in caplog.text and notice in report_of(tmp_path)
    (path,) = tmp_path.glob("search/fields-*/pictures.json")
    assert [picture.title for picture in load_pictures(str(path))][-1] == "How often gates are open"


@pytest.mark.parametrize(
    "control, message",
    [
        (
            "ham(size=500)",
            "`size` of ham should be no larger than the space that is searched, 16. Received: 500",
        ),
        ("fields(ham(stages=(99,), size=2))", "`stages` of ham should be no larger than the space"),
        (
            "ihas(clusters=9999)",
            "`clusters` of ihas should be at most the [0-9]+ training rows. Received: 9999",
        ),
        ("dnis(block_sizes=(1, 100000))", "The blocks of dnis should have a feature each"),
        (
            "irazor(candidates={'nofield': (0, 4)})",
            "`candidates` of irazor should name fields .* Received: nofield",
        ),
    ],
)
def test_a_control_out_of_range_is_said_before_anything_is_searched(
    control, message, table, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        ihas, "MOST_CLUSTERS", 10**5
    )  # the rows of this log are more than the clusters that there may be
    job = small_job(
        table, tmp_path, method="irazor(epochs=1)", controls=f"dnis(epochs=1) + {control}"
    )
    with pytest.raises(ValueError, match=message):
        jobs.pipeline(job)
    assert not list(tmp_path.rglob("state.json"))


def test_so_is_what_a_later_method_of_a_chain_asks_for(table, tmp_path):
    with pytest.raises(ValueError, match="`clusters` of ihas should be at most"):
        jobs.pipeline(small_job(table, tmp_path, method="irazor(epochs=1) + ihas(clusters=9999)"))
    assert not list(tmp_path.rglob("state.json"))


def test_a_control_that_the_model_has_no_place_for_is_left_out_whatever_it_asks_for(
    table, tmp_path
):
    (record,) = jobs.pipeline(
        small_job(table, tmp_path, model="lr", method="fde", controls="ham(size=500)")
    )
    assert any("left out: lr" in notice for notice in record["notices"])


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_who_wants_no_warnings_shown_finds_them_in_summary_and_report(
    level, table, tmp_path, caplog
):
    before = logging.getLogger().level
    logging.getLogger().setLevel(level)
    try:
        (record,) = jobs.pipeline(small_job(table, tmp_path, method=MASKED))
    finally:
        logging.getLogger().setLevel(before)
    (notice,) = [notice for notice in record["notices"] if FALLBACK in notice]
    assert notice in report_of(tmp_path)
    assert (notice in caplog.text) == (level == logging.WARNING)
    package = logging.getLogger("irazor_tf")
    assert package.propagate and package.level == logging.NOTSET


def test_a_search_that_keeps_the_whole_space_selects_nothing(table, tmp_path):
    for method, message in [
        (
            "fields(ihas(retrain=False))",
            r"`fields` takes a method whose result says which fields to keep. Received: "
            r"ihas\(retrain=False\)",
        ),
        (
            "ihas(retrain=False) + fde(dim=2)",
            r"follows should say what to keep. Received: 'ihas\(retrain=False\)': gates in all of "
            r"it",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            jobs.pipeline(small_job(table, tmp_path, method=method))
    assert not (tmp_path / "search").exists()


def test_overfitting_and_a_loss_worse_than_the_base_rate_are_said_of_searches_and_models(
    table, tmp_path, caplog
):
    """In log, summary and report, whoever trains them; said again by a job that only reads what is
    there."""
    fast = "adam(learning_rate=0.05)"
    settings = {
        "method": "irazor(epochs=3)",
        "network_optimizer": fast,
        "bias_optimizer": fast,
        "epochs": 3,
        "patience": 0,
    }
    (record,) = jobs.pipeline(small_job(table, tmp_path, **settings))
    for who in ("the model of its search", "the final model"):
        for what in (
            "overfits after epoch 1: the validation log loss",
            "is worse than the base rate: its validation log loss",
        ):
            (notice,) = [
                notice for notice in record["notices"] if notice.startswith(f"{who} {what}")
            ]
            assert notice in caplog.text and notice in report_of(tmp_path)
    (state,) = tmp_path.glob("models/*/model/state.json")
    history = json.loads(state.read_text())["history"]
    assert (
        f"from {history[0]['log_loss']:.4f} to {history[-1]['log_loss']:.4f} by epoch 3"
        in " ".join(record["notices"])
    )
    assert jobs.pipeline(small_job(table, tmp_path, **settings)) == [record]


@pytest.mark.parametrize("method", ["fde", "irazor(epochs=1)"])
@pytest.mark.parametrize("optimizer", ["sgd(learning_rate=10000)", "adagrad(learning_rate=10000)"])
def test_a_rate_that_diverges_does_not_pass_in_silence(optimizer, method, table, tmp_path, caplog):
    """Whatever the numbers become: a figure with a notice in log, summary and report, or one line
    that says where they left the finite."""
    try:
        (record,) = jobs.pipeline(
            small_job(
                table,
                tmp_path,
                method=method,
                network_optimizer=optimizer,
                bias_optimizer=optimizer,
            )
        )
    except ValueError as error:
        should = (
            r"`(loss|penalty_\w+)` should stay finite\. Received: (nan|inf) in epoch \d, by "
            r"step \d+ of the training in \S+ \(try .+\)"
        )
        assert re.fullmatch(should, str(error))
    else:
        found = [notice for notice in record["notices"] if "is worse than the base rate" in notice]
        assert found and all(
            notice in caplog.text and notice in report_of(tmp_path) for notice in found
        )


def test_columns_that_a_schema_leaves_out_are_said_once(tmp_path, caplog):
    """By all stages, and the scoring of the log's first rows after them."""
    table = small_jobs.write_table(tmp_path / "log")
    schema = pathlib.Path(table["schema"])
    schema.write_text(schema.read_text().replace("  - {name: junk}\n", ""))
    stages.perform("pipeline", small_job(table, tmp_path / "job", method="fde", epochs=1))
    assert caplog.text.count("left out, as the schema does not name them: 1 columns (junk)") == 1


def test_a_folder_without_checksums_is_said_once(copied, caplog):
    """One of before there were any, of which every stage of a finished job finds that."""
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    (folder / integrity.LEDGER).unlink()
    manifest = json.loads((folder / "data" / "manifest.json").read_text())
    (folder / "data" / "manifest.json").write_text(
        json.dumps({k: v for k, v in manifest.items() if k not in ("files", "checksum")})
    )
    stages.perform("pipeline", job_of(settings))
    assert caplog.text.count("has no checksums of its files: they are taken as they are") == 1
    assert caplog.text.count("was made before manifests held checksums") == 1


def test_a_training_that_goes_well_has_nothing_to_say(finished):
    summary = json.loads((pathlib.Path(finished["model_dir"]) / "summary.json").read_text())
    assert not [
        notice
        for record in summary
        for notice in record["notices"]
        if "overfits" in notice or "base rate" in notice
    ]
