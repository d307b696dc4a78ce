"""A job's folder -> one HTML file to look at: no script, no link to anything outside. No TensorFlow
import.

A section whose stage has not run, or for which the method leaves nothing, is left out; the first
one says what has not run."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from irazor_tf.config import integrity
from irazor_tf.config.layout import Role
from irazor_tf.config.schema import Schema
from irazor_tf.report import baselines as report_baselines
from irazor_tf.report import calibration as report_calibration
from irazor_tf.report import plots
from irazor_tf.report import searches as report_searches
from irazor_tf.report.job_folder import JobFolder, Scores, read
from irazor_tf.report.page import (
    NONE,
    cards,
    data_table,
    figure,
    figures,
    number,
    page,
    paragraph,
    share,
)
from irazor_tf.report.plots import metric_name
from irazor_tf.search.selection import evenness

_STAGES = ("search", "train", "test")
FLAT = 0.98  # share of the largest entropy, or of the largest value, from which on a map is flat


def write(model_dir: str, schema: Schema) -> str:
    """Writes `model_dir`/report.html beside and renames; returns its path."""
    path = os.path.join(model_dir, "report.html")
    job = JobFolder.load(model_dir, schema)
    with plots.house_style():
        sections = [(title, key, section(job)) for title, key, section in _SECTIONS]
    with integrity.beside(path) as file:
        file.write(
            page(
                f"Fields and dimensions: {job.method}",
                _lead(job),
                sections,
                report_baselines.first_line(job),
            )
        )
    return path


def _lead(job: JobFolder) -> str:
    """The data, the model and the seed in a line."""
    splits = (read(job.schema.directory or "", "manifest.json") or {}).get("splits", {})
    rows = ", ".join(f"{split['rows']:,} rows for {name}" for name, split in splits.items())
    model = job.settings.get("retrain_model") or job.settings.get("model")
    seeds = [
        f"seed {seed}"
        for seed in sorted({str(point["seed"]) for point in job.points if "seed" in point})
    ]
    fields = f"{len(job.schema.fields):,} fields with {job.schema.num_features:,} ids"
    budget = job.chosen.get("budget")
    limit = f"searched with a budget of {budget:,} embedding parameters" if budget else ""
    parts = [fields, rows, f"base model {model}" if model else "", limit, *seeds]
    return "; ".join(part for part in parts if part) + "."


def _headline(job: JobFolder) -> str:
    """The found config against controls and baselines."""
    if not job.points:
        missing = "Nothing has been trained and evaluated yet (stages retrain and evaluate)."
        if job.found is None:
            missing = f"No config has been found yet (stage search). {missing}"
        return paragraph(missing, "none") + report_searches.notices(job)
    found, full, decides = job.points[0], job.full_params, (job.metrics or [""])[0]
    boxes = [
        (number(found.get(decides)), f"{metric_name(decides)}, test split"),
        (f"{found['fields']:,} of {len(job.schema.fields):,}", "fields kept"),
        (f"{found['dims']:,}", "embedding dimensions"),
        (
            f"{found['params']:,}",
            "embedding parameters"
            + (f": {share(found['params'], full)} of {full:,} at full width" if full else ""),
        ),
    ]
    compared = [*job.compared, *job.baselines]
    others = [point for point in compared[1:] if decides in point and decides in found]
    sizes = [f" ({point['params']:,} parameters)" if "params" in point else "" for point in others]
    gains = [
        f"{found[decides] - point[decides]:+.4f} against {point['name']}{size}"
        for point, size in zip(others, sizes, strict=True)
    ]
    verdict = (
        f"Test {metric_name(decides)} of {found['name']}: {', '.join(gains)}."
        if gains
        else "No control was trained beside it."
    )
    valid = [f"valid_{key}" for key in job.metrics]
    header = [
        "Name",
        *map(metric_name, (*job.metrics, *valid)),
        "Fields",
        "Dims",
        "Params",
        "Share of full",
    ]
    rows = []
    for point in compared:
        numbers = [
            number(point.get(key)) for key in (*job.metrics, *valid, "fields", "dims", "params")
        ]
        of_full = share(point["params"], full) if "params" in point else NONE
        rows.append(
            [point["name"], *numbers, of_full, number(point.get("export_mib"), 2), *_seconds(point)]
        )
    note = report_baselines.described(job)
    note += (
        'Metrics without "valid" are those of the test split. Params are embedding values, '
        "first-order terms not counted"
    )
    note += f"; full: every field {job.settings['width']} wide. " if full else ". "
    if len({point.get("seed") for point in job.points}) == 1:
        note += "One seed: a difference no larger than the spread between seeds says nothing. "
    truth = read(job.schema.directory or "", "log", "truth.json") or {}
    ceilings = [
        f"{metric_name(key)} {truth[f'ceiling_{key}']:.4f}"
        for key in job.metrics
        if f"ceiling_{key}" in truth
    ]
    note += (
        f"Ceiling of this generated log (its true probabilities, all rows): {', '.join(ceilings)}. "
        if ceilings
        else ""
    )
    exported = read(job.path, "export.json")
    note += (
        f"Exported for serving: export/{exported['version']}."
        if exported
        else "Not exported yet (stage export)."
    )
    text = data_table(
        [*header, "Export MiB", "Search s", "Train s", "Test s"], rows, classes=_marks(compared)
    )
    return (
        cards(boxes)
        + paragraph(verdict)
        + report_searches.notices(job)
        + text
        + paragraph(note, "note")
    )


def _dimensions(job: JobFolder) -> str:
    """What every field got."""
    if job.found is None:
        return ""
    clusters, sizes, known = (
        job.found.clusters,
        {field.name: field.vocabulary_size for field in job.schema.fields},
        job.known(),
    )
    widest, order, stored = _widest(job), _order(job), [config.stored_dims for config in clusters]
    removed = [name for name in order if not widest[name]]
    more = f" and {len(removed) - 40:,} more" if len(removed) > 40 else ""
    gone = f" Removed: {', '.join(removed[:40])}{more}." if removed else ""
    text = paragraph(f"{len(order) - len(removed):,} of {len(order):,} fields are kept.{gone}")
    empty = [name for name in removed if any(config.fields[name].dim for config in clusters)]
    if empty:
        more = f" and {len(empty) - 40:,} more" if len(empty) > 40 else ""
        text += paragraph(
            f"Masks leave no entry of {len(empty):,} of these; they stay inputs all the same: "
            f"{', '.join(empty[:40])}{more}."
        )
    if len(clusters) > 1:
        inputs = job.points[0].get("inputs", []) if job.points else []
        text += paragraph(
            f"The search divides the rows in {len(clusters)} clusters, each with its own config. "
            "What finds a row's cluster reads fields, "
            f"too: the served model has {len(inputs):,} inputs."
        )

    def draw(names: list[str]) -> Figure:
        labels = [f"{name} ({known[name]})" if name in known else name for name in names]
        dims = [[config[name] for name in names] for config in stored]
        return plots.dimension_bars(
            labels,
            [sizes[name] for name in names],
            dims,
            (max(widest.values()), max(sizes.values())),
        )

    caption = "Derived dimension of every field beside its cardinality, widest first"
    if known:
        caption += (
            "; in brackets what is known of it beforehand (a shadow is a shuffled copy, "
            "other words are a generated log's own)"
        )
    return text + figures(draw, order, "dims", caption) + _field_table(job, order)


def _field_table(job: JobFolder, order: Sequence[str]) -> str:
    assert job.found is not None
    clusters, known, folders = job.found.clusters, job.known(), job.search_folders()
    scores = job.field_scores(folders[0]) if folders else {}
    total, rows, kinds = sum(config.num_params(job.schema) for config in clusters), [], []
    stored = [config.stored_dims for config in clusters]
    for name in order:
        field, own = job.schema.field(name), [config.fields[name] for config in clusters]
        params = sum(config.num_entries(field.vocabulary_size) for config in own)
        columns = [
            _ranges(config.labels if dims[name] else ())
            for config, dims in zip(own, stored, strict=True)
        ]
        words = [name, field.kind, field.role, known.get(name, NONE), " | ".join(columns)]
        dims = " | ".join(str(config[name]) for config in stored)
        rows.append(
            [
                *words,
                dims,
                f"{field.vocabulary_size:,}",
                f"{params:,}",
                share(params, total),
                number(scores.get(name)),
            ]
        )
        kinds.append("plain" if params else "off")
    header = [
        "Field",
        "Kind",
        "Role",
        "Known",
        "Columns kept",
        "Dim",
        "Cardinality",
        "Params",
        "Share of params",
        "Score",
    ]
    note = (
        "Score: the method's own, larger for a field that deserves more to stay."
        if scores
        else "The method gives fields no score."
    )
    content = data_table(header, rows, left=5, classes=kinds, wrap=30) + paragraph(note, "note")
    return (
        f"<details{' open' if len(order) <= 20 else ''}><summary>The same as "
        f"numbers</summary>{content}</details>"
    )


def _arrays(job: JobFolder) -> str:
    """Heat maps of what the searches learned about the fields."""
    order = {name: place for place, name in enumerate(_order(job))}
    text: list[str] = []
    for folder in job.search_folders():
        for scores in job.scores(folder):
            name = job.search_name(folder)
            caption = f"{scores.name} of {name}, fields in the order of the section above"
            caption += (
                "; a dot marks what its config keeps"
                if scores.kept is not None and scores.kept.any()
                else ""
            )
            rows = sorted(range(len(scores.fields)), key=lambda row: order[scores.fields[row]])
            maps = figures(functools.partial(_heat_map, scores), rows, f"map{len(text)}", caption)
            text.append(paragraph(f"{scores.name}: {name}", "title") + _flatness(scores) + maps)
    return "\n".join(text)


def _flatness(scores: Scores) -> str:
    """Says of a map that it is flat: that its rows are weights as good as uniform, or that all its
    values are as good as equal."""
    values = scores.values
    if not np.isfinite(values).all():
        return ""
    if values.shape[1] > 1 and values.min() >= 0 and np.allclose(values.sum(axis=1), 1, atol=1e-4):
        # A field may have fewer regions than the map has columns: those it lacks are 0. With all
        # its weight in one region, it has decided.
        even = float(np.nan_to_num(evenness(values, (values > 0).sum(axis=1))).mean())
        words = (
            f"its rows have {even:.1%} of the entropy of uniform weights" if even >= FLAT else ""
        )
    else:
        top, extent = np.abs(values).max(), np.ptp(values)
        words = (
            "all its values are equal"
            if extent == 0
            else f"its values differ by {extent / top:.1%} of the largest"
        )
        words = words if values.size > 1 and extent <= (1 - FLAT) * top else ""
    return (
        paragraph(f"This map is flat: {words}. What is darker in it is hardly preferred.", "notice")
        if words
        else ""
    )


def _heat_map(scores: Scores, rows: list[int]) -> Figure:
    columns, label = (
        [str(column) for column in range(scores.values.shape[1])],
        "region or candidate",
    )
    if len(columns) == 1:
        columns, label = [""], "one value per field"
    elif (
        scores.sizes is not None and scores.sizes.max() <= 1 and scores.sizes.min(axis=1).max() == 1
    ):
        label = "embedding column"
    elif scores.sizes is not None:
        label = "region (embedding columns in it)"
        columns = [f"{column} ({_spread(scores.sizes[:, int(column)])})" for column in columns]
    finite = scores.values[np.isfinite(scores.values)]
    limits = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    kept = None if scores.kept is None else scores.kept[rows]
    return plots.heat_map(
        [scores.fields[row] for row in rows],
        scores.values[rows],
        columns,
        (label, scores.name),
        limits,
        kept,
    )


def _curve(job: JobFolder) -> str:
    """Validation metric against embedding parameters."""
    decides = job.metrics[0] if job.metrics else ""
    key = f"valid_{decides}"
    drawn = [
        point for point in job.points if point.get(key) is not None and point.get("params", 0) > 0
    ]
    if not drawn:
        return ""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for point in drawn:
        folder = job.candidates.get(point["name"], {}).get("search_folder", "")
        groups.setdefault((job.series_name(point), folder), []).append(point)
    names, series = [name for name, _ in groups], []
    for place, ((name, _), points) in enumerate(groups.items()):
        stems = sorted(
            {point["name"] for point in points if point["role"] != Role.CURVE.value} | {name},
            key=len,
            reverse=True,
        )
        notes: dict[tuple[float, float], str] = {}
        for point in sorted(
            points, key=lambda point: point["params"]
        ):  # equal configs are one model, hence one point
            note = next(
                (
                    point["name"].removeprefix(stem).strip()
                    for stem in stems
                    if point["name"].startswith(f"{stem} ")
                ),
                "",
            )
            at = (point["params"], point[key])
            notes[at] = notes.get(at) or ("" if note.startswith(("at ", "(")) else note)
        found = next(
            (
                (point["params"], point[key])
                for point in points
                if point["role"] == Role.FOUND.value
            ),
            None,
        )
        label = name if names.count(name) == 1 else points[0]["name"]
        style = job.style(name if names.index(name) == place else points[0]["name"])
        series.append(
            plots.Series(
                label,
                [x for x, _ in notes],
                [y for _, y in notes],
                list(notes.values()),
                style,
                found,
            )
        )
    caption = (
        f"Validation {metric_name(decides)} against embedding parameters; a line joins the "
        "settings of one search."
    )
    text = figure(plots.quality_curve(series, metric_name(decides)), "curve", caption)
    if all(point["role"] != Role.CURVE.value for point in job.points):
        text += paragraph(
            "Only the found config and the controls were trained; with --curve other settings are, "
            "too.",
            "none",
        )
    text += report_baselines.beside_the_curve(job, decides)
    left_out = len(job.points) - len(drawn)
    return text + (
        paragraph(
            f"Not drawn: {left_out} without embedding parameters or without the metric.", "note"
        )
        if left_out
        else ""
    )


def _learning(job: JobFolder) -> str:
    """Histories of the searches and of the final trainings."""
    searched = [(job.search_name(folder), folder) for folder in job.search_folders()]
    trained = [(point["name"], point["folder"]) for point in job.compared if "folder" in point]
    text = []
    for key, title, folders in (("search", "Search", searched), ("retrain", "Retraining", trained)):
        runs = []
        for name, folder in folders:
            parts = job.histories(folder)
            for place, (part, history, best) in enumerate(parts):
                style = job.style(name) + place * len(
                    plots.COLOURS
                )  # the parts of a training: one colour, other dashes
                runs.append(
                    plots.Run(name if len(parts) == 1 else f"{name}, {part}", history, best, style)
                )
        if not runs:
            continue
        text.append(paragraph(title, "title"))
        lengths = {
            item: max(sum(item in record for record in run.history) for run in runs)
            for item in plots.recorded(runs)
        }
        curves, single = (
            [item for item in lengths if lengths[item] > 1],
            [item for item in lengths if lengths[item] == 1],
        )
        if curves:
            caption = (
                f"{title}: a point per epoch; a ring marks the epoch whose weights were kept "
                "(no ring: the last)."
            )
            text.append(figure(plots.learning_curves(runs, curves, job.metrics), key, caption))
        if single:
            once = [run for run in runs if set(single) & set(run.history[0])]
            rows = [
                [run.label, *(number(run.history[0].get(item), 6) for item in single)]
                for run in once
            ]
            text.append(
                paragraph("Recorded once, after a single epoch:", "note")
                + data_table(["Training", *map(metric_name, single)], rows)
            )
    return "\n".join(text)


def _everything(job: JobFolder) -> str:
    """Every point of the curve, and the baselines."""
    if not job.points:
        return ""
    valid = [f"valid_{key}" for key in job.metrics]
    header = [
        "Name",
        "Role",
        "Method",
        "Seed",
        *map(metric_name, job.metrics),
        *map(metric_name, valid),
    ]
    rows = []
    for point in job.points:
        words = [str(point.get(key, NONE)) for key in ("name", "role", "method", "seed")]
        if "budget" in point:
            obeyed = point["params"] <= point["budget"]
            words[2] += (
                f", {'the widest config of at most' if obeyed else 'asked for at most'} "
                f"{point['budget']:,} parameters"
            )
        numbers = [
            number(point.get(key))
            for key in (*job.metrics, *valid, "fields", "dims", "params", "total_params")
        ]
        rows.append(
            [*words, *numbers, *_seconds(point), os.path.basename(point.get("folder", NONE))]
        )
    for record in job.baselines:
        words = [
            record["name"],
            record["role"],
            report_baselines.chosen(record),
            str(record["seed"]),
        ]
        numbers = [number(record.get(key)) for key in (*job.metrics, *valid)]
        rows.append([*words, *numbers, *[NONE] * 4, *_seconds(record), NONE])
    header += ["Fields", "Dims", "Params", "All weights", "Search s", "Train s", "Test s", "Model"]
    note = (
        "Model: its folder in models/. Rows with the same one are one model: settings that lead "
        "to the same config are trained once."
    )
    return data_table(
        header, rows, left=3, classes=_marks([*job.points, *job.baselines]), wrap=34
    ) + paragraph(note, "note")


def _settings(job: JobFolder) -> str:
    """What stands in job.json."""
    rows = [*_flat(job.chosen, "chosen."), *_flat(job.settings)]
    if not rows:
        return ""
    return data_table(
        ["Setting", "Value"],
        [*rows, ("data fingerprint", job.schema.fingerprint or NONE)],
        left=2,
        wrap=28,
    )


_SECTIONS = (
    ("What was found", "headline", _headline),
    ("Dimension of every field", "dimensions", _dimensions),
    ("What the search learned", "arrays", _arrays),
    ("Pictures of the searches", "pictures", report_searches.pictures),
    ("Quality against size", "quality", _curve),
    ("Calibration", "calibration", report_calibration.calibration),
    ("What the searches cost", "costs", report_searches.costs),
    ("Learning curves", "learning", _learning),
    ("Every model", "models", _everything),
    ("Settings", "settings", _settings),
)


def _widest(job: JobFolder) -> dict[str, int]:
    """Field -> its largest dimension in any cluster; 0 where a mask leaves no entry of it."""
    stored = [config.stored_dims for config in job.found.clusters] if job.found else []
    return {name: max((dims[name] for dims in stored), default=0) for name in job.schema.names}


def _order(job: JobFolder) -> list[str]:
    """Fields, the widest first, then by cardinality."""
    widest = _widest(job)
    return [
        field.name
        for field in sorted(
            job.schema.fields,
            key=lambda field: (-widest[field.name], -field.vocabulary_size, field.name),
        )
    ]


def _marks(points: Sequence[Mapping[str, Any]]) -> list[str]:
    return ["found" if point["role"] == Role.FOUND.value else "plain" for point in points]


def _seconds(point: Mapping[str, Any]) -> list[str]:
    return [number(point.get(f"{stage}_seconds"), 1) for stage in _STAGES]


def _ranges(labels: Sequence[int]) -> str:
    """0, 1, 2, 5 -> 0–2, 5."""
    starts = [label for label in labels if label - 1 not in labels]
    ends = [label for label in labels if label + 1 not in labels]
    return (
        ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True))
        or NONE
    )


def _spread(sizes: np.ndarray) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return str(low) if low == high else f"{low}–{high}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value)."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            rows += _flat(item, f"{prefix}{key}.")
        elif isinstance(item, list):
            rows.append((prefix + key, ", ".join(map(str, item)) or NONE))
        else:
            large = isinstance(item, int) and item >= 10_000  # seeds and years are left as they are
            rows.append(
                (prefix + key, NONE if item in (None, "") else number(item) if large else str(item))
            )
    return rows
