"""The files that one search left in its folder, read for the report. No TensorFlow import."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf.config.files import read_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import SearchPaths, fits_in
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.search.pictures import Picture, load_pictures


@dataclasses.dataclass(frozen=True)
class FieldArray:
    """An array that a method left, with a row per field of the searched space.

    Args:
      name: The method's name for the array.
      fields: Names of the fields, one per row.
      values: [N, K].
      sizes: How many embedding columns each value stands for, [N, K]. None where that is not known.
      kept: Whether all embedding columns of a value are in the found config, [N, K] bool. None
        where that is not known.
    """

    name: str
    fields: tuple[str, ...]
    values: np.ndarray
    sizes: np.ndarray | None
    kept: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class History:
    """The epochs of one training.

    Args:
      name: Name of the training, that of its folder.
      records: A record per epoch, name of a quantity -> value.
      best: Number of the epoch whose weights were kept. None for the last one.
    """

    name: str
    records: Sequence[Mapping[str, float]]
    best: int | None


@dataclasses.dataclass(frozen=True)
class SearchRecord:
    """Everything that the report reads of a search.

    Args:
      name: Name of the search on the page.
      paths: The search's folder.
      schema: The data's fields.
      width: Dimension of every field in the searched space, for a folder without the file
        `space.json`.
      result: Path of the result of the first candidate that came of the search; "" where there is
        none.
    """

    name: str
    paths: SearchPaths
    schema: Schema
    width: int
    result: str

    def histories(self) -> list[History]:
        """The histories of the search's trainings."""
        return histories(self.paths.root)

    def field_scores(self) -> dict[str, float]:
        """Field -> score by the method, larger for a field that deserves more to stay; empty for a
        method that gives none."""
        return read(self.paths.scores) or {}

    def pictures(self) -> list[Picture]:
        """The pictures that the method left of its search."""
        path = self.paths.pictures
        return load_pictures(path) if os.path.exists(path) else []

    def arrays(self) -> list[FieldArray]:
        """The method's arrays that have a row per field.

        An array `x_sizes` beside `x` says how many embedding columns each value of `x` stands for.
        """
        if not os.path.exists(self.paths.scores):
            return []
        arrays = {
            name: values[:, None] if values.ndim == 1 else values
            for name, values in read_json(self.paths.scores)[1].items()
        }
        if os.path.exists(self.paths.space):
            space = InputConfig.load(self.paths.space)
        else:
            space = InputConfig.uniform(self.schema, self.width)
        by_field = []
        for name, values in arrays.items():
            possible = (names for names in (space.kept, self.schema.names) if values.ndim == 2)
            fields = next((names for names in possible if len(names) == len(values)), None)
            if fields is None or not values.size or not np.issubdtype(values.dtype, np.number):
                continue
            if name.endswith("_sizes") and name.removesuffix("_sizes") in arrays:
                continue
            sizes = _sizes(values, fields, arrays.get(f"{name}_sizes"), space)
            kept = self._kept(fields, sizes, space)
            by_field.append(FieldArray(name, fields, values.astype(np.float64), sizes, kept))
        return by_field

    def _kept(
        self, fields: Sequence[str], sizes: np.ndarray | None, space: InputConfig
    ) -> np.ndarray | None:
        """Which values of an array stand for embedding columns that are all in the first config
        that came of this search; a value without columns does not count as kept.

        Args:
          fields: Names of the fields, one per row.
          sizes: How many embedding columns each value stands for, [N, K]. None where that is not
            known.
          space: The config that was searched.

        Returns:
          [N, K] bool; None where the columns or the config are not known, and for a result with
          clusters.
        """
        if sizes is None or not os.path.exists(self.result):
            return None
        result = SearchResult.load(self.result)
        if len(result.clusters) > 1:
            return None
        kept = np.zeros(sizes.shape, bool)
        ends = np.cumsum(sizes, axis=1).astype(int)
        for row, name in enumerate(fields):
            labels, kept_labels = space.fields[name].labels, set(result.config.fields[name].labels)
            for column, end in enumerate(ends[row]):
                inside = labels[int(end - sizes[row, column]) : end]
                kept[row, column] = bool(inside) and kept_labels.issuperset(inside)
        return kept


def histories(folder: str) -> list[History]:
    """The histories of the trainings directly inside a folder, in the order in which they ended."""
    fits = sorted(fits_in(folder), key=lambda fit: (os.path.getmtime(fit.state), fit.state))
    states = [(os.path.basename(fit.root), read(fit.state)) for fit in fits]
    return [
        History(name, state["history"], (state.get("best") or {}).get("epoch"))
        for name, state in states
        if state.get("history")
    ]


def read(path: str) -> Any:
    """The value in a JSON file; None where there is no such file."""
    return read_json(path)[0] if os.path.exists(path) else None


def _sizes(
    values: np.ndarray, fields: Sequence[str], recorded: np.ndarray | None, space: InputConfig
) -> np.ndarray | None:
    """How many embedding columns each value of an array stands for.

    Args:
      values: [N, K].
      fields: names of the fields, one per row.
      recorded: the numbers that the method left with the array. If None, an array as wide as the
        space is taken to have a value per embedding column.
      space: the config that was searched.

    Returns:
      [N, K]; None where it is not known.
    """
    if recorded is None and values.shape[1] == space.max_dim > 1:
        columns = np.arange(values.shape[1])
        return np.array([columns < space.fields[field].dim for field in fields]).astype(int)
    if recorded is not None and (recorded.shape != values.shape or np.any(recorded < 0)):
        return None
    return recorded
