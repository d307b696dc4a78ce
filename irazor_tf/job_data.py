"""The data that a job works with: verified before they are learned from, fit for the task, and named where they cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import tensorflow as tf

from data_pipelines import records
from irazor_tf.job_config import JobConfig
from irazor_tf.task import TASKS

T = TypeVar("T")

_whole: dict[str, list[tuple[int, int, int]]] = {}  # folders found whole by this process, and how their files were then


def verified(job: JobConfig) -> dict[str, Any]:
    """The manifest; every record is read and compared with it once by each process that is to learn from them or to judge by them."""
    manifest = records.load_manifest(job.records_dir)
    paths = [os.path.join(job.records_dir, file["name"]) for entry in manifest["splits"].values() for file in entry["files"]]
    paths.append(os.path.join(job.records_dir, "manifest.json"))
    states = [os.stat(path) for path in paths if os.path.exists(path)]
    now = [(state.st_ino, state.st_size, state.st_mtime_ns) for state in states]
    if _whole.get(job.records_dir) != now:
        records.verify(job.records_dir, full=True, progress=job.progress)
        _whole[job.records_dir] = now
    return manifest


def check_splits(job: JobConfig, manifest: Mapping[str, Any]) -> None:
    """Raises ValueError for a split without rows, or whose labels the task's metrics cannot do with, before anything is trained."""
    splits = {split: manifest["splits"].get(split, {"rows": 0, "positives": 0}) for split in records.SPLITS}
    rows = {split: entry["rows"] for split, entry in splits.items()}
    options = manifest.get("options") or {}
    for split, entry in splits.items():
        files = options.get(f"{split}_input") or options.get("input") or [job.records_dir]
        named = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        if not entry["rows"]:
            raise ValueError(f"Training, validation and test should each have rows (see `fractions`). Received: {rows} of {named}")
        try:
            TASKS.build(job.task).check_labels(entry["rows"], entry["positives"])
        except ValueError as error:
            raise ValueError(f"{error} (split {split!r}, of {named})") from None


def guarded(job: JobConfig, work: Callable[[], T]) -> T:
    """Runs `work`; where a record cannot be read, says which file and block."""
    try:
        return work()
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError):
        records.verify(job.records_dir, full=True)
        raise
