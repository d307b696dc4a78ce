"""Tables of the trained models: one of those that are compared, and one of all. No TensorFlow
import."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from irazor_tf.config.layout import Role
from irazor_tf.report.formats import NONE, metric_name, number, share
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import data_table, paragraph
from irazor_tf.report.sections import baselines

_TIMED = ("search", "train", "test")  # what a model took seconds for


def compared_models(job: JobRecord) -> str:
    """HTML of a table with a row for the found config, every control and every baseline."""
    compared, metrics = [*job.compared, *job.baselines], _metrics(job)
    header = ["Name", *map(metric_name, metrics), "Fields", "Dims", "Params", "Share of full"]
    header += ["Export MiB", "Search s", "Train s", "Test s"]
    rows = []
    for point in compared:
        numbers = [number(point.get(key)) for key in (*metrics, "fields", "dims", "params")]
        of_full = share(point["params"], job.full_params) if "params" in point else NONE
        exported = number(point.get("export_mib"), 2)
        rows.append([point["name"], *numbers, of_full, exported, *_seconds(point)])
    return data_table(header, rows, classes=_row_classes(compared))


def every_model(job: JobRecord) -> str:
    """HTML of a table with a row for every point of the curve and every baseline; "" where nothing
    is trained."""
    if not job.points:
        return ""
    metrics = _metrics(job)
    header = ["Name", "Role", "Method", "Seed", *map(metric_name, metrics), "Fields", "Dims"]
    header += ["Params", "All weights", "Search s", "Train s", "Test s", "Model"]
    rows = []
    for point in job.points:
        name, role, method, seed = (
            str(point.get(key, NONE)) for key in ("name", "role", "method", "seed")
        )
        sizes = ("fields", "dims", "params", "total_params")
        numbers = [number(point.get(key)) for key in (*metrics, *sizes)]
        folder = os.path.basename(point.get("folder", NONE))
        method += _budget(point)
        rows.append([name, role, method, seed, *numbers, *_seconds(point), folder])
    for record in job.baselines:
        words = [record["name"], record["role"], baselines.chosen(record), str(record["seed"])]
        numbers = [number(record.get(key)) for key in metrics]
        rows.append([*words, *numbers, *[NONE] * 4, *_seconds(record), NONE])
    note = (
        "Model: its folder in models/. Rows with the same one are one model: settings that lead "
        "to the same config are trained once."
    )
    classes = _row_classes([*job.points, *job.baselines])
    return data_table(header, rows, left=3, classes=classes, wrap=34) + paragraph(note, "note")


def _budget(point: Mapping[str, Any]) -> str:
    """The words about the budget with which a config was searched, to follow its method's name; ""
    where there was none."""
    if "budget" not in point:
        return ""
    obeyed = point["params"] <= point["budget"]
    words = "the widest config of at most" if obeyed else "asked for at most"
    return f", {words} {point['budget']:,} parameters"


def _metrics(job: JobRecord) -> list[str]:
    """Names of the metrics on the test split, then of those on the validation split."""
    return [*job.metrics, *(f"valid_{key}" for key in job.metrics)]


def _row_classes(points: Sequence[Mapping[str, Any]]) -> list[str]:
    return ["found" if point["role"] == Role.FOUND.value else "plain" for point in points]


def _seconds(point: Mapping[str, Any]) -> list[str]:
    return [number(point.get(f"{stage}_seconds"), 1) for stage in _TIMED]
