"""HAM, which prunes embedding columns by hard masks with straight-through gradients, and its
variants with soft and random masks (SAM, SAM-GS, HAM-p).

Xiao, Xiao, Chen and Chen: Field-wise Embedding Size Search via Structural Hard Auxiliary Mask
Pruning for Click-Through Rate Prediction (CEUR 3317, 2022). The four masks of Table 1 share one
recipe, Algorithm 1: a model pretrained with near-orthogonal columns, a search in which validation
rows move alpha and training rows the weights, and a final training that continues with the searched
weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.methods.ham.auxiliary import AuxiliaryMasks
from irazor_tf.methods.ham.equations import chosen, column_params, settled
from irazor_tf.methods.ham.gates import (
    BernoulliGate,
    ClippedGate,
    GumbelSigmoidGate,
    IndicatorGate,
    MaskGate,
)
from irazor_tf.methods.ham.settings import (
    PRESETS_HAM,
    PRESETS_RANDOM,
    HAMSettings,
    SAMGSSettings,
)
from irazor_tf.search.method import METHODS, Search


@METHODS.register("ham")
class HAM(AuxiliaryMasks):
    """HAM: hard masks on embedding columns; the columns that are open at the end of the search are
    kept.

    Every size needs a search of its own; all start from one pretraining.
    """

    Params = HAMSettings
    presets = PRESETS_HAM
    # The size stands in equation 3, so that another one is another search.
    traits = dataclasses.replace(AuxiliaryMasks.traits, derive_only=frozenset({"sweep"}))

    def costs(self, schema: Schema, config: InputConfig) -> np.ndarray:
        if self.params.in_parameters:
            return column_params(schema, config)
        return super().costs(schema, config)

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        params = self.params
        return IndicatorGate(
            self.costs(schema, config), size=size, epsilon=params.epsilon, drift=params.mu
        )

    def stops(
        self, history: Sequence[Mapping[str, float]], size: int, metric: str, direction: int
    ) -> bool:
        """Whether the search may stop early: the last epoch ended near `size` without a gain
        (section 3.3).

        Args:
          history, size, metric, direction: see `AuxiliaryMasks.stops`.
        """
        params = self.params
        return params.early_stop and settled(
            history, size, params.size_tolerance, metric, direction, params.min_gain
        )

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        """The config of the columns that the search left unmasked. To meet a budget, the search
        itself should aim at it (`in_parameters`); columns that are still above the budget are
        cut."""
        config = super().derive(search, space, budget)
        model, gate, spec = search.model, search.gate, str(self.spec())
        size, goal = int(gate.costs[gate.unmasked()].sum()), self.goal(model.schema, space)
        if abs(size - goal) > self.params.size_tolerance * goal:
            search.notices.add(
                f"the search ended at size {size:,}, its target is {goal:,} (`epochs`, `mu`)", spec
            )
        unmasked = int(column_params(model.schema, model.config)[gate.unmasked()].sum())
        kept = config.num_params(model.schema)
        if budget is not None and kept < unmasked:
            search.notices.add(
                f"of the {unmasked:,} parameters that are not masked the budget keeps {kept:,}",
                spec,
            )
        return config

    def eligible(self, search: Search) -> np.ndarray:
        """Which columns may be kept under a budget, [N, D] bool: those that are not masked. Where
        all are masked, every column, and a notice is added."""
        unmasked = search.gate.unmasked()
        if unmasked.any():
            return unmasked
        search.notices.add(
            "all columns are masked; those of largest alpha that the budget allows are kept",
            str(self.spec()),
        )
        return super().eligible(search)

    def select(self, search: Search, size: int) -> InputConfig:
        """The config of the columns that are not masked, however many they are. Where all are
        masked, the one of largest alpha, and a notice is added."""
        model, unmasked = search.model, search.gate.unmasked()
        if unmasked.any():
            return chosen(model.config, unmasked)
        search.notices.add(
            "all columns are masked; the one of largest alpha is kept (a smaller `mu` moves less "
            "at a time)",
            str(self.spec()),
        )
        return self._leading(search, super().costs(model.schema, model.config), 1, "columns")


@METHODS.register("sam")
class SAM(AuxiliaryMasks):
    """SAM: soft masks on embedding columns; the columns of largest alpha are kept."""

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        return ClippedGate(self.costs(schema, config))


@METHODS.register("sam_gs")
class SAMGS(AuxiliaryMasks):
    """SAM-GS: soft masks on embedding columns with Gumbel-sigmoid noise; the columns of largest
    alpha are kept."""

    Params = SAMGSSettings
    presets = PRESETS_RANDOM

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
    """HAM-p: random hard masks on embedding columns, open with the probability alpha; the columns
    of largest alpha are kept."""

    presets = PRESETS_RANDOM

    def mask_gate(self, schema: Schema, config: InputConfig, size: int, seed: int) -> MaskGate:
        return BernoulliGate(self.costs(schema, config), margin=0.0, seed=seed)
