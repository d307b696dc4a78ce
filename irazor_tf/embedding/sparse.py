"""Embedding tables with masked entries, as an export stores them: in compressed sparse rows, or
densely with zeros where that takes fewer bytes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras


def csr_bytes(entries: int, rows: int, dim: int) -> int:
    """Bytes of a table in compressed sparse rows.

    A kept entry takes a float32 and a column number (one byte up to 256 columns, else four); each
    row, and the end of the table, takes four bytes for where it starts (eight from 2^31 entries
    on).

    Args:
      entries: Number of kept entries.
      rows, dim: Shape of the table.
    """
    return entries * (5 if dim <= 256 else 8) + (rows + 1) * (8 if entries >= 2**31 else 4)


class ServedTable(keras.layers.Layer):
    """Base of the tables with masked entries that an export stores. A call with row numbers [B, n]
    int64 gives the rows [B, n, D].

    Args:
      table: [V, D]. Values of all entries.
      kept: [V, D] bool. Entries that are kept; all others read as 0.
    """

    def __init__(self, table: np.ndarray, kept: np.ndarray, name: str):
        super().__init__(name=name, trainable=False)
        self._dim = table.shape[1]
        self._store(table, kept)

    def _store(self, table: np.ndarray, kept: np.ndarray) -> None:
        raise TypeError(f"{type(self).__name__} should define `_store`")

    def _constant(self, name: str, value: np.ndarray) -> tf.Variable:
        weight = self.add_weight(
            f"{self.name}_{name}", value.shape, value.dtype, initializer="zeros", trainable=False
        )
        weight.assign(value)
        return weight


class ZeroedTable(ServedTable):
    """A served table that stores zeros for the entries that are not kept; where no entry is kept,
    it stores nothing."""

    def _store(self, table: np.ndarray, kept: np.ndarray) -> None:
        self._table = (
            self._constant("table", np.where(kept, table, 0).astype(np.float32))
            if kept.any()
            else None
        )

    def call(self, index: tf.Tensor) -> tf.Tensor:
        if self._table is None:
            return tf.zeros(tf.concat([tf.shape(index), [self._dim]], axis=0))
        return tf.gather(self._table, index)


class SparseTable(ServedTable):
    """A served table in compressed sparse rows: values and column numbers of the kept entries, row
    after row, and where each row starts."""

    def _store(self, table: np.ndarray, kept: np.ndarray) -> None:
        columns = np.nonzero(kept)[1].astype(np.uint8 if self._dim <= 256 else np.int32)
        starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(
            np.int64 if kept.sum() >= 2**31 else np.int32
        )
        self._values = self._constant("values", table[kept].astype(np.float32))
        self._columns = self._constant("columns", columns)
        self._starts = self._constant("starts", starts)

    @staticmethod
    def is_smaller(kept: np.ndarray) -> bool:
        """Whether compressed rows take fewer bytes than a `ZeroedTable`, which stores all values as
        float32, or nothing where no entry is kept.

        Args:
          kept: [V, D] bool. Entries that are kept.
        """
        return bool(kept.any()) and csr_bytes(int(kept.sum()), *kept.shape) < 4 * kept.size

    def call(self, index: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(index, [-1])
        starts, ends = tf.gather(self._starts, flat), tf.gather(self._starts, flat + 1)
        positions = tf.ragged.range(starts, ends)
        columns = tf.cast(tf.gather(self._columns, positions.values), tf.int64)
        where = tf.stack([positions.value_rowids(), columns], axis=1)
        shape = tf.stack([tf.size(flat, tf.int64), tf.constant(self._dim, tf.int64)])
        rows = tf.scatter_nd(where, tf.gather(self._values, positions.values), shape)
        return tf.reshape(rows, tf.concat([tf.shape(index), [self._dim]], axis=0))
