"""Frequency blocks of DNIS: groups of features of similar frequency that share a row of alpha
(section 2.3)."""

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
    """The block of every feature: features are put in descending order of frequency and cut into
    blocks, the most frequent ones into block 0 (section 2.3).

    Features of equal frequency stand in the order of fields and ids.

    Args:
      counts: Field name -> frequency of every feature, [V].
      blocks: Number of blocks, L; they differ by at most one feature in size. Not read where
        `shares` or `sizes` cut the blocks.
      shares: Every block's share of the features.
      sizes: Every block's number of features; the features that are left over form one more block.
      per_field: Whether every field is cut by its own frequencies; blocks are then numbered field
        after field. Blocks for which a small field has no feature are left out.

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
    """The setting by which blocks are cut, and its value, as a message names them."""
    if sizes:
        return f"`block_sizes` {tuple(sizes)}"
    return f"`block_shares` {tuple(shares)}" if shares else f"`blocks` {blocks}"


def _ends(total: int, blocks: int, shares: Sequence[float], sizes: Sequence[int]) -> np.ndarray:
    """For every block, the number of features up to its end, [L].

    Args:
      total: Number of features.
      blocks, shares, sizes: see `feature_blocks`.
    """
    if sizes:
        ends = np.cumsum(sizes)
        return ends if ends[-1] >= total else np.append(ends, total)
    if shares:
        return np.append(np.rint(np.cumsum(shares[:-1]) * total).astype(np.int64), total)
    return total * np.arange(1, blocks + 1) // blocks
