"""Several models behind one router: each row is scored by the model of its cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from irazor_tf.model.recommender import Recommender


class Router(keras.layers.Layer):
    """Base of routers, which decide which cluster each row belongs to: ids [B, number of fields in
    the schema] -> cluster [B] int32. A router's weights are served with the model."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that the router reads; they stay inputs of the served model even
        where no cluster's model keeps them."""
        raise TypeError(f"{type(self).__name__} should define `fields`")

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        raise TypeError(f"{type(self).__name__} should define `call`")


class RoutedRecommender(keras.Model):
    """One model per cluster of rows, behind a router: a row is scored by the model of its cluster
    alone.

    Args:
      models: The model of every cluster, in the order of the clusters' numbers; all of one schema
        and task.
      router: Layer that says which cluster a row belongs to.
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
        """Logits of ids, [B, number of fields in the schema] -> [B]; each row by the model of its
        cluster."""
        clusters = self.router(ids)
        logits = tf.zeros((tf.shape(ids)[0],))
        for cluster, model in enumerate(self.models):
            rows = tf.where(tf.equal(clusters, cluster))
            logits = tf.tensor_scatter_nd_update(logits, rows, model(tf.gather(ids, rows[:, 0])))
        return logits

    def predict_proba(self, ids: tf.Tensor) -> tf.Tensor:
        """The predictions that are served for ids, [B, number of fields in the schema] -> [B]."""
        return self.task.predict(self(ids, training=False))

    def predict_step(self, data: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self.predict_proba(data["ids"]), data["label"]

    def num_dims(self) -> int:
        """Sum of the embedding dimensions of the models of all clusters."""
        return sum(model.num_dims() for model in self.models)

    def num_params(self) -> int:
        """Number of embedding values of the models of all clusters, plus all values that the router
        stores."""
        return sum(model.num_params() for model in self.models) + self.router.count_params()

    def num_total_params(self) -> int:
        """Number of all values of the models of all clusters and of the router."""
        return sum(model.num_total_params() for model in self.models) + self.router.count_params()
