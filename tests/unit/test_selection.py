"""How columns are taken while they fit in a limit."""

from __future__ import annotations

import numpy as np
import pytest

from irazor_tf.search.selection import take_while_fits


@pytest.mark.parametrize(
    ("order", "limit", "fill", "expected"),
    [
        ([0, 1, 2, 3], 100, False, [0, 1, 2, 3]),  # all fit
        ([0, 1, 2, 3], 8, False, [0, 1]),  # 5 + 3 fill the limit to the last
        ([0, 1, 2, 3], 7, False, [0]),  # 3 does not fit beside 5, and ends it
        ([0, 1, 2, 3], 7, True, [0, 2]),  # it is passed over, and 2 fits
        ([3, 2, 1, 0], 7, False, [2, 3]),  # the order decides, not the number
        ([1, 0, 2], 7, True, [1, 2]),  # 4 are left for 5, and then for 2
        ([2, 1], 100, True, [1, 2]),  # what the order leaves out is not taken
        ([3, 0], 4, True, []),  # nothing fits
        ([0, 1, 2, 3], 0, True, []),
        ([], 9, False, []),
    ],
)
def test_columns_enter_in_their_order_while_they_fit(
    order: list[int], limit: int, fill: bool, expected: list[int]
) -> None:
    costs = np.array([5, 3, 2, 5])
    taken = take_while_fits(order, costs, limit, fill=fill)
    assert taken.dtype == bool and taken.shape == costs.shape
    assert np.flatnonzero(taken).tolist() == expected
    assert costs[taken].sum() <= limit


def test_what_costs_nothing_fits_always() -> None:
    costs = np.array([2, 0, 1])
    np.testing.assert_array_equal(take_while_fits([0, 1, 2], costs, 2), [True, True, False])
    np.testing.assert_array_equal(take_while_fits([1, 0], costs, 0), [False, True, False])


def test_sums_do_not_run_over() -> None:
    """Costs of a narrow integer type are summed in whole numbers of any size."""
    costs = np.full(4, 100, np.int8)
    np.testing.assert_array_equal(take_while_fits(range(4), costs, 300), [True] * 3 + [False])


@pytest.mark.parametrize("fill", [False, True])
def test_against_a_loop(fill: bool) -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        costs = generator.integers(0, 10, 8)
        order, limit = generator.permutation(8), int(generator.integers(0, 50))
        expected: list[int] = []
        for column in order:
            if sum(costs[expected]) + costs[column] <= limit:
                expected.append(int(column))
            elif not fill:
                break
        taken = take_while_fits(order, costs, limit, fill=fill)
        assert np.flatnonzero(taken).tolist() == sorted(expected)


def test_an_order_is_read_as_far_as_it_is_taken() -> None:
    """It is read no further than the taking goes."""

    def columns():
        yield from (0, 1)
        pytest.fail("the second column did not fit")

    np.testing.assert_array_equal(take_while_fits(columns(), np.array([1, 9]), 5), [True, False])
