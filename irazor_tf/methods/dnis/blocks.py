"""Frequency blocks: which features share a row of alpha (DNIS, section 2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

MOST_BLOCKS = 100_000  # each has a row of alpha, and a feature at least


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
      counts: field name -> frequency of every feature, [V].
      blocks: L, for blocks that differ by at most one feature in size; not read where one of the
        next two is given.
      shares: every block's share of the features.
      sizes: every block's number of features; what they leave is one more block.
      per_field: cut every field by its own frequencies, blocks numbered field after field. Blocks
        that a small field has no feature for are left out.

    Returns:
      Field name -> block of every feature, [V] int32.

    Raises:
      ValueError: there are fewer features than the blocks need.
    """
    found: dict[str, np.ndarray] = {}
    first = 0
    for names in [[name] for name in counts] if per_field else [list(counts)]:
        own = np.concatenate([counts[name] for name in names])
        ends = _ends(len(own), blocks, shares, sizes)
        if per_field:
            ends = np.unique(np.minimum(ends, len(own)))
            ends = ends[ends > 0]
        elif ends[-1] > len(own) or np.any(np.diff(ends, prepend=0) < 1):
            setting = (
                f"`block_sizes` {tuple(sizes)}"
                if sizes
                else f"`block_shares` {tuple(shares)}"
                if shares
                else f"`blocks` {blocks}"
            )
            raise ValueError(
                f"The blocks of dnis should have a feature each, of {len(own):,} in all. Received: "
                f"{setting}"
            )
        block = np.empty(len(own), np.int32)
        block[np.argsort(-own.astype(np.int64), kind="stable")] = first + np.searchsorted(
            ends, np.arange(len(own)), side="right"
        )
        found |= zip(
            names,
            np.split(block, np.cumsum([len(counts[name]) for name in names])[:-1]),
            strict=True,
        )
        first += len(ends)
    return found


def _ends(total: int, blocks: int, shares: Sequence[float], sizes: Sequence[int]) -> np.ndarray:
    """Rank behind the last feature of every block, [L]."""
    if sizes:
        ends = np.cumsum(sizes)
        return ends if ends[-1] >= total else np.append(ends, total)
    if shares:
        return np.append(np.rint(np.cumsum(shares[:-1]) * total).astype(np.int64), total)
    return total * np.arange(1, blocks + 1) // blocks
