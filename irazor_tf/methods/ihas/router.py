"""The router of iHAS: decides which cluster a row belongs to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.embedding.tables import FieldEmbedding
from irazor_tf.methods.ihas.equations import Selection, columns_of, nearest, select, slots_of
from irazor_tf.model.routing import Router


class ClusterRouter(Router):
    """A router that sends a row to the cluster whose centroid is nearest to the row's masked
    embeddings (section 3.5.2). It has its own copy of the searched tables and gates.

    Args:
      schema: The data's fields.
      space: The config of the searched tables, without masks.
      bins: Number of bins of a row's histogram.
      arrays: "table/<field>" [V, dim], "bias" [M], "centroids" [C, M], and "kernel" [M, M] for
        gates that are instance-wise.
    """

    def __init__(
        self, schema: Schema, space: InputConfig, bins: int, arrays: Mapping[str, np.ndarray]
    ):
        super().__init__(name="router")
        self._slots = slots_of(space)
        self._bins = bins
        self.embedding = FieldEmbedding(schema, space, stddev=0.0, seed=0)
        self.embedding(tf.zeros((1, len(schema.fields)), tf.int32))
        for table, (_, names) in zip(self.embedding.tables, self.embedding.widths, strict=True):
            table.assign(np.concatenate([arrays[f"table/{name}"] for name in names]))
        self.constants = {}
        for name in ("kernel", "bias", "centroids"):
            if name in arrays:
                self.constants[name] = self.add_weight(
                    name, arrays[name].shape, initializer="zeros"
                )
                self.constants[name].assign(arrays[name])
        self.trainable = False

    @property
    def fields(self) -> tuple[str, ...]:
        return self.embedding.fields

    def select(self, ids: tf.Tensor) -> tuple[tf.Tensor, Selection]:
        """The embeddings of each row side by side, [B, M], and the row's deterministic gates.

        Args:
          ids: [B, number of fields in the schema].
        """
        flat = columns_of(self.embedding.stack(self.embedding(ids)), self._slots)
        return flat, select(flat, self.constants.get("kernel"), self.constants["bias"], self._bins)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        flat, chosen = self.select(ids)
        return nearest(tf.where(chosen.open, flat, 0.0), self.constants["centroids"])
