"""Sparse updates: repeated ids are summed first, rows that a batch does not touch stay, and names
are checked."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from irazor_tf.training.updates.optimizers import make_optimizer

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


def test_lazy_adam_moves_touched_rows_as_adam_does_and_no_other(
    gradients: list[np.ndarray],
) -> None:
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
    for spec, moves in (
        ("adam(learning_rate=0.01)", True),
        ("lazy_adam(learning_rate=0.01)", False),
    ):
        optimizer = make_optimizer(spec)
        table.assign(tf.ones((ROWS, DIM)))
        optimizer.apply_gradients(
            [
                (
                    tf.IndexedSlices(
                        tf.constant(gradients[0], tf.float32), tf.constant(IDS), (ROWS, DIM)
                    ),
                    table,
                )
            ]
        )
        before = table.numpy()[IDS]
        optimizer.apply_gradients(
            [
                (
                    tf.IndexedSlices(
                        tf.constant(gradients[1], tf.float32), tf.constant(later), (ROWS, DIM)
                    ),
                    table,
                )
            ]
        )
        assert np.any(table.numpy()[IDS] != before) == moves


def test_ftrl_with_l1_sets_rarely_moved_weights_to_zero(gradients: list[np.ndarray]) -> None:
    weak = [gradient * 1e-3 for gradient in gradients]
    found = descend("ftrl(learning_rate=0.1, l1_regularization_strength=1.0)", weak)
    np.testing.assert_array_equal(found[np.unique(IDS)], 0.0)


def adam_in_numpy(
    gradients: list[np.ndarray], start: np.ndarray, decay: float, rate: float, epsilon: float = 1e-7
) -> np.ndarray:
    """Adam as PyTorch has it: the decay enters the gradient, and with it both moments; epsilon
    stands beside the corrected moment."""
    w, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step, gradient in enumerate(gradients, 1):
        g = gradient + decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + epsilon)
    return w


def test_weight_decay_enters_both_moments(gradients: list[np.ndarray]) -> None:
    """A dense weight; AdamW, which leaves the moments alone, would end elsewhere."""
    kernel = tf.Variable(tf.ones(gradients[0].shape))
    optimizer = make_optimizer("adam(learning_rate=0.1, weight_decay=0.5)")
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient, tf.float32), kernel)])
    start = np.ones(gradients[0].shape)
    np.testing.assert_allclose(kernel.numpy(), adam_in_numpy(gradients, start, 0.5, 0.1), atol=1e-5)
    decoupled = adam_in_numpy(gradients, start, 0.0, 0.1)
    assert np.abs(kernel.numpy() - decoupled * (1 - 0.1 * 0.5) ** len(gradients)).max() > 1e-2


def test_weight_decay_of_a_table_is_of_all_its_rows(gradients: list[np.ndarray]) -> None:
    found = descend("adam(learning_rate=0.1, weight_decay=0.5)", gradients)
    wholes = [summed(gradient) for gradient in gradients]
    np.testing.assert_allclose(
        found, adam_in_numpy(wholes, np.ones((ROWS, DIM)), 0.5, 0.1), atol=1e-5
    )
    assert np.delete(found, np.unique(IDS), axis=0).max() < 1.0, (
        "rows that no batch has looked up decay too"
    )


@pytest.mark.parametrize("start", [0.01, 0.1])
def test_a_small_decay_shrinks_rows_without_a_gradient_as_fast_as_pytorchs(start: float) -> None:
    """Their gradient is of epsilon's size: with epsilon beside an uncorrected moment they would
    hardly move."""
    table = tf.Variable(tf.fill((ROWS, DIM), start))
    optimizer = make_optimizer("adam(learning_rate=0.001, weight_decay=1e-6, epsilon=1e-8)")
    nothing = tf.IndexedSlices(tf.zeros((1, DIM)), tf.constant([0]), (ROWS, DIM))
    for _ in range(30):
        optimizer.apply_gradients([(nothing, table)])
    expected = adam_in_numpy(
        [np.zeros((ROWS, DIM))] * 30, np.full((ROWS, DIM), start), 1e-6, 0.001, 1e-8
    )
    np.testing.assert_allclose(table.numpy(), expected, atol=2e-6)
    assert expected.max() < 0.9 * start


def test_the_weight_decay_of_the_lazy_form_is_of_the_touched_rows(
    gradients: list[np.ndarray],
) -> None:
    found, touched = (
        descend("lazy_adam(learning_rate=0.1, weight_decay=0.5)", gradients),
        np.unique(IDS),
    )
    wholes = [summed(gradient)[touched] for gradient in gradients]
    np.testing.assert_allclose(
        found[touched], adam_in_numpy(wholes, np.ones((len(touched), DIM)), 0.5, 0.1), atol=1e-5
    )
    np.testing.assert_array_equal(np.delete(found, touched, axis=0), 1.0)


@pytest.mark.parametrize("name", ["adam", "lazy_adam"])
def test_without_decay_adam_is_kerass(name: str, gradients: list[np.ndarray]) -> None:
    np.testing.assert_array_equal(
        descend(f"{name}(weight_decay=0.0)", gradients), descend(f"{name}()", gradients)
    )
    if name == "adam":
        keras_adam = tf.Variable(tf.ones((ROWS, DIM)))
        optimizer = keras.optimizers.legacy.Adam()
        for gradient in gradients:
            optimizer.apply_gradients(
                [
                    (
                        tf.IndexedSlices(
                            tf.constant(gradient, tf.float32), tf.constant(IDS), (ROWS, DIM)
                        ),
                        keras_adam,
                    )
                ]
            )
        np.testing.assert_array_equal(descend("adam()", gradients), keras_adam.numpy())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "adamw()",
            r"An optimizer should be one of adagrad, adam, ftrl, lazy_adam, sgd\. Received: "
            r"'adamw'",
        ),
        (
            "adagrad(rate=1)",
            r"An argument of optimizer 'adagrad' should be one of learning_rate, .*Received: "
            r"'rate'",
        ),
        (
            "lazy_adam(rate=1)",
            r"An argument of optimizer 'lazy_adam' should be one of learning_rate, beta_1, "
            r".*Received: 'rate'",
        ),
        (
            "lazy_adam(amsgrad=True)",
            r"An argument of optimizer 'lazy_adam' should be one of .*Received: 'amsgrad'",
        ),
        (
            "sgd(weight_decay=0.1)",
            r"An argument of optimizer 'sgd' should be one of .*Received: 'weight_decay'",
        ),
        (
            "adam(clipnorm=1.0)",
            r"An argument of optimizer 'adam' should be one of .*weight_decay\. Received: "
            r"'clipnorm'",
        ),
        ("adam(sgd())", r"An optimizer takes named arguments only\. Received: 'adam\(sgd\(\)\)'"),
        (
            "adam(learning_rate='fast')",
            r"`learning_rate` of optimizer 'adam' should be a number\. Received: 'fast'",
        ),
        (
            "adam(learning_rate=True)",
            r"`learning_rate` of optimizer 'adam' should be a number\. Received: True",
        ),
        ("adam(amsgrad=1)", r"`amsgrad` of optimizer 'adam' should be True or False\. Received: 1"),
        (
            "sgd(learning_rate=1e999)",
            r"`learning_rate` of optimizer 'sgd' should lie in \(0, 10000\]\. Received: inf",
        ),
    ],
)
def test_names_and_types_are_checked(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_optimizer(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "adagrad(learning_rate=1e6)", "sgd(learning_rate=1e30)", "adam(learning_rate=-0.05)", "sgd(learning_rate=0)",  # noqa: E501
        "adam(beta_1=2.0)", "adam(beta_2=1.0)", "lazy_adam(beta_1=-0.1)", "adam(beta_2=0.99999999999)", "sgd(momentum=1.0)",  # noqa: E501
        "adam(epsilon=0.0)", "adagrad(epsilon=-1e-8)", "adam(epsilon=1e-60)", "adagrad(initial_accumulator_value=-0.1)",  # noqa: E501
        "ftrl(learning_rate_power=0.5)", "ftrl(l1_regularization_strength=-1)", "ftrl(l2_regularization_strength=1e999)",  # noqa: E501
        "ftrl(beta=-1.0)", "ftrl(l2_shrinkage_regularization_strength=-1.0)", "adam(weight_decay=-1e-6)", "lazy_adam(weight_decay=1e300)",  # noqa: E501
        f"sgd(learning_rate={10**400})",
    ],
)  # fmt: skip
def test_what_would_diverge_is_out_of_range(spec: str) -> None:
    with pytest.raises(
        ValueError, match=r"`\w+` of optimizer '\w+' should lie in [\[(].*[\])]\. Received: "
    ):
        make_optimizer(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "sgd(learning_rate=1.0, momentum=0.9, nesterov=True)", "sgd(learning_rate=2048)",
        "adam(learning_rate=1e-6, beta_1=0, amsgrad=True)",
        "adagrad(learning_rate=0.02, initial_accumulator_value=0)", "adam(epsilon=1.0, "
                                                                    "weight_decay=0)",
        "ftrl(learning_rate=0.1, learning_rate_power=0, l1_regularization_strength=1, "
        "l2_regularization_strength=1, beta=1.0)",
    ],
)  # fmt: skip
def test_sensible_settings_pass(spec: str, gradients: list[np.ndarray]) -> None:
    assert np.all(np.isfinite(descend(spec, gradients)))
