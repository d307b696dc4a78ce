"""SSEDS: every column of every field ranked by the derivative of the loss in its mask, taken once
after pretraining (arXiv 2204.03281)."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import tensorflow as tf

from irazor_tf.config.files import write_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.config.seeds import seed_of
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, BudgetError, SearchMethod, budget_error
from irazor_tf.search.pictures import Bars, Lines, Picture
from irazor_tf.training.trainer import Trainer

_notices = logging.getLogger("irazor_tf")

MOST_BATCHES = 100_000  # each is a forward and a backward pass


class OnesMask(Gate):
    """out = x * alpha, alpha = 1: changes nothing, and has a gradient (equations 8 and 10). It
    keeps the saliency beside alpha.

    Where alpha is set to the 0 and 1 of equation 12, a field with its last column at 0 is closed:
    pruned as a whole (section 3.2.3).

    Args:
      real: which slots are columns, [N, D] bool.
    """

    def __init__(self, real: np.ndarray):
        super().__init__(name="mask")
        self._real = np.asarray(real, bool)
        self._shape = self._real.shape

    def build(self, input_shape: Any) -> None:
        self.alpha = self.add_architecture("alpha", self._shape, "ones")
        self.saliency = self.add_weight(
            "saliency", self._shape, initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        return x * self.alpha

    def open_fields(self, training: bool = False) -> tf.Tensor | None:
        return tf.cast(tf.reduce_any((self.alpha != 0.0) & self._real, axis=1), self.alpha.dtype)


def normalize(magnitudes: np.ndarray, real: np.ndarray) -> np.ndarray:
    """s_ij = |g_ij| / sum |g| (equation 11), [N, D] float64; 0 in the slots that are no columns.

    Args:
      magnitudes: |g|, [N, D].
      real: see `InputConfig.slots`.

    Raises:
      ValueError: there is nothing to rank.
    """
    magnitudes = np.where(real, magnitudes, 0.0).astype(np.float64)
    total = magnitudes.sum()
    if not 0 < total < math.inf:
        raise ValueError(
            "A batch should give the masks of some columns a gradient, finite in all. Received: "
            f"magnitudes that sum to {total}"
        )
    return magnitudes / total


def below(kappa: float, total: int) -> int:
    """The largest size strictly below kappa * total (equation 12), with kappa as it was written; at
    kappa 1 all of it."""
    return total if kappa == 1 else math.ceil(Decimal(repr(kappa)) * total) - 1


def keep(saliency: np.ndarray, costs: np.ndarray, limit: int, fill: bool = False) -> np.ndarray:
    """The columns of largest saliency, up to the first that does not fit (equation 12).

    Args:
      saliency: [C]; of equal ones the first comes first.
      costs: what each column adds to the size, [C].
      limit: the largest size allowed.
      fill: go on after a column that does not fit, with those that do.

    Returns:
      [C] bool.
    """
    order = np.argsort(-saliency, kind="stable")
    kept = np.zeros(len(saliency), bool)
    for column in order:
        if costs[column] <= limit:
            kept[column] = True
            limit -= costs[column]
        elif not fill:
            break
    return kept


def mask_gradients(
    supernet: Recommender, batches: Iterable[Mapping[str, tf.Tensor]]
) -> tuple[np.ndarray, float, float]:
    """Mean over batches of |d loss / d alpha| at alpha = 1, [N, D] (equation 10): one forward and
    one backward pass each.

    The loss is the task's, in evaluation mode: no dropout, and no penalty.

    Returns:
      The magnitudes, the seconds that took, and how many of them went into compiling.
    """

    @tf.function
    def magnitudes(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        _, gradients = supernet.gradients(batch, ("architecture",), training=False, penalties=0.0)
        (gradient,) = gradients["architecture"]
        return tf.abs(gradient)

    start, compiling = time.perf_counter(), 0.0
    found: list[np.ndarray] = []
    for batch in batches:
        if not found:
            before = time.perf_counter()
            magnitudes.get_concrete_function(batch)
            compiling = time.perf_counter() - before
        found.append(magnitudes(batch).numpy())
    return np.mean(found, axis=0), time.perf_counter() - start, compiling


@METHODS.register("sseds")
class SSEDS(SearchMethod):
    """SSEDS: pretraining, one forward and backward pass, retraining from the winning ticket.

    The columns of largest saliency stay, as many as fit in the share kappa of the space's
    parameters, so that one pass serves every kappa and every budget. `ticket` and `retrain` are the
    ablations of section 4.5. Budgets counted in columns, and several or validation batches, are
    what a third party's version has; the authors published no code."""

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          kappa: share of the space's parameters that the kept ones stay strictly below, in (0, 1];
            1 keeps everything.
          in_dims: count columns instead of parameters (a budget given in parameters is always
            counted in parameters).
          sweep: other values of kappa worth a point on the curve.
          fill: pass over a column that does not fit, and keep those after it that do; not in the
            paper, where the ranking ends there.
          ticket: retrain from the kept columns of the pretrained tables; if not, from fresh ones.
          retrain: if not, the final model is the pretrained one with the other columns set to zero.
          batches: training batches that the saliency is a mean over.
          on_validation: take them from the validation split.
          epochs, patience: of the pretraining; None: those of the flags.
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
            for kappa in (self.kappa, *self.sweep):
                if not 0 < kappa <= 1:
                    raise ValueError(f"`kappa` of sseds should lie in (0, 1]. Received: {kappa}")
            if self.batches < 1:
                raise ValueError(
                    f"`batches` of sseds should be at least 1. Received: {self.batches}"
                )
            if self.batches > MOST_BATCHES:
                raise ValueError(
                    f"`batches` of sseds should be at most {MOST_BATCHES:,}. Received: "
                    f"{self.batches}"
                )
            if self.epochs is not None and self.epochs < 1:
                raise ValueError(f"`epochs` of sseds should be at least 1. Received: {self.epochs}")
            if self.patience is not None and self.patience < 0:
                raise ValueError(
                    f"`patience` of sseds should be at least 0. Received: {self.patience}"
                )

    presets = {
        # Section 4.1.3; width, batch and towers are those of a log
        # (launch/presets/paper_sseds_*.flags).
        "paper": {"optimizer": "adam(learning_rate=0.001)", "kappa": 0.1, "batches": 1},
        "small_log": {"batches": 8, "on_validation": True, "fill": True},
    }
    # A trained model is near where the derivative in the scale of a column is zero, so that what
    # one batch shows is in good part that batch's own noise: on the tests' small data two batches
    # of 128 rows rank the columns with rank correlations from .2 to .7, and fields that matter do
    # not come first over seeds.
    ranks_fields = False
    derive_only = frozenset({"kappa", "in_dims", "sweep", "fill", "ticket", "retrain"})

    def __init__(self, params: Any = None):
        super().__init__(params)
        ticket = "ticket" if self.params.ticket else "fresh"
        self.init = ticket if self.params.retrain else "keep"

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        return {"embedding": OnesMask(space.slots)}

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        params = self.params
        pretrained = trainer.pretrain(space, epochs=params.epochs, patience=params.patience)
        with trainer.scope():
            gates = self.gates(trainer.schema, space)
        supernet = trainer.build(space, gates)
        supernet.inherit(pretrained)
        source, size = (
            trainer.valid if params.on_validation else trainer.train,
            trainer.options.batch_size,
        )
        batches = source.batches(size, seed_of(trainer.seed, "rows", "saliency")).take(
            params.batches
        )
        magnitudes, seconds, compiling = mask_gradients(supernet, batches)
        real = space.slots
        supernet.gates["embedding"].saliency.assign(normalize(magnitudes, real))
        cost = os.path.join(trainer.work_dir, "cost.json")
        if not os.path.exists(
            cost
        ):  # a later call takes the pass again, to have the supernet, and tells nothing new
            write_json(cost, {"steps": params.batches, "seconds": seconds})
            _notices.info(
                "%s: the saliency of %d columns took %d forward and backward passes of %d rows: "
                "%.3f s, %.3f s of them compiling",
                *(self.spec(), real.sum(), params.batches, size, seconds, compiling),
            )
        return supernet

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        kappa = self.params.kappa
        saliency = self.architecture(supernet)["saliency"][space.slots]
        costs = space.column_params(supernet.schema)
        unit = "parameters"
        if self.params.in_dims and budget is None:
            costs, unit = np.ones_like(costs), "columns"
        total = int(costs.sum())
        limit = below(kappa, total) if budget is None else min(budget, total)
        kept = keep(saliency, costs, limit, self.params.fill)
        if not kept.any():
            first = int(costs[np.argmax(saliency)] if not self.params.fill else costs.min())
            if budget is not None:
                raise budget_error(
                    budget,
                    first,
                    owner="the smallest column"
                    if self.params.fill
                    else "the column of largest saliency",
                )
            raise BudgetError(
                f"`kappa` of sseds, the budget as a share of {total:,} {unit}, should be above "
                "that of the "
                f"{'smallest column' if self.params.fill else 'column of largest saliency'}, which "
                f"has {first:,}. Received: {kappa}"
            )
        used = int(costs[kept].sum())
        if not self.params.fill and used < limit / 2:
            stop = int(costs[np.argmax(np.where(kept, -1.0, saliency))])
            message = (
                "%s: the ranking ends at a column with %s %s, and the %s kept are less than "
                "half of the %s allowed (`fill` passes over it)"
            )
            _notices.warning(message, self.spec(), f"{stop:,}", unit, f"{used:,}", f"{limit:,}")
        return space.with_columns(kept)

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return self.each("kappa", self.params.sweep)

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        """The saliency of a field's columns together."""
        saliency = self.architecture(supernet)["saliency"]
        return {
            name: float(own.sum()) for name, own in zip(supernet.config.kept, saliency, strict=True)
        }

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        return {"saliency": supernet.gates["embedding"].saliency.numpy().astype(np.float64)}

    def pictures(self, supernet: Recommender, clusters: Sequence[InputConfig]) -> list[Picture]:
        space, (found,) = supernet.config, clusters
        ranked = np.sort(self.architecture(supernet)["saliency"][space.slots])[::-1]
        ranks = np.arange(1, len(ranked) + 1)
        return [
            Lines(
                "Saliency of all columns",
                ranks,
                {"saliency": ranked},
                ("rank", "saliency"),
                log_x=True,
            ),
            Bars(
                "Dimensions kept",
                space.kept,
                np.array([found.dims[name] for name in space.kept]),
                "dimensions kept",
            ),
        ]
