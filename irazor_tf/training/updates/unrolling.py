"""The exact second-order gradient of a bi-level step: through one virtual step of the weights
(DNIS, equations 6 and 7; DARTS, equation 6).

With weights W and architecture A, the virtual step is W' = W - xi grad_W L_train(W, A) and the
gradient that A descends is, with v = grad_W' L_valid(W', A) held constant,

    grad_A L_valid(W', A) - xi d/dA <grad_W L_train(W, A), v>.

Of an embedding table only the rows that the batch touches are moved and put back, from a copy, so
that they are bit for bit what they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from irazor_tf.model.variables import Gradients, densified


class Differentiable(Protocol):
    """The attributes and methods of a model that this module uses; `Recommender` has them all."""

    variable_groups: dict[str, list[tf.Variable]]

    def moving(self, groups: Sequence[str]) -> list[str]:
        """Those of the groups that have variables and are not frozen."""

    def moving_variables(self, group: str) -> list[tf.Variable]:
        """The group's variables, without those of frozen parts of the model."""

    def gradients(self, batch: Mapping[str, tf.Tensor], groups: Sequence[str]) -> Gradients:
        """Loss of a batch, and this replica's share of the gradient, by group of variables."""


def unrolled_gradients(
    model: Differentiable, train: Mapping[str, tf.Tensor], valid: Mapping[str, tf.Tensor], xi: float
) -> Gradients:
    """Loss of the validation batch at the virtual weights W', and this replica's share of the
    architecture's gradient as a dense tensor, under the key "architecture".

    Args:
      model: The model, in a replica context; its weights and optimizers are afterwards as before.
      train: Batch of the virtual step.
      valid: Batch of the architecture.
      xi: Size of the virtual step.
    """
    architecture = model.variable_groups["architecture"]
    loss, at_virtual, direct = _at_virtual_weights(model, train, valid, xi)
    constants = _summed(at_virtual)
    with tf.GradientTape() as tape:
        _, inner, _ = _weight_gradients(model, train)
        products = [
            _inner_product(gradient, constant)
            for gradient, constant in zip(inner, constants, strict=True)
            if gradient is not None and constant is not None
        ]
        # Where no weight moves there are no products, and their sum is 0.
        product = tf.add_n([tf.constant(0.0), *products])
    mixed = tape.gradient(product, architecture)
    return loss, {
        "architecture": [
            densified(a, variable) - xi * densified(b, variable)
            for variable, a, b in zip(architecture, direct, mixed, strict=True)
        ]
    }


def _at_virtual_weights(
    model: Differentiable, train: Mapping[str, tf.Tensor], valid: Mapping[str, tf.Tensor], xi: float
) -> tuple[tf.Tensor, list[Any], list[Any]]:
    """Loss of the validation batch at W' = W - xi grad_W L_train(W, A), and there its gradients in
    the weights and in the architecture; the weights go back to W."""
    _, downhill, _ = _weight_gradients(model, train)
    moves = [
        (variable, gradient)
        for variable, gradient in zip(_moving_weights(model), _summed(downhill), strict=True)
        if gradient is not None
    ]
    copies = [_copy(variable, gradient) for variable, gradient in moves]
    _assign(moves, lambda variable, gradient: _subtract(variable, gradient, xi))
    loss, at_virtual, direct = _weight_gradients(model, valid, ("architecture",))
    # The second pass has to be over before the weights go back.
    second_pass = [part for gradient in (*at_virtual, *direct) for part in _tensors(gradient)]
    with tf.control_dependencies(second_pass):
        _assign(list(zip([variable for variable, _ in moves], copies, strict=True)), _restore)
    return loss, at_virtual, direct


def _moving_weights(model: Differentiable) -> list[tf.Variable]:
    groups = model.moving(("bias", "network"))
    return [variable for group in groups for variable in model.moving_variables(group)]


def _weight_gradients(
    model: Differentiable, batch: Mapping[str, tf.Tensor], others: Sequence[str] = ()
) -> tuple[tf.Tensor, list[Any], list[Any]]:
    """Loss of a batch, and its gradients.

    Args:
      model: The model.
      batch: The batch.
      others: Groups of variables to differentiate by, beside those of the weights: "architecture"
        or none.

    Returns:
      The loss, the gradients in the trained weights, and those in the architecture (an empty list
      where `others` does not name it).
    """
    groups = model.moving(("bias", "network"))
    loss, by_group = model.gradients(batch, [*groups, *others])
    by_variable = {
        variable.ref(): gradient
        for group in groups
        for variable, gradient in zip(model.variable_groups[group], by_group[group], strict=True)
    }
    of_weights = [by_variable[variable.ref()] for variable in _moving_weights(model)]
    return loss, of_weights, by_group.get("architecture", [])


def _replicas() -> int:
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context is not None else 1


def _summed(gradients: Sequence[Any]) -> list[Any]:
    """Every gradient summed over replicas; None stays."""
    if _replicas() == 1:
        return list(gradients)
    context, summed = tf.distribute.get_replica_context(), []
    for gradient in gradients:
        if isinstance(gradient, tf.IndexedSlices):
            # The rows of all replicas behind each other: their sum, rows may be there twice.
            values = context.all_gather(gradient.values, 0)
            indices = context.all_gather(gradient.indices, 0)
            summed.append(tf.IndexedSlices(values, indices, gradient.dense_shape))
        elif gradient is None:
            summed.append(None)
        else:
            summed.append(context.all_reduce(tf.distribute.ReduceOp.SUM, gradient))
    return summed


def _tensors(gradient: Any) -> list[tf.Tensor]:
    if isinstance(gradient, tf.IndexedSlices):
        return [gradient.values]
    return [] if gradient is None else [gradient]


def _copy(variable: tf.Variable, gradient: Any) -> Any:
    """A copy of what a step by `gradient` changes of a variable: the touched rows, or all of it."""
    if isinstance(gradient, tf.IndexedSlices):
        rows, _ = tf.unique(gradient.indices)
        return tf.IndexedSlices(tf.gather(variable, rows), rows)
    return tf.identity(variable)


def _subtract(variable: tf.Variable, gradient: Any, xi: float) -> tf.Operation:
    if isinstance(gradient, tf.IndexedSlices):
        return variable.scatter_sub(tf.IndexedSlices(xi * gradient.values, gradient.indices))
    return variable.assign_sub(xi * gradient)


def _restore(variable: tf.Variable, copy: Any) -> tf.Operation:
    if isinstance(copy, tf.IndexedSlices):
        return variable.scatter_update(copy)
    return variable.assign(copy)


def _assign(
    pairs: Sequence[tuple[tf.Variable, Any]], change: Callable[[tf.Variable, Any], Any]
) -> None:
    """Calls `change` for every pair of a variable and a value. With several replicas, each replica
    changes its own copy of the variable by its own value, which is the same in all."""
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
    """The inner product <gradient, constant>, a scalar that is differentiable in the first
    argument."""
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.reduce_sum(gradient * tf.stop_gradient(tf.convert_to_tensor(constant)))
    return tf.reduce_sum(gradient.values * tf.stop_gradient(_rows(constant, gradient.indices)))


def _rows(gradient: Any, wanted: tf.Tensor) -> tf.Tensor:
    """The wanted rows of a gradient, zeros for rows that it does not have; entries of the gradient
    for the same row are summed.

    Args:
      gradient: A dense tensor or `tf.IndexedSlices`.
      wanted: Numbers of the rows.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.gather(gradient, wanted)
    rows, place = tf.unique(gradient.indices)
    summed = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    order = tf.argsort(rows)
    ascending = tf.gather(rows, order)
    nearest = tf.minimum(tf.searchsorted(ascending, wanted), tf.size(rows) - 1)
    values = tf.gather(summed, tf.gather(order, nearest))
    has_row = tf.equal(tf.gather(ascending, nearest), wanted)
    return tf.where(has_row[:, tf.newaxis], values, 0.0)
