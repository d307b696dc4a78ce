"""Damage, a second process, divergence, a full disk, signals: each is said in one line that names
what it is about, and no work is lost."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from absl.testing import flagsaver

from data_pipelines import manifest, records, shuffle, spool, vocabulary
from data_pipelines.generated import log as generated_log
from data_pipelines.generated import planted, planted_groups
from data_pipelines.options import PreprocessOptions
from irazor_tf.config import integrity
from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema, save_counts
from irazor_tf.evaluation.task import TASKS
from irazor_tf.jobs import lock as job_lock
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.config import JobConfig
from irazor_tf.model.base import MODELS
from irazor_tf.model.blocks import MOST_LAYERS, MOST_UNITS
from irazor_tf.model.recommender import Recommender
from irazor_tf.report import report
from irazor_tf.serving import scorer as serving
from irazor_tf.training import pricing
from irazor_tf.training.updates.optimizers import make_optimizer
from launch.command import flags
from launch.command.run import run
from tests.jobs import small_jobs
from tests.jobs.small_jobs import SMALL, job_of, small_job

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUNNER = pathlib.Path(__file__).with_name("killed.py")
LATER = (jobs.evaluate, jobs.export, jobs.report)


def refused(settings: dict[str, Any], *named: str) -> None:
    """Every later stage, and the pipeline, names these instead of going on with other figures."""
    job = job_of(settings)
    for stage in (*LATER, jobs.pipeline):
        with pytest.raises(ValueError) as error:
            stage(job)
        assert all(name in str(error.value) for name in named), (stage.__name__, str(error.value))


# Data ---------------------------------------------------------------------------------------------


def test_exchanged_lines_and_a_flipped_bit_of_a_vocabulary(copied):
    settings = copied()
    path = pathlib.Path(settings["model_dir"], "data", "vocab", "item.txt")
    whole = path.read_bytes()
    first, second, *rest = whole.split(b"\n")
    path.write_bytes(b"\n".join([second, first, *rest]))
    refused(settings, str(path), "another content")
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    refused(settings, str(path))
    path.write_bytes(whole)
    jobs.report(job_of(settings))


def test_a_changed_schema(copied):
    settings = copied()
    path = pathlib.Path(settings["model_dir"], "data", "schema.json")
    whole = path.read_text()
    value = json.loads(whole)
    value["fields"][0], value["fields"][3] = value["fields"][3], value["fields"][0]
    path.write_text(json.dumps(value))
    refused(settings, str(path))
    path.write_text(json.dumps(json.loads(whole) | {"fingerprint": "0" * 64}))
    refused(settings, str(path))
    path.write_bytes(b"\xff" + whole.encode())
    refused(settings, str(path))
    path.unlink()
    refused(settings, str(path))


def test_damaged_counts(copied):
    settings = copied()
    path = pathlib.Path(settings["model_dir"], "data", "counts.npz")
    path.write_bytes(path.read_bytes()[:-7])
    refused(settings, str(path))


@pytest.mark.parametrize("split", ["train", "test"])
def test_another_valid_record_file_of_equal_size(split, copied):
    """After the search: what is learned and judged next is compared with the manifest first."""
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    whole = sorted((folder / "data").glob(f"{split}-*.tfrecord"))[0]
    (record,) = [bytes(one.numpy()) for one in tf.data.TFRecordDataset(str(whole)).take(1)]
    example = tf.train.Example.FromString(record)
    label = example.features.feature["label"].bytes_list.value
    label[0] = label[0][4:] + label[0][:4]  # the labels of the first block, one row on
    rest = [bytes(one.numpy()) for one in tf.data.TFRecordDataset(str(whole)).skip(1)]
    size = whole.stat().st_size
    with tf.io.TFRecordWriter(str(whole)) as writer:
        for one in (example.SerializeToString(deterministic=True), *rest):
            writer.write(one)
    assert whole.stat().st_size == size
    for path in folder.glob("models/*/test.json"):
        path.unlink()
    with pytest.raises(ValueError, match=rf"Block 0 of .*{whole.name} should have checksum"):
        jobs.evaluate(job_of(settings))
    for path in folder.glob("models/*/metrics.json"):
        path.unlink()
    with pytest.raises(ValueError, match=rf"Block 0 of .*{whole.name} should have checksum"):
        jobs.retrain(job_of(settings))


def test_a_damaged_frame_of_a_record_is_named(copied):
    """The bytes between the records, which no checksum of a record covers."""
    settings = copied()
    path = sorted(pathlib.Path(settings["model_dir"], "data").glob("valid-*.tfrecord"))[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=f"{path.name}, with another content"):
        manifest.verify(str(path.parent), full=True)


def test_data_without_checksums_are_taken_with_a_notice(copied, caplog):
    """Those of a folder made before there were any."""
    settings = copied()
    path = pathlib.Path(settings["model_dir"], "data", "manifest.json")
    manifest = json.loads(path.read_text())
    for key in ("files", "checksum", "inputs"):
        del manifest[key]
    path.write_text(json.dumps(manifest))
    before = read_json(os.path.join(settings["model_dir"], "summary.json"))[0]
    assert jobs.pipeline(job_of(settings)) == before
    assert "made before manifests held checksums" in caplog.text


# The job's own files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["variables/variables.data-00000-of-00001", "assets/user.txt", "saved_model.pb"]
)
@pytest.mark.parametrize("damage", ["flip", "halve", "delete"])
def test_a_damaged_export_is_said_and_made_anew(name, damage, copied, caplog):
    settings = copied()
    folder = pathlib.Path(settings["model_dir"], "export")
    path = folder / "1" / name
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(
            content[:middle]
            + (bytes([content[middle] ^ 4]) + content[middle + 1 :] if damage == "flip" else b"")
        )
    before = small_jobs.snapshot(folder, "1/**/*")
    assert jobs.export(job_of(settings)) == str(folder / "2")
    assert (
        f"{folder / '1'} is damaged ({name} is " in caplog.text
        and "under the next number" in caplog.text
    )
    assert small_jobs.snapshot(folder, "1/**/*") == before
    caplog.clear()
    assert jobs.export(job_of(settings)) == str(folder / "2") and not caplog.text


def test_an_export_whose_checksums_are_gone_is_said_and_made_anew(copied, caplog):
    """They are part of it: without them damage passes for work."""
    settings = copied()
    folder = pathlib.Path(settings["model_dir"], "export")
    (folder / "1.sha256").unlink()
    assert jobs.export(job_of(settings)) == str(folder / "2")
    assert (
        f"{folder / '1'} is damaged (1.sha256 is gone): it is made anew under the next number"
        in caplog.text
    )
    caplog.clear()
    assert jobs.export(job_of(settings)) == str(folder / "2") and not caplog.text


def test_an_export_made_before_there_were_checksums_is_taken_with_a_notice(copied, caplog):
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    (folder / "export" / "1.sha256").unlink()
    marker = read_json(str(folder / "export.json"))[0]
    with integrity.guarding(str(folder)):
        write_json(
            str(folder / "export.json"),
            {key: value for key, value in marker.items() if key != "checksums"},
        )
    for _ in range(2):
        assert jobs.export(job_of(settings)) == str(folder / "export" / "1")
    assert (
        caplog.text.count(
            f"The export {folder / 'export' / '1'} has no checksums of its files: it is taken as "
            "it is"
        )
        == 1
    )


def test_checksums_of_an_export_are_those_that_sha256sum_reads(finished):
    folder = pathlib.Path(finished["model_dir"], "export")
    lines = (folder / "1.sha256").read_text().splitlines()
    files = [path for path in (folder / "1").rglob("*") if path.is_file()]
    assert sorted(line.split("  ")[1] for line in lines) == sorted(
        str(path.relative_to(folder)) for path in files
    )
    assert all(
        line.split("  ")[0] == integrity.checksum(str(folder / line.split("  ")[1]))
        for line in lines
    )


def test_a_damaged_checkpoint_names_the_folder_to_delete(copied):
    """And with that folder gone the same command goes on: the same model, and nothing else is
    trained again."""
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    candidate = read_json(str(folder / "candidates.json"))[0][0]["key"]
    path = next((folder / "models" / candidate / "model").glob("step-*.data-*"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    for leftover in (folder / "models" / candidate / "test.json", folder / "export.json"):
        leftover.unlink()
    with pytest.raises(ValueError) as error:
        jobs.evaluate(job_of(settings))
    assert str(path).split(".data")[0] in str(
        error.value
    ) and f"Delete the folder {path.parent} and" in str(error.value)
    before = read_json(str(folder / "summary.json"))[0]
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    with pytest.MonkeyPatch.context() as patch:
        trained = small_jobs.fits(patch)
        after = jobs.pipeline(job_of(settings))
    assert set(trained) == {str(path.parent)}
    assert small_jobs.without_timing(after) == small_jobs.without_timing(before)


def test_a_checkpoint_that_is_another_ones(copied):
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    keys = [entry["key"] for entry in read_json(str(folder / "candidates.json"))[0][:2]]
    first, second = (
        next((folder / "models" / key / "model").glob("step-*.data-*")) for key in keys
    )
    first.write_bytes(second.read_bytes())
    (folder / "export.json").unlink()
    with pytest.raises(ValueError, match="is not as it was written"):
        jobs.export(job_of(settings))


_EDITED = [
    "job.json",
    "candidates.json",
    *(f"models/KEY/{name}.json" for name in ("metrics", "correction", "result")),
]


@pytest.mark.parametrize("name", _EDITED)
def test_an_edited_file_is_named(name, copied):
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    path = folder / name.replace("KEY", read_json(str(folder / "candidates.json"))[0][0]["key"])
    path.write_text(path.read_text().replace("1", "2"))
    with pytest.raises(ValueError) as error:
        jobs.evaluate(job_of(settings))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["metrics.json", "result.json"])
def test_what_a_training_left_and_is_gone_is_named_and_made_anew(name, copied):
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    before = jobs.evaluate(job_of(settings))
    path = folder / "models" / read_json(str(folder / "candidates.json"))[0][0]["key"] / name
    path.unlink()
    with pytest.raises(ValueError, match=rf"\(run retrain again\)\. Received: no {path}"):
        jobs.evaluate(job_of(settings))
    jobs.retrain(job_of(settings))
    assert small_jobs.without_timing(jobs.evaluate(job_of(settings))) == small_jobs.without_timing(
        before
    )


def test_an_edited_result_of_a_search_is_derived_again(copied, finished):
    settings = copied()
    path = pathlib.Path(settings["model_dir"], "search", "result.json")
    path.write_text(path.read_text().replace("1", "2"))
    jobs.search(job_of(settings))
    before = read_json(os.path.join(finished["model_dir"], "search", "result.json"))[0]
    assert small_jobs.without_timing(read_json(str(path))[0]) == small_jobs.without_timing(before)


def test_a_state_of_another_version(copied):
    settings = copied()
    path = next(pathlib.Path(settings["model_dir"]).glob("search/irazor-*/supernet/state.json"))
    write_json(str(path), read_json(str(path))[0] | {"version": 2})
    os.remove(
        os.path.join(settings["model_dir"], integrity.LEDGER)
    )  # it was written by that other version
    with pytest.raises(ValueError, match=rf"`version` 1\. Received: 2 \({path}\)"):
        jobs.search(job_of(settings))


def test_a_job_from_before_there_was_a_ledger(copied):
    """What is not JSON, or lacks what it should hold, is named all the same."""
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    (folder / integrity.LEDGER).unlink()
    jobs.report(job_of(settings))
    path = (
        folder / "models" / read_json(str(folder / "candidates.json"))[0][0]["key"] / "result.json"
    )
    value = read_json(str(path))[0]
    path.write_text(json.dumps({key: item for key, item in value.items() if key != "clusters"}))
    with pytest.raises(ValueError, match=rf"{path} \(KeyError: 'clusters'\)"):
        jobs.evaluate(job_of(settings))
    (folder / "candidates.json").write_text(json.dumps([{"role": "found"}]))
    with pytest.raises(ValueError, match=r"candidates\.json \(KeyError"):
        jobs.evaluate(job_of(settings))
    (folder / "job.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"`job\.json` should hold a job's settings"):
        jobs.evaluate(job_of(settings))


def test_a_ledger_survives_a_kill_between_its_line_and_the_rename(tmp_path):
    path = str(tmp_path / "x.json")
    with integrity.guarding(str(tmp_path)):
        write_json(path, {"a": 1})
        for value in (2, 3, 4):  # three processes, each killed just before the rename
            (tmp_path / "x.json.partial").write_text(json.dumps({"a": value}))
            integrity.record(path, path + ".partial")
        assert read_json(path)[0] == {"a": 1}
    with open(tmp_path / integrity.LEDGER, "a") as file:
        file.write("abc")  # and one killed in the middle of the line
    with integrity.guarding(str(tmp_path)):
        assert read_json(path)[0] == {"a": 1}
        write_json(path, {"a": 5})
        assert read_json(path)[0] == {"a": 5}
    (tmp_path / "x.json").write_text('{"a": 6}')
    assert read_json(path)[0] == {"a": 6}, "outside a job nobody compares"
    with (
        integrity.guarding(str(tmp_path)),
        pytest.raises(ValueError, match=r"x\.json, with another content"),
    ):
        read_json(path)


def test_a_ledger_stays_short(tmp_path):
    with integrity.guarding(str(tmp_path)):
        for value in range(300):
            write_json(str(tmp_path / "x.json"), value)
    with integrity.guarding(str(tmp_path)):
        assert len((tmp_path / integrity.LEDGER).read_text().splitlines()) < 10
        assert read_json(str(tmp_path / "x.json"))[0] == 299


# Two processes ------------------------------------------------------------------------------------

_HOLD = """
import sys, time
from irazor_tf.jobs.lock import held
with held(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    time.sleep(120)
"""


def test_a_second_process_is_told_who_is_there_and_a_dead_one_is_taken_over(
    finished, table, tmp_path
):
    folder = tmp_path / "job"
    lock = str(folder / ".lock")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, lock, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "held\n"
        job = small_job(table, folder)
        for stage in (jobs.preprocess, jobs.search, jobs.pipeline, *LATER):
            with pytest.raises(ValueError) as error:
                stage(job)
            assert f"in use by process {owner.pid} on " in str(error.value) and " since 20" in str(
                error.value
            )
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        jobs.preprocess(job)
    assert not [path for path in folder.iterdir() if "owner" in path.name]


def test_a_lock_may_be_asked_for_again_and_leaves_no_empty_folder(tmp_path):
    lock = str(tmp_path / "new" / ".lock")
    with job_lock.held(lock, "new"), job_lock.held(lock, "new"):
        assert os.path.exists(lock)
    assert not (tmp_path / "new").exists()


def test_jobs_that_share_a_folder_of_records_do_not_make_it_together(table, tmp_path):
    shared = str(tmp_path / "shared")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    hold = [sys.executable, "-c", _HOLD, str(tmp_path / ".shared.lock"), shared]
    with subprocess.Popen(hold, stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=rf"{shared}, in use by process {owner.pid}"):
            jobs.preprocess(small_job(table, tmp_path / "job", data_dir=shared))
        owner.kill()


# Training that goes wrong -------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_naming_epoch_and_step(copied, tmp_path):
    settings = copied(
        model_dir=str(tmp_path / "job"),
        data_dir=os.path.join(copied()["model_dir"], "data"),
        stddev=1e30,
        controls=None,
    )
    should = (
        r"`(loss|penalty_architecture)` should stay finite\. Received: (nan|inf) in epoch 1, "
        r"by step \d+ of the training in .*search"
    )
    with pytest.raises(ValueError, match=should):
        jobs.search(job_of(settings))
    assert not (tmp_path / "job" / "search" / "result.json").exists()


def test_what_does_not_fit_into_memory_is_said_with_its_size(finished, tmp_path):
    data = os.path.join(finished["model_dir"], "data")
    model = f"mlp(hidden={(MOST_UNITS,) * MOST_LAYERS})"
    for change in ({"model": model}, {"retrain_model": model}):
        with pytest.raises(
            ValueError,
            match=r"should fit into memory, [\d,.]+ GiB\. Received: [\d,.]+ GiB for model 'mlp'",
        ):
            jobs.search(
                job_of({**finished, "data_dir": data, "model_dir": str(tmp_path / "job"), **change})
            )
        assert not (tmp_path / "job" / "search").exists()


def test_widths_are_limited():
    with pytest.raises(
        ValueError, match=r"`width` should be at least 1 and at most 4,096\. Received: 100000"
    ):
        JobConfig(model_dir="d", model="mlp", method="irazor", width=100_000)


@pytest.mark.parametrize(
    ("lines", "options", "should"),
    [
        ([], {}, r"The training split should hold at least one row\. Received: .*log\.csv: 0 rows"),
        (
            [f"1,u{k},{k},1.0,j" for k in range(900)],
            {},
            r"rows of both labels\. Received: \d+ rows, \d+ of them positive \(split 'train', of "
            r".*log\.csv\)",
        ),
        (
            [f"{k % 2 if k < 800 else 0},u{k},{k},1.0,j" for k in range(900)],
            {"split": "sequential"},
            r"rows of both labels\. Received: 90 rows, 0 of them positive \(split 'test', of "
            r".*log\.csv\)",
        ),
    ],
    ids=["empty", "train", "test"],
)
def test_a_log_nothing_can_be_learned_from_is_said_before_a_search(
    lines, options, should, tmp_path
):
    table = small_jobs.write_table(tmp_path / "log", ["label,user,item,price,junk", *lines])
    with pytest.raises(ValueError, match=should):
        jobs.search(job_of({**table, **SMALL, "model_dir": str(tmp_path / "job"), **options}))
    assert not (tmp_path / "job" / "search").exists()


def _write_spool(folder: str) -> None:
    path = os.path.join(folder, "log.libfm")
    pathlib.Path(path).write_text("1 3:1\n" * 5)
    options = PreprocessOptions("libfm(names=('a',))", (path,))
    reader = options.make_reader()
    spool.read_source(
        reader, reader.fields(), (path,), options, os.path.join(folder, "input.arrow"), False
    )


def _write_blocks(folder: str) -> None:
    with records.BlockWriter(folder, "train", 3, 3, 1) as writer:
        writer.add(np.zeros((3, 100_000), np.int32), np.zeros(3))  # more than a buffer holds
        writer.finish()


def _hold(folder: str) -> None:
    with job_lock.held(os.path.join(folder, ".lock"), folder):
        pass


# File -> what writes it. It is called `FILE.partial` until it is whole, unless its folder is.
AT_ONCE = (
    "train-00000.bucket",
    "input.arrow",
    "train-00000-of-00001.tfrecord",
    "a.txt",
    "counts.npz",
    ".lock.owner",
)
WRITERS: dict[str, Any] = {
    "x.json": lambda folder: write_json(f"{folder}/x.json", list(range(10_000))),
    "x.json.npz": lambda folder: write_json(f"{folder}/x.json", 1, {"a": np.zeros(10_000)}),
    "train-00000.bucket": lambda folder: shuffle.Shuffler(folder, "train", 10, 2, 0).add(
        np.zeros((10, 2), np.int32)
    ),
    "input.arrow": _write_spool,
    "train-00000-of-00001.tfrecord": _write_blocks,
    "manifest.json": lambda folder: manifest.save_manifest(folder, {"splits": {}}),
    "a.txt": lambda folder: vocabulary.Vocabulary(pa.array(["x"]), np.zeros(2, np.int64)).save(
        f"{folder}/a.txt"
    ),
    "counts.npz": lambda folder: save_counts(folder, {"a": np.zeros(10_000, np.int64)}),
    "planted.tsv": lambda folder: planted.generate(f"{folder}/planted.tsv", 10),
    "planted_groups.tsv": lambda folder: planted_groups.generate(
        f"{folder}/planted_groups.tsv", 10
    ),
    "truth.json": lambda folder: generated_log.write_truth(f"{folder}/planted.tsv", {"a": 1}),
    ".lock.owner": _hold,
    "report.html": lambda folder: report.write(folder, Schema((Field("a"),), "label")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_names_the_file(name, tmp_path, monkeypatch):
    """`/dev/full` takes no byte, and has no end for whoever reads it."""
    monkeypatch.setattr(integrity, "checksums", lambda folder: {})
    monkeypatch.setattr(job_lock, "described_owner", lambda owner: "nobody")
    path = tmp_path / name
    for written in (path.with_name(name + ".partial"), *([path] if name in AT_ONCE else [])):
        written.symlink_to("/dev/full")
    with pytest.raises((OSError, tf.errors.OpError)) as error:
        WRITERS[name](str(tmp_path))
    assert "No space left on device" in str(error.value) and f"{path}" in str(error.value).replace(
        f"{path}.partial", ""
    )
    assert path.is_symlink() or not path.exists()


def test_a_full_disk_names_the_ledger(tmp_path):
    (tmp_path / "x").touch()
    with integrity.guarding(str(tmp_path)):
        (tmp_path / integrity.LEDGER).symlink_to("/dev/full")
        with pytest.raises(OSError, match=rf"No space left on device: '.*/{integrity.LEDGER}'"):
            integrity.record(str(tmp_path / "x"))


def test_a_full_disk_names_the_checksums_of_an_export(copied):
    settings = copied()
    folder = pathlib.Path(settings["model_dir"])
    (folder / "export.json").unlink()
    (folder / "export" / "2.sha256.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*export/2\.sha256'"):
        jobs.export(job_of(settings))
    assert not (folder / "export" / "2").exists()


def test_a_full_disk_under_tensorflow_is_one_line(capsys, tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")

    def stage(job: Any) -> None:
        with tf.io.gfile.GFile(str(tmp_path / "full"), "w") as file:
            file.write("x" * 100_000)

    flags.define()
    loggers = [logging.getLogger(name) for name in ("", "absl", "irazor_tf")]
    levels = [logger.level for logger in loggers]
    try:
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as ended:
            run(stage, ["irazor", f"--model_dir={tmp_path}"])
    finally:  # what a program sets once for its process
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "no more room on the disk" in line and str(tmp_path / "full") in line


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
def test_a_signal_ends_in_one_line_with_the_state_kept(number, word, finished, tmp_path):
    settings = {
        **finished,
        "model_dir": str(tmp_path / "job"),
        "data_dir": os.path.join(finished["model_dir"], "data"),
        "controls": "",
    }
    command = [
        sys.executable,
        str(RUNNER),
        f"search_inside_an_epoch:{int(number)}",
        "search",
        *small_jobs.words(settings),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 128 + number, done.stderr
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == [
        f"error: {word}. The same command goes on from the last checkpoint"
    ]
    (state,) = (tmp_path / "job" / "search").glob("*/supernet/state.json")
    assert json.loads(state.read_text())["step"] == 3
    assert not list((tmp_path / "job").glob("*.owner")) and not list(
        (tmp_path / "job").glob(".*.owner")
    )
    started = time.perf_counter()
    jobs.search(job_of(settings))
    assert (
        tmp_path / "job" / "search" / "result.json"
    ).exists() and time.perf_counter() - started < 120


@pytest.mark.parametrize("model", ["mlp(hidden=(8, 4))", "deepfm(hidden=(8,))", "lr"])
def test_the_price_of_a_model_is_what_is_allocated(model, finished):
    schema = Schema.load(os.path.join(finished["model_dir"], "data"))
    optimizers = {
        "bias": "ftrl(learning_rate=0.1)",
        "network": "adam(learning_rate=0.1)",
        "architecture": "sgd(learning_rate=0.1)",
    }
    config, task = InputConfig.uniform(schema, 4), TASKS.build("ctr")
    made = Recommender(schema, config, MODELS.build(model), task)
    variables = list(made.variables)
    for group, members in made.variable_groups.items():
        optimizer = make_optimizer(optimizers[group])
        optimizer._create_all_weights(members)
        variables += optimizer.variables()
    priced = pricing.variable_bytes(schema, config, MODELS.build(model), task, optimizers)
    assert sum(priced) == sum(value.numpy().nbytes for value in variables)


_GROWTH = """
import sys
import tensorflow as tf
from irazor_tf.jobs import stages as jobs
from irazor_tf.training.cost import peak_mib, reset_peak
from tests.jobs.small_jobs import job_of
job = job_of(sys.argv[1:])
tf.constant(1.0) + 1.0
reset_peak()
before = peak_mib()
jobs.retrain(job)
print(peak_mib() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "width", "rows", "optimizer"),
    [
        ("mlp(hidden=(5000, 5000))", 4, 1000, "sgd(learning_rate=0.01)"),
        ("mlp(hidden=(5000, 5000))", 4, 1000, "adam(learning_rate=0.001)"),
        ("mlp(hidden=(3000, 3000, 3000, 3000, 3000))", 4, 1000, "adagrad(learning_rate=0.01)"),
        ("mlp(hidden=(8,))", 2048, 20_000, "adagrad(learning_rate=0.01)"),
        ("mlp(hidden=(8,))", 2048, 20_000, "adam(learning_rate=0.001)"),
    ],
)
def test_the_price_of_a_training_is_about_what_it_takes(model, width, rows, optimizer, tmp_path):
    """Of a large layer, of several equal ones, and of a large table."""
    table = small_jobs.write_table(
        tmp_path / "log", ["label,user", *(f"{k % 3 % 2},u{k}" for k in range(rows))]
    )
    pathlib.Path(table["schema"]).write_text(
        "header: true\ncolumns: [{name: label, kind: label}, user]\n"
    )
    settings = {
        **table,
        **SMALL,
        "model": model,
        "width": width,
        "network_optimizer": optimizer,
        "method": "fde",
        "controls": "",
    }
    settings |= {
        "model_dir": str(tmp_path / "job"),
        "epochs": 1,
        "checkpoint_steps": 0,
        "eval_batch_size": 256,
    }
    job = job_of(settings)
    schema = jobs.preprocess(job)
    parts = (
        InputConfig.uniform(schema, width),
        MODELS.build(model),
        TASKS.build("ctr"),
        job.train.optimizers(),
    )
    price = pricing.training_bytes(schema, *parts) / 2**20
    command = [sys.executable, "-c", _GROWTH, *small_jobs.words(settings)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    grown = float(done.stdout.splitlines()[-1])
    own = 100  # graphs, threads, libraries: what a model of a few units takes
    assert grown > 250 and 0.8 * (grown - own) <= price <= 2 * grown, (
        f"priced {price:.0f} MiB, grown by {grown:.0f} MiB"
    )


def test_a_format_that_knows_its_fields_from_a_file_alone(tmp_path):
    """libFM text without `names`, as the command line starts it."""
    path = tmp_path / "log.libfm"
    path.write_text("".join(f"{k % 2} {k % 7}:1 {10 + k % 3}:1\n" for k in range(60)))
    made = jobs.preprocess(
        JobConfig(str(tmp_path / "job"), data=PreprocessOptions("libfm", (str(path),)))
    )
    assert len(made.fields) == 2


def test_scoring_a_log_without_rows_names_it(finished, tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("label,user,item,price,junk\n")
    job = job_of({**finished, "input": str(path)})
    folder = os.path.join(finished["model_dir"], "data")
    assert job.data is not None
    with pytest.raises(ValueError, match=r"should hold some\. Received: .*empty\.csv"):
        serving.score_log(
            os.path.join(finished["model_dir"], "export", "1"),
            job.data,
            folder,
            Schema.load(folder),
            3,
        )


def test_a_finished_job_without_its_settings_is_not_taken_for_another(copied):
    """Trained models do not say by what settings they were trained."""
    settings = copied()
    path = os.path.join(settings["model_dir"], "job.json")
    whole = pathlib.Path(path).read_text()
    os.remove(path)
    for changes in ({}, {"seed": 77, "network_optimizer": "sgd(learning_rate=0.5)"}):
        with pytest.raises(
            ValueError,
            match=rf"Received: no {path}\. Restore it, or delete the folders `search` and `models`",
        ):
            jobs.pipeline(job_of({**settings, **changes}))
    pathlib.Path(path).write_text(whole.replace('"seed": 1', '"seed": 7'))
    with pytest.raises(
        ValueError, match=rf"{path}, with another content\. Restore it, or delete the folders"
    ):
        jobs.pipeline(job_of({**settings, "seed": 7}))


def test_a_folder_of_records_has_one_lock_whoever_names_it(table, tmp_path):
    """A job that keeps its records under its own folder, and another one that names them."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    hold = [sys.executable, "-c", _HOLD, str(first / ".data.lock"), str(first / "data")]
    with subprocess.Popen(
        hold, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "held\n"
        for job in (
            small_job(table, first),
            small_job(table, second, data_dir=str(first / "data")),
        ):
            with pytest.raises(ValueError, match=rf"data, in use by process {owner.pid}"):
                jobs.preprocess(job)
        owner.kill()


def test_data_are_verified_once_in_a_process_and_again_when_they_change(copied, monkeypatch):
    settings, original = copied(), manifest.verify
    passes: list[bool] = []

    def verify(*args: Any, **kwargs: Any) -> Any:
        passes.append(kwargs["full"])
        return original(*args, **kwargs)

    monkeypatch.setattr("irazor_tf.jobs.data.verify", verify)
    job = job_of(settings)
    for stage in (jobs.preprocess, jobs.evaluate, jobs.export, jobs.report, jobs.preprocess):
        stage(job)
    assert passes == [False]
    path = next(pathlib.Path(settings["model_dir"]).glob("data/test-*.tfrecord"))
    os.utime(path, ns=(1, 1))
    jobs.report(job)
    assert passes == [False, False]
    next(pathlib.Path(settings["model_dir"]).glob("models/*/test.json")).unlink()
    jobs.evaluate(job)
    jobs.evaluate(job)
    assert passes == [False, False, True]


@pytest.mark.parametrize(
    ("change", "should"),
    [
        (
            {"network_optimizer": "sgd(learning_rate=-1.0)"},
            "`network_optimizer`: `learning_rate` of optimizer 'sgd' should",
        ),
        ({"cpt": "nan"}, r"--cpt should lie in \[0, 1\]\. Received: nan"),
        (
            {"model": f"mlp(hidden={(1,) * 600})"},
            "`hidden` should have at most 100 layers. Received: 600",
        ),
        (
            {"model": f"mlp(hidden=(8, {2**62}))"},
            "`hidden` should have at most 100,000 units in a layer. Received: 4611686018427387904$",
        ),
        (
            {"method": "ihas(every=100000000)"},
            "`every` of ihas should be at most 1,000. Received: 100000000",
        ),
        (
            {"method": "ihas(bins=100000000)"},
            "`bins` of ihas should be at most 1,000. Received: 100000000",
        ),
        (
            {"method": "fields(sseds(batches=100000000))"},
            "`batches` of sseds should be at most 100,000. Received: 100000000",
        ),
        (
            {"controls": "fde + dnis(blocks=100000000)"},
            "`blocks` of dnis should be at most 100,000. Received: 100000000",
        ),
        ({"embedding_l2": 1e30}, "`embedding_l2` should be at most 1e10"),
        ({"reader": "table(schema='x.yaml')"}, "`schema` should be given once"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_are_refused_at_once_by_their_own_name(change, should, table, tmp_path):
    settings = {**table, **SMALL, "model_dir": str(tmp_path / "job"), **change}
    with pytest.raises(ValueError, match=should):
        jobs.preprocess(job_of(settings))
    assert not (tmp_path / "job").exists()


def test_a_batch_larger_than_the_rows_of_an_alternating_search_is_said_first(table, tmp_path):
    job = small_job(table, tmp_path / "job", method="ihas(epochs=1)", fractions="0.9,0.03,0.07")
    with pytest.raises(
        ValueError, match=r"A batch of 128 needs as many rows\. Received: \d+ in split 'valid'"
    ):
        jobs.search(job)
    assert not list((tmp_path / "job").rglob("state.json"))
