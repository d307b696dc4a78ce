"""A job's folder -> one HTML file to look at: no script, no link to anything outside. No TensorFlow import.

A section whose stage has not run, or for which the method leaves nothing, says so in a sentence.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf import plots
from irazor_tf.candidates import Role
from irazor_tf.job_folder import JobFolder, read
from irazor_tf.plots import metric_name
from irazor_tf.schema import Schema


def write(model_dir: str, schema: Schema) -> str:
    """Writes `model_dir`/report.html beside and renames; returns its path."""
    path = os.path.join(model_dir, "report.html")
    job = JobFolder.load(model_dir, schema)
    with plots.house_style():
        sections = [(title, key, section(job)) for title, key, section in _SECTIONS]
    links = "".join(f'<a href="#{key}">{html.escape(title)}</a>' for title, key, _ in sections)
    parts = [f'<section id="{key}"><h2>{html.escape(title)}</h2>\n{text}\n</section>' for title, key, text in sections]
    title = html.escape(f"Fields and embedding dimensions: {job.method}")
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
        f"<style>{_CSS}</style></head><body>\n<h1>{title}</h1>\n{_data(job)}\n<nav>{links}</nav>\n" + "\n".join(parts) + "\n</body></html>\n"
    )
    with open(path + ".partial", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".partial", path)
    return path


def _data(job: JobFolder) -> str:
    """A line on the data and the model."""
    splits = (read(job.schema.directory or "", "manifest.json") or {}).get("splits", {})
    rows = ", ".join(f"{split['rows']:,} rows for {name}" for name, split in splits.items())
    model = job.settings.get("retrain_model") or job.settings.get("model")
    parts = [f"{len(job.schema.fields):,} fields with {job.schema.num_features:,} ids", rows, f"base model {model}" if model else ""]
    seeds = sorted({str(point["seed"]) for point in job.points if "seed" in point})
    return f'<p class="lead">{html.escape("; ".join([part for part in parts if part] + [f"seed {seed}" for seed in seeds]))}.</p>'


def _headline(job: JobFolder) -> str:
    if not job.points:
        return page.none("Nothing has been trained and evaluated yet (stages retrain and evaluate).")
    found, full, decides = job.points[0], job.full_params, job.metrics[0]
    share = f"{found['params'] / full:.1%} of {full:,} at full width" if full else "embedding values"
    cards = [
        (page.number(found.get(decides)), f"{metric_name(decides)}, test split"),
        (f"{found['fields']:,} of {len(job.schema.fields):,}", "fields kept"),
        (f"{found['dims']:,}", "embedding dimensions"),
        (f"{found['params']:,}", f"embedding parameters: {share}"),
    ]
    boxes = "".join(f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(label)}</span></div>' for value, label in cards)
    others = [point for point in job.compared[1:] if decides in point and decides in found]
    against = ", ".join(f"{found[decides] - point[decides]:+.4f} against {point['name']} ({point['params']:,} parameters)" for point in others)
    sentence = f"Test {metric_name(decides)} of {found['name']}: {against}." if against else "No control was trained beside it."
    header = ["Name", *(metric_name(key) for key in job.metrics), metric_name(f"valid_{decides}"), "Fields", "Dims", "Params"]
    header += ["Share of full", "Export MiB", "Search s", "Train s", "Test s"]
    rows = []
    for point in job.compared:
        numbers = [page.number(point.get(key)) for key in (*job.metrics, f"valid_{decides}")] + [page.number(point.get(key)) for key in ("fields", "dims", "params")]
        seconds = [page.number(point.get(f"{stage}_seconds"), 1) for stage in ("search", "train", "test")]
        rows.append([point["name"], *numbers, f"{point['params'] / full:.1%}" if full else page.NONE, page.number(point.get("export_mib"), 2), *seconds])
    note = "AUC and the like without \"valid\" are those of the test split, read once. Params: embedding values, first-order terms not counted. "
    note = note.replace("AUC and the like", "Metrics")
    note += f"Share of full: of the {full:,} with every field {job.settings['width']} wide. " if full else ""
    note += "One seed each: a difference no larger than the spread between seeds says nothing."
    table = page.table(header, rows, classes=["found" if point["role"] == Role.FOUND.value else "" for point in job.compared])
    exported = read(job.path, "export.json")
    served = f"<p>Exported for serving: <code>{html.escape(os.path.join('export', str(exported['version'])))}</code>.</p>" if exported else ""
    return f'<div class="cards">{boxes}</div>{page.paragraph(sentence)}{table}<p class="lead">{html.escape(note)}</p>{served}'


def _dimensions(job: JobFolder) -> str:
    if job.found is None:
        return page.none("No config has been found yet (stage search).")
    clusters, fields, known = job.found.clusters, {field.name: field for field in job.schema.fields}, job.known()
    widest = {name: max(config.fields[name].dim for config in clusters) for name in fields}
    order = sorted(fields, key=lambda name: (-widest[name], -fields[name].vocabulary_size, name))
    most = (max(widest.values()), max(field.vocabulary_size for field in fields.values()))
    removed = [name for name in order if not widest[name]]
    text = [page.paragraph(f"{len(order) - len(removed):,} of {len(order):,} fields are kept. " + (f"Removed: {_listed(removed)}." if removed else "None is removed."))]
    if known:
        text.append(page.paragraph("In brackets: what is known of the field beforehand (a shadow is a shuffled copy of a field; other words are a generated log's own)."))
    if len(clusters) > 1:
        text.append(page.paragraph(f"The search divides the rows in {len(clusters)} clusters, each with its own config."))
    figures = []
    for number, names in enumerate(page.chunks(order)):
        labels = [f"{name} ({known[name]})" if name in known else name for name in names]
        dims = [[config.fields[name].dim for name in names] for config in clusters]
        figure = plots.dimension_bars(labels, [fields[name].vocabulary_size for name in names], dims, most)
        figures.append(page.figure(figure, f"dims{number}", page.part("Derived dimension and cardinality per field, widest first", number, len(order))))
    text.append(page.pages(figures))
    scores = job.field_scores(next(iter(job.search_folders()), "search"))
    header = ["Field", "Kind", "Role", "Known", "Cardinality", "Dim", "Columns kept", "Params", "Share of params", "Score"]
    total, rows = max(1, sum(config.num_params(job.schema) for config in clusters)), []
    for name in order:
        own = [config.fields[name] for config in clusters]
        params = sum(field.num_entries(fields[name].vocabulary_size) for field in own)
        columns, dims_text = " | ".join(_ranges(field.labels) for field in own), " | ".join(str(field.dim) for field in own)
        words = [name, fields[name].kind, fields[name].role, known.get(name, page.NONE)]
        score = page.number(scores.get(name))
        rows.append([*words, f"{fields[name].vocabulary_size:,}", dims_text, columns, f"{params:,}", f"{params / total:.1%}", score])
    table = page.table(header, rows, left=4, classes=["" if widest[name] else "off" for name in order])
    state = " open" if len(order) <= 20 else ""
    note = "Score: what the method itself gives a field, larger for one that deserves more to stay." if scores else "The method does not rank fields."
    text.append(f"<details{state}><summary>The same as numbers</summary>{table}{page.paragraph(note)}</details>")
    return "\n".join(text)


def _arrays(job: JobFolder) -> str:
    text, config = [], job.found.clusters[0] if job.found else None
    for number, folder in enumerate(job.search_folders()):
        for scores in job.scores(folder):
            values, width = scores.values, scores.values.shape[1]
            at = [scores.fields.index(name) for name in sorted(scores.fields, key=lambda n: (-config.fields[n].dim if config else 0, -job.schema.field(n).vocabulary_size, n))]
            columns, label = [str(column) for column in range(width)], "region or candidate"
            if scores.sizes is not None and np.all(scores.sizes <= 1):
                label = "embedding column"
            elif scores.sizes is not None:
                label, columns = "region (embedding columns in it)", [f"{column} ({_spread(scores.sizes[:, column])})" for column in range(width)]
            finite = values[np.isfinite(values)]
            limits = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
            caption = f"{scores.name} of {job.search_name(folder)}, fields in the order above"
            caption += "; a dot marks what its config keeps" if scores.kept is not None and scores.kept.any() else ""
            figures = []
            for page, rows in enumerate(page.chunks(at)):
                names, kept = [scores.fields[row] for row in rows], None if scores.kept is None else scores.kept[rows]
                figure = plots.heat_map(names, values[rows], columns, label, scores.name, limits, kept)
                figures.append(page.figure(figure, f"map{number}-{len(text)}-{page}", page.part(caption, page, len(at))))
            text.append(f"<h3>{html.escape(scores.name)}: {html.escape(job.search_name(folder))}</h3>{page.pages(figures)}")
    return "\n".join(text) or page.none("The method leaves no array with a row per field.")


def _curve(job: JobFolder) -> str:
    decides, groups = job.metrics[0] if job.metrics else "", {}  # type: ignore[var-annotated]
    key = f"valid_{decides}"
    drawn = [point for point in job.points if point.get(key) is not None and point.get("params", 0) > 0]
    if not drawn:
        return page.none("No model with embedding parameters has been trained and evaluated yet (stages retrain and evaluate).")
    for point in drawn:
        folder = job.candidates.get(point["name"], {}).get("search_folder", "")
        groups.setdefault((job.series_name(point), folder), []).append(point)
    names, series = [name for name, _ in groups], []
    for (name, _), points in groups.items():
        leads = next((point for point in points if point["role"] == Role.FOUND.value), None)
        stems = {point["name"] for point in points if point["role"] != Role.CURVE.value} | {name}
        places: dict[tuple[float, float], str] = {}
        for point in sorted(points, key=lambda point: point["params"]):  # equal configs are one model and one point
            note = next((point["name"].removeprefix(stem).strip() for stem in stems if point["name"].startswith(f"{stem} ")), "")
            place = (point["params"], point[key])
            places[place] = places.get(place) or ("" if note.startswith(("at ", "(")) else note)
        label = name if names.count(name) == 1 else points[0]["name"]
        found = (leads["params"], leads[key]) if leads else None
        xs, ys = zip(*places, strict=True)
        series.append(plots.Series(label, xs, ys, list(places.values()), job.style(name) + 7 * (names.index(name) != len(series)), found))
    caption = f"Validation {metric_name(decides)} against embedding parameters; every point is a model trained afresh, lines join the settings of one search"
    text = page.figure(plots.quality_curve(series, metric_name(decides)), "curve", caption + ".")
    if all(point["role"] != Role.CURVE.value for point in job.points):
        text += page.none("Only the found config and the controls were trained; with --curve, other settings of the method and the controls at those sizes are, too.")
    left_out = len(job.points) - len(drawn)
    return text + (page.paragraph(f"Not drawn: {left_out} without embedding parameters or without the metric.") if left_out else "")


def _learning(job: JobFolder) -> str:
    text = []
    searched = [(job.search_name(folder), folder) for folder in job.search_folders()]
    trained = [(point["name"], point["folder"]) for point in job.compared if "folder" in point]
    for key, title, folders in (("search", "Search", searched), ("retrain", "Retraining", trained)):
        runs = []
        for name, folder in folders:
            histories = job.histories(folder)
            for part, history, best in histories:
                runs.append(plots.Run(f"{name}, {part}" if len(histories) > 1 else name, history, best, job.style(name) + 7 * len(runs) * (len(histories) > 1)))
        text.append(f"<h3>{title}</h3>")
        if runs:
            caption = f"{title}: one point per epoch; a ring marks the epoch whose weights were kept"
            text.append(page.figure(plots.learning_curves(runs, job.metrics), key, caption + " (no ring: the last)."))
        else:
            text.append(page.none(f"{title}: no training left a history (not run yet, or nothing to train)."))
    return "\n".join(text)


def _everything(job: JobFolder) -> str:
    if not job.points:
        return page.none("No model has been evaluated yet (stage evaluate).")
    sizes = {"fields": "Fields", "dims": "Dims", "params": "Params", "total_params": "All weights"}
    header = ["Name", "Role", "Method", "Seed", *(metric_name(key) for key in job.metrics), *(metric_name(f"valid_{key}") for key in job.metrics)]
    header += [*sizes.values(), "Search s", "Train s", "Test s", "Folder"]
    rows = []
    for point in job.points:
        words = [str(point.get(key, page.NONE)) for key in ("name", "role", "method", "seed")]
        numbers = [page.number(point.get(key)) for key in (*job.metrics, *(f"valid_{key}" for key in job.metrics), *sizes)]
        seconds = [page.number(point.get(f"{stage}_seconds"), 1) for stage in ("search", "train", "test")]
        rows.append([*words, *numbers, *seconds, str(point.get("folder", page.NONE))])
    table = page.table(header, rows, left=3, classes=["found" if point["role"] == Role.FOUND.value else "" for point in job.points])
    return table + page.paragraph("Rows with the same folder are one model: settings that give the same config are trained once.")


def _settings(job: JobFolder) -> str:
    rows = [*_flat({"chosen": job.chosen}), *_flat(job.settings)]
    if not rows:
        return page.none("There is no job.json.")
    rows.append(("data fingerprint", job.schema.fingerprint or page.NONE))
    return page.table(["Setting", "Value"], rows, left=2)


_SECTIONS = (
    ("What was found", "headline", _headline),
    ("Dimension of every field", "dimensions", _dimensions),
    ("What the search learned", "arrays", _arrays),
    ("Quality against size", "quality", _curve),
    ("Learning curves", "learning", _learning),
    ("Every model", "models", _everything),
    ("Settings", "settings", _settings),
)


def _listed(names: Sequence[str], most: int = 40) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _ranges(labels: Sequence[int]) -> str:
    """0, 1, 2, 5 -> 0-2, 5."""
    starts = [label for label in labels if label - 1 not in labels]
    ends = [label for label in labels if label + 1 not in labels]
    return ", ".join(str(a) if a == b else f"{a}{page.NONE}{b}" for a, b in zip(starts, ends, strict=True)) or page.NONE


def _spread(sizes: np.ndarray) -> str:
    return f"{sizes.min():g}" if sizes.min() == sizes.max() else f"{sizes.min():g}{page.NONE}{sizes.max():g}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value)."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            rows += _flat(item, f"{prefix}{key}.")
        else:
            listed = ", ".join(map(str, item)) if isinstance(item, list) else item
            rows.append((prefix + key, page.NONE if listed in (None, "") else page.number(listed, 6) if isinstance(listed, int) else str(listed)))
    return rows
