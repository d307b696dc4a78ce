"""The format of values in the report. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NONE = "–"  # stands where there is no value


def number(value: Any, digits: int = 4) -> str:
    """A number as text, with thousands separators, and a float with `digits` decimals; a dash for
    None, and a text or truth value as it is."""
    if value is None:
        return NONE
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def share(part: float, whole: float | None) -> str:
    """A part of a whole in percent, as text; a dash where the whole is 0 or None."""
    return f"{part / whole:.1%}" if whole else NONE


def spans(numbers: Sequence[int]) -> str:
    """Ascending whole numbers as text, neighbours joined to spans: 0, 1, 2, 5 -> 0–2, 5; a dash for
    none."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    words = [
        str(first) if first == last else f"{first}–{last}"
        for first, last in zip(starts, ends, strict=True)
    ]
    return ", ".join(words) or NONE


def metric_name(key: str) -> str:
    """The name of a metric as the report shows it: "auc" -> AUC, "log_loss" -> Log loss,
    "valid_auc" -> valid AUC, "valid_log_loss" -> valid log loss."""
    if key.startswith("valid_"):
        name = metric_name(key.removeprefix("valid_"))
        return f"valid {name if name.isupper() else name.lower()}"
    if len(key) <= 4 and "_" not in key and key != "loss":
        return key.upper()
    return key.replace("_", " ").capitalize()
