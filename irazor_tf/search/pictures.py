"""Pictures that a method leaves for the report, as data: the report draws them. No TensorFlow
import."""

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
      title: heading of the picture.
      values: [R, C], not finite where there is no value.
      rows, columns: names of the R rows and the C columns.
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
      title: heading of the picture.
      names: names of the n bars.
      values: lengths of the bars, [n].
      label: what the length means.
    """

    title: str
    names: tuple[str, ...]
    values: np.ndarray
    label: str


@dataclasses.dataclass(frozen=True)
class Lines:
    """Curves over one x axis.

    Args:
      title: heading of the picture.
      x: positions of the points, [n].
      series: name of a curve -> its values, [n].
      labels: what the x axis is and what the y axis is.
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
      title: heading of the picture.
      edges: ends of the bins, [bins + 1], ascending.
      counts: number of values in each bin, [bins].
      label: what the values are.
      marks: name -> a value to draw as a vertical line.
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
    """Writes pictures as JSON, with their arrays in an npz beside it; no file where there are none.

    Args:
      pictures: any number of pictures.
      path: the JSON file.
    """
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
    """The pictures that `save_pictures` wrote to `path`."""
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
