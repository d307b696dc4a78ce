"""A base model outside the package: one dense layer."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

import irazor_tf


@irazor_tf.register_model("toy_model")
class ToyModel(irazor_tf.BaseModel):
    """logit = scale * w . (e_1 ; ... ; e_N)."""

    @dataclasses.dataclass(frozen=True)
    class Params:
        """Settings.

        Args:
          scale: Factor of the logit.
        """

        scale: float = 1.0

    def __init__(self, params: Any, columns: Any = (), fields: Any = (), seed: int = 0):
        super().__init__(params, columns, fields, seed)
        self.weight = self.add_weight("weight", (len(columns), 1), initializer="ones")

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        return self.params.scale * tf.squeeze(inputs.flat @ self.weight, axis=1)

    def labelled_axes(self) -> list[tuple[tf.Variable, tuple[Any, ...]]]:
        return [(self.weight, (self.columns, None))]
