"""Sections of the report about the searches: what each cost, what it had to say, and its method's
own pictures. No TensorFlow import."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from irazor_tf.report import picture_plots
from irazor_tf.report.job_folder import JobFolder
from irazor_tf.report.page import NONE, data_table, figure, figures, number, paragraph
from irazor_tf.search.pictures import Picture


def costs(job: JobFolder) -> str:
    """Seconds, steps and memory of every search against plain training, and how long the whole test
    split takes to score."""
    plain = next(
        (
            point
            for point in job.points
            if point.get("plain") and point.get("params") == job.full_params
        ),
        None,
    )
    rows = [_cost(point, plain) for point in job.compared]
    if not rows:
        return ""
    header = [
        "Name",
        "Search s",
        "of it pretraining",
        "Search steps",
        "Search proper",
        "Search MiB",
        "Train s",
        "Train steps",
        "Train MiB",
    ]
    header += ["Search / plain training", "Test split s", "Tables MiB", "as COO", "as CSR"]
    note = (
        "Search seconds and steps are those of one search (of a chain: of all), pretraining "
        "included, whoever else shares it. "
    )
    if any("search_proper" in point for point in job.compared):
        note += "Search proper: what the method adds to plain training. "
    note += "Memory is the process's peak. "
    if plain is None:
        note += (
            "No plain model of full width was trained here (as a control), so there is nothing "
            "to set the search against. "
        )
    if any("table_mib" in point for point in job.compared):
        note += (
            "Tables: embedding values of masked configs, stored densely and with the kept "
            "entries alone: COO "
        )
        note += (
            "12 bytes an entry, CSR 5 (8 from 257 columns on) and 4 a row. An export takes "
            "dense or CSR, whichever is smaller."
        )
    return data_table(header, rows) + paragraph(note, "note")


def _cost(point: Mapping[str, Any], plain: Mapping[str, Any] | None) -> list[str]:
    proper, tables = point.get("search_proper"), point.get("table_mib", {})
    took = NONE if proper is None else f"{proper['steps']:,} steps, {proper['seconds']:.2f} s"
    ratio = None
    if plain is not None and point.get("search_seconds") and plain.get("train_seconds"):
        ratio = point["search_seconds"] / plain["train_seconds"]
    return [
        point["name"],
        number(point.get("search_seconds"), 1),
        number(point.get("pretraining_seconds"), 1),
        number(point.get("search_steps")),
        took,
        number(point.get("search_peak_mib"), 0),
        number(point.get("train_seconds"), 1),
        number(point.get("train_steps")),
        number(point.get("train_peak_mib"), 0),
        number(ratio, 2),
        number(point.get("test_seconds"), 2),
        *(number(tables.get(key), 3) for key in ("dense", "coo", "csr")),
    ]


def pictures(job: JobFolder) -> str:
    """What the methods draw of their searches, if anything."""
    text: list[str] = []
    for folder in job.search_folders():
        name = job.search_name(folder)
        for picture in job.pictures(folder):
            caption = f"{picture.title} ({name})"
            text.append(
                paragraph(picture.title, "title")
                + _picture(picture, f"picture{len(text)}", caption)
            )
    return "\n".join(text)


def _picture(picture: Picture, key: str, caption: str) -> str:
    if rows := picture_plots.rows_of(picture):
        return figures(
            functools.partial(picture_plots.draw_rows, picture), range(rows), key, caption
        )
    return figure(picture_plots.draw(picture), key, f"{caption}.")


def notices(job: JobFolder) -> str:
    """What searches and trainings had to say, those of the curve's points too; nothing where they
    went as planned."""
    told: dict[str, list[str]] = {}
    if not job.points and job.found is not None:  # only the search has run
        told |= {notice: [job.found.method.name] for notice in job.found.notices}
    for point in job.points:
        for notice in point.get("notices", ()):
            told.setdefault(notice, []).append(point["name"])
    # A notice may name its method itself; what several points of one search have to say is said
    # once.
    found = [
        notice if notice.startswith(f"{names[0]}(") else f"{', '.join(names)}: {notice}"
        for notice, names in told.items()
    ]
    return "".join(paragraph(notice, "notice") for notice in found)
