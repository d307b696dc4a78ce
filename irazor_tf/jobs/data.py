"""Checks of a job's data: whether its files are undamaged, whether its splits suit the task, and
which file an error while reading is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import tensorflow as tf

from data_pipelines.manifest import load_manifest, verify
from data_pipelines.records import SPLITS
from irazor_tf.config import integrity
from irazor_tf.jobs.job import Job

T = TypeVar("T")

# Folder -> the stamps of its files when this process found them good, and whether it had read all
# of them.
_good: dict[str, tuple[list[tuple[int, int, int] | None], bool]] = {}


def verified(job: Job, full: bool = True) -> dict[str, Any]:
    """The manifest of the job's records, after the files have been compared with it. A process
    repeats the comparison only where a file has changed since.

    Args:
      job: The job.
      full: Whether every record is compared, as is needed before rows are learned from or judged
        by. If False, only the files of schema, vocabularies and counts are.

    Raises:
      ValueError: a file differs from the manifest.
    """
    manifest = load_manifest(job.config.records_dir)
    names = [file["name"] for entry in manifest["splits"].values() for file in entry["files"]]
    names += manifest.get("files", ())
    records = job.config.records
    paths = sorted({records.manifest, *map(records.at, names)})
    now = [integrity.stamp(path) for path in paths]
    before, read_all = _good.get(job.config.records_dir, (None, False))
    if before != now or (full and not read_all):
        verify(job.config.records_dir, full=full, progress=full and job.config.progress)
        _good[job.config.records_dir] = now, full
    return manifest


def check_splits(job: Job, manifest: Mapping[str, Any]) -> None:
    """Raises ValueError for a split without rows, or with labels for which the task's metrics are
    undefined, before anything is trained.

    Args:
      job: The job.
      manifest: The manifest of its records.
    """
    splits = {split: manifest["splits"].get(split, {"rows": 0, "positives": 0}) for split in SPLITS}
    rows = {split: entry["rows"] for split, entry in splits.items()}
    options = manifest.get("options") or {}
    for split, entry in splits.items():
        files = options.get(f"{split}_input") or options.get("input") or [job.config.records_dir]
        named = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        if not entry["rows"]:
            raise ValueError(
                "Training, validation and test should each have rows (see `fractions`). Received: "
                f"{rows} of {named}"
            )
        try:
            job.task.check_labels(entry["rows"], entry["positives"])
        except ValueError as error:
            raise ValueError(f"{error} (split {split!r}, of {named})") from None


def guarded(job: Job, work: Callable[[], T]) -> T:
    """Calls `work` and returns its result. Where it fails on a record that cannot be read, the
    records are verified, so that the error names file and block."""
    try:
        return work()
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError):
        verify(job.config.records_dir, full=True)
        raise
