"""Records -> the best of a dozen recipes by the validation split,
as a flagfile for the other jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from launch import flags


def main() -> None:
    """Runs the stage with the flags of the command line and prints what each recipe came to."""
    flags.run(_stage)


def _stage(job: Any) -> None:
    from irazor_tf.jobs import stages as jobs
    from irazor_tf.report import tables

    records = jobs.tune(job)
    metrics = list(records[0]["metrics"])
    header = (
        "recipe",
        *(f"valid {metric.replace('_', ' ')}" for metric in metrics),
        "epochs",
        "trained",
        "seconds",
    )
    print(f"\n{tables.text_table(header, [_row(record, metrics) for record in records])}\n")
    path = os.path.abspath(job.path("tune", "recipe.flags"))
    print(f"The first as flags, for the other jobs, behind their other flags: --flagfile={path}")


def _row(record: Mapping[str, Any], metrics: list[str]) -> tuple[str, ...]:
    changes = (
        ", ".join(f"{key} {value}" for key, value in record["changes"].items())
        or "the rule's recipe"
    )
    figures = [
        f"{record['metrics'][metric]:.4f}" if record["metrics"] else "-" for metric in metrics
    ]
    ended = "diverged" if record["diverged"] else "to its end" if record["finished"] else "left out"
    return changes, *figures, str(record["epochs"]), ended, f"{record['seconds']:.1f}"


if __name__ == "__main__":
    main()
