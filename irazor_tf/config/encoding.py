"""How a raw number becomes a feature, in preprocessing and in a served model alike: integer codes
of numbers, and the numbers that stand for a missing value. No TensorFlow import."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence

import numpy as np


def missing_numbers(texts: Sequence[str], dtype: str) -> list[int] | list[float]:
    """The marks of a missing value as numbers.

    Args:
      texts: The marks as they stand in a log ("-1", "NA").
      dtype: Type of the field, int64 or float64.

    Returns:
      The texts that can be read as numbers of that type, each as its number. All others are left
      out, because a field of numbers never holds them.
    """
    if dtype == "int64":
        return [
            int(text)
            for text in texts
            if re.fullmatch(r"[+-]?[0-9]+", text) and -(2**63) < int(text) < 2**63
        ]
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return [number for number in numbers if math.isfinite(number)]


@functools.cache
def log_square_boundaries() -> np.ndarray:
    """The numbers exp(sqrt(k)), k = 1, 2, ... up to 2^63, at which floor(log(x)^2) grows by one,
    [K] float64.

    Comparing with these, instead of taking a logarithm, gives the same code in numpy and in the
    served graph."""
    top = int(math.log(2.0**63) ** 2)
    return np.exp(np.sqrt(np.arange(1, top + 1, dtype=np.float64)))


def numeric_codes(values: np.ndarray, transform: str) -> np.ndarray:
    """Integer code of each number. A missing number (nan) gets code 0; the caller has to mark it as
    missing.

    Args:
      values: [B] float64; numbers beyond +-2^62 are clipped.
      transform: `log_square` for floor(log(x)^2) where x > 2 and floor(x) - 2 otherwise, so that no
        two integers on different sides of 2 share a code; `floor` for floor(x).

    Returns:
      [B] int64.

    Raises:
      ValueError: `transform` is neither of the two.
    """
    clipped = np.clip(np.nan_to_num(np.asarray(values, np.float64), nan=0.0), -(2.0**62), 2.0**62)
    floors = np.floor(clipped).astype(np.int64)
    if transform == "floor":
        return floors
    if transform == "log_square":
        above = np.searchsorted(log_square_boundaries(), clipped, side="right")
        return np.where(clipped > 2.0, above, floors - 2)
    raise ValueError(f"`transform` should be log_square or floor. Received: {transform!r}")
