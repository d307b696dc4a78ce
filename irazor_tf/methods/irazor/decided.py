"""Whether an i-Razor search has decided: how far alpha has left the uniform weights that it started
from, and whether kept and dropped regions differ in weight by more than the weights still move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irazor_tf.config.input_config import InputConfig
from irazor_tf.methods.irazor import regions
from irazor_tf.search.method import Search
from irazor_tf.search.selection import evenness

EVEN = 0.98  # share of the largest entropy from which alpha passes for uniform
_MOST_NAMES = 10  # of fields in one notice


def doubt(
    search: Search, candidates: Sequence[Sequence[int]], config: InputConfig, warmup: int
) -> str | None:
    """A sentence that says why a config may be chance; None where the search has decided.

    A search has not decided where alpha is still uniform (on average over the fields, within 2% of
    the largest entropy), or where, in half of the fields or more, the margin between kept and
    dropped regions is no wider than its spread over the last steps (`regions.margin`).

    Args:
      search: The search, whose supernet's gate is a `RegionGate`.
      candidates: Candidate dimensions of every field of the supernet.
      config: The config that was derived from the search.
      warmup: Epochs of the search in which alpha was frozen.
    """
    space, reasons = search.model.config, []
    even = evenness(search.gate.alpha_values(), [len(dims) for dims in candidates])
    if np.isfinite(even).any() and (mean := np.nanmean(even)) >= EVEN:
        reasons.append(f"alpha has {mean:.1%} of the entropy of uniform weights")
    margins = margins_of(search.gate.course(), space, candidates, config)
    close = [name for name, (width, spread) in margins.items() if width <= spread]
    fields = len(space.kept)
    if 2 * len(close) >= fields:
        names = ", ".join(close[:_MOST_NAMES]) + (", ..." if len(close) > _MOST_NAMES else "")
        reasons.append(
            "what was kept and what was dropped differ by no more than they moved over the last "
            f"steps in {len(close)} of {fields} fields ({names})"
        )
    if not reasons:
        return None
    assert search.model.clock is not None
    frozen = f" ({warmup} epochs of warm-up among them)" if warmup else ""
    return (
        f"this search has not decided after {int(search.model.clock.numpy()):,} steps{frozen}: "
        f"{'; '.join(reasons)}. Which columns stay is close to chance. To try: a faster "
        "`alpha_optimizer` ('adam(learning_rate=0.01)'), a longer search (`search_steps`, `epochs`)"
    )


def margins_of(
    course: np.ndarray,
    space: InputConfig,
    candidates: Sequence[Sequence[int]],
    config: InputConfig,
) -> dict[str, tuple[float, float]]:
    """Name of a field -> margin between its kept and its dropped regions, and the margin's spread
    (see `regions.margin`), for every field that has both.

    The region without columns is treated like the others: Algorithm 1 has kept it where it weighs
    more than a kept region, and in a field that is removed.

    Args:
      course: Alpha after each of the last steps, the newest last, [T, N, K]; T may be 0, as in a
        search that ended before there were such records, and then there are no margins.
      space: The supernet's config, of N kept fields.
      candidates: Candidate dimensions of every field, [N].
      config: The config that was derived from the search.
    """
    margins: dict[str, tuple[float, float]] = {}
    if not len(course):
        return margins
    for row, (name, dims) in enumerate(zip(space.kept, candidates, strict=True)):
        last, labels = course[-1, row], set(config.fields[name].labels)
        columns = zip(regions.column_regions(dims), space.fields[name].labels, strict=True)
        kept = {int(region) for region, label in columns if label in labels}
        if dims[0] == 0 and last[0] > min((last[region] for region in kept), default=-1.0):
            kept.add(0)
        dropped = set(range(len(dims))) - kept
        if dropped:
            margins[name] = regions.margin(course[:, row], sorted(kept), sorted(dropped))
    return margins
