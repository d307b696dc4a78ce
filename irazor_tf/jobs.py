"""The stages, each a function from artifacts on disk to artifacts on disk: preprocess, search, retrain, evaluate, export, report.

A stage first looks at what is there: finished work is picked up, interrupted work resumes, and work done under other settings is
refused with the difference. What can be chosen after a search (threshold, budget, controls, curve) may change between calls.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from data_pipelines import preprocess as pipelines
from data_pipelines import records
from irazor_tf import export as export_lib
from irazor_tf import report as report_lib
from irazor_tf.base_model import MODELS
from irazor_tf.candidates import Candidate, Role, digest, identity, short_name, unique_names
from irazor_tf.input_config import InputConfig, SearchResult, read_json, write_json
from irazor_tf.job_config import JobConfig, check_trained, claim, mark_trained, training_spec
from irazor_tf.method import METHODS, SearchMethod
from irazor_tf.recommender import Recommender
from irazor_tf.registry import Spec, parse_specs
from irazor_tf.routing import RoutedRecommender, partition
from irazor_tf.schema import Schema
from irazor_tf.task import TASKS
from irazor_tf.trainer import Trainer

T = TypeVar("T")


def preprocess(job: JobConfig) -> Schema:
    """Log -> records; at once where they are there and whole."""
    claim(job)
    if job.has_records:
        records.verify(job.records_dir)
    elif job.data is not None:
        pipelines.preprocess(job.data, job.records_dir, progress=job.progress)
        claim(job)  # now the fingerprint is known
    else:
        raise ValueError(
            f"Either a reader with its input, or a folder with records and their manifest, should be given. Received: neither; "
            f"no records in {job.records_dir}"
        )
    return Schema.load(job.records_dir)


def search(job: JobConfig) -> SearchResult:
    """Records -> `search/result.json`: the found config."""
    schema = preprocess(job)
    path = job.path("search", "result.json")
    if not os.path.exists(path):
        # Reads every record once; from here on their own checksums tell.
        splits = records.verify(job.records_dir, full=True)["splits"]
        rows = {split: splits.get(split, {"rows": 0})["rows"] for split in records.SPLITS}
        if not all(rows.values()):
            raise ValueError(f"Training, validation and test should each have rows (see `fractions`). Received: {rows}")
    trainer = trainer_of(job, schema)
    method, space, _ = _last_method(job, trainer)
    result = _guarded(job, lambda: search_with(trainer, method, space, job.budget)[0])
    result.save(path)
    if job.progress:
        for config in result.clusters:
            params = config.num_params(schema)
            print(f"found {config.num_fields} of {len(schema.fields)} fields, {config.total_dims} dims, {params:,} parameters")
    return result


def retrain(job: JobConfig) -> list[Candidate]:
    """The found config, the controls at its size and the curve's points -> `models/*`, each with its validation metrics."""
    schema = preprocess(job)
    result = search(job)
    trainer = trainer_of(job, schema)
    method, space, before = _last_method(job, trainer)
    candidates = _guarded(job, lambda: _candidates(job, trainer, method, space, result, before))
    for candidate in candidates:
        candidate.result.save(job.path("models", candidate.key, "result.json"))
    write_json(job.path("candidates.json"), [_listed(candidate) for candidate in candidates])
    mark_trained(job)
    for number, candidate in enumerate(candidates):
        if job.progress:
            print(f"[{number + 1}/{len(candidates)}] {candidate.name}: {candidate.num_params(schema):,} parameters", flush=True)
        _guarded(job, lambda candidate=candidate: train_candidate(job, schema, candidate))  # type: ignore[misc]
    return candidates


def evaluate(job: JobConfig) -> list[dict[str, Any]]:
    """Trained models -> `summary.json` (found config and controls) and `curve.json` (every point); reads the test split, once."""
    schema = preprocess(job)
    candidates = _load_candidates(job)
    points = [_guarded(job, lambda candidate=candidate: evaluate_candidate(job, schema, candidate)) for candidate in candidates]  # type: ignore[misc]
    summary = []
    for point, candidate in zip(points, candidates, strict=True):
        if candidate.role is not Role.CURVE:
            summary.append(_summary(point) | {"export_mib": export_size(job, schema, candidate)})
    write_json(job.path("summary.json"), summary)
    write_json(job.path("curve.json"), points)
    return summary


def export(job: JobConfig) -> str:
    """The found model -> `export/<version>/`; at once where that model is exported already."""
    schema = preprocess(job)
    candidate = _load_candidates(job)[0]
    marker, folder = job.path("export.json"), job.path("export")
    done = read_json(marker)[0] if os.path.exists(marker) else {}
    if done.get("key") != candidate.key or not os.path.isdir(os.path.join(folder, done["version"])):
        # Written first: a version comes into being by one rename, and whoever finds it then knows whose it is.
        done = {"key": candidate.key, "version": str(export_lib.next_version(folder))}
        write_json(marker, done)
        with tf.device("/CPU:0"):
            model = _guarded(job, lambda: _restored(dataclasses.replace(job, distribution_strategy="off"), schema, candidate))
            export_lib.export(model, schema, folder)
    path = os.path.join(folder, done["version"])
    if "mib" not in done:
        write_json(marker, done | _size(path))
    return path


def export_size(job: JobConfig, schema: Schema, candidate: Candidate) -> float:
    """MiB of weights and vocabularies in the candidate's SavedModel, measured on one that is written and removed again."""
    path = job.path("models", candidate.key, "export_size.json")
    if not os.path.exists(path):
        with tempfile.TemporaryDirectory() as folder:
            model = _restored(dataclasses.replace(job, distribution_strategy="off"), schema, candidate)
            write_json(path, _size(export_lib.export(model, schema, folder)))
    return read_json(path)[0]["mib"]


def _size(path: str) -> dict[str, float]:
    """Bytes of an export's variables and assets, and their sum in MiB. The graph beside them is left out (about 0.1 MiB): its size
    depends on what else the process has traced, by a few bytes."""
    sizes = export_lib.size_report(path)
    return {"variables": sizes["variables"], "assets": sizes["assets"], "mib": (sizes["variables"] + sizes["assets"]) / 2**20}


def report(job: JobConfig) -> str:
    """Everything above -> `report.html`."""
    if not job.has_records:
        raise ValueError(f"A report should be of a job whose records are there (preprocess). Received: none in {job.records_dir}")
    return report_lib.write(job.model_dir, Schema.load(job.records_dir))


def pipeline(job: JobConfig) -> list[dict[str, Any]]:
    """All stages in their order; returns what stands in `summary.json`."""
    retrain(job)
    summary = evaluate(job)
    export(job)
    report(job)
    return summary


# What the stages are made of ------------------------------------------------------------------------------------------------------


def _guarded(job: JobConfig, work: Callable[[], T]) -> T:
    """Runs `work`; where a record cannot be read, says which file and block."""
    try:
        return work()
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError):
        records.verify(job.records_dir, full=True)
        raise


@functools.cache
def strategy_of(name: str) -> tf.distribute.Strategy | None:
    """The `tf.distribute` strategy called `name`; mirrored takes all GPUs, or all logical CPU devices where there is none.

    One per process and name: the collective operations of a second one would take the keys of the first one's.
    """
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy("/GPU:0" if tf.config.list_logical_devices("GPU") else "/CPU:0")
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])
    return None


def trainer_of(job: JobConfig, schema: Schema, *folder: str, model: str | None = None) -> Trainer:
    return Trainer(
        schema,
        job.records_dir,
        MODELS.build(model or job.model),
        TASKS.build(job.task),
        job.train,
        job.path(*folder),
        strategy=strategy_of(job.distribution_strategy),
        seed=job.seed,
        progress=job.progress,
        tensorboard=job.tensorboard,
    )


def _last_method(job: JobConfig, trainer: Trainer) -> tuple[SearchMethod, InputConfig, tuple[Spec, ...]]:
    """The last method of the chain, the space it searches, the ones before having searched, and their specs."""
    methods = [METHODS.build(spec) for spec in parse_specs(job.method)]
    space = InputConfig.uniform(trainer.schema, job.width)
    for method in methods[:-1]:
        space = _guarded(job, lambda method=method, space=space: search_with(trainer, method, space)[0]).config  # type: ignore[misc]
    return methods[-1], space, tuple(method.spec() for method in methods[:-1])


def search_with(
    trainer: Trainer, method: SearchMethod, space: InputConfig, budget: int | None = None, supernet: Recommender | None = None
) -> tuple[SearchResult, Recommender]:
    """Searches (or picks up the finished supernet, given or from disk) and derives; the method's own arrays go beside it."""
    inside = trainer.inside(search_folder_of(method, space))
    timing = os.path.join(inside.work_dir, "seconds.json")
    space.save(os.path.join(inside.work_dir, "space.json"))
    start = time.perf_counter()
    result, supernet = method.search(inside, space, budget, supernet)
    if not os.path.exists(timing):
        write_json(timing, time.perf_counter() - start)
    for config in result.clusters:
        config.check(trainer.schema)
    if method.ranks_fields:
        arrays = method.architecture(supernet)
        write_json(os.path.join(inside.work_dir, "scores.json"), method.field_scores(supernet), arrays)
    return dataclasses.replace(result, seconds=read_json(timing)[0]), supernet


def search_folder_of(method: SearchMethod, space: InputConfig) -> str:
    """One folder per training: the same supernet serves every threshold and budget."""
    spec = training_spec(method.spec())
    return os.path.join("search", f"{spec.name}-{digest([str(spec), identity(space)])}")


def _candidates(
    job: JobConfig, trainer: Trainer, method: SearchMethod, space: InputConfig, result: SearchResult, before: tuple[Spec, ...]
) -> list[Candidate]:
    """What is trained: the found config, the controls at its size, and the curve."""
    schema = trainer.schema
    folder = search_folder_of(method, space)
    name = " + ".join(map(short_name, (*before, method.spec())))
    found = Candidate(Role.FOUND, name, result, folder, before)
    chosen = [found]
    sizes = {"": found.num_params(schema)}
    if job.curve and len(result.clusters) == 1:
        supernet = None
        for label, other in method.sweep():
            derived, supernet = search_with(trainer, other, space, None, supernet)
            chosen.append(Candidate(Role.CURVE, f"{name} {label}", derived, folder, before))
            sizes[f" at {label}"] = derived.config.num_params(schema)
    full = InputConfig.uniform(schema, job.width)
    for control in (METHODS.build(spec) for spec in job.controls):
        if control.needs - trainer.base.sites or (control.spec() == method.spec() and not before):
            continue
        name, folder, supernet = short_name(control.spec()), search_folder_of(control, full), None
        for label, size in sizes.items() if control.control_at_budget else [("", None)]:
            derived, supernet = search_with(trainer, control, full, size, supernet)
            chosen.append(Candidate(Role.CURVE if label else Role.CONTROL, name + label, derived, folder))
        for label, other in control.sweep() if job.curve else []:
            derived, supernet = search_with(trainer, other, full, None, supernet)
            chosen.append(Candidate(Role.CURVE, f"{name} {label}", derived, folder))
    return unique_names(chosen)


def _initial(job: JobConfig, schema: Schema, candidate: Candidate, trainer: Trainer, config: InputConfig) -> Recommender:
    """The model that the final training starts from."""
    if candidate.result.init == "fresh":
        return trainer.build(config)
    searcher = trainer_of(job, schema, candidate.search_folder)
    space = InputConfig.load(os.path.join(searcher.work_dir, "space.json"))
    supernet = METHODS.build(candidate.result.method).train(searcher, space)
    if candidate.result.init == "ticket":
        model = trainer.build(config)
        own = {piece.key: (piece.read(), piece.axes) for piece in model.pieces()}
        wide = {piece.key: (piece.read(), piece.axes) for piece in supernet.pieces() if piece.key.startswith("embedding/")}
        model.load_pieces(own | wide)
        return model
    for gate in supernet.gates.values():
        gate.fold(supernet.embedding)
    with trainer.scope():
        return supernet.restrict(config, keep_gates=False)


def _models(job: JobConfig, schema: Schema, candidate: Candidate, *, train: bool) -> Recommender | RoutedRecommender:
    """The candidate's model or models, trained here or restored from disk."""
    trainer = trainer_of(job, schema, "models", candidate.key, model=job.retrain_model or job.model)
    result = candidate.result
    router = None
    if result.router is not None:
        method = METHODS.build(result.method)
        with trainer.scope():
            router = method.router(schema, result.router, job.path(candidate.search_folder))
    models = []
    for cluster, config in enumerate(result.clusters):
        name = f"cluster-{cluster}" if router is not None else "model"
        if result.init == "keep" or (train and not trainer.is_done(name)):
            model = _initial(job, schema, candidate, trainer, config)
            if router is not None:
                train_rows, judge = (partition(source, router, cluster) for source in (trainer.train, trainer.valid))
                trainer.fit(model, name, train=train_rows, judge=judge)
            elif result.init != "keep":
                trainer.fit(model, name)
        else:
            model = trainer.build(config)
            trainer.restore(model, name)
        models.append(model)
    if router is None:
        return models[0]
    with trainer.scope():
        return RoutedRecommender(models, router)


def _restored(job: JobConfig, schema: Schema, candidate: Candidate) -> Recommender | RoutedRecommender:
    return _models(job, schema, candidate, train=False)


def train_candidate(job: JobConfig, schema: Schema, candidate: Candidate) -> None:
    """Trains a candidate and writes its validation metrics."""
    path = job.path("models", candidate.key, "metrics.json")
    if os.path.exists(path):
        return
    start = time.perf_counter()
    model = _models(job, schema, candidate, train=True)
    seconds = time.perf_counter() - start
    trainer = trainer_of(job, schema, "models", candidate.key)
    metrics = {f"valid_{key}": value for key, value in trainer.evaluate(model, trainer.valid).items()}
    sizes = {"params": model.num_params(), "total_params": model.num_total_params()}
    write_json(path, metrics | sizes | {"train_seconds": seconds})


def evaluate_candidate(job: JobConfig, schema: Schema, candidate: Candidate) -> dict[str, Any]:
    """Metrics of a trained candidate on the test split, with what describes it."""
    path = job.path("models", candidate.key, "test.json")
    if not os.path.exists(path):
        trainer = trainer_of(job, schema, "models", candidate.key)
        model = _restored(job, schema, candidate)
        start = time.perf_counter()
        metrics: dict[str, Any] = dict(trainer.evaluate(model, trainer.test))
        write_json(path, metrics | {"test_seconds": time.perf_counter() - start})
    trained = read_json(job.path("models", candidate.key, "metrics.json"))[0]
    tested = read_json(path)[0]
    model_spec = job.retrain_model or job.model
    clusters = candidate.result.clusters
    return {
        "name": candidate.name,
        "role": candidate.role.value,
        "method": candidate.method,
        "model": model_spec,
        "seed": job.seed,
        **tested,
        **trained,
        "fields": len({name for config in clusters for name in config.kept}),
        "dims": sum(config.total_dims for config in clusters),
        "search_seconds": candidate.result.seconds,
        "folder": os.path.join("models", candidate.key),
        "field_dims": [config.dims for config in clusters],
    }


def _summary(point: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in point.items() if key not in ("role", "folder", "field_dims")}


def _listed(candidate: Candidate) -> dict[str, Any]:
    """The candidate's entry in `candidates.json`; two of them may share the model's folder."""
    listed = {"role": candidate.role.value, "name": candidate.name, "key": candidate.key, "search_folder": candidate.search_folder}
    return listed | {"method": candidate.method, "search_seconds": candidate.result.seconds}


def _load_candidates(job: JobConfig) -> list[Candidate]:
    check_trained(job)
    found = []
    for value in read_json(job.path("candidates.json"))[0]:
        *before, method = parse_specs(value["method"])
        stored = SearchResult.load(job.path("models", value["key"], "result.json"))
        result = dataclasses.replace(stored, method=method, seconds=value["search_seconds"])
        found.append(Candidate(Role(value["role"]), value["name"], result, value["search_folder"], tuple(before)))
    return found
