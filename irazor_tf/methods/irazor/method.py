"""i-Razor: every field's embedding is divided into disjoint regions of columns with softmax
weights, and pruned by cumulative weight (arXiv 2204.00281v2)."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from irazor_tf.config.field_config import FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.methods.irazor import regions
from irazor_tf.methods.irazor.decided import doubt
from irazor_tf.methods.irazor.gate import RegionGate
from irazor_tf.methods.irazor.settings import PRESETS, Candidates, Settings
from irazor_tf.model.gate import Gate
from irazor_tf.search.budget import budget_error
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
from irazor_tf.search.notices import Notice, Notices
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.steps import Alternating, Joint, Step


@METHODS.register("irazor")
class IRazor(SearchMethod):
    """i-Razor: softmax weights over regions of every field's embedding; regions are kept by
    descending weight until their sum reaches a threshold.

    Weights and alpha learn from the same batches by default (one-level optimization), as published.
    With `held_out`, alpha learns from training rows that the weights do not see; `warmup` trains
    the weights before alpha moves.
    """

    Params = Settings
    presets = PRESETS
    traits = Traits(derive_only=frozenset({"cpt", "sweep", "official_rule"}))

    def check(self, trainer: Trainer, space: InputConfig) -> None:
        self.candidates(space)

    def candidates(self, space: InputConfig) -> list[Candidates]:
        """The candidate dimensions D of every field that `space` keeps, cut at the field's width
        there."""
        chosen = self.params.candidates
        if isinstance(chosen, Mapping) and (unknown := set(chosen) - {"", *space.fields}):
            known, received = ", ".join(space.fields), ", ".join(sorted(unknown))
            raise ValueError(
                f"`candidates` of irazor should name fields ({known}) or '' for the others. "
                f"Received: {received}"
            )
        dims = {name: space.fields[name].dim for name in space.kept}
        return [
            regions.clip_candidates(self._chosen(name) or _doubling(dim), dim)
            for name, dim in dims.items()
        ]

    def _chosen(self, name: str) -> Candidates | None:
        """The candidates that the settings give for a field; None where they give none."""
        chosen = self.params.candidates
        return chosen.get(name, chosen.get("")) if isinstance(chosen, Mapping) else chosen

    def reach(self, space: InputConfig) -> InputConfig:
        """The config that is searched: `space` without the columns above each field's last
        candidate."""
        fields = dict(space.fields)
        for name, candidates in zip(space.kept, self.candidates(space), strict=True):
            if candidates[-1] < fields[name].dim:
                fields[name] = fields[name].cut(fields[name].labels[: candidates[-1]])
        return dataclasses.replace(space, fields=fields)

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        """The region gate, by the name of its site.

        Args:
          schema: The data's fields.
          space: A config in which every field ends at its last candidate, as `reach` gives it.
        """
        sizes = np.array([schema.field(name).vocabulary_size for name in space.kept])
        weights = (
            regions.size_weights(sizes) if self.params.cardinality else np.full(len(sizes), 0.01)
        )
        gate = RegionGate(
            self.candidates(space),
            weights,
            temperature=self.params.temperature,
            penalty_weight=self.params.penalty,
            normalize=self.params.normalize,
            batch_statistics=self.params.batch_statistics,
            epsilon=self.params.epsilon,
        )
        return {"embedding": gate}

    def step(self) -> Step:
        held_out = self.params.held_out
        return Joint() if held_out is None else Alternating(held_out=held_out)

    def optimizers(self) -> dict[str, str]:
        return group_optimizers(self.params.alpha_optimizer, self.params.weights_optimizer)

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        notices = Notices()
        cut = [
            name for name in space.kept if (self._chosen(name) or (0,))[-1] > space.fields[name].dim
        ]
        if cut:
            notices.add(
                "candidates wider than the field is in the space are cut there: " + ", ".join(cut),
                str(self.spec()),
            )
        space = self.reach(space)
        supernet = build_supernet(trainer, space, lambda: self.gates(trainer.schema, space))
        trainer.fit(supernet, "supernet", self._plan(trainer))
        return Search(supernet, notices=notices)

    def _plan(self, trainer: Trainer) -> FitPlan:
        """The plan of the search's training: its length, and whether its best or its last epoch is
        kept."""
        params = self.params
        steps = params.search_steps or (
            trainer.options.search_steps if params.epochs is None else 0
        )
        epochs = params.epochs or 1
        return FitPlan(
            step=self.step(),
            warmup=params.warmup,
            epochs=epochs,
            steps=steps or None,
            # A fit has no more epochs than steps, so that this patience never ends it; the best
            # epoch is kept.
            patience=(steps or epochs) if params.stop_at_best else 0,
            metric=trainer.task.loss_metric if params.stop_at_best else None,
            judge=None if params.held_out is None else trainer.train.held_out(params.held_out)[1],
            optimizers=self.optimizers(),
        )

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        alpha, space = search.gate.alpha_values(), self.reach(space)
        if budget is None:
            rule = regions.prune_official if self.params.official_rule else regions.prune
            return self._config(alpha, space, self.params.cpt, rule)
        # By Algorithm 1 a higher threshold only adds regions, so halving finds the narrowest config
        # with a field and the widest that fits. (The official comparison drops a field whose
        # rounded weights never sum to more than the threshold.)
        schema, steps = search.model.schema, [float(step) for step in regions.thresholds(alpha)]

        def config(cpt: float) -> InputConfig:
            return self._config(alpha, space, cpt, regions.prune)

        first = bisect.bisect_left(steps, True, key=lambda cpt: config(cpt).num_fields > 0)
        end = bisect.bisect_right(steps, budget, key=lambda cpt: config(cpt).num_params(schema))
        if end <= first:
            raise budget_error(budget, config(steps[first]).num_params(schema))
        return config(steps[end - 1])

    def _config(
        self,
        alpha: np.ndarray,
        space: InputConfig,
        cpt: float,
        rule: Callable[[np.ndarray, float], tuple[int, ...]],
    ) -> InputConfig:
        """The config that keeps, in every field, the regions that a rule chooses.

        Args:
          alpha: Weights of the regions, [N, K].
          space: The config that was searched (`reach`), of N kept fields.
          cpt: Cumulative probability threshold.
          rule: Function: weights of a field's regions, threshold -> numbers of the regions kept.
        """
        fields = {name: FieldConfig(0) for name in space.fields}
        for weights, name, candidates in zip(
            alpha, space.kept, self.candidates(space), strict=True
        ):
            field = space.fields[name]
            kept = np.isin(
                regions.column_regions(candidates), rule(weights[: len(candidates)], cpt)
            )
            fields[name] = field.cut(np.array(field.labels)[kept].tolist())
        return InputConfig(fields)

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return variants(self, "cpt", self.params.sweep)

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """A field's score is 1 minus the weight of its region without columns."""
        space, alpha = search.model.config, search.gate.alpha_values()
        candidates = self.candidates(space)
        doubts = [doubt(search, candidates, config, self.params.warmup) for config in configs]
        return Explanation(
            scores={
                name: float(1 - (weights[0] if dims[0] == 0 else 0.0))
                for name, weights, dims in zip(space.kept, alpha, candidates, strict=True)
            },
            arrays={"alpha": alpha, "alpha_sizes": search.gate.sizes},
            notices=tuple(Notice(text) for text in doubts if text is not None),
        )


def _doubling(dim: int) -> Candidates:
    """The default candidates of a field of width `dim`: 0, 1, 2, 4, ... and `dim`."""
    return (0, *(2**i for i in range(dim.bit_length()) if 2**i < dim), dim)
