"""Calibration: whether rows predicted at 10% are positive in 10% of all cases, and the correction
that makes them so. No TensorFlow import.

`calibration` measures, `fit` finds a slope and an intercept of the logit on rows that were not
learned from (Platt scaling: Platt, "Probabilistic Outputs for Support Vector Machines", 1999,
without his smoothing of the labels), `Correction` holds and applies them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from irazor_tf.config.files import check_version, read_json, understanding, write_json

BINS = 10
# Between a float32 and 1 there is nothing nearer than this: a sigmoid in float32 rounds to 1 from a
# logit of about 16.6 on, and the logit of 1 is infinite. The same below, where float32 would go on
# to 1e-38, so that neither label has rows of another weight.
EPSILON = 2.0**-24
# Logits lie within 34 of each other: below this slope float32 could no longer tell rows apart.
_LEAST_SLOPE = 1e-6
_MOST_STEPS = 200
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Correction:
    """The function that turns a model's probability into the one that is served; it is kept in the
    file `correction.json` beside a model.

    p is clipped to [EPSILON, 1 - EPSILON] and becomes its logit, log p - log(1 - p); then p' =
    sigmoid(slope * logit + intercept), in float64, fitted on rows as they are in the log. (Training
    rows are not subsampled; a shift of the logit that undoes subsampling would belong between these
    two steps.) The identity, slope 1 and intercept 0, leaves p as it is, without clipping.

    Args:
      slope: Factor of the logit, above 0, so that the order of rows, and with it AUC, stays.
      intercept: Term that is added to the scaled logit.
      rows: Number of rows that the correction was fitted on; 0 where it was not fitted.
      notices: Sentences that say why only the intercept, or nothing, could be fitted; empty
        otherwise.
    """

    slope: float = 1.0
    intercept: float = 0.0
    rows: int = 0
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (0 < self.slope < math.inf and math.isfinite(self.intercept)):
            raise ValueError(
                "A correction should have a finite `slope` above 0 and a finite `intercept`. "
                f"Received: {self.slope}, {self.intercept}"
            )

    @property
    def is_identity(self) -> bool:
        """Whether the correction leaves every probability as it is."""
        return self.numbers() == Correction().numbers()

    def numbers(self) -> dict[str, float]:
        """The slope and the intercept, by name: all that a corrected probability depends on."""
        return {"slope": self.slope, "intercept": self.intercept}

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Corrected probabilities.

        Args:
          probabilities: The model's, in [0, 1], [rows].

        Returns:
          [rows] float64.
        """
        probabilities = np.asarray(probabilities, np.float64)
        if self.is_identity:
            return probabilities
        return _sigmoid(self.slope * logits(probabilities) + self.intercept)

    def save(self, path: str) -> None:
        """Writes the correction as a JSON file.

        Args:
          path: Path of the file, which a job calls `correction.json`.
        """
        write_json(
            path,
            {
                "version": _VERSION,
                **self.numbers(),
                "rows": self.rows,
                "notices": list(self.notices),
            },
        )

    @classmethod
    def load(cls, path: str) -> Correction:
        """The correction that `save` wrote to `path`.

        Raises:
          ValueError: the file does not hold one; the message names it.
        """
        value, _ = read_json(path)
        with understanding(path):
            check_version(value, _VERSION, "A correction")
            return cls(
                float(value["slope"]),
                float(value["intercept"]),
                int(value["rows"]),
                tuple(map(str, value["notices"])),
            )


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """The calibration of predictions: the mean prediction and the rate of positives, over all rows
    and in bins of equal count.

    Rows are sorted by prediction and divided by `np.array_split`; with fewer rows than bins there
    is a bin per row. The expected calibration error is sum_b n_b / n |mean prediction_b - rate_b|.
    Where equal predictions go to two bins, each of their rows counts with the mean of their labels,
    so that nothing depends on the order of rows.

    Args:
      labels: 0 or 1, [rows].
      probabilities: In [0, 1], [rows].
      bins: Number of bins, at least 1.

    Returns:
      "rows", "mean_prediction", "rate", "calibration_error", and "bins": a list of the first three
      for each bin, lowest predictions first.

    Raises:
      ValueError: no rows, or predictions that are not in [0, 1].
    """
    labels, probabilities = _rows(labels, probabilities)
    order = np.argsort(probabilities, kind="stable")
    predicted, labels_in_order = probabilities[order], labels[order]
    ties = np.cumsum(np.concatenate([[0], predicted[1:] != predicted[:-1]])).astype(np.int64)
    shared = (np.bincount(ties, labels_in_order) / np.bincount(ties))[ties]
    parts = np.array_split(np.stack([predicted, shared]), min(bins, len(labels)), axis=1)
    in_bins = [
        {
            "rows": part.shape[1],
            "mean_prediction": float(part[0].mean()),
            "rate": float(part[1].mean()),
        }
        for part in parts
    ]
    gaps = [part["rows"] * abs(part["mean_prediction"] - part["rate"]) for part in in_bins]
    error = sum(gaps) / len(labels)
    overall = {
        "rows": len(labels),
        "mean_prediction": float(predicted.mean()),
        "rate": float(labels.mean()),
    }
    return {**overall, "calibration_error": float(error), "bins": in_bins}


def without_bins(value: Any) -> Any:
    """A result of `calibration` without its list of bins. Any value that is no dict (another figure
    of the same record) is returned unchanged."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key != "bins"}


def fit(labels: np.ndarray, probabilities: np.ndarray) -> Correction:
    """The correction whose slope and intercept have the largest likelihood, unpenalised: the mean
    corrected probability is then the rate of positives on these rows.

    Where the likelihood has no maximum, or one that cannot be served, the intercept alone is fitted
    (slope 1), and a notice says why: all predictions are equal; those of the two labels do not
    overlap, so that a steeper slope is always better; the slope is not above 1e-6. Where all rows
    have one label nothing is corrected.

    Args:
      labels: 0 or 1, [rows].
      probabilities: The model's, [rows]; clipped to [EPSILON, 1 - EPSILON].

    Raises:
      ValueError: no rows, or predictions that are not in [0, 1].
    """
    labels, probabilities = _rows(labels, probabilities)
    if labels.min() == labels.max():
        notice = (
            f"nothing is corrected: all {len(labels):,} rows that the correction is fitted on "
            f"have the label {labels[0]:g}"
        )
        return Correction(rows=len(labels), notices=(notice,))
    x = logits(probabilities)
    negative, positive = x[labels == 0], x[labels == 1]
    if x.min() == x.max():
        reason = "all predictions are equal"
    elif negative.max() <= positive.min() or positive.max() <= negative.min():
        reason = (
            "the predictions of the two labels do not overlap, so that no slope is steep enough"
        )
    else:
        # The same likelihood in units in which Newton's steps are well conditioned, m being the
        # mean and s the deviation of x: a x + b = (a s) (x - m) / s + (a m + b).
        middle, spread = x.mean(), x.std()
        unit, shift = _newton(
            np.stack([(x - middle) / spread, np.ones_like(x)], axis=1), np.zeros_like(x), labels
        )
        slope = float(unit / spread)
        if slope > _LEAST_SLOPE:
            return Correction(slope, float(shift - slope * middle), len(labels))
        reason = f"the best slope is {slope:.3g}, which would not keep the order of rows"
    (intercept,) = _newton(np.ones((len(x), 1)), x, labels)
    return Correction(
        1.0, float(intercept), len(labels), (f"the correction is an intercept alone: {reason}",)
    )


def logits(probabilities: np.ndarray) -> np.ndarray:
    """log p - log(1 - p) of probabilities clipped to [EPSILON, 1 - EPSILON], [rows] float64."""
    clipped = np.clip(np.asarray(probabilities, np.float64), EPSILON, 1 - EPSILON)
    return np.log(clipped) - np.log1p(-clipped)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-values)), without overflow and exact to the last digits for values of either
    sign."""
    return np.exp(-np.logaddexp(0.0, -values))


def _newton(design: np.ndarray, offset: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The weights w for which sigmoid(offset + design w) has the largest likelihood of the labels.

    Newton's steps on the convex mean log loss, each halved until the loss does not grow.

    Args:
      design: [rows, K]. Factors of the weights.
      offset: [rows], or a number. The logits at w = 0.
      labels: 0 or 1, [rows], for which the likelihood has to have a maximum.

    Returns:
      w, [K].
    """
    weights = np.zeros(design.shape[1])

    def loss(weights: np.ndarray) -> float:
        values = offset + design @ weights
        return float(np.mean(np.logaddexp(0.0, values) - labels * values))

    now = loss(weights)
    for _ in range(_MOST_STEPS):
        p = _sigmoid(offset + design @ weights)
        gradient = design.T @ (p - labels) / len(labels)
        curvature = (design * (p * (1 - p))[:, None]).T @ design / len(labels)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        size = 1.0
        while loss(weights - size * step) > now * (1 + 1e-14) and size > 1e-12:
            size /= 2
        weights = weights - size * step
        now = loss(weights)
        # What is left after such a step is about its square.
        if np.abs(step).max() <= 1e-9 * (1 + np.abs(weights).max()):
            break
    return weights


def _rows(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities as float64 arrays.

    Raises:
      ValueError: no rows, or probabilities that are not in [0, 1].
    """
    labels, probabilities = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    if not len(labels):
        raise ValueError("Calibration needs at least one row. Received: an empty split")
    if not np.all((probabilities >= 0) & (probabilities <= 1)):  # nan is neither
        bad = int(np.sum(~((probabilities >= 0) & (probabilities <= 1))))
        raise ValueError(
            f"Predictions should be probabilities in [0, 1]. Received: {bad} of "
            f"{len(probabilities)} that are not"
        )
    return labels, probabilities
