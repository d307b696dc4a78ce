"""Figures of lines: quality against size, learning curves, reliability. No TensorFlow import."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from irazor_tf.report.figures.style import COLOURS, DASHES, GREY, MARKERS, line_style, log_ticks
from irazor_tf.report.formats import metric_name

_WIDTH = 10.5  # inches


@dataclasses.dataclass(frozen=True)
class Series:
    """The models of one method in the figure of quality against size.

    Args:
      label: name in the legend.
      params, values: embedding parameters and metric, [points].
      notes: a few words at each point; "" for none.
      style: number of the line's colour, marker and dashes (`line_style`).
      main: parameters and metric of the found config, where it is in this series.
    """

    label: str
    params: Sequence[float]
    values: Sequence[float]
    notes: Sequence[str]
    style: int
    main: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """One training, to be drawn as a line.

    Args:
      label: name in the legend.
      history: a record per epoch, name of a quantity -> value, with the epoch's number under
        "epoch".
      best: the epoch whose weights were kept; None: the last.
      style: number of the line's colour, marker and dashes (`line_style`).
    """

    label: str
    history: Sequence[Mapping[str, float]]
    best: int | None
    style: int


def quality_curve(series: Sequence[Series], metric: str) -> Figure:
    """The figure of quality against size: the metric against the number of embedding parameters, a
    line per method, the found config as a star.

    Args:
      series: The models, by method.
      metric: Name of the metric, for the axis.
    """
    figure = Figure(figsize=(_WIDTH, 4.9), layout="constrained")
    axis = figure.subplots()
    for number, line in enumerate(series):
        _draw_series(axis, line, above=line.main is not None or number % 2 == 0)
    axis.set_xscale("log")
    sizes = {x for line in series for x in line.params}
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
        key=lambda entry: entry[1].startswith(("found: ", "size of")),
    )
    figure.legend(
        [handle for handle, _ in listed],
        [label for _, label in listed],
        loc="outside upper left",
        ncols=6,
    )
    return figure


def _draw_series(axis: Axes, series: Series, above: bool) -> None:
    """Draws the line of a method, the notes at its points, and the found config where it is among
    them.

    Args:
      axis: The axes to draw on.
      series: The models of the method.
      above: Whether notes stand above the points; if not, below.
    """
    style, leading = line_style(series.style), series.main is not None
    axis.plot(
        series.params,
        series.values,
        **style,
        markersize=6,
        linewidth=2.4 if leading else 1.3,
        label=series.label,
        zorder=4 if leading else 3,
    )
    for x, y, note in zip(series.params, series.values, series.notes, strict=True):
        axis.annotate(
            note,
            (x, y),
            (0, 9 if above else -14),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=style["color"],
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            zorder=5,
        )
    if series.main is None:
        return
    axis.plot(
        *series.main,
        "*",
        color=style["color"],
        markeredgecolor="black",
        markersize=17,
        zorder=6,
        label=f"found: {series.label}",
    )
    axis.axvline(
        series.main[0],
        color=GREY,
        linewidth=0.9,
        linestyle=":",
        zorder=1,
        label=f"size of the found config: {series.main[0]:,.0f}",
    )


def recorded(runs: Sequence[Run]) -> list[str]:
    """Names of all quantities in the histories, in the order in which they first occur; "epoch"
    left out."""
    return list(
        dict.fromkeys(
            key for run in runs for record in run.history for key in record if key != "epoch"
        )
    )


def learning_curves(runs: Sequence[Run], keys: Sequence[str], metrics: Sequence[str]) -> Figure:
    """A panel per quantity, a line per training.

    Args:
      runs: the trainings.
      keys: the quantities: the training loss, validation metrics, the gates' traces.
      metrics: which of them are validation metrics.
    """
    across = min(3, len(keys))
    down = -(-len(keys) // across)
    figure = Figure(
        figsize=(_WIDTH if across == 3 else 3.6 * across, 2.5 * down + 0.4), layout="constrained"
    )
    panels = figure.subplots(down, across, squeeze=False).flat
    for axis, key in zip(panels, [*keys, *[None] * (down * across - len(keys))], strict=True):
        if key is None:
            axis.set_axis_off()
            continue
        for run in runs:
            _draw_run(axis, run, key)
        if key in metrics:
            title = f"{metric_name(key)}, validation"
        else:
            title = "Loss, training" if key == "loss" else metric_name(key)
        axis.set_title(title)
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
        axis.margins(x=0.08, y=0.12)
        axis.grid(True)
        axis.set_xlabel("epoch")
    handles: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=5)
    return figure


def _draw_run(axis: Axes, run: Run, key: str) -> None:
    """Draws a quantity of a training over its epochs, with a ring at the epoch whose weights were
    kept (no ring on the training loss, which is not what that epoch is chosen by).

    Args:
      axis: The axes to draw on.
      run: The training.
      key: Name of the quantity.
    """
    style = line_style(run.style)
    records = [record for record in run.history if key in record]
    axis.plot(
        [record["epoch"] for record in records],
        [record[key] for record in records],
        **style,
        markersize=4.5,
        linewidth=1.5,
        label=run.label,
    )
    best = next((record for record in records if record["epoch"] == run.best), None)
    if best is not None and key != "loss":
        axis.plot(
            best["epoch"],
            best[key],
            style["marker"],
            markersize=10,
            markerfacecolor="none",
            markeredgecolor=style["color"],
            linestyle="",
        )


def reliability(series: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """The reliability diagram: the rate of positives against the mean prediction, a point per bin,
    with the rate's standard error as a bar.

    Args:
      series: label -> bins with "rows", "mean_prediction" and "rate", lowest predictions first.
    """
    figure = Figure(figsize=(5.6, 4.9), layout="constrained")
    axis = figure.subplots()
    predicted = {label: [one["mean_prediction"] for one in bins] for label, bins in series.items()}
    rates = {label: [one["rate"] for one in bins] for label, bins in series.items()}
    errors = {
        label: [math.sqrt(one["rate"] * (1 - one["rate"]) / one["rows"]) for one in bins]
        for label, bins in series.items()
    }
    ends = [
        rate + error
        for label in series
        for rate, error in zip(rates[label], errors[label], strict=True)
    ]
    top = 1.05 * max(*ends, *(prediction for line in predicted.values() for prediction in line))
    axis.plot(
        [0, top], [0, top], ":", color=GREY, linewidth=1.2, label="as often as predicted", zorder=1
    )
    for number, label in enumerate(series):
        axis.errorbar(
            predicted[label],
            rates[label],
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
