"""The report's section on the learning curves. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Sequence

from irazor_tf.report.figures.curves import Run, learning_curves, recorded
from irazor_tf.report.figures.style import COLOURS
from irazor_tf.report.formats import metric_name, number
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import data_table, figure, paragraph
from irazor_tf.report.search_record import History


def learning(job: JobRecord) -> str:
    """HTML of the section: the learning curves of the searches and of the final trainings."""
    searched = [(search.name, search.histories()) for search in job.searches()]
    trained = [(point["name"], job.model_histories(point)) for point in job.compared]
    text = []
    for key, title, named in (("search", "Search", searched), ("retrain", "Retraining", trained)):
        runs = [run for name, histories in named for run in _runs(job, name, histories)]
        if runs:
            text += [paragraph(title, "title"), *_curves(runs, key, title, job.metrics)]
    return "\n".join(text)


def _runs(job: JobRecord, name: str, histories: Sequence[History]) -> list[Run]:
    """The trainings of one search or model, to be drawn as lines of one colour with different
    dashes.

    Args:
      job: The job.
      name: Name of the search or model.
      histories: Its trainings.
    """
    style = job.style(name)
    return [
        Run(
            name if len(histories) == 1 else f"{name}, {history.name}",
            history.records,
            history.best,
            style + place * len(COLOURS),
        )
        for place, history in enumerate(histories)
    ]


def _curves(runs: Sequence[Run], key: str, title: str, metrics: Sequence[str]) -> list[str]:
    """HTML of a figure of the quantities that were recorded in several epochs, and of a table of
    those that were recorded once.

    Args:
      runs: the trainings.
      key: the figure's id.
      title: heading for these trainings.
      metrics: names of the quantities that are validation metrics.
    """
    lengths = {
        quantity: max(sum(quantity in record for record in run.history) for run in runs)
        for quantity in recorded(runs)
    }
    text = []
    if curves := [quantity for quantity, length in lengths.items() if length > 1]:
        caption = (
            f"{title}: a point per epoch; a ring marks the epoch whose weights were kept "
            "(no ring: the last)."
        )
        text.append(figure(learning_curves(runs, curves, metrics), key, caption))
    if single := [quantity for quantity, length in lengths.items() if length == 1]:
        rows = [
            [run.label, *(number(run.history[0].get(quantity), 6) for quantity in single)]
            for run in runs
            if set(single) & set(run.history[0])
        ]
        text.append(
            paragraph("Recorded once, after a single epoch:", "note")
            + data_table(["Training", *map(metric_name, single)], rows)
        )
    return text
