"""Multi-layer perceptron on concatenated embeddings, beside first-order terms (the MLP of i-Razor,
Table 2)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from irazor_tf.embedding.pieces import Labels
from irazor_tf.embedding.tables import Embedded
from irazor_tf.model.base import MODELS, BaseModel
from irazor_tf.model.blocks import Tower, TowerParams


@MODELS.register("mlp")
class MLP(BaseModel):
    """logit = tower(e_1 ; ... ; e_N) + sum_i w_i[x_i] (+ the global bias)."""

    @dataclasses.dataclass(frozen=True)
    class Params(TowerParams):
        """Settings: those of the tower (the paper has five layers of 700, layer normalisation for
        Avazu, none for Criteo).

        Args:
          first_order: Whether first-order terms are added to the tower's output.
        """

        first_order: bool = True

    def __init__(self, params: Params, columns: Labels = (), fields: Labels = (), seed: int = 0):
        super().__init__(params, columns, fields, seed)
        self.tower = Tower(params, columns, seed=seed)

    @property
    def uses(self) -> frozenset[str]:
        return frozenset({"flat", "linear"} if self.params.first_order else {"flat"})

    def call(self, inputs: Embedded, training: bool = False) -> tf.Tensor:
        logits = self.tower(inputs.flat, training=training)
        return logits if inputs.linear is None else logits + tf.reduce_sum(inputs.linear, axis=1)

    def labelled_axes(self) -> list[tuple[tf.Variable, tuple[Labels | None, ...]]]:
        return self.tower.labelled_axes()
