"""The report's figures, drawn by matplotlib and given as inline SVG. No TensorFlow import.

Text stays text (it can be searched and copied), no id occurs twice on a page, and the same data
give the same bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers; markers and dashes tell them apart in
# grey, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
GREY = "#9aa0a6"
ROWS = 60  # fields per figure: about a printed page
_WIDTH = 10.5  # inches
_ROW = 0.235  # inches per field
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#80868b",
    "axes.axisbelow": True,
    "grid.color": "#e3e6ea",
    "legend.frameon": False,
}


@dataclasses.dataclass(frozen=True)
class Series:
    """Points of one method.

    Args:
      label: for the legend.
      params, values: embedding parameters and metric, [points].
      notes: a few words at each point; "" for none.
      style: number of its colour, marker and dashes.
      found: parameters and metric of the found config, where it is in this series.
    """

    label: str
    params: Sequence[float]
    values: Sequence[float]
    notes: Sequence[str]
    style: int
    found: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: a record per epoch, and the epoch whose weights were kept (None: the last)."""

    label: str
    history: Sequence[Mapping[str, float]]
    best: int | None
    style: int


def house_style() -> contextlib.AbstractContextManager:
    """Settings under which figures are made and written."""
    return matplotlib.rc_context(_STYLE)


def svg(figure: Figure, key: str, description: str) -> str:
    """The figure as an SVG element; `key` makes its ids unique on the page, `description` is read
    out by screen readers."""
    out = io.StringIO()
    figure.savefig(
        out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = out.getvalue()
    text = text[text.index("<svg ") :]
    text = re.sub(
        r'(?<= )id="|(?<=url\(#)|(?<=href="#)', lambda found: f"{found.group()}{key}-", text
    )
    text = re.sub(
        r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'[^;\"]*",
        r"\1system-ui, 'Segoe UI', Helvetica, Arial, sans-serif",
        text,
    )
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(description)}" ', 1)


def metric_name(key: str) -> str:
    """How a metric is called: AUC, Log loss, valid AUC, valid log loss."""
    if key.startswith("valid_"):
        name = metric_name(key.removeprefix("valid_"))
        return f"valid {name if name.isupper() else name.lower()}"
    return (
        key.upper()
        if len(key) <= 4 and "_" not in key and key != "loss"
        else key.replace("_", " ").capitalize()
    )


def dimension_bars(
    names: Sequence[str],
    cardinalities: Sequence[int],
    dims: Sequence[Sequence[int]],
    most: tuple[int, int],
) -> Figure:
    """Bars per field: its dimension in every cluster, its cardinality on a log scale beside them;
    removed fields are marked.

    Args:
      names: of the fields, in the order drawn.
      cardinalities: ids per field.
      dims: one sequence of dimensions per cluster.
      most: largest dimension and cardinality on the axes, the same for all figures of a report.
    """
    figure, axes = _rows(names, [*(4.9 / len(dims) for _ in dims), 3.5], 0.1)
    removed = [not any(column) for column in zip(*dims, strict=True)]
    for label, gone in zip(axes[0].get_yticklabels(), removed, strict=True):
        label.set_color("#80868b" if gone else "black")
    at = np.arange(len(names))
    for number, (axis, own) in enumerate(zip(axes, dims, strict=False)):
        axis.barh(at, own, height=0.72, color=COLOURS[0])
        for row, dim in enumerate(own):
            _beside(
                axis, dim, row, str(dim) if dim else "removed", color="black" if dim else COLOURS[1]
            )
        axis.set_xlim(0, most[0] * 1.12)
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=max(3, 8 // len(dims))))
        axis.set_xlabel("embedding dimension" if len(dims) == 1 else f"dimension, cluster {number}")
    last = axes[-1]
    last.barh(
        at,
        np.maximum(cardinalities, 1) - 0.5,
        left=0.5,
        height=0.72,
        color=[GREY if gone else COLOURS[4] for gone in removed],
    )
    for row, size in enumerate(cardinalities):
        _beside(last, max(size, 1), row, f"{size:,}", color="black")
    last.set_xscale("log")
    last.tick_params(axis="x", which="minor", length=0)
    last.set_xlim(0.5, most[1] * max(6.0, most[1] ** 0.2))
    log_ticks(last.xaxis)
    last.set_xlabel("cardinality (ids, log scale)")
    return figure


def heat_map(
    names: Sequence[str],
    values: np.ndarray,
    columns: Sequence[str],
    labels: tuple[str, str],
    limits: tuple[float, float],
    kept: np.ndarray | None,
) -> Figure:
    """Fields against the columns of `values` [N, K], with numbers in the cells where there is room.

    Args:
      names: of the rows.
      values: [N, K].
      columns: labels of the columns.
      labels: what the columns are and what the values are.
      limits: smallest and largest value on the colour scale; below 0 the scale has its middle at 0.
      kept: cells that are in the config, marked with a dot; None: not known.
    """
    count, width = values.shape
    figure, (axis,) = _rows(names, [max(0.6, width * min(0.85, 7 / width))], 1.0)
    low, high = limits
    signed = low < 0
    top = max(abs(low), abs(high), 1e-12)
    bounds = (-top, top) if signed else (0.0, top)
    colours = matplotlib.colormaps["PuOr" if signed else "Blues"]
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
        digits = int(np.clip(2 - np.floor(np.log10(top)), 0, 6))
        for row, column in np.ndindex(count, width):
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
    if kept is not None and kept.any():
        rows, marks = np.nonzero(kept)
        shift, size = (0.38, 4.0) if width <= 12 else (0.0, 3.0)
        axis.plot(
            marks + shift,
            rows,
            "o",
            color="black",
            markeredgecolor="white",
            markeredgewidth=0.6,
            markersize=size,
        )
    box, (across, down) = axis.get_position(), figure.get_size_inches()
    long = min(box.height, 3.0 / down)
    bar = figure.colorbar(
        image, cax=figure.add_axes((box.x1 + 0.14 / across, box.y1 - long, 0.15 / across, long))
    )
    bar.set_label(labels[1])
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def quality_curve(series: Sequence[Series], metric: str) -> Figure:
    """Metric against embedding parameters, a line per method, the found config as a star."""
    figure = Figure(figsize=(_WIDTH, 4.9), layout="constrained")
    axis = figure.subplots()
    halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
    for number, own in enumerate(series):
        colour, marker = COLOURS[own.style % len(COLOURS)], MARKERS[own.style % len(MARKERS)]
        leading = own.found is not None
        axis.plot(
            own.params,
            own.values,
            DASHES[own.style // len(COLOURS) % len(DASHES)],
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=2.4 if leading else 1.3,
            label=own.label,
            zorder=4 if leading else 3,
        )
        for x, y, note in zip(own.params, own.values, own.notes, strict=True):
            side = 9 if leading or number % 2 == 0 else -14
            axis.annotate(
                note,
                (x, y),
                (0, side),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=colour,
                bbox=halo,
                zorder=5,
            )
        if own.found is not None:
            size, star = f"size of the found config: {own.found[0]:,.0f}", f"found: {own.label}"
            axis.plot(
                *own.found,
                "*",
                color=colour,
                markeredgecolor="black",
                markersize=17,
                zorder=6,
                label=star,
            )
            axis.axvline(
                own.found[0], color=GREY, linewidth=0.9, linestyle=":", zorder=1, label=size
            )
    axis.set_xscale("log")
    sizes = {x for own in series for x in own.params}
    if len(sizes) == 1:  # or the limits would be the same number
        (only,) = sizes
        axis.set_xlim(only / 2, 2 * only)
    log_ticks(axis.xaxis)
    axis.margins(x=0.08, y=0.12)
    axis.grid(True, which="major")
    axis.set_xlabel("embedding parameters (log scale)")
    axis.set_ylabel(f"{metric}, validation split")
    listed = sorted(
        zip(*axis.get_legend_handles_labels(), strict=True),
        key=lambda item: item[1].startswith(("found: ", "size of")),
    )
    figure.legend(
        [handle for handle, _ in listed],
        [label for _, label in listed],
        loc="outside upper left",
        ncols=6,
    )
    return figure


def recorded(runs: Sequence[Run]) -> list[str]:
    """The quantities in the histories, in their order."""
    return list(
        dict.fromkeys(
            key for run in runs for record in run.history for key in record if key != "epoch"
        )
    )


def learning_curves(runs: Sequence[Run], keys: Sequence[str], metrics: Sequence[str]) -> Figure:
    """A panel for each of `keys`: the training loss, the
    validation `metrics`, the gates' traces."""
    across = min(3, len(keys))
    down = -(-len(keys) // across)
    figure = Figure(
        figsize=(_WIDTH if across == 3 else 3.6 * across, 2.5 * down + 0.4), layout="constrained"
    )
    for axis, key in zip(
        figure.subplots(down, across, squeeze=False).flat,
        [*keys, *[None] * (down * across - len(keys))],
        strict=True,
    ):
        if key is None:
            axis.set_axis_off()
            continue
        for run in runs:
            records = [record for record in run.history if key in record]
            colour = COLOURS[run.style % len(COLOURS)]
            marker, dashes = (
                MARKERS[run.style % len(MARKERS)],
                DASHES[run.style // len(COLOURS) % len(DASHES)],
            )
            at, values = (
                [record["epoch"] for record in records],
                [record[key] for record in records],
            )
            axis.plot(
                at,
                values,
                dashes,
                color=colour,
                marker=marker,
                markersize=4.5,
                linewidth=1.5,
                label=run.label,
            )
            chosen = [
                (epoch, value) for epoch, value in zip(at, values, strict=True) if epoch == run.best
            ]
            if chosen and key != "loss":
                axis.plot(
                    *chosen[0],
                    marker,
                    markersize=10,
                    markerfacecolor="none",
                    markeredgecolor=colour,
                    linestyle="",
                )
        title = (
            f"{metric_name(key)}, validation"
            if key in metrics
            else "Loss, training"
            if key == "loss"
            else metric_name(key)
        )
        axis.set_title(title)
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
        axis.margins(x=0.08, y=0.12)
        axis.grid(True)
        axis.set_xlabel("epoch")
    handles: dict[str, Any] = {}
    for axis in figure.axes:
        handles |= {
            label: handle
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
            if label not in handles
        }
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=5)
    return figure


def reliability(series: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """The rate of positives against the mean prediction, a point per bin, with the rate's standard
    error as a bar.

    Args:
      series: label -> bins with "rows", "mean_prediction" and "rate", lowest predictions first.
    """
    figure = Figure(figsize=(5.6, 4.9), layout="constrained")
    axis = figure.subplots()
    errors = {
        label: [math.sqrt(own["rate"] * (1 - own["rate"]) / own["rows"]) for own in bins]
        for label, bins in series.items()
    }
    ends = [
        own["rate"] + error
        for label, bins in series.items()
        for own, error in zip(bins, errors[label], strict=True)
    ]
    top = 1.05 * max(*ends, *(own["mean_prediction"] for bins in series.values() for own in bins))
    axis.plot(
        [0, top], [0, top], ":", color=GREY, linewidth=1.2, label="as often as predicted", zorder=1
    )
    for number, (label, bins) in enumerate(series.items()):
        axis.errorbar(
            [own["mean_prediction"] for own in bins],
            [own["rate"] for own in bins],
            errors[label],
            linestyle=DASHES[number % len(DASHES)],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5.5,
            linewidth=1.5,
            elinewidth=1.0,
            capsize=2.5,
            label=label,
            zorder=3,
        )
    axis.set_xlim(0, top)
    axis.set_ylim(0, top)
    axis.set_aspect("equal")
    axis.grid(True)
    axis.set_xlabel("mean prediction of a bin, test split")
    axis.set_ylabel("rate of positives")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure


def _rows(names: Sequence[str], widths: Sequence[float], right: float) -> tuple[Figure, list[Axes]]:
    """Panels side by side, with the fields as rows that they share, the first at the top.

    Laid out by hand: matplotlib's own layout took most of the time with hundreds of fields.

    Args:
      names: of the fields.
      widths: of the panels, inches.
      right: room on the right, inches.
    """
    left, top, bottom, between = 0.12 + 0.074 * max(map(len, names)), 0.52, 0.08, 0.12
    width, height = (
        left + sum(widths) + between * (len(widths) - 1) + right,
        top + bottom + _ROW * len(names),
    )
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


def _beside(axis: Axes, x: float, row: int, text: str, color: str) -> None:
    """A bar's value at its end."""
    axis.annotate(
        text, (x, row), (4, 0), textcoords="offset points", va="center", fontsize=8, color=color
    )


def log_ticks(axis: Any) -> None:
    """Ticks of a log axis: round numbers, written out."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(
        ticker.LogLocator(subs=(1.0, 2.0, 5.0) if high < 400 * low else (1.0,), numticks=12)
    )
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_minor_formatter(ticker.NullFormatter())
