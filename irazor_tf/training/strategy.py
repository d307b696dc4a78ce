"""`tf.distribute` strategies by name."""

from __future__ import annotations

import functools

import tensorflow as tf


@functools.cache
def strategy_of(name: str) -> tf.distribute.Strategy | None:
    """The `tf.distribute` strategy of a name; equal names give the same object.

    A second strategy of the same name would use the same keys for its collective operations as the
    first.

    Args:
      name: "off" (no strategy, None), "one_device", or "mirrored" (all GPUs, or all logical CPU
        devices where there is no GPU).
    """
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(
            "/GPU:0" if tf.config.list_logical_devices("GPU") else "/CPU:0"
        )
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy(
            [device.name for device in tf.config.list_logical_devices(kind)]
        )
    return None
