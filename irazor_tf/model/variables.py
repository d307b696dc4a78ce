"""The groups into which a model's variables are divided, each with an optimizer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

GROUPS = ("bias", "network", "architecture")

# The loss of a batch, and by group the gradient of every variable: dense, `tf.IndexedSlices`, or
# None.
Gradients = tuple[tf.Tensor, dict[str, list[Any]]]


def grouped(
    layers: Sequence[keras.layers.Layer], trainable: Sequence[tf.Variable]
) -> dict[str, list[tf.Variable]]:
    """Group -> its trainable variables, in the order of the layers.

    Args:
      layers: Parts of a model. A part's attribute `group` says which group its variables are in;
        without one they are in "network".
      trainable: Every trainable variable of the model.

    Raises:
      ValueError: a variable is in two groups, or in none.
    """
    groups: dict[str, list[tf.Variable]] = {group: [] for group in GROUPS}
    group_of: dict[Any, str] = {}
    for layer in layers:
        group = getattr(layer, "group", "network")
        for variable in layer.trainable_variables:
            if variable.ref() in group_of:
                raise ValueError(
                    f"A variable should be in one group. Received: {variable.name} in "
                    f"{group_of[variable.ref()]} and {group}"
                )
            group_of[variable.ref()] = group
            groups[group].append(variable)
    lost = [variable.name for variable in trainable if variable.ref() not in group_of]
    if lost:
        raise ValueError(
            f"A trainable variable should be in one of the groups {', '.join(GROUPS)}. "
            f"Received: none for {', '.join(lost)}"
        )
    return groups


def densified(gradient: Any, variable: tf.Variable) -> tf.Tensor:
    """A variable's gradient as a tensor; zeros where it is None."""
    return tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
