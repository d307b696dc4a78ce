"""The dozen recipes and their halving, without training."""

import math

import pytest

from irazor_tf.config.recipe import RULE, Known
from irazor_tf.training import tuning
from irazor_tf.training.options import TrainOptions

VALUES = {key: rule(Known(63_861, 39, 50_192)) for key, rule in RULE.items()} | {"dropout": 0.0}


def test_a_dozen_recipes_that_differ_and_can_be_trained():
    found = tuning.recipes(VALUES, False, 63_861)
    assert len(found) == 12 and found[0] == {} and all(found[1:])
    assert len({tuple(sorted(changes.items())) for changes in found}) == 12
    for changes in found:
        TrainOptions(
            **{key: value for key, value in (VALUES | changes).items() if key != "dropout"}
        )
    assert {key for changes in found for key in changes} == {
        *("batch_size", "network_optimizer", "embedding_ridge", "bias_optimizer", "dropout")
    }


def test_first_order_terms_have_recipes_of_their_own():
    found = tuning.recipes(VALUES, True, 63_861)
    assert len(found) == 12 and found[0] == {}
    assert {key for changes in found for key in changes} == {"bias_optimizer", "linear_ridge"}
    assert {changes.get("linear_ridge", 20.0) for changes in found} == {2.0, 6.0, 20.0, 60.0}


def test_what_is_given_is_not_changed():
    for first_order in (False, True):
        for key in VALUES:
            left = {name: value for name, value in VALUES.items() if name != key}
            found = tuning.recipes(left, first_order, 63_861)
            assert (
                found[0] == {}
                and all(found[1:])
                and not [changes for changes in found if key in changes]
            )
            assert len({str(changes) for changes in found}) == len(found)
    assert tuning.recipes({}, False, 63_861) == [{}]


def test_no_batch_is_larger_than_the_log():
    for rows, number in ((1024, 12), (1023, 11)):
        found = tuning.recipes(VALUES, False, rows)
        assert (
            len(found) == number
            and max(changes.get("batch_size", 256) for changes in found) <= rows
        )


def test_a_learning_rate_is_scaled_and_the_rest_of_the_optimizer_stays():
    found = [
        changes["bias_optimizer"]
        for changes in tuning.recipes(VALUES, False, 63_861)
        if "bias_optimizer" in changes
    ]
    assert found == [
        f"adagrad(learning_rate={rate}, initial_accumulator_value=1e-08)"
        for rate in (0.0088, 0.055)
    ]


class Course:
    """Recipes whose value after each epoch is known; counts the epochs that were trained."""

    def __init__(self, courses):
        self.courses, self.trained = courses, dict.fromkeys(range(len(courses)), 0)

    def __call__(self, number, until):
        course = self.courses[number]
        epochs = len(course) if until is None else min(until, len(course))
        self.trained[number] = max(self.trained[number], epochs)
        return max(course[:epochs])


def test_halves_go_and_the_rest_are_trained_to_their_end():
    """Recipe n is the better the larger n; the first one, the worst, is trained to its end all the
    same."""
    value = Course([[n] * 20 for n in range(12)])
    assert tuning.halved(range(12), 20, value) == [11, 10, 9, 0]
    assert [value.trained[n] for n in range(12)] == [20] + [4] * 5 + [8] * 3 + [20] * 3
    assert sum(value.trained.values()) <= tuning.most_epochs(12, 20) == 48 + 28 + 48


def test_a_late_bloomer_that_is_left_out_early_does_not_win():
    late = [0.0] * 10 + [9.0] * 10
    value = Course([[1.0] * 20, late, *([[2.0 + n] * 20 for n in range(10)])])
    assert 1 not in tuning.halved(range(12), 20, value)


def test_equals_stay_in_their_order_and_few_recipes_will_do():
    assert tuning.halved(range(12), 20, Course([[0.0] * 20] * 12)) == [0, 1, 2]
    assert tuning.halved(range(2), 20, Course([[0.0] * 20, [1.0] * 20])) == [1, 0]
    assert tuning.halved(range(1), 1, Course([[0.0]])) == [0]


def test_what_diverges_goes_whatever_the_rest_are_worth():
    value = Course([[-math.inf if n else 0.0] * 20 for n in range(12)])
    assert tuning.halved(range(12), 20, value) == [0]
    assert all(value.trained[n] == 4 for n in range(1, 12))


@pytest.mark.parametrize(("number", "epochs"), [(12, 20), (12, 60), (5, 3), (2, 1)])
def test_rungs_climb_and_the_cost_said_is_the_most_there_can_be(number, epochs):
    found = tuning.rungs(number, epochs)
    until = [rung.epochs or 0 for rung in found[:-1]]
    assert (
        until == sorted(until)
        and min(until) >= 1
        and max(until) <= epochs
        and found[-1].epochs is None
    )
    for best in range(number):  # the first recipe among those that would stay, or not
        value = Course([[float(n == best)] * epochs for n in range(number)])
        tuning.halved(range(number), epochs, value)
        assert sum(value.trained.values()) <= tuning.most_epochs(number, epochs)
