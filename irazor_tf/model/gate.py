"""Gates: layers that a search method puts between the embeddings and the base model.

A gate owns the architecture parameters. Its output has the shape of its input, so that base models
need no knowledge of it. Its weights are trained by the optimizer of the group "architecture".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.input_config import InputConfig

Apply = Callable[[Sequence[tf.Tensor]], None]


class Gate(keras.layers.Layer):
    """Base of all gates; this one lets everything pass. The trainable weights of a subclass are
    architecture parameters."""

    group = "architecture"
    # What `add_record` made.
    records: tuple[tf.Variable, ...] = ()
    # The model's step counter, for schedules and noise; set by the model.
    clock: tf.Variable | None = None

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The gated embeddings of a batch.

        Args:
          x: [B, N, D]. Embeddings, narrow fields padded with zeros.
          ids: [B, N]. The ids that the embeddings were looked up by.
          training: Whether the pass is one of training (of weights or architecture) and not of an
            evaluation.

        Returns:
          [B, N, D].
        """
        return x

    def open_fields(self, training: bool = False) -> tf.Tensor | None:
        """The fields that the gate has not closed: [N], 0 for a field whose columns are all closed
        for every row, else 1; None where all fields are open.

        For a closed field the model also leaves out its first-order term and the bias of its map,
        as `restrict` does, so that it scores like the narrower model that is cut from it. No
        gradient runs through this factor: a mask is trained by the derivative of the loss in the
        mask itself, which multiplies the column's embedding and nothing else, while the factor is
        constant around every mask.

        Args:
          training: see `call`.
        """
        return None

    def penalty(
        self, embedding: keras.layers.Layer, x: tf.Tensor, ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The gate's penalties on a batch.

        Args:
          embedding: The model's `FieldEmbedding`, with its tables.
          x: [B, N, D]. The gate's input.
          ids: [B, N]. The ids that the embeddings were looked up by.

        Returns:
          Group of variables -> a scalar that is added to the loss in the gradient of this group
          alone.
        """
        return {}

    def update(self, gradients: Sequence[tf.Tensor], apply: Apply) -> None:
        """One step of the architecture parameters.

        Args:
          gradients: Dense gradient of every trainable weight of the gate, summed over replicas.
          apply: Function that applies the optimizer of the group "architecture" to gradients, given
            one for each of these weights. A subclass may change the gradients before, or the
            weights after.
        """
        apply(gradients)

    def fold(self, embedding: keras.layers.Layer) -> None:
        """Multiplies the effect of the gate into the embedding tables, for methods whose final
        model goes on with the searched weights but without the gate; does nothing here.

        Args:
          embedding: The model's `FieldEmbedding`.
        """

    def add_architecture(self, name: str, shape: Sequence[int], initializer: Any) -> tf.Variable:
        """A new trainable architecture parameter. `update` may also assign a value to it inside a
        replica, the same value in each.

        Args:
          name: Name of the variable.
          shape: Shape of the variable.
          initializer: Keras initializer.
        """
        return self.add_weight(
            name, shape, initializer=initializer, aggregation=tf.VariableAggregation.MEAN
        )

    def add_record(self, name: str, shape: Sequence[int]) -> tf.Variable:
        """A new variable, zeros at first, in which `update` may note the course of the search, with
        the same value in every replica. It is saved with the weights, so that a resumed search goes
        on with it. No output of the gate may depend on it.

        Args:
          name: Name of the variable.
          shape: Shape of the variable.
        """
        record = self.add_weight(
            name,
            shape,
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.MEAN,
        )
        self.records = (*self.records, record)
        return record

    def traces(self) -> dict[str, tf.Tensor]:
        """Scalars that describe the gate after an epoch, name -> value; the report and TensorBoard
        draw them as curves."""
        return {}


class NarrowedGate(Gate):
    """A supernet's gate inside the model that was cut from the supernet. The gate sees the input of
    the wide shape that it was built for, with zeros for removed columns; of its output the removed
    columns are dropped.

    Args:
      gate: The gate, already built for the wide shape.
      wide: Config of the supernet.
      narrow: Config of the model that was cut from the supernet.
    """

    def __init__(self, gate: Gate, wide: InputConfig, narrow: InputConfig):
        super().__init__(name=f"narrowed_{gate.name}")
        self._gate = gate
        fields, wide_dim, narrow_dim = wide.kept, wide.max_dim, narrow.max_dim
        self._num_fields = len(fields)
        self._wide_dim = wide_dim
        # For every wide slot the narrow one that fills it; the last index is a column of zeros.
        zero = narrow.num_fields * narrow_dim
        self._scatter = np.full(len(fields) * wide_dim, zero, np.int32)
        self._gather = np.full(narrow.num_fields * narrow_dim, len(fields) * wide_dim, np.int32)
        for i, name in enumerate(narrow.kept):
            for j, label in enumerate(narrow.fields[name].labels):
                slot = fields.index(name) * wide_dim + wide.fields[name].labels.index(label)
                self._scatter[slot] = i * narrow_dim + j
                self._gather[i * narrow_dim + j] = slot
        kept = list(narrow.kept)
        self._wide_fields = np.array([fields.index(name) for name in kept], np.int32)
        self._fields = np.array(
            [kept.index(name) if name in kept else len(kept) for name in fields], np.int32
        )
        self._narrow_shape = (narrow.num_fields, narrow_dim)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        rows = tf.shape(x)[0]
        flat = tf.pad(
            tf.reshape(x, (rows, self._narrow_shape[0] * self._narrow_shape[1])), ((0, 0), (0, 1))
        )
        wide = tf.reshape(
            tf.gather(flat, self._scatter, axis=1), (rows, self._num_fields, self._wide_dim)
        )
        wide_ids = tf.gather(tf.pad(ids, ((0, 0), (0, 1))), self._fields, axis=1)
        gated = tf.reshape(
            self._gate(wide, wide_ids, training=training), (rows, self._num_fields * self._wide_dim)
        )
        narrow = tf.gather(tf.pad(gated, ((0, 0), (0, 1))), self._gather, axis=1)
        return tf.reshape(narrow, (rows, *self._narrow_shape))

    def open_fields(self, training: bool = False) -> tf.Tensor | None:
        wide = self._gate.open_fields(training)
        return None if wide is None else tf.gather(wide, self._wide_fields)
