"""HAM: embedding columns pruned by hard masks that gradients pass straight through, and the soft
and random masks it is compared with.

Xiao, Xiao, Chen and Chen: Field-wise Embedding Size Search via Structural Hard Auxiliary Mask
Pruning for Click-Through Rate Prediction (CEUR 3317, 2022). The four masks of Table 1 share one
recipe, Algorithm 1: a model pretrained with near-orthogonal columns, a search in which validation
rows move alpha and training rows the weights, and training that goes on from the searched weights.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.methods.ham.auxiliary import PAPER, PUBLISHED, AuxiliaryMasks
from irazor_tf.methods.ham.equations import chosen, column_params, settled
from irazor_tf.methods.ham.gates import (
    BernoulliGate,
    ClippedGate,
    GumbelSigmoidGate,
    IndicatorGate,
    MaskGate,
)
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS

_notices = logging.getLogger("irazor_tf")


# The paper's mathematics --------------------------------------------------------------------------


# Gates --------------------------------------------------------------------------------------------


# Columns of a config ------------------------------------------------------------------------------


# Methods ------------------------------------------------------------------------------------------


@METHODS.register("ham")
class HAM(AuxiliaryMasks):
    """Hard masks: what is searched is what is kept. Every size has a search of its own, from one
    pretraining for all."""

    @dataclasses.dataclass(frozen=True)
    class Params(AuxiliaryMasks.Params):
        """Settings, beside those of all masks.

        Args:
          alpha_optimizer: of alpha.
          epsilon: alpha before the first step.
          mu: by how much every alpha drifts in a step.
          in_parameters: count sizes (`size`, `share`, `stages`) in embedding parameters instead of
            columns; not in the paper.
          early_stop: end a search at its size as soon as the validation metric gains nothing
            (section 3.3; off in section 4).
          size_tolerance: share of s by which the size may be off then.
          min_gain: of the metric.
        """

        alpha_optimizer: str = "sgd(learning_rate=0.001)"
        epsilon: float = 0.01
        mu: float = 5e-5
        in_parameters: bool = False
        early_stop: bool = True
        size_tolerance: float = 0.1
        min_gain: float = 1e-4

        def __post_init__(self) -> None:
            super().__post_init__()
            for key in ("epsilon", "mu"):
                if getattr(self, key) <= 0:
                    raise ValueError(
                        f"`{key}` of ham should be above 0. Received: {getattr(self, key)}"
                    )
            for key in ("size_tolerance", "min_gain"):
                if getattr(self, key) < 0:
                    raise ValueError(
                        f"`{key}` of ham should be at least 0. Received: {getattr(self, key)}"
                    )

    # One batch's gradient in a mask is about 1e-4 (Criteo, 1,024 rows), so at the paper's rate all
    # alphas stay within one step of mu, cross 0 together, and the size jumps; with the gradient of
    # the batch's sum, B times as large, they do not (`paper_summed`).
    presets = {
        "paper": {**PAPER, **PUBLISHED},
        "paper_summed": {**PAPER, **PUBLISHED, "summed": True},
        "small_log": {"alpha_optimizer": "sgd(learning_rate=1.0)", "mu": 3e-4, "epochs": 12},
    }
    derive_only = frozenset({"sweep"})

    def costs(self, schema: Schema, config: InputConfig) -> np.ndarray:
        return (
            column_params(schema, config)
            if self.params.in_parameters
            else super().costs(schema, config)
        )

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        return IndicatorGate(
            self.costs(schema, config), size=size, epsilon=self.params.epsilon, drift=self.params.mu
        )

    def stops(
        self, history: Sequence[Mapping[str, float]], size: int, metric: str, direction: int
    ) -> bool:
        params = self.params
        return params.early_stop and settled(
            history, size, params.size_tolerance, metric, direction, params.min_gain
        )

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        """What the search left unmasked; a budget is met by a search for it (`in_parameters`), and
        cuts what such a one left above it."""
        config, goal = super().derive(supernet, space, budget), self.goal(supernet.schema, space)
        unmasked = self.architecture(supernet)["mask"] > 0
        size = int(supernet.gates["embedding"].costs[unmasked].sum())
        if abs(size - goal) > self.params.size_tolerance * goal:
            _notices.warning(
                "%s: the search ended at size %s, its target is %s (`epochs`, `mu`)",
                self.spec(),
                f"{size:,}",
                f"{goal:,}",
            )
        found, kept = (
            int(column_params(supernet.schema, supernet.config)[unmasked].sum()),
            config.num_params(supernet.schema),
        )
        if budget is not None and kept < found:
            _notices.warning(
                "%s: of the %s parameters that are not masked the budget keeps %s",
                self.spec(),
                f"{found:,}",
                f"{kept:,}",
            )
        return config

    def eligible(self, supernet: Recommender) -> np.ndarray:
        """The columns that are not masked; where all are, every column, and a warning."""
        unmasked = self.architecture(supernet)["mask"] > 0
        if unmasked.any():
            return unmasked
        _notices.warning(
            "%s: all columns are masked; those of largest alpha that the budget allows are kept",
            self.spec(),
        )
        return super().eligible(supernet)

    def select(self, supernet: Recommender, size: int) -> InputConfig:
        """The columns that are not masked, however many; where all are, the one of largest alpha,
        and a warning."""
        unmasked = self.architecture(supernet)["mask"] > 0
        if unmasked.any():
            return chosen(supernet.config, unmasked)
        _notices.warning(
            "%s: all columns are masked; the one of largest alpha is kept (a smaller `mu` moves "
            "less at a time)",
            self.spec(),
        )
        return self._leading(
            supernet, super().costs(supernet.schema, supernet.config), 1, "columns"
        )


# At the paper's rate alpha moves by thousandths in an epoch (see `HAM.presets`).
SMALL_LOG: dict[str, dict[str, Any]] = {
    "small_log": {"alpha_optimizer": "sgd(learning_rate=1.0)", "epochs": 4}
}


@METHODS.register("sam")
class SAM(AuxiliaryMasks):
    """Soft masks."""

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        return ClippedGate(self.costs(schema, config))


@METHODS.register("sam_gs")
class SAMGS(AuxiliaryMasks):
    """Soft masks with Gumbel-sigmoid noise."""

    presets = AuxiliaryMasks.presets | SMALL_LOG

    @dataclasses.dataclass(frozen=True)
    class Params(AuxiliaryMasks.Params):
        """Settings, beside those of all masks.

        Args:
          temperature: lambda of the Gumbel-sigmoid, in the paper 1, 0.1 or 0.01.
          margin: alpha is held in [margin, 1 - margin].
        """

        temperature: float = 0.1
        margin: float = 1e-3

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.temperature <= 0:
                raise ValueError(
                    f"`temperature` of sam_gs should be above 0. Received: {self.temperature}"
                )
            if not 0 < self.margin < 0.5:
                raise ValueError(
                    f"`margin` of sam_gs should lie in (0, 0.5). Received: {self.margin}"
                )

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        params = self.params
        return GumbelSigmoidGate(
            self.costs(schema, config),
            temperature=params.temperature,
            margin=params.margin,
            seed=seed,
        )


@METHODS.register("ham_p")
class HAMP(AuxiliaryMasks):
    """Hard masks drawn by Bernoulli probabilities."""

    presets = AuxiliaryMasks.presets | SMALL_LOG

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        return BernoulliGate(self.costs(schema, config), margin=0.0, seed=seed)
