"""Figures of the pictures that methods leave for the report (`irazor_tf.search.pictures`). No
TensorFlow import."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from irazor_tf.report.figures.field_rows import finite_limits, heat_map
from irazor_tf.report.figures.style import COLOURS, DASHES, line_style
from irazor_tf.search.pictures import Bars, HeatMap, Histogram, Lines, Picture

_WIDTH = 8.0  # inches


@functools.singledispatch
def rows_of(picture: Picture) -> int:
    """The number of rows of a picture that may be drawn in parts by `draw_rows`; 0 for a picture
    that `draw` draws as one figure."""
    return 0


@rows_of.register
def _(picture: HeatMap) -> int:
    return len(picture.rows)


@rows_of.register
def _(picture: Bars) -> int:
    return len(picture.names)


@functools.singledispatch
def draw_rows(picture: Picture, rows: Sequence[int]) -> Figure:
    """A figure of some rows of a heat map or of bars, on the scale of the whole picture.

    Args:
      picture: The heat map or bars.
      rows: Numbers of the rows to draw.
    """
    raise TypeError(
        f"A picture with rows should be a HeatMap or Bars. Received: {type(picture).__name__}"
    )


@draw_rows.register
def _(picture: HeatMap, rows: Sequence[int]) -> Figure:
    values, shown = np.asarray(picture.values, np.float64), list(rows)
    return heat_map(
        [picture.rows[row] for row in shown],
        values[shown],
        picture.columns,
        ("", picture.label),
        finite_limits(values),
        None,
    )


@draw_rows.register
def _(picture: Bars, rows: Sequence[int]) -> Figure:
    values, shown = np.asarray(picture.values, np.float64), list(rows)
    names = [picture.names[row] for row in shown]
    figure = Figure(figsize=(_WIDTH, 0.9 + 0.2 * len(names)), layout="constrained")
    axis = figure.subplots()
    axis.barh(np.arange(len(names)), values[shown], height=0.72, color=COLOURS[0])
    axis.set_xlim(*_limits(values))
    axis.set_yticks(np.arange(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(True, axis="x")
    axis.set_xlabel(picture.label)
    return figure


@functools.singledispatch
def draw(picture: Picture) -> Figure:
    """A figure of a whole picture."""
    return draw_rows(picture, range(rows_of(picture)))


@draw.register
def _(picture: Lines) -> Figure:
    figure, axis = _panel()
    few = len(picture.x) <= 40  # points that markers leave apart
    for number, (name, values) in enumerate(picture.series.items()):
        style = line_style(number) | ({} if few else {"marker": ""})
        axis.plot(picture.x, values, **style, markersize=4.5, label=name)
    if picture.log_x:
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())
    axis.set_xlabel(picture.labels[0])
    axis.set_ylabel(picture.labels[1])
    if len(picture.series) > 1:
        axis.legend(ncols=2)
    return figure


@draw.register
def _(picture: Histogram) -> Figure:
    figure, axis = _panel()
    edges = np.asarray(picture.edges)
    axis.bar(
        edges[:-1],
        picture.counts,
        width=np.diff(edges),
        align="edge",
        color=COLOURS[5],
        edgecolor="white",
        linewidth=0.5,
    )
    for number, (name, value) in enumerate(picture.marks.items()):
        axis.axvline(
            value,
            color=COLOURS[(number + 1) % len(COLOURS)],
            linestyle=DASHES[number % len(DASHES)],
            label=f"{name}: {value:.3g}",
        )
    if np.max(picture.counts, initial=0) > 100 * max(1, np.median(picture.counts)):
        axis.set_yscale("symlog")
    axis.set_xlabel(picture.label)
    axis.set_ylabel("count")
    if picture.marks:
        axis.legend()
    return figure


def _limits(values: np.ndarray) -> tuple[float, float]:
    """The ends of an axis that includes 0 and all values, with some space at the ends."""
    low = min(0.0, float(np.nanmin(values, initial=0.0)))
    high = max(0.0, float(np.nanmax(values, initial=0.0)))
    return (1.05 * low, 1.05 * high) if high > low else (0.0, 1.0)


def _panel() -> tuple[Figure, Axes]:
    """An empty figure with one panel."""
    figure = Figure(figsize=(_WIDTH, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.grid(True)
    return figure, axis
