"""What the report says of the baselines: the first line where one is better than the found model,
what they are, and their metric beside the curve. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irazor_tf.evaluation.baselines import learned_from, outdone
from irazor_tf.report.formats import number
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import paragraph


def first_line(job: JobRecord) -> str:
    """The notice before everything else that a baseline is better than the found model; empty where
    none is."""
    sentences = [
        sentence
        for record in job.baselines
        if job.points and (sentence := outdone(job.points[0], record))
    ]
    if not sentences:
        return ""
    return paragraph(
        " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences), "notice"
    )


def described(job: JobRecord) -> str:
    """What the baselines are, and what the validation rows chose for them; empty where there are
    none."""
    each = [f"{record['name']} {chosen(record)}{learned_from(record)}" for record in job.baselines]
    what = (
        "Baselines have no embeddings; they learn from the same training rows and are chosen by "
        "the same validation rows"
    )
    return f"{what}: {'; '.join(each)}. " if each else ""


def chosen(record: Mapping[str, Any]) -> str:
    """The settings that the validation rows chose for a baseline."""
    return ", ".join(f"{key} {value:g}" for key, value in record.get("settings", {}).items())


def beside_the_curve(job: JobRecord, metric: str) -> str:
    """The baselines' validation metric, for below a figure over embedding parameters, which they do
    not have."""
    values = [
        f"{record['name']} {number(record[f'valid_{metric}'])}"
        for record in job.baselines
        if f"valid_{metric}" in record
    ]
    if not values:
        return ""
    return paragraph(f"Baselines, which have no embedding parameters: {', '.join(values)}.", "note")
