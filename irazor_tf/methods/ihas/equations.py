"""The equations of iHAS as functions of tensors and arrays, without any state.

Symbols: B rows; N fields of up to D columns; M columns in all, that is those slots of the padded
[N, D] that are columns, field after field.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from irazor_tf.config.input_config import InputConfig
from irazor_tf.search.selection import take_while_fits

HALF = 0.5  # where gates open in a row whose histogram has no local minimum


def slots_of(space: InputConfig) -> np.ndarray:
    """Numbers of the slots of the padded, flattened [N * D] that are columns, [M] int32."""
    return np.flatnonzero(space.slots).astype(np.int32)


def columns_of(x: tf.Tensor, slots: np.ndarray) -> tf.Tensor:
    """The columns of padded embeddings, field after field: [B, N, D] -> [B, M].

    Args:
      x: Embeddings, narrow fields padded to D.
      slots: Which of the N * D slots are columns, [M]; see `slots_of`.
    """
    flat = tf.reshape(x, (-1, x.shape[1] * x.shape[2]))
    return flat if len(slots) == flat.shape[1] else tf.gather(flat, slots, axis=1)


def gate_logits(flat: tf.Tensor, kernel: tf.Tensor | None, bias: tf.Tensor) -> tf.Tensor:
    """Logits of the gates' probabilities, e W + b (section 3.3.1), [B, M].

    Args:
      flat: e, the embeddings of each row side by side, [B, M].
      kernel: W, [M, M]. If None, b alone is the logit, the same for all rows (iHAS-4).
      bias: b, [M].
    """
    return bias + (tf.matmul(flat, kernel) if kernel is not None else tf.zeros_like(flat))


def stochastic_mask(logits: tf.Tensor, u: tf.Tensor, v: tf.Tensor, temperature: float) -> tf.Tensor:
    """Random gates, [B, M]: straight-through Gumbel-softmax over (p, 1 - p), p = sigmoid(logits),
    of which the first entry is taken.

    The value is 1 where log p + G(u) >= log(1 - p) + G(v), else 0 (equation 1); the derivative is
    that of softmax((log p + G(u), log(1 - p) + G(v)) / temperature)_1 (equation 2, with the first
    power alone in the numerator); G(u) = -log(-log u).

    Args:
      logits: Logits of the gates' probabilities, [B, M].
      u, v: Uniform numbers in [0, 1), [B, M].
      temperature: tau, above 0.
    """
    # log p - log(1 - p) is the logit, and a softmax over two is the sigmoid of their difference.
    difference = logits + _gumbel(u) - _gumbel(v)
    soft = tf.sigmoid(difference / temperature)
    exact_zero = soft - tf.stop_gradient(soft)  # which has the gradient of `soft`
    return tf.cast(difference >= 0, logits.dtype) + exact_zero


def _gumbel(u: tf.Tensor) -> tf.Tensor:
    resolved = tf.maximum(u, 2.0**-24)  # a 0 stands for numbers below the resolution
    return -tf.math.log(-tf.math.log(resolved))


def regularizer(p: tf.Tensor, penalty: float, polarization: float) -> tf.Tensor:
    """The regularizer of the gates, a scalar: mean_i sum_j (penalty p_ij - polarization |p_ij -
    mean_j p_ij|) (equation 5; equation 4 at polarization 0).

    Args:
      p: Probabilities that gates are open, [B, M].
      penalty: lambda.
      polarization: Weight of the second part, 1 in the paper.
    """
    return tf.reduce_mean(tf.reduce_sum(penalty * p - polarization * distances(p), axis=1))


def distances(p: tf.Tensor) -> tf.Tensor:
    """The distance of every gate's probability from the mean of its row, |p_ij - mean_j p_ij|, [B,
    M]."""
    return tf.abs(p - tf.reduce_mean(p, axis=1, keepdims=True))


def first_valley(counts: tf.Tensor) -> tf.Tensor:
    """The bin of the first local minimum, from the left, of each row's histogram, [B] int32; -1
    where there is none.

    A local minimum is a bin (of a plateau, the leftmost one) that is lower than the bin before it
    and lower than the first different one after it. The outermost bins never count.

    Args:
      counts: The histograms, [B, bins] int32.
    """
    bins = counts.shape[1]
    # Whether the next different count to the right is larger, from the last bin on.
    rises = [tf.zeros_like(counts[:, 0], tf.bool)]
    for k in reversed(range(bins - 1)):
        here, there = counts[:, k], counts[:, k + 1]
        rises.append((there > here) | ((there == here) & rises[-1]))
    falls = tf.pad(counts[:, 1:] < counts[:, :-1], ((0, 0), (1, 0)))
    valleys = falls & tf.stack(rises[::-1], axis=1)
    return tf.where(
        tf.reduce_any(valleys, axis=1), tf.argmax(valleys, axis=1, output_type=tf.int32), -1
    )


class Selection(NamedTuple):
    """The deterministic gates of some rows.

    Args:
      open: Whether each gate is open, [B, M] bool.
      valley: Bin of the local minimum whose lower edge is the row's threshold, [B] int32; -1 for a
        row without a local minimum.
      closed: Whether no gate of the row reached the threshold, so that the gate of largest p was
        opened instead, [B] bool.
      histogram: Counts of the row's p by bin, [B, bins] int32.
      p: Probabilities of the gates, [B, M] float64.
    """

    open: tf.Tensor
    valley: tf.Tensor
    closed: tf.Tensor
    histogram: tf.Tensor
    p: tf.Tensor


def select(flat: tf.Tensor, kernel: tf.Tensor | None, bias: tf.Tensor, bins: int) -> Selection:
    """The deterministic gates of some rows (sections 3.3.2 and 3.3.3): a gate is open where its
    probability p is at least the row's threshold.

    The threshold is the lower edge of the first local minimum of the histogram of the row's p over
    [0, 1]. Without a local minimum it is 0.5, and where no gate is open then, those with the
    largest p are.

    Args:
      flat: Embeddings of each row side by side, [B, M].
      kernel, bias: W and b of the gates; see `gate_logits`.
      bins: Number of bins of the histogram.
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
    """The number of the centroid that is closest to each row by Euclidean distance, [B] int32; of
    equally close ones the first (section 3.5.2).

    Args:
      masked: Embeddings of each row, 0 where its gate is closed, [B, M].
      centroids: [C, M].
    """
    # In double precision, as in `select`. The row's own squared length, a part of its distance to
    # every centroid, is left out.
    masked, centroids = tf.cast(masked, tf.float64), tf.cast(centroids, tf.float64)
    products = tf.matmul(masked, centroids, transpose_b=True)
    squared = tf.reduce_sum(tf.square(centroids), axis=1) - 2.0 * products
    return tf.argmin(squared, axis=1, output_type=tf.int32)


def majority(frequency: np.ndarray, share: float) -> np.ndarray:
    """Columns whose gates are open in at least `share` of the rows; where there are none, the one
    that is open most often. [M] bool.

    Args:
      frequency: Share of the rows in which each gate is open, [M].
      share: In (0, 1].
    """
    kept = frequency >= share
    if not kept.any():
        kept[np.argmax(frequency)] = True
    return kept


def most_frequent(
    frequency: np.ndarray, probability: np.ndarray, costs: np.ndarray, budget: int
) -> np.ndarray:
    """The columns that are kept under a budget, [M] bool. They are taken by descending frequency,
    equal ones by descending probability; one that no longer fits is passed over.

    Args:
      frequency: Share of the rows in which each gate is open, [M].
      probability: Mean of each gate's p over the rows, [M].
      costs: Embedding parameters of each column, [M].
      budget: Most parameters of all kept columns together.
    """
    return take_while_fits(np.lexsort((-probability, -frequency)), costs, budget, fill=True)
