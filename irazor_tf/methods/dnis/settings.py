"""The settings of DNIS and its presets."""

from __future__ import annotations

import dataclasses
from typing import Any

from irazor_tf.config.checks import above, at_least, at_most, check_ranges, check_values, inside
from irazor_tf.methods.dnis.blocks import MOST_BLOCKS
from irazor_tf.search.method import SearchMethod

PRESETS: dict[str, dict[str, Any]] = {
    # Section 3.1; blocks, width, batch and towers belong to a log
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


@dataclasses.dataclass(frozen=True)
class Settings(SearchMethod.Params):
    """Settings.

    Args:
      blocks: Number of blocks of features of like frequency, each with a row of alpha (L of section
        2.3), from 1 to 100,000; they differ by at most one feature in size. Not read where the
        blocks are cut by `block_shares` or `block_sizes`. The paper has 10 for MovieLens and 6 for
        Criteo.
      block_shares: Every block's share of the features, the most frequent ones first; above 0, with
        a sum of 1. If empty (default), blocks are of equal size.
      block_sizes: Every block's number of features, the most frequent ones first, at least 1 each;
        the features that are left over form one more block. If empty (default), blocks are of equal
        size.
      per_field: Whether every field is cut into blocks by its own frequencies; if not, the features
        of all fields are ranked together.
      xi: Size of the virtual step of the weights in equations 6 and 7, at least 0. At 0 (default)
        alpha descends the first-order approximation of its gradient.
      held_out: Share of the training rows, in (0, 1), that alpha alone learns from. If None
        (default), alpha learns from the validation split, as in the paper.
      epochs: Passes over the training rows in the search, at most, at least 1.
      stop_at_best: Whether the search stops by the loss on the validation split, and ends with its
        best epoch's weights and alpha.
      patience: Epochs without a lower loss after which the search stops, at least 1; not read
        without `stop_at_best`.
      pretrain_epochs: Epochs, at most, of a training without a gate, whose weights the search
        starts from, at least 0. At 0 (default) it starts from random weights, as in the paper.
      freeze_interactions: Whether the base model, and the maps before it, are not trained in the
        search, so that beside alpha only embeddings and first-order terms learn.
      alpha_optimizer: Optimizer of the soft selection layer alpha.
      weights_optimizer: Optimizer of all weights while searching. If None (default), that of all
        trainings, `optimizer`.
      normalization_epsilon: Term in the denominator of the gradients' normalisation (epsilon_g of
        equation 8), above 0.
      l1: Weight of sum |alpha| in the loss of alpha, at least 0; not in the paper.
      compression: Entries of the space per entry that is kept (CR of section 3.1), above 1. If None
        (default), 2, unless `threshold` decides.
      threshold: Least absolute value of a merged entry that is kept (epsilon of equation 9), above
        0. If None (default), `compression` decides.
      sweep: Other values of `compression`, each a point of the curve.
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
        check_ranges(
            self,
            "dnis",
            blocks=at_least(1),
            epochs=at_least(1),
            patience=at_least(1),
            pretrain_epochs=at_least(0),
            xi=at_least(0),
            l1=at_least(0),
        )
        check_ranges(
            self,
            "dnis",
            blocks=at_most(MOST_BLOCKS),
            normalization_epsilon=above(0),
            threshold=above(0),
        )
        self._check_blocks()
        check_ranges(self, "dnis", held_out=inside(0, 1, "()"))
        if self.compression is not None and self.threshold is not None:
            raise ValueError(
                "One of `compression` and `threshold` of dnis should decide, not both. "
                f"Received: {self.compression} and {self.threshold}"
            )
        check_values("compression", (*self.rates, *self.sweep), above(1), "dnis")

    def _check_blocks(self) -> None:
        shares, sizes = self.block_shares, self.block_sizes
        if shares and not (min(shares) > 0 and abs(sum(shares) - 1) < 1e-6):
            raise ValueError(
                f"`block_shares` of dnis should be above 0 and sum to 1. Received: {shares}"
            )
        if sizes and min(sizes) < 1:
            raise ValueError(f"`block_sizes` of dnis should be at least 1. Received: {sizes}")
        if shares and sizes:
            raise ValueError(
                "One of `block_shares` and `block_sizes` of dnis should be given, not both. "
                f"Received: {shares} and {sizes}"
            )

    @property
    def rates(self) -> tuple[float, ...]:
        """The compression rate, alone in a tuple; empty where a threshold decides."""
        if self.threshold is not None:
            return ()
        return (2.0 if self.compression is None else self.compression,)
