"""Predictions against what happens, through whole jobs: what is measured, corrected and served, and
what a changed --calibrate does."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np
import pytest

from irazor_tf.config import integrity
from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.schema import Schema
from irazor_tf.evaluation.calibration import Correction, calibration
from irazor_tf.jobs import final_models
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.candidates import load_candidates
from irazor_tf.jobs.figures import training_notices
from irazor_tf.jobs.job import Job
from irazor_tf.serving import export
from irazor_tf.serving import scorer as serving
from tests.conformance.toys import TOYS, FoldedColumns
from tests.jobs import small_jobs
from tests.jobs.small_jobs import job_of, registered, small_job

# What a changed --calibrate leaves alone.
LASTING: tuple[str, ...] = ("data/**/*", "search/*/*/*", "models/*/model/*", "export/1/**/*")
LASTING += tuple(
    f"models/*/{name}.json" for name in ("metrics", "correction", "test", "export_size")
)
MADE = ("valid_calibrated_log_loss", "valid_calibration", "valid_calibrated")
ROWS = {
    "user": ["u3", "u4", "never", ""],
    "item": [1, 2, 3, 4],
    "price": [1.5, 20.0, float("nan"), 7.0],
    "junk": ["1", "2", "3", ""],
}


def found_of(job: Any) -> tuple[Any, Schema, pathlib.Path]:
    """The found candidate, the schema, and the folder of its model."""
    candidate = load_candidates(job.paths)[0]
    return candidate, Schema.load(job.records_dir), pathlib.Path(job.path("models", candidate.key))


def served(path: str, schema: Schema) -> np.ndarray:
    """What an export gives for some raw rows."""
    scorer = serving.Scorer(path)
    dtypes: dict[str, Any] = {"string": object, "int64": np.int64, "float64": np.float64}
    return scorer(
        {name: np.array(ROWS[name], dtypes[schema.field(name).dtype]) for name in scorer.inputs}
    )


def as_trained(job: Any, folder: pathlib.Path) -> str:
    """The found model exported without a correction."""
    candidate, schema, _ = found_of(job)
    model = final_models.restored_model(Job(job).on_one_device(), candidate)
    return export.export(model, schema, str(folder))


# A model that is too sure of itself ---------------------------------------------------------------


@pytest.fixture(scope="module")
def overconfident(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """A job on a generated log, trained past its best epoch; and its record in the summary."""
    settings = {
        **small_jobs.FORMER,
        "reader": "planted(rows=40000)",
        "fractions": "0.4,0.3,0.3",
        "model": "mlp(hidden=(32,))",
        "method": "fde(dim=4)",
        "width": 4,
        "batch_size": 512,
        "network_optimizer": "adam(learning_rate=0.003)",
        "epochs": 3,
        "patience": 0,
    }
    job = job_of(
        {
            **settings,
            "controls": "",
            "progress": False,
            "calibrate": True,
            "model_dir": str(tmp_path_factory.mktemp("planted")),
        }
    )
    (record,) = jobs.pipeline(job)
    return job, record


def test_corrected_predictions_come_true(overconfident):
    """On the test split, which the correction has not seen: all rows together, and each of ten
    bins."""
    job, record = overconfident
    trained, mended = record["calibration"], record["calibrated"]
    assert (
        trained["rows"] == mended["rows"] > 11_000
        and len(trained["bins"]) == len(mended["bins"]) == 10
    )
    rate = trained["rate"]
    # Both splits' rates are samples, and the correction knows the validation split's.
    spread = np.sqrt(
        rate * (1 - rate) * (1 / trained["rows"] + 1 / record["valid_calibration"]["rows"])
    )
    assert abs(trained["mean_prediction"] - rate) > 3 * spread, "there should be something to mend"
    assert abs(mended["mean_prediction"] - rate) < 3 * spread
    for own in mended["bins"]:
        assert abs(own["mean_prediction"] - own["rate"]) < 3 * np.sqrt(
            own["rate"] * (1 - own["rate"]) / own["rows"]
        ), own
    assert mended["calibration_error"] < 0.2 * trained["calibration_error"]
    assert record["correction"]["slope"] < 0.7
    assert record["calibrated_log_loss"] < record["log_loss"] - 0.01
    assert record["valid_calibrated_log_loss"] < record["valid_log_loss"] - 0.01


def test_figures_are_those_of_the_predictions_of_the_test_split(overconfident):
    job, record = overconfident
    candidate, schema, folder = found_of(job)
    trainer = Job(job).trainer
    model = final_models.restored_model(Job(job), candidate)
    correction = Correction.load(str(folder / "correction.json"))
    for key, source in (("", trainer.test), ("valid_", trainer.valid)):
        labels, predicted = trainer.predictions(model, source)
        given = correction.apply(predicted)
        expected = -np.mean(labels * np.log(given) + (1 - labels) * np.log(1 - given))
        assert record[f"{key}calibrated_log_loss"] == pytest.approx(expected, abs=1e-9)
        for name, own in (("calibration", predicted), ("calibrated", given)):
            assert record[f"{key}{name}"].items() <= calibration(labels, own).items()
    assert given.mean() == pytest.approx(labels.mean(dtype=np.float64), abs=1e-9), (
        "on the rows it was fitted on the mean is the rate"
    )
    stored = read_json(str(folder / "correction.json"))[0]
    assert stored == {
        "version": 1,
        **record["correction"],
        "rows": trainer.valid.rows,
        "notices": [],
    }


def test_the_export_serves_raw_rows_as_numpy_corrects_them(overconfident, tmp_path):
    """Row by row what the same model serves uncorrected; and all rows what the trainer predicts for
    those of its three splits."""
    job, _ = overconfident
    candidate, schema, folder = found_of(job)
    path = jobs.export(job)
    _, given = serving.score_log(path, job.data, job.records_dir, schema, 40_000)
    _, trained = serving.score_log(
        as_trained(job, tmp_path), job.data, job.records_dir, schema, 40_000
    )
    correction = Correction.load(str(folder / "correction.json"))
    assert given.dtype == np.float32 and trained.min() < 0.02 and trained.max() > 0.6
    np.testing.assert_allclose(given, correction.apply(trained), rtol=0, atol=1e-6)
    assert np.abs(given - trained).max() > 0.1
    model, trainer = (
        final_models.restored_model(Job(job), candidate),
        Job(job).trainer,
    )
    predicted = np.concatenate(
        [
            trainer.predictions(model, source)[1]
            for source in (trainer.train, trainer.valid, trainer.test)
        ]
    )
    assert len(given) == len(predicted) == 40_000
    np.testing.assert_allclose(
        np.sort(given), np.sort(correction.apply(predicted)), rtol=0, atol=1e-6
    )
    assert read_json(job.path("export.json"))[0]["correction"] == correction.numbers()


def test_what_is_off_is_said_until_it_is_mended(overconfident):
    job, record = overconfident
    words = (
        f"predicts {record['valid_calibration']['mean_prediction']:.4f} on average where "
        f"{record['valid_calibration']['rate']:.4f}"
    )
    assert not [notice for notice in record["notices"] if "on average" in notice]
    candidate, schema, _ = found_of(job)
    told = training_notices(Job(dataclasses.replace(job, calibrate=False)), candidate)
    (notice,) = [notice for notice in told if "on average" in notice]
    assert notice.startswith(f"the final model {words}") and notice.endswith("--calibrate mends it")


# What a changed --calibrate does ------------------------------------------------------------------


def test_every_model_is_measured_and_bins_stay_out_of_the_curve(finished):
    folder = pathlib.Path(finished["model_dir"])
    summary, curve = (
        json.loads((folder / name).read_text()) for name in ("summary.json", "curve.json")
    )
    for record, point in zip(summary, curve, strict=True):
        stored = json.loads((folder / point["folder"] / "test.json").read_text())
        for key in ("calibration", "calibrated"):
            assert record[key] == stored[key] and len(record[key]["bins"]) == 10
            assert point[key] == {
                name: value for name, value in stored[key].items() if name != "bins"
            }
        assert (
            record["calibrated_log_loss"]
            == point["calibrated_log_loss"]
            == stored["calibrated_log_loss"]
        )
        assert record["calibrate"] is False and set(MADE) < set(
            json.loads((folder / point["folder"] / "metrics.json").read_text())
        )
        assert (
            point["correction"].items()
            <= json.loads((folder / point["folder"] / "correction.json").read_text()).items()
        )
    assert json.loads((folder / "export.json").read_text())["correction"] is None
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert 'id="calibration"' in text and "with --calibrate it serves calibrated ones" in text


@pytest.mark.parametrize(
    "stages",
    [(jobs.pipeline,), (jobs.export, jobs.evaluate, jobs.report)],
    ids=["pipeline", "without retrain"],
)
def test_it_may_change_after_training(stages, copied, monkeypatch):
    """Only the export is made anew, under the next number, and what is told; and back."""
    settings = copied(calibrate=True)
    folder = pathlib.Path(settings["model_dir"])
    before = small_jobs.snapshot(folder, *LASTING)
    kept = json.loads((folder / "summary.json").read_text())
    epochs, passes = small_jobs.fits(monkeypatch), small_jobs.evaluations(monkeypatch)
    for number, calibrate in (("2", True), ("3", False)):
        for _ in range(2):  # a second time there is nothing to do
            for stage in stages:
                stage(job_of({**settings, "calibrate": calibrate}))
        assert sorted(os.listdir(folder / "export"))[::2] == [
            str(k + 1) for k in range(int(number))
        ]
        exported, summary = (
            json.loads((folder / name).read_text()) for name in ("export.json", "summary.json")
        )
        assert exported["version"] == number and (exported["correction"] is not None) == calibrate
        assert json.loads((folder / "job.json").read_text())["chosen"]["calibrate"] is calibrate
        assert [record["calibrate"] for record in summary] == [calibrate] * 4
        same = ("notices", "calibrate")
        assert [{k: v for k, v in record.items() if k not in same} for record in summary] == [
            {k: v for k, v in record.items() if k not in same} for record in kept
        ]
        told = "serves calibrated predictions" if calibrate else "serves predictions as trained"
        assert told in (folder / "report.html").read_text(encoding="utf-8")
    assert not epochs and not passes
    assert small_jobs.snapshot(folder, *LASTING) == before
    schema = Schema.load(str(folder / "data"))
    trained, mended, again = (served(str(folder / "export" / number), schema) for number in "123")
    correction = Correction(**kept[0]["correction"])
    np.testing.assert_allclose(mended, correction.apply(trained), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(again, trained)
    assert np.abs(mended - trained).max() > 0.01


def test_an_export_with_another_correction_is_made_anew(copied):
    settings = copied(calibrate=True)
    job = job_of(settings)
    assert jobs.export(job).endswith("2")
    path = str(found_of(job)[2] / "correction.json")
    with integrity.guarding(settings["model_dir"]):  # as a job would write it
        Correction(0.5, 0.25, 10).save(path)
    assert jobs.export(job).endswith("3") and jobs.export(job).endswith("3")
    with integrity.guarding(settings["model_dir"]):
        Correction().save(path)
    assert jobs.export(job).endswith("4"), "the identity corrects nothing"
    assert read_json(job.path("export.json"))[0]["correction"] is None
    assert jobs.export(job_of({**settings, "calibrate": False})).endswith("4")


def test_a_damaged_correction_is_named_and_made_anew_once_it_is_deleted(copied):
    settings = copied(calibrate=True)
    job = job_of(settings)
    path = found_of(job)[2] / "correction.json"
    whole = path.read_text()
    path.write_text(whole.replace("1", "2"))
    for stage in (jobs.evaluate, jobs.export, jobs.pipeline):
        with pytest.raises(ValueError, match="with another content") as error:
            stage(job)
        assert str(path) in str(error.value)
    path.unlink()
    jobs.pipeline(job)
    assert path.read_text() == whole


def _older(folder: pathlib.Path) -> None:
    """Takes away what folders did not hold before there were corrections."""
    (folder / integrity.LEDGER).unlink()
    for path in folder.glob("models/*/correction.json"):
        path.unlink()
    dropped = {
        "models/*/metrics.json": MADE,
        "models/*/test.json": ("calibration", "calibrated", "calibrated_log_loss"),
    }
    for pattern, keys in {**dropped, "export.json": ("correction",)}.items():
        for path in folder.glob(pattern):
            write_json(
                str(path),
                {key: value for key, value in read_json(str(path))[0].items() if key not in keys},
            )
    job = read_json(str(folder / "job.json"))[0]
    del job["chosen"]["calibrate"]
    write_json(str(folder / "job.json"), job)


@pytest.mark.parametrize("first", [jobs.retrain, jobs.evaluate, jobs.export])
def test_an_older_folder_gets_what_it_lacks(first, copied, finished, monkeypatch):
    """Whichever stage comes first; what it holds stays as it is."""
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    _older(folder)
    before = small_jobs.snapshot(folder, "export/1/**/*", "models/*/model/*")
    epochs = small_jobs.fits(monkeypatch)
    first(job_of({**settings, "calibrate": first is jobs.export}))
    jobs.pipeline(job_of(settings))
    assert not epochs
    after = small_jobs.snapshot(folder, "export/1/**/*", "models/*/model/*")
    assert after == before
    for name in ("summary.json", "curve.json"):
        assert json.loads((folder / name).read_text()) == json.loads(
            pathlib.Path(finished["model_dir"], name).read_text()
        )
    version = json.loads((folder / "export.json").read_text())["version"]
    assert version == ("3" if first is jobs.export else "1"), (
        "an export from before serves predictions as trained"
    )


def test_killed_between_metrics_and_correction(table, tmp_path, monkeypatch):
    """The next call fits the correction, and trains nothing."""
    job = small_job(table, tmp_path / "job", method="fde", epochs=1)

    def killed(self: Correction, path: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Correction, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            jobs.retrain(job)
    (metrics,) = (tmp_path / "job").glob("models/*/metrics.json")
    assert not list((tmp_path / "job").glob("models/*/correction.json"))
    before, epochs = metrics.read_text(), small_jobs.fits(monkeypatch)
    jobs.retrain(job)
    assert (
        not epochs
        and metrics.read_text() == before
        and (metrics.parent / "correction.json").exists()
    )
    (record,) = jobs.pipeline(job)
    jobs.pipeline(small_job(table, tmp_path / "other", method="fde", epochs=1))
    other = json.loads((tmp_path / "other" / "summary.json").read_text())
    assert small_jobs.without_timing([record]) == small_jobs.without_timing(other)


# Every kind of final model ------------------------------------------------------------------------


class Ticket(FoldedColumns):
    """The final model starts with the searched tables and a fresh network."""

    init = "ticket"


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        *((name, "off") for name in ("toy_ticket", "toy_folded", "toy_masked", "toy_routed")),
        ("toy_routed", "mirrored"),
    ],
)
def test_however_a_final_model_starts_its_corrected_predictions_are_served(
    name, strategy, finished, tmp_path
):
    with registered(**TOYS, toy_ticket=Ticket):
        settings = {
            **small_jobs.SMALL,
            "controls": "",
            "epochs": 1,
            "data_dir": os.path.join(finished["model_dir"], "data"),
        }
        settings |= {
            "model_dir": str(tmp_path / "job"),
            "method": name,
            "distribution_strategy": strategy,
            "calibrate": True,
        }
        job = job_of(settings)
        (record,) = jobs.pipeline(job)
        _, schema, _ = found_of(job)
        correction = Correction(**record["correction"])
        assert not correction.is_identity and set(MADE) < set(record)
        trained = served(as_trained(job, tmp_path / "trained"), schema)
        np.testing.assert_allclose(
            served(job.path("export", "1"), schema), correction.apply(trained), rtol=0, atol=1e-6
        )
        with pytest.MonkeyPatch.context() as patch:
            epochs, passes = small_jobs.fits(patch), small_jobs.evaluations(patch)
            assert jobs.pipeline(job) == [record]
        assert not epochs and not passes


@pytest.mark.slow
def test_the_mean_of_many_rows_comes_true(tmp_path):
    """160,000 rows to fit the correction on and as many to judge it by: the mean prediction is
    within 1% of the rate. (The rate of 10,000 rows is not within 1% of the truth itself.)"""
    settings = {
        **small_jobs.FORMER,
        "reader": "planted(rows=400000)",
        "fractions": "0.2,0.4,0.4",
        "model": "mlp(hidden=(32,))",
    }
    settings |= {
        "method": "fde(dim=4)",
        "width": 4,
        "batch_size": 512,
        "network_optimizer": "adam(learning_rate=0.003)",
        "epochs": 3,
    }
    settings |= {
        "patience": 0,
        "controls": "",
        "progress": False,
        "calibrate": True,
        "model_dir": str(tmp_path),
    }
    job = job_of(settings)
    jobs.retrain(job)
    (record,) = jobs.evaluate(job)
    trained, mended = record["calibration"], record["calibrated"]
    assert (
        trained["rows"] > 150_000 and abs(trained["mean_prediction"] / trained["rate"] - 1) > 0.02
    ), "there should be something to mend"
    assert mended["mean_prediction"] == pytest.approx(mended["rate"], rel=0.01)
    assert mended["calibration_error"] < trained["calibration_error"]
