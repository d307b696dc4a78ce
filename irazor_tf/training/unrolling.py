"""The exact second-order gradient of a bi-level step: through one virtual step of the weights
(DNIS, equations 6 and 7; DARTS, equation 6).

With weights W and architecture A, the virtual step is W' = W - xi grad_W L_train(W, A) and the
gradient that A descends is

    grad_A L_valid(W', A) - xi d/dA <grad_W L_train(W, A), v>,   v = grad_W' L_valid(W', A) held constant.

Of an embedding table only the rows that the batch touches are moved and put back, from a copy, so
that they are bit for bit what they were."""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from irazor_tf.model.variables import Gradients


class Differentiable(Protocol):
    """What is needed of a model."""

    variable_groups: dict[str, list[tf.Variable]]

    def moving(self, groups: Sequence[str]) -> list[str]:
        """Those of the groups that move."""

    def moving_variables(self, group: str) -> list[tf.Variable]:
        """Those of the group's variables that move."""

    def gradients(self, batch: Mapping[str, tf.Tensor], groups: Sequence[str]) -> Gradients:
        """Loss and this replica's share of the gradient, by group."""


def unrolled_gradients(
    model: Differentiable, train: Mapping[str, tf.Tensor], valid: Mapping[str, tf.Tensor], xi: float
) -> Gradients:
    """Loss of the validation batch at the virtual weights, and this replica's share of the
    architecture's gradient, dense.

    Args:
      model: in a replica context; its weights and optimizers end as they were.
      train: batch of the virtual step.
      valid: batch of the architecture.
      xi: size of the virtual step.
    """
    groups = model.moving(("bias", "network"))
    weights = [variable for group in groups for variable in model.moving_variables(group)]
    architecture = model.variable_groups["architecture"]

    def weight_gradients(
        batch: Mapping[str, tf.Tensor], more: Sequence[str] = ()
    ) -> tuple[tf.Tensor, list[Any], list[Any]]:
        loss, found = model.gradients(batch, [*groups, *more])
        by_variable = {
            v.ref(): g
            for group in groups
            for v, g in zip(model.variable_groups[group], found[group], strict=True)
        }
        return (
            loss,
            [by_variable[variable.ref()] for variable in weights],
            found.get("architecture", []),
        )

    _, downhill, _ = weight_gradients(train)
    moves = [
        (variable, gradient)
        for variable, gradient in zip(weights, _summed(downhill), strict=True)
        if gradient is not None
    ]
    kept = [_copy(variable, gradient) for variable, gradient in moves]
    _assign(moves, lambda variable, gradient: _subtract(variable, gradient, xi))
    loss, at_virtual, direct = weight_gradients(valid, ("architecture",))
    # The second pass has to be over before the weights go back.
    with tf.control_dependencies(
        [part for gradient in (*at_virtual, *direct) for part in _tensors(gradient)]
    ):
        _assign(list(zip([variable for variable, _ in moves], kept, strict=True)), _restore)
    at_virtual = _summed(at_virtual)
    with tf.GradientTape() as tape:
        _, inner, _ = weight_gradients(train)
        pairs = [
            (a, b)
            for a, b in zip(inner, at_virtual, strict=True)
            if a is not None and b is not None
        ]
        product = tf.add_n(
            [tf.constant(0.0), *(_inner_product(a, b) for a, b in pairs)]
        )  # 0 where no weight moves
    mixed = tape.gradient(product, architecture)
    found = []
    for variable, a, b in zip(architecture, direct, mixed, strict=True):
        dense = [
            tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
            for gradient in (a, b)
        ]
        found.append(dense[0] - xi * dense[1])
    return loss, {"architecture": found}


def _replicas() -> int:
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context is not None else 1


def _summed(gradients: Sequence[Any]) -> list[Any]:
    """Every gradient summed over replicas; None stays."""
    if _replicas() == 1:
        return list(gradients)
    context, found = tf.distribute.get_replica_context(), []
    for gradient in gradients:
        if isinstance(gradient, tf.IndexedSlices):
            # The rows of all replicas behind each other: their sum, rows may be there twice.
            values, indices = (
                context.all_gather(gradient.values, 0),
                context.all_gather(gradient.indices, 0),
            )
            found.append(tf.IndexedSlices(values, indices, gradient.dense_shape))
        else:
            found.append(
                None
                if gradient is None
                else context.all_reduce(tf.distribute.ReduceOp.SUM, gradient)
            )
    return found


def _tensors(gradient: Any) -> list[tf.Tensor]:
    if isinstance(gradient, tf.IndexedSlices):
        return [gradient.values]
    return [] if gradient is None else [gradient]


def _copy(variable: tf.Variable, gradient: Any) -> Any:
    """What of a variable a step by `gradient` changes: touched rows, or all of it."""
    if isinstance(gradient, tf.IndexedSlices):
        rows, _ = tf.unique(gradient.indices)
        return tf.IndexedSlices(tf.gather(variable, rows), rows)
    return tf.identity(variable)


def _subtract(variable: tf.Variable, gradient: Any, xi: float) -> tf.Operation:
    if isinstance(gradient, tf.IndexedSlices):
        return variable.scatter_sub(tf.IndexedSlices(xi * gradient.values, gradient.indices))
    return variable.assign_sub(xi * gradient)


def _restore(variable: tf.Variable, kept: Any) -> tf.Operation:
    return (
        variable.scatter_update(kept)
        if isinstance(kept, tf.IndexedSlices)
        else variable.assign(kept)
    )


def _assign(
    pairs: Sequence[tuple[tf.Variable, Any]], change: Callable[[tf.Variable, Any], Any]
) -> None:
    """`change`s every variable by its value, each replica its own
    copy by its own (equal) values."""
    if _replicas() == 1:
        for variable, value in pairs:
            change(variable, value)
        return
    variables = [variable for variable, _ in pairs]

    def update(strategy: tf.distribute.Strategy, *values: Any) -> None:
        for variable, value in zip(variables, values, strict=True):
            strategy.extended.update(variable, change, args=(value,), group=False)

    tf.distribute.get_replica_context().merge_call(update, args=tuple(value for _, value in pairs))


def _inner_product(gradient: Any, constant: Any) -> tf.Tensor:
    """<gradient, constant>, differentiable in the first."""
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.reduce_sum(gradient * tf.stop_gradient(tf.convert_to_tensor(constant)))
    return tf.reduce_sum(gradient.values * tf.stop_gradient(_rows(constant, gradient.indices)))


def _rows(gradient: Any, wanted: tf.Tensor) -> tf.Tensor:
    """Rows of a gradient, zero where it has none; equal rows of its slices are summed."""
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.gather(gradient, wanted)
    rows, place = tf.unique(gradient.indices)
    summed = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    order = tf.argsort(rows)
    ascending = tf.gather(rows, order)
    at = tf.minimum(tf.searchsorted(ascending, wanted), tf.size(rows) - 1)
    found = tf.gather(summed, tf.gather(order, at))
    there = tf.equal(tf.gather(ascending, at), wanted)
    return tf.where(there[:, tf.newaxis], found, 0.0)
