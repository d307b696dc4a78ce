"""How one training step is made of batches and groups of variables."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from irazor_tf.config.checks import above, at_least, check_ranges, inside
from irazor_tf.model.noise import part_of_step
from irazor_tf.training.source import Source
from irazor_tf.training.updates.unrolling import unrolled_gradients


class Descending(Protocol):
    """What a step needs of a model."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that have variables."""

    def descend(
        self,
        batch: Mapping[str, tf.Tensor],
        groups: Sequence[str],
        *,
        penalties: float = 1.0,
        gradients: Any = None,
    ) -> tf.Tensor:
        """One update of some groups of variables; see `Recommender.descend`."""


class Step(abc.ABC):
    """One training step. It says what a dataset element holds, hence the ratio and the order of
    the streams of rows, each of which has a cursor of its own."""

    @abc.abstractmethod
    def elements(
        self, train: Source, valid: Source, batch_size: int, seed: int, start: int
    ) -> tf.data.Dataset:
        """Endless elements, one per step, from step number `start` on.

        Args:
          train, valid: Training and validation rows.
          batch_size: Rows per batch, over all replicas.
          seed: Seed of the order of rows.
          start: Number of steps taken before.
        """

    def check_rows(self, train: Source, valid: Source, batch_size: int) -> None:
        """Raises ValueError where a batch is larger than the rows that it is to come from, before
        anything is trained."""
        self.steps_per_epoch(train, batch_size)

    @abc.abstractmethod
    def steps_per_epoch(self, train: Source, batch_size: int) -> int:
        """Steps after which the weights have seen their training rows once."""

    @property
    def batches_per_step(self) -> int:
        """Batches that the model learns from in a step."""
        return 1

    @abc.abstractmethod
    def __call__(self, model: Descending, element: Any) -> tf.Tensor:
        """Updates the model in a replica; returns the loss."""


@dataclasses.dataclass(frozen=True)
class Joint(Step):
    """All groups from one batch: one-level optimization (i-Razor, equation 8).

    Args:
      penalty_every: Batches per step. The gates' penalties enter the update by the first of them,
        times this number, and no other: a penalty that reads whole tables then costs so much less.
    """

    penalty_every: int = 1

    def __post_init__(self) -> None:
        check_ranges(self, penalty_every=at_least(1))

    def elements(
        self, train: Source, valid: Source, batch_size: int, seed: int, start: int
    ) -> tf.data.Dataset:
        batches = train.batches(batch_size, seed, start * self.penalty_every)
        return batches if self.penalty_every == 1 else _several(batches, self.penalty_every)

    def steps_per_epoch(self, train: Source, batch_size: int) -> int:
        return max(1, train.batches_per_epoch(batch_size) // self.penalty_every)

    @property
    def batches_per_step(self) -> int:
        return self.penalty_every

    def __call__(self, model: Descending, element: Any) -> tf.Tensor:
        if self.penalty_every == 1:
            return model.descend(element, model.groups)
        factors = [float(self.penalty_every), *(0.0 for _ in element[1:])]
        losses = []
        for number, (batch, factor) in enumerate(zip(element, factors, strict=True)):
            with part_of_step(number):
                losses.append(model.descend(batch, model.groups, penalties=factor))
        return tf.add_n(losses) / len(losses)


@dataclasses.dataclass(frozen=True)
class Alternating(Step):
    """Weights and architecture from different rows, one after the other: first-order bi-level
    optimization.

    Args:
      architecture_first: Whether the architecture moves before the weights.
      every: Training batches per architecture batch. They stand behind each other in the graph,
        which takes about a second each to trace.
      held_out: Share of the training rows that is set aside for the architecture, the weights
        learning from the rest. If None (default), the architecture learns from the validation
        split.
    """

    architecture_first: bool = False
    every: int = 1
    held_out: float | None = None

    def __post_init__(self) -> None:
        check_ranges(self, every=at_least(1), held_out=inside(0, 1, "()"))

    def check_rows(self, train: Source, valid: Source, batch_size: int) -> None:
        for source in self._sources(train, valid):
            source.batches_per_epoch(batch_size)

    def _sources(self, train: Source, valid: Source) -> tuple[Source, Source]:
        return (train, valid) if self.held_out is None else train.held_out(self.held_out)

    def elements(
        self, train: Source, valid: Source, batch_size: int, seed: int, start: int
    ) -> tf.data.Dataset:
        weights, architecture = self._sources(train, valid)
        batches = _several(weights.batches(batch_size, seed, start * self.every), self.every)
        return tf.data.Dataset.zip(
            {"weights": batches, "architecture": architecture.batches(batch_size, seed + 1, start)}
        )

    def steps_per_epoch(self, train: Source, batch_size: int) -> int:
        weights = train if self.held_out is None else train.held_out(self.held_out)[0]
        return max(1, round(weights.batches_per_epoch(batch_size) / self.every))

    @property
    def batches_per_step(self) -> int:
        return self.every + 1

    def __call__(self, model: Descending, element: Any) -> tf.Tensor:
        if self.architecture_first:
            model.descend(element["architecture"], ("architecture",))
        losses = []
        for number, batch in enumerate(element["weights"]):
            with part_of_step(number):
                losses.append(model.descend(batch, ("bias", "network")))
        if not self.architecture_first:
            model.descend(element["architecture"], ("architecture",))
        return tf.add_n(losses) / len(losses)


@dataclasses.dataclass(frozen=True, init=False)
class Unrolled(Alternating):
    """The weights from a training batch, then the architecture by its exact second-order gradient,
    through a virtual step of the weights on the same training batch (DNIS, Algorithm 1 and
    equations 6 and 7).

    Args:
      xi: Size of the virtual step, above 0.
      held_out: see `Alternating`.
    """

    xi: float = 1e-3

    def __init__(self, xi: float, held_out: float | None = None):
        object.__setattr__(self, "xi", xi)
        super().__init__(held_out=held_out)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, xi=above(0))

    def __call__(self, model: Any, element: Any) -> tf.Tensor:
        (train,) = element["weights"]
        loss = model.descend(train, ("bias", "network"))
        if model.moving(("architecture",)):
            model.descend(
                element["architecture"],
                ("architecture",),
                gradients=lambda valid, _: unrolled_gradients(model, train, valid, self.xi),
            )
        return loss


def _several(batches: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """Tuples of `count` batches: not one more axis, because a strategy splits every tensor along
    its first one."""
    return batches.batch(count, drop_remainder=True).map(
        lambda group: tuple({key: value[i] for key, value in group.items()} for i in range(count))
    )
