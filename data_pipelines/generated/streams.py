"""Random numbers for generated logs, and the intercept by which a log gets its rate of clicks.

Everything is made from uniform numbers of PCG64 (normal ones by Box-Muller, Zipf ones by
inversion), because that stream is the part of numpy least likely ever to change.
"""

from __future__ import annotations

import numpy as np


class Stream:
    """Random numbers of one stream, all made from the uniform ones of PCG64.

    Args:
      key: whole numbers >= 0 that name the stream: the seed, the number of the purpose and, for
        rows, the number of the chunk.
    """

    def __init__(self, *key: int):
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def uniform(self, *shape: int) -> np.ndarray:
        """Uniform numbers in [0, 1), float64, of the given shape."""
        return self._generator.random(shape)

    def normal(self, *shape: int) -> np.ndarray:
        """Standard normal numbers, float64, of the given shape, by the cosine half of
        Box-Muller."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(*shape)))
        return radius * np.cos(2.0 * np.pi * self.uniform(*shape))

    def below(self, size: int, rows: int) -> np.ndarray:
        """Uniform integers 0 .. size - 1, [rows] int64."""
        return np.floor(self.uniform(rows) * size).astype(np.int64)

    def zipf(self, size: int, exponent: float, rows: int) -> np.ndarray:
        """Random integers 0 .. size - 1, [rows] int64; the k-th of them (from 1) has a probability
        in proportion to k^-exponent."""
        cumulative = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -exponent)
        return np.minimum(
            np.searchsorted(cumulative / cumulative[-1], self.uniform(rows), side="right"), size - 1
        )

    def permutation(self, size: int) -> np.ndarray:
        """A random order of 0 .. size - 1, [size] int64."""
        return np.argsort(self.uniform(size), kind="stable")


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logits))


def calibrated(logits: np.ndarray, rate: float) -> float:
    """The intercept that makes the mean probability `rate`, found by bisection and rounded to four
    decimals.

    Args:
      logits: the logits without it, [rows].
      rate: the wanted mean of sigmoid(logits + intercept).
    """
    low, high = -20.0, 20.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(logits + middle).mean() < rate else (low, middle)
    # Few digits, so that the last bits of a mean cannot reach the labels.
    return round((low + high) / 2, 4)
