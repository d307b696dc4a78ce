"""`tf.distribute` strategies by name."""

from __future__ import annotations

import functools

import tensorflow as tf


@functools.cache
def strategy_of(name: str) -> tf.distribute.Strategy | None:
    """The `tf.distribute` strategy called `name`, None for "off"; "mirrored" takes all GPUs, or all
    logical CPU devices where there is no GPU.

    A process has one strategy of a name: the collective operations of a second one would take the
    keys of the first one's."""
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
