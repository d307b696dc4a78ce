"""All stages: from a raw log to a served, pruned model with its proof."""

from __future__ import annotations

import glob
import os
import time
from typing import Any

from launch import flags

_SCORED = 3


def main() -> None:
    """Runs the stages with the flags of the command line and prints one table."""
    flags.run(_stage)


def _stage(job: Any) -> None:
    from irazor_tf.jobs import stages as jobs
    from irazor_tf.report import tables
    from irazor_tf.serving import scorer as serving

    start = time.perf_counter()
    summary = jobs.pipeline(job)
    print(f"\n{tables.summary_table(summary)}\n")
    log = (
        [path for pattern in job.data.input for path in glob.glob(pattern) or [pattern]]
        if job.data is not None
        else []
    )
    if job.data is not None and all(
        map(os.path.isfile, log)
    ):  # a finished job's log may be gone, and a pipe is read once
        path, schema = jobs.export(job), jobs.preprocess(job)
        inputs, scores = serving.score_log(path, job.data, job.records_dir, schema, _SCORED)
        header = ("raw row", *inputs, "score")
        rows = [
            (str(i + 1), *(str(values[i]) for values in inputs.values()), f"{score:.4f}")
            for i, score in enumerate(scores)
        ]
        print(f"The log's first rows through {path}:\n{tables.text_table(header, rows)}\n")
    print(
        f"report: {os.path.abspath(job.path('report.html'))}    {time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
