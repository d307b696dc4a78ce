"""Small logs, the flags of small jobs, and what a job leaves, made comparable."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver
from tensorflow.core.protobuf import saved_model_pb2

from benchmarks import common
from irazor_tf.config import integrity
from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.recipe import RULE
from irazor_tf.config.schema import Schema
from irazor_tf.jobs.config import JobConfig
from irazor_tf.model.recommender import Recommender
from irazor_tf.report import report as report_lib
from irazor_tf.search.method import METHODS
from launch.command import flagfiles, flags
from launch.command.job import job_config

# What differs between two runs of one job, wherever it stands in a result file.
TIMING = (
    *("seconds", "search_seconds", "train_seconds", "test_seconds", "pretraining_seconds"),
    *("search_peak_mib", "train_peak_mib", "peak_mib"),
)
SCHEMA = """
header: true
columns:
  - {name: label, kind: label}
  - {name: user, role: user}
  - {name: item, dtype: int64, role: item}
  - {name: price, kind: numeric}
  - {name: junk}
"""
SECONDS = ("search_seconds", "train_seconds", "test_seconds")
RECORD = (
    "name",
    "method",
    "model",
    "seed",
    "auc",
    "log_loss",
    "valid_auc",
    "fields",
    "dims",
    "params",
    "total_params",
    *SECONDS,
)
# What jobs were trained with before there was "auto", and without baselines: what tests were
# written for, and quick.
FORMER = {key: getattr(common.FORMER, key) for key in RULE if key not in ("batch_size", "epochs")}
FORMER |= {"metric": common.FORMER.metric, "min_count": 1, "baselines": ""}
# A model of each kind is trained in a second or two; a checkpoint lies inside every epoch.
SMALL = {
    **FORMER,
    "model": "mlp(hidden=(16,))",
    "epochs": 2,
    "batch_size": 256,
    "steps_per_execution": 1,
    "checkpoint_steps": 3,
    "width": 4,
    "block_rows": 128,
    "progress": False,
}


def table_lines(rows: int = 2500, seed: int = 0) -> list[str]:
    """Header and rows of a log in which user and item matter, price a little, junk not at all."""
    rng = np.random.default_rng(seed)
    users, items, junk = (
        rng.integers(120, size=rows),
        rng.integers(40, size=rows),
        rng.integers(300, size=rows),
    )
    price = np.exp(rng.normal(2, 1, rows))
    logits = 0.8 * (users % 5 - 2) + 0.9 * (items % 3 - 1) + 0.1 * np.log(price)
    labels = rng.random(rows) < 1 / (1 + np.exp(-logits))
    lines = [
        f"{int(y)},u{u},{i},{p:.3f},{j}"
        for y, u, i, p, j in zip(labels, users, items, price, junk, strict=True)
    ]
    return ["label,user,item,price,junk", *lines]


def write_table(folder: pathlib.Path, lines: Sequence[str] | None = None) -> dict[str, str]:
    """Writes a log and its schema file; returns the flags that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.csv").write_text(
        "".join(line + "\n" for line in lines or table_lines()), encoding="utf-8"
    )
    (folder / "log.yaml").write_text(SCHEMA, encoding="utf-8")
    return {"reader": "table", "input": str(folder / "log.csv"), "schema": str(folder / "log.yaml")}


def words(settings: Mapping[str, Any]) -> list[str]:
    """The settings as a command line has them."""
    return [
        f"--{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in settings.items()
    ]


def job_of(settings: Mapping[str, Any] | Sequence[str]) -> JobConfig:
    """The job that these flags describe."""
    flags.define()
    given = words(settings) if isinstance(settings, Mapping) else list(settings)
    with flagsaver.flagsaver():
        flags.FLAGS(flagfiles.with_presets(["test", *given]))
        return job_config()


def small_job(table: Mapping[str, Any], folder: pathlib.Path, **settings: Any) -> JobConfig:
    """A job on the log that `table` names, without controls unless told."""
    return job_of(
        {**table, **SMALL, "batch_size": 128, "controls": "", "model_dir": str(folder), **settings}
    )


@contextlib.contextmanager
def registered(**entries: Any) -> Iterator[None]:
    """Methods that exist inside alone."""
    for name, entry in entries.items():
        METHODS.register(name)(entry)
    try:
        yield
    finally:
        for name in entries:
            METHODS.remove(name)


def meta_graph(path: str) -> Any:
    """What a SavedModel holds."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(pathlib.Path(path, "saved_model.pb").read_bytes())
    return saved.meta_graphs[0]


def c_library_scores(path: str, schema: Schema, raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the served model at `path` gives for raw rows, by way of TensorFlow's C library; skips
    the test where there is none."""
    library = pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"
    if not library.exists():
        pytest.skip(f"TensorFlow's C library is not in this wheel: {library}")
    signature = meta_graph(path).signature_def["serving_default"]
    inputs = {
        name: [info.name, schema.field(name).dtype] for name, info in signature.inputs.items()
    }
    (output,) = signature.outputs.values()
    call = {"library": str(library), "path": path, "inputs": inputs, "output": output.name}
    rows = {name: raw[name].tolist() for name in inputs}
    client = pathlib.Path(__file__).with_name("c_api_client.py")
    # -I -S: no site-packages, so there is no TensorFlow to import.
    command = [sys.executable, "-I", "-S", str(client), json.dumps(call)]
    done = subprocess.run(
        command, input=json.dumps(rows), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout), np.float32)


def fits(patch: pytest.MonkeyPatch) -> list[str]:
    """The folder of every epoch that is trained from now on, by the state that it is saved in."""
    from irazor_tf.training import state as training_state

    seen: list[str] = []
    original = training_state.TrainingState.end_epoch

    def end_epoch(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(self.directory)
        original(self, *args, **kwargs)

    patch.setattr(training_state.TrainingState, "end_epoch", end_epoch)
    return seen


def evaluations(patch: pytest.MonkeyPatch) -> list[str]:
    """One entry for every pass over a split that is made from now on to predict."""
    seen: list[str] = []
    original = Recommender.predict

    def predict(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(self.name)
        return original(self, *args, **kwargs)

    patch.setattr(Recommender, "predict", predict)
    return seen


def snapshot(folder: pathlib.Path | str, *patterns: str) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of change of the files that match."""
    folder = pathlib.Path(folder)
    paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {
        str(path.relative_to(folder)): (
            path.stat().st_ino,
            path.stat().st_size,
            path.stat().st_mtime_ns,
        )
        for path in sorted(paths)
    }


def without_timing(value: Any) -> Any:
    """JSON with a zero wherever a time is measured."""
    if isinstance(value, dict):
        return {key: 0 if key in TIMING else without_timing(item) for key, item in value.items()}
    return [without_timing(item) for item in value] if isinstance(value, list) else value


def leavings(folder: pathlib.Path | str) -> dict[str, Any]:
    """Everything a job left that does not depend on the clock: path -> JSON, arrays, weights, text
    or bytes."""
    found: dict[str, Any] = {}
    for path in _files(pathlib.Path(folder)):
        key = str(path.relative_to(folder))
        if path.suffix == ".json":
            found[key] = without_timing(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix == ".npz":
            with np.load(path) as stored:
                found[key] = {name: stored[name].tolist() for name in stored.files}
        elif path.suffix == ".index":
            reader = tf.train.load_checkpoint(str(path.with_suffix("")))
            # Bookkeeping: the graph of objects, and how often this process has saved.
            names = sorted(
                name
                for name in reader.get_variable_to_shape_map()
                if "OBJECT_GRAPH" not in name and "save_counter" not in name
            )
            found[key] = {name: np.asarray(reader.get_tensor(name)).tolist() for name in names}
        elif (
            ".data-" in path.name
            or path.suffix == ".sha256"
            or path.name in ("saved_model.pb", "fingerprint.pb")
        ):
            found[key] = (
                # weights: see .index; graphs: names of functions are counted through the process,
                # and so checksums differ
                None
            )
        elif path.name != "report.html":
            found[key] = path.read_bytes()
    found["report.html"] = report_without_timing(folder)
    return found


def report_without_timing(folder: pathlib.Path | str) -> str:
    """The report, made again of files in which every time is zero
    (they are put back afterwards)."""
    folder = pathlib.Path(folder)
    kept = {
        name: (folder / name).read_bytes() for name in ("report.html", "summary.json", "curve.json")
    }
    found = [path for path in _files(folder) if path.name == "result.json"]
    kept |= {str(path.relative_to(folder)): path.read_bytes() for path in found}
    try:
        for name in kept:
            if name.endswith(".json"):
                write_json(str(folder / name), without_timing(read_json(str(folder / name))[0]))
        data = read_json(str(folder / "job.json"))[0]["chosen"]["data_dir"] or str(folder / "data")
        report_lib.write(str(folder), Schema.load(data))
        return (folder / "report.html").read_text(encoding="utf-8")
    finally:
        for name, content in kept.items():
            (folder / name).write_bytes(content)


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Every file but the lock and the ledger of checksums, which holds those of files with times in
    them."""
    walked = (
        (pathlib.Path(top), name)
        for top, _, names in sorted(os.walk(folder))
        for name in sorted(names)
    )
    return (
        top / name for top, name in walked if name not in (".lock", ".data.lock", integrity.LEDGER)
    )
