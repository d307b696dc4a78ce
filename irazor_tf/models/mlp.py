"""Multi-layer perceptron on concatenated embeddings, beside first-order terms (the MLP of i-Razor, Table 2)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from irazor_tf.base_model import MODELS, BaseModel
from irazor_tf.blocks import Tower
from irazor_tf.embedding import Embedded, Labels


@MODELS.register("mlp")
class MLP(BaseModel):
    """logit = tower(e_1 ; ... ; e_N) + sum_i w_i[x_i] (+ the global bias)."""

    @dataclasses.dataclass(frozen=True)
    class Params:
        """Settings.

        Args:
          hidden: units per hidden layer; the paper has five of 700.
          layer_norm: layer normalisation of the pre-activations (the paper: on for Avazu, off for Criteo).
          dropout: rate after every hidden layer.
          first_order: whether the first-order terms are there.
        """

        hidden: tuple[int, ...] = (400, 400, 400)
        layer_norm: bool = False
        dropout: float = 0.0
        first_order: bool = True

        def __post_init__(self) -> None:
            if not all(isinstance(units, int) and units > 0 for units in self.hidden):
                raise ValueError(f"`hidden` of mlp should be positive numbers of units. Received: {self.hidden}")
            if not 0 <= self.dropout < 1:
                raise ValueError(f"`dropout` of mlp should lie in [0, 1). Received: {self.dropout}")

    def __init__(self, params: Params, columns: Labels = (), fields: Labels = (), seed: int = 0):
        super().__init__(params, columns, fields, seed)
        self.tower = Tower(params.hidden, columns, layer_norm=params.layer_norm, dropout=params.dropout, seed=seed)

    @property
    def uses(self) -> frozenset[str]:
        return frozenset({"flat", "linear"} if self.params.first_order else {"flat"})

    def call(self, inputs: Embedded, training: bool = False) -> tf.Tensor:
        logits = self.tower(inputs.flat, training=training)
        return logits if inputs.linear is None else logits + tf.reduce_sum(inputs.linear, axis=1)

    def labelled_axes(self) -> list[tuple[tf.Variable, tuple[Labels | None, ...]]]:
        return self.tower.labelled_axes()
