"""How a choice is made among columns and regions, whatever a method scores them by. No TensorFlow
import."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def evenness(weights: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Entropy of each field's weights over ln K, its largest value: 1 where they are uniform, 0
    where one region has it all. [N].

    Args:
      weights: alpha, [N, K] (0 where a field has fewer regions).
      counts: regions of every field, [N]; nan where there is one, which leaves nothing to decide.
    """
    weights = np.asarray(weights, np.float64)
    entropy = -np.sum(weights * np.log(np.where(weights > 0, weights, 1.0)), axis=1)
    most = np.log(np.asarray(counts, np.float64))
    return np.divide(entropy, most, out=np.full(len(most), np.nan), where=most > 0)
