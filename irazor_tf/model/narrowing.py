"""From a wide model to a narrow one with the same numbers: weights by label, cut to what a config
keeps; and the mask that stands for such a cut while the model stays wide."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
import tensorflow as tf

from irazor_tf.config.input_config import InputConfig
from irazor_tf.embedding.alignment import Alignment
from irazor_tf.embedding.hard_mask import HardMask
from irazor_tf.embedding.pieces import Labels, Piece
from irazor_tf.embedding.tables import FieldEmbedding
from irazor_tf.model.base import BaseModel
from irazor_tf.model.blocks import Intercept
from irazor_tf.model.gate import Gate, NarrowedGate

T = TypeVar("T")
Model = TypeVar("Model", bound="Narrowable")

# Key of a piece -> its values, and the labels along every axis.
Values = Mapping[str, tuple[np.ndarray, tuple[Labels | None, ...]]]


class Labelled(Protocol):
    """What narrowing needs of a model; see `Predictor`, which has it."""

    config: InputConfig
    embedding: FieldEmbedding | None
    alignment: Alignment | None
    linear: FieldEmbedding | None
    base: BaseModel
    intercept: Intercept

    def pieces(self) -> Iterator[Piece]:
        """See `pieces`."""


class Narrowable(Labelled, Protocol):
    """What `restrict` needs of a model; see `Recommender`, which has it."""

    gates: dict[str, Gate]

    def like(self: T, config: InputConfig, gates: Mapping[str, Gate]) -> T:
        """A model of other columns, with the same settings and fresh weights."""

    def inherit(self, wide: Any) -> None:
        """Takes the numbers that both models have."""


def pieces(model: Labelled) -> Iterator[Piece]:
    """Every weight that a narrower model shares, labelled; a gate's weights stay with the gate."""
    for layer in (model.embedding, model.alignment, model.linear):
        if layer is not None:
            yield from layer.pieces()
    labelled = {variable.ref(): axes for variable, axes in model.base.labelled_axes()}
    for i, variable in enumerate(model.base.weights):
        axes = labelled.get(variable.ref(), (None,) * len(variable.shape))
        yield Piece(f"base/{i}", variable, None, axes)
    yield Piece("intercept", model.intercept.bias, None, ())


def load_pieces(model: Labelled, wide: Values) -> None:
    """Assigns the parts of `wide` that the model has."""
    targets: dict[Any, tuple[tf.Variable, np.ndarray]] = {}
    for piece in model.pieces():
        if piece.variable is None:
            continue
        array, wide_axes = wide[piece.key]
        for axis, (labels, wide_labels) in enumerate(zip(piece.axes, wide_axes, strict=True)):
            if labels is not None:
                assert wide_labels is not None
                position = {label: i for i, label in enumerate(wide_labels)}
                array = np.take(array, [position[label] for label in labels], axis=axis)
        _, target = targets.setdefault(
            piece.variable.ref(), (piece.variable, np.array(piece.variable.numpy()))
        )
        target[... if piece.rows is None else slice(*piece.rows)] = array
    for variable, target in targets.values():
        variable.assign(target)


def aligned(model: Labelled, config: InputConfig) -> InputConfig:
    """`config` with the width at which the model's fields meet, where a model cut from this one
    needs maps to keep its numbers."""
    whole = all(
        config.fields[name].labels == model.config.fields[name].labels for name in config.kept
    )
    width = None if whole and not model.config.has_maps else model.config.aligned_width
    return dataclasses.replace(config, aligned=width if model.alignment is not None else None)


def restrict(model: Model, config: InputConfig, keep_gates: bool) -> Model:
    """The narrow model; see `Recommender.restrict`."""
    if not config.within(model.config):
        raise ValueError(
            "`restrict` takes a config within the model's. Received: one that keeps columns "
            "the model does not have"
        )
    gates = {
        site: NarrowedGate(gate, model.config, config)
        for site, gate in (model.gates.items() if keep_gates else ())
    }
    narrow = model.like(aligned(model, config), gates)
    narrow.inherit(model)
    return narrow


def hard_mask(model: Labelled, config: InputConfig, mask: HardMask | None) -> HardMask:
    """The mask that stands for `config` in the model: `mask` with other values, or a new one where
    `mask` is None or of another shape.

    Raises:
      ValueError: `config` keeps something that the model does not have.
    """
    if not config.within(model.config):
        raise ValueError(
            "A hard mask should lie within the model's config. Received: one with columns the "
            "model does not have"
        )
    fields = np.array([config.fields[name].dim > 0 for name in model.config.kept], np.float32)
    columns, entries = fields[:, None], None
    if model.embedding is not None:
        columns = model.embedding.column_mask(config)
        entries = model.embedding.entry_masks(config) if config.masks() else None
    if mask is None or not mask.takes(entries):
        mask = HardMask(columns.shape, entries)
    mask.assign(columns, fields, entries)
    return mask
