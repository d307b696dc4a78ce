"""Notices about a training: overfitting from the first epoch on, predictions worse than the base
rate, mean predictions that differ from the rate of positives. No TensorFlow import."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# A log loss that is worse by less than this share of itself counts as equal: it varies as much
# between epochs by chance.
_SAME = 1e-3
# A mean prediction is off where its distance from the rate is above so many standard errors of the
# rate, and above this share of the rate.
_ERRORS, _SHARE = 3.0, 0.05


def of_training(
    history: Sequence[Mapping[str, float]],
    best: int | None,
    base_rate: float | None,
    rows: str = "validation",
) -> list[str]:
    """The notices about one training, sentences without a subject; none where its records have no
    log loss.

    Args:
      history: A record per epoch, with "loss" (training) and "log_loss" (validation).
      best: Number of the epoch whose weights were kept; 0 for the start of the training, which has
        no record. If None, the last epoch.
      base_rate: see `base_rate_log_loss`. If None, the records are not of the validation split.
      rows: Name, in the text, of the rows on which the log loss was measured.
    """
    if not history or any("log_loss" not in record for record in history):
        return []
    kept = history[-1 if best is None else best - 1]["log_loss"]
    return [
        *overfitting(history, best, rows),
        *([] if best == 0 else worse_than_base_rate(kept, base_rate)),
    ]


def overfitting(
    history: Sequence[Mapping[str, float]], best: int | None = None, rows: str = "validation"
) -> list[str]:
    """A notice about overfitting: the log loss is at its lowest after the first epoch, and every
    later one is worse, while the training loss goes on falling. None for a single epoch.

    Args:
      history, best, rows: see `of_training`.
    """
    if len(history) < 2 or any("log_loss" not in record for record in history):
        return []
    first, last = history[0], history[-1]
    later = [record["log_loss"] for record in history[1:]]
    if min(later) <= first["log_loss"] * (1 + _SAME) or not last["loss"] < first["loss"]:
        return []
    kept = len(history) if best is None else best
    return [
        f"overfits after epoch 1: the {rows} log loss goes from {first['log_loss']:.4f} to "
        f"{later[-1]:.4f} by epoch {len(history)} while the training loss goes from "
        f"{first['loss']:.4f} to {last['loss']:.4f} (the weights kept are those of epoch {kept}). "
        "To try: a lower learning rate, dropout or a smaller tower in `model`, more "
        "`embedding_l2`, a higher `min_count`, fewer or narrower fields (`budget_params`), "
        "`metric` log_loss"
    ]


def worse_than_base_rate(log_loss: float, base_rate: float | None) -> list[str]:
    """A notice where a validation log loss is above that of the base rate; none otherwise.

    Args:
      log_loss: The model's validation log loss, nats per row.
      base_rate: see `base_rate_log_loss`; None for no notice.
    """
    if base_rate is None or not log_loss > base_rate * (1 + _SAME):
        return []
    return [
        f"is worse than the base rate: its validation log loss is {log_loss:.4f}, and predicting "
        f"the training rows' share of positives for every row has {base_rate:.4f}. To try: "
        "`metric` log_loss, which keeps the epoch where it is lowest; lower learning rates; more "
        "rows"
    ]


def off_the_rate(calibration: Mapping[str, Any]) -> list[str]:
    """A notice where the mean prediction on the validation rows differs from their rate of
    positives by more than chance; none otherwise.

    The standard error of a rate q of n rows is sqrt(q (1 - q) / n).

    Args:
      calibration: "rows", "mean_prediction" and "rate" of the validation split; empty where they
        are not known.
    """
    if not calibration or not 0 < calibration["rate"] < 1:
        return []
    rows, mean, rate = calibration["rows"], calibration["mean_prediction"], calibration["rate"]
    off, error = abs(mean - rate), math.sqrt(rate * (1 - rate) / rows)
    if off <= _ERRORS * error or off <= _SHARE * rate:
        return []
    size = (
        f"{off / rate:.0%} too {'much' if mean > rate else 'little'}, {off / error:.0f} "
        "standard errors of that rate"
    )
    return [
        f"predicts {mean:.4f} on average where {rate:.4f} of the {rows:,} validation rows are "
        f"positive ({size}): --calibrate mends it"
    ]


def base_rate_log_loss(train: float | None, valid: float | None) -> float | None:
    """The validation log loss of the base rate, that is of predicting the training rows' share of
    positives, p, for every row, while the validation rows' share is q: -q ln p - (1 - q) ln(1 - p),
    nats per row.

    Args:
      train, valid: Shares of positives of the two splits, p and q; None where a share is not known.

    Returns:
      None where a share is not known, or where all training rows have one label.
    """
    if train is None or valid is None or not 0 < train < 1:
        return None
    return -valid * math.log(train) - (1 - valid) * math.log(1 - train)
