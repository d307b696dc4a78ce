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
    """The found config and its controls, one line each."""
    header = ("model", "AUC", "log loss", "Fields", "Dims", "Params", "export MiB", "seconds")
    rows = []
    for record in summary:
        seconds = record["search_seconds"] + record["train_seconds"] + record["test_seconds"]
        sizes = (f"{record['fields']}", f"{record['dims']}", f"{record['params']:,}", f"{record['export_mib']:.2f}", f"{seconds:.1f}")
        rows.append((record["name"], f"{record['auc']:.4f}", f"{record['log_loss']:.4f}", *sizes))
    return text_table(header, rows)
