"""Noise that is a pure function of seed, step and row, and so does not depend on how a batch is
spread over replicas, nor on whether a run was resumed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import tensorflow as tf

from irazor_tf.config.seeds import seed_of


class _Part(threading.local):
    number = 0


# By thread: replicas are traced in threads of their own.
_part = _Part()


@contextlib.contextmanager
def part_of_step(number: int) -> Iterator[None]:
    """A context for one of several batches that a step learns from: the noise that is drawn inside
    depends on the batch's number, too. Without it, all batches of a step would draw the same noise.

    Args:
      number: Number of the batch within its step, from 0.
    """
    before, _part.number = _part.number, number
    try:
        yield
    finally:
        _part.number = before


def batch_uniform(shape: tf.Tensor, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Uniform numbers in [0, 1) for the rows of this replica; a pure function of (seed, step, batch
    of the step, row in the global batch).

    Args:
      shape: [B_local, ...], the shape on this replica.
      seed: Seed of the noise.
      step: Number of the training step, scalar int64.

    Returns:
      float32 of that shape; the replicas' parts together are what one replica with the whole batch
      would draw.
    """
    return _batch_draw(shape, seed, step)


def batch_dropout(x: tf.Tensor, rate: float, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Dropout: x_ij keep_ij / (1 - rate), keep_ij a pure function of (seed, step, row in the global
    batch, column).

    A unit costs 16 random bits, half as many as a number of `batch_uniform`; the rate is rounded to
    a multiple of 2^-16 and the kept units are divided by what is left exactly.

    Args:
      x: [B_local, D].
      rate: Share of units set to zero, in [0, 1).
      seed: Seed of the noise.
      step: Number of the training step, scalar int64.

    Returns:
      [B_local, D], of the type of `x`.
    """
    below = min(round(rate * 2**16), 2**16 - 1)
    shape = tf.shape(x)
    words = _batch_draw(tf.stack([shape[0], (shape[1] + 1) // 2]), seed, step, tf.uint32)
    draws = tf.reshape(tf.bitcast(words, tf.uint16), [shape[0], -1])[:, : shape[1]]
    keep = tf.cast(draws >= tf.constant(below, tf.uint16), x.dtype)
    return x * (keep * (1.0 / (1.0 - below / 2**16)))


def _batch_draw(
    shape: tf.Tensor, seed: int, step: tf.Tensor, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context is not None else 1
    if _part.number:
        seed = seed_of(seed, "part", _part.number)
    seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
    bounds = {} if dtype.is_floating else {"minval": None, "maxval": None}  # integers: all bits
    if replicas == 1:
        return tf.random.stateless_uniform(shape, seeds, dtype=dtype, **bounds)
    rows = shape[0]
    whole = tf.random.stateless_uniform(
        tf.concat([[rows * replicas], shape[1:]], 0), seeds, dtype=dtype, **bounds
    )
    start = tf.cast(context.replica_id_in_sync_group, rows.dtype) * rows
    return whole[start : start + rows]
