"""L2 and layer normalisation against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS
from irazor_tf.model.blocks import Tower, TowerParams
from irazor_tf.model.recommender import Recommender

SCHEMA = Schema((Field("user", vocabulary_size=5), Field("hour", vocabulary_size=3)))
IDS = np.array([[0, 1], [3, 1], [3, 2], [3, 1], [4, 0]])
OFFSETS = np.array([0, 5])


def gradients_with(**l2):
    model = Recommender(
        SCHEMA,
        InputConfig.uniform(SCHEMA, 2),
        MODELS.build("mlp(hidden=(3,))"),
        TASKS.build("ctr"),
        **l2,
    )
    assert model.embedding is not None and model.linear is not None
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(0, 0.5, variable.shape))
    _, found = model.gradients(
        {"ids": tf.constant(IDS, tf.int32), "label": tf.constant([1.0, 0, 0, 1, 0])},
        ["bias", "network"],
    )
    by_variable = {
        v.ref(): g
        for group in found
        for g, v in zip(found[group], model.variable_groups[group], strict=True)
    }
    tables = {"embedding_l2": model.embedding.tables[0], "linear_l2": model.linear.tables[0]}
    dense = {
        name: tf.convert_to_tensor(by_variable[table.ref()]).numpy()
        for name, table in tables.items()
    }
    return dense, {name: table.numpy() for name, table in tables.items()}


@pytest.mark.parametrize("name", ["embedding_l2", "linear_l2"])
def test_l2_is_half_the_mean_squared_norm_of_a_row(name):
    """d/dE_v of (l2 / 2) mean_b sum_i |e_bi|^2 is l2 n_v E_v / B, n_v the times that feature v
    occurs in the batch."""
    plain, tables = gradients_with()
    found, _ = gradients_with(**{name: 0.3})
    times = np.bincount((IDS + OFFSETS).ravel(), minlength=8)
    expected = 0.3 * times[:, None] * tables[name].reshape(8, -1) / len(IDS)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(
        (found[name] - plain[name]).reshape(8, -1), expected, rtol=1e-4, atol=1e-6
    )
    (other,) = {"embedding_l2", "linear_l2"} - {name}
    np.testing.assert_array_equal(found[other], plain[other])


@pytest.mark.parametrize("layer_norm", [False, True])
def test_tower_with_and_without_layer_normalisation(layer_norm):
    """Pre-activations are normalised over a layer's units, then scaled and shifted, before ReLU."""
    tower = Tower(TowerParams((4, 3), layer_norm), (("user", 0), ("user", 1)), seed=1)
    x = np.random.default_rng(1).normal(size=(6, 2))
    tower(tf.constant(x, tf.float32))
    generator = np.random.default_rng(2)
    for variable in tower.trainable_variables:
        variable.assign(generator.normal(0.3, 1, variable.shape))
    assert len(tower.norms) == (2 if layer_norm else 0)
    for i, dense in enumerate(tower.dense):
        x = x @ dense.kernel.numpy() + dense.bias.numpy()
        if layer_norm:
            x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-3)
            x = x * tower.norms[i].gamma.numpy() + tower.norms[i].beta.numpy()
        x = np.maximum(x, 0)
    expected = (x @ tower.out.kernel.numpy() + tower.out.bias.numpy())[:, 0]
    inputs = tf.constant(np.random.default_rng(1).normal(size=(6, 2)), tf.float32)
    np.testing.assert_allclose(tower(inputs), expected, rtol=1e-4, atol=1e-5)


def test_the_model_passes_layer_norm_on():
    assert MODELS.build("mlp(hidden=(3,), layer_norm=True)").params.layer_norm
    model = Recommender(
        SCHEMA,
        InputConfig.uniform(SCHEMA, 2),
        MODELS.build("mlp(hidden=(3,), layer_norm=True)"),
        TASKS.build("ctr"),
    )
    assert len(model.base.tower.norms) == 1
