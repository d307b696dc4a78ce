"""Frequency blocks: which features share a row of alpha (DNIS, section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

MOST_BLOCKS = 100_000  # each has a row of alpha, and at least one feature


def feature_blocks(
    counts: Mapping[str, np.ndarray],
    blocks: int,
    shares: Sequence[float] = (),
    sizes: Sequence[int] = (),
    per_field: bool = False,
) -> dict[str, np.ndarray]:
    """Features in descending order of frequency, cut into blocks, the most frequent ones in block 0
    (section 2.3).

    Features of equal frequency stand in the order of fields and ids.

    Args:
      counts: Field name -> frequency of every feature, [V].
      blocks: Number of blocks, L; they differ by at most one feature in size. Not read where
        `shares` or `sizes` cut the blocks.
      shares: Every block's share of the features.
      sizes: Every block's number of features; what they leave is one more block.
      per_field: Whether every field is cut by its own frequencies, blocks numbered field after
        field. Blocks that a small field has no feature for are left out.

    Returns:
      Field name -> block of every feature, [V] int32.

    Raises:
      ValueError: there are fewer features than the blocks need.
    """
    result: dict[str, np.ndarray] = {}
    first = 0
    for names in [[name] for name in counts] if per_field else [list(counts)]:
        frequencies = np.concatenate([counts[name] for name in names])
        ends = _ends(len(frequencies), blocks, shares, sizes)
        if per_field:
            ends = np.unique(np.minimum(ends, len(frequencies)))
            ends = ends[ends > 0]
        elif ends[-1] > len(frequencies) or np.any(np.diff(ends, prepend=0) < 1):
            raise ValueError(
                f"The blocks of dnis should have a feature each, of {len(frequencies):,} in all. "
                f"Received: {_setting(blocks, shares, sizes)}"
            )
        ranked = np.argsort(-frequencies.astype(np.int64), kind="stable")
        block = np.empty(len(frequencies), np.int32)
        block[ranked] = first + np.searchsorted(ends, np.arange(len(frequencies)), side="right")
        borders = np.cumsum([len(counts[name]) for name in names])[:-1]
        result |= zip(names, np.split(block, borders), strict=True)
        first += len(ends)
    return result


def _setting(blocks: int, shares: Sequence[float], sizes: Sequence[int]) -> str:
    """The setting that cuts the blocks, with its value."""
    if sizes:
        return f"`block_sizes` {tuple(sizes)}"
    return f"`block_shares` {tuple(shares)}" if shares else f"`blocks` {blocks}"


def _ends(total: int, blocks: int, shares: Sequence[float], sizes: Sequence[int]) -> np.ndarray:
    """Number of features up to the end of every block, [L]."""
    if sizes:
        ends = np.cumsum(sizes)
        return ends if ends[-1] >= total else np.append(ends, total)
    if shares:
        return np.append(np.rint(np.cumsum(shares[:-1]) * total).astype(np.int64), total)
    return total * np.arange(1, blocks + 1) // blocks
