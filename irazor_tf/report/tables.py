"""Tables as text: for a terminal and for a Markdown file. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_TITLES = {"auc": "AUC"}


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns, the first to the left and the others to the right.

    Args:
      header: names of the columns.
      rows: texts of the cells.
    """
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    Args:
      header: names of the columns.
      rows: texts of the cells.
    """
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))


def summary_table(summary: Sequence[Mapping[str, Any]]) -> str:
    """A table for a terminal of the found config, its controls and the baselines, a line each, and
    a sentence for every baseline that has not learned from all rows.

    Log loss and calibration error are as trained; where predictions are served calibrated, both
    stand beside them as they are served.

    Args:
      summary: the records of a job's summary.
    """
    calibrated = any(record.get("calibrate") for record in summary)
    metrics = _metrics(summary[0])
    titles = [_TITLES.get(metric, metric.replace("_", " ")) for metric in metrics]
    header = ["model", *(f"valid {title}" for title in titles), *titles, "calibration error"]
    header += ["calibrated log loss", "calibrated error"] if calibrated else []
    header += ["Fields", "Dims", "Params", "export MiB", "seconds"]
    rows, notes = [], []
    for record in summary:
        figures = [record[f"valid_{metric}"] for metric in metrics]
        figures += [record[metric] for metric in metrics]
        figures.append(_error(record, "calibration"))
        if calibrated:
            figures += [record.get("calibrated_log_loss"), _error(record, "calibrated")]
        sizes = [
            f"{record[key]:,}" if key in record else "-" for key in ("fields", "dims", "params")
        ]
        exported = f"{record['export_mib']:.2f}" if "export_mib" in record else "-"
        seconds = sum(record.get(f"{stage}_seconds", 0.0) for stage in ("search", "train", "test"))
        shown = ["-" if figure is None else f"{figure:.4f}" for figure in figures]
        rows.append([record["name"], *shown, *sizes, exported, f"{seconds:.1f}"])
        if record.get("rows", 0) < record.get("train_rows", 0):
            notes.append(
                f"{record['name']} has learned from {record['rows']:,} of {record['train_rows']:,} "
                "training rows."
            )
    return "\n".join([text_table(header, rows), *notes])


def _metrics(record: Mapping[str, Any]) -> list[str]:
    """Names of the metrics of the job's task, that is those that the record has for both splits;
    figures of corrected predictions beside them are no metrics of their own.

    Args:
      record: A record of the summary.
    """
    return [
        key
        for key in record
        if isinstance(record.get(f"valid_{key}"), float) and not key.startswith("calibrated_")
    ]


def _error(record: Mapping[str, Any], key: str) -> float | None:
    """The expected calibration error in a record; None where the task has no calibration.

    Args:
      record: A record of the summary.
      key: "calibration" as trained, "calibrated" after the correction.
    """
    return record.get(key, {}).get("calibration_error")
