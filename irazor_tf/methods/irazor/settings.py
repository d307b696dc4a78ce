"""The settings of i-Razor, and its presets: recipes that were published, or that others have run it
with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from irazor_tf.config.checks import above, at_least, check_ranges, inside
from irazor_tf.methods.irazor import regions
from irazor_tf.search.method import SearchMethod

Candidates = tuple[int, ...]

_ADAGRAD = "adagrad(learning_rate=0.02, initial_accumulator_value=1e-8)"  # of the network, Table 2


@dataclasses.dataclass(frozen=True)
class Settings(SearchMethod.Params):
    """Settings; sections, equations and symbols are those of arXiv 2204.00281v2.

    Args:
      candidates: Candidate dimensions D of a field (section 3.2.1), ascending; they bound the
        regions that its embedding is divided into. One tuple for all fields, or one per field by
        name ("" for the others), each cut at the width of the field in the space (`--width`). 0
        among them lets a field go. No field is searched wider than its last candidate. If None
        (default), 0, 1, 2, 4, ... and that width.
      temperature: tau > 0 of the softmax over a field's regions (equation 2); the smaller, the
        sharper.
      penalty: lambda >= 0, the weight of the size penalty L_p in the search's loss (equation 7).
      cpt: Cumulative probability threshold in [0, 1] (Algorithm 1): the regions of a field are kept
        in the order of their weights until these sum to it. 0 keeps the one with the largest
        weight, 1 keeps all.
      sweep: Other values of `cpt`, each of which is a point on the curve of sizes.
      epochs: Length of the search in passes over the training rows, at least 1. If None (default),
        `search_steps` says it.
      search_steps: Length of the search in steps, at least 1, whatever the size of the log (a small
        one has few steps in an epoch). If None (default), `epochs` says it, and without that the
        training settings' `search_steps`.
      stop_at_best: Whether the search keeps the weights and alpha of the epoch with the lowest log
        loss instead of the last ones; taken on the held-out rows with `held_out` (which the weights
        never see), else on the validation split.
      warmup: Epochs of training with frozen alpha before the search, so that the regions are
        compared by embeddings that have learned something.
      held_out: Share, in (0, 1), of the training rows from which alpha learns, and the weights do
        not. That keeps alpha from taking memorising for usefulness. If None (default), weights and
        alpha learn from the same batches (the one-level optimization of section 3.2.5).
      alpha_optimizer: Optimizer of the region logits w (equation 2). If None (default), the
        training settings' one.
      weights_optimizer: Optimizer of everything else in the search, where that should differ from
        the one of the final model. If None (default), `optimizer`.
      normalize: Whether the embeddings pass a batch norm without scale and centre before they meet
        alpha (equation 3).
      batch_statistics: Whether that batch norm uses the mean and variance of the batch while the
        search trains. If not, its moving averages, which then stay at 0 and 1, as in the authors'
        public code.
      epsilon: Small constant that the batch norm adds to the variance (equation 3).
      cardinality: Whether the size penalty weighs a field by its share of all features (equation
        5). If not, every field weighs 0.01, as in the authors' public code.
      official_rule: Whether regions are chosen as in the authors' public code: weights are rounded
        to 4 decimals, and their sum has to exceed `cpt`, not only to reach it.
    """

    candidates: Candidates | Mapping[str, Candidates] | None = None
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
        check_ranges(
            self,
            "irazor",
            temperature=above(0),
            penalty=at_least(0),
            cpt=inside(0, 1),
            sweep=inside(0, 1),
            epochs=at_least(1),
            warmup=at_least(0),
            search_steps=at_least(1),
            held_out=inside(0, 1, "()"),
        )
        by_field = (
            self.candidates if isinstance(self.candidates, Mapping) else {"": self.candidates}
        )
        for candidates in by_field.values():
            if candidates is not None:
                regions.check_candidates(candidates)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Table 2, and one level with batch norm; alpha by the network's optimizer, accumulator and all,
    # since the paper names no other. Candidates, temperature and cpt differ between its logs
    # (launch/presets/paper_*.flags).
    "paper": {
        "optimizer": {"bias": "ftrl(learning_rate=0.01)", "network": _ADAGRAD},
        "alpha_optimizer": _ADAGRAD,
        "penalty": 1e-4,
        "epochs": 1,
    },
    # No batch statistics, a constant weight per field in the penalty, a strict comparison, one Adam
    # for the search, Adagrad after it.
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
