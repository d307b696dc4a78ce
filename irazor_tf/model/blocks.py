"""Layers that base models are made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.checks import check_ranges, inside
from irazor_tf.config.seeds import seed_of
from irazor_tf.embedding.pieces import Labels
from irazor_tf.model.noise import batch_dropout

MOST_LAYERS = 100
MOST_UNITS = 100_000


@dataclasses.dataclass(frozen=True)
class TowerParams:
    """The settings that every model with a tower (dense layers) shares.

    Args:
      hidden: Units of every hidden layer, from the input on.
      layer_norm: Whether pre-activations are layer-normalised.
      dropout: Share of a hidden layer's units that are set to zero while training, in [0, 1).
    """

    hidden: tuple[int, ...] = (400, 400, 400)
    layer_norm: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if len(self.hidden) > MOST_LAYERS:
            raise ValueError(
                f"`hidden` should have at most {MOST_LAYERS} layers. Received: {len(self.hidden)}"
            )
        if not all(isinstance(units, int) and units > 0 for units in self.hidden):
            raise ValueError(
                f"`hidden` should be positive numbers of units. Received: {self.hidden}"
            )
        if max(self.hidden, default=0) > MOST_UNITS:
            raise ValueError(
                f"`hidden` should have at most {MOST_UNITS:,} units in a layer. Received: "
                f"{max(self.hidden)}"
            )
        check_ranges(self, dropout=inside(0, 1, "[)"))


class Dropout(keras.layers.Layer):
    """Dropout whose mask is a pure function of (seed, step, row). A resumed run, or one that is
    spread over replicas, drops the same units.

    Args:
      rate: Share of units set to zero, in [0, 1); the others are divided by 1 - rate.
      seed: Seed of the masks.
    """

    # The model's step counter; set by the model.
    clock: tf.Variable | None = None

    def __init__(self, rate: float, seed: int, name: str):
        super().__init__(name=name)
        self._rate = rate
        self._noise_seed = seed

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or not self._rate:
            return x
        assert self.clock is not None
        return batch_dropout(x, self._rate, self._noise_seed, self.clock)


class Tower(keras.layers.Layer):
    """Dense ReLU layers and one output unit: [B, sum d_i] -> [B].

    Args:
      params: Numbers of units, normalisation and dropout of the hidden layers.
      columns: Labels of the input columns, by which the rows of the first kernel are cut in a
        narrower model.
      seed: Seed of initial values and noise.
    """

    def __init__(self, params: TowerParams, columns: Labels, *, seed: int, name: str = "tower"):
        super().__init__(name=name)
        self._columns = columns
        hidden, layer_norm, dropout = params.hidden, params.layer_norm, params.dropout
        self.dense = [
            _dense(units, seed_of(seed, name, i), f"dense_{i}") for i, units in enumerate(hidden)
        ]
        self.norms = (
            [keras.layers.LayerNormalization(name=f"norm_{i}") for i in range(len(hidden))]
            if layer_norm
            else []
        )
        self.drops = [
            Dropout(dropout, seed_of(seed, name, "dropout", i), f"dropout_{i}")
            for i in range(len(hidden))
        ]
        self.out = _dense(1, seed_of(seed, name, "out"), "out")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        for i, dense in enumerate(self.dense):
            x = dense(x)
            if self.norms:
                x = self.norms[i](x)
            x = self.drops[i](tf.nn.relu(x), training=training)
        return tf.squeeze(self.out(x), axis=1)

    def labelled_axes(self) -> list[tuple[tf.Variable, tuple[Labels | None, ...]]]:
        """The kernel of the first layer, with the labels of its rows (see
        `BaseModel.labelled_axes`)."""
        first = self.dense[0] if self.dense else self.out
        return [(first.kernel, (self._columns, None))]


class Intercept(keras.layers.Layer):
    """The global bias, a scalar in the optimizer group "bias"."""

    group = "bias"

    def build(self, input_shape: Any) -> None:
        self.bias = self.add_weight("bias", (), initializer="zeros")
        super().build(input_shape)

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        return logits + self.bias


def _dense(units: int, seed: int, name: str) -> keras.layers.Dense:
    return keras.layers.Dense(
        units, kernel_initializer=keras.initializers.GlorotUniform(seed=seed), name=name
    )


def pairwise_products(x: tf.Tensor) -> tf.Tensor:
    """sum_{i<j} <x_i, x_j> = (|sum_i x_i|^2 - sum_i |x_i|^2) / 2: [B, N, D] -> [B] (factorization
    machines, lemma 3.1)."""
    whole = tf.reduce_sum(tf.square(tf.reduce_sum(x, axis=1)), axis=1)
    return 0.5 * (whole - tf.reduce_sum(tf.square(x), axis=(1, 2)))
