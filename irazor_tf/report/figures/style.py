"""The style of all the report's figures, and the conversion of a figure to inline SVG. No
TensorFlow import.

Text stays text (it can be searched and copied), no id occurs twice on a page, and the same data
give the same bytes.
"""

from __future__ import annotations

import contextlib
import html
import io
import re
from typing import Any

import matplotlib
from matplotlib import ticker
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers; markers and dashes tell them apart in
# grey, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
GREY = "#9aa0a6"
ROWS = 60  # fields per figure: about a printed page
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


def house_style() -> contextlib.AbstractContextManager:
    """A context with matplotlib's settings for the report, inside which figures are drawn and
    converted."""
    return matplotlib.rc_context(_STYLE)


def line_style(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of a line, as arguments of matplotlib's `plot`. Colours and markers
    repeat after a while, and then the dashes change.

    Args:
      number: Number of the line, from 0.
    """
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def svg(figure: Figure, key: str, description: str) -> str:
    """A figure as an SVG element.

    Args:
      figure: drawn under `house_style`.
      key: prefix that makes the element's ids unique on the page.
      description: text that screen readers read out.
    """
    out = io.StringIO()
    figure.savefig(
        out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = out.getvalue()
    text = text[text.index("<svg ") :]
    text = re.sub(
        r'(?<= )id="|(?<=url\(#)|(?<=href="#)', lambda match: f"{match.group()}{key}-", text
    )
    text = re.sub(
        r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'[^;\"]*",
        r"\1system-ui, 'Segoe UI', Helvetica, Arial, sans-serif",
        text,
    )
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(description)}" ', 1)


def log_ticks(axis: Any) -> None:
    """Sets the ticks of a logarithmic axis to round numbers, written out."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(
        ticker.LogLocator(subs=(1.0, 2.0, 5.0) if high < 400 * low else (1.0,), numticks=12)
    )
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_minor_formatter(ticker.NullFormatter())
