"""Text tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned, the first to the left and the others to the right."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))


def summary_table(summary: Sequence[Mapping[str, Any]]) -> str:
    """The found config and its controls, one line each; log loss and calibration error are as trained; where predictions are served
    calibrated, both stand beside them as they are served."""
    calibrated = any(record.get("calibrate") for record in summary)
    quality = ("AUC", "log loss", "calibration error", *(("calibrated log loss", "calibrated error") if calibrated else ()))
    header = ("model", *quality, "Fields", "Dims", "Params", "export MiB", "seconds")
    rows = []
    for record in summary:
        seconds = record["search_seconds"] + record["train_seconds"] + record["test_seconds"]
        sizes = (f"{record['fields']}", f"{record['dims']}", f"{record['params']:,}", f"{record['export_mib']:.2f}", f"{seconds:.1f}")
        figures = [record["auc"], record["log_loss"], _error(record, "calibration")]
        figures += [record.get("calibrated_log_loss"), _error(record, "calibrated")] if calibrated else []
        rows.append((record["name"], *("-" if figure is None else f"{figure:.4f}" for figure in figures), *sizes))
    return text_table(header, rows)


def _error(record: Mapping[str, Any], key: str) -> float | None:
    """The expected calibration error; None where the task has none."""
    return record.get(key, {}).get("calibration_error")
