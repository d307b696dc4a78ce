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
from irazor_tf.config.schema import Schema
from irazor_tf.evaluation.baselines import BASELINES, Fitted, sample
from irazor_tf.evaluation.calibration import without_bins
from irazor_tf.evaluation.task import TASKS
from irazor_tf.jobs.config import JobConfig
from irazor_tf.training.source import Source

_ROWS = 1 << 16  # rows that are read, or predicted for, at a time


def baseline_names(job: JobConfig) -> list[str]:
    """The baselines of a job, each once; none where its task does not predict a probability, as
    they do."""
    return (
        list(dict.fromkeys(job.baselines)) if TASKS.build(job.task).output == "probability" else []
    )


def are_fitted(job: JobConfig) -> bool:
    """Whether all of them are done."""
    return all(os.path.exists(_path(job, name)) for name in baseline_names(job))


def evaluate_baselines(job: JobConfig, schema: Schema) -> list[dict[str, Any]]:
    """Fits and judges the job's baselines; `baselines/<name>.json` holds the record of a finished
    one, which is not fitted again.

    Returns:
      A record for each: name, role, seed, the task's metrics on the test split and (`valid_`) the
      validation split, the calibration on the test split, the `rows` it has learned from (of
      `train_rows`), `settings` chosen, seconds of reading and fitting and of the test split.
    """
    pending = [name for name in baseline_names(job) if not os.path.exists(_path(job, name))]
    if pending:
        task = TASKS.build(job.task)
        train, valid = (Source(job.records_dir, split) for split in ("train", "valid"))
        start = time.perf_counter()
        # Of the validation rows, too, no more are used to choose by than there are to learn from;
        # the metrics are those of all.
        learned, judged = (
            _read(source, sample(source.rows, len(schema.fields), job.seed))
            for source in (train, valid)
        )
        reading = time.perf_counter() - start
        for name in tqdm(pending, "baselines", unit="model", disable=not job.progress):
            start = time.perf_counter()
            fitted = BASELINES[name](
                *learned, *judged, tuple(map(int, schema.vocabulary_sizes)), job.seed
            )
            record = {
                "name": name,
                "role": Role.BASELINE.value,
                "seed": job.seed,
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


def _path(job: JobConfig, name: str) -> str:
    return job.path("baselines", f"{name}.json")


def _finished(path: str, name: str) -> dict[str, Any]:
    record = read_json(path)[0]
    if not isinstance(record, dict) or record.get("name") != name:
        raise ValueError(
            "A baseline's file should hold its record (delete it, and it is made anew). Received: "
            f"{path}, with other things"
        )
    return record


def _read(source: Source, positions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Ids [rows, N] and labels [rows] at these positions, ascending, of a split's order; None: all
    rows."""
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


def _predictions(job: JobConfig, fitted: Fitted, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of all rows of a split."""
    labels, predicted = [], []
    for batch in Source(job.records_dir, split).ordered(_ROWS).as_numpy_iterator():
        labels.append(batch["label"])
        predicted.append(fitted.predict(batch["ids"]))
    return np.concatenate(labels), np.concatenate(predicted)
