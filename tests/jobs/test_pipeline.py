"""Whole jobs on small logs: what they leave, how bad input ends, chains, every way a final model
starts, strategies, new methods."""

from __future__ import annotations

import dataclasses
import gzip
import html
import json
import os
import pathlib
import random
import re
import shutil
import sys
import time
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import irazor_tf.methods
from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.files import read_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import Role
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec, parse_spec
from irazor_tf.jobs import final_models
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.candidates import Candidate, load_candidates, unique_names
from irazor_tf.jobs.comparison import chain_of
from irazor_tf.jobs.job import Job
from irazor_tf.methods.dnis import method as dnis
from irazor_tf.search.method import METHODS
from irazor_tf.search.run import search_folder
from irazor_tf.training import strategy
from irazor_tf.training.source import Source
from tests.conformance.toys import TOYS, FoldedColumns
from tests.jobs import small_jobs
from tests.jobs.small_jobs import SMALL, job_of, registered, table_lines, write_table


def run(settings: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    return jobs.pipeline(job_of({**settings, **changes}))


def scores(folder: str, rows: dict[str, list[Any]]) -> np.ndarray:
    """What the exported model gives; values of fields that it does not read are left out."""
    signature = tf.saved_model.load(os.path.join(folder, "export", "1")).signatures[
        "serving_default"
    ]
    inputs = {
        name: tf.constant(rows[name], spec.dtype)
        for name, spec in signature.structured_input_signature[1].items()
    }
    return signature(**inputs)["probability"].numpy()


ROWS: dict[str, list[Any]] = {
    "user": ["u3", "u4", "never", ""],
    "item": [1, 2, 3, 4],
    "price": [1.5, 20.0, float("nan"), 7.0],
    "junk": ["1", "2", "3", ""],
}


# What a job leaves --------------------------------------------------------------------------------


@pytest.mark.quick
def test_a_table_with_a_budget(finished):
    folder = pathlib.Path(finished["model_dir"])
    summary = json.loads((folder / "summary.json").read_text())
    assert [record["name"] for record in summary] == ["irazor", "fde", "magnitude", "random"]
    for record in summary:
        assert not set(small_jobs.RECORD) - set(record)
        assert (record["model"], record["seed"]) == ("mlp(hidden=(16,))", 1)
        assert 0.5 < record["auc"] < 1 and 0.3 < record["log_loss"] < 0.9
        assert record["params"] < record["total_params"] and all(
            record[key] >= 0 for key in small_jobs.SECONDS
        )
    schema = Schema.load(str(folder / "data"))
    found = SearchResult.load(str(folder / "search" / "result.json")).config
    assert summary[0]["params"] == found.num_params(schema) <= 1000
    assert (summary[0]["fields"], summary[0]["dims"]) == (found.num_fields, found.total_dims)
    assert (
        summary[1]["params"] == schema.num_features * 4
    )  # at its own setting; the others at the found config's size
    assert all(record["params"] <= summary[0]["params"] for record in summary[2:])
    assert sorted(os.listdir(folder / "export")) == ["1", "1.sha256"]
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert (
        "What was found" in text
        and text.count("irazor(), the widest config of at most 1,000 parameters") == 1
    )
    assert [point.get("budget") for point in json.loads((folder / "curve.json").read_text())] == [
        1000,
        None,
        None,
        None,
    ]
    given = scores(str(folder), ROWS)
    assert given.shape == (4,) and np.all((given > 0) & (given < 1))


@pytest.mark.quick
def test_the_summary_is_what_the_models_score(finished):
    """AUC and log loss, computed anew from the exported model's answers to the raw rows of the test
    split."""
    job = job_of(finished)
    schema = Schema.load(job.records_dir)
    batch = next(iter(Source(job.records_dir, "test").ordered(10**6)))
    vocabularies = {
        name: ["", *pathlib.Path(schema.vocabulary_file(name)).read_text().split("\n")]
        for name in schema.names
    }
    raw: dict[str, list[Any]] = {}
    for k, name in enumerate(schema.names):
        texts = [
            vocabularies[name][i] if i else "no such value" for i in batch["ids"].numpy()[:, k]
        ]
        raw[name] = (
            [int(text) if text[0].isdigit() else -1 for text in texts] if name == "item" else texts
        )
    raw["price"] = [
        _price(vocabularies["price"][i]) if i else 1e18
        for i in batch["ids"].numpy()[:, schema.index("price")]
    ]
    given, labels = scores(job.model_dir, raw).astype(np.float64), batch["label"].numpy()
    found = read_json(job.path("summary.json"))[0][0]
    expected = -np.mean(labels * np.log(given) + (1 - labels) * np.log(1 - given))
    assert found["log_loss"] == pytest.approx(expected, abs=1e-5)
    above = (given[labels == 1][:, None] > given[labels == 0]) + 0.5 * (
        given[labels == 1][:, None] == given[labels == 0]
    )
    assert found["auc"] == pytest.approx(above.mean(), abs=1e-5)


def _price(code: str) -> float:
    """A number with this code."""
    k = int(code)
    return k + 2.5 if k <= 0 else float(np.exp(np.sqrt(k + 0.5)))


def test_criteo_files_end_to_end(tmp_path):
    draw = random.Random(0)

    def maybe(text: str) -> str:
        return "" if draw.random() < 0.1 else text

    paths = []
    for part in range(2):
        lines = []
        for _ in range(700):
            click = draw.random() < 0.3
            numbers = [maybe(str(draw.randrange(-2, 1000))) for _ in range(13)]
            telling = f"{draw.randrange(10) + 10 * click * (draw.random() < 0.5):08x}"
            tokens = [telling, *(maybe(f"{draw.randrange(9):x}") for _ in range(25))]
            lines.append("\t".join([str(int(click)), *numbers, *tokens]) + "\n")
        paths.append(tmp_path / f"part{part}.tsv.gz")
        paths[-1].write_bytes(gzip.compress("".join(lines).encode()))
    settings = {
        "reader": "criteo",
        "input": ",".join(map(str, paths)),
        "model_dir": str(tmp_path / "job"),
        "method": "irazor",
        "seed": 1,
    }
    summary = run({**settings, **SMALL, "controls": ""})
    assert [record["name"] for record in summary] == ["irazor"] and summary[0]["auc"] > 0.6
    assert sorted(os.listdir(tmp_path / "job" / "export" / "1")) >= [
        "assets",
        "fingerprint.pb",
        "saved_model.pb",
        "variables",
    ]


@pytest.mark.slow
def test_plain_defaults(table, tmp_path):
    summary = run(
        {**table, "model_dir": str(tmp_path / "job"), "budget_params": 2000, "progress": False}
    )
    assert [record["name"] for record in summary] == [
        "irazor",
        "fde",
        "magnitude",
        "random",
        "logistic_regression",
        "gradient_boosting",
    ]


def test_the_same_job_elsewhere_ends_the_same(finished, tmp_path):
    """Same settings and seed, another folder: the same found config and model, to the last bit."""
    other = {**finished, "model_dir": str(tmp_path / "other"), "controls": ""}
    run(other)
    ours, theirs = (
        small_jobs.leavings(finished["model_dir"]),
        small_jobs.leavings(other["model_dir"]),
    )
    same = [key for key in theirs if key.startswith(("data/", "search/", "models/", "export/"))]
    assert len(same) > 20 and not [key for key in same if ours[key] != theirs[key]]


# Chains and retraining ----------------------------------------------------------------------------

LIGHT = {**SMALL, "controls": "", "epochs": 1}


@pytest.fixture(scope="module")
def records(finished: dict[str, Any]) -> dict[str, Any]:
    """Settings of a job on records that are there already."""
    return {"data_dir": os.path.join(finished["model_dir"], "data"), **LIGHT}


def test_a_chain_searches_inside_the_last_result(records, tmp_path):
    method = "irazor(cpt=0.5) + fde(dim=2)"
    (record,) = run(records, model_dir=str(tmp_path), method=method)
    schema = Schema.load(records["data_dir"])
    (search,) = [read_json(str(path))[0] for path in tmp_path.glob("search/fde-*/space.json")]
    space, found = (
        InputConfig.from_json(search),
        SearchResult.load(str(tmp_path / "search" / "result.json")).config,
    )
    assert space.within(InputConfig.uniform(schema, 4)) and space.num_params(
        schema
    ) < InputConfig.uniform(schema, 4).num_params(schema)
    assert found.within(space) and found.dims == {
        name: min(field.dim, 2) for name, field in space.fields.items()
    }
    assert (record["name"], record["method"]) == ("irazor + fde", method)
    assert scores(str(tmp_path), ROWS).shape == (4,)


def test_a_control_of_the_last_methods_name_is_kept_beside_a_chain(records, tmp_path):
    summary = run(
        records, model_dir=str(tmp_path), method="magnitude(share=0.3) + fde", controls="fde"
    )
    assert [record["name"] for record in summary] == ["magnitude + fde", "fde"]
    assert summary[0]["params"] < summary[1]["params"]


MASKS = {"size", "alpha_mean"}
TRACES = {
    "irazor(epochs=2)": {"alpha_entropy", "alpha_first_region", "size_penalty"},
    "dnis(epochs=2, l1=0.1)": {"alpha_mean", "alpha_at_zero", "alpha_l1"},
    "ham(epochs=2, orthogonality=0.0)": MASKS | {"penalty_sign"},
    "sam_gs(epochs=2, orthogonality=0.0)": MASKS | {"temperature"},
    "ihas(epochs=2, every=2)": {
        "gate_open",
        "gate_decided",
        "sparsity_penalty",
        "polarization_penalty",
        "temperature",
    },
}


@pytest.mark.parametrize("method", TRACES)
def test_curves_for_tensorboard(method, records, tmp_path):
    folder = str(tmp_path / "run")
    job = job_of(
        {**records, "model_dir": folder, "method": method, "batch_size": 128, "tensorboard": True}
    )
    jobs.search(job)
    found: dict[str, list[tuple[int, float]]] = {}
    (supernet,) = pathlib.Path(folder).rglob("supernet")
    for path in sorted(supernet.rglob("tensorboard/epochs/events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(
                    (event.step, float(tf.make_ndarray(value.tensor)))
                )
    history = json.loads((supernet / "state.json").read_text())["history"]
    assert {"loss", "auc", *TRACES[method]} <= set(found) and "epoch" not in found
    for key, values in found.items():
        assert values == [
            (record["epoch"], pytest.approx(record[key], rel=1e-6)) for record in history
        ]


def test_fields_of_a_search_at_full_width(records, tmp_path):
    job = job_of(
        {
            **records,
            "model_dir": str(tmp_path),
            "method": "fields(irazor(temperature=0.01))",
            "cpt": 0.3,
        }
    )
    assert job.method == "fields(irazor(temperature=0.01, cpt=0.3))"
    jobs.pipeline(job)
    found = SearchResult.load(str(tmp_path / "search" / "result.json")).config
    assert set(found.dims.values()) <= {0, 4} and found.num_fields
    (record,) = read_json(str(tmp_path / "summary.json"))[0]
    assert (record["name"], record["method"]) == ("fields(irazor)", job.method)


def test_another_base_model_for_the_final_models(records, tmp_path):
    (record,) = run(records, model_dir=str(tmp_path), retrain_model="lr", method="irazor(cpt=0.3)")
    assert record["model"] == "lr" and record["params"] == 0 < record["total_params"]
    assert scores(str(tmp_path), ROWS).shape == (4,)


def test_logistic_regression_all_through(records, tmp_path):
    summary = run(
        records,
        model_dir=str(tmp_path),
        model="lr",
        method="fde",
        controls="fde + magnitude + random",
    )
    assert [record["name"] for record in summary] == ["fde", "random"], (
        "magnitude has nothing to rank here, fde is the method itself"
    )
    assert {record["params"] for record in summary} == {0}


def test_a_control_that_finds_nothing_small_enough_is_left_out(records, tmp_path):
    """What was found is trained and served all the same, and told what is missing beside it."""
    controls = "sseds(retrain=False, epochs=1) + random"
    summary = run(
        records, model_dir=str(tmp_path), method="magnitude(share=0.02)", controls=controls
    )
    assert [record["name"] for record in summary] == ["magnitude", "random"]
    (notice,) = [notice for notice in summary[0]["notices"] if "control" in notice]
    assert re.match(
        r"control sseds\(.*\) left out: sseds: The budget should be at least the column of largest "
        r"saliency's \d+ ",
        notice,
    )
    assert html.escape(notice) in (tmp_path / "report.html").read_text()
    run(records, model_dir=str(tmp_path), method="magnitude(share=0.02)", controls=controls)
    assert SearchResult.load(str(tmp_path / "search" / "result.json")).notices == ()


def test_notices_of_the_found_config_outlive_a_point_of_the_curve_like_it(records, tmp_path):
    """They share a folder, and the curve's has none of them."""
    method, controls = "magnitude(share=0.02, sweep=(0.02, 0.5))", "sseds(epochs=1)"
    (record,) = run(records, model_dir=str(tmp_path), method=method, controls=controls, curve=True)
    assert any(
        notice.startswith("control sseds(epochs=1) left out: sseds: ")
        for notice in record["notices"]
    )
    points = read_json(str(tmp_path / "curve.json"))[0]
    assert len({point["folder"] for point in points}) < len(points)


def test_a_search_that_leaves_nothing_costs_a_control_alone(records, tmp_path, monkeypatch):
    """DNIS with all of alpha at 0."""
    monkeypatch.setattr(dnis, "merge", lambda table, alpha, blocks: 0 * table)
    (record,) = run(
        records,
        model_dir=str(tmp_path),
        method="fde(dim=2)",
        controls="dnis(epochs=1)",
        batch_size=128,
    )
    (notice,) = record["notices"]
    assert notice.startswith(
        "control dnis(epochs=1) left out: dnis: dnis(epochs=1) should leave an entry that is not 0"
    )


def test_equal_names_are_told_apart_by_what_differs():
    result = SearchResult((InputConfig.from_dims({"a": 1}),), Spec("x"))
    specs = [
        "sseds(kappa=0.3)",
        "sseds(kappa=0.3, ticket=False)",
        "sseds",
        "sseds(ticket=False)",
        "magnitude",
        "sseds(kappa=0.3)",
    ]
    specs.append("sseds(ticket=False, retrain=False, batches=20, on_validation=True, fill=True)")
    chosen = [
        Candidate(
            Role.CONTROL, spec.split("(")[0], dataclasses.replace(result, method=parse_spec(spec))
        )
        for spec in specs
    ]
    expected = [
        "sseds",
        "sseds (ticket=False)",
        "sseds (fewer settings)",
        "sseds (ticket=False) (2)",
        "magnitude",
        "sseds (2)",
        "sseds (3)",
    ]
    assert [candidate.name for candidate in unique_names(chosen)] == expected


class Ticket(FoldedColumns):
    """The final model starts with the searched tables and a fresh network."""

    traits = dataclasses.replace(FoldedColumns.traits, init="ticket")


@pytest.mark.parametrize(
    ("name", "init", "clusters"),
    [
        ("toy_ticket", "ticket", 1),
        ("toy_folded", "continue", 1),
        ("toy_masked", "keep", 1),
        ("toy_routed", "fresh", 2),
    ],
)
def test_every_way_a_final_model_starts(name, init, clusters, records, tmp_path):
    with registered(**TOYS, toy_ticket=Ticket):
        settings = {**records, "model_dir": str(tmp_path), "method": name}
        (record,) = run(settings)
        result = SearchResult.load(str(tmp_path / "search" / "result.json"))
        assert (result.init, len(result.clusters)) == (init, clusters)
        trained = sorted(path.parent.name for path in tmp_path.glob("models/*/*/state.json"))
        assert trained == {"keep": [], "fresh": ["cluster-0", "cluster-1"]}.get(init, ["model"])
        job, schema = Job(job_of(settings)), Schema.load(records["data_dir"])
        (candidate,) = load_candidates(job.paths)
        model, trainer = final_models.restored_model(job, candidate), job.trainer
        again = trainer.evaluate(model, trainer.test)
        assert again == pytest.approx(
            {"auc": record["auc"], "log_loss": record["log_loss"]}, abs=1e-9
        )
        assert record["params"] == sum(config.num_params(schema) for config in result.clusters)
        assert record["dims"] == sum(config.total_dims for config in result.clusters)
        assert scores(str(tmp_path), ROWS).shape == (4,)
        with pytest.MonkeyPatch.context() as patch:
            epochs, passes = small_jobs.fits(patch), small_jobs.evaluations(patch)
            run(settings)
        assert not epochs and not passes, "nothing is done twice"


def test_the_final_model_starts_where_it_should(records, tmp_path):
    """Without a step of training, ticket has the tables of the supernet and continue all it
    computes."""
    with registered(**TOYS, toy_ticket=Ticket):
        for name in ("toy_ticket", "toy_folded"):
            job = job_of({**records, "model_dir": str(tmp_path / name), "method": name})
            result = jobs.search(job)
            work = Job(job)
            trainer = work.trainer
            method, space, *_ = chain_of(work)
            folder = search_folder(method, space)
            candidate = Candidate(Role.FOUND, name, result, folder)
            final = final_models.initial_model(work, candidate, trainer, result.config)
            supernet = method.train_or_resume(trainer.inside(folder), space).model
            if name == "toy_ticket":
                assert final.embedding is not None and supernet.embedding is not None
                for field in result.config.kept:
                    kept = list(result.config.fields[field].labels)
                    np.testing.assert_array_equal(
                        final.embedding.field_table(field),
                        supernet.embedding.field_table(field)[:, kept],
                    )
                fresh = trainer.build(result.config)
                np.testing.assert_array_equal(
                    final.base.weights[0].numpy(), fresh.base.weights[0].numpy()
                )
            else:
                supernet.hard_mask(result.config)
                batch = next(iter(Source(records["data_dir"], "test").ordered(100)))["ids"]
                np.testing.assert_allclose(
                    final.predict_proba(batch), supernet.predict_proba(batch), atol=1e-6
                )


def test_configs_that_differ_in_their_masks_alone_are_two_models(finished):
    """They share no folder, so none is taken for the other's."""

    def candidate(bits: list[bool]) -> Candidate:
        config = InputConfig({"user": FieldConfig(2, mask=BitMask.from_array(np.array(bits)))})
        return Candidate(Role.FOUND, "a", SearchResult((config,), Spec("a")))

    assert candidate([True, False, True]).key != candidate([True, True, False]).key
    assert (
        candidate([True, False, True]).key
        == dataclasses.replace(candidate([True, False, True]), name="b").key
    )


NEW_METHOD = '''
from irazor_tf.config.input_config import InputConfig
from irazor_tf.search.method import METHODS, SearchMethod, Traits


@METHODS.register("newcomer")
class Newcomer(SearchMethod):
    """Keeps the first half of the fields."""

    traits = Traits(ranks_fields=False)

    def derive(self, search, space, budget=None):
        kept = space.kept[: len(space.kept) // 2]
        return InputConfig.from_dims({name: field.dim if name in kept else 0 for name, field in space.fields.items()})
'''  # noqa: E501


def test_a_method_is_one_file(records, tmp_path, monkeypatch):
    (tmp_path / "newcomer.py").write_text(NEW_METHOD, encoding="utf-8")
    monkeypatch.setattr(irazor_tf.methods, "__path__", [*irazor_tf.methods.__path__, str(tmp_path)])
    monkeypatch.setattr(METHODS, "scanned", False)
    try:
        assert "newcomer" in METHODS.names()
        (record,) = run(records, model_dir=str(tmp_path / "job"), method="newcomer")
        assert (record["name"], record["fields"], record["dims"]) == ("newcomer", 2, 8)
    finally:
        METHODS.remove("newcomer")
        sys.modules.pop("irazor_tf.methods.newcomer", None)


# Strategies ---------------------------------------------------------------------------------------


def test_strategies_agree(records, tmp_path):
    """One replica, one device by name, and two replicas: what is found and how it scores."""
    summaries, found = {}, {}
    for name in ("off", "one_device", "mirrored"):
        folder = str(tmp_path / name)
        job = job_of(
            {
                **records,
                "model_dir": folder,
                "distribution_strategy": name,
                "method": "irazor(cpt=0.8)",
                "calibrate": True,
            }
        )
        jobs.retrain(job)
        (summaries[name],) = jobs.evaluate(job)
        jobs.export(job)
        found[name] = SearchResult.load(os.path.join(folder, "search", "result.json")).config
    mirrored = strategy.strategy_of("mirrored")
    assert mirrored is not None and mirrored.num_replicas_in_sync == 2
    for name in ("one_device", "mirrored"):
        assert found[name] == found["off"]
        for key in ("auc", "log_loss", "valid_auc", "calibrated_log_loss"):
            assert summaries[name][key] == pytest.approx(summaries["off"][key], abs=1e-4)
        np.testing.assert_allclose(
            scores(str(tmp_path / name), ROWS), scores(str(tmp_path / "off"), ROWS), atol=1e-4
        )


# Bad input ----------------------------------------------------------------------------------------


def spoil(line: str, place: int, value: str | None) -> str:
    cells = line.split(",")
    return ",".join(cells[:place] + ([] if value is None else [value]) + cells[place + 1 :])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((2, None), "5 columns"),
        ((3, "cheap"), "price"),
        ((2, "many"), "item"),
        ((0, "2"), "label should be 0 or 1"),
        ((0, ""), "label"),
    ],
)
def test_a_bad_row_stops_the_job_with_file_and_line(change, message, tmp_path):
    lines = table_lines(60)
    lines[40] = spoil(lines[40], *change)
    settings = {**write_table(tmp_path / "log", lines), **SMALL, "model_dir": str(tmp_path / "job")}
    with pytest.raises(ValueError, match=message) as error:
        run(settings)
    assert f"{settings['input']}, line 41" in str(error.value)
    assert not os.path.exists(tmp_path / "job" / "data")
    # The settings of a job that never got so far bind nobody.
    good = {
        **write_table(tmp_path / "good", table_lines(60)),
        **SMALL,
        "model_dir": str(tmp_path / "job"),
        "width": 2,
    }
    assert jobs.preprocess(job_of(good)).names == ("user", "item", "price", "junk")


def test_an_edited_schema_file_is_refused(tmp_path):
    settings = {**SMALL, **write_table(tmp_path / "log"), "model_dir": str(tmp_path / "run")}
    jobs.preprocess(job_of(settings))
    path = pathlib.Path(str(settings["schema"]))
    text = path.read_text(encoding="utf-8")
    path.write_text("# a comment\n" + text, encoding="utf-8")
    jobs.preprocess(job_of(settings))
    path.write_text('missing: ["NA"]\n' + text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"log\.yaml\.form\.missing` was \[\] and is \['NA'\]"):
        jobs.preprocess(job_of(settings))


def test_damaged_files_stop_the_job_with_file_and_line(tmp_path):
    settings: dict[str, Any] = {
        **write_table(tmp_path / "log"),
        **SMALL,
        "model_dir": str(tmp_path / "job"),
    }
    whole = pathlib.Path(settings["input"]).read_bytes()
    settings["input"] = str(tmp_path / "log.csv.gz")
    pathlib.Path(settings["input"]).write_bytes(gzip.compress(whole)[:-2000])
    with pytest.raises(ValueError, match=r"log\.csv\.gz.*last line read"):
        run(settings)
    latin = whole.splitlines(keepends=True)
    latin[30] = latin[30].replace(b"u", b"\xfc")
    settings["input"] = str(tmp_path / "latin.csv")
    pathlib.Path(settings["input"]).write_bytes(b"".join(latin))
    with pytest.raises(ValueError, match=r"utf-8 text.*latin\.csv, line 31"):
        run(settings)


def flip(path: pathlib.Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_flipped_byte_is_named_by_file_and_block(split, copied):
    """Between preprocessing and search, and after a search, when records are only read for what is
    to be done."""
    settings = copied()
    path = next(pathlib.Path(settings["model_dir"]).glob(f"data/{split}-00000-*.tfrecord"))
    flip(path, 12 + 500)  # inside the first record: length and its checksum are 12 bytes
    searched = os.path.join(settings["model_dir"], "search", "result.json")
    for model in pathlib.Path(settings["model_dir"]).glob("models/*/*.json"):
        if model.name in ("metrics.json", "test.json"):
            model.unlink()
    if split == "train":
        shutil.rmtree(os.path.join(settings["model_dir"], "models"))
    with pytest.raises(ValueError, match=rf"Block 0 of .*{path.name}"):
        run(settings)
    os.remove(searched)
    with pytest.raises(ValueError, match=rf"Block 0 of .*{path.name}"):
        run(settings)


def test_records_that_disagree_with_the_manifest(copied):
    settings = copied()
    folder = pathlib.Path(settings["model_dir"]) / "data"
    manifest = json.loads((folder / "manifest.json").read_text())
    for key in (
        "files",
        "checksum",
    ):  # a manifest of before there were checksums; that another one is damaged shows in itself
        del manifest[key]
    file = manifest["splits"]["train"]["files"][1]
    file["blocks"][0] -= 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=file["name"]):
        run(settings)
    file["blocks"][0] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path = folder / file["name"]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(
        ValueError, match=rf"{file['name']} should hold .* block \d+ runs past the end of the file"
    ):
        run(settings)


def test_a_training_that_could_not_begin_binds_nobody(records, tmp_path):
    """A batch larger than the log is said; with a smaller one the same folder will do. A chain's
    seconds are those of all its searches."""
    settings = {**records, "model_dir": str(tmp_path), "method": "irazor + fde(dim=2)", "epochs": 1}
    with pytest.raises(ValueError, match="A batch of 1000000 needs as many rows"):
        jobs.search(job_of({**settings, "batch_size": 1_000_000}))
    result = jobs.search(job_of(settings))
    (first,) = tmp_path.glob("search/irazor-*/search_cost.json")
    assert 0 < json.loads(first.read_text())["seconds"] < result.seconds
    with pytest.raises(ValueError, match=r"`train\.batch_size` was \d+ and is 1000000"):
        jobs.search(job_of({**settings, "batch_size": 1_000_000}))


def test_seconds_of_a_search_whose_budget_was_too_small_count(records, tmp_path):
    """Once: its fits, a pretraining that others share among them, are not done again."""
    start = time.perf_counter()
    settings = {
        **records,
        "model_dir": str(tmp_path),
        "method": "ham(epochs=1, pretrain_epochs=2)",
        "batch_size": 128,
    }
    with pytest.raises(ValueError, match="The budget should be at least the smallest config's"):
        jobs.search(job_of({**settings, "budget_params": 1}))
    (path,) = tmp_path.glob("search/ham-*/search_cost.json")
    spent = json.loads(path.read_text())["unfinished_seconds"]
    seconds = jobs.search(job_of(settings)).seconds
    assert time.perf_counter() - start > seconds > spent > 0


def test_a_block_exchanged_for_another_is_found_before_the_search(copied):
    """Sound records, at the wrong place: only the manifest's checksums can tell."""
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    first, second = (next(folder.glob(f"data/train-0000{k}-*.tfrecord")) for k in (0, 1))
    if first.stat().st_size != second.stat().st_size:
        pytest.fail("the files should be of one size here")
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    os.remove(folder / "search" / "result.json")
    with pytest.raises(ValueError, match=f"Block 0 of .*{first.name}"):
        run(settings)


def test_a_budget_below_the_smallest_config(copied):
    with pytest.raises(ValueError, match=r"at least the smallest config's .*Received: 3"):
        run(copied(budget_params=3))
    with pytest.raises(ValueError, match=r"at least the smallest config's"):
        run(copied(budget_params=None, budget_mib=1e-5))
    with pytest.raises(
        ValueError, match=r"`budget_mib` at least one value. Received: 0 parameters"
    ):
        run(copied(budget_params=None, budget_mib=1e-6))


def test_a_config_without_fields(records, tmp_path):
    with pytest.raises(ValueError, match="keep at least one field"):
        run(
            records,
            model_dir=str(tmp_path),
            method="irazor(penalty=1000.0, alpha_optimizer='sgd(learning_rate=10.0)', cpt=0.0)",
        )


def test_too_few_rows_for_a_batch(records, tmp_path):
    with pytest.raises(ValueError, match="A batch of 100000 needs as many rows"):
        run(records, model_dir=str(tmp_path), batch_size=100000)


@pytest.mark.parametrize(("fractions", "split"), [("0.9,0.1,0", "test"), ("0.9,0,0.1", "valid")])
def test_a_split_without_rows_is_said_before_anything_is_trained(fractions, split, table, tmp_path):
    with pytest.raises(ValueError, match=rf"should each have rows.*'{split}': 0"):
        run({**table, **SMALL}, model_dir=str(tmp_path), fractions=fractions)
    assert not (tmp_path / "search").exists()


def test_no_records(tmp_path):
    with pytest.raises(ValueError, match=r"neither; no .*manifest\.json"):
        jobs.pipeline(job_of({"model_dir": str(tmp_path)}))
    with pytest.raises(ValueError, match="records are there"):
        jobs.report(job_of({"model_dir": str(tmp_path)}))
