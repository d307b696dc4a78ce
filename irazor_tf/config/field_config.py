"""One field's embedding in an input config: its width, the columns and entries that it keeps.

No TensorFlow import."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class BitMask:
    """A boolean array packed to one bit per value: which features of a field are kept, [V], or
    which single entries of its table, [V, dim].

    Args:
      shape: Shape of the boolean array.
      bits: The values in row-major order, eight to a byte, as `numpy.packbits` gives them.
    """

    shape: tuple[int, ...]
    bits: bytes

    @classmethod
    def from_array(cls, array: np.ndarray) -> BitMask:
        """The packed form of a boolean array of any shape."""
        array = np.asarray(array, bool)
        return cls(tuple(int(size) for size in array.shape), np.packbits(array.ravel()).tobytes())

    def to_array(self) -> np.ndarray:
        """The boolean array, of the shape `shape`."""
        size = int(np.prod(self.shape))
        return (
            np.unpackbits(np.frombuffer(self.bits, np.uint8), count=size)
            .reshape(self.shape)
            .astype(bool)
        )


@dataclasses.dataclass(frozen=True)
class FieldConfig:
    """The embedding of one field.

    Args:
      dim: Embedding dimensions; 0 removes the field, its first-order terms included.
      columns: Labels of the kept columns, that is their numbers in the supernet's table, `dim` of
        them, ascending. None stands for 0 .. dim - 1.
      mask: Which features ([V]) or which entries ([V, dim]) are kept; V is the field's vocabulary
        size. None stands for all.
    """

    dim: int
    columns: tuple[int, ...] | None = None
    mask: BitMask | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", int(self.dim))  # numbers of numpy have no JSON form
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(int(column) for column in self.columns))
        if self.dim < 0:
            raise ValueError(f"`dim` should be at least 0. Received: {self.dim}")
        if self.columns is not None:
            if list(self.columns) != sorted(set(self.columns)) or len(self.columns) != self.dim:
                raise ValueError(
                    f"`columns` should be `dim` = {self.dim} ascending numbers. Received: "
                    f"{self.columns}"
                )
            if self.columns == tuple(range(self.dim)):  # one form for one meaning
                object.__setattr__(self, "columns", None)

    @property
    def labels(self) -> tuple[int, ...]:
        """Labels of the kept columns, [dim]: their numbers in the supernet's table, ascending."""
        return tuple(range(self.dim)) if self.columns is None else self.columns

    def cut(self, labels: Iterable[int]) -> FieldConfig:
        """This field with fewer columns, and with the mask of the columns that are left.

        Args:
          labels: Labels of the columns to keep; labels that the field does not have are ignored.
        """
        wanted = set(labels)
        inside = [i for i, label in enumerate(self.labels) if label in wanted]
        mask = self.mask if inside else None
        if mask is not None and len(mask.shape) == 2:
            mask = BitMask.from_array(mask.to_array()[:, inside])
        return FieldConfig(len(inside), tuple(self.labels[i] for i in inside), mask)

    def column_params(self, vocabulary_size: int) -> np.ndarray:
        """Number of embedding values that each column stores, masked entries not counted, [dim]
        int64."""
        if self.mask is None:
            return np.full(self.dim, vocabulary_size, np.int64)
        entries = self.mask.to_array()
        return (
            entries.sum(axis=0, dtype=np.int64)
            if entries.ndim == 2
            else np.full(self.dim, entries.sum(), np.int64)
        )

    def num_entries(self, vocabulary_size: int) -> int:
        """Number of embedding values that this field stores, masked entries not counted."""
        if self.mask is None:
            return vocabulary_size * self.dim
        kept = int(self.mask.to_array().sum())
        return kept * self.dim if len(self.mask.shape) == 1 else kept


def mask_entries(field: FieldConfig) -> np.ndarray:
    """The mask of a field that has one, as [V, dim] bool: a mask of whole features is repeated for
    every column."""
    assert field.mask is not None
    array = field.mask.to_array()
    return array if array.ndim == 2 else np.repeat(array[:, None], field.dim, axis=1)
