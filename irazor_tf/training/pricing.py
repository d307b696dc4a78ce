"""What a model takes before it is built: its weights and their optimizers' slots, counted in a
graph where nothing is allocated, and what training it takes beside them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import tensorflow as tf

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.evaluation.task import Task
from irazor_tf.model.base import BaseModel
from irazor_tf.model.recommender import Recommender
from irazor_tf.training.optimizers import make_optimizer

_GIB = 2**30


def model_bytes(
    schema: Schema, config: InputConfig, base: BaseModel, task: Task, optimizers: Mapping[str, str]
) -> int:
    """Bytes of the weights of a model without gates, and of all that its optimizers keep beside
    them.

    Args:
      schema, config, base, task: the model's.
      optimizers: group -> optimizer spec.
    """
    return sum(_sizes(schema, config, base, task, optimizers))


def training_bytes(
    schema: Schema, config: InputConfig, base: BaseModel, task: Task, optimizers: Mapping[str, str]
) -> int:
    """About the most that training this model takes at a time, without its batches: 2 (weights +
    slots) + 2 (largest variable).

    The best epoch's checkpoint, with its slots, is read whole beside what is there. Gradients,
    which are gone by then, take no more: the size of the weights, of tables less. The initial
    values of a variable are drawn, scaled and moved, each time into memory that is not given back
    and that later serves copies of a weight in another layout. Measured peaks: BUILD_NOTES.md.

    Args:
      schema, config, base, task, optimizers: see `model_bytes`.
    """
    sizes = _sizes(schema, config, base, task, optimizers)
    return 2 * sum(sizes) + 2 * max(sizes)


def _sizes(
    schema: Schema, config: InputConfig, base: BaseModel, task: Task, optimizers: Mapping[str, str]
) -> list[int]:
    """Bytes of every variable of a model and of its optimizers."""
    with tf.Graph().as_default():
        model = Recommender(schema, config, base, task)
        variables = list(model.variables)
        for group, members in model.variable_groups.items():
            optimizer = make_optimizer(optimizers[group])
            optimizer._create_all_weights(members)
            variables += optimizer.variables()
        return [_size(variable) for variable in variables]


def check_memory(
    schema: Schema, config: InputConfig, base: BaseModel, task: Task, optimizers: Mapping[str, str]
) -> None:
    """Raises ValueError where training a model takes more than this machine's memory; the message
    says how much."""
    needed, there = training_bytes(schema, config, base, task, optimizers), memory_bytes()
    if needed > there:
        raise ValueError(
            f"Training a model should fit into memory, {there / _GIB:,.1f} GiB. Received: "
            f"{needed / _GIB:,.1f} GiB for model "
            f"{base.registry_name!r} with {base.params} on {config.num_fields} fields of "
            f"{config.num_params(schema):,} embedding parameters"  # type: ignore[attr-defined]
        )


def memory_bytes() -> int:
    """Memory of this machine, or what its container may use of it."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with (
            contextlib.suppress(OSError, ValueError),
            open(path, encoding="ascii") as file,
        ):  # "max": no limit
            found = min(found, int(file.read()))
    return found


def _size(variable: tf.Variable) -> int:
    """Bytes of a variable; in Python's whole numbers, which do not overflow."""
    size = variable.dtype.size
    for dimension in variable.shape:
        size *= int(dimension)
    return size
