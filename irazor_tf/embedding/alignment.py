"""Alignment: a linear map per field brings embeddings of unequal dimension to one width, for all
models that compare fields with each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.seeds import seed_of
from irazor_tf.embedding.pieces import Piece
from irazor_tf.embedding.tables import FieldEmbedding


@dataclasses.dataclass(frozen=True)
class AlignedParams:
    """The settings of alignment, the linear maps that bring all fields' embeddings to one width;
    shared by every model that compares fields with each other.

    Args:
      align_bias: Whether a field's map has a bias, as in i-Razor, section 3.3.2; HAM, section 4.3,
        and SSEDS, equation 13, have none.
      align_widest: Whether fields of the full width are mapped too, as soon as there are narrower
        ones (HAM, SSEDS; i-Razor maps the narrower ones alone).
      align_always: Whether fields are mapped even where all are equally wide, and so from the first
        training on (HAM, section 4.3: the maps lie between embeddings and interactions in all three
        stages). If False (default), there are maps only once a field is narrower than the others.
    """

    align_bias: bool = False
    align_widest: bool = True
    align_always: bool = False

    def __post_init__(self) -> None:
        if self.align_always and not self.align_widest:
            raise ValueError(
                "`align_always` maps fields of the full width and needs `align_widest`. Received: "
                "align_widest=False"
            )


class Alignment(keras.layers.Layer):
    """The linear maps of all kept fields to one width D: aligned_i = e_i M_i (+ b_i), M_i [d_i, D].
    Where all fields are D wide and neither config nor params ask for maps, aligned_i = e_i.

    Sources: SSEDS equation 13, HAM section 4.3, i-Razor section 3.3.2.

    Args:
      embedding: The embedding layer whose output is aligned. D is the width `aligned` of its
        config, or, where that is None, the dimension of the widest field.
      params: Whether maps have a bias, and which fields have a map.
      seed: Seed of the maps' initial values, uniform within sqrt(6 / (d_i + D)); biases start at 0.
    """

    group = "network"

    def __init__(self, embedding: FieldEmbedding, params: AlignedParams, seed: int):
        super().__init__(name="alignment")
        config = embedding.config
        self.width = config.aligned_width
        self._fields = embedding.fields
        self._widths = embedding.widths
        self._labels = {name: config.fields[name].labels for name in embedding.fields}
        maps = config.has_maps or params.align_always
        self._mapped = [
            maps and (params.align_widest or dim < self.width) for dim, _ in self._widths
        ]
        self._bias = params.align_bias
        self._seed = seed
        in_order = [name for _, fields in self._widths for name in fields]
        self._order = np.array([in_order.index(name) for name in self._fields], np.int32)
        self._places = [
            np.array([self._fields.index(name) for name in fields], np.int32)
            for _, fields in self._widths
        ]

    def build(self, input_shape: Any) -> None:
        self.maps: list[tf.Variable | None] = []
        self.biases: list[tf.Variable | None] = []
        for (dim, fields), mapped in zip(self._widths, self._mapped, strict=True):
            bound = (6.0 / (dim + self.width)) ** 0.5
            initializer = keras.initializers.RandomUniform(
                -bound, bound, seed=seed_of(self._seed, self.name, dim)
            )
            shape = (len(fields), dim, self.width)
            self.maps.append(
                self.add_weight(f"map_{dim}", shape, initializer=initializer) if mapped else None
            )
            biased = mapped and self._bias
            self.biases.append(
                self.add_weight(f"bias_{dim}", (len(fields), self.width), initializer="zeros")
                if biased
                else None
            )
        super().build(input_shape)

    def call(self, flat: tf.Tensor, open_fields: tf.Tensor | None = None) -> tf.Tensor:
        """The aligned embeddings of a batch.

        Args:
          flat: [B, sum d_i]. The embeddings side by side, as `FieldEmbedding.flatten` gives them;
            zeros for fields that a gate or a mask has closed.
          open_fields: [N]. 0 for a closed field, whose bias is left out, else 1. If None (default),
            all fields are open.

        Returns:
          [B, N, D], the kept fields in the schema's order.
        """
        parts, start = [], 0
        for (dim, fields), places, map_, bias in zip(
            self._widths, self._places, self.maps, self.biases, strict=True
        ):
            part = tf.reshape(flat[:, start : start + dim * len(fields)], (-1, len(fields), dim))
            start += dim * len(fields)
            if map_ is not None:
                part = tf.einsum("bnd,nde->bne", part, map_)
            if bias is not None and open_fields is not None:
                bias = bias * tf.gather(open_fields, places)[:, tf.newaxis]
            if bias is not None:
                part += bias
            parts.append(part)
        if len(parts) == 1:
            return parts[0]
        return tf.gather(tf.concat(parts, axis=1), self._order, axis=1)

    def pieces(self) -> Iterator[Piece]:
        """The maps as labelled parts for narrowing (see `Piece`): one per field, its rows labelled
        by the field's columns, and one for its bias where maps have one. A field without a map is
        listed with the identity as its map, and with a bias of zeros."""
        for (dim, fields), map_, bias in zip(self._widths, self.maps, self.biases, strict=True):
            for i, name in enumerate(fields):
                axes = (None, self._labels[name], None)
                rows = None if map_ is None else (i, i + 1)
                identity = np.eye(dim, self.width, dtype=np.float32)[None]
                yield Piece(f"{self.name}/{name}/map", map_, rows, axes, identity)
                if self._bias:
                    rows = None if bias is None else (i, i + 1)
                    zeros = np.zeros((1, self.width), np.float32)
                    yield Piece(f"{self.name}/{name}/bias", bias, rows, (None, None), zeros)
