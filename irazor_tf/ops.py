"""Pure TensorFlow functions used by layers: seeds, noise that does not depend on how the batch is spread."""

from __future__ import annotations

import zlib

import tensorflow as tf


def seed_of(seed: int, *names: object) -> int:
    """A seed derived from `seed` and a path of names: equal on every machine and Python version."""
    return zlib.crc32("/".join(map(str, (seed, *names))).encode()) & 0x7FFFFFFF


def batch_uniform(shape: tf.Tensor, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Uniform numbers in [0, 1) for the rows of this replica; a pure function of (seed, step, row in the global batch).

    Args:
      shape: [B_local, ...], the shape wanted on this replica.
      seed: which noise.
      step: the training step, scalar int64.

    Returns:
      float32 of that shape; the replicas' parts together are what one replica with the whole batch would draw.
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context is not None else 1
    seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
    if replicas == 1:
        return tf.random.stateless_uniform(shape, seeds)
    rows = shape[0]
    whole = tf.random.stateless_uniform(tf.concat([[rows * replicas], shape[1:]], 0), seeds)
    start = tf.cast(context.replica_id_in_sync_group, rows.dtype) * rows
    return whole[start : start + rows]
