"""The memory that training a model takes, computed before the model is built: its weights and their
optimizers' slots are counted in a graph where nothing is allocated."""

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
from irazor_tf.training.updates.optimizers import make_optimizer

_GIB = 2**30


def variable_bytes(
    schema: Schema, config: InputConfig, base: BaseModel, task: Task, optimizers: Mapping[str, str]
) -> list[int]:
    """The size in bytes of every variable of a model without gates, and of every variable of its
    optimizers.

    Args:
      schema, config, base, task: see `Recommender`.
      optimizers: Group of variables -> optimizer spec.
    """
    with tf.Graph().as_default():
        model = Recommender(schema, config, base, task)
        variables = list(model.variables)
        for group, members in model.variable_groups.items():
            optimizer = make_optimizer(optimizers[group])
            optimizer._create_all_weights(members)
            variables += optimizer.variables()
        return [_size(variable) for variable in variables]


def training_bytes(
    schema: Schema, config: InputConfig, base: BaseModel, task: Task, optimizers: Mapping[str, str]
) -> int:
    """An estimate of the peak memory, in bytes, of training a model, without its batches: 2
    (weights + slots) + 2 (largest variable).

    The best epoch's checkpoint, with its slots, is read whole beside the model. Gradients, which
    are gone by then, take no more than that: as much as the weights, and of tables less. The
    initial values of a variable are drawn, scaled and moved, each time into memory that is not
    given back and that later serves copies of a weight in another layout. Measured peaks:
    docs/measurements.md.

    Args:
      schema, config, base, task, optimizers: see `variable_bytes`.
    """
    sizes = variable_bytes(schema, config, base, task, optimizers)
    return 2 * sum(sizes) + 2 * max(sizes)


def check_memory(
    schema: Schema, config: InputConfig, base: BaseModel, task: Task, optimizers: Mapping[str, str]
) -> None:
    """Raises ValueError where training a model takes more than this machine's memory; the message
    says how much.

    Args:
      schema, config, base, task, optimizers: see `variable_bytes`.
    """
    needed, usable = training_bytes(schema, config, base, task, optimizers), memory_bytes()
    if needed > usable:
        raise ValueError(
            f"Training a model should fit into memory, {usable / _GIB:,.1f} GiB. Received: "
            f"{needed / _GIB:,.1f} GiB for model "
            f"{base.registry_name!r} with {base.params} on {config.num_fields} fields of "
            f"{config.num_params(schema):,} embedding parameters"  # type: ignore[attr-defined]
        )


def memory_bytes() -> int:
    """Memory in bytes of this machine, or the limit of the container that the process runs in."""
    usable = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        # No such file, or "max" in it: no limit.
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            usable = min(usable, int(file.read()))
    return usable


def _size(variable: tf.Variable) -> int:
    """Size of a variable in bytes, as a Python int, which does not overflow."""
    size = variable.dtype.size
    for dimension in variable.shape:
        size *= int(dimension)
    return size
