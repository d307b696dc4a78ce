"""How one training step is made of batches and groups of variables."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from irazor_tf.data import Source


class Descending(Protocol):
    """What a step needs of a model."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that have variables."""

    def descend(self, batch: Mapping[str, tf.Tensor], groups: Sequence[str]) -> tf.Tensor:
        """One update of some groups from one batch, in a replica; returns the loss."""


class Step(abc.ABC):
    """One training step. It says what a dataset element holds, hence ratio and order of the streams; each has its own cursor."""

    @abc.abstractmethod
    def elements(self, train: Source, valid: Source, batch_size: int, seed: int, start: int) -> tf.data.Dataset:
        """Endless elements from step number `start` on."""

    @abc.abstractmethod
    def steps_per_epoch(self, train: Source, batch_size: int) -> int:
        """Steps after which the weights have seen their training rows once."""

    @abc.abstractmethod
    def __call__(self, model: Descending, element: Any) -> tf.Tensor:
        """Updates the model in a replica; returns the loss."""


@dataclasses.dataclass(frozen=True)
class Joint(Step):
    """All groups from one batch: one-level optimization (i-Razor, equation 8)."""

    def elements(self, train: Source, valid: Source, batch_size: int, seed: int, start: int) -> tf.data.Dataset:
        return train.batches(batch_size, seed, start)

    def steps_per_epoch(self, train: Source, batch_size: int) -> int:
        return train.batches_per_epoch(batch_size)

    def __call__(self, model: Descending, element: Any) -> tf.Tensor:
        return model.descend(element, model.groups)


@dataclasses.dataclass(frozen=True)
class Alternating(Step):
    """Weights and architecture from different rows, one after the other: first-order bi-level optimization.

    Args:
      architecture_first: whether the architecture moves before the weights.
      every: training batches per architecture batch.
      held_out: share of the training rows set aside for the architecture, the weights learning from the rest; None: the
        architecture learns from the validation split.
    """

    architecture_first: bool = False
    every: int = 1
    held_out: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"`every` should be at least 1. Received: {self.every}")
        if self.held_out is not None and not 0 < self.held_out < 1:
            raise ValueError(f"`held_out` should lie in (0, 1). Received: {self.held_out}")

    def _sources(self, train: Source, valid: Source) -> tuple[Source, Source]:
        return (train, valid) if self.held_out is None else train.held_out(self.held_out)

    def elements(self, train: Source, valid: Source, batch_size: int, seed: int, start: int) -> tf.data.Dataset:
        weights, architecture = self._sources(train, valid)
        batches = weights.batches(batch_size, seed, start * self.every)
        # A tuple of batches, not one more axis: a strategy splits every tensor along its first axis.
        batches = batches.batch(self.every, drop_remainder=True).map(
            lambda group: tuple({key: value[i] for key, value in group.items()} for i in range(self.every))
        )
        return tf.data.Dataset.zip({"weights": batches, "architecture": architecture.batches(batch_size, seed + 1, start)})

    def steps_per_epoch(self, train: Source, batch_size: int) -> int:
        weights = train if self.held_out is None else train.held_out(self.held_out)[0]
        return max(1, weights.batches_per_epoch(batch_size) // self.every)

    def __call__(self, model: Descending, element: Any) -> tf.Tensor:
        if self.architecture_first:
            model.descend(element["architecture"], ("architecture",))
        losses = [model.descend(batch, ("bias", "network")) for batch in element["weights"]]
        if not self.architecture_first:
            model.descend(element["architecture"], ("architecture",))
        return tf.add_n(losses) / len(losses)
