"""Training steps: which batches a step reads, and which groups of variables it updates from
each."""

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
    """The attributes and methods of a model that a step uses; `Recommender` has them all."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of variables that are not empty in this model."""

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
    """Base of all training steps. A step defines the content of a dataset element, and so how many
    batches of training and validation rows there are per step, and in which order; each kind of
    rows has a position of its own."""

    @abc.abstractmethod
    def elements(
        self, train: Source, valid: Source, batch_size: int, seed: int, start: int
    ) -> tf.data.Dataset:
        """An endless dataset with one element per step, from step number `start` on.

        Args:
          train, valid: Training and validation rows.
          batch_size: Rows per batch, over all replicas.
          seed: Seed of the order of rows.
          start: Number of steps taken so far.
        """

    def check_rows(self, train: Source, valid: Source, batch_size: int) -> None:
        """Raises ValueError where a batch is larger than the rows that it would come from; called
        before anything is trained.

        Args:
          train, valid, batch_size: see `elements`.
        """
        self.steps_per_epoch(train, batch_size)

    @abc.abstractmethod
    def steps_per_epoch(self, train: Source, batch_size: int) -> int:
        """Number of steps in which the weights learn from the training rows once.

        Args:
          train: Training rows.
          batch_size: Rows per batch, over all replicas.
        """

    @property
    def batches_per_step(self) -> int:
        """Number of batches that the model learns from in a step."""
        return 1

    @abc.abstractmethod
    def __call__(self, model: Descending, element: Any) -> tf.Tensor:
        """Updates the model from one element, in a replica; returns the loss."""


@dataclasses.dataclass(frozen=True)
class Joint(Step):
    """A step that updates all groups of variables from the same batch: one-level optimization
    (i-Razor, equation 8).

    Args:
      penalty_every: Batches per step. Only the update by the first of them includes the gates'
        penalties, multiplied by this number: a penalty that reads whole tables then costs that much
        less.
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
    """A step that updates weights and architecture from different rows, one after the other:
    first-order bi-level optimization.

    Args:
      architecture_first: Whether the architecture is updated before the weights.
      every: Training batches per architecture batch. Each has its own copy of the update in the
        graph, which takes about a second to trace.
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
    """A step that updates the weights from a training batch, and then the architecture by its exact
    second-order gradient, through a virtual step of the weights on the same training batch (DNIS,
    Algorithm 1 and equations 6 and 7).

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
    """A dataset of tuples of batches. (Stacking the batches along one more axis would not do,
    because a distribution strategy splits every tensor along its first axis.)

    Args:
      batches: Dataset of batches.
      count: Batches in a tuple.
    """
    return batches.batch(count, drop_remainder=True).map(
        lambda group: tuple({key: value[i] for key, value in group.items()} for i in range(count))
    )
