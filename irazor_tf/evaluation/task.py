"""Tasks: the meaning of a model's logit, the loss it is trained by and the metrics it is judged
by."""

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
    """Base of all tasks.

    A subclass gives `directions`, metric -> +1 where larger is better and -1 where smaller is, and
    `output`, the name of the served tensor.

    Args:
      params: The task's settings.
    """

    # Name of a metric -> +1 where larger is better, -1 where smaller is.
    directions: Mapping[str, int] = {}
    # Name of the served output.
    output = "prediction"
    # Whether a prediction is the probability that a row's label is 1, as the baselines predict too;
    # if not, a job of the task has no baselines.
    predicts_probability = False

    @dataclasses.dataclass(frozen=True)
    class Params:
        """The settings of a task; a subclass lists its own, this base has none."""

    def __init__(self, params: Any = None):
        self.params = params

    @property
    def loss_metric(self) -> str | None:
        """The first of the metrics that is smaller where a model is better; None without one."""
        return next((name for name, direction in self.directions.items() if direction < 0), None)

    @abc.abstractmethod
    def loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Loss of each row, [B].

        Args:
          labels, logits: [B] each.
        """

    @abc.abstractmethod
    def predict(self, logits: tf.Tensor) -> tf.Tensor:
        """The predictions that are served for logits, [B] -> [B]."""

    @abc.abstractmethod
    def metrics(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        """The metrics of a whole split: a value for every name in `directions`.

        Args:
          labels, predictions: [rows] each.
        """

    def calibration(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
        """The calibration of predictions on a whole split, as `evaluation.calibration.calibration`
        gives it; an empty dict for a task whose predictions are no probabilities.

        Args:
          labels, predictions: [rows] each.
        """
        return {}

    def correction(self, labels: np.ndarray, predictions: np.ndarray) -> Correction:
        """The correction of predictions before they are served, fitted on rows that the model has
        not learned from. A task that does not define one has the identity.

        Args:
          labels, predictions: [rows] each.
        """
        return Correction()

    def corrected_metrics(self, labels: np.ndarray, corrected: np.ndarray) -> dict[str, float]:
        """The metrics of corrected predictions; only those metrics that a correction can change.

        Args:
          labels, corrected: [rows] each.
        """
        return {}

    def check_labels(self, rows: int, positives: int) -> None:
        """Raises ValueError for a split on which the task's metrics are undefined.

        Args:
          rows: Number of rows in the split.
          positives: Number of rows with label 1.
        """

    def check_metric(self, name: str) -> str:
        """The metric's name itself, once it is known to be one.

        Raises:
          ValueError: the task has no such metric; the message lists those that it has.
        """
        if name not in self.directions:
            raise ValueError(
                f"The metric should be one of {', '.join(self.directions)}. Received: {name!r}"
            )
        return name
