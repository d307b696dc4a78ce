"""Figures with a row per field: bars of dimensions, heat maps. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from irazor_tf.report.figures.style import COLOURS, GREY, log_ticks

_ROW = 0.235  # inches per field
_REMOVED = "#80868b"  # colour of a removed field's name


def dimension_bars(
    names: Sequence[str],
    cardinalities: Sequence[int],
    dims: Sequence[Sequence[int]],
    most: tuple[int, int],
) -> Figure:
    """A figure with a row per field: bars for its dimension in every cluster and, on a log scale
    beside them, for its cardinality; removed fields are marked.

    Args:
      names: Names of the fields, in the order drawn.
      cardinalities: Number of ids of each field.
      dims: For every cluster, the dimension of each field.
      most: Largest dimension and largest cardinality on the axes, the same for all figures of a
        report.
    """
    figure, axes = _rows(names, [*(4.9 / len(dims) for _ in dims), 3.5], 0.1)
    removed = [not any(column) for column in zip(*dims, strict=True)]
    for label, is_removed in zip(axes[0].get_yticklabels(), removed, strict=True):
        label.set_color(_REMOVED if is_removed else "black")
    at = np.arange(len(names))
    for cluster, (axis, cluster_dims) in enumerate(zip(axes, dims, strict=False)):
        axis.barh(at, cluster_dims, height=0.72, color=COLOURS[0])
        for row, dim in enumerate(cluster_dims):
            _label_bar(
                axis, dim, row, str(dim) if dim else "removed", color="black" if dim else COLOURS[1]
            )
        axis.set_xlim(0, most[0] * 1.12)
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=max(3, 8 // len(dims))))
        axis.set_xlabel(
            "embedding dimension" if len(dims) == 1 else f"dimension, cluster {cluster}"
        )
    last = axes[-1]
    last.barh(
        at,
        np.maximum(cardinalities, 1) - 0.5,
        left=0.5,
        height=0.72,
        color=[GREY if is_removed else COLOURS[4] for is_removed in removed],
    )
    for row, size in enumerate(cardinalities):
        _label_bar(last, max(size, 1), row, f"{size:,}", color="black")
    last.set_xscale("log")
    last.tick_params(axis="x", which="minor", length=0)
    last.set_xlim(0.5, most[1] * max(6.0, most[1] ** 0.2))
    log_ticks(last.xaxis)
    last.set_xlabel("cardinality (ids, log scale)")
    return figure


def finite_limits(values: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest finite value of an array; (0, 0) where it has none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def heat_map(
    names: Sequence[str],
    values: np.ndarray,
    columns: Sequence[str],
    labels: tuple[str, str],
    limits: tuple[float, float],
    kept: np.ndarray | None,
) -> Figure:
    """A matrix as colours, with numbers in the cells where there is room.

    Args:
      names: names of the rows.
      values: [N, K].
      columns: names of the K columns.
      labels: what the columns are and what the values are.
      limits: smallest and largest value on the colour scale; where the smallest is negative, the
        scale has its middle at 0.
      kept: [N, K], cells that are in the config, marked with a dot; None: not known.
    """
    count, width = values.shape
    figure, (axis,) = _rows(names, [max(0.6, width * min(0.85, 7 / width))], 1.0)
    low, high = limits
    top = max(abs(low), abs(high), 1e-12)
    bounds = (-top, top) if low < 0 else (0.0, top)
    colours = matplotlib.colormaps["PuOr" if low < 0 else "Blues"]
    image = axis.pcolormesh(
        np.arange(width + 1) - 0.5,
        np.arange(count + 1) - 0.5,
        values,
        cmap=colours,
        vmin=bounds[0],
        vmax=bounds[1],
        rasterized=True,
    )
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(count - 0.5, -0.5)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    every = max(1, -(-width // 32))
    axis.set_xticks(np.arange(0, width, every), [columns[i] for i in range(0, width, every)])
    axis.set_xlabel(labels[0])
    if count <= 40 and width <= 12:
        _write_cells(axis, values, colours, bounds)
    if kept is not None and kept.any():
        _mark_cells(axis, kept)
    box, (figure_width, figure_height) = axis.get_position(), figure.get_size_inches()
    length = min(box.height, 3.0 / figure_height)
    place = (box.x1 + 0.14 / figure_width, box.y1 - length, 0.15 / figure_width, length)
    bar = figure.colorbar(image, cax=figure.add_axes(place))
    bar.set_label(labels[1])
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def _write_cells(
    axis: Axes, values: np.ndarray, colours: Colormap, bounds: tuple[float, float]
) -> None:
    """Numbers in the cells of a heat map, white on dark ones.

    Args:
      axis: the axes of the heat map.
      values: [N, K].
      colours: the heat map's colour scale.
      bounds: values at the ends of the scale.
    """
    digits = int(np.clip(2 - np.floor(np.log10(bounds[1])), 0, 6))
    for row, column in np.ndindex(*values.shape):
        shade = colours((values[row, column] - bounds[0]) / (bounds[1] - bounds[0]))
        dark = np.dot(shade[:3], (0.299, 0.587, 0.114)) < 0.55
        text = f"{values[row, column]:.{digits}f}" if np.isfinite(values[row, column]) else ""
        axis.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "black",
        )


def _mark_cells(axis: Axes, kept: np.ndarray) -> None:
    """Draws dots in the cells of a heat map that are kept: beside the numbers where the cells are
    wide enough for both.

    Args:
      axis: The axes of the heat map.
      kept: Which cells get a dot, [N, K] bool.
    """
    rows, columns = np.nonzero(kept)
    shift, size = (0.38, 4.0) if kept.shape[1] <= 12 else (0.0, 3.0)
    axis.plot(
        columns + shift,
        rows,
        "o",
        color="black",
        markeredgecolor="white",
        markeredgewidth=0.6,
        markersize=size,
    )


def _rows(names: Sequence[str], widths: Sequence[float], right: float) -> tuple[Figure, list[Axes]]:
    """Panels side by side that share their rows, one per field, the first at the top.

    They are laid out by hand: matplotlib's own layout took most of the time with hundreds of
    fields.

    Args:
      names: Names of the fields.
      widths: Widths of the panels, inches.
      right: Free space to the right of the panels, inches.
    """
    left, top, bottom, between = 0.12 + 0.074 * max(map(len, names)), 0.52, 0.08, 0.12
    width = left + sum(widths) + between * (len(widths) - 1) + right
    height = top + bottom + _ROW * len(names)
    place = {
        "left": left / width,
        "right": 1 - right / width,
        "top": 1 - top / height,
        "bottom": bottom / height,
    }
    figure = Figure(figsize=(width, height))
    spacing = {"wspace": between * len(widths) / sum(widths), "width_ratios": list(widths)}
    axes = list(
        figure.subplots(1, len(widths), squeeze=False, sharey=True, gridspec_kw=place | spacing)[0]
    )
    axes[0].set_yticks(np.arange(len(names)), names)
    for axis in axes:
        axis.tick_params(axis="y", length=0)
        axis.grid(True, axis="x")
        axis.xaxis.set_ticks_position("top")
        axis.xaxis.set_label_position("top")
        axis.spines["top"].set_visible(True)
        axis.spines["bottom"].set_visible(False)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    return figure, axes


def _label_bar(axis: Axes, x: float, row: int, text: str, color: str) -> None:
    """Writes a text at the end of a bar.

    Args:
      axis: The axes of the bar.
      x: Length of the bar.
      row: Number of its row.
      text, color: The text and its colour.
    """
    axis.annotate(
        text, (x, row), (4, 0), textcoords="offset points", va="center", fontsize=8, color=color
    )
