"""Jobs of the methods whose final models are of a special kind, from raw text to what TensorFlow's
C library scores."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from data_pipelines import vocabulary
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.evaluation.calibration import Correction
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.candidates import load_candidates
from irazor_tf.jobs.final_models import restored_model
from irazor_tf.jobs.job import Job
from irazor_tf.model.routing import RoutedRecommender
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.source import Source
from irazor_tf.training.trainer import Trainer
from tests.jobs import small_jobs
from tests.jobs.small_jobs import small_job

ROUTED = "ihas(preset='small_log', epochs=2, pretrain_epochs=1, patience=0)"
CASES: dict[str, dict[str, Any]] = {
    "dnis-mlp": {"method": "dnis(compression=8.0, epochs=2)", "controls": "magnitude(per='entry')"},
    "dnis-fm": {"method": "dnis(compression=8.0, epochs=2, xi=0.01)", "model": "fm"},
    "ihas-mlp": {"method": ROUTED, "calibrate": True},
    "ihas-transferred": {"method": ROUTED, "retrain_model": "deepfm(hidden=(16,))"},
    "ihas-searched": {
        "method": ROUTED[:-1] + ", rows='all', start='searched')",
        "model": "deepfm(hidden=(16,))",
    },
    "ihas-1": {
        "method": "ihas(preset='small_log', epochs=2, pretrain_epochs=1, patience=0, retrain=False)"
    },
    "ham-deepfm": {
        "method": "ham(share=0.5, epochs=2, mu=2e-3, pretrain_epochs=1)",
        "model": "deepfm(hidden=(16,))",
    },
    "sseds-deepfm": {
        "method": "sseds(kappa=0.3, epochs=1)",
        "model": "deepfm(hidden=(16,))",
        "controls": "sseds(retrain=False)",
    },
}


@pytest.fixture(scope="module", params=CASES)
def done(request, table, tmp_path_factory) -> tuple[str, Any, Schema, list[dict[str, Any]]]:
    """A job that has run all its stages."""
    folder = tmp_path_factory.mktemp("job")
    job = small_job(table, folder, **CASES[request.param])
    summary = jobs.pipeline(job)
    assert summary == json.loads(pathlib.Path(folder, "summary.json").read_text())
    return request.param, job, Schema.load(job.records_dir), summary


def raw_rows(
    table: dict[str, str], schema: Schema, count: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The first rows of the log as a client sends them, and their
    ids by way of the vocabularies."""
    with open(table["input"], encoding="utf-8") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(count), strict=False)]
    dtypes: dict[str, Any] = {"int64": np.int64, "float64": np.float64, "string": np.str_}
    raw = {
        field.name: np.array([row[field.name] for row in rows]).astype(dtypes[field.dtype])
        for field in schema.fields
    }
    ids = np.zeros((count, len(schema.fields)), np.int32)
    job: Any = small_jobs.job_of(
        {**table, **small_jobs.SMALL, "model_dir": "unused", "method": "fde"}
    )
    reader = job.data.make_reader()
    (chunk, *_) = reader.chunks([table["input"]])
    for k, field in enumerate(reader.fields()):
        column = vocabulary.tokenize(chunk.columns[field.name], field)
        encoded = vocabulary.Vocabulary.load(schema.vocabulary_file(field.name)).encode(
            column.dictionary
        )
        ids[:, k] = encoded[column.indices.to_numpy()][:count]
    return raw, ids


def test_the_c_library_scores_raw_rows_as_the_trainer_does(done, table):
    name, job, schema, summary = done
    candidate = load_candidates(job.paths)[0]
    model = restored_model(Job(job), candidate)
    raw, ids = raw_rows(table, schema, 300)
    expected = model.predict_proba(ids).numpy()
    assert len(np.unique(expected)) > 50
    if job.calibrate:
        correction = Correction.load(job.path("models", candidate.key, "correction.json"))
        assert np.abs(correction.apply(expected) - expected).max() > 1e-3
        expected = correction.apply(expected)
    if isinstance(model, RoutedRecommender):
        clusters = model.router(ids).numpy()
        assert 0 < clusters.mean() < 1, "rows of both clusters should be scored"
    (export,) = (path for path in pathlib.Path(job.model_dir, "export").iterdir() if path.is_dir())
    scores = small_jobs.c_library_scores(str(export), schema, raw)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    assert os.path.exists(os.path.join(job.model_dir, "report.html"))
    result: Any = SearchResult.load(job.path("search", "result.json"))
    if name.startswith("ihas") and name != "ihas-1":
        assert len(result.clusters) == 2 and result.router.params > schema.num_features * 4
        assert summary[0]["params"] == candidate.num_params(schema) > result.router.params
    if name == "ihas-1":
        assert result.keep_gates and model.gates
    if name.startswith("dnis"):
        table_mib = summary[0]["table_mib"]
        assert (
            table_mib["csr"] < table_mib["dense"]
            and summary[0]["params"] == schema.num_features * 4 // 8
        )


def test_costs_stand_in_the_summary_and_in_the_report(done):
    name, job, _, summary = done
    record = summary[0]
    assert (
        record["search_steps"] > 0
        and record["search_peak_mib"] > 100
        and record["test_seconds"] > 0
        and record["search_seconds"] > 0
    )
    text = pathlib.Path(job.model_dir, "report.html").read_text()
    costs = text[text.index('<section id="costs">') :]
    assert f"{record['search_steps']:,}" in costs[: costs.index("</section>")]
    drawn = text[text.index('<section id="pictures">') :]
    assert "<svg" in drawn[: drawn.index("</section>")], "the method draws its search"
    if name == "sseds-deepfm":
        assert record["search_proper"]["steps"] == 1
    for notice in record["notices"]:
        assert notice.split("%")[0] in text


@pytest.fixture
def fits(monkeypatch) -> list[tuple[str, FitPlan]]:
    """Names and plans of all trainings from now on."""
    seen: list[tuple[str, FitPlan]] = []
    fit = Trainer.fit

    def watched(self: Trainer, model: Any, name: str, plan: FitPlan) -> Any:
        seen.append((name, plan))
        return fit(self, model, name, plan)

    monkeypatch.setattr(Trainer, "fit", watched)
    return seen


def test_the_model_of_a_cluster_learns_from_its_own_rows(table, tmp_path, fits):
    """Algorithm 1 of iHAS, lines 15 to 21: of the training and of the validation split; together
    they are all rows."""
    job = small_job(table, tmp_path, method=ROUTED)
    jobs.retrain(job)
    model = restored_model(Job(job), load_candidates(job.paths)[0])
    assert isinstance(model, RoutedRecommender)
    trained = [(name, plan) for name, plan in fits if name.startswith("cluster")]
    assert [name for name, _ in trained] == ["cluster-0", "cluster-1"]
    for key, split in (("train", "train"), ("judge", "valid")):
        rows = 0
        for cluster, (_, plan) in enumerate(trained):
            for batch in getattr(plan, key).ordered(512):
                np.testing.assert_array_equal(model.router(batch["ids"]), cluster)
                rows += len(batch["ids"])
        assert rows == Source(job.records_dir, split).rows


@pytest.mark.parametrize(
    "method, keeps",
    [("ham(share=0.5, epochs=1, pretrain_epochs=1)", True), ("sseds(kappa=0.5, epochs=1)", False)],
)
def test_who_goes_on_training_keeps_its_start_where_that_is_best(
    method, keeps, table, tmp_path, fits
):
    jobs.retrain(small_job(table, tmp_path, method=method))
    (plan,) = (plan for name, plan in fits if name == "model")
    assert plan.keep_start is keeps


def test_a_field_without_an_entry_is_an_input_and_no_field_kept(table, tmp_path, capsys):
    """Of two entries, at most two fields; in `fm` the others keep their first-order terms."""
    method = "magnitude(per='entry')"
    (record,) = jobs.pipeline(
        small_job(table, tmp_path, method=method, model="fm", budget_params=2, progress=True)
    )
    dims = SearchResult.load(str(tmp_path / "search" / "result.json")).config.stored_dims
    kept = [name for name, dim in dims.items() if dim]
    assert record["params"] == 2 and 0 < len(kept) <= 2 < len(record["inputs"]) == len(dims)
    assert record["fields"] == len(kept) and record["dims"] == sum(dims.values())
    assert (
        f"found {len(kept)} of {len(dims)} fields, {sum(dims.values())} dims, 2 parameters"
        in capsys.readouterr().out
    )
    text, empty = (tmp_path / "report.html").read_text(), sorted(set(dims) - set(kept))
    assert f"{len(kept)} of {len(dims)} fields are kept. Removed: " in text
    (listed,) = re.findall(
        r"Masks leave no entry of (\d) of these; they stay inputs all the same: ([a-z, ]+)\.<", text
    )
    assert int(listed[0]) == len(empty) and sorted(listed[1].split(", ")) == empty


def test_a_budget_that_a_router_exceeds_is_said(table, tmp_path):
    job = small_job(table, tmp_path, method=ROUTED, budget_params=500)
    (record,) = jobs.pipeline(job)
    assert record["params"] > 500 and record["budget"] == 500
    (notice,) = [notice for notice in record["notices"] if "budget" in notice]
    assert (
        notice == "The budget of 500 parameters is exceeded: all that the method needs takes "
        f"{record['params']:,}"
    )
    text = (tmp_path / "report.html").read_text()
    assert (
        "asked for at most 500 parameters" in text
        and "the widest config of at most 500" not in text
    )
    assert record["fields"] == len(record["inputs"]) == 4, "what the router reads is an input"


def test_controls_of_a_method_larger_than_the_space_are_said_to_be_smaller(table, tmp_path, caplog):
    job = small_job(table, tmp_path, method=ROUTED, controls="fde + random")
    record, *controls = jobs.pipeline(job)
    assert [control["name"] for control in controls] == ["fde", "random"]
    whole = InputConfig.uniform(Schema.load(job.records_dir), job.width).num_params(
        Schema.load(job.records_dir)
    )
    notice = (
        f"controls are smaller than the {record['params']:,} parameters they should have: the "
        f"whole space has {whole:,}"
    )
    assert (
        record["params"] > whole
        and record["notices"].count(notice) == caplog.text.count(notice) == 1
    )


def test_the_points_of_a_curve_of_clusters_and_of_searches_of_their_own(table, tmp_path):
    job = small_job(table, tmp_path / "routed", method=ROUTED[:-1] + ", sweep=(0.3,))", curve=True)
    jobs.pipeline(job)
    points = json.loads((tmp_path / "routed" / "curve.json").read_text())
    assert [point["name"] for point in points] == ["ihas", "ihas majority=0.3"]
    job = small_job(
        table,
        tmp_path / "sizes",
        method="ham(share=0.5, sweep=(0.25,), epochs=1, mu=2e-3, pretrain_epochs=1)",
        curve=True,
    )
    jobs.pipeline(job)
    listed = json.loads((tmp_path / "sizes" / "candidates.json").read_text())
    assert len(listed) == 2 and len({entry["search_folder"] for entry in listed}) == 2, (
        "each size has a search of its own"
    )
    assert len(list((tmp_path / "sizes" / "search" / "pretrained").iterdir())) == 1


def test_a_method_that_leaves_clusters_is_the_last_of_a_chain(table, tmp_path):
    with pytest.raises(
        ValueError, match=r"should leave one config. Received: 'ihas\(.*': one per cluster of rows"
    ):
        jobs.pipeline(small_job(table, tmp_path, method="ihas(clusters=3) + fde(dim=2)"))
    assert not (tmp_path / "search").exists()
