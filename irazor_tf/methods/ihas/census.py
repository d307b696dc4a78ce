"""The census of iHAS: statistics over the training rows of which columns the deterministic gates
open."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.layout import SearchPaths
from irazor_tf.methods.ihas.equations import HALF, Selection, columns_of
from irazor_tf.model.recommender import Recommender
from irazor_tf.training.source import Source
from irazor_tf.training.trainer import Trainer


class GatedRows(NamedTuple):
    """Some rows as numpy arrays, with their deterministic gates.

    Args:
      embeddings: The embeddings of each row side by side, [B, M].
      gates: The deterministic gates of these rows.
      labels: [B].
    """

    embeddings: np.ndarray
    gates: Selection
    labels: np.ndarray

    @property
    def masked(self) -> np.ndarray:
        """The embeddings with 0 where the row's gate is closed, [B, M]."""
        return np.where(self.gates.open, self.embeddings, 0)


def gated_rows(supernet: Recommender, size: int) -> Callable[[Source], Iterator[GatedRows]]:
    """A function that iterates over the rows of a source in their order, with their embeddings and
    gates.

    Args:
      supernet: The trained model with its gate.
      size: Rows of each item.
    """
    embedding, gate = supernet.embedding, supernet.gates["embedding"]
    assert embedding is not None

    @tf.function(reduce_retracing=True)
    def select(ids: tf.Tensor) -> tuple[tf.Tensor, Selection]:
        flat = columns_of(embedding.stack(embedding(ids)), gate.slots)
        return flat, gate.select(flat)

    def batches(source: Source) -> Iterator[GatedRows]:
        for batch in source.ordered(size):
            flat, gates = select(batch["ids"])
            selection = Selection(*(part.numpy() for part in gates))
            yield GatedRows(flat.numpy(), selection, batch["label"].numpy())

    return batches


@dataclasses.dataclass(frozen=True)
class Census:
    """Statistics of the deterministic gates over all training rows, computed once after the
    search's training.

    Args:
      frequency: Share of the rows in which each gate is open, [M].
      probability: Mean of each gate's probability p, [M].
      histogram: Mean of the rows' histograms of p, [bins].
      sample: Histogram of the first row's p, [bins].
      threshold: Mean of the rows' thresholds.
      sample_threshold: Threshold of the first row.
      undecided: Share of the rows whose histogram has no local minimum.
      closed: Share of the rows in which no gate reached the threshold.
    """

    frequency: np.ndarray
    probability: np.ndarray
    histogram: np.ndarray
    sample: np.ndarray
    threshold: float
    sample_threshold: float
    undecided: float
    closed: float

    def notices(self) -> list[str]:
        """Sentences about the rows for which gates were opened by a fallback; an empty list where
        there are none."""
        notices = []
        if self.undecided:
            notices.append(
                f"{self.undecided:.1%} of the training rows have no local minimum in the histogram "
                f"of their gates' probabilities: their gates are open from p = {HALF} on"
            )
        if self.closed:
            notices.append(
                f"{self.closed:.1%} of the training rows have no gate at the threshold: that of "
                "largest p is open"
            )
        return notices


def take_census(trainer: Trainer, supernet: Recommender) -> Census:
    """The census of the training rows: computed once, written to the search's folder, and read from
    there by later calls."""
    path = SearchPaths(trainer.work_dir).at("census.json")
    if not os.path.exists(path):
        census = vars(_count(trainer, supernet))
        arrays = {name: part for name, part in census.items() if isinstance(part, np.ndarray)}
        write_json(path, {name: census[name] for name in census if name not in arrays}, arrays)
    scalars, arrays = read_json(path)
    return Census(**(arrays | scalars))


def _count(trainer: Trainer, supernet: Recommender) -> Census:
    """The census, computed from sums over the training rows in double precision."""
    sums, first = [np.zeros(())] * 6, None
    for rows in gated_rows(supernet, trainer.options.eval_batch_size)(trainer.train):
        gates = rows.gates
        thresholds = np.where(gates.valley >= 0, gates.valley / gates.histogram.shape[1], HALF)
        undecided = gates.valley < 0
        parts = (gates.open, gates.p, gates.histogram, thresholds, undecided, gates.closed)
        sums = [
            total + part.sum(axis=0, dtype=np.float64)
            for total, part in zip(sums, parts, strict=True)
        ]
        first = first or (gates.histogram[0], float(thresholds[0]))
    assert first is not None
    means = [total / trainer.train.rows for total in sums]
    frequency, probability, histogram = means[:3]
    threshold, without_minimum, closed = map(float, means[3:])
    return Census(
        frequency,
        probability,
        histogram,
        sample=first[0],
        threshold=threshold,
        sample_threshold=first[1],
        undecided=without_minimum,
        closed=closed,
    )
