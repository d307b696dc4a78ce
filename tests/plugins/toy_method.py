"""A search method outside the package: a gate with one weight per field, and the fields of largest
weight stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import irazor_tf
from irazor_tf.config.checks import check_ranges, inside
from irazor_tf.search.budget import budget_error
from irazor_tf.search.method import Explanation, Search, Traits
from irazor_tf.search.selection import take_while_fits


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

    traits = Traits(derive_only=frozenset({"share"}))

    def gates(
        self, schema: irazor_tf.Schema, space: irazor_tf.InputConfig
    ) -> dict[str, irazor_tf.Gate]:
        return {"embedding": FieldGate()}

    def derive(
        self, search: Search, space: irazor_tf.InputConfig, budget: int | None = None
    ) -> irazor_tf.InputConfig:
        schema = search.model.schema
        limit = int(self.params.share * space.num_params(schema)) if budget is None else budget
        weights = np.array(list(self.weights(search).values()))
        names = list(space.kept)
        costs = np.array(
            [space.fields[n].num_entries(schema.field(n).vocabulary_size) for n in names]
        )
        kept = take_while_fits(np.argsort(-weights), costs, limit, fill=True)
        if not kept.any():
            raise budget_error(limit, int(costs.min()))
        stays = {name for name, keeps in zip(names, kept, strict=True) if keeps}
        return irazor_tf.InputConfig(
            {
                name: field.cut(field.labels if name in stays else ())
                for name, field in space.fields.items()
            }
        )

    def explain(self, search: Search, configs: Sequence[irazor_tf.InputConfig]) -> Explanation:
        return Explanation(scores=self.weights(search))

    @staticmethod
    def weights(search: Search) -> dict[str, float]:
        """Field -> the size of its weight."""
        alpha = np.abs(search.gate.alpha.numpy()[:, 0])
        return dict(zip(search.model.config.kept, map(float, alpha), strict=True))
