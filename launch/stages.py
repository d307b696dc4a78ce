"""The stages of a job as commands: what each does, and what is printed after it.

`irazor NAME` and `python -m launch.NAME` (for which there is a module of two lines each) run a
stage of this table. The work is the function of that name in `irazor_tf.jobs.stages`."""

from __future__ import annotations

import dataclasses
import glob
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irazor_tf.jobs.config import JobConfig
    from irazor_tf.jobs.job import Job

_SCORED = 3  # rows of the log that a pipeline shows with their scores


def run(name: str) -> None:
    """Runs the stage called `name` with the flags of the command line."""
    from launch.command.run import run as run_with_flags

    what = STAGES[name].what
    run_with_flags(lambda job: perform(name, job), what=f"{what[0].upper()}{what[1:]}.")


def perform(name: str, job: JobConfig) -> None:
    """Runs the stage called `name` and prints what the table has for it."""
    from irazor_tf.jobs import stages

    start = time.perf_counter()
    work = stages.opened(job)  # so that what the settings name is built once for all that follows
    outcome = getattr(stages, name)(work)
    STAGES[name].show(work, outcome, start)


def _show_nothing(job: Job, outcome: Any, start: float) -> None:
    """For a stage whose outcome lies in files."""


def _show_recipes(job: Job, records: list[Mapping[str, Any]], start: float) -> None:
    """Prints what each recipe of a tuning came to."""
    from irazor_tf.report import tables

    metrics = list(records[0]["metrics"])
    header = (
        "recipe",
        *(f"valid {metric.replace('_', ' ')}" for metric in metrics),
        "epochs",
        "trained",
        "seconds",
    )
    rows = [_recipe_row(record, metrics) for record in records]
    print(f"\n{tables.text_table(header, rows)}\n")
    path = os.path.abspath(job.paths.tune.flags)
    print(f"The first as flags, for the other jobs, behind their other flags: --flagfile={path}")


def _recipe_row(record: Mapping[str, Any], metrics: list[str]) -> tuple[str, ...]:
    """The cells of one recipe."""
    changes = ", ".join(f"{key} {value}" for key, value in record["changes"].items())
    figures = [
        f"{record['metrics'][metric]:.4f}" if record["metrics"] else "-" for metric in metrics
    ]
    ended = "diverged" if record["diverged"] else "to its end" if record["finished"] else "left out"
    return (
        changes or "the rule's recipe",
        *figures,
        str(record["epochs"]),
        ended,
        f"{record['seconds']:.1f}",
    )


def _show_summary(job: Job, summary: list[dict[str, Any]], start: float) -> None:
    """Prints the table of all models, the log's first rows with their scores, and where the report
    lies."""
    from irazor_tf.report import tables

    print(f"\n{tables.summary_table(summary)}\n")
    _show_first_rows(job)
    report = os.path.abspath(job.paths.report)
    print(f"report: {report}    {time.perf_counter() - start:.0f} s")


def _show_first_rows(job: Job) -> None:
    """Prints the log's first rows with their scores by the exported model, unless the log cannot be
    read again: a finished job's log may be gone, and a pipe is read once."""
    from irazor_tf.jobs import stages
    from irazor_tf.report import tables
    from irazor_tf.serving import scorer

    config = job.config
    if config.data is None:
        return
    log = [path for pattern in config.data.input for path in glob.glob(pattern) or [pattern]]
    if not all(map(os.path.isfile, log)):
        return
    export, schema = stages.export(job), stages.preprocess(job)
    inputs, scores = scorer.score_log(
        export, config.data, config.records_dir, schema, _SCORED, job.reader
    )
    rows = [
        (str(i + 1), *(str(values[i]) for values in inputs.values()), f"{score:.4f}")
        for i, score in enumerate(scores)
    ]
    table = tables.text_table(("raw row", *inputs, "score"), rows)
    print(f"The log's first rows through {export}:\n{table}\n")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage as a command.

    Args:
      what: What the stage does, for help texts; begins in lower case and ends without a stop.
      show: Prints what came of it. Takes the job, what the stage's function returned, and the
        moment at which it started, by `time.perf_counter`.
    """

    what: str
    show: Callable[[Any, Any, float], None] = _show_nothing


STAGES: Mapping[str, Stage] = {
    "preprocess": Stage("log -> block records, vocabularies, manifest"),
    "tune": Stage(
        "records -> the best of a dozen training recipes by the validation split, as a flagfile "
        "(optional)",
        _show_recipes,
    ),
    "search": Stage("records -> the found config: which fields stay and how wide"),
    "retrain": Stage("found config and controls -> trained models"),
    "evaluate": Stage(
        "trained models, baselines -> summary.json and curve.json (reads the test split)"
    ),
    "export": Stage("found model -> SavedModel that takes raw values"),
    "report": Stage("everything -> report.html"),
    "pipeline": Stage("all of them but tune, in this order", _show_summary),
}
