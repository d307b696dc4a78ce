"""Penalties on the size of weights: L2 terms of the rows that a batch looks up, and ridges, which
weigh each feature equally, however often it is looked up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from irazor_tf.config.schema import Schema


class Shares:
    """The shares 1 / c(x_i) of a row's features x_i, where c is how often the feature occurs in the
    training split.

    A ridge with strength r adds to a row's loss r/2 times the sum of share times squared weight
    over the row's features. Summed over the training rows that is r/2 * sum of w^2 over all
    features that occur: the prior N(0, 1/r) of every weight, and scikit-learn's penalty with C =
    1/r. An L2 of looked-up rows that is not divided by c penalises a feature in proportion to how
    often it occurs, and so most the features that are best known. A batch still touches no other
    rows than it looks up.

    Args:
      schema: Loaded from the data folder, with counts.
      fields: Names of the fields for which shares are given, in this order.

    Raises:
      ValueError: the schema was made in memory and has no counts.
    """

    def __init__(self, schema: Schema, fields: Sequence[str]):
        counts = schema.counts
        sizes = [len(counts[name]) for name in fields]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        self._columns = np.array([schema.index(name) for name in fields], np.int32)
        # What does not occur is not looked up in training. A variable: as a constant the table
        # would stand in the graph.
        values = 1.0 / np.maximum(np.concatenate([counts[name] for name in fields]), 1)
        self._values = tf.Variable(values.astype(np.float32), trainable=False, name="shares")

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """The shares of a batch: ids [B, number of fields in the schema] -> [B, N] float32."""
        return tf.gather(
            self._values, tf.cast(tf.gather(ids, self._columns, axis=1), tf.int64) + self._offsets
        )


class WeightPenalties:
    """L2 terms and ridges of the embeddings and of the first-order terms of a batch.

    It is no Keras layer, so that its variable is neither a weight nor saved: the variable is
    computed from the data again.

    Args:
      schema: The data's fields; with counts where a ridge is not 0.
      fields: Names of the kept fields, the columns of the first-order terms.
      widths: Dimension and fields of every group of rows that `FieldEmbedding` looks up.
      embedding_l2: Half of this times the mean squared norm of a row's embeddings is the L2 term.
      linear_l2: The same factor for first-order terms.
      embedding_ridge, linear_ridge: Ridges r of embeddings and first-order terms, see `Shares`.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[str],
        widths: Sequence[tuple[int, Sequence[str]]],
        *,
        embedding_l2: float,
        linear_l2: float,
        embedding_ridge: float,
        linear_ridge: float,
    ):
        self._embedding_l2 = embedding_l2
        self._linear_l2 = linear_l2
        self._embedding_ridge = embedding_ridge
        self._linear_ridge = linear_ridge
        self._shares = Shares(schema, fields) if embedding_ridge or linear_ridge else None
        column = {name: i for i, name in enumerate(fields)}
        # Columns of the shares that belong to a group of rows; None: all of them, in their order.
        self._columns = [
            None if tuple(names) == tuple(fields) else [column[name] for name in names]
            for _, names in widths
        ]

    def l2(self, rows: Sequence[tf.Tensor], linear: tf.Tensor | None) -> tf.Tensor:
        """The L2 terms of a batch, a scalar.

        Args:
          rows: For each width [B, n_g, d_g], the embeddings as `FieldEmbedding` looks them up;
            empty for a model without embeddings.
          linear: [B, N], the first-order terms; None for a model without them.
        """
        total = tf.constant(0.0)
        if self._embedding_l2 and rows:
            norms = tf.add_n(
                [tf.reduce_mean(tf.reduce_sum(tf.square(part), axis=(1, 2))) for part in rows]
            )
            total += 0.5 * self._embedding_l2 * norms
        if self._linear_l2 and linear is not None:
            norms = tf.reduce_mean(tf.reduce_sum(tf.square(linear), axis=1))
            total += 0.5 * self._linear_l2 * norms
        return total

    def ridge(
        self, ids: tf.Tensor, rows: Sequence[tf.Tensor], linear: tf.Tensor | None
    ) -> tf.Tensor:
        """The ridge terms of a batch, a scalar: the mean over its rows of r/2 times the sum of
        share times squared weight (see `Shares`), for embeddings and first-order terms.

        Args:
          ids: [B, number of fields in the schema].
          rows, linear: see `l2`.
        """
        total = tf.constant(0.0)
        if self._shares is None:
            return total
        shares = self._shares(ids)
        if self._embedding_ridge and rows:
            for part, columns in zip(rows, self._columns, strict=True):
                part_shares = shares if columns is None else tf.gather(shares, columns, axis=1)
                squares = tf.reduce_sum(tf.square(part), axis=2)
                mean = tf.reduce_mean(tf.reduce_sum(squares * part_shares, axis=1))
                total += 0.5 * self._embedding_ridge * mean
        if self._linear_ridge and linear is not None:
            mean = tf.reduce_mean(tf.reduce_sum(tf.square(linear) * shares, axis=1))
            total += 0.5 * self._linear_ridge * mean
        return total
