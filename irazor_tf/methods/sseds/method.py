"""SSEDS: the columns of all fields are ranked by the derivative of the loss in their masks,
computed once after pretraining (arXiv 2204.03281)."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from irazor_tf.config.checks import at_least, at_most, check_ranges, check_values, inside
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import SearchPaths
from irazor_tf.config.schema import Schema
from irazor_tf.config.seeds import seed_of
from irazor_tf.methods.sseds.equations import below, keep, mask_gradients, normalize
from irazor_tf.methods.sseds.gate import OnesMask
from irazor_tf.model.gate import Gate
from irazor_tf.search.budget import BudgetError, budget_error
from irazor_tf.search.method import (
    METHODS,
    Explanation,
    Search,
    SearchMethod,
    Traits,
    build_supernet,
    variants,
)
from irazor_tf.search.pictures import Bars, Lines
from irazor_tf.training.cost import Spent
from irazor_tf.training.trainer import Trainer

_logger = logging.getLogger("irazor_tf")

MOST_BATCHES = 100_000  # each is a forward and a backward pass


@METHODS.register("sseds")
class SSEDS(SearchMethod):
    """SSEDS: pretraining, one forward and backward pass, retraining from the kept columns of the
    pretrained tables (the winning ticket).

    The columns of largest saliency stay, as many as fit in the share kappa of the space's
    parameters, so that one pass serves every kappa and every budget. `ticket` and `retrain` are the
    ablations of section 4.5. Budgets counted in columns (`in_dims`), several batches and validation
    batches come from a third party's implementation; the authors published no code.

    `Search.counted` is the saliency of equation 11, [N, D] float64.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          kappa: The budget of equation 12 as a share of the space's embedding parameters, in
            (0, 1]; what is kept stays strictly below it. 1 keeps everything.
          in_dims: Whether `kappa` is a share of the space's columns (embedding dimensions of all
            fields together) instead of its parameters. A budget given in parameters is always
            counted in parameters.
          sweep: Other values of `kappa`, each worth a point on the curve of quality against size.
          fill: Whether a column that does not fit in the budget is passed over, and those ranked
            after it that fit are kept. If False (default), the ranking ends there, as in the paper.
          ticket: Whether retraining starts from the kept columns of the pretrained tables (the
            winning ticket). If False, it starts from fresh tables (an ablation of section 4.5).
          retrain: Whether the narrow model is trained again. If False, the final model is the
            pretrained one with all other columns set to zero (an ablation of section 4.5).
          batches: Number of batches that the saliency is the mean of; each is a forward and a
            backward pass. 1 in the paper, at most 100,000.
          on_validation: Whether these batches are validation rows. If False (default), they are
            training rows.
          epochs: Most epochs of the pretraining, at least 1. If None (default), the training
            settings'.
          patience: Epochs without a better validation metric after which the pretraining stops; at
            0 it never stops early. If None (default), the training settings'.
        """

        kappa: float = 0.1
        in_dims: bool = False
        sweep: tuple[float, ...] = (0.05, 0.25, 0.5)
        fill: bool = False
        ticket: bool = True
        retrain: bool = True
        batches: int = 1
        on_validation: bool = False
        epochs: int | None = None
        patience: int | None = None

        def __post_init__(self) -> None:
            super().__post_init__()
            # A point of the curve is another `kappa`, and out of range under that name.
            check_values("kappa", (self.kappa, *self.sweep), inside(0, 1, "(]"), "sseds")
            check_ranges(
                self, "sseds", batches=at_least(1), epochs=at_least(1), patience=at_least(0)
            )
            check_ranges(self, "sseds", batches=at_most(MOST_BATCHES))

    presets = {
        # Section 4.1.3; width, batch and towers are those of a log
        # (launch/presets/paper_sseds_*.flags).
        "paper": {"optimizer": "adam(learning_rate=0.001)", "kappa": 0.1, "batches": 1},
        "small_log": {"batches": 8, "on_validation": True, "fill": True},
    }
    traits = Traits(
        # A trained model is near where the derivative in the scale of a column is zero, so that
        # what one batch shows is in good part that batch's own noise: on the tests' small data two
        # batches of 128 rows rank the columns with rank correlations from .2 to .7, and fields that
        # matter do not come first over seeds.
        ranks_fields=False,
        init="ticket",
        derive_only=frozenset({"kappa", "in_dims", "sweep", "fill", "ticket", "retrain"}),
    )

    def __init__(self, params: Any = None):
        super().__init__(params)
        ticket = "ticket" if self.params.ticket else "fresh"
        init = ticket if self.params.retrain else "keep"
        self.traits = dataclasses.replace(self.traits, init=init)

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        return {"embedding": OnesMask(space.slots)}

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        """The pretrained supernet with the saliency of its columns. When a search is resumed, the
        passes for the saliency are made again, with the same result."""
        params = self.params
        pretrained = trainer.pretrain(space, epochs=params.epochs, patience=params.patience)
        supernet = build_supernet(trainer, space, lambda: self.gates(trainer.schema, space))
        supernet.inherit(pretrained)
        source = trainer.valid if params.on_validation else trainer.train
        size = trainer.options.batch_size
        stream = source.batches(size, seed_of(trainer.seed, "rows", "saliency"))
        magnitudes, seconds, compiling = mask_gradients(supernet, stream.take(params.batches))
        # Ranked in single precision, in which the gradients are: two columns that are equal there
        # go by their order.
        saliency = normalize(magnitudes, space.slots).astype(np.float32).astype(np.float64)
        if not os.path.exists(SearchPaths(trainer.work_dir).cost):  # else it was said before
            _logger.info(
                "%s: the saliency of %d columns took %d forward and backward passes of %d rows: "
                "%.3f s, %.3f s of them compiling",
                *(self.spec(), space.slots.sum(), params.batches, size, seconds, compiling),
            )
        return Search(supernet, saliency, spent=Spent(params.batches, seconds))

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        saliency = search.counted[space.slots]
        costs, unit = space.column_params(search.model.schema), "parameters"
        if self.params.in_dims and budget is None:
            costs, unit = np.ones_like(costs), "columns"
        total = int(costs.sum())
        limit = below(self.params.kappa, total) if budget is None else min(budget, total)
        kept = keep(saliency, costs, limit, self.params.fill)
        if not kept.any():
            raise self._nothing_fits(saliency, costs, unit, budget)
        used = int(costs[kept].sum())
        if not self.params.fill and used < limit / 2:
            stop = int(costs[np.argmax(np.where(kept, -1.0, saliency))])
            search.notices.add(
                f"the ranking ends at a column with {stop:,} {unit}, and the {used:,} kept are "
                f"less than half of the {limit:,} allowed (`fill` passes over it)",
                str(self.spec()),
            )
        return space.with_columns(kept)

    def _nothing_fits(
        self, saliency: np.ndarray, costs: np.ndarray, unit: str, budget: int | None
    ) -> BudgetError:
        """The error for a budget, or a share kappa, that is smaller than the column that would be
        kept first.

        Args:
          saliency: Of each column, [C].
          costs: What each column counts, [C].
          unit: What is counted, in words.
          budget: The budget. None where kappa decides.
        """
        fill = self.params.fill
        least = int(costs.min() if fill else costs[np.argmax(saliency)])
        column = "smallest column" if fill else "column of largest saliency"
        if budget is not None:
            return budget_error(budget, least, owner=f"the {column}")
        return BudgetError(
            f"`kappa` of sseds, the budget as a share of {int(costs.sum()):,} {unit}, should be "
            f"above that of the {column}, which has {least:,}. Received: {self.params.kappa}"
        )

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return variants(self, "kappa", self.params.sweep)

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """A field's score is the sum of its columns' saliency."""
        space, saliency = search.model.config, search.counted
        scores = {name: float(row.sum()) for name, row in zip(space.kept, saliency, strict=True)}
        ranked = np.sort(saliency[space.slots])[::-1]
        lines = Lines(
            "Saliency of all columns",
            np.arange(1, len(ranked) + 1),
            {"saliency": ranked},
            ("rank", "saliency"),
            log_x=True,
        )
        bars = [
            Bars(
                "Dimensions kept",
                space.kept,
                np.array([config.dims[name] for name in space.kept]),
                "dimensions kept",
            )
            for config in configs
        ]
        return Explanation(scores, {"saliency": saliency}, (lines, *bars))
