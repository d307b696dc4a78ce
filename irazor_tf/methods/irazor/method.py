"""i-Razor: softmax weights over disjoint regions of every field's embedding, pruned by cumulative
weight (arXiv 2204.00281v2)."""

from __future__ import annotations

import bisect
import dataclasses
import logging
from collections.abc import Callable, Mapping

import numpy as np

from irazor_tf.config.input_config import FieldConfig, InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.methods.irazor import regions
from irazor_tf.methods.irazor.gate import RegionGate
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, SearchMethod, budget_error
from irazor_tf.search.selection import evenness
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.source import Source
from irazor_tf.training.steps import Alternating, Joint, Step
from irazor_tf.training.trainer import Trainer

_notices = logging.getLogger("irazor_tf")

_ADAGRAD = "adagrad(learning_rate=0.02, initial_accumulator_value=1e-8)"  # of the network, Table 2
EVEN = 0.98  # share of the largest entropy from which alpha passes for uniform


@METHODS.register("irazor")
class IRazor(SearchMethod):
    """i-Razor.

    One-level by default, as published. `held_out` learns alpha on training rows that the weights do
    not see, which keeps it from taking memorising for usefulness; `warmup` trains the weights
    before alpha moves."""

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          candidates: D, one for all fields, or one per field by name ("" for the others), cut at
            the space's width (`--width`); None: 0, 1, 2, 4, ... and that width. No field is
            searched wider than its last candidate.
          temperature: tau.
          penalty: lambda.
          cpt: cumulative probability threshold.
          sweep: other values of cpt worth a point on the curve.
          epochs: passes over the training rows in the search; None: see `search_steps`.
          search_steps: length of the search in steps instead, whatever the log's size (a small log
            has few in an epoch); None, without `epochs` either: that of the training settings.
          stop_at_best: keep alpha of the epoch with the lowest log loss, taken on the held-out rows
            with `held_out` (the weights never see them), else on the validation split.
          warmup: epochs in which alpha is frozen, before `epochs`.
          held_out: share of the training rows that alpha alone learns from; None: one level.
          alpha_optimizer: of the region logits; None: the flags' one.
          weights_optimizer: of everything else in the search, where that differs from `optimizer`;
            None: that one.
          normalize, batch_statistics, epsilon: see `RegionGate`.
          cardinality: whether the penalty weighs fields by their number of features; if not, each
            weighs 0.01.
          official_rule: round alpha to 4 decimals and ask for a sum strictly above cpt.
        """

        candidates: tuple[int, ...] | Mapping[str, tuple[int, ...]] | None = None
        temperature: float = 0.05
        penalty: float = 1e-4
        cpt: float = 0.4
        sweep: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
        epochs: int | None = None
        search_steps: int | None = None
        stop_at_best: bool = False
        warmup: int = 0
        held_out: float | None = None
        alpha_optimizer: str | None = None
        weights_optimizer: str | None = None
        normalize: bool = True
        batch_statistics: bool = True
        epsilon: float = 1e-3
        cardinality: bool = True
        official_rule: bool = False

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.temperature <= 0:
                raise ValueError(
                    f"`temperature` of irazor should be above 0. Received: {self.temperature}"
                )
            if self.penalty < 0:
                raise ValueError(
                    f"`penalty` of irazor should be at least 0. Received: {self.penalty}"
                )
            for cpt in (self.cpt, *self.sweep):
                if not 0 <= cpt <= 1:
                    raise ValueError(f"`cpt` of irazor should lie in [0, 1]. Received: {cpt}")
            if (self.epochs is not None and self.epochs < 1) or self.warmup < 0:
                raise ValueError(
                    "`epochs` and `warmup` of irazor should be at least 1 and 0. Received: "
                    f"{self.epochs}, {self.warmup}"
                )
            if self.search_steps is not None and self.search_steps < 1:
                raise ValueError(
                    f"`search_steps` of irazor should be at least 1. Received: {self.search_steps}"
                )
            if self.held_out is not None and not 0 < self.held_out < 1:
                raise ValueError(
                    f"`held_out` of irazor should lie in (0, 1). Received: {self.held_out}"
                )
            given = (
                self.candidates.values()
                if isinstance(self.candidates, Mapping)
                else [self.candidates]
            )
            for candidates in given:
                if candidates is not None:
                    regions.check_candidates(candidates)

    presets = {
        # Table 2, and one level with batch norm; alpha by the network's optimizer, accumulator and
        # all, since the paper names no other. Candidates, temperature and cpt differ between its
        # logs (launch/presets/paper_*.flags).
        "paper": {
            "optimizer": {"bias": "ftrl(learning_rate=0.01)", "network": _ADAGRAD},
            "alpha_optimizer": _ADAGRAD,
            "penalty": 1e-4,
            "epochs": 1,
        },
        # No batch statistics, a constant weight per field in the penalty, a strict comparison, one
        # Adam for the search, Adagrad after it.
        "official_code": {
            "candidates": (0, 1, 2, 4, 8, 16, 30),
            "epochs": 1,
            "batch_statistics": False,
            "cardinality": False,
            "official_rule": True,
            "optimizer": "adagrad(learning_rate=0.01, initial_accumulator_value=1e-8)",
            "alpha_optimizer": "adam(learning_rate=0.01, epsilon=1e-8)",
            "weights_optimizer": "adam(learning_rate=0.01, epsilon=1e-8)",
        },
    }
    derive_only = frozenset({"cpt", "sweep", "official_rule"})

    def check_space(self, trainer: Trainer, space: InputConfig) -> None:
        self.candidates(space)

    def candidates(self, space: InputConfig) -> list[tuple[int, ...]]:
        """D of every field kept in `space`, cut at its width."""
        given = self.params.candidates
        if isinstance(given, Mapping) and (unknown := set(given) - {"", *space.fields}):
            known, received = ", ".join(space.fields), ", ".join(sorted(unknown))
            raise ValueError(
                f"`candidates` of irazor should name fields ({known}) or '' for the others. "
                f"Received: {received}"
            )
        dims = {name: space.fields[name].dim for name in space.kept}
        return [
            regions.clip_candidates(self._given(name) or _doubling(dim), dim)
            for name, dim in dims.items()
        ]

    def _given(self, name: str) -> tuple[int, ...] | None:
        """A field's candidates as they were given."""
        given = self.params.candidates
        return given.get(name, given.get("")) if isinstance(given, Mapping) else given

    def reach(self, space: InputConfig) -> InputConfig:
        """`space` without the columns above each field's last candidate: the space that is
        searched."""
        fields = dict(space.fields)
        for name, candidates in zip(space.kept, self.candidates(space), strict=True):
            if candidates[-1] < fields[name].dim:
                fields[name] = fields[name].cut(fields[name].labels[: candidates[-1]])
        return dataclasses.replace(space, fields=fields)

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        """For a `space` that the candidates reach the end of (`reach`)."""
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
        return (
            Joint() if self.params.held_out is None else Alternating(held_out=self.params.held_out)
        )

    def optimizers(self) -> dict[str, str]:
        alpha, weights = self.params.alpha_optimizer, self.params.weights_optimizer
        chosen = {"architecture": alpha, "bias": weights, "network": weights}
        return {group: spec for group, spec in chosen.items() if spec is not None}

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        params = self.params
        cut = [
            name for name in space.kept if (self._given(name) or (0,))[-1] > space.fields[name].dim
        ]
        if cut:
            _notices.warning(
                "%s: candidates wider than the field is in the space are cut there: %s",
                self.spec(),
                ", ".join(cut),
            )
        space = self.reach(space)
        with trainer.scope():
            gates = self.gates(trainer.schema, space)
        supernet = trainer.build(space, gates)
        steps = params.search_steps or (
            trainer.options.search_steps if params.epochs is None else 0
        )
        epochs = params.epochs or 1
        judge: Source | None = (
            None if params.held_out is None else trainer.train.held_out(params.held_out)[1]
        )
        trainer.fit(
            supernet,
            "supernet",
            FitPlan(
                step=self.step(),
                warmup=params.warmup,
                epochs=epochs,
                steps=steps or None,
                # A fit has no more epochs than steps, so that this never ends it; it keeps the best
                # one.
                patience=(steps or epochs) if params.stop_at_best else 0,
                metric="log_loss" if params.stop_at_best else None,
                judge=judge,
                optimizers=self.optimizers(),
            ),
        )
        return supernet

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        alpha, space = self.architecture(supernet)["alpha"], self.reach(space)
        if budget is None:
            return self._config(
                alpha,
                space,
                self.params.cpt,
                regions.prune_official if self.params.official_rule else regions.prune,
            )
        # By Algorithm 1 a higher threshold only adds regions, so halving finds the narrowest config
        # with a field and the widest that fits. (The official comparison drops a field whose
        # rounded weights never sum to more than the threshold.)
        steps = [float(step) for step in regions.thresholds(alpha)]

        def config(cpt: float) -> InputConfig:
            return self._config(alpha, space, cpt, regions.prune)

        first = bisect.bisect_left(steps, True, key=lambda cpt: config(cpt).num_fields > 0)
        end = bisect.bisect_right(
            steps, budget, key=lambda cpt: config(cpt).num_params(supernet.schema)
        )
        if end <= first:
            raise budget_error(budget, config(steps[first]).num_params(supernet.schema))
        return config(steps[end - 1])

    def _config(
        self,
        alpha: np.ndarray,
        space: InputConfig,
        cpt: float,
        rule: Callable[..., tuple[int, ...]],
    ) -> InputConfig:
        """Algorithm 1 on every field."""
        fields = {name: FieldConfig(0) for name in space.fields}
        for weights, name, candidates in zip(
            alpha, space.kept, self.candidates(space), strict=True
        ):
            kept = rule(weights[: len(candidates)], cpt)
            inside = np.isin(regions.column_regions(candidates), kept)
            fields[name] = space.fields[name].cut(
                label for label, keep in zip(space.fields[name].labels, inside, strict=True) if keep
            )
        return InputConfig(fields)

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return self.each("cpt", self.params.sweep)

    def doubts(self, supernet: Recommender, config: InputConfig) -> list[str]:
        """That alpha is still uniform (on average over the fields, within 2% of the largest
        entropy), or that in half of the fields or more what parts kept from dropped regions is no
        wider than its spread over the last steps (`regions.margin`)."""
        alpha, candidates = self.architecture(supernet)["alpha"], self.candidates(supernet.config)
        found = []
        even = evenness(alpha, [len(dims) for dims in candidates])
        if np.isfinite(even).any() and (mean := np.nanmean(even)) >= EVEN:
            found.append(f"alpha has {mean:.1%} of the entropy of uniform weights")
        parted = self._margins(supernet, config)
        close = [name for name, (width, spread) in parted.items() if width <= spread]
        fields = len(supernet.config.kept)
        if 2 * len(close) >= fields:
            more = ", ..." if len(close) > 10 else ""
            which = f"{len(close)} of {fields} fields ({', '.join(close[:10])}{more})"
            found.append(
                "what was kept and what was dropped differ by no more than they moved over the "
                f"last steps in {which}"
            )
        if not found:
            return []
        warmup = (
            f" ({self.params.warmup} epochs of warm-up among them)" if self.params.warmup else ""
        )
        return [
            f"this search has not decided after {int(supernet.clock.numpy()):,} steps{warmup}: "
            f"{'; '.join(found)}. Which columns stay is "
            "close to chance. To try: a faster `alpha_optimizer` ('adam(learning_rate=0.01)'), a "
            "longer search (`search_steps`, `epochs`)"
        ]

    def _margins(
        self, supernet: Recommender, config: InputConfig
    ) -> dict[str, tuple[float, float]]:
        """`regions.margin` of every field with something kept and something dropped; none in a
        search that has no record of its course.

        The region without columns is one like the others: Algorithm 1 has kept it where it weighs
        more than one that was kept, and in a field that is gone."""
        course, found = supernet.gates["embedding"].course(), {}
        for row, (name, candidates) in enumerate(
            zip(supernet.config.kept, self.candidates(supernet.config), strict=True)
        ):
            labels, own = supernet.config.fields[name].labels, set(config.fields[name].labels)
            of_column = regions.column_regions(candidates)
            if not len(course):
                continue
            last = course[-1, row]
            kept = {
                int(region) for region, label in zip(of_column, labels, strict=True) if label in own
            }
            if candidates[0] == 0 and last[0] > min(
                (last[region] for region in kept), default=-1.0
            ):
                kept.add(0)
            dropped = set(range(len(candidates))) - kept
            if dropped:
                found[name] = regions.margin(course[:, row], sorted(kept), sorted(dropped))
        return found

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        """1 - the weight of the regions without columns."""
        gate = supernet.gates["embedding"]
        empty = np.zeros(gate.num_fields)
        alpha = self.architecture(supernet)["alpha"]
        for i, candidates in enumerate(self.candidates(supernet.config)):
            empty[i] = alpha[i, 0] if candidates[0] == 0 else 0.0
        return {
            name: float(1 - weight)
            for name, weight in zip(supernet.config.kept, empty, strict=True)
        }

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        gate = supernet.gates["embedding"]
        return {"alpha": gate.alpha().numpy().astype(np.float64), "alpha_sizes": gate.sizes}


def _doubling(dim: int) -> tuple[int, ...]:
    """0, 1, 2, 4, ... and `dim`."""
    return (0, *(2**i for i in range(dim.bit_length()) if 2**i < dim), dim)
