"""Noise as a pure function of (seed, step, row)."""

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.model.noise import batch_dropout


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.999999])
@pytest.mark.parametrize("units", [7, 400])
def test_dropout_keeps_the_share_and_the_mean(rate: float, units: int) -> None:
    """Kept units are scaled by one factor, the share that stays is 1 - rate and units, rows and
    steps are not correlated."""
    x = tf.ones((4096, units))
    first, second = (
        batch_dropout(x, rate, 3, tf.constant(step, tf.int64)).numpy() for step in (0, 1)
    )
    if rate > 0.99:
        assert np.isfinite(first).all() and (first > 0).mean() < 1e-3
        return
    np.testing.assert_allclose(np.unique(first), [0.0, 1 / (1 - rate)], rtol=1e-4)
    error = 5 * np.sqrt(rate * (1 - rate) / first.size)
    keep = first > 0
    assert abs(keep.mean() - (1 - rate)) < error
    for other in (second > 0, np.roll(keep, 1, axis=1), np.roll(keep, 1, axis=0)):
        assert abs((keep & other).mean() - (1 - rate) ** 2) < 2 * error


def test_dropout_repeats_itself_and_differs_by_seed() -> None:
    """Same seed and step: same units; another seed or step: others."""
    x = tf.random.stateless_normal((64, 5), [1, 2])
    draw = {
        (seed, step): batch_dropout(x, 0.5, seed, tf.constant(step, tf.int64)).numpy()
        for seed in (1, 2)
        for step in (0, 9)
    }
    np.testing.assert_array_equal(
        draw[1, 0], batch_dropout(x, 0.5, 1, tf.constant(0, tf.int64)).numpy()
    )
    assert all((draw[1, 0] != draw[key]).any() for key in draw if key != (1, 0))
