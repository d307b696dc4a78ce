"""The contract of base models: layers from field embeddings to a logit that know nothing of
search."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.registry import Registry
from irazor_tf.embedding.pieces import Labels
from irazor_tf.embedding.tables import Embedded

MODELS = Registry("model", "irazor_tf.models")


class BaseModel(keras.layers.Layer):
    """Base of all base models: a layer that turns the embeddings of a batch into logits.

    Args:
      params: The model's settings.
      columns: Labels of the columns of `Embedded.flat`, [sum d_i].
      fields: Names of the kept fields, one for each column of `Embedded.linear`.
      seed: Seed of initial values and noise.
    """

    @dataclasses.dataclass(frozen=True)
    class Params:
        """The settings of a model; a subclass lists its own and checks them in `__post_init__`."""

    def __init__(self, params: Any, columns: Labels = (), fields: Labels = (), seed: int = 0):
        super().__init__(name="base")
        self.params = params
        self.columns = columns
        self.fields = fields
        self.seed = seed

    @property
    def uses(self) -> frozenset[str]:
        """The parts of `Embedded` that the model reads: some of "flat", "linear" and "stacked" (a
        model that reads "stacked" has settings that are `AlignedParams`)."""
        return frozenset({"flat"})

    @property
    def sites(self) -> frozenset[str]:
        """Names of the places in this model where a gate can sit: "embedding", between the
        embeddings and the layers that read them, or none."""
        return frozenset({"embedding"}) if self.uses & {"flat", "stacked"} else frozenset()

    def bind(self, columns: Labels, fields: Labels, seed: int) -> BaseModel:
        """A new layer with the same settings, for other columns and fields.

        Args:
          columns, fields, seed: see `BaseModel`.
        """
        return type(self)(self.params, columns, fields, seed)

    def call(self, inputs: Embedded, training: bool = False) -> tf.Tensor:
        """Logits of a batch, [B], without the global bias.

        Args:
          inputs: The batch's embeddings; the parts that `uses` names are not None.
          training: Whether layers such as dropout act as they do while training.
        """
        raise TypeError(f"{type(self).__name__} should define `call`")

    def labelled_axes(self) -> list[tuple[tf.Variable, tuple[Labels | None, ...]]]:
        """The variables that get smaller in a narrower model.

        Returns:
          (variable, labels of every axis) for each variable with an axis over input columns or
          fields. The labels of an axis that keeps its length are None.
        """
        return []
