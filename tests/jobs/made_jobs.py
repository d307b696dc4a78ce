"""A job's folder made by hand, with what a report may find in one; and what a test reads of a
report."""

from __future__ import annotations

import html.parser
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf.config.files import write_json
from irazor_tf.config.schema import Field, Schema
from irazor_tf.report import report
from irazor_tf.search.pictures import Bars, HeatMap, Histogram, Lines, Picture, save_pictures

NASTY = "<script>alert('x')</script> & \"$quoted$\" http://example.com/x.png"
PICTURES: list[Picture] = [
    HeatMap(
        "Alpha by block",
        np.array([[0.5, np.nan, 1.0], [0.0, 0.25, 0.1]]),
        (NASTY, "b"),
        ("x", "y", "z"),
        "alpha",
    ),
    Bars("Cluster sizes", ("first", NASTY), np.array([1.0, 2.0]), "rows"),
    Lines(
        "Ranked saliency",
        np.arange(1, 100),
        {"one": np.arange(99.0), "two": np.ones(99)},
        ("rank", "saliency"),
        True,
    ),
    Histogram(
        "Probabilities", np.linspace(0, 1, 5), np.array([3, 40000, 2, 1]), "p", {"threshold": 0.5}
    ),
]
# Ids of the page's sections, from top to bottom.
SECTIONS = [
    "headline",
    "dimensions",
    "arrays",
    "pictures",
    "quality",
    "calibration",
    "costs",
    "learning",
    "models",
    "settings",
]
# What the records of only some searches hold.
RARE = {
    "search_steps": 4321,
    "search_peak_mib": 987.6,
    "train_peak_mib": 876.5,
    "train_steps": 2109,
    "pretraining_seconds": 1.5,
    "search_proper": {"steps": 1, "seconds": 0.25},
    "table_mib": {"dense": 8.0, "coo": 6.0, "csr": 4.125},
    "notices": ["two clusters became one"],
}


def make_schema(count: int = 6) -> Schema:
    """`count` fields, the second one a shadow."""
    fields = [
        Field(
            f"field_{i}", vocabulary_size=10 ** (i % 4 + 1), role="shadow" if i == 1 else "context"
        )
        for i in range(count)
    ]
    return Schema(tuple(fields), fingerprint="f1f2f3")


def save(path: pathlib.Path, value: Any) -> None:
    """Writes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def result(schema: Schema, dims: Sequence[int], method: str) -> dict[str, Any]:
    """The JSON of a search's result: a config with these dimensions."""
    cluster = {
        "version": 1,
        "fields": {name: {"dim": dim} for name, dim in zip(schema.names, dims, strict=True)},
        "pairs": None,
    }
    return {
        "version": 1,
        "method": method,
        "init": "fresh",
        "seconds": 3.0,
        "router": None,
        "clusters": [cluster],
    }


def make_job(
    folder: pathlib.Path, schema: Schema, curve: bool = True, control: str = NASTY, width: int = 4
) -> None:
    """A job with a method `finder` and one control.

    Args:
      folder: the job's.
      schema: the data's fields.
      curve: whether there are two more points of each.
      control: name of the control.
      width: of the space.
    """
    chosen = {"method": "finder(cut=0.4)", "budget": None, "controls": [control], "curve": curve}
    settings = {
        "width": width,
        "model": "tower(hidden=(8,))",
        "train": {"metric": "auc", "batch_size": 12345},
        "data": None,
    }
    save(folder / "job.json", {"settings": settings, "chosen": chosen})
    count = len(schema.names)
    found_dims = [i % (width + 1) for i in range(count)]
    models = [
        ("found", "finder", "finder(cut=0.4)", found_dims),
        ("control", control, "other()", [width] * count),
    ]
    if curve:
        narrow = [min(dim, 2) for dim in found_dims]
        models += [
            ("curve", f"finder cut={cut}", f"finder(cut={cut})", narrow) for cut in (0.4, 0.2)
        ]
        models += [
            ("curve", f"{control} at cut={cut}", "other()", [1] * count) for cut in (0.2, 0.6)
        ]
    points, entries = [], []
    for place, (role, name, method, dims) in enumerate(models):
        _save_model(folder / "models" / f"m{place}", result(schema, dims, method))
        search = f"search/{method.split('(')[0]}-0123456789"
        entries.append({"role": role, "name": name, "key": f"m{place}", "search_folder": search})
        points.append(_point(place, role, name, method, dims, schema))
    save(folder / "candidates.json", entries)
    save(folder / "curve.json", points)
    binned = {"calibration": _calibration(0.3, 10), "calibrated": _calibration(0.01, 10)}
    save(folder / "summary.json", [point | {"export_mib": 1.25} | binned for point in points[:2]])
    save(folder / "export.json", {"key": "m0", "version": "1700000000", "mib": 1.25})
    _save_search(folder / "search" / "finder-0123456789", schema, width)


def _save_model(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
    """A final model: its config and the history of its training."""
    history = [
        {"epoch": epoch + 1, "loss": 0.5 - 0.1 * epoch, "auc": 0.7 + 0.01 * epoch, "log_loss": 0.4}
        for epoch in range(3)
    ]
    state = {
        "version": 1,
        "step": 9,
        "last": "step-9",
        "best": {"value": 0.72, "epoch": 3},
        "done": True,
        "history": history,
    }
    save(folder / "model" / "state.json", state)
    save(folder / "result.json", config)


def _point(
    place: int, role: str, name: str, method: str, dims: Sequence[int], schema: Schema
) -> dict[str, Any]:
    """The record of a model, whose metrics grow with its place."""
    words = {"name": name, "role": role, "method": method, "model": "tower", "seed": 17}
    metrics = {
        "auc": 0.7 + place / 100,
        "log_loss": 0.5,
        "valid_auc": 0.71 + place / 100,
        "valid_log_loss": 0.49,
    }
    sizes = {
        "params": int(schema.vocabulary_sizes @ dims),
        "total_params": 1234567,
        "fields": sum(dim > 0 for dim in dims),
        "dims": sum(dims),
        "folder": f"models/m{place}",
    }
    calibration = {
        "valid_calibration": _calibration(0.3),
        "valid_calibrated_log_loss": 0.43,
        "calibrated_log_loss": 0.4321,
        "calibrate": True,
        "calibration": _calibration(0.3),
        "calibrated": _calibration(0.01),
        "correction": {"slope": 0.625, "intercept": -0.5},
    }
    seconds = {"search_seconds": 3.0, "train_seconds": 2.0, "test_seconds": 1.0}
    plain = {"plain": role == "control"}
    rare = RARE if role == "found" else {}
    return words | metrics | sizes | calibration | seconds | plain | rare


def _calibration(error: float, bins: int = 0) -> dict[str, Any]:
    """A calibration that predicts `error` too much, with so many bins."""
    figures = {
        "rows": 12340,
        "mean_prediction": 0.2 + error,
        "rate": 0.2,
        "calibration_error": error,
    }
    binned = [
        {"rows": 1234, "mean_prediction": 0.04 * k + error, "rate": 0.04 * k} for k in range(bins)
    ]
    return figures | ({"bins": binned} if bins else {})


def _save_search(folder: pathlib.Path, schema: Schema, width: int) -> None:
    """A search: its space, the history of its supernet, arrays of several shapes, pictures."""
    space = {"version": 1, "fields": {name: {"dim": width} for name in schema.names}, "pairs": None}
    save(folder / "space.json", space)
    history = [
        {
            "epoch": epoch + 1,
            "loss": 0.6,
            "auc": 0.7,
            "log_loss": 0.4,
            "gate_entropy": 1.5 - epoch / 10,
        }
        for epoch in range(2)
    ]
    state = {"version": 1, "best": None, "done": True, "history": history}
    save(folder / "supernet" / "state.json", state)
    rng, count = np.random.default_rng(0), len(schema.names)
    arrays = {
        "weights": rng.dirichlet(np.ones(3), count),
        "weights_sizes": np.tile([0, 1, width - 1], (count, 1)),
        "signed": rng.normal(size=(count, width)),
        "single": rng.random(count),
        "blocks": rng.random((count + 1, 2)),
    }
    write_json(str(folder / "scores.json"), dict.fromkeys(schema.names, 0.5), arrays)
    save_pictures(PICTURES, str(folder / "pictures.json"))


class Page(html.parser.HTMLParser):
    """A page's ids, links, tags and text; elements that do not nest fail."""

    VOID = ("meta", "br", "img")

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [str(value) for key, value in attrs if key == "id"]
        self.links += [
            str(value)
            for key, value in attrs
            if key in ("href", "xlink:href", "src", "data", "action")
        ]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data + "\n"


def write_report(folder: pathlib.Path, schema: Schema) -> str:
    """The HTML of a job's report."""
    path = report.write(str(folder), schema)
    assert path == str(folder / "report.html") and not (folder / "report.html.partial").exists()
    return (folder / "report.html").read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Section id -> its HTML."""
    return dict(re.findall(r'<section id="(\w+)">(.*?)</section>', text, re.DOTALL))
