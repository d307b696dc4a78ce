"""DNIS: soft factors per block of features and dimension are learned, merged into the tables, and
the tables are pruned entry by entry (arXiv 2006.04466)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.methods.dnis.blocks import feature_blocks
from irazor_tf.methods.dnis.gate import SoftSelection, merge
from irazor_tf.methods.dnis.pictures import (
    alpha_by_frequency,
    alpha_of_blocks,
    dims_by_frequency,
)
from irazor_tf.methods.dnis.settings import PRESETS, Settings
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.budget import BudgetError, budget_error
from irazor_tf.search.entries import entry_sizes, keep_entries, largest, split
from irazor_tf.search.method import (
    METHODS,
    Explanation,
    Search,
    SearchMethod,
    Traits,
    build_supernet,
    group_optimizers,
    variants,
)
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.steps import Alternating, Step, Unrolled


@METHODS.register("dnis")
class DNIS(SearchMethod):
    """DNIS: factors per block of features and dimension, merged into the tables and pruned by
    entry.

    The merged, pruned tables are the final model: nothing is trained again. Fields are not
    selected: one that keeps no entry leaves its first-order terms in the model.
    """

    Params = Settings
    presets = PRESETS
    traits = Traits(
        init="keep",
        derive_only=frozenset({"compression", "threshold", "sweep"}),
        # The scores follow how far the tables have come: after two epochs from random ones a large
        # noise field is still louder than a weak strong one; over five seeds .85 of the (strong,
        # noise) pairs were in order after six epochs, .90 after ten.
        ranks_fields=False,
    )

    def check(self, trainer: Trainer, space: InputConfig) -> None:
        self._blocks(trainer.schema, space)

    def _blocks(self, schema: Schema, space: InputConfig) -> dict[str, np.ndarray]:
        params = self.params
        return feature_blocks(
            {name: schema.counts[name] for name in space.kept},
            params.blocks,
            params.block_shares,
            params.block_sizes,
            params.per_field,
        )

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        gate = SoftSelection(
            list(self._blocks(schema, space).values()),
            [space.fields[name].dim for name in space.kept],
            epsilon=self.params.normalization_epsilon,
            l1=self.params.l1,
        )
        return {"embedding": gate}

    def step(self) -> Step:
        xi, held_out = self.params.xi, self.params.held_out
        return Unrolled(xi, held_out) if xi else Alternating(held_out=held_out)

    def optimizers(self) -> dict[str, str]:
        return group_optimizers(
            architecture=self.params.alpha_optimizer, weights=self.params.weights_optimizer
        )

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        params = self.params
        supernet = build_supernet(trainer, space, lambda: self.gates(trainer.schema, space))
        if params.pretrain_epochs:
            supernet.inherit(trainer.pretrain(space, epochs=params.pretrain_epochs))
        interactions = [part for part in (supernet.alignment, supernet.base) if part is not None]
        plan = FitPlan(
            step=self.step(),
            epochs=params.epochs,
            patience=params.patience if params.stop_at_best else 0,
            metric=trainer.task.loss_metric if params.stop_at_best else None,
            optimizers=self.optimizers(),
            frozen=tuple(part.name for part in interactions if params.freeze_interactions),
        )
        trainer.fit(supernet, "supernet", plan)
        return Search(supernet)

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        """The config of the largest merged entries (Algorithm 1, lines 11 to 13)."""
        sizes = merged_sizes(search.model)
        entries = np.concatenate([field.ravel() for field in sizes.values()])
        kept = self._kept(entries, budget, search)
        return keep_entries(space, split(kept, sizes), search.model.linear is not None)

    def _kept(self, sizes: np.ndarray, budget: int | None, search: Search) -> np.ndarray:
        """Which of all merged entries stay, [E] bool: those above the threshold (equation 9), or as
        many of the largest as the compression rate or the budget allows.

        Args:
          sizes: Absolute values of the merged entries of all fields, [E]; -1 for entries that the
            space does not have.
          budget: Most entries. None for the method's own setting.
          search: The search; a notice may be added to it.
        """
        threshold = self.params.threshold
        if budget is None and threshold is not None:
            if not sizes.max() >= threshold:
                raise BudgetError(
                    "`threshold` of dnis should keep an entry; the largest merged one is "
                    f"{sizes.max():g}. Received: {threshold}"
                )
            return sizes >= threshold
        entries = int(np.count_nonzero(sizes >= 0))
        if budget is None:
            (rate,) = self.params.rates
            count, setting = int(entries / rate), ("`compression` of dnis", rate)
        else:
            count, setting = min(budget, entries), None
        if count < 1:
            raise budget_error(count, 1, setting)
        nonzero = int(np.count_nonzero(sizes > 0))
        if not nonzero:
            raise BudgetError(
                f"{self.spec()} should leave an entry that is not 0. Received: alpha at 0 in all "
                "blocks and dimensions"
            )
        if nonzero < count:
            search.notices.add(
                f"{nonzero:,} merged entries are not 0, and are kept, of the {count:,} asked for",
                str(self.spec()),
            )
        return largest(np.where(sizes > 0, sizes, -1.0), count)

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        by_rate = type(self)(dataclasses.replace(self.params, threshold=None))
        return variants(by_rate, "compression", self.params.sweep)

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """A field's score is the mean norm of its merged embeddings over the training rows. The
        array "alpha" [N, D] is the mean, over the training rows, of the factor of each of a field's
        dimensions."""
        model, params = search.model, self.params
        counts = {name: model.schema.counts[name] for name in model.config.kept}
        sizes, rates = merged_sizes(model), (*params.rates, *params.sweep)
        pictures = (
            alpha_of_blocks(search.gate, counts, params.per_field),
            alpha_by_frequency(search.gate, counts),
            dims_by_frequency(sizes, counts, rates, configs),
        )
        arrays = {"alpha": _mean_alpha(model, counts)}
        return Explanation(_output_norms(sizes, counts), arrays, pictures)


def merged_sizes(supernet: Recommender) -> dict[str, np.ndarray]:
    """Absolute values of the merged embeddings' entries: name of a kept field -> [V, d], -1 for
    entries that the mask of the space has removed."""
    assert supernet.embedding is not None
    gate, sizes = supernet.gates["embedding"], {}
    for name, blocks in zip(supernet.config.kept, gate.field_blocks, strict=True):
        merged = merge(supernet.embedding.field_table(name), gate.alpha.numpy(), blocks)
        sizes[name] = entry_sizes(merged, supernet.config.fields[name])
    return sizes


def _output_norms(
    sizes: Mapping[str, np.ndarray], counts: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Name of a field -> mean norm of its merged embeddings over the training rows.

    Args:
      sizes: Kept field -> absolute values of its merged entries, [V, d], -1 where the space has
        none.
      counts: Kept field -> frequency of every feature, [V].
    """
    scores = {}
    for name, field in sizes.items():
        norms = np.linalg.norm(np.maximum(field, 0.0), axis=1).astype(np.float64)
        scores[name] = float(norms @ counts[name] / max(counts[name].sum(), 1))
    return scores


def _mean_alpha(supernet: Recommender, counts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean of alpha over the training rows, by field and dimension, [N, D], 0 in padding.

    Args:
      supernet: The trained model with its gate.
      counts: Kept field -> frequency of every feature, [V].
    """
    gate = supernet.gates["embedding"]
    rows = np.stack(
        [
            np.bincount(blocks, counts[name], len(gate.used))
            for name, blocks in zip(supernet.config.kept, gate.field_blocks, strict=True)
        ]
    )
    alpha = rows @ gate.alpha.numpy() / np.maximum(rows.sum(axis=1, keepdims=True), 1)
    widths = np.array([supernet.config.fields[name].dim for name in supernet.config.kept])
    return np.where(np.arange(alpha.shape[1]) < widths[:, None], alpha, 0.0)
