"""Parts of a model's variables that keep their meaning when the model is narrowed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

# Names of what lies along an axis: columns of fields, or fields.
Labels = tuple[Any, ...]


class Piece(NamedTuple):
    """A part of a variable that keeps its meaning when a model is narrowed.

    Args:
      key: Name of the part, the same in a supernet and in the model cut from it.
      variable: The variable that the part lies in. If None, it is a constant.
      rows: (start, stop) along axis 0 of the variable. If None, the part is the whole variable.
      axes: Labels along every axis; None for an axis that never changes.
      constant: The values where the model has no variable for them.
    """

    key: str
    variable: tf.Variable | None
    rows: tuple[int, int] | None
    axes: tuple[Labels | None, ...]
    constant: np.ndarray | None = None

    def read(self) -> np.ndarray:
        """The values, in the shape that `axes` labels."""
        if self.variable is None:
            assert self.constant is not None
            return self.constant
        values = self.variable.numpy()
        return values if self.rows is None else values[self.rows[0] : self.rows[1]]
