"""Labelled parts of a model's variables, by which weights are carried over to a narrower model."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

# Names of what lies along an axis: columns of fields, or fields.
Labels = tuple[Any, ...]


class Piece(NamedTuple):
    """A part of a variable with labels along its axes, by which its values are found again in a
    model that keeps fewer columns or fields.

    Args:
      key: Name of the part, the same in a supernet and in the model cut from it.
      variable: The variable that the part lies in. If None, the model has no variable for the part,
        and its values are `constant`.
      rows: (start, stop) along axis 0 of the variable. If None, the part is the whole variable.
      axes: For every axis the labels of the columns or fields along it; None for an axis that
        narrowing leaves as it is.
      constant: The values of a part without a variable.
    """

    key: str
    variable: tf.Variable | None
    rows: tuple[int, int] | None
    axes: tuple[Labels | None, ...]
    constant: np.ndarray | None = None

    def read(self) -> np.ndarray:
        """The values of the part, an array with one axis for every item of `axes`."""
        if self.variable is None:
            assert self.constant is not None
            return self.constant
        values = self.variable.numpy()
        return values if self.rows is None else values[self.rows[0] : self.rows[1]]
