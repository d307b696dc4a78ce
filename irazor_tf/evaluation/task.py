"""Tasks: what the logit means, how it is trained and judged."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from irazor_tf.config.registry import Registry
from irazor_tf.evaluation.calibration import Correction

TASKS = Registry("task", "irazor_tf.tasks")


class Task(abc.ABC):
    """Base of all tasks."""

    # Name of a metric -> +1 where larger is better, -1 where smaller is.
    directions: Mapping[str, int] = {}
    # Name of the served output.
    output = "prediction"
    # Whether a prediction is the probability that a row's label is 1, as the baselines predict too;
    # if not, a job of the task has no baselines.
    predicts_probability = False

    @dataclasses.dataclass(frozen=True)
    class Params:
        """Settings."""

    def __init__(self, params: Any = None):
        self.params = params

    @abc.abstractmethod
    def loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Loss per row, [B]."""

    @abc.abstractmethod
    def predict(self, logits: tf.Tensor) -> tf.Tensor:
        """What is served, [B]."""

    @abc.abstractmethod
    def metrics(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        """The metrics of `directions`, of a whole split."""

    def calibration(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
        """How predictions compare with what happens, on a whole split; nothing for a task whose
        predictions are no probabilities."""
        return {}

    def correction(self, labels: np.ndarray, predictions: np.ndarray) -> Correction:
        """What mends the predictions, fitted on rows that were not learned from."""
        return Correction()

    def corrected_metrics(self, labels: np.ndarray, corrected: np.ndarray) -> dict[str, float]:
        """Those of the metrics that a correction changes, of corrected predictions."""
        return {}

    def check_labels(self, rows: int, positives: int) -> None:
        """Raises ValueError where the metrics of a split of so many rows, so many of them positive,
        have no meaning."""

    def check_metric(self, name: str) -> str:
        """`name`, or a ValueError that lists the task's metrics."""
        if name not in self.directions:
            raise ValueError(
                f"The metric should be one of {', '.join(self.directions)}. Received: {name!r}"
            )
        return name
