"""The mathematics of i-Razor outside the graph: regions of an embedding, the fields' weights in the
size penalty, and the pruning rule.

Pure numpy functions of the paper (i-Razor, arXiv 2204.00281v2); symbols as in the paper where an
equation is cited. What is trained, equations 2 to 5, is in `gate.RegionGate`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A running sum that misses the threshold by less than this has reached it: 0.7 + 0.1 is 0.7999...
# in binary.
_ROUNDING = 1e-9


def check_candidates(candidates: Sequence[int]) -> tuple[int, ...]:
    """The candidate dimensions D as a tuple.

    Raises:
      ValueError: they are not strictly ascending from 0 or above to 1 or above.
    """
    dims = tuple(int(d) for d in candidates)
    ascending = all(a < b for a, b in zip(dims, dims[1:], strict=False))
    if not dims or dims[0] < 0 or dims[-1] < 1 or not ascending:
        raise ValueError(
            "`candidates` should be ascending dimensions from 0 or above, the last at least 1. "
            f"Received: {candidates}"
        )
    return dims


def clip_candidates(candidates: Sequence[int], dim: int) -> tuple[int, ...]:
    """The candidates cut at `dim` columns: those above `dim` are replaced by `dim` itself."""
    dims = check_candidates(candidates)
    return dims if dims[-1] <= dim else tuple(d for d in dims if d < dim) + (dim,)


def region_sizes(candidates: Sequence[int]) -> np.ndarray:
    """Number of columns in each region, c_m: c_1 = d_1, c_m = d_m - d_(m-1) for the candidates d_1
    < ... < d_K (equation 6). [K] int64."""
    return np.diff(np.array((0, *check_candidates(candidates)), np.int64))


def column_regions(candidates: Sequence[int]) -> np.ndarray:
    """Number of the region, from 0, that each of the d_K columns lies in (section 3.2.2). [d_K]
    int64.

    Args:
      candidates: Candidate dimensions d_1 < ... < d_K.
    """
    sizes = region_sizes(candidates)
    return np.repeat(np.arange(len(sizes)), sizes)


def size_weights(vocabulary_sizes: np.ndarray) -> np.ndarray:
    """The weights of the fields in the size penalty L_p, |f_i| / sum_j |f_j| (equation 5). [N].

    Args:
      vocabulary_sizes: |f_i|, the number of ids of each field, [N].
    """
    sizes = np.asarray(vocabulary_sizes, np.float64)
    return sizes / sizes.sum()


def prune(weights: Sequence[float] | np.ndarray, cpt: float) -> tuple[int, ...]:
    """The numbers of the regions that Algorithm 1 keeps, ascending.

    Regions enter by descending weight, equal weights in their order, until the sum of the weights
    reaches `cpt`; cpt 0 keeps the one with the largest weight, cpt 1 keeps all (the paper's
    statement; a float sum may reach 1 before the last region).

    Args:
      weights: alpha of one field, [K], summing to 1.
      cpt: Cumulative probability threshold in [0, 1].
    """
    _check_cpt(cpt)
    weights = np.asarray(weights, np.float64)
    if cpt == 1:
        return tuple(range(len(weights)))
    order = np.argsort(-weights, kind="stable")
    reached = np.cumsum(weights[order]) >= cpt - _ROUNDING
    count = int(np.argmax(reached)) + 1 if reached.any() else len(weights)
    return tuple(sorted(int(region) for region in order[:count]))


def prune_official(weights: Sequence[float] | np.ndarray, cpt: float) -> tuple[int, ...]:
    """The numbers of the regions that the authors' public code keeps, ascending.

    The rule is that of `prune`, but weights are rounded to 4 decimals, and their sum has to exceed
    `cpt`; where it never does, no region is kept. The sums are taken in units of 1e-4, so that
    equality means equality.
    """
    _check_cpt(cpt)
    units = np.round(np.asarray(weights, np.float64) * 1e4).astype(np.int64)
    order = np.argsort(-units, kind="stable")
    exceeded = np.cumsum(units[order]) > cpt * 1e4 + _ROUNDING
    if not exceeded.any():
        return ()
    return tuple(sorted(int(region) for region in order[: int(np.argmax(exceeded)) + 1]))


def thresholds(weights: np.ndarray) -> np.ndarray:
    """All values of cpt at which a config can change: the running sums of every field's weights, 0
    and 1; ascending, distinct.

    Args:
      weights: alpha, [N, K] (0 where a field has fewer regions).
    """
    sums = np.cumsum(-np.sort(-np.asarray(weights, np.float64), axis=1), axis=1)
    inner = np.unique(np.round(sums[sums < 1 - _ROUNDING], 12))
    return np.concatenate([[0.0], inner[inner > 0], [1.0]])


def margin(course: np.ndarray, kept: Sequence[int], dropped: Sequence[int]) -> tuple[float, float]:
    """The margin in weight between a field's kept and dropped regions, and how much it moved over
    the last steps.

    Args:
      course: A field's weights after each of the last steps, the newest last, [T, K], T at least 1.
      kept, dropped: Numbers of the field's kept and of its dropped regions, at least one each.

    Returns:
      The margin, which is the smallest weight kept less the largest one dropped, after the last
      step; and its spread, the standard deviation of the difference of these two weights over the
      steps recorded.
    """
    last = np.asarray(course, np.float64)[-1]
    weakest = min(kept, key=lambda region: last[region])
    strongest = max(dropped, key=lambda region: last[region])
    difference = course[:, weakest] - course[:, strongest]
    return float(difference[-1]), float(np.std(difference))


def _check_cpt(cpt: float) -> None:
    if not 0 <= cpt <= 1:
        raise ValueError(f"`cpt` should lie in [0, 1]. Received: {cpt}")
