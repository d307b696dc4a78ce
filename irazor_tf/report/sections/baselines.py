"""The report's texts about the baselines: the first line where one is better than the found model,
a description, and their metric below the figure of quality against size. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irazor_tf.evaluation.baselines import learned_from, outdone
from irazor_tf.report.formats import number
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import paragraph


def first_line(job: JobRecord) -> str:
    """HTML of the notice at the top of the page that a baseline is better than the found model; ""
    where none is."""
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
    """A sentence about the baselines and the settings that the validation rows chose for them; ""
    where there are no baselines."""
    each = [f"{record['name']} {chosen(record)}{learned_from(record)}" for record in job.baselines]
    what = (
        "Baselines have no embeddings; they learn from the same training rows and are chosen by "
        "the same validation rows"
    )
    return f"{what}: {'; '.join(each)}. " if each else ""


def chosen(record: Mapping[str, Any]) -> str:
    """The settings that the validation rows chose for a baseline, as text.

    Args:
      record: The baseline's record.
    """
    return ", ".join(f"{key} {value:g}" for key, value in record.get("settings", {}).items())


def beside_the_curve(job: JobRecord, metric: str) -> str:
    """HTML of a paragraph with the baselines' validation metric, to stand below the figure of
    quality against size: baselines have no embedding parameters and so no place in it. "" where
    there are no baselines."""
    values = [
        f"{record['name']} {number(record[f'valid_{metric}'])}"
        for record in job.baselines
        if f"valid_{metric}" in record
    ]
    if not values:
        return ""
    return paragraph(f"Baselines, which have no embedding parameters: {', '.join(values)}.", "note")
