"""A job's baselines: fitted to its records once, judged on its validation and test splits, and
compared with the found model."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.layout import Role
from irazor_tf.evaluation.baselines import BASELINES, Fitted, sample
from irazor_tf.evaluation.calibration import without_bins
from irazor_tf.jobs.job import Job
from irazor_tf.training.source import Source

_ROWS = 1 << 16  # rows that are read, or predicted for, at a time


def baseline_names(job: Job) -> list[str]:
    """Names of the job's baselines, without repetitions; none where the task predicts no
    probability, because baselines predict one."""
    return list(dict.fromkeys(job.config.baselines)) if job.task.predicts_probability else []


def are_fitted(job: Job) -> bool:
    """Whether the figures of all the job's baselines are on disk."""
    return all(os.path.exists(_path(job, name)) for name in baseline_names(job))


def evaluate_baselines(job: Job) -> list[dict[str, Any]]:
    """Fits and judges the job's baselines. The record of a finished one lies in
    `baselines/<name>.json` and is read from there.

    Returns:
      A record for each baseline: name, role, seed, the task's metrics on the test split and
      (`valid_<metric>`) on the validation split, the calibration on the test split, `rows` (the
      number of training rows that it was fitted to) and `train_rows` (of how many), the chosen
      `settings`, the seconds of reading and fitting and those of predicting the test split.
    """
    pending = [name for name in baseline_names(job) if not os.path.exists(_path(job, name))]
    if pending:
        task, schema = job.task, job.schema
        train, valid = (Source(job.config.records_dir, split) for split in ("train", "valid"))
        start = time.perf_counter()
        # Of the validation rows, too, no more are used to choose by than there are to learn from;
        # the metrics are those of all.
        learned, judged = (
            _read(source, sample(source.rows, len(schema.fields), job.config.seed))
            for source in (train, valid)
        )
        reading = time.perf_counter() - start
        for name in tqdm(pending, "baselines", unit="model", disable=not job.config.progress):
            start = time.perf_counter()
            fitted = BASELINES[name](
                *learned, *judged, tuple(map(int, schema.vocabulary_sizes)), job.config.seed
            )
            record = {
                "name": name,
                "role": Role.BASELINE.value,
                "seed": job.config.seed,
                "settings": dict(fitted.settings),
            }
            record |= {
                "rows": len(learned[1]),
                "train_rows": train.rows,
                "train_seconds": reading + time.perf_counter() - start,
            }
            record |= {
                f"valid_{key}": value
                for key, value in task.metrics(*_predictions(job, fitted, "valid")).items()
            }
            start = time.perf_counter()
            labels, predicted = _predictions(job, fitted, "test")
            record |= task.metrics(labels, predicted) | {
                "calibration": without_bins(task.calibration(labels, predicted))
            }
            write_json(_path(job, name), record | {"test_seconds": time.perf_counter() - start})
    return [_finished(_path(job, name), name) for name in baseline_names(job)]


def _path(job: Job, name: str) -> str:
    return job.paths.baseline(name)


def _finished(path: str, name: str) -> dict[str, Any]:
    record = read_json(path)[0]
    if not isinstance(record, dict) or record.get("name") != name:
        raise ValueError(
            "A baseline's file should hold its record (delete it, and it is made anew). Received: "
            f"{path}, with other things"
        )
    return record


def _read(source: Source, positions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Ids [rows, N] and labels [rows] of a split.

    Args:
      source: The split.
      positions: Positions of the rows to read, ascending, in the split's order. None for all rows.
    """
    ids, labels, start = [], [], 0
    for batch in source.ordered(_ROWS).as_numpy_iterator():
        end = start + len(batch["label"])
        inside = np.arange(start, end)
        if positions is not None:
            inside = positions[np.searchsorted(positions, start) : np.searchsorted(positions, end)]
        ids.append(batch["ids"][inside - start])
        labels.append(batch["label"][inside - start])
        start = end
    return np.concatenate(ids), np.concatenate(labels)


def _predictions(job: Job, fitted: Fitted, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of all rows of a split, [rows] each.

    Args:
      job: The job, with its records.
      fitted: The fitted baseline.
      split: Name of the split.
    """
    labels, predicted = [], []
    for batch in Source(job.config.records_dir, split).ordered(_ROWS).as_numpy_iterator():
        labels.append(batch["label"])
        predicted.append(fitted.predict(batch["ids"]))
    return np.concatenate(labels), np.concatenate(predicted)
