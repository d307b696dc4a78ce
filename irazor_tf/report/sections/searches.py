"""The report's sections on the searches: their cost, their notices, and the pictures of their
methods. No TensorFlow import."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from irazor_tf.report.figures import pictures as picture_figures
from irazor_tf.report.formats import NONE, number
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import data_table, figure, figures, paragraph
from irazor_tf.search.pictures import Picture


def costs(job: JobRecord) -> str:
    """HTML of the section on costs: seconds, steps and memory of every search, compared with a
    plain training, and how long the whole test split takes to score; "" where nothing was
    compared."""
    if not job.compared:
        return ""
    plain = next(
        (
            point
            for point in job.points
            if point.get("plain") and point.get("params") == job.full_params
        ),
        None,
    )
    header = ["Name", "Search s", "of it pretraining", "Search steps", "Search proper"]
    header += ["Search MiB", "Train s", "Train steps", "Train MiB", "Search / plain training"]
    header += ["Test split s", "Tables MiB", "as COO", "as CSR"]
    sentences = [
        "Search seconds and steps are those of one search (of a chain: of all), pretraining "
        "included, whoever else shares it. "
    ]
    if any("search_proper" in point for point in job.compared):
        sentences.append("Search proper: what the method adds to plain training. ")
    sentences.append("Memory is the process's peak. ")
    if plain is None:
        sentences.append(
            "No plain model of full width was trained here (as a control), so there is nothing "
            "to set the search against. "
        )
    if any("table_mib" in point for point in job.compared):
        sentences.append(
            "Tables: embedding values of masked configs, stored densely and with the kept "
            "entries alone: COO 12 bytes an entry, CSR 5 (8 from 257 columns on) and 4 a row. An "
            "export takes dense or CSR, whichever is smaller."
        )
    rows = [_cost(point, plain) for point in job.compared]
    return data_table(header, rows) + paragraph("".join(sentences), "note")


def _cost(point: Mapping[str, Any], plain: Mapping[str, Any] | None) -> list[str]:
    """The cells of a compared model's row in the table of costs.

    Args:
      point: The model's record.
      plain: The record of a model of full width that was trained without a search. None where there
        is none.
    """
    added, tables = point.get("search_proper"), point.get("table_mib", {})
    ratio = None
    if plain is not None and point.get("search_seconds") and plain.get("train_seconds"):
        ratio = point["search_seconds"] / plain["train_seconds"]
    return [
        point["name"],
        number(point.get("search_seconds"), 1),
        number(point.get("pretraining_seconds"), 1),
        number(point.get("search_steps")),
        NONE if added is None else f"{added['steps']:,} steps, {added['seconds']:.2f} s",
        number(point.get("search_peak_mib"), 0),
        number(point.get("train_seconds"), 1),
        number(point.get("train_steps")),
        number(point.get("train_peak_mib"), 0),
        number(ratio, 2),
        number(point.get("test_seconds"), 2),
        *(number(tables.get(key), 3) for key in ("dense", "coo", "csr")),
    ]


def pictures(job: JobRecord) -> str:
    """HTML of the pictures that the methods left of their searches; "" where there are none."""
    drawn: list[str] = []
    for search in job.searches():
        for picture in search.pictures():
            caption = f"{picture.title} ({search.name})"
            drawn.append(
                paragraph(picture.title, "title")
                + _picture(picture, f"picture{len(drawn)}", caption)
            )
    return "\n".join(drawn)


def _picture(picture: Picture, key: str, caption: str) -> str:
    """HTML of a picture with its caption, in pages where it has many rows.

    Args:
      picture: The picture.
      key: A name that no other figure of the page has.
      caption: The words below it, without a full stop.
    """
    if rows := picture_figures.rows_of(picture):
        draw = functools.partial(picture_figures.draw_rows, picture)
        return figures(draw, range(rows), key, caption)
    return figure(picture_figures.draw(picture), key, f"{caption}.")


def notices(job: JobRecord) -> str:
    """HTML of the notices of searches and trainings, the curve's points included, each with the
    models that it is about; "" where there are none."""
    names: dict[str, list[str]] = {}  # of those who say it
    if not job.points and job.result is not None:  # only the search has run
        names |= {notice: [job.result.method.name] for notice in job.result.notices}
    for point in job.points:
        for notice in point.get("notices", ()):
            names.setdefault(notice, []).append(point["name"])
    # A notice may name its method itself; what several points of one search have to say is said
    # once.
    sentences = [
        notice if notice.startswith(f"{speakers[0]}(") else f"{', '.join(speakers)}: {notice}"
        for notice, speakers in names.items()
    ]
    return "".join(paragraph(sentence, "notice") for sentence in sentences)
