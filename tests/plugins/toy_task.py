"""A task outside the package: probabilities trained and judged by their squared error."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import irazor_tf


@irazor_tf.register_task("toy_task")
class ToyTask(irazor_tf.Task):
    """L = (y - sigmoid(logit))^2, the Brier score."""

    directions = {"brier": -1}
    output = "chance"

    def loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return tf.square(labels - tf.sigmoid(logits))

    def predict(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(logits)

    def metrics(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        return {"brier": float(np.mean(np.square(labels - predictions)))}
