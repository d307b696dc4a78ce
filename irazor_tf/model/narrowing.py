"""Cutting a wide model to a narrow one with the same numbers: weights are labelled by columns and
fields, and cut to the labels that a config keeps. Also the mask by which a wide model scores like
the narrow one without being cut."""

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
    """The attributes and methods of a model that `pieces`, `load_pieces`, `aligned` and `hard_mask`
    use; `Predictor` has them all."""

    config: InputConfig
    embedding: FieldEmbedding | None
    alignment: Alignment | None
    linear: FieldEmbedding | None
    base: BaseModel
    intercept: Intercept

    def pieces(self) -> Iterator[Piece]:
        """The model's weights as labelled parts; see the function `pieces`."""


class Narrowable(Labelled, Protocol):
    """The attributes and methods of a model that `restrict` uses; `Recommender` has them all."""

    gates: dict[str, Gate]

    def like(self: T, config: InputConfig, gates: Mapping[str, Gate]) -> T:
        """A new model with the same settings, and with fresh weights, for another config; see
        `Recommender.like`."""

    def inherit(self, wide: Any) -> None:
        """Copies the weights that this model shares with a wider one; see `Predictor.inherit`."""


def pieces(model: Labelled) -> Iterator[Piece]:
    """The weights of a model that a narrower one shares, as labelled parts. The weights of gates
    are not among them."""
    for layer in (model.embedding, model.alignment, model.linear):
        if layer is not None:
            yield from layer.pieces()
    labelled = {variable.ref(): axes for variable, axes in model.base.labelled_axes()}
    for i, variable in enumerate(model.base.weights):
        axes = labelled.get(variable.ref(), (None,) * len(variable.shape))
        yield Piece(f"base/{i}", variable, None, axes)
    yield Piece("intercept", model.intercept.bias, None, ())


def load_pieces(model: Labelled, wide: Values) -> None:
    """Assigns to a model the weights that it shares with a wider one.

    Args:
      model: The narrower model.
      wide: Key of a part -> its values in the wider model, and their labels along every axis.
    """
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
    """`config` with the width at which fields are compared in `model`, set where a model that is
    cut from it needs maps to give the same numbers.

    Args:
      model: The wider model.
      config: Config of the model to be cut from it.
    """
    whole = all(
        config.fields[name].labels == model.config.fields[name].labels for name in config.kept
    )
    width = None if whole and not model.config.has_maps else model.config.aligned_width
    return dataclasses.replace(config, aligned=width if model.alignment is not None else None)


def restrict(model: Model, config: InputConfig, keep_gates: bool) -> Model:
    """The narrow model that is cut from a wide one, with the same numbers.

    Args:
      model: The wide model.
      config, keep_gates: see `Recommender.restrict`.
    """
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
    """The mask by which a wide model scores like the model of a narrower config.

    Args:
      model: The wide model.
      config: The narrower config.
      mask: An earlier mask of this model, which gets new values if it has the right shape; else, or
        if None, a new mask is made.

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
