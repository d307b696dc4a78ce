"""Optimizers by spec string, on the kernels that touch only the rows of a batch.

The legacy Keras optimizers are used because they reach `ResourceSparseApplyAdagradV2`, `...FtrlV2` and sum repeated ids first; the
newer FTRL takes twice as long (measured in BUILD_NOTES.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from irazor_tf.registry import parse_spec

GROUPS = ("bias", "network", "architecture")


class LazyAdam(keras.optimizers.legacy.Adam):
    """Adam that leaves the rows (and their moments) alone which a batch does not touch.

    The dense form lets the moments of all rows decay and moves all rows in every step, which costs time in proportion to the table
    and follows another trajectory; both are offered, as `adam` and `lazy_adam`.
    """

    def _resource_apply_sparse(self, grad: tf.Tensor, var: tf.Variable, indices: tf.Tensor, apply_state: Any = None) -> tf.Operation:
        coefficients = (apply_state or {}).get((var.device, var.dtype.base_dtype)) or self._fallback_apply_state(
            var.device, var.dtype.base_dtype
        )
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        m_rows = coefficients["beta_1_t"] * tf.gather(m, indices) + coefficients["one_minus_beta_1_t"] * grad
        v_rows = coefficients["beta_2_t"] * tf.gather(v, indices) + coefficients["one_minus_beta_2_t"] * tf.square(grad)
        step = coefficients["lr"] * m_rows / (tf.sqrt(v_rows) + coefficients["epsilon"])
        return tf.group(
            self._resource_scatter_update(m, indices, m_rows),
            self._resource_scatter_update(v, indices, v_rows),
            self._resource_scatter_add(var, indices, -step),
        )

    def _resource_scatter_update(self, x: tf.Variable, i: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.ResourceScatterUpdate(resource=x.handle, indices=i, updates=v)


_OPTIMIZERS: Mapping[str, Any] = {
    "adagrad": keras.optimizers.legacy.Adagrad,
    "adam": keras.optimizers.legacy.Adam,
    "ftrl": keras.optimizers.legacy.Ftrl,
    "lazy_adam": LazyAdam,
    "sgd": keras.optimizers.legacy.SGD,
}


def make_optimizer(spec: str) -> keras.optimizers.legacy.Optimizer:
    """Builds an optimizer from a spec such as ``adagrad(learning_rate=0.02, initial_accumulator_value=1e-8)``.

    Names: adagrad, adam (dense moments), lazy_adam (moments of the touched rows), ftrl, sgd; arguments are those of
    `tf_keras.optimizers.legacy`.

    Raises:
      ValueError: unknown name or argument; the message lists those that exist.
    """
    parsed = parse_spec(spec)
    if parsed.name not in _OPTIMIZERS:
        raise ValueError(f"An optimizer should be one of {', '.join(sorted(_OPTIMIZERS))}. Received: {parsed.name!r}")
    entry = _OPTIMIZERS[parsed.name]
    described = keras.optimizers.legacy.Adam if entry is LazyAdam else entry
    known = [name for name in inspect.signature(described.__init__).parameters if name not in ("self", "kwargs")]
    for key, value in parsed.arguments:
        if key not in known:
            raise ValueError(f"An argument of optimizer {parsed.name!r} should be one of {', '.join(known)}. Received: {key!r}")
        if key != "name" and (isinstance(value, str | tuple) or value is None):
            raise ValueError(f"`{key}` of optimizer {parsed.name!r} should be a number or a truth value. Received: {value!r}")
    return entry(**dict(parsed.arguments))
