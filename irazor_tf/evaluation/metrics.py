"""Metrics of a whole split, computed by scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn import metrics as sk_metrics


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve.

    Raises:
      ValueError: all labels are equal, or a probability is not finite.
    """
    _check(labels, probabilities)
    if labels.min() == labels.max():
        raise ValueError(
            f"AUC needs both labels in the split. Received: {len(labels)} rows, all "
            f"{labels.min():g}"
        )
    return float(sk_metrics.roc_auc_score(labels, probabilities))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cross-entropy, in nats per row.

    Raises:
      ValueError: there are no rows, or a probability is not finite.
    """
    _check(labels, probabilities)
    return float(sk_metrics.log_loss(labels, np.asarray(probabilities, np.float64), labels=[0, 1]))


def _check(labels: np.ndarray, probabilities: np.ndarray) -> None:
    if not len(labels):
        raise ValueError("A metric needs at least one row. Received: an empty split")
    if not np.all(np.isfinite(probabilities)):
        bad = int(np.sum(~np.isfinite(probabilities)))
        raise ValueError(
            f"Predictions should be finite (lower the learning rate?). Received: {bad} of "
            f"{len(probabilities)} that are not"
        )
