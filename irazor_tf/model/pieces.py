"""Parts of a model's variables that keep their meaning when the model is narrowed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

Labels = tuple[Any, ...]


class Piece(NamedTuple):
    """A part of a variable that keeps its meaning when a model is narrowed.

    Args:
      key: equal in a supernet and in the model cut from it.
      variable: where it lies; None for a constant.
      rows: (start, stop) along axis 0, or None for all.
      axes: for every axis the labels along it, or None for an axis that never changes.
      constant: the values that stand where the model has no variable for them.
    """

    key: str
    variable: tf.Variable | None
    rows: tuple[int, int] | None
    axes: tuple[Labels | None, ...]
    constant: np.ndarray | None = None

    def read(self) -> np.ndarray:
        """The values."""
        if self.variable is None:
            assert self.constant is not None
            return self.constant
        values = self.variable.numpy()
        return values if self.rows is None else values[self.rows[0] : self.rows[1]]
