"""The settings of HAM, SAM, SAM-GS and HAM-p, and the presets that they share."""

from __future__ import annotations

import dataclasses
from typing import Any

from irazor_tf.config.checks import above, at_least, check_ranges, inside
from irazor_tf.search.method import SearchMethod

# Section 4.3: Adam in all three stages, a fixed number of search epochs. The weight of the
# orthogonality, sizes, batch and towers belong to a log (launch/presets/paper_ham_*.flags).
PAPER: dict[str, Any] = {
    "optimizer": "adam(learning_rate=0.001)",
    "alpha_optimizer": "sgd(learning_rate=0.01)",
    "epochs": 10,
    "base_dim": 16,
}
# What section 4.3 has beside them for the indicator; its ten epochs leave no room for the early
# stop of section 3.3.
PAPER_HAM: dict[str, Any] = PAPER | {
    "alpha_optimizer": "sgd(learning_rate=0.001)",
    "epsilon": 0.01,
    "mu": 5e-5,
    "early_stop": False,
}
PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, "paper_summed": PAPER | {"summed": True}}
# One batch's gradient in a mask is about 1e-4 (Criteo, 1,024 rows), so at the paper's rate all
# alphas stay within one step of mu, cross 0 together, and the size jumps; with the gradient of the
# batch's sum, B times as large, they do not (`paper_summed`).
PRESETS_HAM: dict[str, dict[str, Any]] = {
    "paper": PAPER_HAM,
    "paper_summed": PAPER_HAM | {"summed": True},
    "small_log": {"alpha_optimizer": "sgd(learning_rate=1.0)", "mu": 3e-4, "epochs": 12},
}
# At the paper's rate the alpha of a random mask, too, moves by thousandths in an epoch.
PRESETS_RANDOM: dict[str, dict[str, Any]] = PRESETS | {
    "small_log": {"alpha_optimizer": "sgd(learning_rate=1.0)", "epochs": 4}
}


@dataclasses.dataclass(frozen=True)
class MaskSettings(SearchMethod.Params):
    """Settings that HAM, SAM, SAM-GS and HAM-p share.

    Args:
      share: Share of the searched space that is kept, in (0, 1], where `size` is None.
      size: Columns kept in all fields together (s of section 3.3), at least 1. If None (default),
        `share` decides.
      sweep: Other values of `share`, each a point of the curve.
      base_dim: Greatest width that a field is searched at, at least 1. Every field is searched in
        its first min(base_dim, number of its features) columns (d_j of section 4.3).
      orthogonality: Weight of the orthogonality penalty, equation 1, in the loss of the pretraining
        (lambda of section 4.3), at least 0. At 0 the pretraining is a plain one, which other
        searches may share.
      cosine: Whether the penalty is that of columns scaled to length 1, their squared cosines (end
        of section 3.2; the paper on Avazu, with a weight of 1e-6).
      orthogonality_every: Batches per batch whose loss the penalty enters, multiplied by this
        number, at least 1. The penalty reads whole tables, so that a larger number saves time.
      pretrain_epochs: Epochs of the pretraining, at most, at least 1. If None (default), the
        training settings'.
      pretrain_patience: Epochs without a better validation metric after which the pretraining
        stops, at least 0; at 0 it never stops early. If None (default), the training settings'.
      epochs: Epochs of the search, at most, at least 1.
      stages: Sizes that are searched for before the last one, in descending order and all above it,
        each inside the columns that the one before kept (section 4.5). If empty (default), the last
        size is searched for at once.
      alpha_optimizer: Optimizer of the masks' parameters alpha (its learning rate is eta of
        equation 3).
      weights_optimizer: Optimizer of all weights while searching. If None (default), that of all
        trainings, `optimizer`.
      summed: Whether alpha descends the sum of a batch's losses, B times their mean; L_batch of
        equation 3 can be read so.
    """

    share: float = 0.5
    size: int | None = None
    sweep: tuple[float, ...] = (0.0625, 0.125, 0.25)
    base_dim: int = 16
    orthogonality: float = 1e-3
    cosine: bool = False
    orthogonality_every: int = 1
    pretrain_epochs: int | None = None
    pretrain_patience: int | None = None
    epochs: int = 10
    stages: tuple[int, ...] = ()
    alpha_optimizer: str = "sgd(learning_rate=0.01)"
    weights_optimizer: str | None = None
    summed: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = inside(0, 1, "(]")
        for share in (self.share, *self.sweep):
            if share not in shares:
                raise ValueError(f"`share` and `sweep` should {shares.words}. Received: {share}")
        check_ranges(
            self,
            size=at_least(1),
            base_dim=at_least(1),
            orthogonality=at_least(0),
            orthogonality_every=at_least(1),
            epochs=at_least(1),
            pretrain_epochs=at_least(1),
            pretrain_patience=at_least(0),
        )
        sizes = (*self.stages, self.size or 0)
        if any(later >= sooner for sooner, later in zip(sizes, sizes[1:], strict=False)):
            raise ValueError(
                "`stages` should be positive and descend, above `size`. Received: "
                f"{self.stages}, `size` {self.size}"
            )


@dataclasses.dataclass(frozen=True)
class HAMSettings(MaskSettings):
    """Settings of HAM, in addition to those of all masks.

    Args:
      epsilon: Value of every alpha before the first step (epsilon of section 3.3), above 0: nothing
        is masked then.
      mu: The distance by which every alpha drifts in a step (mu of equation 3), above 0.
      in_parameters: Whether sizes (`size`, `share`, `stages`) count embedding parameters instead of
        columns, which is not in the paper.
      early_stop: Whether a search that is near its size ends as soon as the validation metric gains
        nothing (section 3.3; section 4.3 has a fixed number of epochs).
      size_tolerance: Share of the size by which a search that is near it may be off, at least 0.
      min_gain: Least rise of the validation metric, or fall where it is to fall, that counts as a
        gain for `early_stop`, at least 0.
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
        check_ranges(
            self,
            "ham",
            epsilon=above(0),
            mu=above(0),
            size_tolerance=at_least(0),
            min_gain=at_least(0),
        )


@dataclasses.dataclass(frozen=True)
class SAMGSSettings(MaskSettings):
    """Settings of SAM-GS, in addition to those of all masks.

    Args:
      temperature: Temperature of the Gumbel-sigmoid (lambda of section 4.2), above 0. The paper
        chooses among 1, 0.1 and 0.01.
      margin: Distance that alpha keeps from 0 and from 1, in (0, 0.5): at both the Gumbel-sigmoid
        has no finite logarithm.
    """

    temperature: float = 0.1
    margin: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "sam_gs", temperature=above(0), margin=inside(0, 0.5, "()"))
