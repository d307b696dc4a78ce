"""The report's section on quality against size. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from irazor_tf.config.layout import Role
from irazor_tf.report.figures.curves import Series, quality_curve
from irazor_tf.report.formats import metric_name
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import figure, paragraph
from irazor_tf.report.sections import baselines

Point = Mapping[str, Any]


def quality(job: JobRecord) -> str:
    """HTML of the section: a figure of the validation metric against the number of embedding
    parameters; "" where there is no such metric."""
    decides = job.metrics[0] if job.metrics else ""
    key = f"valid_{decides}"
    drawn = [
        point for point in job.points if point.get(key) is not None and point.get("params", 0) > 0
    ]
    if not drawn:
        return ""
    caption = (
        f"Validation {metric_name(decides)} against embedding parameters; a line joins the "
        "settings of one search."
    )
    series = _series(job, drawn, key)
    text = figure(quality_curve(series, metric_name(decides)), "curve", caption)
    if all(point["role"] != Role.CURVE.value for point in job.points):
        text += paragraph(
            "Only the found config and the controls were trained; with --curve other settings are, "
            "too.",
            "none",
        )
    text += baselines.beside_the_curve(job, decides)
    if left_out := len(job.points) - len(drawn):
        text += paragraph(
            f"Not drawn: {left_out} without embedding parameters or without the metric.", "note"
        )
    return text


def _series(job: JobRecord, drawn: Sequence[Point], key: str) -> list[Series]:
    """The lines of the figure: one per method. Where several searches have a method of the same
    name, each has a line, named after its first point.

    Args:
      job: the job.
      drawn: records of the models to draw.
      key: name of the metric in the records.
    """
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in drawn:
        folder = job.candidates.get(point["name"], {}).get("search_folder", "")
        groups.setdefault((job.series_name(point), folder), []).append(point)
    names, series = [name for name, _ in groups], []
    for place, ((name, _), points) in enumerate(groups.items()):
        first = points[0]["name"]
        notes = _notes(points, name, key)
        leading = [point for point in points if point["role"] == Role.FOUND.value]
        series.append(
            Series(
                label=name if names.count(name) == 1 else first,
                params=[params for params, _ in notes],
                values=[value for _, value in notes],
                notes=list(notes.values()),
                style=job.style(name if names.index(name) == place else first),
                main=(leading[0]["params"], leading[0][key]) if leading else None,
            )
        )
    return series


def _notes(points: Sequence[Point], method: str, key: str) -> dict[tuple[float, float], str]:
    """The words at the points of a line: the setting in which a point differs from the method as
    given.

    Args:
      points: records of the models of a line.
      method: the method's name.
      key: name of the metric in the records.

    Returns:
      (Embedding parameters, metric) -> what the point's name says beyond that of its method, in the
      order of size. Equal configs are one model, hence one entry.
    """
    main = {point["name"] for point in points if point["role"] != Role.CURVE.value}
    stems = sorted(main | {method}, key=len, reverse=True)
    notes: dict[tuple[float, float], str] = {}
    for point in sorted(points, key=lambda point: point["params"]):
        name = point["name"]
        stem = next((stem for stem in stems if name.startswith(f"{stem} ")), name)
        note = name.removeprefix(stem).strip()
        at = (point["params"], point[key])
        notes[at] = notes.get(at) or ("" if note.startswith(("at ", "(")) else note)
    return notes
