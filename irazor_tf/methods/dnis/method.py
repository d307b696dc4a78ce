"""DNIS: dimensions selected softly by blocks of features, merged into the tables and pruned entry
by entry (arXiv 2006.04466)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from irazor_tf.config.input_config import FieldConfig, InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.methods.dnis.blocks import MOST_BLOCKS, feature_blocks
from irazor_tf.methods.dnis.gate import SoftSelection, merge
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.entries import entry_sizes, keep_entries, largest, split
from irazor_tf.search.method import METHODS, BudgetError, SearchMethod, budget_error
from irazor_tf.search.pictures import HeatMap, Lines, Picture
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.steps import Alternating, Step, Unrolled
from irazor_tf.training.trainer import Trainer

_notices = logging.getLogger("irazor_tf")

_NEVER = 0.5  # where a frequency of zero stands on a logarithmic axis
_MOST_ROWS = 60  # of a heat map


@METHODS.register("dnis")
class DNIS(SearchMethod):
    """DNIS. The merged, pruned table is the final model: nothing is trained again.

    It does not select fields: one that keeps no entry leaves its first-order terms in the model.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          blocks, block_shares, block_sizes, per_field: see `feature_blocks`; the paper has 10 equal
            blocks for MovieLens, 6 for Criteo.
          xi: size of the virtual step of equations 6 and 7; 0: the first-order approximation.
          held_out: share of the training rows that alpha alone learns from; None: alpha learns from
            the validation split.
          epochs: passes over the training rows in the search, at most.
          stop_at_best: stop by the loss on the validation split and keep the best epoch's weights
            and alpha.
          patience: epochs without a lower loss before it stops.
          pretrain_epochs: epochs, at most, of the training without a gate that the search starts
            from; 0: random weights.
          freeze_interactions: whether only embeddings and first-order terms learn in the search,
            beside alpha.
          alpha_optimizer: of alpha.
          weights_optimizer: of everything else in the search, where that differs from `optimizer`;
            None: that one.
          normalization_epsilon: epsilon_g of equation 8.
          l1: weight of sum |alpha|.
          compression: entries of the space per entry kept; None: 2, unless there is a threshold.
          threshold: epsilon of equation 9, the least absolute value of a merged entry that is kept.
          sweep: other compression rates worth a point on the curve.
        """

        blocks: int = 6
        block_shares: tuple[float, ...] = ()
        block_sizes: tuple[int, ...] = ()
        per_field: bool = False
        xi: float = 0.0
        held_out: float | None = None
        epochs: int = 10
        stop_at_best: bool = True
        patience: int = 2
        pretrain_epochs: int = 0
        freeze_interactions: bool = False
        alpha_optimizer: str = "adam(learning_rate=0.01)"
        weights_optimizer: str | None = None
        normalization_epsilon: float = 1e-7
        l1: float = 0.0
        compression: float | None = None
        threshold: float | None = None
        sweep: tuple[float, ...] = (2.5, 5.0, 10.0, 20.0, 30.0)

        def __post_init__(self) -> None:
            super().__post_init__()
            for key, least in (
                ("blocks", 1),
                ("epochs", 1),
                ("patience", 1),
                ("pretrain_epochs", 0),
                ("xi", 0),
                ("l1", 0),
            ):
                if not getattr(self, key) >= least:
                    raise ValueError(
                        f"`{key}` of dnis should be at least {least}. Received: "
                        f"{getattr(self, key)}"
                    )
            if self.blocks > MOST_BLOCKS:
                raise ValueError(
                    f"`blocks` of dnis should be at most {MOST_BLOCKS:,}. Received: {self.blocks}"
                )
            for key in ("normalization_epsilon", "threshold"):
                value = getattr(self, key)
                if value is not None and not value > 0:
                    raise ValueError(f"`{key}` of dnis should be above 0. Received: {value}")
            if self.block_shares and not (
                min(self.block_shares) > 0 and abs(sum(self.block_shares) - 1) < 1e-6
            ):
                raise ValueError(
                    "`block_shares` of dnis should be above 0 and sum to 1. Received: "
                    f"{self.block_shares}"
                )
            if self.block_sizes and min(self.block_sizes) < 1:
                raise ValueError(
                    f"`block_sizes` of dnis should be at least 1. Received: {self.block_sizes}"
                )
            if self.block_shares and self.block_sizes:
                both = f"{self.block_shares} and {self.block_sizes}"
                raise ValueError(
                    "One of `block_shares` and `block_sizes` of dnis should be given, not both. "
                    f"Received: {both}"
                )
            if self.held_out is not None and not 0 < self.held_out < 1:
                raise ValueError(
                    f"`held_out` of dnis should lie in (0, 1). Received: {self.held_out}"
                )
            if self.compression is not None and self.threshold is not None:
                both = f"{self.compression} and {self.threshold}"
                raise ValueError(
                    "One of `compression` and `threshold` of dnis should decide, not both. "
                    f"Received: {both}"
                )
            for rate in (*self.rates, *self.sweep):
                if not rate > 1:
                    raise ValueError(f"`compression` of dnis should be above 1. Received: {rate}")

        @property
        def rates(self) -> tuple[float, ...]:
            """The compression rate, where one decides."""
            if self.threshold is not None:
                return ()
            return (2.0 if self.compression is None else self.compression,)

    presets = {
        # Section 3.1; blocks, width, batch and towers are those of a log
        # (launch/presets/paper_dnis_*.flags).
        "paper": {
            "optimizer": "adam(learning_rate=0.001)",
            "alpha_optimizer": "adam(learning_rate=0.01)",
        },
        "official_code": {
            "optimizer": "adam(learning_rate=0.001)",
            "alpha_optimizer": "sgd(learning_rate=0.01)",
            "l1": 1e-5,
            "normalization_epsilon": 1e-8,
            "freeze_interactions": True,
            "pretrain_epochs": 20,
            "epochs": 50,
        },
    }
    derive_only = frozenset({"compression", "threshold", "sweep"})
    init = "keep"
    # The score below follows how far the tables have come: after two epochs from random ones a
    # large noise field is still louder than a weak strong one; over five seeds .85 of the (strong,
    # noise) pairs were in order after six epochs, .90 after ten.
    ranks_fields = False

    def check_space(self, trainer: Trainer, space: InputConfig) -> None:
        self._blocks(trainer.schema, space)

    def _blocks(self, schema: Schema, space: InputConfig) -> dict[str, np.ndarray]:
        params, counts = self.params, {name: schema.counts[name] for name in space.kept}
        return feature_blocks(
            counts, params.blocks, params.block_shares, params.block_sizes, params.per_field
        )

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        params, blocks = self.params, self._blocks(schema, space)
        dims = [space.fields[name].dim for name in space.kept]
        return {
            "embedding": SoftSelection(
                list(blocks.values()), dims, epsilon=params.normalization_epsilon, l1=params.l1
            )
        }

    def step(self) -> Step:
        held_out = self.params.held_out
        return (
            Unrolled(self.params.xi, held_out) if self.params.xi else Alternating(held_out=held_out)
        )

    def optimizers(self) -> dict[str, str]:
        weights = self.params.weights_optimizer
        return {"architecture": self.params.alpha_optimizer} | (
            {} if weights is None else {"bias": weights, "network": weights}
        )

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        params = self.params
        with trainer.scope():
            gates = self.gates(trainer.schema, space)
        supernet = trainer.build(space, gates)
        if params.pretrain_epochs:
            supernet.inherit(trainer.pretrain(space, epochs=params.pretrain_epochs))
        interactions = [part for part in (supernet.alignment, supernet.base) if part is not None]
        frozen = tuple(part.name for part in interactions) if params.freeze_interactions else ()
        losses = [name for name, direction in trainer.task.directions.items() if direction < 0]
        trainer.fit(
            supernet,
            "supernet",
            FitPlan(
                step=self.step(),
                epochs=params.epochs,
                patience=params.patience if params.stop_at_best else 0,
                metric=losses[0] if params.stop_at_best and losses else None,
                optimizers=self.optimizers(),
                frozen=frozen,
            ),
        )
        return supernet

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        """Lines 11 to 13 of Algorithm 1."""
        sizes = self._sizes(supernet)
        kept = self._kept(np.concatenate([own.ravel() for own in sizes.values()]), budget)
        return keep_entries(space, split(kept, sizes), supernet.linear is not None)

    def _kept(self, sizes: np.ndarray, budget: int | None) -> np.ndarray:
        """Equation 9, or as many entries as the compression rate or the budget says: [E] -> [E]
        bool."""
        if budget is None and self.params.threshold is not None:
            if not sizes.max() >= self.params.threshold:
                most, found = f"{sizes.max():g}", self.params.threshold
                raise BudgetError(
                    f"`threshold` of dnis should keep an entry; the largest merged one is {most}. "
                    f"Received: {found}"
                )
            return sizes >= self.params.threshold
        entries = int(np.count_nonzero(sizes >= 0))
        count = int(entries / self.params.rates[0]) if budget is None else min(budget, entries)
        if count < 1:
            raise budget_error(
                count,
                1,
                ("`compression` of dnis", self.params.rates[0]) if budget is None else None,
            )
        left = int(np.count_nonzero(sizes > 0))
        if not left:
            raise BudgetError(
                f"{self.spec()} should leave an entry that is not 0. Received: alpha at 0 in all "
                "blocks and dimensions"
            )
        if left < count:
            _notices.warning(
                "%s: %s merged entries are not 0, and are kept, of the %s asked for",
                self.spec(),
                f"{left:,}",
                f"{count:,}",
            )
        return largest(np.where(sizes > 0, sizes, -1.0), count)

    def _sizes(self, supernet: Recommender) -> dict[str, np.ndarray]:
        """|E~|, the sizes of the output embeddings' entries: field name -> [V, d]; -1 where the
        space's mask has taken an entry."""
        assert supernet.embedding is not None
        gate, found = supernet.gates["embedding"], {}
        for name, blocks in zip(supernet.config.kept, gate.field_blocks, strict=True):
            merged = merge(supernet.embedding.field_table(name), gate.alpha.numpy(), blocks)
            found[name] = entry_sizes(merged, supernet.config.fields[name])
        return found

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return type(self)(dataclasses.replace(self.params, threshold=None)).each(
            "compression", self.params.sweep
        )

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        """The mean norm of what a field puts out over the training rows."""
        counts, scores = supernet.schema.counts, {}
        for name, sizes in self._sizes(supernet).items():
            norms = np.linalg.norm(np.maximum(sizes, 0.0), axis=1).astype(np.float64)
            scores[name] = float(norms @ counts[name] / max(counts[name].sum(), 1))
        return scores

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        """alpha [N, D]: the mean over the training rows of what a field's dimensions are multiplied
        by."""
        gate, counts = supernet.gates["embedding"], supernet.schema.counts
        rows = np.stack(
            [
                np.bincount(own, counts[name], len(gate.used))
                for name, own in zip(supernet.config.kept, gate.field_blocks, strict=True)
            ]
        )
        widths = np.array([supernet.config.fields[name].dim for name in supernet.config.kept])
        alpha = rows @ gate.alpha.numpy() / np.maximum(rows.sum(axis=1, keepdims=True), 1)
        return {"alpha": np.where(np.arange(alpha.shape[1]) < widths[:, None], alpha, 0.0)}

    def pictures(self, supernet: Recommender, clusters: Sequence[InputConfig]) -> list[Picture]:
        """Alpha by block and dimension, its mean against frequency (Figure 3a), and dimensions kept
        against frequency (Figure 3b)."""
        gate, names = supernet.gates["embedding"], supernet.config.kept
        counts, blocks = (
            np.concatenate([supernet.schema.counts[name] for name in names]),
            np.concatenate(gate.field_blocks),
        )
        members = np.split(
            counts[np.argsort(blocks, kind="stable")], np.cumsum(np.bincount(blocks))[:-1]
        )
        owners = (
            [
                name
                for name, own in zip(names, gate.field_blocks, strict=True)
                for _ in np.unique(own)
            ]
            if self.params.per_field
            else []
        )
        rows = [f"{own.max():,} to {own.min():,}" for own in members]
        rows = (
            [f"{owner} {row}" for owner, row in zip(owners, rows, strict=True)] if owners else rows
        )
        shown = np.unique(
            np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).round().astype(int)
        )
        alpha = np.where(gate.used, gate.alpha.numpy(), np.nan)
        means = np.array([max(own.mean(), _NEVER) for own in members])
        order = np.argsort(means, kind="stable")
        # Dimensions kept, in steps of frequency by a factor of two.
        sizes = list(self._sizes(supernet).values())
        steps, step, number = np.unique(
            np.floor(np.log2(np.maximum(counts, _NEVER))), return_inverse=True, return_counts=True
        )
        entry_step = np.repeat(
            step, np.repeat([own.shape[1] for own in sizes], [len(own) for own in sizes])
        )
        every, dims = np.concatenate([own.ravel() for own in sizes]), {}
        for rate in (*self.params.rates, *self.params.sweep):
            if (
                0
                < (count := int(np.count_nonzero(every >= 0) / rate))
                <= np.count_nonzero(every > 0)
            ):
                dims[f"compression {rate:g}"] = (
                    np.bincount(entry_step[largest(every, count)], minlength=len(steps)) / number
                )
        for config in clusters:
            found = [
                _row_dims(config.fields[name], len(own))
                for name, own in zip(names, sizes, strict=True)
            ]
            dims["found"] = np.bincount(step, np.concatenate(found), len(steps)) / number
        title = "Alpha of blocks, named by their features' frequencies"
        title += f" ({len(shown)} of {len(rows):,})" if len(shown) < len(rows) else ""
        columns = tuple(str(column) for column in range(alpha.shape[1]))
        mean = {"mean alpha": np.nanmean(alpha, axis=1)[order]}
        return [
            HeatMap(title, alpha[shown], tuple(rows[block] for block in shown), columns, "alpha"),
            Lines(
                "Alpha of a block against its mean frequency",
                means[order],
                mean,
                ("frequency", "mean alpha"),
                log_x=True,
            ),
            Lines(
                "Dimensions kept against a feature's frequency",
                2.0**steps,
                dims,
                ("frequency", "mean dimensions"),
                log_x=True,
            ),
        ]


def _row_dims(field: FieldConfig, rows: int) -> np.ndarray:
    """Entries kept in every row of a field's table, [V]."""
    return np.full(rows, field.dim) if field.mask is None else field.mask.to_array().sum(axis=1)
