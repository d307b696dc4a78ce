"""The gate of iHAS: opens or closes each column of each row, with a probability that a dense layer
computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.seeds import seed_of
from irazor_tf.methods.ihas.equations import (
    Selection,
    columns_of,
    distances,
    gate_logits,
    regularizer,
    select,
    slots_of,
    stochastic_mask,
)
from irazor_tf.methods.ihas.settings import Settings
from irazor_tf.model.gate import Gate
from irazor_tf.model.noise import batch_uniform


class BernoulliGate(Gate):
    """A gate per row and column: out_ij = x_ij m_ij, where m_ij is a Bernoulli variable with the
    probability p_i = sigmoid(e_i W + b) and e_i are the row's embeddings side by side.

    While training, m is drawn (`stochastic_mask`), otherwise it is what `select` chooses. The
    gradient of the loss runs through p into the embeddings, too: in equation 3 the mask is a
    function of them. The regularizer enters the gradient of W and b alone (Algorithm 1, lines 5 and
    7).

    Args:
      space: The config whose columns are gated; padding of narrow fields has no gate.
      params: The method's settings, of which the gate reads temperature, bins, the weights of the
        regularizer, and whether there is a W.
      seed: Seed of initial values and noise.
    """

    def __init__(self, space: InputConfig, params: Settings, *, seed: int):
        super().__init__(name="bernoulli")
        self.shape = (space.num_fields, space.max_dim)
        self.slots = slots_of(space)
        # For every slot of [N * D] its gate; the last index is a column of zeros.
        self._places = np.full(self.shape[0] * self.shape[1], len(self.slots), np.int32)
        self._places[self.slots] = np.arange(len(self.slots))
        self._params = params
        self._noise_seed = seed

    def build(self, input_shape: Any) -> None:
        columns = len(self.slots)
        initializer = keras.initializers.GlorotUniform(seed=seed_of(self._noise_seed, "start"))
        self.kernel = None
        if self._params.instance_wise:
            self.kernel = self.add_architecture("kernel", (columns, columns), initializer)
        start = initializer if self.kernel is None else "zeros"
        self.bias = self.add_architecture("bias", (columns,), start)
        # Means of the last training batch: of p, of |p - its row's mean|, of |2 p - 1|.
        self.moving = self.add_weight(
            "moving_means",
            (3,),
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.MEAN,
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        flat = columns_of(x, self.slots)
        if training:
            assert self.clock is not None
            logits = gate_logits(flat, self.kernel, self.bias)
            shape = tf.shape(flat)
            u, v = (
                batch_uniform(shape, seed_of(self._noise_seed, outcome), self.clock)
                for outcome in ("open", "closed")
            )
            mask = stochastic_mask(logits, u, v, self._params.temperature)
            p = tf.stop_gradient(tf.sigmoid(logits))
            parts = (p, distances(p), tf.abs(2.0 * p - 1.0))
            self.moving.assign(tf.stack([tf.reduce_mean(part) for part in parts]))
        else:
            mask = tf.cast(self.select(flat).open, x.dtype)
        if len(self.slots) < len(self._places):
            mask = tf.gather(tf.pad(mask, ((0, 0), (0, 1))), self._places, axis=1)
        return x * tf.reshape(mask, (-1, *self.shape))

    def select(self, flat: tf.Tensor) -> Selection:
        """The deterministic gates of some rows.

        Args:
          flat: The embeddings of each row side by side, [B, M].
        """
        return select(flat, self.kernel, self.bias, self._params.bins)

    def penalty(
        self, embedding: keras.layers.Layer, x: tf.Tensor, ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        p = tf.sigmoid(gate_logits(columns_of(x, self.slots), self.kernel, self.bias))
        value = regularizer(p, self._params.penalty, self._params.polarization)
        return {"architecture": self._params.regularizer_weight * value}

    def padded(self, columns: np.ndarray) -> np.ndarray:
        """An array of numbers, one per column, in the padded form: [M] -> [N, D] float64, 0 in
        padding."""
        slots = np.zeros(self.shape)
        slots.ravel()[self.slots] = columns
        return slots

    def traces(self) -> dict[str, tf.Tensor]:
        """Curves of the search. Of the last training batch: the mean of p, the mean distance of p
        from 1/2 (scaled to 0 to 1), and the two parts of the regularizer; and the temperature
        tau."""
        opened, distance, decided = tf.unstack(tf.convert_to_tensor(self.moving))
        scale = self._params.regularizer_weight * len(self.slots)
        return {
            "gate_open": opened,
            "gate_decided": decided,
            "sparsity_penalty": scale * self._params.penalty * opened,
            "polarization_penalty": -scale * self._params.polarization * distance,
            "temperature": tf.constant(self._params.temperature),
        }
