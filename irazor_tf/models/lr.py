"""Logistic regression: one weight per feature."""

from __future__ import annotations

import tensorflow as tf

from irazor_tf.embedding.tables import Embedded
from irazor_tf.model.base import MODELS, BaseModel


@MODELS.register("lr")
class LogisticRegression(BaseModel):
    """logit = sum_i w_i[x_i] (+ the global bias); embeddings are not built."""

    @property
    def uses(self) -> frozenset[str]:
        return frozenset({"linear"})

    def call(self, inputs: Embedded, training: bool = False) -> tf.Tensor:
        return tf.reduce_sum(inputs.linear, axis=1)
