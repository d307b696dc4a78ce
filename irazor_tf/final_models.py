"""The models that are compared and served: how a candidate's training starts, training, evaluation."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import tensorflow as tf

from irazor_tf import fit_notices, integrity
from irazor_tf.candidates import Candidate
from irazor_tf.input_config import InputConfig
from irazor_tf.job_config import JobConfig
from irazor_tf.json_files import read_json, write_json
from irazor_tf.method import METHODS
from irazor_tf.recommender import Recommender
from irazor_tf.routing import RoutedRecommender, partition
from irazor_tf.schema import Schema
from irazor_tf.searching import base_rate_of, batches, fit_seconds, fit_states, peak_mib, reset_peak, trainer_of
from irazor_tf.sparse import csr_bytes
from irazor_tf.trainer import Trainer
from irazor_tf.training_state import read_state

_notices = logging.getLogger("irazor_tf")


def initial_model(job: JobConfig, schema: Schema, candidate: Candidate, trainer: Trainer, config: InputConfig) -> Recommender:
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
        wide = {piece.key: (piece.read(), piece.axes) for piece in supernet.pieces() if piece.key.startswith("embedding/")}
        model.load_pieces(own | wide)
        return model
    if candidate.result.keep_gates:
        with trainer.scope():
            return supernet if config == supernet.config else supernet.restrict(config)
    for gate in supernet.gates.values():
        gate.fold(supernet.embedding)
    with trainer.scope():
        return supernet.restrict(config, keep_gates=False)


def _models(job: JobConfig, schema: Schema, candidate: Candidate, *, train: bool) -> Recommender | RoutedRecommender:
    """The candidate's model or models, trained here or restored from disk."""
    result = candidate.result
    trainer = trainer_of(job, schema, "models", candidate.key, model=job.retrain_model or job.model, optimizers=result.optimizers)
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
                train_rows = trainer.train if result.all_rows else partition(trainer.train, sorter, cluster)
                judge = partition(trainer.valid, sorter, cluster)
                trainer.fit(model, name, train=train_rows, judge=judge, keep_start=result.init == "continue")
            elif result.init != "keep":
                trainer.fit(model, name, keep_start=result.init == "continue")
        else:
            model = trainer.build(config)
            trainer.restore(model, name)
        models.append(model)
    if router is None:
        return models[0]
    with trainer.scope():
        return RoutedRecommender(models, router)


def restored_model(job: JobConfig, schema: Schema, candidate: Candidate) -> Recommender | RoutedRecommender:
    """The candidate's trained model, from disk."""
    return _models(job, schema, candidate, train=False)


def fit_names(candidate: Candidate) -> list[str]:
    """Names of the final trainings; none where the searched model is the final one."""
    if candidate.result.init == "keep":
        return []
    return ["model"] if candidate.result.router is None else [f"cluster-{k}" for k in range(len(candidate.result.clusters))]


def is_trained(job: JobConfig, schema: Schema, candidate: Candidate) -> bool:
    """Whether the candidate's trainings are done, their states there, and its validation metrics written."""
    trainer = trainer_of(job, schema, "models", candidate.key)
    return os.path.exists(job.path("models", candidate.key, "metrics.json")) and all(map(trainer.is_done, fit_names(candidate)))


def train_candidate(job: JobConfig, schema: Schema, candidate: Candidate) -> None:
    """Trains a candidate and writes its validation metrics.

    Its seconds are those of all its fits, by whichever processes, and what this one took beside them.
    """
    folder = job.path("models", candidate.key)
    path = os.path.join(folder, "metrics.json")
    if is_trained(job, schema, candidate):
        return
    reset_peak()
    start, fitted = time.perf_counter(), fit_seconds(folder)
    model = _models(job, schema, candidate, train=True)
    seconds = fitted + time.perf_counter() - start
    peak = peak_mib()
    trainer = trainer_of(job, schema, "models", candidate.key)
    metrics = {f"valid_{key}": value for key, value in trainer.evaluate(model, trainer.valid).items()}
    sizes = {"params": model.num_params(), "total_params": model.num_total_params(), "dims": model.num_dims(), "inputs": list(model.kept)}
    masked = {} if not any(config.masks() for config in candidate.result.clusters) else {"table_mib": table_mib(candidate, schema)}
    steps = sum(map(batches, fit_states(folder)))
    write_json(path, metrics | sizes | masked | {"train_seconds": seconds, "train_steps": steps, "train_peak_mib": peak})
    for notice in training_notices(job, schema, candidate):
        _notices.warning("%s: %s", candidate.name, notice)


def training_notices(job: JobConfig, schema: Schema, candidate: Candidate) -> list[str]:
    """What the history and the validation metrics of a trained candidate say about it."""
    folder = job.path("models", candidate.key)
    log_loss = _measured(job, candidate).get("valid_log_loss")
    found = [] if log_loss is None else fit_notices.worse_than_base_rate(log_loss, base_rate_of(trainer_of(job, schema)))
    notices = [f"the final model {notice}" for notice in found]
    for name in fit_names(candidate):
        state = read_state(os.path.join(folder, name, "state.json"))
        of = "" if candidate.result.router is None else f" of {name}"
        notices += [f"the final model{of} {n}" for n in fit_notices.overfitting(state["history"], (state["best"] or {}).get("epoch"))]
    return notices


def table_mib(candidate: Candidate, schema: Schema) -> dict[str, float]:
    """MiB of the embedding tables: dense (kept columns, masked entries as zeros), and with the kept entries alone, in two sparse formats.

    COO takes 12 bytes per entry: a value, a row number and a column number; CSR what `csr_bytes` says. An export stores each width's tables
    as CSR or dense, whichever is smaller.
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


def evaluate_candidate(job: JobConfig, schema: Schema, candidate: Candidate) -> dict[str, Any]:
    """Metrics of a trained candidate on the test split, with what describes it."""
    path = job.path("models", candidate.key, "test.json")
    if not os.path.exists(path):
        trainer = trainer_of(job, schema, "models", candidate.key)
        model = restored_model(job, schema, candidate)
        trainer.warm_up(model)
        start = time.perf_counter()
        metrics: dict[str, Any] = dict(trainer.evaluate(model, trainer.test))
        write_json(path, metrics | {"test_seconds": time.perf_counter() - start})
    return describe_candidate(job, schema, candidate) | read_json(path)[0]


def describe_candidate(job: JobConfig, schema: Schema, candidate: Candidate) -> dict[str, Any]:
    """What describes a trained candidate, its validation metrics among it; the test split is not read."""
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
        **measured,
        "fields": len(read - (kept - stored)),
        "search_seconds": candidate.result.seconds,
        **({"optimizers": dict(candidate.result.optimizers)} if candidate.result.optimizers else {}),
        **_search_cost(job, candidate),
        "notices": [*candidate.result.notices, *training_notices(job, schema, candidate)],
        "folder": os.path.join("models", candidate.key),
        "field_dims": [config.stored_dims for config in clusters],
        "plain": candidate.result.init == "fresh" and candidate.result.router is None and not any(config.masks() for config in clusters),
    }


def _measured(job: JobConfig, candidate: Candidate) -> dict[str, Any]:
    """The validation metrics and sizes that training has left."""
    path = job.path("models", candidate.key, "metrics.json")
    if not os.path.exists(path):
        raise ValueError(f"A trained model should have its `metrics.json` (run retrain again). Received: no {path}")
    return read_json(path)[0]


def _search_cost(job: JobConfig, candidate: Candidate) -> dict[str, Any]:
    """Training steps and peak memory of the candidate's searches (of a chain all), and what of it were pretrainings that others share."""
    paths = [job.path(folder, "search_cost.json") for folder in candidate.search_folders if folder]
    gone = [path for path in paths if not os.path.exists(path)]
    if written := [path for path in gone if integrity.known(path)]:
        raise ValueError(f"What a search took should stand where it was written (run retrain again). Received: no {written[0]}")
    if gone or len(paths) < len(candidate.search_folders):
        return {}
    costs = [read_json(path)[0] for path in paths]
    found = {
        "search_steps": sum(cost["steps"] for cost in costs),
        "search_peak_mib": max(cost["peak_mib"] for cost in costs),
        "pretraining_seconds": sum(cost["pretraining"]["seconds"] for cost in costs),
    }
    proper = [cost["proper"] for cost in costs if cost["proper"]["steps"]]
    return found | ({"search_proper": {key: sum(own[key] for own in proper) for key in ("steps", "seconds")}} if proper else {})
