"""Three search methods that keep the spine honest before (and beside) the real ones, and one that
fits no model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import RouterRef, SearchResult
from irazor_tf.config.seeds import seed_of
from irazor_tf.model.gate import Gate
from irazor_tf.model.noise import batch_uniform
from irazor_tf.model.routing import Router
from irazor_tf.search.budget import budget_error
from irazor_tf.search.method import RoutingMethod, Search, SearchMethod, Traits
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.steps import Alternating, Step


class ColumnGate(Gate):
    """out = x * alpha, alpha [N, D] from one on; the step normalises alpha's gradient by row and
    clips alpha to [0, 1].

    Args:
      shape: N and D.
      noise: half-width of the noise that multiplies the output while training.
    """

    def __init__(self, shape: tuple[int, int], noise: float = 0.0):
        super().__init__(name="columns")
        self._alpha_shape = shape
        self._noise = noise

    def build(self, input_shape: Any) -> None:
        self.alpha = self.add_architecture("alpha", self._alpha_shape, "ones")
        super().build(input_shape)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        gated = x * self.alpha
        if training and self._noise:
            assert self.clock is not None
            gated *= 1.0 + self._noise * (
                2.0 * batch_uniform(tf.shape(x), seed_of(7, "columns"), self.clock) - 1.0
            )
        return gated

    def penalty(
        self, embedding: keras.layers.Layer, x: tf.Tensor, ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        # It sees the embeddings, and yet it is no business of theirs.
        return {
            "architecture": 1e-3 * tf.reduce_sum(self.alpha * tf.reduce_mean(tf.abs(x), axis=0))
        }

    def update(
        self, gradients: Sequence[tf.Tensor], apply: Callable[[Sequence[tf.Tensor]], None]
    ) -> None:
        (gradient,) = gradients
        apply([gradient / (tf.norm(gradient, axis=1, keepdims=True) + 1e-6)])
        self.alpha.assign(tf.clip_by_value(self.alpha, 0.0, 1.0))

    def fold(self, embedding: keras.layers.Layer) -> None:
        alpha = self.alpha.numpy()
        for i, name in enumerate(embedding.fields):
            (piece,) = (piece for piece in embedding.pieces() if piece.key.endswith(f"/{name}"))
            table = piece.variable.numpy()
            table[piece.rows[0] : piece.rows[1]] *= alpha[i, : table.shape[1]]
            piece.variable.assign(table)


def column_gate(space: InputConfig, noise: float = 0.0) -> ColumnGate:
    return ColumnGate((space.num_fields, space.max_dim), noise)


def first_columns(space: InputConfig, most: int, without: str = "") -> InputConfig:
    """Every field of the space but one, at most so wide."""
    fields = {}
    for name, field in space.fields.items():
        fields[name] = field.cut(() if name == without else field.labels[:most])
    return InputConfig(fields)


def widest(configs: Sequence[InputConfig], schema: Schema, budget: int) -> InputConfig:
    """The first of descending configs that fits."""
    for config in configs:
        if config.num_params(schema) <= budget:
            return config
    raise budget_error(budget, configs[-1].num_params(schema))


class MaskedBilevel(SearchMethod):
    """Bi-level; keeps the entries of the tables, [V, dim] masks, whose product with alpha is
    largest."""

    @dataclasses.dataclass(frozen=True)
    class Params:
        share: float = 0.5
        every: int = 1
        architecture_first: bool = False
        held_out: float | None = 0.25

    traits = Traits(init="keep", ranks_fields=False, derive_only=frozenset({"share"}))

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        return {"embedding": column_gate(space, noise=0.1)}

    def step(self) -> Step:
        return Alternating(self.params.architecture_first, self.params.every, self.params.held_out)

    def optimizers(self) -> dict[str, str]:
        return {"architecture": "sgd(learning_rate=0.05)"}

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        budget = (
            int(self.params.share * space.num_params(search.model.schema))
            if budget is None
            else budget
        )
        if budget < 1:
            raise budget_error(budget, 1)
        alpha = search.gate.alpha.numpy()
        assert search.model.embedding is not None
        sizes = {}
        for i, name in enumerate(space.kept):
            sizes[name] = np.abs(
                search.model.embedding.field_table(name) * alpha[i, : space.fields[name].dim]
            )
        threshold = np.sort(np.concatenate([size.ravel() for size in sizes.values()]))[-budget]
        fields = {name: FieldConfig(0) for name in space.fields}
        for name, size in sizes.items():
            # The last column goes whole, so that columns and entries are both pruned.
            kept = size[:, : max(1, size.shape[1] - 1)] >= threshold
            if kept.any():
                labels = space.fields[name].labels[: kept.shape[1]]
                fields[name] = FieldConfig(len(labels), labels, BitMask.from_array(kept))
        return InputConfig(fields)


class FoldedColumns(SearchMethod):
    """One-level; keeps each field's columns of largest alpha, drops the field with the least, and
    writes alpha into the tables."""

    traits = Traits(init="continue", ranks_fields=False)

    def gates(self, schema: Schema, space: InputConfig) -> dict[str, Gate]:
        return {"embedding": column_gate(space)}

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        alpha = search.gate.alpha.numpy()
        weakest = space.kept[int(np.argmin(alpha.sum(axis=1)))]

        def config(most: int) -> InputConfig:
            fields = {name: FieldConfig(0) for name in space.fields}
            for i, name in enumerate(space.kept):
                labels = space.fields[name].labels
                if name != weakest:
                    count = max(1, min(most - i % 2, len(labels)))  # several widths
                    best = sorted(
                        labels[j]
                        for j in np.argsort(-alpha[i, : len(labels)], kind="stable")[:count]
                    )
                    fields[name] = space.fields[name].cut(best)
            return InputConfig(fields)

        if budget is None:
            return config((space.max_dim + 1) // 2)
        return widest(
            [config(most) for most in range(space.max_dim, 0, -1)], search.model.schema, budget
        )


class ParityRouter(Router):
    """Cluster = id of one field modulo the number of clusters."""

    def __init__(self, column: int, field: str, clusters: int):
        super().__init__(name="router")
        self._column = column
        self._field = field
        self._clusters = clusters

    @property
    def fields(self) -> tuple[str, ...]:
        return (self._field,)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.cast(ids[:, self._column] % self._clusters, tf.int32)


class RoutedHalves(RoutingMethod):
    """Two clusters of rows; one has the space without its last field, the other the first half of
    every field's columns."""

    traits = Traits(ranks_fields=False, result="clusters")

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        configs = [
            first_columns(space, most, without=space.kept[-1])
            for most in range(space.max_dim, 0, -1)
        ]
        return configs[0] if budget is None else widest(configs, search.model.schema, budget)

    def search(
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        search: Search | None = None,
    ) -> tuple[SearchResult, Search]:
        search = (self.train_or_resume(trainer, space) if search is None else search).again()
        router = RouterRef("toy_routed", {"field": space.kept[0], "clusters": 2})
        clusters = (
            self.derive(search, space, budget),
            first_columns(space, (space.max_dim + 1) // 2),
        )
        return SearchResult(clusters, self.spec(), self.traits.init, router), search

    def router(self, schema: Schema, ref: RouterRef, directory: str) -> Router:
        return ParityRouter(
            schema.index(ref.settings["field"]), ref.settings["field"], ref.settings["clusters"]
        )


class NeedsPairs(SearchMethod):
    """Needs a site that few models have."""

    traits = Traits(needs=frozenset({"pairs"}), ranks_fields=False)

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        return space


# Name in the registry -> class. One class stands for one entry; its variants are in laws.VARIANTS.
TOYS: dict[str, type[SearchMethod]] = {
    "toy_masked": MaskedBilevel,
    "toy_folded": FoldedColumns,
    "toy_routed": RoutedHalves,
}
