"""Click-through rate: cross-entropy, AUC and log loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from irazor_tf.evaluation import calibration, metrics
from irazor_tf.evaluation.calibration import Correction
from irazor_tf.evaluation.task import TASKS, Task


@TASKS.register("ctr")
class ClickThroughRate(Task):
    """p = sigmoid(logit); L = -y log p - (1 - y) log(1 - p) (i-Razor, equation 7 without the
    penalty)."""

    directions = {"auc": 1, "log_loss": -1}
    output = "probability"
    predicts_probability = True

    def loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)

    def predict(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(logits)

    def check_labels(self, rows: int, positives: int) -> None:
        if not 0 < positives < rows:
            raise ValueError(
                f"A split should hold rows of both labels. Received: {rows:,} rows, {positives:,} "
                "of them positive"
            )

    def metrics(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        return {
            "auc": metrics.auc(labels, predictions),
            "log_loss": metrics.log_loss(labels, predictions),
        }

    def calibration(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
        return calibration.calibration(labels, predictions)

    def correction(self, labels: np.ndarray, predictions: np.ndarray) -> Correction:
        return calibration.fit(labels, predictions)

    def corrected_metrics(self, labels: np.ndarray, corrected: np.ndarray) -> dict[str, float]:
        """The log loss of corrected predictions. AUC is not among the metrics that change, because
        a correction keeps the order of rows."""
        return {"log_loss": metrics.log_loss(labels, corrected)}
