"""What the history of a training says about it: overfitting from the first epoch on, and predictions worse than the base rate. No
TensorFlow import."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

# A log loss that is worse by less than this share of itself is as good: AUC's and the log loss' own noise between epochs.
_SAME = 1e-3


def of_training(
    history: Sequence[Mapping[str, float]], best: int | None, base_rate: float | None, rows: str = "validation"
) -> list[str]:
    """Notices of one training; none where its records have no log loss.

    Args:
      history: a record per epoch, with "loss" (training) and "log_loss" (validation).
      best: number of the epoch whose weights were kept, 0 for its start, which has no record; None: the last.
      base_rate: see `base_rate_log_loss`; None where the records are not of the validation split.
      rows: what the records' log loss is taken on, in words.
    """
    if not history or any("log_loss" not in record for record in history):
        return []
    kept = history[-1 if best is None else best - 1]["log_loss"]
    return [*overfitting(history, best, rows), *([] if best == 0 else worse_than_base_rate(kept, base_rate))]


def overfitting(history: Sequence[Mapping[str, float]], best: int | None = None, rows: str = "validation") -> list[str]:
    """A notice where the log loss on `rows` is at its lowest after the first epoch and every later one is worse, while the training
    loss goes on falling; none for a single epoch."""
    if len(history) < 2 or any("log_loss" not in record for record in history):
        return []
    first, last = history[0], history[-1]
    later = [record["log_loss"] for record in history[1:]]
    if min(later) <= first["log_loss"] * (1 + _SAME) or not last["loss"] < first["loss"]:
        return []
    kept = len(history) if best is None else best
    return [
        f"overfits after epoch 1: the {rows} log loss goes from {first['log_loss']:.4f} to {later[-1]:.4f} by epoch {len(history)} "
        f"while the training loss goes from {first['loss']:.4f} to {last['loss']:.4f} (the weights kept are those of epoch {kept}). "
        "To try: a lower learning rate, dropout or a smaller tower in `model`, more `embedding_l2`, a higher `min_count`, fewer or "
        "narrower fields (`budget_params`), `metric` log_loss"
    ]


def worse_than_base_rate(log_loss: float, base_rate: float | None) -> list[str]:
    """A notice where a validation log loss is above that of the base rate."""
    if base_rate is None or not log_loss > base_rate * (1 + _SAME):
        return []
    return [
        f"is worse than the base rate: its validation log loss is {log_loss:.4f}, and predicting the training rows' share of positives "
        f"for every row has {base_rate:.4f}. To try: `metric` log_loss, which keeps the epoch where it is lowest; lower learning rates; "
        "more rows"
    ]


def base_rate_log_loss(train: float | None, valid: float | None) -> float | None:
    """-q ln p - (1 - q) ln(1 - p), nats per row: what predicting the training share of positives, p, for every validation row costs where
    their own share is q.

    Args:
      train, valid: the two shares; None: not known.

    Returns:
      None where a share is not known, or where all training rows have one label.
    """
    if train is None or valid is None or not 0 < train < 1:
        return None
    return -valid * math.log(train) - (1 - valid) * math.log(1 - train)
