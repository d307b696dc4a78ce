"""The report's section on what the searches learned about the fields. No TensorFlow import."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from irazor_tf.report.figures import field_rows
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import figures, paragraph
from irazor_tf.report.search_record import FieldArray
from irazor_tf.search.selection import evenness

FLAT = 0.98  # share of the largest entropy, or of the largest value, from which on a map is flat


def learned(job: JobRecord) -> str:
    """HTML of the section: a heat map for every array with a row per field that a search left, a
    notice where such an array says nothing; "" where there are no arrays."""
    places = {name: place for place, name in enumerate(job.fields_by_width())}
    maps: list[str] = []
    for search in job.searches():
        for array in search.arrays():
            caption = f"{array.name} of {search.name}, fields in the order of the section above"
            if array.kept is not None and array.kept.any():
                caption += "; a dot marks what its config keeps"
            rows = sorted(range(len(array.fields)), key=lambda row: places[array.fields[row]])
            draw = functools.partial(_heat_map, array)
            maps.append(
                paragraph(f"{array.name}: {search.name}", "title")
                + flatness(array)
                + figures(draw, rows, f"map{len(maps)}", caption)
            )
    return "\n".join(maps)


def flatness(array: FieldArray) -> str:
    """HTML of a notice that an array says nothing about the fields: its rows are weights that are
    nearly uniform, or all its values are nearly equal. "" for any other array."""
    values, words = array.values, ""
    if not np.isfinite(values).all():
        return ""
    if values.shape[1] > 1 and values.min() >= 0 and np.allclose(values.sum(axis=1), 1, atol=1e-4):
        # A field may have fewer regions than the map has columns: those it lacks are 0. With all
        # its weight in one region, it has decided.
        even = float(np.nan_to_num(evenness(values, (values > 0).sum(axis=1))).mean())
        if even >= FLAT:
            words = f"its rows have {even:.1%} of the entropy of uniform weights"
    elif values.size > 1:
        largest, extent = np.abs(values).max(), np.ptp(values)
        if extent == 0:
            words = "all its values are equal"
        elif extent <= (1 - FLAT) * largest:
            words = f"its values differ by {extent / largest:.1%} of the largest"
    if not words:
        return ""
    return paragraph(
        f"This map is flat: {words}. What is darker in it is hardly preferred.", "notice"
    )


def _heat_map(array: FieldArray, rows: Sequence[int]) -> Figure:
    """A figure of some rows of an array, on the scale of the whole array.

    Args:
      array: The array.
      rows: Numbers of the rows to draw.
    """
    names, label = _columns(array)
    return field_rows.heat_map(
        [array.fields[row] for row in rows],
        array.values[rows],
        names,
        (label, array.name),
        field_rows.finite_limits(array.values),
        None if array.kept is None else array.kept[rows],
    )


def _columns(array: FieldArray) -> tuple[list[str], str]:
    """Names of an array's columns, and a label that says what the columns are (embedding columns,
    regions)."""
    sizes, names = array.sizes, [str(column) for column in range(array.values.shape[1])]
    if len(names) == 1:
        return [""], "one value per field"
    if sizes is None:
        return names, "region or candidate"
    if sizes.max() <= 1 and sizes.min(axis=1).max() == 1:
        return names, "embedding column"
    names = [f"{name} ({_extremes(column)})" for name, column in zip(names, sizes.T, strict=True)]
    return names, "region (embedding columns in it)"


def _extremes(sizes: np.ndarray) -> str:
    """The smallest and the largest of some whole numbers as text: 2–5, or 2 where all are equal."""
    low, high = int(sizes.min()), int(sizes.max())
    return str(low) if low == high else f"{low}–{high}"
