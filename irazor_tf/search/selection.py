"""Choices among columns and regions by their scores, independent of the method. No TensorFlow
import."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def evenness(weights: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Entropy of each field's weights as a share of its largest value, ln K.

    Args:
      weights: Weights of every field's regions, [N, K], 0 where a field has fewer regions.
      counts: Number of regions of every field, [N].

    Returns:
      [N]: 1 where the weights are uniform, 0 where one region has all; nan where there is one
      region, which leaves nothing to decide.
    """
    weights = np.asarray(weights, np.float64)
    entropy = -np.sum(weights * np.log(np.where(weights > 0, weights, 1.0)), axis=1)
    most = np.log(np.asarray(counts, np.float64))
    return np.divide(entropy, most, out=np.full(len(most), np.nan), where=most > 0)


def take_while_fits(
    order: Iterable[int], costs: np.ndarray, limit: int, *, fill: bool = False
) -> np.ndarray:
    """Takes columns in an order as long as their costs fit together in a limit.

    Args:
      order: Numbers of the columns, the first to be taken in front; columns left out are not taken.
      costs: What each column adds, [C], whole numbers.
      limit: The most that all taken columns may cost.
      fill: Whether a column that does not fit any more is passed over, and those after it are still
        tried; if not, the first that does not fit ends the taking.

    Returns:
      [C] bool, the columns taken.
    """
    taken = np.zeros(len(costs), bool)
    for column in order:
        if costs[column] <= limit:
            taken[column] = True
            limit -= int(costs[column])
        elif not fill:
            break
    return taken
