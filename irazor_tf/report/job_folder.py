"""What a job left on disk, read for the report. What is missing is empty. No TensorFlow import."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf.config.files import read_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import Role
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec, parse_specs
from irazor_tf.search.pictures import Picture, load_pictures


@dataclasses.dataclass(frozen=True)
class Scores:
    """An array that a method left about the fields of its space.

    Args:
      name: as the method calls it.
      fields: names of the rows.
      values: [N, K].
      sizes: embedding columns that each value stands for, [N, K]; None: not known.
      kept: values whose embedding columns are in the config (all of them), [N, K]; None: not known.
    """

    name: str
    fields: tuple[str, ...]
    values: np.ndarray
    sizes: np.ndarray | None
    kept: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class JobFolder:
    """A job's folder.

    Args:
      path: the folder.
      schema: the data's fields.
      settings, chosen: the two halves of `job.json`.
      points: `curve.json` (before there is one: `summary.json`), the found config first, then
        controls, then the rest.
      summary: `summary.json`, in which calibrations have their bins.
      baselines: the records in them that are of no config.
      candidates: name -> its entry in `candidates.json`.
      found: the configs found.
    """

    path: str
    schema: Schema
    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]
    points: Sequence[Mapping[str, Any]]
    summary: Sequence[Mapping[str, Any]]
    baselines: Sequence[Mapping[str, Any]]
    candidates: Mapping[str, Mapping[str, Any]]
    found: SearchResult | None

    @classmethod
    def load(cls, path: str, schema: Schema) -> JobFolder:
        job = read(path, "job.json") or {}
        summary = read(path, "summary.json") or []
        exported = {
            point["name"]: point["export_mib"] for point in summary if "export_mib" in point
        }
        order = [role.value for role in Role]
        named = [Role.FOUND, *[Role.CONTROL] * len(summary)]
        points = read(path, "curve.json") or [
            {"role": role.value} | point for role, point in zip(named, summary, strict=False)
        ]
        baselines = [point for point in points if point["role"] == Role.BASELINE.value]
        points = [
            {"export_mib": exported.get(point["name"])} | point
            for point in points
            if point["role"] != Role.BASELINE.value
        ]
        points.sort(key=lambda point: order.index(point["role"]))
        candidates = {entry["name"]: entry for entry in read(path, "candidates.json") or []}
        trained = [
            point["folder"]
            for point in points
            if point["role"] == Role.FOUND.value and "folder" in point
        ]
        places = [os.path.join(path, folder, "result.json") for folder in [*trained, "search"]]
        found = next((SearchResult.load(place) for place in places if os.path.exists(place)), None)
        return cls(
            path,
            schema,
            job.get("settings", {}),
            job.get("chosen", {}),
            points,
            summary,
            baselines,
            candidates,
            found,
        )

    @property
    def method(self) -> str:
        return self.chosen.get("method") or self.settings.get("method") or "search"

    @property
    def metrics(self) -> list[str]:
        """Names of the task's metrics, the one that decides first."""
        decides = self.settings.get("train", {}).get("metric")
        first = self.points[0] if self.points else {}
        names = [
            key.removeprefix("valid_")
            for key, value in first.items()
            if key.startswith("valid_") and not isinstance(value, Mapping)
        ]
        return sorted(names, key=lambda name: name != decides) or ([decides] if decides else [])

    @property
    def compared(self) -> list[Mapping[str, Any]]:
        """The found config and the controls."""
        return [point for point in self.points if point["role"] != Role.CURVE.value]

    @property
    def full_params(self) -> int | None:
        """Embedding parameters of the space: every field at full width."""
        return (
            self.schema.num_features * self.settings["width"] if "width" in self.settings else None
        )

    def series_name(self, point: Mapping[str, Any]) -> str:
        """The method's name in the point's spec, with the method it works on: a(x=1) -> a,
        a(b(x=1)) -> a(b)."""

        def name(spec: Spec) -> str:
            return spec.name + (f"({', '.join(map(name, spec.operands))})" if spec.operands else "")

        try:
            return " + ".join(map(name, parse_specs(point["method"])))
        except (KeyError, ValueError):
            return str(point.get("method", point["name"])).split("(")[0]

    def style(self, label: str) -> int:
        """Number of a colour and a marker, the same in every figure."""
        order = list(
            dict.fromkeys(
                [*map(self.series_name, self.points), *(point["name"] for point in self.compared)]
            )
        )
        return order.index(label) if label in order else len(order)

    def known(self) -> dict[str, str]:
        """What is known of a field beforehand: that it is a shadow, or its group in the
        `truth.json` of a generated log."""
        names = {field.name: "shadow" for field in self.schema.fields if field.role == "shadow"}
        truth = read(self.schema.directory or "", "log", "truth.json") or {}
        for group, members in truth.items():
            values = list(members.values()) if isinstance(members, dict) else members
            if (
                isinstance(values, list)
                and values
                and all(isinstance(value, str) and value in self.schema.names for value in values)
            ):
                names |= dict.fromkeys(members, group)
        return names

    def search_folders(self) -> list[str]:
        """Folders of the searches, the found config's first, then the controls', then others (the
        first methods of a chain)."""
        named = [
            entry["search_folder"]
            for entry in self.candidates.values()
            if entry.get("search_folder")
        ]
        there = sorted(
            os.path.relpath(folder, self.path)
            for folder in glob.glob(os.path.join(glob.escape(self.path), "search", "*", ""))
        )
        return [
            folder
            for folder in dict.fromkeys([*named, *there])
            if os.path.isdir(os.path.join(self.path, folder))
        ]

    def search_name(self, folder: str) -> str:
        """What a search is called: as its first candidate is, or as
        the folder without the digest."""
        named = [
            name for name, entry in self.candidates.items() if entry.get("search_folder") == folder
        ]
        return (
            named[0]
            if named
            else os.path.basename(folder).rpartition("-")[0] or os.path.basename(folder)
        )

    def histories(self, folder: str) -> list[tuple[str, list[Mapping[str, float]], int | None]]:
        """(name, record per epoch, best epoch) of every training in a folder, in the order they
        ended."""
        paths = glob.glob(
            os.path.join(glob.escape(os.path.join(self.path, folder)), "*", "state.json")
        )
        paths.sort(key=lambda path: (os.path.getmtime(path), path))
        states = [(os.path.basename(os.path.dirname(path)), read(path)) for path in paths]
        return [
            (name, state["history"], (state.get("best") or {}).get("epoch"))
            for name, state in states
            if state.get("history")
        ]

    def field_scores(self, folder: str) -> dict[str, float]:
        return read(self.path, folder, "scores.json") or {}

    def scores(self, folder: str) -> list[Scores]:
        """The arrays of a search that have a row per field; `x_sizes` beside `x` tells how many
        columns each value stands for."""
        path = os.path.join(self.path, folder, "scores.json")
        if not os.path.exists(path):
            return []
        arrays = {
            name: value[:, None] if value.ndim == 1 else value
            for name, value in read_json(path)[1].items()
        }
        place = os.path.join(self.path, folder, "space.json")
        space = (
            InputConfig.load(place)
            if os.path.exists(place)
            else InputConfig.uniform(self.schema, self.settings.get("width", 1))
        )
        found = []
        for name, values in arrays.items():
            fields = next(
                (
                    names
                    for names in (space.kept, self.schema.names)
                    if values.ndim == 2 and len(names) == len(values)
                ),
                None,
            )
            if fields is None or not values.size or not np.issubdtype(values.dtype, np.number):
                continue
            if name.endswith("_sizes") and name.removesuffix("_sizes") in arrays:
                continue
            sizes = arrays.get(f"{name}_sizes")
            if sizes is None and values.shape[1] == space.max_dim > 1:
                sizes = np.array(
                    [
                        [int(column < space.fields[field].dim) for column in range(values.shape[1])]
                        for field in fields
                    ]
                )
            if sizes is not None and (sizes.shape != values.shape or np.any(sizes < 0)):
                sizes = None
            found.append(
                Scores(
                    name,
                    fields,
                    values.astype(np.float64),
                    sizes,
                    self._kept(folder, fields, sizes, space),
                )
            )
        return found

    def pictures(self, folder: str) -> list[Picture]:
        """What the method of a search draws of it."""
        path = os.path.join(self.path, folder, "pictures.json")
        return load_pictures(path) if os.path.exists(path) else []

    def _kept(
        self, folder: str, fields: Sequence[str], sizes: np.ndarray | None, space: InputConfig
    ) -> np.ndarray | None:
        """Where all of a value's columns are in the config that this search gave first; a value
        without columns never is."""
        entry = next(
            (entry for entry in self.candidates.values() if entry.get("search_folder") == folder),
            None,
        )
        path = os.path.join(self.path, "models", entry["key"], "result.json") if entry else ""
        if sizes is None or not os.path.exists(path):
            return None
        result = SearchResult.load(path)
        if len(result.clusters) > 1:
            return None
        kept = np.zeros(sizes.shape, bool)
        ends = np.cumsum(sizes, axis=1).astype(int)
        for row, name in enumerate(fields):
            labels, own = space.fields[name].labels, set(result.config.fields[name].labels)
            for column, end in enumerate(ends[row]):
                inside = labels[int(end - sizes[row, column]) : end]
                kept[row, column] = bool(inside) and own.issuperset(inside)
        return kept


def read(*parts: str) -> Any:
    """A JSON file's value; None where there is no file."""
    path = os.path.join(*parts)
    return read_json(path)[0] if os.path.exists(path) else None
