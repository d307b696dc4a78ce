"""The settings of iHAS."""

from __future__ import annotations

import dataclasses

from irazor_tf.config.checks import (
    above,
    at_least,
    at_most,
    check_choice,
    check_ranges,
    check_values,
    inside,
)
from irazor_tf.search.method import SearchMethod

MOST_CLUSTERS = 1_000  # each has a model
MOST_EVERY = 1_000  # they stand behind each other in one graph
MOST_BINS = 1_000  # each row has a histogram


@dataclasses.dataclass(frozen=True)
class Settings(SearchMethod.Params):
    """Settings.

    Args:
      epochs: Most epochs of the search (Algorithm 1, lines 1 to 8), at least 1.
      patience: Epochs without a better validation metric, the gates being deterministic there,
        after which the search stops; it then ends with its best epoch. At 0 it never stops early,
        and ends with its last weights.
      pretrain_epochs: Epochs of the base model alone, all gates open, that the search starts from;
        at least 1.
      every: Number of training batches, which move the base model, per validation batch, which
        alone moves the gates. From 1 to 1,000, 100 in the paper; an epoch with fewer training
        batches has one validation batch.
      gate_optimizer: Optimizer of the gates.
      weights_optimizer: Optimizer of everything but the gates, in the search alone. If None
        (default), as in all other trainings of the method (`optimizer`).
      temperature: tau of the Gumbel-softmax (equation 2), above 0.
      penalty: lambda of equation 5, the price of a gate's probability; at least 0. The paper does
        not say its value.
      polarization: Weight of equation 5's second part, which drives a row's probabilities apart; at
        least 0. 1 in the paper, 0 leaves equation 4.
      regularizer_weight: Weight of the whole of equation 5, a sum over columns and a mean over
        rows, against the cross-entropy; at least 0, 1 in the paper. On two planted logs of 50,000
        to 60,000 rows (gates moved by every batch) the gates of fields that matter were open more
        often than those of noise at .001 to .005; at .1 and at 1 the second part decides alone, and
        what opens is a matter of where the gates started.
      bins: Number of bins over [0, 1] of the histogram of a row's probabilities, whose first local
        minimum is the row's threshold (section 3.3.2). From 3 to 1,000; the paper does not say its
        value.
      instance_wise: Whether a gate's probability depends on the row (section 3.3.1). If False, it
        is the same for all rows (iHAS-4).
      clusters: Number of clusters of rows, each with a model of its own; from 1 to 1,000. Clusters
        too small to train and judge a model are dropped. 2 in the paper; 1 is one model for all
        rows (iHAS-2).
      majority: Share of a cluster's training rows in which a column's gate has to be open for the
        cluster to keep the column, in (0, 1]. The paper does not say its value.
      sweep: Other values of `majority`, each worth a point on the curve of quality against size.
      tolerance: k-means ends when the centroids move, in a pass over the training rows, by no more
        than this, relative to their length; at least 0.
      passes: Most passes of k-means over the training rows, at least 1.
      retrain: Whether models are trained anew after the search. If False, the result is the
        supernet itself with its gates acting (iHAS-1).
      rows: What a cluster's model learns from: "cluster" (default, the paper), the cluster's
        training rows; or "all", every training row. Either way it is judged by the cluster's
        validation rows, which are like those that it will score.
      start: What the models trained after the search start from: "fresh" (default, the paper),
        weights drawn anew; or "searched", the supernet's weights for the columns kept.
    """

    epochs: int = 10
    patience: int = 2
    pretrain_epochs: int = 5
    every: int = 100
    gate_optimizer: str = "adam(learning_rate=0.001)"
    weights_optimizer: str | None = None
    temperature: float = 0.1
    penalty: float = 0.5
    polarization: float = 1.0
    regularizer_weight: float = 1.0
    bins: int = 20
    instance_wise: bool = True
    clusters: int = 2
    majority: float = 0.5
    sweep: tuple[float, ...] = (0.25, 0.75)
    tolerance: float = 1e-3
    passes: int = 10
    retrain: bool = True
    rows: str = "cluster"
    start: str = "fresh"

    def __post_init__(self) -> None:
        super().__post_init__()
        most = {"clusters": MOST_CLUSTERS, "every": MOST_EVERY, "bins": MOST_BINS}
        check_ranges(self, "ihas", **{name: at_most(number) for name, number in most.items()})
        counts = ("epochs", "pretrain_epochs", "every", "clusters", "passes")
        check_ranges(self, "ihas", **dict.fromkeys(counts, at_least(1)))
        amounts = ("patience", "penalty", "polarization", "regularizer_weight", "tolerance")
        check_ranges(self, "ihas", **dict.fromkeys(amounts, at_least(0)))
        # A point of the curve is another `majority`, and out of range under that name.
        check_values("majority", (self.majority, *self.sweep), inside(0, 1, "(]"), "ihas")
        three = dataclasses.replace(at_least(3), words="be at least 3, or no bin lies between two")
        check_ranges(self, "ihas", temperature=above(0), bins=three)
        check_choice(self, "ihas", rows=("cluster", "all"), start=("fresh", "searched"))
        if not self.retrain and (self.rows, self.start) != ("cluster", "fresh"):
            raise ValueError(
                "`rows` and `start` of ihas say how models are trained anew, which `retrain=False` "
                f"leaves out. Received: rows={self.rows!r}, start={self.start!r}"
            )
