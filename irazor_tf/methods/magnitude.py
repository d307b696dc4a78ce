"""Magnitude pruning: train plainly, then keep the columns that put out the most, or the largest
entries. A control."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from irazor_tf.config.input_config import InputConfig
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.entries import entry_sizes, keep_entries, largest, split
from irazor_tf.search.method import METHODS, SearchMethod, budget_error


@METHODS.register("magnitude")
class Magnitude(SearchMethod):
    """Whole (field, column) pairs ranked by the spread of what they put out over the training rows,
    or entries by their size.

    spread_ij = sqrt(sum_v n_v (E_vj - mean_j)^2 / sum_v n_v), n_v the frequency of feature v of
    field i. Columns enter by descending spread as long as they fit in the budget; the final model
    is trained afresh.

    Per entry, the budget is spent on the largest |E_vj| of all fields together, and the final model
    is the trained one with the other
    entries at zero: network pruning in one shot after training, as DNIS is compared with (arXiv
    2006.04466, section 3.4). A field without entries keeps its first-order terms where the model
    has them."""

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          share: parameters kept, as a share of the space's, where no budget is given.
          sweep: other shares worth a point on the curve.
          per: what is kept or removed: "column" or "entry".
        """

        share: float = 0.5
        sweep: tuple[float, ...] = (0.0625, 0.125, 0.25)
        per: str = "column"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.per not in ("column", "entry"):
                raise ValueError(
                    f"`per` of magnitude should be one of column, entry. Received: {self.per!r}"
                )
            for share in (self.share, *self.sweep):
                if not 0 < share <= 1:
                    raise ValueError(
                        f"`share` of magnitude should lie in (0, 1]. Received: {share}"
                    )

    derive_only = frozenset(
        {"share", "sweep", "per"}
    )  # both kinds are derived from one plain training

    def __init__(self, params: Any = None):
        super().__init__(params)
        self.init = "keep" if self.params.per == "entry" else "fresh"

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        schema, setting = supernet.schema, None
        if budget is None:
            budget, setting = (
                int(self.params.share * space.num_params(schema)),
                ("`share` of magnitude", self.params.share),
            )
        if self.params.per == "entry":
            if budget < 1:
                raise budget_error(budget, 1, setting)
            return self._largest_entries(supernet, space, budget)
        spreads = self._spreads(supernet)
        ranked = []
        for name, found in spreads.items():
            costs = space.fields[name].column_params(schema.field(name).vocabulary_size).tolist()
            ranked += [
                (-spread, name, label, cost)
                for spread, label, cost in zip(found, space.fields[name].labels, costs, strict=True)
            ]
        kept: dict[str, list[int]] = {name: [] for name in space.fields}
        left = budget
        for _, name, label, cost in sorted(ranked):
            if cost <= left:
                left -= cost
                kept[name].append(label)
        if left == budget:
            raise budget_error(budget, int(space.column_params(schema).min()), setting)
        return InputConfig({name: space.fields[name].cut(labels) for name, labels in kept.items()})

    def _largest_entries(
        self, supernet: Recommender, space: InputConfig, budget: int
    ) -> InputConfig:
        assert supernet.embedding is not None
        sizes = {
            name: entry_sizes(supernet.embedding.field_table(name), space.fields[name])
            for name in space.kept
        }
        kept = largest(np.concatenate([own.ravel() for own in sizes.values()]), budget)
        return keep_entries(space, split(kept, sizes), supernet.linear is not None)

    def _spreads(self, supernet: Recommender) -> dict[str, np.ndarray]:
        found = {}
        for name in supernet.config.kept:
            assert supernet.embedding is not None
            table, counts = (
                supernet.embedding.field_table(name),
                supernet.schema.counts[name].astype(np.float64),
            )
            weights = counts / max(counts.sum(), 1)
            mean = weights @ table
            found[name] = np.sqrt(weights @ np.square(table - mean))
        return found

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return self.each("share", self.params.sweep)

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        """The spread of a field's widest column."""
        return {name: float(spread.max()) for name, spread in self._spreads(supernet).items()}

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        spreads = self._spreads(supernet)
        width = max(len(spread) for spread in spreads.values())
        return {
            "spread": np.stack(
                [np.pad(spread, (0, width - len(spread))) for spread in spreads.values()]
            )
        }
