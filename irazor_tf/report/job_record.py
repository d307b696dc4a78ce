"""The files that a job left in its folder, read for the report. What a stage has not written yet is
empty. No TensorFlow import."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

from irazor_tf.config.layout import JobPaths, ModelPaths, RecordsPaths, Role
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec, parse_specs
from irazor_tf.report.search_record import History, SearchRecord, histories, read


@dataclasses.dataclass(frozen=True)
class JobRecord:
    """Everything that the report reads of a job.

    Args:
      paths: The job's folder.
      schema: The data's fields.
      settings: The settings that finished work depends on, as a JSON value.
      chosen: The settings that may change after a search, as a JSON value.
      points: A record for every trained model on the curve, or in the summary where there is no
        curve yet: the found config first, then the controls, then the rest.
      summary: The records in `summary.json`; in these, calibrations have their bins.
      baselines: The records of the baselines.
      candidates: Name of a candidate -> its entry in `candidates.json`.
      result: The search's result with the found configs; None before a search has ended.
    """

    paths: JobPaths
    schema: Schema
    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]
    points: Sequence[Mapping[str, Any]]
    summary: Sequence[Mapping[str, Any]]
    baselines: Sequence[Mapping[str, Any]]
    candidates: Mapping[str, Mapping[str, Any]]
    result: SearchResult | None

    @classmethod
    def load(cls, model_dir: str, schema: Schema) -> JobRecord:
        """The record of the job in a folder.

        Args:
          model_dir: The job's folder.
          schema: The data's fields.
        """
        paths = JobPaths(model_dir)
        job = read(paths.settings) or {}
        summary = read(paths.summary) or []
        points, baselines = _points(read(paths.curve), summary)
        trained = [
            paths.at(point["folder"])
            for point in points
            if point["role"] == Role.FOUND.value and "folder" in point
        ]
        results = [*(ModelPaths(folder).result for folder in trained), paths.result]
        return cls(
            paths=paths,
            schema=schema,
            settings=job.get("settings", {}),
            chosen=job.get("chosen", {}),
            points=points,
            summary=summary,
            baselines=baselines,
            candidates={entry["name"]: entry for entry in read(paths.candidates) or []},
            result=next(
                (SearchResult.load(path) for path in results if os.path.exists(path)), None
            ),
        )

    @property
    def method(self) -> str:
        """Spec of the job's search method, or of several joined by "+"; "search" where it is not
        known."""
        return self.chosen.get("method") or self.settings.get("method") or "search"

    @property
    def metrics(self) -> list[str]:
        """Names of the task's metrics; first the one by which trainings stop and keep their best
        epoch."""
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
        """The records of the found config and of the controls."""
        return [point for point in self.points if point["role"] != Role.CURVE.value]

    @property
    def full_params(self) -> int | None:
        """Number of embedding parameters of the searched space, in which every field has the full
        width; None where the width is not known."""
        if "width" not in self.settings:
            return None
        return self.schema.num_features * self.settings["width"]

    @property
    def exported(self) -> Mapping[str, Any]:
        """The content of `export.json`: which model is exported, and as which version; empty before
        an export."""
        return read(self.paths.exported) or {}

    @property
    def splits(self) -> Mapping[str, Mapping[str, Any]]:
        """Name of a split -> its entry in the records' manifest; empty where there is none."""
        manifest = read(self._records.manifest) if self._records else None
        return (manifest or {}).get("splits", {})

    @property
    def truth(self) -> Mapping[str, Any]:
        """The content of a generated log's `truth.json`: what the log was generated from; empty for
        any other log."""
        return (read(self._records.truth) if self._records else None) or {}

    @property
    def _records(self) -> RecordsPaths | None:
        return RecordsPaths(self.schema.directory) if self.schema.directory else None

    def series_name(self, point: Mapping[str, Any]) -> str:
        """The name of a point's line in the figure of quality against size: its method's name, with
        that of the method it works on, without settings: a(x=1) -> a, a(b(x=1)) -> a(b).

        Args:
          point: The record of the point.
        """

        def name(spec: Spec) -> str:
            return spec.name + (f"({', '.join(map(name, spec.operands))})" if spec.operands else "")

        try:
            return " + ".join(map(name, parse_specs(point["method"])))
        except (KeyError, ValueError):
            return str(point.get("method", point["name"])).split("(")[0]

    def style(self, label: str) -> int:
        """The number of a line's style (`line_style`), the same for the same label in all figures.

        Args:
          label: Name of a method or of a compared model.
        """
        order = list(
            dict.fromkeys(
                [*map(self.series_name, self.points), *(point["name"] for point in self.compared)]
            )
        )
        return order.index(label) if label in order else len(order)

    def known(self) -> dict[str, str]:
        """Field -> what is known of it in advance: "shadow" for a shadow field, or its group
        (strong, noise) in a generated log; other fields are left out."""
        names = {field.name: "shadow" for field in self.schema.fields if field.role == "shadow"}
        for group, members in self.truth.items():
            values = list(members.values()) if isinstance(members, dict) else members
            if (
                isinstance(values, list)
                and values
                and all(isinstance(value, str) and value in self.schema.names for value in values)
            ):
                names |= dict.fromkeys(members, group)
        return names

    def fields_by_width(self) -> dict[str, int]:
        """Field -> its largest dimension in any cluster (0 where a mask leaves no entry of it). The
        order is that of the report's figures: the widest first, then by cardinality."""
        stored = [config.stored_dims for config in self.result.clusters] if self.result else []
        widest = {
            name: max((dims[name] for dims in stored), default=0) for name in self.schema.names
        }
        order = sorted(
            self.schema.fields,
            key=lambda field: (-widest[field.name], -field.vocabulary_size, field.name),
        )
        return {field.name: widest[field.name] for field in order}

    def searches(self) -> list[SearchRecord]:
        """The records of all searches: the found config's first, then those of the controls, then
        others (of the methods before the last of a chain)."""
        named = [entry.get("search_folder") for entry in self.candidates.values()]
        there = sorted(
            os.path.relpath(folder, self.paths.root)
            for folder in glob.glob(os.path.join(glob.escape(self.paths.searches), "*", ""))
        )
        folders = [folder for folder in dict.fromkeys([*named, *there]) if folder]
        return [self._search(folder) for folder in folders if os.path.isdir(self.paths.at(folder))]

    def _search(self, folder: str) -> SearchRecord:
        """The record of the search in a folder. It is named like the first candidate that came of
        it, or, where there is none, like its folder without the digest."""
        entries = [
            entry for entry in self.candidates.values() if entry.get("search_folder") == folder
        ]
        base = os.path.basename(folder)
        return SearchRecord(
            name=entries[0]["name"] if entries else base.rpartition("-")[0] or base,
            paths=self.paths.search(folder),
            schema=self.schema,
            width=self.settings.get("width", 1),
            result=self.paths.model(entries[0]["key"]).result if entries else "",
        )

    def model_histories(self, point: Mapping[str, Any]) -> list[History]:
        """The histories of the trainings of a point's final model, or of its models, one per
        cluster.

        Args:
          point: The record of the point.
        """
        return histories(self.paths.at(point["folder"])) if "folder" in point else []


def _points(
    curve: Sequence[Mapping[str, Any]] | None, summary: Sequence[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The records of the trained models, each with the size of its export, and the records of the
    baselines.

    Args:
      curve: the records in `curve.json`; None before there is such a file.
      summary: the records in `summary.json`, the found config's first. Those that an earlier
        version wrote have no role.
    """
    sizes = {point["name"]: point["export_mib"] for point in summary if "export_mib" in point}
    roles = [Role.FOUND, *[Role.CONTROL] * len(summary)]
    records = curve or [
        {"role": role.value, **point} for role, point in zip(roles, summary, strict=False)
    ]
    order = [role.value for role in Role]
    points = [
        {"export_mib": sizes.get(record["name"]), **record}
        for record in records
        if record["role"] != Role.BASELINE.value
    ]
    return (
        sorted(points, key=lambda point: order.index(point["role"])),
        [record for record in records if record["role"] == Role.BASELINE.value],
    )
