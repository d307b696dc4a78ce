"""One update of a model from a batch: loss, penalties and gradients by group of variables, and the
step of each group's optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from irazor_tf.embedding.tables import FieldEmbedding
from irazor_tf.evaluation.task import Task
from irazor_tf.model.gate import Gate
from irazor_tf.model.variables import GROUPS, Gradients, densified
from irazor_tf.model.weight_penalties import WeightPenalties

Batch = Mapping[str, tf.Tensor]
MakeGradients = Callable[[Batch, Sequence[str]], Gradients]


class Descendable(Protocol):
    """The attributes and methods of a model that `gradients` and `descend` use; `Recommender` has
    them all."""

    task: Task
    gates: dict[str, Gate]
    embedding: FieldEmbedding | None
    weight_penalties: WeightPenalties
    optimizers: dict[str, Any]
    variable_groups: dict[str, list[tf.Variable]]
    forward: Callable[[tf.Tensor, bool], Any]
    kept_ids: Callable[[tf.Tensor], tf.Tensor]
    record_penalties: Callable[[Mapping[str, tf.Tensor]], None]
    moving: Callable[[Sequence[str]], list[str]]
    moving_variables: Callable[[str], list[tf.Variable]]
    gradients: Callable[..., Gradients]


def gradients(
    model: Descendable,
    batch: Batch,
    groups: Sequence[str],
    *,
    training: bool,
    penalties: float,
    record: bool,
) -> Gradients:
    """Loss and gradients of a batch.

    Args:
      model, batch, groups, training, penalties, record: see `Recommender.gradients`.

    Returns:
      Mean loss, and group -> gradient of each of its variables.
    """
    replicas = _replicas()
    variables = [variable for group in groups for variable in model.variable_groups[group]]
    with tf.GradientTape(persistent=True) as tape:
        forward = model.forward(batch["ids"], training)
        loss = tf.reduce_mean(model.task.loss(batch["label"], forward.logits))
        rows, linear = forward.rows, forward.inputs.linear
        l2 = model.weight_penalties.l2(rows, linear)
        ridge = model.weight_penalties.ridge(batch["ids"], rows, linear)
        total = (loss + l2 + ridge) / replicas
        gated = _gate_penalties(model, batch["ids"], forward.padded) if penalties else {}
        scaled = {group: value * (penalties / replicas) for group, value in gated.items()}
    if record:
        model.record_penalties(gated)
    of_loss = iter(tape.gradient(total, variables))
    by_group: dict[str, list[Any]] = {}
    for group in groups:
        by_group[group] = [next(of_loss) for _ in model.variable_groups[group]]
        if group in scaled:
            of_penalty = tape.gradient(scaled[group], model.variable_groups[group])
            by_group[group] = [_add(a, b) for a, b in zip(by_group[group], of_penalty, strict=True)]
    del tape
    return loss, by_group


def descend(
    model: Descendable,
    batch: Batch,
    groups: Sequence[str],
    *,
    penalties: float,
    make_gradients: MakeGradients | None,
) -> tf.Tensor:
    """One update of some groups of variables from one batch; returns the loss without penalties.

    Args:
      model, batch, groups, penalties: see `Recommender.descend`.
      make_gradients: The argument `gradients` of `Recommender.descend`.
    """
    moving = model.moving(groups)
    loss, by_group = (
        make_gradients(batch, moving)
        if make_gradients
        else model.gradients(batch, moving, penalties=penalties, record=True)
    )
    for group in moving:
        if group == "architecture":
            _update_architecture(model, by_group[group])
            continue
        free = {variable.ref() for variable in model.moving_variables(group)}
        pairs = zip(by_group[group], model.variable_groups[group], strict=True)
        model.optimizers[group].apply_gradients(
            [pair for pair in pairs if pair[0] is not None and pair[1].ref() in free]
        )
    return loss


def _replicas() -> int:
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context is not None else 1


def _gate_penalties(
    model: Descendable, ids: tf.Tensor, padded: tf.Tensor | None
) -> dict[str, tf.Tensor]:
    """The penalties of all gates, summed for each group of variables that they act on.

    Args:
      model: The model with the gates.
      ids: [B, number of fields in the schema].
      stacked: [B, N, D]. The gates' input.
    """
    total: dict[str, tf.Tensor] = {}
    for gate in model.gates.values():
        for group, value in gate.penalty(model.embedding, padded, model.kept_ids(ids)).items():
            if group not in GROUPS:
                raise ValueError(
                    f"A penalty should belong to one of the groups {', '.join(GROUPS)}. "
                    f"Received: {group!r}"
                )
            total[group] = total[group] + value if group in total else value
    return total


def _update_architecture(model: Descendable, by_variable: Sequence[Any]) -> None:
    """One architecture step of every gate. Gradients are summed over replicas before the gate gets
    them, because what a gate does with them need not be linear.

    Args:
      model: The model with the gates.
      by_variable: This replica's gradient of every architecture variable, gate after gate.
    """
    optimizer = model.optimizers["architecture"]
    context = tf.distribute.get_replica_context()
    start = 0
    for gate in model.gates.values():
        variables = gate.trainable_variables
        if not variables:
            continue
        of_gate = by_variable[start : start + len(variables)]
        start += len(variables)
        dense = [densified(g, variable) for g, variable in zip(of_gate, variables, strict=True)]
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, dense)

        def apply(
            updates: Sequence[tf.Tensor], variables: Sequence[tf.Variable] = variables
        ) -> None:
            optimizer.apply_gradients(
                list(zip(updates, variables, strict=True)), experimental_aggregate_gradients=False
            )

        gate.update(summed, apply)


def _add(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return tf.convert_to_tensor(a) + tf.convert_to_tensor(b)
