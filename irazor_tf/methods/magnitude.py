"""Magnitude pruning, a control: a model is trained plainly, and then the columns whose values vary
most, or the largest entries, are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf.config.checks import check_choice, check_ranges, inside
from irazor_tf.config.input_config import InputConfig
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.budget import budget_error
from irazor_tf.search.entries import entry_sizes, keep_entries, largest, split
from irazor_tf.search.method import METHODS, Explanation, Search, SearchMethod, Traits, variants
from irazor_tf.search.selection import take_while_fits


@METHODS.register("magnitude")
class Magnitude(SearchMethod):
    """Magnitude pruning: columns are ranked by the spread of their values over the training rows,
    or entries by their size.

    spread_ij = sqrt(sum_v n_v (E_vj - mean_j)^2 / sum_v n_v), n_v the frequency of feature v of
    field i. The columns of all fields are taken by descending spread, those that no longer fit in
    the budget being passed over; the final model is trained afresh.

    With `per="entry"`, the budget is spent on the largest |E_vj| of all fields together, and the
    final model is the trained one with the other entries at zero: network pruning in one shot after
    training, as DNIS is compared with (arXiv 2006.04466, section 3.4). A field without entries
    keeps its first-order terms where the model has them.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          share: Share, in (0, 1], of the space's embedding parameters that are kept at most, where
            no budget is given.
          sweep: Other values of `share`, each of which is a point on the curve of sizes.
          per: What is kept or removed: "column", a whole embedding dimension of a field, or
            "entry", a single value of its table.
        """

        share: float = 0.5
        sweep: tuple[float, ...] = (0.0625, 0.125, 0.25)
        per: str = "column"

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice(self, "magnitude", per=("column", "entry"))
            check_ranges(self, "magnitude", share=inside(0, 1, "(]"), sweep=inside(0, 1, "(]"))

    # Columns and entries are derived from one plain training.
    traits = Traits(derive_only=frozenset({"share", "sweep", "per"}))

    def __init__(self, params: Any = None):
        super().__init__(params)
        if self.params.per == "entry":
            self.traits = dataclasses.replace(self.traits, init="keep")

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        schema, setting = search.model.schema, None
        if budget is None:
            budget = int(self.params.share * space.num_params(schema))
            setting = ("`share` of magnitude", self.params.share)
        if self.params.per == "entry":
            if budget < 1:
                raise budget_error(budget, 1, setting)
            return _largest_entries(search.model, space, budget)
        costs = space.column_params(schema)
        taken = take_while_fits(
            _by_spread(spreads_of(search.model), space), costs, budget, fill=True
        )
        if not costs[taken].any():
            raise budget_error(budget, int(costs.min()), setting)
        return space.with_columns(taken)

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return variants(self, "share", self.params.sweep)

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """A field's score is the largest spread of its columns."""
        spreads = spreads_of(search.model)
        width = max(len(spread) for spread in spreads.values())
        padded = [np.pad(spread, (0, width - len(spread))) for spread in spreads.values()]
        return Explanation(
            scores={name: float(spread.max()) for name, spread in spreads.items()},
            arrays={"spread": np.stack(padded)},
        )


def spreads_of(model: Recommender) -> dict[str, np.ndarray]:
    """Name of a kept field -> spread of each of its columns: the standard deviation of its values
    over the training rows, [dim]."""
    assert model.embedding is not None
    spreads = {}
    for name in model.config.kept:
        table = model.embedding.field_table(name)
        counts = model.schema.counts[name].astype(np.float64)
        weights = counts / max(counts.sum(), 1)
        mean = weights @ table
        spreads[name] = np.sqrt(weights @ np.square(table - mean))
    return spreads


def _by_spread(spreads: Mapping[str, np.ndarray], space: InputConfig) -> list[int]:
    """Numbers of the space's columns, counted field after field, in descending order of spread;
    equal ones in the order of the field's name and the column's label.

    Args:
      spreads: Kept field -> spread of each of its columns, [dim].
      space: The config that is narrowed.
    """
    columns = [
        (-spread, name, label)
        for name in space.kept
        for spread, label in zip(spreads[name], space.fields[name].labels, strict=True)
    ]
    return sorted(range(len(columns)), key=lambda number: columns[number])


def _largest_entries(model: Recommender, space: InputConfig, budget: int) -> InputConfig:
    """`space` with only the `budget` largest entries of all fields' tables together."""
    assert model.embedding is not None
    sizes = {
        name: entry_sizes(model.embedding.field_table(name), space.fields[name])
        for name in space.kept
    }
    kept = largest(np.concatenate([table.ravel() for table in sizes.values()]), budget)
    return keep_entries(space, split(kept, sizes), model.linear is not None)
