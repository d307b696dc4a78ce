"""The figures of a candidate's models: metrics on the validation and test split, calibration,
sizes, costs, notices. Each is computed and written once; later calls read it."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import numpy as np

from irazor_tf.config import integrity
from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.layout import ModelPaths
from irazor_tf.config.schema import Schema
from irazor_tf.embedding.sparse import csr_bytes
from irazor_tf.evaluation.calibration import Correction, without_bins
from irazor_tf.evaluation.task import Task
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.final_models import fit_names, restored_model, trained_model
from irazor_tf.jobs.job import Job
from irazor_tf.jobs.recipe import recipe_of
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import RoutedRecommender
from irazor_tf.search.run import base_rate_of
from irazor_tf.training import fit_notices
from irazor_tf.training.cost import (
    batches,
    fit_seconds,
    fit_states,
    is_finished,
    peak_mib,
    reset_peak,
)
from irazor_tf.training.state import read_state
from irazor_tf.training.trainer import Trainer

_logger = logging.getLogger("irazor_tf")


def is_trained(job: Job, candidate: Candidate) -> bool:
    """Whether all of the candidate's trainings have ended and its validation metrics are
    written."""
    trainer = job.final_trainer(candidate)
    return os.path.exists(_paths(job, candidate).metrics) and all(
        map(trainer.is_done, fit_names(candidate))
    )


def is_corrected(job: Job, candidate: Candidate) -> bool:
    """Whether the file with the correction of the candidate's predictions is written."""
    return os.path.exists(_paths(job, candidate).correction)


def is_evaluated(job: Job, candidate: Candidate) -> bool:
    """Whether all figures of a trained candidate are written, so that no split has to be read for
    it again."""
    path = _paths(job, candidate).test
    return (
        is_corrected(job, candidate)
        and os.path.exists(path)
        and "calibration" in read_json(path)[0]
    )


def train_candidate(job: Job, candidate: Candidate) -> None:
    """Trains a candidate's models, and writes the validation metrics and the correction of the
    predictions.

    The seconds that are recorded are those of all its fits, whichever process did them, plus the
    time that this call spends beside fits.
    """
    paths = _paths(job, candidate)
    if is_trained(job, candidate):
        correction_of(job, candidate)
        return
    reset_peak()
    start, fitted = time.perf_counter(), fit_seconds(paths.root)
    model = trained_model(job, candidate)
    seconds, peak = fitted + time.perf_counter() - start, peak_mib()
    metrics, correction = _validated(job.final_trainer(candidate), model)
    sizes: dict[str, Any] = {
        "params": model.num_params(),
        "total_params": model.num_total_params(),
        "dims": model.num_dims(),
        "inputs": list(model.kept),
    }
    if any(config.masks() for config in candidate.result.clusters):
        sizes["table_mib"] = table_mib(candidate, job.schema)
    steps = sum(map(batches, fit_states(paths.root)))
    costs = {"train_seconds": seconds, "train_steps": steps, "train_peak_mib": peak}
    write_json(paths.metrics, metrics | sizes | costs)
    correction.save(paths.correction)
    for notice in training_notices(job, candidate):
        _logger.warning("%s: %s", candidate.name, notice)


def evaluate_candidate(job: Job, candidate: Candidate) -> dict[str, Any]:
    """The record of a trained candidate with figures of the test split: metrics and calibration,
    both as trained and corrected, in addition to all of `describe_candidate`."""
    path = _paths(job, candidate).test
    correction = correction_of(job, candidate)
    if not is_evaluated(job, candidate):
        # The figures of an older folder stay what they were.
        before = read_json(path)[0] if os.path.exists(path) else {}
        trainer = job.final_trainer(candidate)
        model = restored_model(job, candidate)
        trainer.warm_up(model)
        start = time.perf_counter()
        labels, predicted = trainer.predictions(model, trainer.test)
        metrics: dict[str, Any] = dict(trainer.task.metrics(labels, predicted))
        seconds = time.perf_counter() - start
        calibration = _calibrated(trainer.task, labels, predicted, correction)
        write_json(path, metrics | calibration | {"test_seconds": seconds} | before)
    return describe_candidate(job, candidate) | read_json(path)[0]


def describe_candidate(job: Job, candidate: Candidate) -> dict[str, Any]:
    """The record of a trained candidate without figures of the test split: name, role, method,
    settings, sizes, validation metrics, costs and notices."""
    result = candidate.result
    measured = _measured(job, candidate)
    kept = {name for config in result.clusters for name in config.kept}
    stored = {name for config in result.clusters for name, dim in config.stored_dims.items() if dim}
    read = set(measured.get("inputs") or kept)  # a router's among them
    masked = any(config.masks() for config in result.clusters)
    return {
        "name": candidate.name,
        "role": candidate.role.value,
        "method": candidate.method,
        "model": job.config.final_model,
        "seed": job.config.seed,
        "recipe": recipe_of(job.config),
        **measured,
        "correction": correction_of(job, candidate).numbers(),
        "calibrate": job.config.calibrate,
        "fields": len(read - (kept - stored)),
        "search_seconds": result.seconds,
        **({"optimizers": dict(result.optimizers)} if result.optimizers else {}),
        **_search_cost(job, candidate),
        "notices": [*result.notices, *training_notices(job, candidate)],
        "folder": os.path.relpath(_paths(job, candidate).root, job.config.model_dir),
        "field_dims": [config.stored_dims for config in result.clusters],
        "plain": result.init == "fresh" and result.router is None and not masked,
    }


def correction_of(job: Job, candidate: Candidate) -> Correction:
    """The correction of a trained candidate's predictions. It is fitted and written where there is
    no `correction.json` yet (after an interruption, or in the folder of an earlier version)."""
    paths = _paths(job, candidate)
    if not is_corrected(job, candidate):
        metrics, correction = _validated(
            job.final_trainer(candidate), restored_model(job, candidate)
        )
        before = _measured(job, candidate)
        if after := {key: value for key, value in metrics.items() if key not in before}:
            write_json(paths.metrics, before | after)
        correction.save(paths.correction)
    return Correction.load(paths.correction)


def training_notices(job: Job, candidate: Candidate) -> list[str]:
    """Notices about a trained candidate that follow from the histories of its trainings and from
    its validation metrics."""
    metrics = _measured(job, candidate)
    log_loss = metrics.get("valid_log_loss")
    texts = []
    if log_loss is not None:
        texts += fit_notices.worse_than_base_rate(log_loss, base_rate_of(job.trainer))
    if not job.config.calibrate:
        texts += fit_notices.off_the_rate(metrics.get("valid_calibration", {}))
    notices = [f"the final model {text}" for text in texts]
    if job.config.calibrate:
        corrected = correction_of(job, candidate).notices
        notices += [f"the final model: {text}" for text in corrected]
    for name in fit_names(candidate):
        state = read_state(_paths(job, candidate).fit(name).state)
        of = "" if candidate.result.router is None else f" of {name}"
        best = (state["best"] or {}).get("epoch")
        texts = fit_notices.overfitting(state["history"], best)
        notices += [f"the final model{of} {text}" for text in texts]
    return notices


def table_mib(candidate: Candidate, schema: Schema) -> dict[str, float]:
    """MiB of the candidate's embedding tables in three forms: `dense` (kept columns, with zeros for
    masked entries), and the sparse formats `coo` and `csr`, with the kept entries alone.

    COO takes 12 bytes per entry: a value, a row number and a column number; `csr_bytes` says what
    CSR takes. An export stores each width's tables as CSR or dense, whichever is smaller.
    """
    sizes = dict.fromkeys(("dense", "coo", "csr"), 0)
    for config in candidate.result.clusters:
        for name in config.kept:
            rows, dim = schema.field(name).vocabulary_size, config.fields[name].dim
            entries = config.fields[name].num_entries(rows)
            sizes["dense"] += 4 * rows * dim
            sizes["coo"] += 12 * entries
            sizes["csr"] += csr_bytes(entries, rows, dim)
    return {kind: size / 2**20 for kind, size in sizes.items()}


def _paths(job: Job, candidate: Candidate) -> ModelPaths:
    return job.paths.model(candidate.key)


def _validated(
    trainer: Trainer, model: Recommender | RoutedRecommender
) -> tuple[dict[str, Any], Correction]:
    """Metrics and calibration on the validation split, named `valid_<figure>`, and the correction
    of the predictions, fitted on the same rows."""
    labels, predicted = trainer.predictions(model, trainer.valid)
    correction = trainer.task.correction(labels, predicted)
    figures = dict(trainer.task.metrics(labels, predicted))
    figures |= _calibrated(trainer.task, labels, predicted, correction)
    return {f"valid_{key}": without_bins(value) for key, value in figures.items()}, correction


def _calibrated(
    task: Task, labels: np.ndarray, predicted: np.ndarray, correction: Correction
) -> dict[str, Any]:
    """Figures of calibration: `calibration` of the predictions as trained, `calibrated` of the
    corrected ones, and the metrics that the correction changes, named `calibrated_<metric>`. For a
    task without calibration only an empty `calibration`.

    Args:
      task: The task.
      labels, predicted: [rows] each.
      correction: The correction of the predictions.
    """
    calibration = task.calibration(labels, predicted)
    if not calibration:
        return {"calibration": {}}
    corrected = correction.apply(predicted)
    metrics = task.corrected_metrics(labels, corrected)
    return {
        **{f"calibrated_{key}": value for key, value in metrics.items()},
        "calibration": calibration,
        "calibrated": task.calibration(labels, corrected),
    }


def _measured(job: Job, candidate: Candidate) -> dict[str, Any]:
    """The record that was written when the candidate had been trained: sizes, seconds, validation
    metrics.

    Raises:
      ValueError: there is no such file.
    """
    path = _paths(job, candidate).metrics
    if not os.path.exists(path):
        raise ValueError(
            "A trained model should have its `metrics.json` (run retrain again). Received: no "
            f"{path}"
        )
    return read_json(path)[0]


def _search_cost(job: Job, candidate: Candidate) -> dict[str, Any]:
    """The cost of the candidate's searches, of all methods of a chain together: training steps,
    peak memory, and the share of pretrainings that other searches use, too. An empty dict where a
    cost is not known.

    Raises:
      ValueError: a file with a cost was written and is gone.
    """
    paths = [job.paths.search(folder).cost for folder in candidate.search_folders if folder]
    missing = [path for path in paths if not os.path.exists(path)]
    if lost := [path for path in missing if integrity.known(path)]:
        raise ValueError(
            "What a search took should stand where it was written (run retrain again). Received: "
            f"no {lost[0]}"
        )
    if missing or len(paths) < len(candidate.search_folders):
        return {}
    costs = [read_json(path)[0] for path in paths]
    if not all(map(is_finished, costs)):
        return {}
    figures = {
        "search_steps": sum(cost["steps"] for cost in costs),
        "search_peak_mib": max(cost["peak_mib"] for cost in costs),
        "pretraining_seconds": sum(cost["pretraining"]["seconds"] for cost in costs),
    }
    beside_fits = [cost["proper"] for cost in costs if cost["proper"]["steps"]]
    if beside_fits:
        figures["search_proper"] = {
            key: sum(cost[key] for cost in beside_fits) for key in ("steps", "seconds")
        }
    return figures
