"""The equations of iHAS on tensors and arrays, without any state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from irazor_tf.config.input_config import InputConfig

MOST_CLUSTERS = 1_000  # each has a model


def slots_of(space: InputConfig) -> np.ndarray:
    """[M]: which slots of the padded and flattened [N * D] are columns."""
    return np.flatnonzero(space.slots).astype(np.int32)


def columns_of(x: tf.Tensor, slots: np.ndarray) -> tf.Tensor:
    """[B, N, D] -> [B, M]."""
    flat = tf.reshape(x, (-1, x.shape[1] * x.shape[2]))
    return flat if len(slots) == flat.shape[1] else tf.gather(flat, slots, axis=1)


def gate_logits(flat: tf.Tensor, kernel: tf.Tensor | None, bias: tf.Tensor) -> tf.Tensor:
    """e W + b, [B, M] (section 3.3.1); without a kernel b alone, the same for all rows (iHAS-4)."""
    return bias + (tf.matmul(flat, kernel) if kernel is not None else tf.zeros_like(flat))


def stochastic_mask(logits: tf.Tensor, u: tf.Tensor, v: tf.Tensor, temperature: float) -> tf.Tensor:
    """Straight-through Gumbel-softmax over (p, 1 - p), p = sigmoid(logits), of which the first
    entry is taken.

    Forwards 1 where log p + G(u) >= log(1 - p) + G(v), else 0 (equation 1); backwards the
    derivative of softmax((log p + G(u), log(1 - p) + G(v)) / temperature)_1 (equation 2, with the
    first power alone in the numerator); G(u) = -log(-log u).

    Args:
      logits: [B, M].
      u, v: uniform numbers in [0, 1), [B, M].
      temperature: tau.
    """
    # log p - log(1 - p) is the logit, and a softmax over two is the sigmoid of their difference.
    difference = logits + _gumbel(u) - _gumbel(v)
    soft = tf.sigmoid(difference / temperature)
    return tf.cast(difference >= 0, logits.dtype) + (
        soft - tf.stop_gradient(soft)
    )  # adds an exact 0


def _gumbel(u: tf.Tensor) -> tf.Tensor:
    return -tf.math.log(
        -tf.math.log(tf.maximum(u, 2.0**-24))
    )  # a 0 stands for numbers below the resolution


def regularizer(p: tf.Tensor, penalty: float, polarization: float) -> tf.Tensor:
    """mean_i sum_j (penalty p_ij - polarization |p_ij - mean_j p_ij|) (equation 5; polarization 0:
    equation 4), p [B, M]."""
    apart = tf.abs(p - tf.reduce_mean(p, axis=1, keepdims=True))
    return tf.reduce_mean(tf.reduce_sum(penalty * p - polarization * apart, axis=1))


HALF = 0.5  # where gates open in a row whose histogram has no local minimum


def first_valley(counts: tf.Tensor) -> tf.Tensor:
    """The first local minimum of each row's histogram from the left, [B] int32; -1 where there is
    none.

    That is a bin, or of a plateau the leftmost bin, lower than the bin before it and than the first
    different one after it. The
    outermost bins are none: nothing comes before the first, nothing rises after the last.

    Args:
      counts: [B, bins] int32.
    """
    bins = counts.shape[1]
    rises = [
        tf.zeros_like(counts[:, 0], tf.bool)
    ]  # whether the next different count to the right is larger, from the last bin on
    for k in reversed(range(bins - 1)):
        here, there = counts[:, k], counts[:, k + 1]
        rises.append((there > here) | ((there == here) & rises[-1]))
    falls = tf.pad(counts[:, 1:] < counts[:, :-1], ((0, 0), (1, 0)))
    valleys = falls & tf.stack(rises[::-1], axis=1)
    return tf.where(
        tf.reduce_any(valleys, axis=1), tf.argmax(valleys, axis=1, output_type=tf.int32), -1
    )


class Selection(NamedTuple):
    """Deterministic gates of some rows.

    Args:
      open: [B, M] bool.
      valley: bin of the local minimum whose lower edge is the threshold, [B]; -1 where there is
        none.
      closed: [B] bool: no gate reached the threshold, and the largest p was taken instead.
      histogram: [B, bins] int32.
      p: [B, M] float64.
    """

    open: tf.Tensor
    valley: tf.Tensor
    closed: tf.Tensor
    histogram: tf.Tensor
    p: tf.Tensor


def select(flat: tf.Tensor, kernel: tf.Tensor | None, bias: tf.Tensor, bins: int) -> Selection:
    """Deterministic selection (sections 3.3.2 and 3.3.3): a gate is open from the row's threshold
    on.

    The threshold is the lower edge of the first local minimum of the histogram of the row's p over
    [0, 1]. Without a local minimum it is 0.5, and where no gate is open then, those with the
    largest p are.

    Args:
      flat: [B, M].
      kernel, bias: of the gate.
      bins: of the histogram.
    """
    # In double precision: a matrix product in single precision differs in the last bits from one
    # compilation or batch size to another, which would move rows over the edge of a bin, and so to
    # another cluster.
    wide = [None if part is None else tf.cast(part, tf.float64) for part in (flat, kernel, bias)]
    p = tf.sigmoid(gate_logits(*wide))
    index = tf.minimum(tf.cast(p * bins, tf.int32), bins - 1)
    histogram = tf.reshape(
        tf.math.bincount(index, minlength=bins, maxlength=bins, axis=-1), (-1, bins)
    )
    valley = first_valley(histogram)
    chosen = tf.where(valley[:, tf.newaxis] >= 0, index >= valley[:, tf.newaxis], p >= HALF)
    closed = ~tf.reduce_any(chosen, axis=1)
    chosen |= closed[:, tf.newaxis] & (p == tf.reduce_max(p, axis=1, keepdims=True))
    return Selection(chosen, valley, closed, histogram, p)


def nearest(masked: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """The closest centroid of each row by Euclidean distance, of equal ones the first: [B, M], [C,
    M] -> [B] int32."""
    masked, centroids = tf.cast(masked, tf.float64), tf.cast(centroids, tf.float64)  # see `select`
    distances = tf.reduce_sum(tf.square(centroids), axis=1) - 2.0 * tf.matmul(
        masked, centroids, transpose_b=True
    )
    return tf.argmin(distances, axis=1, output_type=tf.int32)


def majority(frequency: np.ndarray, share: float) -> np.ndarray:
    """Columns whose gates are open in at least `share` of the rows; where there are none, the one
    that is open most often. [M] bool."""
    kept = frequency >= share
    if not kept.any():
        kept[np.argmax(frequency)] = True
    return kept


def most_frequent(
    frequency: np.ndarray, probability: np.ndarray, costs: np.ndarray, budget: int
) -> np.ndarray:
    """Columns by descending frequency, of equal ones by descending probability, each as long as it
    fits. [M] bool."""
    kept = np.zeros(len(costs), bool)
    for j in np.lexsort((-probability, -frequency)):
        if costs[j] <= budget:
            kept[j] = True
            budget -= int(costs[j])
    return kept


MOST_EVERY = 1_000  # they stand behind each other in one graph


MOST_BINS = 1_000  # each row has a histogram
