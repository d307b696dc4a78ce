"""The registries of the open sets, and what plug-ins add to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from irazor_tf.config.registry import Registry


def load_plugins(names: Sequence[str]) -> None:
    """Imports plug-ins. The registries are complete before, so that a name taken twice is the
    plug-in's fault, and is said to be."""
    from irazor_tf.config import plugins

    if names:
        for registry in registries():
            registry.names()
    for name in names:
        plugins.load(name)


def registries() -> tuple[Registry, ...]:
    """The registries of the open sets."""
    from data_pipelines.reader import READERS
    from irazor_tf.evaluation.task import TASKS
    from irazor_tf.model.base import MODELS
    from irazor_tf.search.method import METHODS

    return METHODS, MODELS, TASKS, READERS
