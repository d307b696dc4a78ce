"""The error of a method that cannot keep anything. No TensorFlow import."""

from __future__ import annotations

from typing import Any


class BudgetError(ValueError):
    """Nothing can be kept: either nothing is small enough for the budget, or a search has removed
    everything."""


def budget_error(
    budget: int,
    smallest: int,
    setting: tuple[str, Any] | None = None,
    *,
    owner: str = "the smallest config",
) -> BudgetError:
    """The error that a method raises where not even the smallest config fits in the budget; its
    message names the setting to change.

    Args:
      budget: Embedding parameters allowed.
      smallest: Embedding parameters of the smallest thing that could be kept.
      setting: Name and value of the setting from which the budget was computed. If None (default),
        the budget was given directly.
      owner: What has `smallest` parameters, in words.
    """
    least = f"{owner}'s {smallest:,} embedding parameters"
    if setting is not None:
        return BudgetError(
            f"{setting[0]} should leave at least {least}, and leaves {budget:,}. Received: "
            f"{setting[1]}"
        )
    return BudgetError(f"The budget should be at least {least}. Received: {budget:,}")
