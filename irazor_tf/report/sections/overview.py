"""The top of the report: a line about the data, the found config compared with controls and
baselines, and what has not been run yet. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irazor_tf.report.formats import metric_name, number, share
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import cards, paragraph
from irazor_tf.report.sections import baselines, models, searches


def lead(job: JobRecord) -> str:
    """A line about the data, the base model, the budget and the seeds."""
    rows = [f"{split['rows']:,} rows for {name}" for name, split in job.splits.items()]
    model = job.settings.get("retrain_model") or job.settings.get("model")
    seeds = sorted({str(point["seed"]) for point in job.points if "seed" in point})
    budget = job.chosen.get("budget")
    parts = [
        f"{len(job.schema.fields):,} fields with {job.schema.num_features:,} ids",
        ", ".join(rows),
        f"base model {model}" if model else "",
        f"searched with a budget of {budget:,} embedding parameters" if budget else "",
        *(f"seed {seed}" for seed in seeds),
    ]
    return "; ".join(part for part in parts if part) + "."


def headline(job: JobRecord) -> str:
    """HTML of the first section: the found config compared with controls and baselines, with the
    notices of the searches; before anything is evaluated, the stages that have not run."""
    if not job.points:
        missing = "Nothing has been trained and evaluated yet (stages retrain and evaluate)."
        if job.result is None:
            missing = f"No config has been found yet (stage search). {missing}"
        return paragraph(missing, "none") + searches.notices(job)
    return (
        _cards(job)
        + paragraph(_verdict(job))
        + searches.notices(job)
        + models.compared_models(job)
        + paragraph(_note(job), "note")
    )


def _cards(job: JobRecord) -> str:
    """HTML of boxes with the found config's quality and size."""
    point, full, decides = job.points[0], job.full_params, _deciding(job)
    of_full = f": {share(point['params'], full)} of {full:,} at full width" if full else ""
    return cards(
        [
            (number(point.get(decides)), f"{metric_name(decides)}, test split"),
            (f"{point['fields']:,} of {len(job.schema.fields):,}", "fields kept"),
            (f"{point['dims']:,}", "embedding dimensions"),
            (f"{point['params']:,}", f"embedding parameters{of_full}"),
        ]
    )


def _verdict(job: JobRecord) -> str:
    """A text that says by how much the found config is better than every model beside it."""
    point, decides = job.points[0], _deciding(job)
    others = [
        other
        for other in [*job.compared[1:], *job.baselines]
        if decides in other and decides in point
    ]
    if not others:
        return "No control was trained beside it."
    gains = [
        f"{point[decides] - other[decides]:+.4f} against {other['name']}{_size(other)}"
        for other in others
    ]
    return f"Test {metric_name(decides)} of {point['name']}: {', '.join(gains)}."


def _size(point: Mapping[str, Any]) -> str:
    return f" ({point['params']:,} parameters)" if "params" in point else ""


def _deciding(job: JobRecord) -> str:
    """Name of the metric by which trainings keep their best epoch."""
    return (job.metrics or [""])[0]


def _note(job: JobRecord) -> str:
    """The note below the table: what its numbers are, what the baselines are, and whether the model
    is exported."""
    sentences = [
        baselines.described(job),
        'Metrics without "valid" are those of the test split. Params are embedding values, '
        "first-order terms not counted",
        f"; full: every field {job.settings['width']} wide. " if job.full_params else ". ",
    ]
    if len({point.get("seed") for point in job.points}) == 1:
        sentences.append(
            "One seed: a difference no larger than the spread between seeds says nothing. "
        )
    ceilings = [
        f"{metric_name(key)} {job.truth[f'ceiling_{key}']:.4f}"
        for key in job.metrics
        if f"ceiling_{key}" in job.truth
    ]
    if ceilings:
        sentences.append(
            "Ceiling of this generated log (its true probabilities, all rows): "
            f"{', '.join(ceilings)}. "
        )
    if job.exported:
        sentences.append(f"Exported for serving: export/{job.exported['version']}.")
    else:
        sentences.append("Not exported yet (stage export).")
    return "".join(sentences)
