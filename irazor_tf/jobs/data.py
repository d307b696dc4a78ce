"""The data that a job works with: verified before they are learned from, fit for the task, and
named where they cannot be read."""

from __future__ import annotations

import os
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
    """The manifest. Once in each process schema, vocabularies and counts are compared with it, and
    with `full`, for whoever is to learn from the rows or to judge by them, every record; again only
    where a file has changed since."""
    manifest = load_manifest(job.config.records_dir)
    names = [file["name"] for entry in manifest["splits"].values() for file in entry["files"]]
    names += [*manifest.get("files", ()), "manifest.json"]
    paths = [os.path.join(job.config.records_dir, name) for name in sorted(set(names))]
    now = [integrity.stamp(path) for path in paths]
    before, read_all = _good.get(job.config.records_dir, (None, False))
    if before != now or (full and not read_all):
        verify(job.config.records_dir, full=full, progress=full and job.config.progress)
        _good[job.config.records_dir] = now, full
    return manifest


def check_splits(job: Job, manifest: Mapping[str, Any]) -> None:
    """Raises ValueError for a split without rows, or whose labels the task's metrics cannot do
    with, before anything is trained."""
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
    """Runs `work`; where a record cannot be read, says which file and block."""
    try:
        return work()
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError):
        verify(job.config.records_dir, full=True)
        raise
