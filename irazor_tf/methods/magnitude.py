"""Structured magnitude pruning: train plainly, then keep the columns that put out the most. A control."""

from __future__ import annotations

import dataclasses

import numpy as np

from irazor_tf.input_config import FieldConfig, InputConfig
from irazor_tf.method import METHODS, SearchMethod, budget_error
from irazor_tf.recommender import Recommender


@METHODS.register("magnitude")
class Magnitude(SearchMethod):
    """Whole (field, column) pairs ranked by the spread of what they put out over the training rows.

    spread_ij = sqrt(sum_v n_v (E_vj - mean_j)^2 / sum_v n_v), n_v the frequency of feature v of field i. Columns enter by descending
    spread as long as they fit in the budget.
    """

    @dataclasses.dataclass(frozen=True)
    class Params:
        """Settings.

        Args:
          share: parameters kept, as a share of the space's, where no budget is given.
          sweep: other shares worth a point on the curve.
        """

        share: float = 0.5
        sweep: tuple[float, ...] = (0.0625, 0.125, 0.25)

        def __post_init__(self) -> None:
            for share in (self.share, *self.sweep):
                if not 0 < share <= 1:
                    raise ValueError(f"`share` of magnitude should lie in (0, 1]. Received: {share}")

    derive_only = frozenset({"share", "sweep"})

    def derive(self, supernet: Recommender, space: InputConfig, budget: int | None = None) -> InputConfig:
        schema = supernet.schema
        if budget is None:
            budget = int(self.params.share * space.num_params(schema))
        spreads = self._spreads(supernet)
        ranked = []
        for name, found in spreads.items():
            ranked += [(-spread, name, label) for spread, label in zip(found, space.fields[name].labels, strict=True)]
        kept: dict[str, list[int]] = {name: [] for name in space.fields}
        left = budget
        for _, name, label in sorted(ranked):
            cost = schema.field(name).vocabulary_size
            if cost <= left:
                left -= cost
                kept[name].append(label)
        if left == budget:
            raise budget_error(budget, min(schema.field(name).vocabulary_size for name in space.kept))
        return InputConfig({name: FieldConfig(len(labels), tuple(sorted(labels))) for name, labels in kept.items()})

    def _spreads(self, supernet: Recommender) -> dict[str, np.ndarray]:
        found = {}
        for name in supernet.config.kept:
            assert supernet.embedding is not None
            table, counts = supernet.embedding.field_table(name), supernet.schema.counts[name].astype(np.float64)
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
        return {"spread": np.stack([np.pad(spread, (0, width - len(spread))) for spread in spreads.values()])}
