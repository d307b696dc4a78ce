"""What the history of a training says about it."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from irazor_tf.training import fit_notices


def history(losses, valid):
    return [
        {"epoch": i + 1, "loss": a, "auc": 0.7, "log_loss": b}
        for i, (a, b) in enumerate(zip(losses, valid, strict=True))
    ]


@pytest.mark.parametrize(
    ("losses", "valid", "told"),
    [
        ((0.5, 0.4, 0.3), (0.40, 0.45, 0.52), True),
        ((0.5, 0.4), (0.40, 0.401), True),
        ((0.5, 0.4, 0.3), (0.40, 0.52, 0.45), True),  # it need not rise all the time
        ((0.5, 0.4, 0.3), (0.40, 0.45, 0.39), False),
        ((0.5, 0.4, 0.3), (0.40, 0.4002, 0.41), False),  # the second epoch is as good
        ((0.5, 0.4, 0.3), (0.40, 0.38, 0.52), False),  # later than after the first epoch
        ((0.5, 0.6, 0.7), (0.40, 0.45, 0.52), False),  # that is divergence
        ((0.5,), (0.40,), False),
        ((), (), False),
    ],
)
def test_overfitting_after_the_first_epoch(losses, valid, told):
    found = fit_notices.overfitting(history(losses, valid), 1)
    assert len(found) == told
    if told:
        for text in (
            f"{valid[0]:.4f} to {valid[-1]:.4f} by epoch {len(valid)}",
            f"{losses[0]:.4f} to {losses[-1]:.4f}",
            "To try",
        ):
            assert text in found[0]
        assert (
            "those of epoch 1)" in found[0]
            and "those of epoch 3)" in fit_notices.overfitting(history(losses, valid), 3)[0]
        )


def test_the_base_rate_costs_what_predicting_it_for_every_row_does():
    labels = np.array([1] * 3 + [0] * 17)
    assert fit_notices.base_rate_log_loss(0.25, 3 / 20) == pytest.approx(
        log_loss(labels, np.full(20, 0.25))
    )
    assert fit_notices.base_rate_log_loss(0.25, 0.25) == pytest.approx(
        -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    )
    for unknown in ((None, 0.5), (0.5, None), (0.0, 0.5), (1.0, 0.5)):
        assert fit_notices.base_rate_log_loss(*unknown) is None


@pytest.mark.parametrize(
    ("value", "told"), [(0.5630, True), (0.5624, False), (0.5622, False), (0.3, False)]
)
def test_worse_than_the_base_rate(value, told):
    found = fit_notices.worse_than_base_rate(value, fit_notices.base_rate_log_loss(0.25, 0.25))
    assert [f"{value:.4f}" in notice and "0.5623" in notice for notice in found] == [True] * told
    assert not fit_notices.worse_than_base_rate(value, None)


def test_the_epoch_whose_weights_were_kept_is_judged():
    records = history((0.5, 0.4, 0.3), (0.6, 0.5, 0.7))
    assert [len(fit_notices.of_training(records, best, 0.55)) for best in (1, 2, 3, None)] == [
        1,
        0,
        1,
        1,
    ]
    assert not fit_notices.of_training(records, 0, 0.55), "of the start there is no record"
    assert not fit_notices.of_training([], None, 0.55)


def test_another_task_has_no_log_loss():
    assert not fit_notices.of_training(
        [{"epoch": 1, "loss": 0.1, "mse": 3.0}, {"epoch": 2, "loss": 0.05, "mse": 4.0}], None, 0.5
    )


def test_rows_that_are_not_of_the_validation_split_are_called_what_they_are():
    (notice,) = fit_notices.of_training(history((0.5, 0.4), (0.6, 0.7)), 1, None, "held-out")
    assert "the held-out log loss goes from 0.6000 to 0.7000" in notice
