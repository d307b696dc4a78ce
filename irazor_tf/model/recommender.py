"""The trainable model: a base model with embeddings and gates that can be trained and cut to a
narrower one. Supernet and served model are both of this kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.evaluation.task import Task
from irazor_tf.model import descent, narrowing
from irazor_tf.model.base import BaseModel
from irazor_tf.model.gate import Gate
from irazor_tf.model.predictor import Predictor
from irazor_tf.model.variables import GROUPS, Gradients, grouped
from irazor_tf.model.weight_penalties import WeightPenalties


class Recommender(Predictor):
    """A `Predictor` that is trained, one optimizer per group of variables, and that can be cut to a
    narrower one with the same numbers.

    Args:
      schema, config, base, task, gates, stddev, seed: see `Predictor`.
      embedding_l2, linear_l2, embedding_ridge, linear_ridge: see `WeightPenalties`.
    """

    def __init__(
        self,
        schema: Schema,
        config: InputConfig,
        base: BaseModel,
        task: Task,
        *,
        gates: Mapping[str, Gate] | None = None,
        embedding_l2: float = 0.0,
        linear_l2: float = 0.0,
        embedding_ridge: float = 0.0,
        linear_ridge: float = 0.0,
        stddev: float = 0.01,
        seed: int = 0,
    ):
        super().__init__(schema, config, base, task, gates=gates, stddev=stddev, seed=seed)
        penalties = {
            "embedding_l2": embedding_l2,
            "linear_l2": linear_l2,
            "embedding_ridge": embedding_ridge,
            "linear_ridge": linear_ridge,
        }
        self._settings: dict[str, Any] = {**penalties, "stddev": stddev, "seed": seed}
        widths = () if self.embedding is None else self.embedding.widths
        self.weight_penalties = WeightPenalties(schema, config.kept, widths, **penalties)
        # What `prepare` and the training itself fill.
        self.step: Callable[[Any, Any], tf.Tensor] | None = None
        self.frozen: frozenset[str] = frozenset()
        self.optimizers: dict[str, keras.optimizers.legacy.Optimizer] = {}
        self._loss_mean = keras.metrics.Mean(name="loss")
        self._penalty_means = (
            {group: keras.metrics.Mean(name=f"penalty_{group}") for group in GROUPS}
            if self.gates
            else {}
        )
        # Groups that the gates have a penalty for, known when the first step is traced.
        self._penalised: set[str] = set()
        self.variable_groups = grouped(self.layers_in_order(), self.trainable_variables)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Weight penalties, `stddev` and `seed` the model was made with; `like` hands them on."""
        return self._settings

    def prepare(
        self,
        step: Callable[[Any, Any], tf.Tensor],
        optimizers: Mapping[str, keras.optimizers.legacy.Optimizer],
        *,
        frozen: Iterable[str] = (),
        steps_per_execution: int = 1,
    ) -> None:
        """Makes the model ready for a training; to be called where its variables were made (in the
        scope of a strategy).

        Args:
          step: Called in a replica with the model and an element of the data; updates the model and
            returns the loss.
          optimizers: Group of variables -> its optimizer, for every group that has variables.
          frozen: Names of groups and parts that the training leaves unchanged; see `freeze`.
          steps_per_execution: Steps per call of the compiled function.
        """
        self.freeze(frozen)
        self.optimizers = dict(optimizers)
        for group, optimizer in self.optimizers.items():
            # A function that makes variables is traced twice.
            optimizer._create_all_weights(self.variable_groups[group])
        self.compile(steps_per_execution=steps_per_execution)
        self.step = step
        self.train_function = None

    def freeze(self, names: Iterable[str]) -> None:
        """Sets what a training leaves unchanged; everything else is trained.

        Args:
          names: Names of groups of variables, and of parts of the model (the names of their
            layers).

        Raises:
          ValueError: the model has no group and no part of such a name.
        """
        frozen = frozenset(names)
        known = {*GROUPS, *(part.name for part in self.layers_in_order())}
        if frozen - known:
            raise ValueError(
                f"`frozen` should name some of {', '.join(sorted(known))}. Received: "
                f"{', '.join(sorted(frozen - known))}"
            )
        if frozen != self.frozen:
            self.frozen = frozen
            self.train_function = None  # it was traced for what moved before

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of variables that are not empty in this model."""
        return tuple(group for group in GROUPS if self.variable_groups[group])

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self._loss_mean, *self._penalty_means.values()]

    def record_penalties(self, penalties: Mapping[str, tf.Tensor]) -> None:
        """Adds the gates' penalties of a batch to the epoch's means.

        Args:
          penalties: Group of variables -> penalty, a scalar.
        """
        for group, value in penalties.items():
            self._penalised.add(group)
            self._penalty_means[group].update_state(value)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        if self.step is None:
            raise ValueError(
                "A model should be made ready for its training first (`Trainer.fit` does). "
                "Received: no `step`"
            )
        self._hand_out_clock()
        loss = self.step(self, data)
        self.clock.assign_add(1)
        self._loss_mean.update_state(loss)
        means = [self._penalty_means[group] for group in sorted(self._penalised)]
        return {mean.name: mean.result() for mean in (self._loss_mean, *means)}

    def moving(self, groups: Sequence[str]) -> list[str]:
        """Those of `groups` that have variables and are not frozen."""
        return [
            group for group in groups if group not in self.frozen and self.variable_groups[group]
        ]

    def moving_variables(self, group: str) -> list[tf.Variable]:
        """The variables of a group, without those of frozen parts of the model."""
        frozen_parts = [part for part in self.layers_in_order() if part.name in self.frozen]
        still = {variable.ref() for part in frozen_parts for variable in part.trainable_variables}
        return [variable for variable in self.variable_groups[group] if variable.ref() not in still]

    def descend(
        self,
        batch: Mapping[str, tf.Tensor],
        groups: Sequence[str],
        *,
        penalties: float = 1.0,
        gradients: descent.MakeGradients | None = None,
    ) -> tf.Tensor:
        """One update of some groups of variables from one batch, in a replica; frozen groups and
        parts stay as they are.

        Args:
          batch: "ids", [B, number of fields in the schema], and "label", [B].
          groups: Names of the groups that are updated.
          penalties: Factor of the gates' penalties.
          gradients: Function of batch and groups that returns loss and gradients. If None
            (default), `Recommender.gradients`.

        Returns:
          The loss without penalties.
        """
        return descent.descend(self, batch, groups, penalties=penalties, make_gradients=gradients)

    def gradients(
        self,
        batch: Mapping[str, tf.Tensor],
        groups: Sequence[str],
        *,
        training: bool = True,
        penalties: float = 1.0,
        record: bool = False,
    ) -> Gradients:
        """Mean loss of a batch, and the gradient's share of this replica: group -> a gradient for
        each of its variables.

        The task's loss, the L2 terms and the ridges enter every group's gradient; a gate's penalty
        enters that of its own group alone.

        Args:
          batch: "ids", [B, number of fields in the schema], and "label", [B].
          groups: Groups of variables whose gradients are computed.
          training: Whether layers act as they do while training.
          penalties: Factor of the gates' penalties; at 0 they are not computed.
          record: Whether the penalties are added to the epoch's means.
        """
        return descent.gradients(
            self, batch, groups, training=training, penalties=penalties, record=record
        )

    def like(self, config: InputConfig, gates: Mapping[str, Gate] | None = None) -> Recommender:
        """A model with the same settings and fresh weights, for another config.

        Args:
          config: Config of the new model.
          gates: Name of a site -> gate of the new model. If None (default), no gates.
        """
        return type(self)(self.schema, config, self.base, self.task, gates=gates, **self.settings)

    def restrict(self, config: InputConfig, *, keep_gates: bool = True) -> Recommender:
        """A narrower model that is cut from this one and has the same numbers: every labelled axis
        of the weights is cut to the columns and fields that `config` keeps.

        Args:
          config: Lies within this model's config.
          keep_gates: Whether the gates go on acting on what is left. If False, the narrower model
            has no gates; where they change embeddings, they have to be folded into the tables first
            (`Gate.fold`).

        Raises:
          ValueError: `config` keeps something that this model does not have.
        """
        return narrowing.restrict(self, config, keep_gates)
