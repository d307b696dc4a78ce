"""Numeric codes and missing marks: what turns a raw number into a feature, offline and when served.

No TensorFlow import."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence

import numpy as np


def missing_numbers(texts: Sequence[str], dtype: str) -> list[int] | list[float]:
    """The texts that are numbers of `dtype`, int64 or float64, as numbers; the others cannot occur
    in a field of numbers."""
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
    """Integer code of each number. A missing number, nan, gets 0 and is for the caller to mark.

    Args:
      values: [B] float64; numbers beyond +-2^62 are clipped.
      transform: `log_square` for floor(log(x)^2) where x > 2 and floor(x) - 2 otherwise, so that no
        two integers on different sides of 2 share a code; `floor` for floor(x).

    Returns:
      [B] int64.
    """
    clipped = np.clip(np.nan_to_num(np.asarray(values, np.float64), nan=0.0), -(2.0**62), 2.0**62)
    floors = np.floor(clipped).astype(np.int64)
    if transform == "floor":
        return floors
    if transform == "log_square":
        above = np.searchsorted(log_square_boundaries(), clipped, side="right")
        return np.where(clipped > 2.0, above, floors - 2)
    raise ValueError(f"`transform` should be log_square or floor. Received: {transform!r}")
