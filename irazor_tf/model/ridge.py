"""The ridge: an L2 penalty that weighs every feature's weights once, however often rows look them
up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from irazor_tf.config.schema import Schema


class Shares:
    """1 / c(x_i) of every value of a row, c being how often the feature occurs in the training
    split.

    With ridge r, half of r times these shares times the squared weights w of a row's features
    enters the row's loss. Summed over the training rows that is r/2 * sum of w^2 over all features
    that occur: the prior N(0, 1/r) of every weight, and scikit-learn's penalty with C = 1/r. An L2
    of looked-up rows that is not divided by c penalises a feature in proportion to how often it
    occurs: most what is known best. A batch still touches no other rows than it looks up.

    Args:
      schema: loaded from the data folder, with counts.
      fields: the fields, in the order of what is returned.

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
        """[B, N] float32 of ids [B, number of fields in the schema]."""
        return tf.gather(
            self._values, tf.cast(tf.gather(ids, self._columns, axis=1), tf.int64) + self._offsets
        )
