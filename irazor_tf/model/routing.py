"""Several models behind one router: each row is scored by the model of its cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from irazor_tf.model.recommender import Recommender


class Router(keras.layers.Layer):
    """Base of routers: ids [B, number of fields in the schema] -> cluster [B] int32. A router's
    weights are part of what is served."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields it reads; they stay inputs of the served model."""
        raise TypeError(f"{type(self).__name__} should define `fields`")

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        raise TypeError(f"{type(self).__name__} should define `call`")


class RoutedRecommender(keras.Model):
    """One model per cluster behind a router: every row is scored once.

    Args:
      models: The model of every cluster, all of one schema and task.
      router: Layer that sends rows to clusters.
    """

    def __init__(self, models: Sequence[Recommender], router: Router):
        super().__init__(name="routed_recommender")
        self.models = list(models)
        self.router = router
        self.schema = models[0].schema
        self.task = models[0].task
        self(tf.zeros((1, len(self.schema.fields)), tf.int32))

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the fields that some model or the router reads, in the schema's order."""
        read = set(self.router.fields).union(*(model.config.kept for model in self.models))
        return tuple(name for name in self.schema.names if name in read)

    def call(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits, [B]."""
        clusters = self.router(ids)
        logits = tf.zeros((tf.shape(ids)[0],))
        for cluster, model in enumerate(self.models):
            rows = tf.where(tf.equal(clusters, cluster))
            logits = tf.tensor_scatter_nd_update(logits, rows, model(tf.gather(ids, rows[:, 0])))
        return logits

    def predict_proba(self, ids: tf.Tensor) -> tf.Tensor:
        """What is served, [B]."""
        return self.task.predict(self(ids, training=False))

    def predict_step(self, data: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self.predict_proba(data["ids"]), data["label"]

    def num_dims(self) -> int:
        """Embedding dimensions of all models together."""
        return sum(model.num_dims() for model in self.models)

    def num_params(self) -> int:
        """Embedding values of all models, and all of the router's."""
        return sum(model.num_params() for model in self.models) + self.router.count_params()

    def num_total_params(self) -> int:
        return sum(model.num_total_params() for model in self.models) + self.router.count_params()
