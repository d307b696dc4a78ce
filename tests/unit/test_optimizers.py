"""Sparse updates: repeated ids are summed first, rows that a batch does not touch stay, and names are checked."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.optimizers import make_optimizer

IDS = np.array([2, 5, 2, 0, 5, 5])
ROWS, DIM = 8, 3


def descend(spec: str, gradients: list[np.ndarray], ids: np.ndarray = IDS) -> np.ndarray:
    """A table of ones after one update per gradient of the rows looked up."""
    table = tf.Variable(tf.ones((ROWS, DIM)))
    optimizer = make_optimizer(spec)
    for gradient in gradients:
        slices = tf.IndexedSlices(tf.constant(gradient, tf.float32), tf.constant(ids), (ROWS, DIM))
        optimizer.apply_gradients([(slices, table)])
    return table.numpy()


def summed(gradient: np.ndarray, ids: np.ndarray = IDS) -> np.ndarray:
    whole = np.zeros((ROWS, DIM))
    np.add.at(whole, ids, gradient)
    return whole


@pytest.fixture
def gradients() -> list[np.ndarray]:
    generator = np.random.Generator(np.random.PCG64(3))
    return [generator.normal(size=(len(IDS), DIM)) for _ in range(4)]


def test_adagrad_sums_repeated_ids_before_it_squares(gradients: list[np.ndarray]) -> None:
    table, total = np.ones((ROWS, DIM)), np.full((ROWS, DIM), 0.1)
    for gradient in gradients:
        whole = summed(gradient)
        total += whole**2
        table -= 0.5 * whole / (np.sqrt(total) + 1e-7)
    np.testing.assert_allclose(descend("adagrad(learning_rate=0.5)", gradients), table, atol=1e-5)


def test_lazy_adam_moves_touched_rows_as_adam_does_and_no_other(gradients: list[np.ndarray]) -> None:
    table, m, v = np.ones((ROWS, DIM)), np.zeros((ROWS, DIM)), np.zeros((ROWS, DIM))
    touched = np.unique(IDS)
    for step, gradient in enumerate(gradients, 1):
        whole = summed(gradient)
        m[touched] = 0.9 * m[touched] + 0.1 * whole[touched]
        v[touched] = 0.999 * v[touched] + 0.001 * whole[touched] ** 2
        rate = 0.01 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        table[touched] -= rate * m[touched] / (np.sqrt(v[touched]) + 1e-7)
    found = descend("lazy_adam(learning_rate=0.01)", gradients)
    np.testing.assert_allclose(found, table, atol=1e-5)
    np.testing.assert_array_equal(np.delete(found, touched, axis=0), 1.0)


def test_adam_goes_on_moving_rows_that_a_batch_leaves_out(gradients: list[np.ndarray]) -> None:
    later = np.array([7] * len(IDS))
    table = tf.Variable(tf.ones((ROWS, DIM)))
    for spec, moves in (("adam(learning_rate=0.01)", True), ("lazy_adam(learning_rate=0.01)", False)):
        optimizer = make_optimizer(spec)
        table.assign(tf.ones((ROWS, DIM)))
        optimizer.apply_gradients([(tf.IndexedSlices(tf.constant(gradients[0], tf.float32), tf.constant(IDS), (ROWS, DIM)), table)])
        before = table.numpy()[IDS]
        optimizer.apply_gradients([(tf.IndexedSlices(tf.constant(gradients[1], tf.float32), tf.constant(later), (ROWS, DIM)), table)])
        assert np.any(table.numpy()[IDS] != before) == moves


def test_ftrl_with_l1_sets_rarely_moved_weights_to_zero(gradients: list[np.ndarray]) -> None:
    weak = [gradient * 1e-3 for gradient in gradients]
    found = descend("ftrl(learning_rate=0.1, l1_regularization_strength=1.0)", weak)
    np.testing.assert_array_equal(found[np.unique(IDS)], 0.0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("adamw()", r"An optimizer should be one of adagrad, adam, ftrl, lazy_adam, sgd\. Received: 'adamw'"),
        ("adagrad(rate=1)", r"An argument of optimizer 'adagrad' should be one of learning_rate, .*Received: 'rate'"),
        ("lazy_adam(rate=1)", r"An argument of optimizer 'lazy_adam' should be one of learning_rate, beta_1, .*Received: 'rate'"),
    ],
)
def test_names_are_checked(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_optimizer(spec)
