"""The equations of HAM as functions of tensors and arrays, without any state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.search.selection import take_while_fits


def soft_orthogonality(table: tf.Tensor) -> tf.Tensor:
    """The penalty of a table V [rows, d] in equation 1, |V^T V - I|_F^2 / d^2: how far its columns
    are from orthonormal ones."""
    dim = table.shape[1]
    products = tf.matmul(table, table, transpose_a=True)
    return tf.reduce_sum(tf.square(products - tf.eye(dim))) / dim**2


def cosine_orthogonality(table: tf.Tensor) -> tf.Tensor:
    """The penalty of a table in equation 1 after its columns are scaled to length 1: the sum of the
    squared cosines between them (section 3.2)."""
    return soft_orthogonality(tf.math.l2_normalize(table, axis=0))


def indicator(alpha: tf.Tensor) -> tf.Tensor:
    """The hard mask 1 where alpha > 0, else 0 (also at alpha = 0); the gradient passes through
    unchanged (equation 2)."""
    return _straight_through(tf.cast(alpha > 0, alpha.dtype), alpha)


def bernoulli(p: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """A random mask that is 1 with probability p: 1 where u < p, else 0; the gradient in p passes
    through unchanged (Table 1).

    Args:
      p: Probabilities.
      u: Uniform random numbers of the same shape.
    """
    return _straight_through(tf.cast(u < p, p.dtype), p)


def gumbel_sigmoid(alpha: tf.Tensor, u: tf.Tensor, temperature: float) -> tf.Tensor:
    """The soft random mask sigmoid((log(alpha / (1 - alpha)) + log(u / (1 - u))) / temperature)
    (section 4.2).

    Args:
      alpha: Parameters in (0, 1).
      u: Uniform random numbers in (0, 1), of the same shape.
      temperature: Above 0; the smaller, the closer the mask is to 0 or 1.
    """
    return tf.sigmoid((_log_odds(alpha) + _log_odds(u)) / temperature)


def some_open(mask: tf.Tensor) -> tf.Tensor:
    """Whether each field has an open column, 1 - prod_j (1 - mask_ij): [N, D] -> [N]. Where `mask`
    holds probabilities, the result is the probability of that."""
    return 1.0 - tf.reduce_prod(1.0 - mask, axis=1)


def _straight_through(value: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    return value + (alpha - tf.stop_gradient(alpha))  # an exact 0


def _log_odds(p: tf.Tensor) -> tf.Tensor:
    return tf.math.log(p) - tf.math.log1p(-p)


def leading(alpha: np.ndarray, costs: np.ndarray, limit: int) -> np.ndarray:
    """The columns of largest alpha, up to the first that would bring their costs above a limit; of
    equal alphas the first column is taken first.

    Where the column of largest alpha alone costs too much, only one column is taken: the one of
    largest alpha that fits.

    Args:
      alpha: [N, D].
      costs: What a column counts, [N, D] whole numbers, 0 in padding.
      limit: Most that the columns taken may count together.

    Returns:
      [N, D] bool; nothing where no column fits.
    """
    flat = costs.ravel()
    ranked = np.argsort(np.where(costs > 0, -alpha, np.inf), axis=None, kind="stable")
    order = ranked[: np.count_nonzero(costs)]
    kept = take_while_fits(order, flat, limit)
    if not kept.any():
        kept[order[flat[order] <= limit][:1]] = True
    return kept.reshape(costs.shape)


def settled(
    history: Sequence[Mapping[str, float]],
    size: int,
    tolerance: float,
    metric: str,
    direction: int,
    min_gain: float,
) -> bool:
    """Whether the search may stop: the last epoch ended near the wanted size, and its metric is no
    gain over the best earlier epoch that also did (section 3.3).

    Epochs far from the size do not count: a model that has masked little yet scores higher, but is
    too large.

    Args:
      history: A record per epoch, with "size" and the metric.
      size: s, the wanted size.
      tolerance: Share of `size` by which an epoch may differ from it and still count as near.
      metric, direction: The validation metric, and whether it is to grow (1) or to fall (-1).
      min_gain: Least change in that direction that counts as a gain.
    """
    values = [
        direction * record[metric] if abs(record["size"] - size) <= tolerance * size else -np.inf
        for record in history
    ]
    return len(values) > 1 and values[-1] > -np.inf and values[-1] < max(values[:-1]) + min_gain


def column_params(schema: Schema, config: InputConfig) -> np.ndarray:
    """Number of embedding parameters of every column, [N, D] int64, 0 in padding."""
    params = np.zeros((config.num_fields, config.max_dim), np.int64)
    params[config.slots] = config.column_params(schema)
    return params


def chosen(config: InputConfig, kept: np.ndarray) -> InputConfig:
    """`config` with only the columns where `kept` [N, D] is true; masks of entries are kept for
    these columns."""
    return dataclasses.replace(config.with_columns(kept[config.slots]), aligned=config.aligned)


def column_cosines(table: np.ndarray) -> np.ndarray:
    """Absolute cosines between the columns of a table: [rows, d] -> [d, d]; 0 for a column of
    zeros."""
    lengths = np.linalg.norm(table.astype(np.float64), axis=0)
    return np.abs(table.T @ table) / np.maximum(
        np.outer(lengths, lengths), np.finfo(np.float64).tiny
    )
