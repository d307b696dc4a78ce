"""Pictures that a method leaves for the report: what to draw, as data. No TensorFlow import."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf.config.files import read_json, write_json


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """A matrix as colours.

    Args:
      title: of the picture.
      values: [R, C].
      rows, columns: names along both axes.
      label: what the colour means.
    """

    title: str
    values: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    label: str


@dataclasses.dataclass(frozen=True)
class Bars:
    """A number per name, in the order given.

    Args:
      title: of the picture.
      names: of the bars.
      values: [n].
      label: what the length means.
    """

    title: str
    names: tuple[str, ...]
    values: np.ndarray
    label: str


@dataclasses.dataclass(frozen=True)
class Lines:
    """Curves over one axis.

    Args:
      title: of the picture.
      x: [n].
      series: name -> [n].
      labels: of the x and the y axis.
      log_x: whether the x axis is logarithmic.
    """

    title: str
    x: np.ndarray
    series: Mapping[str, np.ndarray]
    labels: tuple[str, str]
    log_x: bool = False


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Counts in bins.

    Args:
      title: of the picture.
      edges: [bins + 1], ascending.
      counts: [bins].
      label: what is counted.
      marks: name -> value, drawn as a vertical line.
    """

    title: str
    edges: np.ndarray
    counts: np.ndarray
    label: str
    marks: Mapping[str, float] = dataclasses.field(default_factory=dict)


Picture = HeatMap | Bars | Lines | Histogram
_KINDS: dict[str, type[Picture]] = {
    kind.__name__: kind for kind in (HeatMap, Bars, Lines, Histogram)
}


def save_pictures(pictures: Sequence[Picture], path: str) -> None:
    """Writes JSON, and arrays to the npz beside it; nothing where there are none."""
    if not pictures:
        return
    values: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for number, picture in enumerate(pictures):
        value: dict[str, Any] = {"kind": type(picture).__name__}
        for field in dataclasses.fields(picture):
            content = getattr(picture, field.name)
            if isinstance(content, np.ndarray):
                arrays[f"{number}/{field.name}"] = content
            elif isinstance(content, Mapping) and field.name == "series":
                value["series"] = list(content)
                arrays |= {
                    f"{number}/series/{i}": np.asarray(array)
                    for i, array in enumerate(content.values())
                }
            else:
                value[field.name] = content
        values.append(value)
    write_json(path, values, arrays)


def load_pictures(path: str) -> list[Picture]:
    """What `save_pictures` wrote."""
    values, arrays = read_json(path)
    pictures: list[Picture] = []
    for number, value in enumerate(values):
        kind = _KINDS[value.pop("kind")]
        if "series" in value:
            value["series"] = {
                name: arrays[f"{number}/series/{i}"] for i, name in enumerate(value["series"])
            }
        for field in dataclasses.fields(kind):
            if f"{number}/{field.name}" in arrays:
                value[field.name] = arrays[f"{number}/{field.name}"]
            elif isinstance(value[field.name], list):
                value[field.name] = tuple(value[field.name])
        pictures.append(kind(**value))
    return pictures
