"""All stages: from a raw log to a served, pruned model with its proof."""

from __future__ import annotations

import os
import time

from launch import flags


def main() -> None:
    """Runs the stages with the flags of the command line and prints one table."""
    flags.run(_stage)


def _stage(job: object) -> None:
    from irazor_tf import jobs, tables

    start = time.perf_counter()
    summary = jobs.pipeline(job)  # type: ignore[arg-type]
    print(tables.summary_table(summary))
    print(f"report: {os.path.abspath(job.path('report.html'))}    {time.perf_counter() - start:.0f} s")  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
