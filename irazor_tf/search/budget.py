"""What a method says when nothing fits. No TensorFlow import."""

from __future__ import annotations

from typing import Any


class BudgetError(ValueError):
    """Nothing can be kept: nothing fits in the budget, or a search has left nothing."""


def budget_error(
    budget: int,
    smallest: int,
    setting: tuple[str, Any] | None = None,
    *,
    owner: str = "the smallest config",
) -> BudgetError:
    """What a method says when nothing fits.

    Args:
      budget: What there is.
      smallest: What keeping anything would take.
      setting: Name and value of the setting that the budget comes from. If None (default), the
        budget was given as such.
      owner: What would take that much.
    """
    least = f"{owner}'s {smallest:,} embedding parameters"
    if setting is not None:
        return BudgetError(
            f"{setting[0]} should leave at least {least}, and leaves {budget:,}. Received: "
            f"{setting[1]}"
        )
    return BudgetError(f"The budget should be at least {least}. Received: {budget:,}")
