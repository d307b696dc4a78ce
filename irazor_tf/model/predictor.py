"""The path from ids to a prediction: embeddings, gates, base model and task in one
`keras.Model`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.config.seeds import seed_of
from irazor_tf.embedding.alignment import Alignment
from irazor_tf.embedding.hard_mask import HardMask
from irazor_tf.embedding.pieces import Piece
from irazor_tf.embedding.tables import Embedded, FieldEmbedding
from irazor_tf.evaluation.task import Task
from irazor_tf.model import narrowing
from irazor_tf.model.base import BaseModel
from irazor_tf.model.blocks import Intercept
from irazor_tf.model.gate import Gate


class Forward(NamedTuple):
    """The outcome of a pass over a batch.

    Args:
      logits: [B].
      inputs: The base model's inputs.
      rows: The embeddings looked up, for each width [B, n_g, d_g]; empty for a model without
        embeddings.
      stacked: [B, N, D]. The input of the gate; None without gate or hard mask.
    """

    logits: tf.Tensor
    inputs: Embedded
    rows: list[tf.Tensor]
    padded: tf.Tensor | None


class Predictor(keras.Model):
    """The part of a `Recommender` that computes predictions: a base model on the embeddings of an
    input config, with gates while searching.

    Args:
      schema: The data's fields.
      config: Fields that the model reads, and their embedding dimensions.
      base: Base model with the settings to use; the model makes a layer of its own from it, for
        this config.
      task: Loss, prediction and metrics.
      gates: Name of a site of the base model -> the gate that sits there. If None, as in a
        retrained model, no gates.
      stddev: Standard deviation of the embeddings' initial values.
      seed: Seed of initial values and noise.
    """

    def __init__(
        self,
        schema: Schema,
        config: InputConfig,
        base: BaseModel,
        task: Task,
        *,
        gates: Mapping[str, Gate] | None,
        stddev: float,
        seed: int,
    ):
        super().__init__(name="recommender")
        self.schema = schema
        self.config = config
        self.task = task
        self.seed = seed
        self._add_layers(base, dict(gates or {}), stddev)
        self._hard_mask: HardMask | None = None
        self(tf.zeros((1, len(schema.fields)), tf.int32))
        self._hand_out_clock()

    def _add_layers(self, base: BaseModel, gates: dict[str, Gate], stddev: float) -> None:
        """Makes the layers of the model. Checkpoints name them by their attributes and list them in
        this order."""
        schema, config, seed, uses = self.schema, self.config, self.seed, base.uses
        # Steps taken; only training advances it. Schedules and noise are functions of it.
        self.clock = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            name="clock",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self.embedding = (
            FieldEmbedding(schema, config, stddev=stddev, seed=seed)
            if uses & {"flat", "stacked"}
            else None
        )
        self.linear = (
            FieldEmbedding(
                schema, _one_wide(config), stddev=0.0, seed=seed, group="bias", name="linear"
            )
            if "linear" in uses
            else None
        )
        self.alignment: Alignment | None = None
        if "stacked" in uses:
            assert self.embedding is not None
            self.alignment = Alignment(self.embedding, base.params, seed_of(seed, "alignment"))
        columns = self.embedding.column_labels if self.embedding is not None else ()
        self.base = base.bind(columns, config.kept, seed_of(seed, "base"))
        self.gates = gates
        for site in gates:
            if site not in self.base.sites:
                known = ", ".join(sorted(self.base.sites)) or "none"
                raise ValueError(
                    f"A gate of this model should sit at one of: {known}. Received: {site!r} on "
                    f"{type(base).__name__}"
                )
        self.intercept = Intercept(name="intercept")

    # Forward --------------------------------------------------------------------------------------

    def call(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits, [B], of ids [B, number of fields in the schema]."""
        return self.forward(ids, training).logits

    def predict_proba(self, ids: tf.Tensor) -> tf.Tensor:
        """The predictions that are served for ids, [B, number of fields in the schema] -> [B]."""
        return self.task.predict(self(ids, training=False))

    def forward(self, ids: tf.Tensor, training: bool) -> Forward:
        """A pass over a batch.

        Args:
          ids: [B, number of fields in the schema].
          training: Whether gates and layers act as they do while training.
        """
        inputs, rows, padded = self.embed(ids, training)
        logits = self.intercept(self.base(inputs, training=training))
        return Forward(logits, inputs, rows, padded)

    def embed(
        self, ids: tf.Tensor, training: bool = False
    ) -> tuple[Embedded, list[tf.Tensor], tf.Tensor | None]:
        """The embeddings of a batch, on their way to the base model.

        Args:
          ids: [B, number of fields in the schema].
          training: Whether gates act as they do while training.

        Returns:
          The base model's inputs; the embeddings looked up, for each width [B, n_g, d_g]; and the
          input of the gate, [B, N, D], None without gate or hard mask.
        """
        flat = linear = aligned = padded = None
        rows: list[tf.Tensor] = []
        if self.embedding is not None:
            hard = self._hard_mask
            rows = self.embedding(ids, None if hard is None else hard.entries)
            if "embedding" not in self.gates and hard is None:
                flat = self.embedding.flatten(rows)
            else:
                padded = self.embedding.stack(rows)
                flat = self.embedding.flatten_stacked(self._gated(padded, ids, training))
        open_fields = self._open_fields(training)
        if self.alignment is not None:
            aligned = self.alignment(flat, open_fields)
        if self.linear is not None:
            linear = tf.squeeze(self.linear.stack(self.linear(ids)), axis=2)
            if open_fields is not None:
                linear = linear * open_fields
        return Embedded(flat, linear, aligned), rows, padded

    def _gated(self, padded: tf.Tensor, ids: tf.Tensor, training: bool) -> tf.Tensor:
        """The embeddings [B, N, D] behind the gate. The hard mask is applied before and after the
        gate, because a gate may turn zeros into other numbers.

        Args:
          padded: [B, N, D]. Embeddings before the gate.
          ids: [B, number of fields in the schema].
          training: Whether the gate acts as it does while training.
        """
        gate, hard = self.gates.get("embedding"), self._hard_mask
        gated = padded if hard is None else padded * hard.columns
        if gate is not None:
            gated = gate(gated, self.kept_ids(ids), training=training)
            if hard is not None:
                gated = gated * hard.columns
        return gated

    def _open_fields(self, training: bool) -> tf.Tensor | None:
        """The fields that neither the gate, which has been called before, nor the hard mask has
        closed: [N], 0 for a closed field, else 1; None where all are open."""
        gate = self.gates.get("embedding")
        open_in_gate = None if gate is None else gate.open_fields(training)
        if open_in_gate is not None:
            open_in_gate = tf.stop_gradient(open_in_gate)
        if self._hard_mask is None:
            return open_in_gate
        fields = self._hard_mask.fields
        return fields if open_in_gate is None else open_in_gate * fields

    def kept_ids(self, ids: tf.Tensor) -> tf.Tensor:
        """The id columns of the embedded fields, [B, number of fields in the schema] -> [B, N]."""
        assert self.embedding is not None
        return tf.gather(ids, self.embedding.id_columns, axis=1)

    def _hand_out_clock(self) -> None:
        """Gives the step counter to all layers with schedules or noise, which do not own it
        themselves: a gate may serve two models, a supernet and the narrow model cut from it."""
        for layer in self._flatten_layers(include_self=False):
            if hasattr(layer, "clock"):
                object.__setattr__(layer, "clock", self.clock)

    def predict_step(self, data: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self.predict_proba(data["ids"]), data["label"]

    def layers_in_order(self) -> list[keras.layers.Layer]:
        """The model's parts: embedding, alignment, first-order terms, base, gates, intercept."""
        before = (self.embedding, self.alignment, self.linear, self.base)
        parts = (*before, *self.gates.values(), self.intercept)
        return [part for part in parts if part is not None]

    # Narrowing ------------------------------------------------------------------------------------

    def hard_mask(self, config: InputConfig | None) -> None:
        """Makes the model score like the one that `restrict` would cut from it: columns that
        `config` does not keep are zero before and after the gate, masked entries are zero before
        it, and removed fields have no first-order terms.

        Args:
          config: A config within this model's. None removes the mask again.
        """
        mask = None if config is None else narrowing.hard_mask(self, config, self._hard_mask)
        if mask is not self._hard_mask:
            self._hard_mask = mask
            self.predict_function = None  # it was traced with another mask

    def pieces(self) -> Iterator[Piece]:
        """The weights that a narrower model shares, as labelled parts. The weights of gates are not
        among them."""
        return narrowing.pieces(self)

    def aligned(self, config: InputConfig) -> InputConfig:
        """`config` with the width at which this model compares fields, set where a model that is
        cut from this one needs maps to give the same numbers.

        Args:
          config: Config of the model to be cut from this one.
        """
        return narrowing.aligned(self, config)

    def inherit(self, wide: Predictor) -> None:
        """Copies the weights that this model shares with another one; gates are left out.

        Args:
          wide: A model as wide as this one, or wider.
        """
        self.load_pieces({piece.key: (piece.read(), piece.axes) for piece in wide.pieces()})

    def load_pieces(self, wide: narrowing.Values) -> None:
        """Assigns to this model the weights that it shares with a wider one.

        Args:
          wide: Key of a part -> its values in the wider model, and their labels along every axis.
        """
        narrowing.load_pieces(self, wide)

    # Size -----------------------------------------------------------------------------------------

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the fields that the model reads, in the schema's order."""
        return self.config.kept

    def num_dims(self) -> int:
        """Sum of the embedding dimensions of all fields that store at least one entry; 0 for a
        model without embeddings."""
        return sum(self.config.stored_dims.values()) if self.embedding is not None else 0

    def num_params(self) -> int:
        """Number of embedding values, masked entries not counted; 0 for a model without
        embeddings."""
        return self.config.num_params(self.schema) if self.embedding is not None else 0

    def num_total_params(self) -> int:
        """Number of all values needed to score: embedding entries, first-order terms, base model,
        gates, intercept."""
        others = [layer for layer in self.layers_in_order() if layer is not self.embedding]
        return self.num_params() + sum(
            int(np.prod(weight.shape)) for layer in others for weight in layer.weights
        )


def _one_wide(config: InputConfig) -> InputConfig:
    return InputConfig.from_dims({name: min(field.dim, 1) for name, field in config.fields.items()})
