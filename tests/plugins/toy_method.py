"""A search method outside the package: a gate with one weight per field, and the fields of largest
weight stay."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

import irazor_tf
from irazor_tf.config.checks import check_ranges, inside


class FieldGate(irazor_tf.Gate):
    """out = x * alpha, with alpha [N, 1] from one on."""

    def build(self, input_shape: Any) -> None:
        self.alpha = self.add_architecture("alpha", (input_shape[1], 1), "ones")
        super().build(input_shape)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        return x * self.alpha


@irazor_tf.register_method("toy_method")
class ToyMethod(irazor_tf.SearchMethod):
    """Fields by the size of their weight."""

    @dataclasses.dataclass(frozen=True)
    class Params(irazor_tf.SearchMethod.Params):
        """Settings.

        Args:
          share: Part of the space's parameters that stays, at most, where no budget is given.
        """

        share: float = 0.75

        def __post_init__(self) -> None:
            super().__post_init__()
            check_ranges(self, "toy_method", share=inside(0, 1, "(]"))

    derive_only = frozenset({"share"})

    def gates(
        self, schema: irazor_tf.Schema, space: irazor_tf.InputConfig
    ) -> dict[str, irazor_tf.Gate]:
        return {"embedding": FieldGate()}

    def derive(
        self, supernet: Any, space: irazor_tf.InputConfig, budget: int | None = None
    ) -> irazor_tf.InputConfig:
        schema = supernet.schema
        left = int(self.params.share * space.num_params(schema)) if budget is None else budget
        scores = self.field_scores(supernet)
        kept = []
        for name in sorted(scores, key=scores.__getitem__, reverse=True):
            field = space.fields[name]
            cost = int(np.sum(field.column_params(schema.field(name).vocabulary_size)))
            if cost <= left:
                kept.append(name)
                left -= cost
        if not kept:
            raise ValueError(f"The budget should hold a field. Received: {left:,}")
        return irazor_tf.InputConfig(
            {
                name: field.cut(field.labels if name in kept else ())
                for name, field in space.fields.items()
            }
        )

    def field_scores(self, supernet: Any) -> dict[str, float]:
        alpha = np.abs(supernet.gates["embedding"].alpha.numpy()[:, 0])
        return dict(zip(supernet.config.kept, map(float, alpha), strict=True))
