"""Supernet and served model in one: embeddings, gates, base model
and task under one `keras.Model`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.config.seeds import seed_of
from irazor_tf.evaluation.task import Task
from irazor_tf.model.alignment import Alignment
from irazor_tf.model.base import BaseModel
from irazor_tf.model.blocks import Intercept
from irazor_tf.model.embedding import Embedded, FieldEmbedding
from irazor_tf.model.gate import Gate, NarrowedGate
from irazor_tf.model.hard_mask import HardMask
from irazor_tf.model.pieces import Piece
from irazor_tf.model.ridge import Shares
from irazor_tf.model.variables import GROUPS, Gradients


class Recommender(keras.Model):
    """A base model on the embeddings of an input config, with gates while searching.

    Args:
      schema: the data's fields.
      config: which fields are there and how wide.
      base: the base model (its settings; a layer for this config is made from it).
      task: loss, prediction and metrics.
      gates: site -> gate; none in a retrained model.
      embedding_l2: half of this times the mean squared norm of a row's embeddings is added to the
        loss.
      linear_l2: the same for first-order terms.
      embedding_ridge, linear_ridge: see `Shares`; of the embeddings, and of first-order terms.
      stddev: standard deviation of the embeddings' initial values.
      seed: seed of initial values and noise.
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
        super().__init__(name="recommender")
        self.schema = schema
        self.config = config
        self.task = task
        self.seed = seed
        penalties = {
            "embedding_l2": embedding_l2,
            "linear_l2": linear_l2,
            "embedding_ridge": embedding_ridge,
            "linear_ridge": linear_ridge,
        }
        self._settings: dict[str, Any] = {**penalties, "stddev": stddev, "seed": seed}
        # Steps taken; only training advances it. Schedules and noise are functions of it.
        self.clock = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            name="clock",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        uses = base.uses
        self.embedding = (
            FieldEmbedding(schema, config, stddev=stddev, seed=seed)
            if uses & {"flat", "stacked"}
            else None
        )
        narrow = _one_wide(config)
        self.linear = (
            FieldEmbedding(schema, narrow, stddev=0.0, seed=seed, group="bias", name="linear")
            if "linear" in uses
            else None
        )
        self.alignment: Alignment | None = None
        if "stacked" in uses:
            assert self.embedding is not None
            self.alignment = Alignment(self.embedding, base.params, seed_of(seed, "alignment"))
        columns = self.embedding.column_labels if self.embedding is not None else ()
        self.base = base.bind(columns, config.kept, seed_of(seed, "base"))
        self.gates = dict(gates or {})
        for site in self.gates:
            if site not in self.base.sites:
                known = ", ".join(sorted(self.base.sites)) or "none"
                raise ValueError(
                    f"A gate of this model should sit at one of: {known}. Received: {site!r} on "
                    f"{type(base).__name__}"
                )
        self.intercept = Intercept(name="intercept")
        # Neither a weight nor a part of what is saved: it is there again with the data.
        object.__setattr__(
            self,
            "_shares",
            Shares(schema, config.kept) if embedding_ridge or linear_ridge else None,
        )
        self.step: Callable[[Recommender, Any], tf.Tensor] | None = (
            None  # how an element of the data becomes updates
        )
        self.frozen: frozenset[str] = frozenset()  # groups, and parts by their layer's name
        self.optimizers: dict[str, keras.optimizers.legacy.Optimizer] = {}
        self._hard_mask: HardMask | None = None
        self._loss_mean = keras.metrics.Mean(name="loss")
        self._penalty_means = (
            {group: keras.metrics.Mean(name=f"penalty_{group}") for group in GROUPS}
            if self.gates
            else {}
        )
        self._penalised: set[str] = (
            set()
        )  # groups that the gates have a penalty for, known when the first step is traced
        self(tf.zeros((1, len(schema.fields)), tf.int32))
        self._hand_out_clock()
        self.variable_groups = self._variable_groups()

    # Forward --------------------------------------------------------------------------------------

    def call(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits, [B], of ids [B, number of fields in the schema]."""
        return self._forward(ids, training)[0]

    def predict_proba(self, ids: tf.Tensor) -> tf.Tensor:
        """What is served, [B]."""
        return self.task.predict(self(ids, training=False))

    def embed(
        self, ids: tf.Tensor, training: bool = False
    ) -> tuple[Embedded, list[tf.Tensor], tf.Tensor | None]:
        """What the base model sees, the rows looked up, and the gate's input [B, N, D] (None
        without gate or hard mask)."""
        flat = linear = stacked = x = None
        rows: list[tf.Tensor] = []
        if self.embedding is not None:
            hard = self._hard_mask
            rows = self.embedding(ids, None if hard is None else hard.entries)
            gate = self.gates.get("embedding")
            if gate is None and hard is None:
                flat = self.embedding.flatten(rows)
            else:
                x = self.embedding.stack(rows)
                gated = x if hard is None else x * hard.columns
                if gate is not None:
                    gated = gate(gated, self.kept_ids(ids), training=training)
                    if hard is not None:
                        gated = gated * hard.columns
                flat = self.embedding.flatten_stacked(gated)
        open_fields = self._open_fields(training)
        if self.alignment is not None:
            stacked = self.alignment(flat, open_fields)
        if self.linear is not None:
            linear = tf.squeeze(self.linear.stack(self.linear(ids)), axis=2)
            if open_fields is not None:
                linear = linear * open_fields
        return Embedded(flat, linear, stacked), rows, x

    def _open_fields(self, training: bool) -> tf.Tensor | None:
        """[N]: 0 for fields that the gate or the hard mask has closed, else 1; None: all are open.
        The gate has been called before."""
        gate = self.gates.get("embedding")
        found = None if gate is None else gate.open_fields(training)
        if found is not None:
            found = tf.stop_gradient(found)
        if self._hard_mask is None:
            return found
        return self._hard_mask.fields if found is None else found * self._hard_mask.fields

    def kept_ids(self, ids: tf.Tensor) -> tf.Tensor:
        """[B, N]: the id columns of the embedding's fields."""
        assert self.embedding is not None
        return tf.gather(ids, self.embedding.id_columns, axis=1)

    def _hand_out_clock(self) -> None:
        """Tells layers with schedules or noise the time. They do not own the clock, and a gate may
        serve two models: a supernet and the narrow model cut from it."""
        for layer in self._flatten_layers(include_self=False):
            if hasattr(layer, "clock"):
                object.__setattr__(layer, "clock", self.clock)

    def _forward(
        self, ids: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, Embedded, list[tf.Tensor], tf.Tensor | None]:
        inputs, rows, x = self.embed(ids, training)
        return self.intercept(self.base(inputs, training=training)), inputs, rows, x

    # Training -------------------------------------------------------------------------------------

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that have variables."""
        return tuple(group for group in GROUPS if self.variable_groups[group])

    def _variable_groups(self) -> dict[str, list[tf.Variable]]:
        groups: dict[str, list[tf.Variable]] = {group: [] for group in GROUPS}
        seen: dict[Any, str] = {}
        for layer in self.layers_in_order():
            group = getattr(layer, "group", "network")
            for variable in layer.trainable_variables:
                if variable.ref() in seen:
                    raise ValueError(
                        f"A variable should be in one group. Received: {variable.name} in "
                        f"{seen[variable.ref()]} and {group}"
                    )
                seen[variable.ref()] = group
                groups[group].append(variable)
        lost = [
            variable.name for variable in self.trainable_variables if variable.ref() not in seen
        ]
        if lost:
            raise ValueError(
                f"A trainable variable should be in one of the groups {', '.join(GROUPS)}. "
                f"Received: none for {', '.join(lost)}"
            )
        return groups

    def layers_in_order(self) -> list[keras.layers.Layer]:
        """The model's parts: embedding, alignment, first-order terms, base, gates, intercept."""
        parts = [
            self.embedding,
            self.alignment,
            self.linear,
            self.base,
            *self.gates.values(),
            self.intercept,
        ]
        return [part for part in parts if part is not None]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self._loss_mean, *self._penalty_means.values()]

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
        return {"loss": self._loss_mean.result()} | {
            self._penalty_means[g].name: self._penalty_means[g].result()
            for g in sorted(self._penalised)
        }

    def predict_step(self, data: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self.predict_proba(data["ids"]), data["label"]

    def moving(self, groups: Sequence[str]) -> list[str]:
        """Those of the groups that have variables and are not frozen."""
        return [
            group for group in groups if group not in self.frozen and self.variable_groups[group]
        ]

    def moving_variables(self, group: str) -> list[tf.Variable]:
        """The group's variables without those of frozen parts."""
        still = {
            v.ref()
            for part in self.layers_in_order()
            if part.name in self.frozen
            for v in part.trainable_variables
        }
        return [variable for variable in self.variable_groups[group] if variable.ref() not in still]

    def descend(
        self,
        batch: Mapping[str, tf.Tensor],
        groups: Sequence[str],
        *,
        penalties: float = 1.0,
        gradients: Callable[[Mapping[str, tf.Tensor], Sequence[str]], Gradients] | None = None,
    ) -> tf.Tensor:
        """One update of some groups from one batch, in a replica; what is frozen stays.

        Args:
          batch: rows and labels.
          groups: which variables move.
          penalties: factor of the gates' penalties.
          gradients: what gives loss and gradients instead of `self.gradients`.

        Returns:
          The loss without penalties.
        """
        moving = self.moving(groups)
        loss, found = (
            gradients(batch, moving)
            if gradients
            else self.gradients(batch, moving, penalties=penalties, record=True)
        )
        for group in moving:
            if group == "architecture":
                self._update_architecture(found[group])
                continue
            own = {variable.ref() for variable in self.moving_variables(group)}
            pairs = zip(found[group], self.variable_groups[group], strict=True)
            self.optimizers[group].apply_gradients(
                [pair for pair in pairs if pair[0] is not None and pair[1].ref() in own]
            )
        return loss

    def gradients(
        self,
        batch: Mapping[str, tf.Tensor],
        groups: Sequence[str],
        *,
        training: bool = True,
        penalties: float = 1.0,
        record: bool = False,
    ) -> Gradients:
        """Mean loss of the batch and this replica's share of the gradient, by group; `record` keeps
        the penalties for the epoch's means.

        The task's loss, the L2 terms and the ridges enter every group's gradient; a penalty, times
        `penalties`, enters that of its own group alone."""
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync if context is not None else 1
        variables = [variable for group in groups for variable in self.variable_groups[group]]
        with tf.GradientTape(persistent=True) as tape:
            logits, inputs, rows, x = self._forward(batch["ids"], training)
            loss = tf.reduce_mean(self.task.loss(batch["label"], logits))
            total = (
                loss + self._l2(inputs, rows) + self._ridge(batch["ids"], inputs, rows)
            ) / replicas
            extra = self._penalties(batch["ids"], x) if penalties else {}
            scaled = {group: value * (penalties / replicas) for group, value in extra.items()}
        for group, value in extra.items() if record else ():
            self._penalised.add(group)
            self._penalty_means[group].update_state(value)
        found = iter(tape.gradient(total, variables))
        result: dict[str, list[Any]] = {}
        for group in groups:
            result[group] = [next(found) for _ in self.variable_groups[group]]
            if group in scaled:
                more = tape.gradient(scaled[group], self.variable_groups[group])
                result[group] = [_add(a, b) for a, b in zip(result[group], more, strict=True)]
        del tape
        return loss, result

    def _l2(self, inputs: Embedded, rows: Sequence[tf.Tensor]) -> tf.Tensor:
        total = tf.constant(0.0)
        if self._settings["embedding_l2"] and rows:
            norms = tf.add_n(
                [tf.reduce_mean(tf.reduce_sum(tf.square(part), axis=(1, 2))) for part in rows]
            )
            total += 0.5 * self._settings["embedding_l2"] * norms
        if self._settings["linear_l2"] and inputs.linear is not None:
            total += (
                0.5
                * self._settings["linear_l2"]
                * tf.reduce_mean(tf.reduce_sum(tf.square(inputs.linear), axis=1))
            )
        return total

    def _ridge(self, ids: tf.Tensor, inputs: Embedded, rows: Sequence[tf.Tensor]) -> tf.Tensor:
        """Mean over the batch of half the ridge times the rows' shares of the squared weights."""
        total = tf.constant(0.0)
        if self._shares is None:
            return total
        shares = self._shares(ids)
        if self._settings["embedding_ridge"] and rows:
            assert self.embedding is not None
            place = {name: i for i, name in enumerate(self.config.kept)}
            for part, (_, fields) in zip(rows, self.embedding.widths, strict=True):
                own = (
                    shares
                    if fields == self.config.kept
                    else tf.gather(shares, [place[name] for name in fields], axis=1)
                )
                squares = tf.reduce_sum(tf.square(part), axis=2)
                total += (
                    0.5
                    * self._settings["embedding_ridge"]
                    * tf.reduce_mean(tf.reduce_sum(squares * own, axis=1))
                )
        if self._settings["linear_ridge"] and inputs.linear is not None:
            squares = tf.square(inputs.linear)
            total += (
                0.5
                * self._settings["linear_ridge"]
                * tf.reduce_mean(tf.reduce_sum(squares * shares, axis=1))
            )
        return total

    def _penalties(self, ids: tf.Tensor, x: tf.Tensor | None) -> dict[str, tf.Tensor]:
        total: dict[str, tf.Tensor] = {}
        for gate in self.gates.values():
            for group, value in gate.penalty(self.embedding, x, self.kept_ids(ids)).items():
                if group not in GROUPS:
                    raise ValueError(
                        f"A penalty should belong to one of the groups {', '.join(GROUPS)}. "
                        f"Received: {group!r}"
                    )
                total[group] = total[group] + value if group in total else value
        return total

    def _update_architecture(self, gradients: Sequence[Any]) -> None:
        optimizer = self.optimizers["architecture"]
        context = tf.distribute.get_replica_context()
        start = 0
        for gate in self.gates.values():
            variables = gate.trainable_variables
            own = [
                _dense(g, v)
                for g, v in zip(gradients[start : start + len(variables)], variables, strict=True)
            ]
            start += len(variables)
            if not variables:
                continue
            summed = context.all_reduce(tf.distribute.ReduceOp.SUM, own)

            def apply(
                found: Sequence[tf.Tensor], variables: Sequence[tf.Variable] = variables
            ) -> None:
                optimizer.apply_gradients(
                    list(zip(found, variables, strict=True)), experimental_aggregate_gradients=False
                )

            gate.update(summed, apply)

    # Narrowing ------------------------------------------------------------------------------------

    def hard_mask(self, config: InputConfig | None) -> None:
        """Puts out zeros for what `config` does not keep, as `restrict` would: columns before and
        after the gate, masked entries before it, first-order terms of removed fields. None lifts
        it."""
        if config is None:
            if self._hard_mask is not None:
                self._hard_mask = None
                self.predict_function = None
            return
        if not config.within(self.config):
            raise ValueError(
                "A hard mask should lie within the model's config. Received: one with columns the "
                "model does not have"
            )
        fields = np.array([config.fields[name].dim > 0 for name in self.config.kept], np.float32)
        columns = (
            self.embedding.column_mask(config) if self.embedding is not None else fields[:, None]
        )
        entries = (
            self.embedding.entry_masks(config)
            if self.embedding is not None and config.masks()
            else None
        )
        if self._hard_mask is None or not self._hard_mask.takes(entries):
            self._hard_mask = HardMask(columns.shape, entries)
            self.predict_function = None  # traced with another mask
        self._hard_mask.assign(columns, fields, entries)

    def pieces(self) -> Iterator[Piece]:
        """Every weight that a narrower model shares, labelled; a
        gate's weights stay with the gate."""
        for layer in (self.embedding, self.alignment, self.linear):
            if layer is not None:
                yield from layer.pieces()
        labelled = {variable.ref(): axes for variable, axes in self.base.labelled_axes()}
        for i, variable in enumerate(self.base.weights):
            yield Piece(
                f"base/{i}",
                variable,
                None,
                labelled.get(variable.ref(), (None,) * len(variable.shape)),
            )
        yield Piece("intercept", self.intercept.bias, None, ())

    def restrict(self, config: InputConfig, *, keep_gates: bool = True) -> Recommender:
        """The narrow model with the same numbers: every labelled axis cut to the labels that
        `config` keeps.

        Args:
          config: within this model's config.
          keep_gates: whether the gates go on acting on what is left; False leaves them behind (fold
            first, where they matter).

        Raises:
          ValueError: `config` keeps something that this model does not have.
        """
        if not config.within(self.config):
            raise ValueError(
                "`restrict` takes a config within the model's. Received: one that keeps columns "
                "the model does not have"
            )
        gates = {}
        if keep_gates:
            gates = {
                site: NarrowedGate(gate, self.config, config) for site, gate in self.gates.items()
            }
        narrow = Recommender(
            self.schema, self.aligned(config), self.base, self.task, gates=gates, **self._settings
        )
        narrow.inherit(self)
        return narrow

    def aligned(self, config: InputConfig) -> InputConfig:
        """`config` with the width at which this model's fields meet, where a model cut from this
        one needs maps to keep its numbers."""
        whole = all(
            config.fields[name].labels == self.config.fields[name].labels for name in config.kept
        )
        width = None if whole and not self.config.has_maps else self.config.aligned_width
        return dataclasses.replace(config, aligned=width if self.alignment is not None else None)

    def inherit(self, wide: Recommender) -> None:
        """Takes the numbers of all weights that both models have, gates left out, from one as wide
        or wider."""
        self.load_pieces({piece.key: (piece.read(), piece.axes) for piece in wide.pieces()})

    def load_pieces(self, wide: Mapping[str, tuple[np.ndarray, tuple[Any, ...]]]) -> None:
        """Assigns the parts of `wide` (key -> values, labels along
        every axis) that this model has."""
        values: dict[Any, tuple[tf.Variable, np.ndarray]] = {}
        for piece in self.pieces():
            if piece.variable is None:
                continue
            array, axes = wide[piece.key]
            for axis, (labels, found) in enumerate(zip(piece.axes, axes, strict=True)):
                if labels is not None:
                    position = {label: i for i, label in enumerate(found)}
                    array = np.take(array, [position[label] for label in labels], axis=axis)
            variable, target = values.setdefault(
                piece.variable.ref(), (piece.variable, np.array(piece.variable.numpy()))
            )
            if piece.rows is None:
                target[...] = array
            else:
                target[piece.rows[0] : piece.rows[1]] = array
        for variable, target in values.values():
            variable.assign(target)

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the fields that the model reads, in the schema's order."""
        return self.config.kept

    def num_dims(self) -> int:
        """Embedding dimensions of all fields that store an entry; 0
        for a model without embeddings."""
        return sum(self.config.stored_dims.values()) if self.embedding is not None else 0

    def num_params(self) -> int:
        """Embedding values, masked entries not counted; 0 for a model without embeddings."""
        return self.config.num_params(self.schema) if self.embedding is not None else 0

    def num_total_params(self) -> int:
        """All values needed to score: embedding entries, first-order terms, base model, gates,
        intercept."""
        others = [layer for layer in self.layers_in_order() if layer is not self.embedding]
        return self.num_params() + sum(
            int(np.prod(weight.shape)) for layer in others for weight in layer.weights
        )


def _one_wide(config: InputConfig) -> InputConfig:
    return InputConfig.from_dims({name: min(field.dim, 1) for name, field in config.fields.items()})


def _add(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return tf.convert_to_tensor(a) + tf.convert_to_tensor(b)


def _dense(gradient: Any, variable: tf.Variable) -> tf.Tensor:
    return tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
