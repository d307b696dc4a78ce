"""The stages, each a function from artifacts on disk to artifacts on disk.

They are preprocess, tune, search, retrain, evaluate, export, report, and pipeline, which is all but
tune.

A stage first looks at what is there: finished work is picked up, interrupted work resumes, and work
done under other settings is refused with the difference. What can be chosen after a search
(threshold, budget, controls, curve) may change between calls.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

from tqdm import tqdm

from data_pipelines import preprocess as pipelines
from data_pipelines.inputs import named_inputs
from irazor_tf.config import integrity
from irazor_tf.config.files import write_json
from irazor_tf.config.integrity import warn_once
from irazor_tf.config.layout import Role
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.evaluation.baselines import better_on, outdone
from irazor_tf.evaluation.calibration import without_bins
from irazor_tf.jobs.baselines import are_fitted, evaluate_baselines
from irazor_tf.jobs.candidates import Candidate, load_candidates, save_candidates
from irazor_tf.jobs.claim import check_trained, claim, mark_trained, naming_plugins
from irazor_tf.jobs.comparison import Comparison, chain_of
from irazor_tf.jobs.config import JobConfig
from irazor_tf.jobs.data import check_splits, guarded, verified
from irazor_tf.jobs.exporting import export_found, export_size
from irazor_tf.jobs.figures import (
    evaluate_candidate,
    is_corrected,
    is_evaluated,
    is_trained,
    train_candidate,
)
from irazor_tf.jobs.job import Job
from irazor_tf.jobs.lock import held
from irazor_tf.jobs.tuning import tune_recipes
from irazor_tf.report import report as report_lib
from irazor_tf.search.run import run_search
from irazor_tf.serving import export as export_lib
from irazor_tf.training import pricing

T = TypeVar("T")

_logger = logging.getLogger("irazor_tf")
_TO_TRY = (
    "To try: another learning rate, more `embedding_l2`, a higher `min_count`, a smaller tower, "
    "`metric` log_loss"
)


def opened(config: JobConfig | Job) -> Job:
    """The job of these settings, with everything built that they name; a job that is open stays.

    Raises:
      ValueError: a name or a setting does not exist; the message also names the plug-ins that the
        job was begun with and that are not loaded.
    """
    if isinstance(config, Job):
        return config
    with naming_plugins(config):
        return Job(config)


def _stage(work: Callable[[Job], T]) -> Callable[[JobConfig | Job], T]:
    """A decorator of stages: while a stage runs, no other process works in the job's folder, and
    the files that it reads there are compared with their checksums. A stage may be called with the
    job of another stage, so that nothing is built twice."""

    @functools.wraps(work)
    def stage(config: JobConfig | Job) -> T:
        job = opened(config)
        folder, paths = job.config.model_dir, job.paths
        with held(paths.lock, folder):
            if os.path.exists(paths.settings) and not os.path.exists(paths.at(integrity.LEDGER)):
                warn_once("%s has no checksums of its files: they are taken as they are", folder)
            with integrity.guarding(folder):
                return work(job)

    return stage


@_stage
def preprocess(job: Job) -> Schema:
    """Makes the records from the log; where undamaged records exist, returns their schema at
    once."""
    config = job.config
    if config.data is not None and not config.has_records:
        if config.data.input:  # some formats know their fields from a file
            job.reader.inspect(named_inputs(config.data))
        export_lib.check_served_names(field.name for field in job.reader.fields())
    claim(job)
    if not config.has_records:
        if config.data is None:
            raise ValueError(
                "Either a reader with its input, or a folder with records and their manifest, "
                f"should be given. Received: neither; no {config.records.manifest}"
            )
        folder = os.path.abspath(config.records_dir)
        with held(config.records.lock, folder):  # jobs may share a folder of records
            if not config.has_records:
                pipelines.preprocess(config.data, config.records_dir, progress=config.progress)
        claim(job)  # now the fingerprint is known
    verified(job, full=False)
    _ = job.options  # "auto" is resolved, and written down, as soon as the data are there
    return job.schema


@_stage
def tune(job: Job) -> list[dict[str, Any]]:
    """Tunes the training settings on the validation split, among a dozen recipes (see
    `tune_recipes`). Writes the best one as `tune/recipe.flags`; returns a record for each."""
    preprocess(job)
    check_splits(job, verified(job))
    return guarded(job, functools.partial(tune_recipes, job))


@_stage
def search(job: Job) -> SearchResult:
    """Searches in the records and writes the found config as `search/result.json`."""
    schema = preprocess(job)
    path = job.paths.result
    if not os.path.exists(path):
        check_splits(job, verified(job))
    export_lib.raw_signature(schema, schema.names)  # what could not be served is not trained
    if not os.path.exists(path):
        _check_memory(job)
    for method in (*job.methods, *job.controls):
        # What is out of range in the full space is so in every narrower one, and is said before
        # anything is searched.
        if method.traits.needs <= job.base.sites:
            method.check(job.trainer, job.space)
            method.step().check_rows(
                job.trainer.train, job.trainer.valid, job.trainer.options.batch_size
            )
    chain = chain_of(job)
    run = functools.partial(run_search, job.trainer, chain.method, chain.space, redraw=True)
    result = chain.whole(guarded(job, functools.partial(run, job.config.budget)).result)
    for config in result.clusters:
        config.check(schema)
    result.save(path)
    if job.config.progress:
        for config in result.clusters:
            dims = [dim for dim in config.stored_dims.values() if dim]
            print(
                f"found {len(dims)} of {len(schema.fields)} fields, {sum(dims)} dims, "
                f"{config.num_params(schema):,} parameters"
            )
    return result


@_stage
def retrain(job: Job) -> list[Candidate]:
    """Trains the found config, the controls at its size and the curve's points, each in a folder
    under `models`, and writes their validation metrics."""
    result = search(job)
    comparison = Comparison(job, chain_of(job), result)
    candidates = guarded(job, comparison.candidates)
    save_candidates(job.paths, candidates)
    mark_trained(job.config)
    if not all(
        is_trained(job, candidate) and is_corrected(job, candidate) for candidate in candidates
    ):
        verified(job)
    for number, candidate in enumerate(candidates):
        if job.config.progress:
            params = candidate.num_params(job.schema)
            place = f"[{number + 1}/{len(candidates)}]"
            print(f"{place} {candidate.name}: {params:,} parameters", flush=True)
        guarded(job, functools.partial(train_candidate, job, candidate))
    return candidates


@_stage
def evaluate(job: Job) -> list[dict[str, Any]]:
    """Evaluates the trained models and the baselines on the test split, once. Writes `summary.json`
    (found config, controls, baselines) and `curve.json` (every point), and returns the summary."""
    preprocess(job)
    candidates = _trained_candidates(job)
    fitted = are_fitted(job)
    if not (fitted and all(is_evaluated(job, candidate) for candidate in candidates)):
        verified(job)
    points, summary = [], []
    progress = tqdm(candidates, "evaluate", unit="model", disable=not job.config.progress)
    for candidate in progress:
        point = guarded(job, functools.partial(evaluate_candidate, job, candidate))
        if candidate.role is Role.FOUND and job.config.budget is not None:
            point["budget"] = job.config.budget  # which the method's spec does not tell
        # Bins are drawn of the found config alone, and would be more than half of the file; they
        # stand in summary and test.json.
        points.append({key: without_bins(value) for key, value in point.items()})
        if candidate.role is not Role.CURVE:
            summary.append(_summary(point) | {"export_mib": export_size(job, candidate)})
    main = points[0]
    directions = job.task.directions
    baselines = [
        record | {"better_on": better_on(main, record, directions)}
        for record in guarded(job, functools.partial(evaluate_baselines, job))
    ]
    warnings = [f"{notice}. {_TO_TRY}" for record in baselines if (notice := outdone(main, record))]
    for warning in () if fitted else warnings:
        _logger.warning("%s", warning)
    main["notices"] = summary[0]["notices"] = [*main["notices"], *warnings]
    write_json(job.paths.summary, summary + baselines)
    write_json(job.paths.curve, points + baselines)
    return summary + baselines


@_stage
def export(job: Job) -> str:
    """Exports the found model as `export/<version>/` and returns that folder. Where a version with
    the same model and the same correction exists, it is returned at once."""
    preprocess(job)
    return export_found(job, _trained_candidates(job)[0])


@_stage
def report(job: Job) -> str:
    """Writes `report.html` from everything that the other stages left, and returns its path."""
    config = job.config
    if not config.has_records:
        raise ValueError(
            "A report should be of a job whose records are there (preprocess). Received: no "
            f"{config.records.manifest}"
        )
    verified(job, full=False)
    return report_lib.write(config.model_dir, job.schema)


@_stage
def pipeline(job: Job) -> list[dict[str, Any]]:
    """Runs all stages but tune, in their order; returns the content of `summary.json`."""
    retrain(job)
    summary = evaluate(job)
    export(job)
    report(job)
    return summary


def _check_memory(job: Job) -> None:
    """Raises ValueError where training a full-width model would not fit in memory, with any of the
    optimizers that the job's trainings use."""
    optimizers = [
        job.options.optimizers() | dict(method.traits.recipe)
        for method in (*job.methods, *job.controls)
    ]
    recipes = {tuple(sorted(recipe.items())) for recipe in optimizers}
    bases = dict.fromkeys((job.base, job.final_base))
    for base, recipe in itertools.product(bases, recipes):
        pricing.check_memory(job.schema, job.space, base, job.task, dict(recipe))


def _summary(point: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in point.items() if key not in ("role", "folder", "field_dims")
    }


def _trained_candidates(job: Job) -> list[Candidate]:
    """The candidates, once it is checked that their models were trained for the job's present
    choices."""
    check_trained(job.config)
    return load_candidates(job.paths)
