"""What the report says of the baselines: the first line where one is better than the found model,
what they are, and their metric beside the curve. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irazor_tf.evaluation.baselines import learned_from, outdone
from irazor_tf.report.job_folder import JobFolder
from irazor_tf.report.page import number, paragraph


def first_line(job: JobFolder) -> str:
    """What stands before everything else where a baseline is better than the found model; nothing
    otherwise."""
    told = [
        sentence
        for record in job.baselines
        if job.points and (sentence := outdone(job.points[0], record))
    ]
    return (
        paragraph(" ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in told), "notice")
        if told
        else ""
    )


def described(job: JobFolder) -> str:
    """What the baselines are, and what the validation rows chose for them; nothing where there are
    none."""
    each = [f"{record['name']} {chosen(record)}{learned_from(record)}" for record in job.baselines]
    what = (
        "Baselines have no embeddings; they learn from the same training rows and are chosen by "
        "the same validation rows"
    )
    return f"{what}: {'; '.join(each)}. " if each else ""


def chosen(record: Mapping[str, Any]) -> str:
    """The settings that the validation rows chose."""
    return ", ".join(f"{key} {value:g}" for key, value in record.get("settings", {}).items())


def beside_the_curve(job: JobFolder, metric: str) -> str:
    """The baselines' validation metric, for below a figure over embedding parameters, which they do
    not have."""
    named = [
        f"{record['name']} {number(record[f'valid_{metric}'])}"
        for record in job.baselines
        if f"valid_{metric}" in record
    ]
    return (
        paragraph(f"Baselines, which have no embedding parameters: {', '.join(named)}.", "note")
        if named
        else ""
    )
