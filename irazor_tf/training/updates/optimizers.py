"""Optimizers built from spec strings, with kernels that touch only the rows of a batch.

The legacy Keras optimizers are used because they reach `ResourceSparseApplyAdagradV2`, `...FtrlV2`
and sum repeated ids first; the newer FTRL takes twice as long (docs/measurements.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.checks import Range, inside
from irazor_tf.config.specs import parse_spec


class Adam(keras.optimizers.legacy.Adam):
    """Adam with the weight decay of PyTorch's: g + weight_decay * w takes the gradient's place in
    both moments.

    It is coupled: the moments see the decay, which is therefore scaled by them (AdamW subtracts it
    from the weight instead). A table decays in all its rows at every step, whichever rows the batch
    has looked up, as it does in PyTorch; so the update costs time in proportion to the table, as
    Adam's dense moments do anyhow.

    Args:
      weight_decay: Strength of the decay: this times a weight is added to the weight's gradient.
      arguments: Arguments of `tf_keras.optimizers.legacy.Adam`. With a decay, epsilon stands beside
        the corrected second moment, as in PyTorch: the gradient of a row that no batch looks up is
        its decay alone, often smaller than epsilon, and how fast such a row goes depends on it.
        Without a decay epsilon stays where Keras has it, beside a v without bias correction.
    """

    def __init__(self, weight_decay: float = 0.0, **arguments: Any):
        super().__init__(**arguments)
        self.weight_decay = weight_decay

    def _resource_apply_dense(
        self, grad: tf.Tensor, var: tf.Variable, apply_state: Any = None
    ) -> tf.Operation:
        if not self.weight_decay:
            return super()._resource_apply_dense(grad, var, apply_state)
        coefficients = self._coefficients(var, apply_state)
        return tf.raw_ops.ResourceApplyAdam(
            var=var.handle,
            m=self.get_slot(var, "m").handle,
            v=self.get_slot(var, "v").handle,
            beta1_power=coefficients["beta_1_power"],
            beta2_power=coefficients["beta_2_power"],
            lr=coefficients["lr_t"],
            beta1=coefficients["beta_1_t"],
            beta2=coefficients["beta_2_t"],
            epsilon=coefficients["epsilon"] * tf.sqrt(1.0 - coefficients["beta_2_power"]),
            grad=grad + self.weight_decay * var,
            use_locking=self._use_locking,
        )

    def _resource_apply_sparse(
        self, grad: tf.Tensor, var: tf.Variable, indices: tf.Tensor, apply_state: Any = None
    ) -> tf.Operation:
        if not self.weight_decay:
            return super()._resource_apply_sparse(grad, var, indices, apply_state)
        return self._resource_apply_dense(
            tf.scatter_nd(indices[:, None], grad, tf.shape(var, out_type=indices.dtype)),
            var,
            apply_state,
        )

    def _coefficients(self, var: tf.Variable, apply_state: Any) -> Any:
        """The numbers of the current step (rates, betas) that Keras has computed for this
        variable's device and type."""
        key = (var.device, var.dtype.base_dtype)
        return (apply_state or {}).get(key) or self._fallback_apply_state(*key)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"weight_decay": self.weight_decay}


class LazyAdam(Adam):
    """Adam that leaves the rows which a batch does not touch, and their moments, as they are.

    The dense form (`adam`) lets the moments of all rows decay and moves all rows in every step,
    which costs time in proportion to the table, and leads to other weights than this one
    (`lazy_adam`). Weight decay, too, applies to the touched rows only: a row decays as often as it
    is looked up, and one that is never looked up does not.
    """

    def _resource_apply_sparse(
        self, grad: tf.Tensor, var: tf.Variable, indices: tf.Tensor, apply_state: Any = None
    ) -> tf.Operation:
        coefficients = self._coefficients(var, apply_state)
        epsilon = coefficients["epsilon"]
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        if self.weight_decay:
            grad += self.weight_decay * tf.gather(var, indices)
            epsilon *= tf.sqrt(1.0 - coefficients["beta_2_power"])
        m_rows = (
            coefficients["beta_1_t"] * tf.gather(m, indices)
            + coefficients["one_minus_beta_1_t"] * grad
        )
        v_rows = coefficients["beta_2_t"] * tf.gather(v, indices) + coefficients[
            "one_minus_beta_2_t"
        ] * tf.square(grad)
        step = coefficients["lr"] * m_rows / (tf.sqrt(v_rows) + epsilon)
        return tf.group(
            self._resource_scatter_update(m, indices, m_rows),
            self._resource_scatter_update(v, indices, v_rows),
            self._resource_scatter_add(var, indices, -step),
        )

    def _resource_scatter_update(self, x: tf.Variable, i: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.ResourceScatterUpdate(resource=x.handle, indices=i, updates=v)


class _Kind(NamedTuple):
    """The description of an optimizer.

    Args:
      make: Its class.
      described: Classes whose signatures name its arguments.
      without: Arguments in those signatures that the optimizer does not take.
    """

    make: Any
    described: tuple[Any, ...]
    without: tuple[str, ...] = ()


_LEGACY = keras.optimizers.legacy
_OPTIMIZERS: Mapping[str, _Kind] = {
    "adagrad": _Kind(_LEGACY.Adagrad, (_LEGACY.Adagrad,)),
    "adam": _Kind(Adam, (_LEGACY.Adam, Adam)),
    "ftrl": _Kind(_LEGACY.Ftrl, (_LEGACY.Ftrl,)),
    # Its rows' update has no amsgrad.
    "lazy_adam": _Kind(LazyAdam, (_LEGACY.Adam, Adam), without=("amsgrad",)),
    "sgd": _Kind(_LEGACY.SGD, (_LEGACY.SGD,)),
}


# A rate of thousands may make up for a loss that is a mean over a batch where a paper sums; beyond
# that every optimizer here diverges. Strengths end where float32 still holds their product with a
# weight.
_STRENGTH = Range(0, 1e10, False, False, "lie in [0, 1e+10]")
_SHARE = inside(0, 1, "[)")
_RANGES: Mapping[str, Range] = {
    "learning_rate": inside(0, 10_000, "(]"),
    "beta_1": _SHARE,
    "beta_2": _SHARE,
    "momentum": _SHARE,
    "epsilon": inside(1e-30, 10_000),  # for 0 Keras silently takes its default
    "initial_accumulator_value": _STRENGTH,
    "weight_decay": _STRENGTH,
    "l1_regularization_strength": _STRENGTH,
    "l2_regularization_strength": _STRENGTH,
    "l2_shrinkage_regularization_strength": _STRENGTH,
    "beta": _STRENGTH,
    "learning_rate_power": inside(-10, 0),
}
_SWITCHES = ("amsgrad", "nesterov")


def make_optimizer(spec: str) -> keras.optimizers.legacy.Optimizer:
    """Builds an optimizer from a spec such as ``adagrad(learning_rate=0.02,
    initial_accumulator_value=1e-8)``.

    Names: adagrad, adam (dense moments), lazy_adam (moments of the touched rows), ftrl, sgd;
    arguments are those of `tf_keras.optimizers.legacy`, and for the two forms of Adam
    `weight_decay` (see `Adam`).

    Raises:
      ValueError: unknown name or argument (the message lists those that exist), or a value out of
        its range.
    """
    parsed = parse_spec(spec)
    if parsed.name not in _OPTIMIZERS:
        raise ValueError(
            f"An optimizer should be one of {', '.join(sorted(_OPTIMIZERS))}. Received: "
            f"{parsed.name!r}"
        )
    if parsed.operands:
        raise ValueError(f"An optimizer takes named arguments only. Received: {spec!r}")
    kind = _OPTIMIZERS[parsed.name]
    for key, value in parsed.arguments:
        _check_argument(parsed.name, kind, key, value)
    return kind.make(**dict(parsed.arguments))


def _check_argument(optimizer: str, kind: _Kind, key: str, value: Any) -> None:
    """Raises ValueError where an optimizer has no argument of this name, or where the value is out
    of range.

    Args:
      optimizer: Name of the optimizer.
      kind: Its description.
      key, value: Name and value of the argument.
    """
    signatures = [inspect.signature(described.__init__).parameters for described in kind.described]
    known = [
        name
        for signature in signatures
        for name in signature
        if name in (*_RANGES, *_SWITCHES) and name not in kind.without
    ]
    if key not in known:
        raise ValueError(
            f"An argument of optimizer {optimizer!r} should be one of {', '.join(known)}. "
            f"Received: {key!r}"
        )
    if key in _SWITCHES:
        if not isinstance(value, bool):
            raise ValueError(
                f"`{key}` of optimizer {optimizer!r} should be True or False. Received: {value!r}"
            )
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(
            f"`{key}` of optimizer {optimizer!r} should be a number. Received: {value!r}"
        )
    # Variables are float32, in which .99999999999 is 1.
    elif value not in _RANGES[key] or np.float32(value) not in _RANGES[key]:
        raise ValueError(
            f"`{key}` of optimizer {optimizer!r} should {_RANGES[key].words}. Received: {value!r}"
        )
