"""What a job left on disk -> one HTML file to look at: no script, no link to anything outside, nothing but what is there. No TensorFlow import.

A part whose stage has not run, or for which the method leaves nothing, says so in a sentence.
"""

from __future__ import annotations

import dataclasses
import glob
import html
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf import plots
from irazor_tf.candidates import Role
from irazor_tf.input_config import InputConfig, SearchResult, read_json
from irazor_tf.registry import Spec, parse_specs
from irazor_tf.schema import Schema

NONE = "–"
_CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; color: #1f2328; background: #fff; max-width: 1080px; margin: 2rem auto;
  padding: 0 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .5rem; padding-top: .9rem; border-top: 1px solid #d7dbe0; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } p { margin: .4rem 0; max-width: 56rem; } code { font: 13px ui-monospace, Menlo, Consolas, monospace; }
nav { margin: .9rem 0 0; font-size: .9rem; } nav a { color: #0059a3; margin-right: 1.1rem; } .lead { color: #4d545c; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.card { flex: 1 1 11rem; border: 1px solid #d7dbe0; border-radius: 6px; padding: .55rem .9rem; }
.card b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; } .card span { color: #4d545c; font-size: .85rem; }
.scroll { overflow: auto; max-height: 46rem; } .none { color: #5f666d; font-style: italic; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .26rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e6e9ec; } td.wrap { white-space: normal; min-width: 16rem; }
th { position: sticky; top: 0; background: #f4f6f8; color: #3b4249; font-weight: 600; vertical-align: bottom; } .left { text-align: left; }
tr.found td { background: #e8f2fa; font-weight: 600; } tr.off td { color: #80868b; } tr.head th { position: static; }
figure { margin: .6rem 0; } figure svg { max-width: 100%; height: auto; } figcaption { color: #4d545c; font-size: .87rem; max-width: 56rem; }
summary { cursor: pointer; color: #0059a3; margin: .5rem 0; font-size: .9rem; }
@media print { body { max-width: none; margin: 0; padding: 0; font-size: 11px; } .scroll { max-height: none; overflow: visible; } nav { display: none; }
  figure, tr, .card { break-inside: avoid; } h2, h3 { break-after: avoid; } th { position: static; } table { font-size: 8px; } th, td { padding: .15rem .3rem; } }
@page { size: A4 landscape; margin: 12mm; }
"""


def write(model_dir: str, schema: Schema) -> str:
    """Writes `model_dir`/report.html beside and renames; returns its path."""
    path = os.path.join(model_dir, "report.html")
    job = _Job.load(model_dir, schema)
    with plots.house_style():
        text = _page(job)
    with open(path + ".partial", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".partial", path)
    return path


@dataclasses.dataclass(frozen=True)
class _Job:
    """What was found on disk; what is missing is empty.

    Args:
      settings, chosen: the two halves of `job.json`.
      points: `curve.json` (before there is one: `summary.json`), the found config first.
      candidates: name -> its entry in `candidates.json`.
      found: the configs found.
    """

    folder: str
    schema: Schema
    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]
    points: Sequence[Mapping[str, Any]]
    candidates: Mapping[str, Mapping[str, Any]]
    found: SearchResult | None

    @classmethod
    def load(cls, folder: str, schema: Schema) -> _Job:
        job = _read(folder, "job.json") or {}
        summary = _read(folder, "summary.json") or []
        exported = {point["name"]: point["export_mib"] for point in summary if "export_mib" in point}
        roles = [Role.FOUND, *[Role.CONTROL] * len(summary)]
        points = _read(folder, "curve.json") or [{"role": role.value} | point for role, point in zip(roles, summary, strict=False)]
        points = [point | {"export_mib": exported.get(point["name"])} for point in points]
        points.sort(key=lambda point: [role.value for role in Role].index(point["role"]))
        candidates = {entry["name"]: entry for entry in _read(folder, "candidates.json") or []}
        places = [os.path.join(point["folder"], "result.json") for point in points if point["role"] == Role.FOUND.value and "folder" in point]
        paths = [os.path.join(folder, place) for place in [*places, os.path.join("search", "result.json")]]
        found = next((SearchResult.load(path) for path in paths if os.path.exists(path)), None)
        return cls(folder, schema, job.get("settings", {}), job.get("chosen", {}), points, candidates, found)

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.settings.get("train", {}).get("metric") or (self.metrics[0] if self.metrics else "")

    @property
    def metrics(self) -> list[str]:
        return [key.removeprefix("valid_") for key in (self.points[0] if self.points else {}) if key.startswith("valid_")]

    @property
    def compared(self) -> list[Mapping[str, Any]]:
        """The found config and the controls."""
        return [point for point in self.points if point["role"] != Role.CURVE.value]

    @property
    def full_params(self) -> int | None:
        """Embedding parameters of the space: every field at full width."""
        return self.schema.num_features * self.settings["width"] if "width" in self.settings else None

    @property
    def method(self) -> str:
        return self.chosen.get("method") or self.settings.get("method") or (self.points[0]["name"] if self.points else "search")

    def style(self, label: str) -> int:
        """Number of a series' colour, the same in every figure."""
        order = list(dict.fromkeys([_series_name(point) for point in self.points] + [point["name"] for point in self.compared]))
        return order.index(label) if label in order else len(order)

    def known(self) -> dict[str, str]:
        """What is known beforehand of a field: that it is a shadow, or its group in the `truth.json` of a generated log."""
        names = {field.name: "shadow" for field in self.schema.fields if field.role == "shadow"}
        truth = _read(self.schema.directory or "", os.path.join("log", "truth.json")) or {}
        for group, members in truth.items():
            values = list(members.values()) if isinstance(members, dict) else members
            if isinstance(values, list) and values and all(isinstance(value, str) and value in self.schema.names for value in values):
                names |= dict.fromkeys(members, group)
        return names


def _read(*parts: str) -> Any:
    """A JSON file's value; None where there is no file."""
    path = os.path.join(*parts)
    return read_json(path)[0] if os.path.exists(path) else None


def _series_name(point: Mapping[str, Any]) -> str:
    """The method's name in the point's spec, and the method it works on: a(x=1) -> a, a(b(x=1)) -> a(b)."""

    def name(spec: Spec) -> str:
        return spec.name + (f"({', '.join(map(name, spec.operands))})" if spec.operands else "")

    try:
        return " + ".join(map(name, parse_specs(point["method"])))
    except (KeyError, ValueError):
        return str(point.get("method", point["name"])).split("(")[0]


# Pieces of HTML -------------------------------------------------------------------------------------------------------------------


def _number(value: Any, digits: int = 4) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, classes: Sequence[str] = ()) -> str:
    """A table; the first `left` columns to the left, `classes` one per row. Every cell is escaped."""

    def line(tag: str, cells: Sequence[str], kind: str = "") -> str:
        inner = "".join(
            f'<{tag} class="{"left" if i < left else "right"}{" wrap" if len(cell) > 60 else ""}">{html.escape(cell)}</{tag}>'
            for i, cell in enumerate(cells)
        )
        return f'<tr class="{kind}">{inner}</tr>'

    body = "\n".join(line("td", row, kind) for row, kind in zip(rows, classes or [""] * len(rows), strict=True))
    return f'<div class="scroll"><table><thead>{line("th", header)}</thead><tbody>\n{body}\n</tbody></table></div>'


def _figure(figure: Any, key: str, caption: str) -> str:
    return f"<figure>{plots.svg(figure, key, caption)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _none(sentence: str) -> str:
    return f'<p class="none">{html.escape(sentence)}</p>'


def _p(sentence: str) -> str:
    return f"<p>{html.escape(sentence)}</p>"
