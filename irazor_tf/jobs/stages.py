"""The stages, each a function from artifacts on disk to artifacts on disk: preprocess, tune,
search, retrain, evaluate, export, report.

A stage first looks at what is there: finished work is picked up, interrupted work resumes, and work
done under other settings is refused with the difference. What can be chosen after a search
(threshold, budget, controls, curve) may change between calls."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import os
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import tensorflow as tf
from tqdm import tqdm

from data_pipelines import preprocess as pipelines
from data_pipelines.inputs import named_inputs
from irazor_tf.config import integrity
from irazor_tf.config.files import read_json, understanding, write_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import Role
from irazor_tf.config.notices import warn_once
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import parse_spec, parse_specs
from irazor_tf.evaluation.baselines import better_on, outdone
from irazor_tf.evaluation.calibration import Correction, without_bins
from irazor_tf.evaluation.task import TASKS
from irazor_tf.jobs.baselines import are_fitted, evaluate_baselines
from irazor_tf.jobs.candidates import Candidate, Searched, short_name, unique_names
from irazor_tf.jobs.config import JobConfig, check_trained, claim, mark_trained
from irazor_tf.jobs.data import check_splits, guarded, verified
from irazor_tf.jobs.final_models import (
    correction_of,
    evaluate_candidate,
    is_corrected,
    is_evaluated,
    is_trained,
    restored_model,
    train_candidate,
)
from irazor_tf.jobs.lock import held
from irazor_tf.jobs.recipe import resolved_job
from irazor_tf.jobs.trainers import trainer_of
from irazor_tf.jobs.tuning import tune_recipes
from irazor_tf.model.base import MODELS
from irazor_tf.report import report as report_lib
from irazor_tf.search.method import METHODS, BudgetError, SearchMethod
from irazor_tf.search.run import search_folder_of, search_with, sweep_with
from irazor_tf.serving import export as export_lib
from irazor_tf.training import pricing
from irazor_tf.training.trainer import Trainer

T = TypeVar("T")

_notices = logging.getLogger("irazor_tf")
_TO_TRY = (
    "To try: another learning rate, more `embedding_l2`, a higher `min_count`, a smaller "
    "tower, `metric` log_loss"
)


def _stage(work: Callable[[JobConfig], T]) -> Callable[[JobConfig], T]:
    """A stage has the job's folder for itself, and what it reads there is compared with what was
    written."""

    @functools.wraps(work)
    def stage(job: JobConfig) -> T:
        with held(job.path(".lock"), job.model_dir):
            if os.path.exists(job.path("job.json")) and not os.path.exists(
                job.path(integrity.LEDGER)
            ):
                warn_once(
                    "%s has no checksums of its files: they are taken as they are", job.model_dir
                )
            with integrity.guarding(job.model_dir):
                return work(job)

    return stage


@_stage
def preprocess(job: JobConfig) -> Schema:
    """Log -> records; at once where they are there and whole."""
    if job.data is not None and not job.has_records:
        reader = job.data.make_reader()
        if job.data.input:  # some formats know their fields from a file
            reader.inspect(named_inputs(job.data))
        export_lib.check_served_names(field.name for field in reader.fields())
    claim(job)
    if not job.has_records:
        if job.data is None:
            raise ValueError(
                "Either a reader with its input, or a folder with records and their manifest, "
                "should be given. Received: neither; "
                f"no {os.path.join(job.records_dir, 'manifest.json')}"
            )
        records_dir = os.path.abspath(job.records_dir)
        lock = os.path.join(os.path.dirname(records_dir), f".{os.path.basename(records_dir)}.lock")
        with held(lock, records_dir):  # jobs may share a folder of records
            if not job.has_records:
                pipelines.preprocess(job.data, job.records_dir, progress=job.progress)
        claim(job)  # now the fingerprint is known
    verified(job, full=False)
    schema = Schema.load(job.records_dir)
    resolved_job(job, schema)
    return schema


@_stage
def tune(job: JobConfig) -> list[dict[str, Any]]:
    """Records -> `tune/recipe.flags`: the best of a dozen recipes by the validation split, and what
    each came to (see `tune_recipes`)."""
    schema = preprocess(job)
    check_splits(job, verified(job))
    return guarded(job, lambda: tune_recipes(job, schema))


@_stage
def search(job: JobConfig) -> SearchResult:
    """Records -> `search/result.json`: the found config."""
    schema = preprocess(job)
    job = resolved_job(job, schema)
    path = job.path("search", "result.json")
    if not os.path.exists(path):
        check_splits(job, verified(job))
    export_lib.raw_signature(schema, schema.names)  # what could not be served is not trained
    trainer = trainer_of(job, schema)
    full = InputConfig.uniform(schema, job.width)
    methods = [
        METHODS.build(spec) for spec in (*parse_specs(job.method), *map(parse_spec, job.controls))
    ]
    if not os.path.exists(path):
        recipes = {
            tuple(sorted((job.train.optimizers() | method.recipe()).items())) for method in methods
        }
        for model, recipe in itertools.product(
            {job.model, job.retrain_model or job.model}, recipes
        ):
            pricing.check_memory(schema, full, MODELS.build(model), trainer.task, dict(recipe))
    for method in methods:
        # What is out of range in the full space is so in every narrower one, and is said before
        # anything is searched.
        if method.needs <= trainer.base.sites:
            method.check_space(trainer, full)
            method.step().check_rows(trainer.train, trainer.valid, job.train.batch_size)
    chain = _chain(job, trainer)
    result = chain.whole(
        guarded(
            job, lambda: search_with(trainer, chain.method, chain.space, job.budget, redraw=True)[0]
        )
    )
    for config in result.clusters:
        config.check(schema)
    result.save(path)
    if job.progress:
        for config in result.clusters:
            params, dims = (
                config.num_params(schema),
                [dim for dim in config.stored_dims.values() if dim],
            )
            print(
                f"found {len(dims)} of {len(schema.fields)} fields, {sum(dims)} dims, {params:,} "
                "parameters"
            )
    return result


@_stage
def retrain(job: JobConfig) -> list[Candidate]:
    """The found config, the controls at its size and the curve's points -> `models/*`, each with
    its validation metrics."""
    schema = preprocess(job)
    result = search(job)
    job = resolved_job(job, schema)
    trainer = trainer_of(job, schema)
    chain = _chain(job, trainer)
    candidates = guarded(job, lambda: _candidates(job, trainer, chain, result))
    for candidate in candidates:
        candidate.result.save(job.path("models", candidate.key, "result.json"))
    write_json(job.path("candidates.json"), [_listed(candidate) for candidate in candidates])
    mark_trained(job)
    if not all(
        is_trained(job, schema, candidate) and is_corrected(job, candidate)
        for candidate in candidates
    ):
        verified(job)
    for number, candidate in enumerate(candidates):
        if job.progress:
            print(
                f"[{number + 1}/{len(candidates)}] {candidate.name}: "
                f"{candidate.num_params(schema):,} parameters",
                flush=True,
            )
        guarded(job, lambda candidate=candidate: train_candidate(job, schema, candidate))  # type: ignore[misc]
    return candidates


@_stage
def evaluate(job: JobConfig) -> list[dict[str, Any]]:
    """Trained models -> `summary.json` (found config, controls, baselines) and `curve.json` (every
    point); reads the test split, once."""
    schema = preprocess(job)
    job = resolved_job(job, schema)
    candidates = _load_candidates(job)
    fitted = are_fitted(job)
    if not (fitted and all(is_evaluated(job, candidate) for candidate in candidates)):
        verified(job)
    points, summary = [], []
    for candidate in tqdm(candidates, "evaluate", unit="model", disable=not job.progress):
        point = guarded(job, lambda candidate=candidate: evaluate_candidate(job, schema, candidate))  # type: ignore[misc]
        if candidate.role is Role.FOUND and job.budget is not None:
            point["budget"] = job.budget  # which the method's spec does not tell
        # Bins are drawn of the found config alone, and would be more than half of the file; they
        # stand in summary and test.json.
        points.append({key: without_bins(value) for key, value in point.items()})
        if candidate.role is not Role.CURVE:
            summary.append(_summary(point) | {"export_mib": export_size(job, schema, candidate)})
    found = points[0]
    baselines = guarded(job, lambda: evaluate_baselines(job, schema))
    baselines = [
        record | {"better_on": better_on(found, record, TASKS.build(job.task).directions)}
        for record in baselines
    ]
    told = [f"{notice}. {_TO_TRY}" for record in baselines if (notice := outdone(found, record))]
    for notice in () if fitted else told:
        _notices.warning("%s", notice)
    found["notices"] = summary[0]["notices"] = [*found["notices"], *told]
    write_json(job.path("summary.json"), summary + baselines)
    write_json(job.path("curve.json"), points + baselines)
    return summary + baselines


@_stage
def export(job: JobConfig) -> str:
    """The found model -> `export/<version>/`; at once where that model is exported already, with
    the correction that it should have."""
    schema = preprocess(job)
    job = resolved_job(job, schema)
    candidate = _load_candidates(job)[0]
    marker, folder = job.path("export.json"), job.path("export")
    done = read_json(marker)[0] if os.path.exists(marker) else {}
    correction = _served_correction(job, schema, candidate)
    numbers = None if correction is None else correction.numbers()
    version, damage = os.path.join(folder, done.get("version", "")), ""
    same = done.get("key") == candidate.key and done.get("correction") == numbers
    there = same and os.path.isdir(version)
    if there and not (done.get("checksums") or export_lib.has_checksums(version)):
        warn_once("The export %s has no checksums of its files: it is taken as it is", version)
    elif there:
        damage = export_lib.damage(version)
    if damage:
        _notices.warning(
            "The export %s is damaged (%s): it is made anew under the next number", version, damage
        )
    if not there or damage:
        # Written first: a version comes into being by one rename, and whoever finds it then knows
        # whose it is.
        next_one = str(export_lib.next_version(folder))
        done = {"key": candidate.key, "correction": numbers, "version": next_one, "checksums": True}
        write_json(marker, done)
        with tf.device("/CPU:0"):
            model = guarded(
                job,
                lambda: restored_model(
                    dataclasses.replace(job, distribution_strategy="off"), schema, candidate
                ),
            )
            export_lib.export(model, schema, folder, correction)
    path = os.path.join(folder, done["version"])
    if "mib" not in done:
        write_json(marker, done | _size(path))
    return path


def _served_correction(job: JobConfig, schema: Schema, candidate: Candidate) -> Correction | None:
    """The correction that the export applies; None where probabilities are served as trained."""
    if not job.calibrate:
        return None
    if not is_corrected(job, candidate):
        verified(job)
    correction = guarded(job, lambda: correction_of(job, schema, candidate))
    return None if correction.is_identity else correction


def export_size(job: JobConfig, schema: Schema, candidate: Candidate) -> float:
    """MiB of weights and vocabularies in the candidate's SavedModel, measured on one that is
    written and removed again."""
    path = job.path("models", candidate.key, "export_size.json")
    if not os.path.exists(path):
        with tempfile.TemporaryDirectory() as folder:
            model = restored_model(
                dataclasses.replace(job, distribution_strategy="off"), schema, candidate
            )
            write_json(path, _size(export_lib.export(model, schema, folder)))
    return read_json(path)[0]["mib"]


def _size(path: str) -> dict[str, float]:
    """Bytes of an export's variables and assets, and their sum in MiB. The graph beside them is
    left out (about 0.1 MiB): its size depends on what else the process has traced, by a few bytes.
    """
    sizes = export_lib.size_report(path)
    return {
        "variables": sizes["variables"],
        "assets": sizes["assets"],
        "mib": (sizes["variables"] + sizes["assets"]) / 2**20,
    }


@_stage
def report(job: JobConfig) -> str:
    """Everything above -> `report.html`."""
    if not job.has_records:
        manifest = os.path.join(job.records_dir, "manifest.json")
        raise ValueError(
            "A report should be of a job whose records are there (preprocess). Received: no "
            f"{manifest}"
        )
    verified(job, full=False)
    return report_lib.write(job.model_dir, Schema.load(job.records_dir))


@_stage
def pipeline(job: JobConfig) -> list[dict[str, Any]]:
    """All stages in their order; returns what stands in `summary.json`."""
    retrain(job)
    summary = evaluate(job)
    export(job)
    report(job)
    return summary


# What the stages are made of ----------------------------------------------------------------------


class _Chain(NamedTuple):
    """The methods of a job, all but the last having searched.

    Args:
      method: the last one.
      space: what it searches.
      before: the searches before it.
      seconds: what those took.
      notices: what they had to say, each with the method that says it.
    """

    method: SearchMethod
    space: InputConfig
    before: tuple[Searched, ...]
    seconds: float
    notices: tuple[str, ...]

    def whole(self, result: SearchResult) -> SearchResult:
        """The last method's result with what the searches before it took and had to say."""
        return dataclasses.replace(
            result, seconds=self.seconds + result.seconds, notices=(*self.notices, *result.notices)
        )


def _chain(job: JobConfig, trainer: Trainer) -> _Chain:
    methods = [METHODS.build(spec) for spec in parse_specs(job.method)]
    space, before, seconds, notices = InputConfig.uniform(trainer.schema, job.width), [], 0.0, []
    for method in methods[:-1]:
        before.append(Searched(method.spec(), search_folder_of(method, space)))
        result = guarded(job, functools.partial(search_with, trainer, method, space))[0]
        space, seconds = result.config, seconds + result.seconds
        space.check(trainer.schema)
        named = f"{method.spec()}: "
        notices += [
            notice if notice.startswith(named) else named + notice for notice in result.notices
        ]
    return _Chain(methods[-1], space, tuple(before), seconds, tuple(notices))


def _candidates(
    job: JobConfig, trainer: Trainer, chain: _Chain, result: SearchResult
) -> list[Candidate]:
    """What is trained: the found config, the controls at its size, and the curve.

    A control that the model has no place for, or that keeps nothing as small as it should, is left
    out. A notice of the found config says so, and where the controls cannot be of its size because
    the whole space is smaller."""
    noticed: list[str] = []

    def notice(text: str) -> None:
        if text not in noticed:
            noticed.append(text)
            _notices.warning("%s", text)

    schema, method, space, before = trainer.schema, chain.method, chain.space, chain.before
    folder = search_folder_of(method, space)
    name = " + ".join(map(short_name, (*(earlier.method for earlier in before), method.spec())))
    found = Candidate(Role.FOUND, name, result, folder, before)
    chosen = [found]
    sizes = {"": found.num_params(schema)}
    for label, derived, _ in sweep_with(trainer, method, space) if job.curve else ():
        searched = search_folder_of(
            METHODS.build(derived.method), space
        )  # a point may have a search of its own
        chosen.append(
            Candidate(Role.CURVE, f"{name} {label}", chain.whole(derived), searched, before)
        )
        sizes[f" at {label}"] = chosen[-1].num_params(schema)
    full, drawn = InputConfig.uniform(schema, job.width), {folder}
    for control in (METHODS.build(spec) for spec in job.controls):
        if control.spec() == method.spec() and not before:
            continue
        if control.needs - trainer.base.sites:
            notice(
                f"control {control.spec()} left out: {job.model} has no "
                f"{', '.join(sorted(control.needs - trainer.base.sites))}"
            )
            continue
        name, folder, supernet = short_name(control.spec()), search_folder_of(control, full), None
        for label, size in sizes.items() if control.control_at_budget else [("", None)]:
            if size is not None and size > full.num_params(schema):
                whole = f"the whole space has {full.num_params(schema):,}"
                notice(
                    f"controls{label} are smaller than the {size:,} parameters they should have: "
                    f"{whole}"
                )
            try:
                derived, supernet = search_with(
                    trainer, control, full, size, supernet, redraw=folder not in drawn
                )
            except BudgetError as error:
                notice(f"control {control.spec()}{label} left out: {error}")
            else:
                drawn.add(folder)
                chosen.append(
                    Candidate(Role.CURVE if label else Role.CONTROL, name + label, derived, folder)
                )
        own_curve = (
            job.curve and not control.control_at_budget
        )  # else the found curve's sizes are its points
        for label, derived, _ in sweep_with(trainer, control, full, supernet) if own_curve else ():
            chosen.append(
                Candidate(
                    Role.CURVE,
                    f"{name} {label}",
                    derived,
                    search_folder_of(METHODS.build(derived.method), full),
                )
            )
    chosen[0] = dataclasses.replace(
        found, result=dataclasses.replace(result, notices=(*result.notices, *noticed))
    )
    return unique_names(chosen)


def _summary(point: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in point.items() if key not in ("role", "folder", "field_dims")
    }


def _listed(candidate: Candidate) -> dict[str, Any]:
    """The candidate's entry in `candidates.json`; two of them may share the model's folder."""
    listed = {
        "role": candidate.role.value,
        "name": candidate.name,
        "key": candidate.key,
        "search_folder": candidate.search_folder,
    }
    before = {"folders_before": [earlier.folder for earlier in candidate.before]}
    own = {
        "method": candidate.method,
        "search_seconds": candidate.result.seconds,
        "notices": list(candidate.result.notices),
    }
    return listed | before | own


def _load_candidates(job: JobConfig) -> list[Candidate]:
    check_trained(job)
    found = []
    path = job.path("candidates.json")
    if not os.path.exists(path):
        raise ValueError(
            f"Models should be trained before this stage (retrain). Received: no {path}"
        )
    values, _ = read_json(path)
    with understanding(path):
        for value in values:
            *before, method = parse_specs(value["method"])
            stored = _stored_result(job.path("models", value["key"], "result.json"))
            result = dataclasses.replace(
                stored,
                method=method,
                seconds=value["search_seconds"],
                notices=tuple(value.get("notices", stored.notices)),
            )
            earlier = tuple(map(Searched, before, value.get("folders_before", [""] * len(before))))
            found.append(
                Candidate(
                    Role(value["role"]), value["name"], result, value["search_folder"], earlier
                )
            )
            if found[-1].key != value["key"]:
                raise ValueError(
                    f"`key` should be that of its result, {found[-1].key}. Received: {value['key']}"
                )
    return found


def _stored_result(path: str) -> SearchResult:
    if not os.path.exists(path):
        raise ValueError(
            "A trained model should have its `result.json` (run retrain again). Received: no "
            f"{path}"
        )
    return SearchResult.load(path)
