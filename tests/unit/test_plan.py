"""What a plan settles before anything is trained: rows, length, end."""

import types
from typing import Any

import pytest

from irazor_tf.training.options import TrainOptions
from irazor_tf.training.plan import Course, FitPlan

PER_EPOCH = 25
OPTIONS = TrainOptions(batch_size=10, epochs=4, patience=2, metric="log_loss")


def source(name: str) -> Any:
    return types.SimpleNamespace(name=name, batches_per_epoch=lambda size: 10 * PER_EPOCH // size)


TRAIN, VALID = source("train"), source("valid")


def course(plan: FitPlan) -> Course:
    return plan.course(OPTIONS, TRAIN, VALID)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "`epochs` should be at least 1. Received: 0"),
        ({"steps": 0}, "`steps` should be at least 1. Received: 0"),
        ({"patience": -1}, "`patience` should be at least 0. Received: -1"),
        ({"warmup": -1}, "`warmup` should be at least 0. Received: -1"),
        ({"pause": 0}, "`pause` should be at least 1. Received: 0"),
    ],
)
def test_a_number_below_its_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FitPlan(**settings)


def test_what_is_left_open_is_the_options():
    settled = course(FitPlan())
    assert (settled.train, settled.valid, settled.judge) == (TRAIN, VALID, VALID)
    assert (settled.metric, settled.patience, settled.epochs) == ("log_loss", 2, 4)
    assert (settled.steps_per_epoch, settled.steps) == (PER_EPOCH, 4 * PER_EPOCH)


def test_a_length_in_steps_cuts_the_last_epoch_and_the_warmup_comes_before():
    settled = course(FitPlan(steps=32, epochs=9, warmup=1))
    assert (settled.epochs, settled.steps) == (3, PER_EPOCH + 32)
    ends = [settled.epoch_at(step) for step in (0, 24, 25, 50, 56)]
    assert ends == [(0, 25), (0, 25), (1, 50), (2, 57), (2, 57)]


def test_the_judge_of_a_part_of_the_rows_has_its_validation_rows():
    part, judge = source("part"), source("judge")
    alone, judged = course(FitPlan(train=part, judge=judge)), course(FitPlan(judge=judge))
    assert (alone.train, alone.valid, alone.judge) == (part, judge, judge)
    assert (judged.train, judged.valid, judged.judge) == (TRAIN, VALID, judge)


def test_the_end_is_the_last_epoch_or_patience_or_what_the_plan_says():
    records = [{"epoch": float(number)} for number in range(1, 5)]
    assert course(FitPlan(patience=0)).is_over(records, None)
    assert not course(FitPlan(patience=0)).is_over(records[:3], 1)
    assert course(FitPlan()).is_over(records[:3], 1) and not course(FitPlan()).is_over(
        records[:2], 1
    )
    stopping = course(FitPlan(patience=0, stop=lambda history: len(history) == 2))
    assert [stopping.is_over(records[:count], None) for count in (1, 2)] == [False, True]
    assert [course(FitPlan(pause=2)).pauses(count) for count in (1, 2)] == [False, True]
    assert not course(FitPlan()).pauses(10)


def test_the_architecture_waits_for_the_end_of_the_warmup():
    plan = FitPlan(warmup=2, frozen=("base",))
    assert [plan.frozen_at(epoch) for epoch in (1, 2)] == [{"base", "architecture"}, {"base"}]
