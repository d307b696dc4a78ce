"""Whether an i-Razor search has decided: the entropy of alpha, and what parts kept from dropped
regions against its spread."""

from __future__ import annotations

import math

import numpy as np
import pytest

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.evaluation.task import TASKS
from irazor_tf.methods.irazor import regions
from irazor_tf.methods.irazor.gate import RECENT_STEPS
from irazor_tf.model.base import MODELS
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, Search
from irazor_tf.search.selection import evenness

SCHEMA = Schema(
    tuple(
        Field(name, vocabulary_size=size)
        for name, size in {"gender": 3, "goods": 40, "hour": 7}.items()
    )
)
DIM = 4  # regions 0, 1, 2, 4: of 0, 1, 1 and 2 columns
SPACE = InputConfig.uniform(SCHEMA, DIM)
# The second and the third region stay; the last one and the empty one go.
CLEAR = np.array([0.1, 0.4, 0.35, 0.15])


def searched(spec: str = "irazor(cpt=0.65)", space: InputConfig = SPACE):
    """A method, and a search that it has not begun to train."""
    method = METHODS.build(spec)
    base, task = MODELS.build("mlp(hidden=(4,))"), TASKS.build("ctr")
    return method, Search(Recommender(SCHEMA, space, base, task, gates=method.gates(SCHEMA, space)))


def give(method, search, course):
    """Lets alpha have been `course` after each of the last steps, [T, N, K]."""
    gate = search.gate
    record = np.zeros(gate.recent.shape, np.float32)
    record[len(record) - len(course) :] = course
    gate.recent.assign(record)
    gate.logits.assign(method.params.temperature * np.log(course[-1]))


def doubts(method, search):
    config = method.derive(search, SPACE)
    return [str(notice) for notice in method.explain(search, (config,)).notices]


@pytest.mark.parametrize(
    ("weights", "regions_of_it", "expected"),
    [
        ([0.25, 0.25, 0.25, 0.25], 4, 1.0),
        ([0.5, 0.5, 0.0, 0.0], 2, 1.0),  # a field with two regions, both alike
        ([0.5, 0.5, 0.0, 0.0], 4, 0.5),
        ([0.0, 1.0, 0.0, 0.0], 4, 0.0),
        ([0.7, 0.1, 0.1, 0.1], 4, -(0.7 * math.log(0.7) + 0.3 * math.log(0.1)) / math.log(4)),
        ([1.0, 0.0, 0.0, 0.0], 1, math.nan),  # nothing to decide
    ],
)
def test_evenness(weights, regions_of_it, expected):
    (share,) = evenness(np.array([weights]), [regions_of_it])
    assert share == pytest.approx(expected, nan_ok=True)


def test_margin():
    """Between the weakest kept and the strongest dropped after the last step, wherever they stood
    before."""
    course = np.array([[0.1, 0.3, 0.4, 0.2], [0.2, 0.2, 0.3, 0.3], [0.05, 0.35, 0.4, 0.2]])
    width, spread = regions.margin(course, [1, 2], [0, 3])
    assert width == pytest.approx(0.15) and spread == pytest.approx(np.std([0.1, -0.1, 0.15]))


def test_the_course_of_alpha_is_what_it_was_after_each_of_the_last_steps():
    _, search = searched()
    gate, generator, seen = search.gate, np.random.default_rng(0), []
    for step in range(RECENT_STEPS + 3):
        assert len(gate.course()) == min(RECENT_STEPS, step)
        gate.update(
            [generator.normal(size=gate.logits.shape)],
            lambda gradients: gate.logits.assign_sub(0.01 * gradients[0]),
        )
        seen.append(gate.alpha().numpy())
    np.testing.assert_array_equal(gate.course(), np.array(seen[-RECENT_STEPS:]))
    assert np.abs(seen[-1] - seen[2]).max() > 1e-3


def test_uniform_weights_are_no_decision():
    method, search = searched()
    (notice,) = doubts(method, search)
    assert notice.startswith(
        "this search has not decided after 0 steps: alpha has 100.0% of the entropy of uniform "
        "weights. "
    )
    give(method, search, np.tile([0.255, 0.247, 0.249, 0.249], (9, 3, 1)))
    assert "100.0%" in doubts(method, search)[0]


def test_clear_and_steady_weights_are_one():
    method, search = searched()
    give(method, search, np.tile(CLEAR, (9, 3, 1)))
    assert method.derive(search, SPACE).dims == {"gender": 2, "goods": 2, "hour": 2}
    assert not doubts(method, search)


@pytest.mark.parametrize("wavering", [1, 2, 3])
def test_so_are_weights_of_which_few_fields_waver(wavering):
    """In these fields the last one kept and the first one dropped change places every other
    step."""
    method, search = searched()
    course = np.tile(CLEAR, (9, 3, 1))
    course[::2, :wavering, 2:], course[1::2, :wavering, 2:] = (0.251, 0.249), (0.2, 0.3)
    give(method, search, course)
    names = ("gender", "goods", "hour")[:wavering]
    expected = (
        f"differ by no more than they moved over the last steps in {wavering} of 3 fields "
        f"({', '.join(names)})"
    )
    notices = doubts(method, search)
    assert [expected in notice for notice in notices] == [True] * (wavering > 1)


def test_a_field_that_is_gone_was_given_up_for_the_region_without_columns():
    method, search = searched("irazor(cpt=0.4)")
    steady, wavering = np.array([0.55, 0.15, 0.15, 0.15]), np.array([0.41, 0.4, 0.12, 0.07])
    give(method, search, np.tile(steady, (9, 3, 1)))
    assert not method.derive(search, SPACE).num_fields and not doubts(method, search)
    course = np.tile(wavering, (9, 3, 1))
    course[1::2] = [0.3, 0.51, 0.12, 0.07]
    give(method, search, course)
    assert (
        not method.derive(search, SPACE).num_fields and "3 of 3 fields" in doubts(method, search)[0]
    )


@pytest.mark.parametrize("kept", [True, False])
def test_whether_a_field_stays_may_be_chance_whichever_way_it_fell(kept):
    """One region against none: the same course, its last step either way."""
    method, search = searched("irazor(candidates=(0, 4), cpt=0.4)")
    course = np.zeros((10, 3, 2))
    course[::2], course[1::2] = (0.38, 0.62), (0.62, 0.38)
    give(method, search, course if not kept else course[::-1])
    assert method.derive(search, SPACE).num_fields == (3 if kept else 0)
    assert "in 3 of 3 fields" in doubts(method, search)[0]
    give(method, search, np.tile([0.38, 0.62] if kept else [0.62, 0.38], (10, 3, 1)))
    assert not doubts(method, search)


def test_the_region_without_columns_may_be_what_comes_next():
    method, search = searched("irazor(cpt=0.4)")
    course = np.tile([0.42, 0.46, 0.07, 0.05], (10, 3, 1))
    course[::2] = [0.55, 0.33, 0.07, 0.05]
    give(method, search, course)
    assert (
        method.derive(search, SPACE).num_fields == 3
        and "in 3 of 3 fields" in doubts(method, search)[0]
    )


def test_the_fields_that_waver_are_counted_among_all():
    """At a high threshold only one drops anything, and wavers: the other two are decided."""
    method, search = searched("irazor(cpt=0.98)")
    course = np.tile([0.02, 0.4, 0.35, 0.23], (9, 3, 1))
    course[::2, 0], course[1::2, 0] = (0.02, 0.955, 0.0126, 0.0124), (0.02, 0.955, 0.01, 0.015)
    give(method, search, course)
    assert not doubts(method, search)


def test_a_search_without_a_record_is_judged_by_its_entropy_alone():
    """As one that ended before there were records."""
    method, search = searched()
    search.gate.logits.assign(method.params.temperature * np.log(np.tile(CLEAR, (3, 1))))
    assert not doubts(method, search)


def test_fields_alone_have_the_doubts_of_their_search():
    """About what it would have kept, not about the width that the fields get back."""
    method, search = searched("irazor(candidates=(0, 4), cpt=0.4)")
    course = np.zeros((10, 3, 2))
    course[::2], course[1::2] = (0.62, 0.38), (0.38, 0.62)
    give(method, search, course)
    fields = METHODS.build("fields(irazor(candidates=(0, 4), cpt=0.4))")
    result, _ = fields.search(None, SPACE, None, search)
    assert result.config.num_fields == 3 and list(result.notices) == doubts(method, search) != []
