"""The models that are compared and served: how a candidate's
training starts, training, evaluation."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import numpy as np
import tensorflow as tf

from irazor_tf.config import integrity
from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.evaluation.calibration import Correction, without_bins
from irazor_tf.evaluation.task import Task
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.config import JobConfig
from irazor_tf.jobs.recipe import recipe_of
from irazor_tf.jobs.trainers import trainer_of
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import RoutedRecommender
from irazor_tf.model.sparse import csr_bytes
from irazor_tf.search.method import METHODS
from irazor_tf.search.run import base_rate_of
from irazor_tf.training import fit_notices
from irazor_tf.training.cost import batches, fit_seconds, fit_states, peak_mib, reset_peak
from irazor_tf.training.partition import partition
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.state import read_state
from irazor_tf.training.trainer import Trainer

_notices = logging.getLogger("irazor_tf")


def initial_model(
    job: JobConfig, schema: Schema, candidate: Candidate, trainer: Trainer, config: InputConfig
) -> Recommender:
    """The model that the final training starts from."""
    if candidate.result.init == "fresh":
        return trainer.build(config)
    method = METHODS.build(candidate.result.method)
    searcher = trainer_of(job, schema, candidate.search_folder, optimizers=method.recipe())
    space = InputConfig.load(os.path.join(searcher.work_dir, "space.json"))
    supernet = method.train(searcher, space)
    if candidate.result.init == "ticket":
        model = trainer.build(config)
        own = {piece.key: (piece.read(), piece.axes) for piece in model.pieces()}
        wide = {
            piece.key: (piece.read(), piece.axes)
            for piece in supernet.pieces()
            if piece.key.startswith("embedding/")
        }
        model.load_pieces(own | wide)
        return model
    if candidate.result.keep_gates:
        with trainer.scope():
            return supernet if config == supernet.config else supernet.restrict(config)
    for gate in supernet.gates.values():
        gate.fold(supernet.embedding)
    with trainer.scope():
        return supernet.restrict(config, keep_gates=False)


def _models(
    job: JobConfig, schema: Schema, candidate: Candidate, *, train: bool
) -> Recommender | RoutedRecommender:
    """The candidate's model or models, trained here or restored from disk."""
    result = candidate.result
    trainer = trainer_of(
        job,
        schema,
        "models",
        candidate.key,
        model=job.retrain_model or job.model,
        optimizers=result.optimizers,
    )
    router = None
    if result.router is not None:
        method = METHODS.build(result.method)
        with trainer.scope():
            router = method.router(schema, result.router, job.path(candidate.search_folder))
    models = []
    for cluster, config in enumerate(result.clusters):
        name = f"cluster-{cluster}" if router is not None else "model"
        if result.init == "keep" or (train and not trainer.is_done(name)):
            model = initial_model(job, schema, candidate, trainer, config)
            if router is not None:
                with tf.device("/CPU:0"):  # where rows are read and parted
                    sorter = method.router(schema, result.router, job.path(candidate.search_folder))
                train_rows = (
                    trainer.train if result.all_rows else partition(trainer.train, sorter, cluster)
                )
                judge = partition(trainer.valid, sorter, cluster)
                trainer.fit(
                    model,
                    name,
                    FitPlan(train=train_rows, judge=judge, keep_start=result.init == "continue"),
                )
            elif result.init != "keep":
                trainer.fit(model, name, FitPlan(keep_start=result.init == "continue"))
        else:
            model = trainer.build(config)
            trainer.restore(model, name)
        models.append(model)
    if router is None:
        return models[0]
    with trainer.scope():
        return RoutedRecommender(models, router)


def restored_model(
    job: JobConfig, schema: Schema, candidate: Candidate
) -> Recommender | RoutedRecommender:
    """The candidate's trained model, from disk."""
    return _models(job, schema, candidate, train=False)


def fit_names(candidate: Candidate) -> list[str]:
    """Names of the final trainings; none where the searched model is the final one."""
    if candidate.result.init == "keep":
        return []
    return (
        ["model"]
        if candidate.result.router is None
        else [f"cluster-{k}" for k in range(len(candidate.result.clusters))]
    )


def is_trained(job: JobConfig, schema: Schema, candidate: Candidate) -> bool:
    """Whether the candidate's trainings are done, their states there, and its validation metrics
    written."""
    trainer = trainer_of(job, schema, "models", candidate.key)
    return os.path.exists(job.path("models", candidate.key, "metrics.json")) and all(
        map(trainer.is_done, fit_names(candidate))
    )


def train_candidate(job: JobConfig, schema: Schema, candidate: Candidate) -> None:
    """Trains a candidate and writes its validation metrics, and what corrects its predictions.

    Its seconds are those of all its fits, by whichever processes, and what this one took beside
    them."""
    folder = job.path("models", candidate.key)
    path = os.path.join(folder, "metrics.json")
    if is_trained(job, schema, candidate):
        correction_of(job, schema, candidate)
        return
    reset_peak()
    start, fitted = time.perf_counter(), fit_seconds(folder)
    model = _models(job, schema, candidate, train=True)
    seconds = fitted + time.perf_counter() - start
    peak = peak_mib()
    trainer = trainer_of(job, schema, "models", candidate.key)
    metrics, correction = _validated(trainer, model)
    sizes = {
        "params": model.num_params(),
        "total_params": model.num_total_params(),
        "dims": model.num_dims(),
        "inputs": list(model.kept),
    }
    masked = (
        {}
        if not any(config.masks() for config in candidate.result.clusters)
        else {"table_mib": table_mib(candidate, schema)}
    )
    steps = sum(map(batches, fit_states(folder)))
    write_json(
        path,
        metrics
        | sizes
        | masked
        | {"train_seconds": seconds, "train_steps": steps, "train_peak_mib": peak},
    )
    correction.save(os.path.join(folder, "correction.json"))
    for notice in training_notices(job, schema, candidate):
        _notices.warning("%s: %s", candidate.name, notice)


def _validated(
    trainer: Trainer, model: Recommender | RoutedRecommender
) -> tuple[dict[str, Any], Correction]:
    """Metrics and calibration on the validation split, and what corrects the predictions, fitted on
    the same rows."""
    labels, predicted = trainer.predictions(model, trainer.valid)
    correction = trainer.task.correction(labels, predicted)
    found = {
        f"valid_{key}": value for key, value in trainer.task.metrics(labels, predicted).items()
    }
    found |= {
        f"valid_{key}": value
        for key, value in _calibrated(trainer.task, labels, predicted, correction).items()
    }
    return {key: without_bins(value) for key, value in found.items()}, correction


def _calibrated(
    task: Task, labels: np.ndarray, predicted: np.ndarray, correction: Correction
) -> dict[str, Any]:
    """`calibration` as trained, `calibrated`, and the metrics that change with the correction; of a
    task without one an empty one."""
    found = task.calibration(labels, predicted)
    if not found:
        return {"calibration": {}}
    corrected = correction.apply(predicted)
    metrics = {
        f"calibrated_{key}": value
        for key, value in task.corrected_metrics(labels, corrected).items()
    }
    return {**metrics, "calibration": found, "calibrated": task.calibration(labels, corrected)}


def _measured(job: JobConfig, candidate: Candidate) -> dict[str, Any]:
    """What was written when the candidate had been trained."""
    path = job.path("models", candidate.key, "metrics.json")
    if not os.path.exists(path):
        raise ValueError(
            "A trained model should have its `metrics.json` (run retrain again). Received: no "
            f"{path}"
        )
    return read_json(path)[0]


def is_corrected(job: JobConfig, candidate: Candidate) -> bool:
    """Whether what corrects a trained candidate's predictions is written."""
    return os.path.exists(job.path("models", candidate.key, "correction.json"))


def correction_of(job: JobConfig, schema: Schema, candidate: Candidate) -> Correction:
    """What corrects a trained candidate's predictions; made where there is no `correction.json`:
    after a kill, in an older folder."""
    folder = job.path("models", candidate.key)
    path = os.path.join(folder, "correction.json")
    if not is_corrected(job, candidate):
        trainer = trainer_of(job, schema, "models", candidate.key)
        metrics, correction = _validated(trainer, restored_model(job, schema, candidate))
        before = _measured(job, candidate)
        if after := {key: value for key, value in metrics.items() if key not in before}:
            write_json(os.path.join(folder, "metrics.json"), before | after)
        correction.save(path)
    return Correction.load(path)


def training_notices(job: JobConfig, schema: Schema, candidate: Candidate) -> list[str]:
    """What the history and the validation metrics of a trained candidate say about it."""
    folder = job.path("models", candidate.key)
    metrics = _measured(job, candidate)
    log_loss = metrics.get("valid_log_loss")
    found = (
        []
        if log_loss is None
        else fit_notices.worse_than_base_rate(log_loss, base_rate_of(trainer_of(job, schema)))
    )
    if not job.calibrate:
        found += fit_notices.off_the_rate(metrics.get("valid_calibration", {}))
    notices = [f"the final model {notice}" for notice in found]
    if job.calibrate:
        notices += [
            f"the final model: {notice}" for notice in correction_of(job, schema, candidate).notices
        ]
    for name in fit_names(candidate):
        state = read_state(os.path.join(folder, name, "state.json"))
        of = "" if candidate.result.router is None else f" of {name}"
        notices += [
            f"the final model{of} {n}"
            for n in fit_notices.overfitting(state["history"], (state["best"] or {}).get("epoch"))
        ]
    return notices


def table_mib(candidate: Candidate, schema: Schema) -> dict[str, float]:
    """MiB of the embedding tables: dense (kept columns, masked entries as zeros), and with the kept
    entries alone, in two sparse formats.

    COO takes 12 bytes per entry: a value, a row number and a column number; CSR what `csr_bytes`
    says. An export stores each width's tables as CSR or dense, whichever is smaller."""
    sizes = dict.fromkeys(("dense", "coo", "csr"), 0)
    for config in candidate.result.clusters:
        for name in config.kept:
            rows, dim = schema.field(name).vocabulary_size, config.fields[name].dim
            entries = config.fields[name].num_entries(rows)
            sizes["dense"] += 4 * rows * dim
            sizes["coo"] += 12 * entries
            sizes["csr"] += csr_bytes(entries, rows, dim)
    return {kind: size / 2**20 for kind, size in sizes.items()}


def is_evaluated(job: JobConfig, candidate: Candidate) -> bool:
    """Whether all that is told of a trained candidate is written, and no split is read for it
    again."""
    path = job.path("models", candidate.key, "test.json")
    return (
        is_corrected(job, candidate)
        and os.path.exists(path)
        and "calibration" in read_json(path)[0]
    )


def evaluate_candidate(job: JobConfig, schema: Schema, candidate: Candidate) -> dict[str, Any]:
    """Metrics and calibration of a trained candidate on the test split, as trained and corrected,
    with what describes it."""
    path = job.path("models", candidate.key, "test.json")
    correction = correction_of(job, schema, candidate)
    if not is_evaluated(job, candidate):
        before = (
            read_json(path)[0] if os.path.exists(path) else {}
        )  # of an older folder; its figures stay what they were
        trainer = trainer_of(job, schema, "models", candidate.key)
        model = restored_model(job, schema, candidate)
        trainer.warm_up(model)
        start = time.perf_counter()
        labels, predicted = trainer.predictions(model, trainer.test)
        metrics: dict[str, Any] = dict(trainer.task.metrics(labels, predicted))
        seconds = time.perf_counter() - start
        write_json(
            path,
            metrics
            | _calibrated(trainer.task, labels, predicted, correction)
            | {"test_seconds": seconds}
            | before,
        )
    return describe_candidate(job, schema, candidate) | read_json(path)[0]


def describe_candidate(job: JobConfig, schema: Schema, candidate: Candidate) -> dict[str, Any]:
    """What describes a trained candidate, its validation metrics among it; the test split is not
    read."""
    model_spec = job.retrain_model or job.model
    measured = _measured(job, candidate)
    clusters = candidate.result.clusters
    kept = {name for config in clusters for name in config.kept}
    stored = {name for config in clusters for name, dim in config.stored_dims.items() if dim}
    read = set(measured.get("inputs") or kept)  # a router's among them
    return {
        "name": candidate.name,
        "role": candidate.role.value,
        "method": candidate.method,
        "model": model_spec,
        "seed": job.seed,
        "recipe": recipe_of(job),
        **measured,
        "correction": correction_of(job, schema, candidate).numbers(),
        "calibrate": job.calibrate,
        "fields": len(read - (kept - stored)),
        "search_seconds": candidate.result.seconds,
        **(
            {"optimizers": dict(candidate.result.optimizers)} if candidate.result.optimizers else {}
        ),
        **_search_cost(job, candidate),
        "notices": [*candidate.result.notices, *training_notices(job, schema, candidate)],
        "folder": os.path.join("models", candidate.key),
        "field_dims": [config.stored_dims for config in clusters],
        "plain": candidate.result.init == "fresh"
        and candidate.result.router is None
        and not any(config.masks() for config in clusters),
    }


def _search_cost(job: JobConfig, candidate: Candidate) -> dict[str, Any]:
    """Training steps and peak memory of the candidate's searches (of a chain all), and what of it
    were pretrainings that others share."""
    paths = [job.path(folder, "search_cost.json") for folder in candidate.search_folders if folder]
    gone = [path for path in paths if not os.path.exists(path)]
    if written := [path for path in gone if integrity.known(path)]:
        raise ValueError(
            "What a search took should stand where it was written (run retrain again). Received: "
            f"no {written[0]}"
        )
    if gone or len(paths) < len(candidate.search_folders):
        return {}
    costs = [read_json(path)[0] for path in paths]
    found = {
        "search_steps": sum(cost["steps"] for cost in costs),
        "search_peak_mib": max(cost["peak_mib"] for cost in costs),
        "pretraining_seconds": sum(cost["pretraining"]["seconds"] for cost in costs),
    }
    proper = [cost["proper"] for cost in costs if cost["proper"]["steps"]]
    return found | (
        {"search_proper": {key: sum(own[key] for own in proper) for key in ("steps", "seconds")}}
        if proper
        else {}
    )
