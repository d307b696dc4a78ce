"""The report's section on the dimension of every field. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from irazor_tf.config.input_config import InputConfig
from irazor_tf.report.figures.field_rows import dimension_bars
from irazor_tf.report.formats import NONE, number, share, spans
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import data_table, figures, paragraph

_NAMED = 40  # fields that a sentence names


def dimensions(job: JobRecord) -> str:
    """HTML of the section: which fields are kept, and dimension, cardinality and score of every
    field, as a figure and as a table; "" before a config is found."""
    if job.result is None:
        return ""
    clusters = job.result.clusters
    return _kept(job, clusters) + _bars(job, clusters) + _numbers(job, clusters)


def _kept(job: JobRecord, clusters: Sequence[InputConfig]) -> str:
    """HTML of a paragraph: how many fields are kept, and which are removed."""
    widest = job.fields_by_width()
    removed = [name for name, dim in widest.items() if not dim]
    gone = f" Removed: {_names(removed)}." if removed else ""
    kept = len(widest) - len(removed)
    text = paragraph(f"{kept:,} of {len(widest):,} fields are kept.{gone}")
    empty = [name for name in removed if any(config.fields[name].dim for config in clusters)]
    if empty:
        text += paragraph(
            f"Masks leave no entry of {len(empty):,} of these; they stay inputs all the same: "
            f"{_names(empty)}."
        )
    if len(clusters) > 1:
        inputs = job.points[0].get("inputs", []) if job.points else []
        text += paragraph(
            f"The search divides the rows in {len(clusters)} clusters, each with its own config. "
            "What finds a row's cluster reads fields, "
            f"too: the served model has {len(inputs):,} inputs."
        )
    return text


def _names(fields: Sequence[str]) -> str:
    """The names of the first fields, and how many more there are, as text."""
    others = f" and {len(fields) - _NAMED:,} more" if len(fields) > _NAMED else ""
    return f"{', '.join(fields[:_NAMED])}{others}"


def _bars(job: JobRecord, clusters: Sequence[InputConfig]) -> str:
    """HTML of a figure with bars of the fields' dimensions and cardinalities."""
    widest, known = job.fields_by_width(), job.known()
    sizes = {field.name: field.vocabulary_size for field in job.schema.fields}
    stored = [config.stored_dims for config in clusters]

    def draw(names: list[str]) -> Figure:
        return dimension_bars(
            [f"{name} ({known[name]})" if name in known else name for name in names],
            [sizes[name] for name in names],
            [[dims[name] for name in names] for dims in stored],
            (max(widest.values()), max(sizes.values())),
        )

    caption = "Derived dimension of every field beside its cardinality, widest first"
    if known:
        caption += (
            "; in brackets what is known of it beforehand (a shadow is a shuffled copy, "
            "other words are a generated log's own)"
        )
    return figures(draw, list(widest), "dims", caption)


def _numbers(job: JobRecord, clusters: Sequence[InputConfig]) -> str:
    """HTML of a table with dimension, cardinality and score of every field, folded where there are
    many fields."""
    searches, known = job.searches(), job.known()
    scores = searches[0].field_scores() if searches else {}
    stored = [config.stored_dims for config in clusters]
    total = sum(config.num_params(job.schema) for config in clusters)
    header = ["Field", "Kind", "Role", "Known", "Columns kept", "Dim", "Cardinality", "Params"]
    header += ["Share of params", "Score"]
    order, rows, classes = job.fields_by_width(), [], []
    for name in order:
        field, configs = job.schema.field(name), [config.fields[name] for config in clusters]
        params = sum(config.num_entries(field.vocabulary_size) for config in configs)
        columns = [
            spans(config.labels if dims[name] else ())
            for config, dims in zip(configs, stored, strict=True)
        ]
        words = [name, field.kind, field.role, known.get(name, NONE), " | ".join(columns)]
        widths = " | ".join(str(dims[name]) for dims in stored)
        sizes = [f"{field.vocabulary_size:,}", f"{params:,}", share(params, total)]
        rows.append([*words, widths, *sizes, number(scores.get(name))])
        classes.append("plain" if params else "off")
    note = (
        "Score: the method's own, larger for a field that deserves more to stay."
        if scores
        else "The method gives fields no score."
    )
    content = data_table(header, rows, left=5, classes=classes, wrap=30) + paragraph(note, "note")
    unfolded = " open" if len(order) <= 20 else ""
    return f"<details{unfolded}><summary>The same as numbers</summary>{content}</details>"
