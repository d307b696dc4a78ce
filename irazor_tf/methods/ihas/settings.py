"""The settings of iHAS."""

from __future__ import annotations

import dataclasses

from irazor_tf.methods.ihas.equations import MOST_BINS, MOST_CLUSTERS, MOST_EVERY
from irazor_tf.search.method import SearchMethod


@dataclasses.dataclass(frozen=True)
class Settings(SearchMethod.Params):
    """Settings.

    Args:
      epochs, patience: of the search, after which it ends with its best epoch on the validation
        split, the gates deterministic there.
      pretrain_epochs: of the base model before it, all gates open.
      every: training batches per validation batch, which alone moves the gates; no more than an
        epoch has.
      gate_optimizer: of the gates.
      weights_optimizer: of everything else in the search, where that differs from `optimizer`;
        None: that one.
      temperature: tau.
      penalty: lambda of equation 5. Like bins and shares below it is not given in the paper.
      polarization: weight of equation 5's second part, 1 there.
      regularizer_weight: of the whole of equation 5, a sum over columns and a mean over rows,
        against the cross-entropy; 1 in the paper. On two planted logs of 50,000 to 60,000 rows
        (gates moved by every batch) the gates of fields that matter were open more often than those
        of noise at .001 to .005; at .1 and at 1 the second part decides alone, and what opens is a
        matter of where the gates started.
      bins: of the histogram over [0, 1] of a row's probabilities.
      instance_wise: whether probabilities depend on the row.
      clusters: of rows, each with a model.
      majority: share of a cluster's rows in which a column has to be open to be kept, in (0, 1].
      sweep: other values of it worth a point on the curve.
      tolerance, passes: k-means ends when a pass over the training rows moves the centroids by no
        more, or after so many.
      retrain: whether models are trained anew; if not, the result is the supernet.
      rows: what a cluster's model learns from: "cluster", the cluster's rows (the paper), or "all",
        every training row. Either way it is judged by the cluster's validation rows, which are
        those that it will score.
      start: what the models start from: "fresh" numbers (the paper), or the "searched" ones of the
        columns kept.
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
        for key, most in (("clusters", MOST_CLUSTERS), ("every", MOST_EVERY), ("bins", MOST_BINS)):
            if getattr(self, key) > most:
                raise ValueError(
                    f"`{key}` of ihas should be at most {most:,}. Received: {getattr(self, key)}"
                )
        for key in ("epochs", "pretrain_epochs", "every", "clusters", "passes"):
            if getattr(self, key) < 1:
                raise ValueError(
                    f"`{key}` of ihas should be at least 1. Received: {getattr(self, key)}"
                )
        for key in ("patience", "penalty", "polarization", "regularizer_weight", "tolerance"):
            if getattr(self, key) < 0:
                raise ValueError(
                    f"`{key}` of ihas should be at least 0. Received: {getattr(self, key)}"
                )
        for share in (self.majority, *self.sweep):
            if not 0 < share <= 1:
                raise ValueError(f"`majority` of ihas should lie in (0, 1]. Received: {share}")
        if self.temperature <= 0:
            raise ValueError(
                f"`temperature` of ihas should be above 0. Received: {self.temperature}"
            )
        if self.bins < 3:
            raise ValueError(
                "`bins` of ihas should be at least 3, or no bin lies between two. Received: "
                f"{self.bins}"
            )
        for key, known in (("rows", ("cluster", "all")), ("start", ("fresh", "searched"))):
            if getattr(self, key) not in known:
                raise ValueError(
                    f"`{key}` of ihas should be one of {', '.join(known)}. Received: "
                    f"{getattr(self, key)!r}"
                )
        if not self.retrain and (self.rows, self.start) != ("cluster", "fresh"):
            raise ValueError(
                "`rows` and `start` of ihas say how models are trained anew, which `retrain=False` "
                "leaves out. "
                f"Received: rows={self.rows!r}, start={self.start!r}"
            )
