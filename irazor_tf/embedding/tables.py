"""Embedding tables of all fields, and the labels of their output columns.

Fields of one width share one variable, field after field, so that a model with hundreds of fields
stays a handful of operations and its gradient one sparse update per width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.config.seeds import seed_of
from irazor_tf.embedding.pieces import Labels, Piece
from irazor_tf.embedding.sparse import ServedTable, SparseTable, ZeroedTable


class Embedded(NamedTuple):
    """The inputs of a base model for a batch. A part that the model does not use is None.

    Args:
      flat: [B, sum d_i]. Columns of all kept fields, ordered as `FieldEmbedding.column_labels`.
      linear: [B, N]. First-order term of every kept field.
      stacked: [B, N, D]. All kept fields aligned to one width (`Alignment`), in the schema's order.
    """

    flat: tf.Tensor | None
    linear: tf.Tensor | None
    stacked: tf.Tensor | None = None


class _Group(NamedTuple):
    """The fields of one width, whose rows lie in one table.

    Args:
      dim: Embedding dimension of these fields.
      fields: Names of these fields, in the schema's order.
      columns: For each field, the number of its column in the id matrix, [n].
      offsets: For each field, the number of its first row in the table, [n].
      rows: Number of rows of the table.
    """

    dim: int
    fields: tuple[str, ...]
    columns: np.ndarray
    offsets: np.ndarray
    rows: int


class FieldEmbedding(keras.layers.Layer):
    """The embedding tables of all kept fields.

    Args:
      schema: Vocabulary sizes and the order of the id columns.
      config: Dimension, columns and masks of every field; fields with `dim` 0 have no rows here.
      stddev: Standard deviation of the normal initial values, 0 for zeros.
      seed: Seed of the initial values.
      group: Name of the optimizer group that the tables belong to.
    """

    def __init__(
        self,
        schema: Schema,
        config: InputConfig,
        *,
        stddev: float,
        seed: int,
        group: str = "network",
        name: str = "embedding",
    ):
        super().__init__(name=name)
        config.check(schema)
        self.config = config
        self.group = group
        self.fields = config.kept
        self._schema = schema
        self._stddev = stddev
        self._seed = seed
        self._served: dict[int, ServedTable] = {}
        self._groups = tuple(_groups(schema, config))
        in_group_order = [name for same_width in self._groups for name in same_width.fields]
        # The order in which `flat` has its columns, and where each stands in the padded [N, D].
        self.column_labels: Labels = tuple(
            (name, label) for name in in_group_order for label in config.fields[name].labels
        )
        self._field_order = np.array([in_group_order.index(name) for name in self.fields])
        position = {name: i for i, name in enumerate(self.fields)}
        self.max_dim = config.max_dim
        self._flat_index = np.array(
            [
                position[name] * self.max_dim + j
                for name in in_group_order
                for j in range(config.fields[name].dim)
            ],
            np.int32,
        )
        # How `flat` is made up: dimension and fields, group after group.
        self.widths = tuple((same_width.dim, same_width.fields) for same_width in self._groups)
        self.id_columns = np.array([schema.index(name) for name in self.fields], np.int32)

    def build(self, input_shape: Any) -> None:
        self.tables: list[tf.Variable] = []
        self.masks: list[tf.Variable | None] = []
        for group in self._groups:
            initializer: Any = "zeros"
            if self._stddev:
                initializer = keras.initializers.RandomNormal(
                    stddev=self._stddev, seed=seed_of(self._seed, self.name, group.dim)
                )
            self.tables.append(
                self.add_weight(
                    f"table_{group.dim}", (group.rows, group.dim), initializer=initializer
                )
            )
            kept = _group_mask(group, self.config, self._schema)
            if kept is None:
                self.masks.append(None)
            else:
                mask = self.add_weight(
                    f"mask_{group.dim}",
                    kept.shape,
                    tf.float32,
                    initializer=keras.initializers.Constant(kept),
                    trainable=False,
                )
                self.masks.append(mask)
        super().build(input_shape)

    def call(self, ids: tf.Tensor, entries: Sequence[tf.Tensor] | None = None) -> list[tf.Tensor]:
        """The embeddings of a batch.

        Args:
          ids: [B, number of fields in the schema] int; columns of removed fields are not read.
          entries: Masks of single table entries, as `entry_masks` gives them; a masked entry
            (False) is read as zero. If None (default), all entries are read as they are.

        Returns:
          A tensor for each width, [B, n_g, d_g], in the order of the tables (widest first): n_g
          fields of dimension d_g.
        """
        looked_up = []
        for i, (group, table, mask) in enumerate(
            zip(self._groups, self.tables, self.masks, strict=True)
        ):
            index = tf.cast(tf.gather(ids, group.columns, axis=1), tf.int64) + group.offsets
            served = self._served.get(i)
            rows = tf.gather(table, index) if served is None else served(index)
            if mask is not None and served is None:
                rows = rows * tf.gather(mask, index)
            if entries is not None:
                rows = tf.where(tf.gather(entries[i], index), rows, 0.0)
            looked_up.append(rows)
        return looked_up

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """A context in which tables with masked entries are read from copies that are stored as
        compactly as possible and need no mask; an export is written inside it."""
        for i, (table, mask) in enumerate(zip(self.tables, self.masks, strict=True)):
            if mask is not None:
                kept = mask.numpy() > 0
                kind = SparseTable if SparseTable.is_smaller(kept) else ZeroedTable
                self._served[i] = kind(table.numpy(), kept, f"served_{self._groups[i].dim}")
        # An attribute, so that Keras counts the copies' weights among those of this layer.
        self._served_tables = list(self._served.values())
        try:
            yield
        finally:
            self._served.clear()
            del self._served_tables

    def flatten(self, rows: Sequence[tf.Tensor]) -> tf.Tensor:
        """The embeddings side by side: a tensor per width, [B, n_g, d_g], as a call gives them ->
        [B, sum d_i], columns in the order of `column_labels`."""
        parts = [
            tf.reshape(part, (-1, len(group.fields) * group.dim))
            for part, group in zip(rows, self._groups, strict=True)
        ]
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)

    def stack(self, rows: Sequence[tf.Tensor]) -> tf.Tensor:
        """The embeddings one below the other: a tensor per width, [B, n_g, d_g], as a call gives
        them -> [B, N, D], the kept fields in the schema's order, narrow ones padded with zeros at
        the end."""
        parts = [
            tf.pad(part, ((0, 0), (0, 0), (0, self.max_dim - group.dim)))
            for part, group in zip(rows, self._groups, strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        return tf.gather(tf.concat(parts, axis=1), self._field_order, axis=1)

    def flatten_stacked(self, x: tf.Tensor) -> tf.Tensor:
        """The embeddings side by side, from the form that `stack` gives: [B, N, D] -> [B, sum d_i],
        columns in the order of `column_labels`, padding left out."""
        flat = tf.reshape(x, (-1, len(self.fields) * self.max_dim))
        return flat if len(self._groups) == 1 else tf.gather(flat, self._flat_index, axis=1)

    def column_mask(self, config: InputConfig) -> np.ndarray:
        """Which columns of this layer a narrower config keeps, [N, D] float32: 1 for a kept column,
        0 for all others and in the padding."""
        mask = np.zeros((len(self.fields), self.max_dim), np.float32)
        for i, name in enumerate(self.fields):
            kept = set(config.fields[name].labels)
            for j, label in enumerate(self.config.fields[name].labels):
                mask[i, j] = label in kept
        return mask

    def entry_masks(self, config: InputConfig) -> list[np.ndarray]:
        """The masks that a narrower config puts on single table entries: for each width [rows, d_g]
        bool, False at the entries that `config` masks in the columns that it keeps."""
        masks = []
        for group in self._groups:
            parts = []
            for name in group.fields:
                kept = np.ones((self._schema.field(name).vocabulary_size, group.dim), bool)
                mask = config.fields[name].mask
                if mask is not None:
                    labels = self.config.fields[name].labels
                    columns = [labels.index(label) for label in config.fields[name].labels]
                    array = mask.to_array()
                    kept[:, columns] = array[:, None] if array.ndim == 1 else array
                parts.append(kept)
            masks.append(np.concatenate(parts))
        return masks

    def pieces(self) -> Iterator[Piece]:
        """The tables as labelled parts for narrowing (see `Piece`): for every field its rows, with
        its columns labelled."""
        for group, table in zip(self._groups, self.tables, strict=True):
            for name, offset in zip(group.fields, group.offsets, strict=True):
                rows = (int(offset), int(offset) + self._schema.field(name).vocabulary_size)
                yield Piece(
                    f"{self.name}/{name}", table, rows, (None, self.config.fields[name].labels)
                )

    def masked_tables(self) -> list[tf.Tensor]:
        """The tables of all widths with zeros for masked entries, [rows, d_g] each."""
        return [
            tf.convert_to_tensor(t) if m is None else t * m
            for t, m in zip(self.tables, self.masks, strict=True)
        ]

    def field_table(self, name: str) -> np.ndarray:
        """The rows of the field `name`, [V, dim], with zeros for masked entries. Raises ValueError
        for a field that the layer does not embed."""
        for piece in self.pieces():
            if piece.key == f"{self.name}/{name}":
                mask = self.config.fields[name].mask
                kept = True if mask is None else mask.to_array().reshape(len(piece.read()), -1)
                return np.where(kept, piece.read(), np.float32(0))
        raise ValueError(
            f"A field of the embedding should be one of {', '.join(self.fields)}. Received: "
            f"{name!r}"
        )


def _groups(schema: Schema, config: InputConfig) -> Iterator[_Group]:
    for dim in sorted({config.fields[name].dim for name in config.kept}, reverse=True):
        fields = tuple(name for name in config.kept if config.fields[name].dim == dim)
        sizes = np.array([schema.field(name).vocabulary_size for name in fields], np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        yield _Group(
            dim,
            fields,
            np.array([schema.index(name) for name in fields], np.int32),
            offsets,
            int(sizes.sum()),
        )


def _group_mask(group: _Group, config: InputConfig, schema: Schema) -> np.ndarray | None:
    if all(config.fields[name].mask is None for name in group.fields):
        return None
    parts = []
    for name in group.fields:
        mask = config.fields[name].mask
        array = (
            np.ones((schema.field(name).vocabulary_size, group.dim), bool)
            if mask is None
            else mask.to_array()
        )
        parts.append(
            np.broadcast_to(array[:, None] if array.ndim == 1 else array, (len(array), group.dim))
        )
    return np.concatenate(parts).astype(np.float32)
