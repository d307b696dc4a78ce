"""The rule behind "auto": inside its ranges, monotone, and refused where a value is neither a
number nor "auto"."""

import dataclasses
import itertools

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.config import recipe
from irazor_tf.config.recipe import AUTO, RULE, Known
from irazor_tf.config.schema import Field, Schema
from irazor_tf.model.base import MODELS
from irazor_tf.training.options import TrainOptions, known_of
from irazor_tf.training.updates.optimizers import make_optimizer
from launch.command import flags
from launch.command.job import job_config

ROWS = [1, 100, 5000, 8002, 26_964, 63_861, 800_000, 10**6, 4 * 10**7, 10**9, 10**11]
FEATURES = [1, 40, 2000, 50_000, 10**6, 10**9]
RANGES = {
    "batch_size": (1, 8192),
    "epochs": (1, 100),
    "patience": (1, 10),
    "embedding_l2": (0, 1),
    "linear_ridge": (0.1, 30),
}
RANGES |= {"embedding_ridge": (1, 10_000), "search_steps": (0, 0)}
NUMBERS = sorted(RANGES)


def test_every_setting_of_the_rule_is_an_option_whose_default_is_auto():
    options = TrainOptions()
    assert {key for key, value in dataclasses.asdict(options).items() if value == AUTO} == set(RULE)
    assert set(NUMBERS) | {"bias_optimizer", "network_optimizer"} == set(RULE)


@pytest.mark.parametrize("tower", [True, False])
@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_are_inside_their_ranges_and_monotone_in_rows_and_features(key, tower):
    low, high = RANGES[key]
    by_rows = [
        [RULE[key](Known(rows, 10, features, tower)) for rows in ROWS] for features in FEATURES
    ]
    assert all(low <= value <= high for row in by_rows for value in row)
    falling = key == "linear_ridge"  # more rows a feature, less to hold it back
    for row in by_rows:
        assert row == sorted(row, reverse=falling)
    for column in zip(*by_rows, strict=True):
        assert list(column) == sorted(column)


@pytest.mark.parametrize(
    "size", [Known(rows, 39, features) for rows, features in itertools.product(ROWS, FEATURES)]
)
def test_optimizers_can_be_made(size):
    for key in ("bias_optimizer", "network_optimizer"):
        make_optimizer(RULE[key](size))


@pytest.mark.parametrize(
    ("rows", "features", "batch", "ridge"),
    [
        (8002, 2498, 64, 7.8),
        (26_964, 2249, 128, 2.1),
        (63_861, 50_192, 256, 20.0),
        (800_000, 13_000, 1024, 0.41),
        (10**10, 10**7, 8192, 0.1),
    ],
)
def test_worked_sizes(rows, features, batch, ridge):
    size = Known(rows, 39, features)
    assert (recipe.batch_size(size), recipe.linear_ridge(size)) == (batch, ridge)


def test_first_order_terms_move_by_a_share_of_their_scale():
    """Criteo's 64,000 rows have the ridge 20, hence the standard deviation .224."""
    known = Known(63_861, 39, 50_192)
    assert recipe.bias_rate(known) == 0.022
    alone = dataclasses.replace(known, tower=False)
    assert recipe.bias_rate(alone) == 0.067


@pytest.mark.parametrize(("tower", "least", "most"), [(True, 0.018, 0.04), (False, 0.055, 0.15)])
def test_the_rate_of_first_order_terms_grows_with_rows_up_to_a_most(tower, least, most):
    for features in FEATURES:
        rates = [recipe.bias_rate(Known(rows, 39, features, tower)) for rows in ROWS]
        assert (
            rates == sorted(rates) and least <= rates[0] and rates[-1] == most or features == 10**9
        )
    assert recipe.bias_rate(Known(1, 39, 10**9, tower)) == least


def test_a_batch_is_filled_by_the_rows():
    assert [recipe.batch_size(Known(rows, 3, 3)) for rows in (1, 3, 54, 63, 64, 5000)] == [
        1,
        2,
        32,
        32,
        64,
        64,
    ]


@pytest.mark.parametrize(
    ("model", "tower"), [("mlp", True), ("deepfm", True), ("fm", False), ("lr", False)]
)
def test_a_tower_is_what_reads_the_embeddings_by_dense_layers(model, tower):
    schema = Schema((Field("user", vocabulary_size=5),))
    known = known_of(schema, 1000, MODELS.build(model))
    assert known == Known(1000, 1, schema.num_features, tower)
    options = TrainOptions().resolved(known)
    assert (options.epochs, options.embedding_ridge) == ((20, 500.0) if tower else (60, 50.0))


def test_least_counts():
    assert [recipe.min_count(rows) for rows in (1, 999_999, 10**6, 10**7, 10**8, 10**12)] == [
        2,
        2,
        4,
        10,
        20,
        20,
    ]


def test_only_what_is_auto_is_resolved():
    given = TrainOptions(batch_size=77, linear_ridge=0.0, bias_optimizer="sgd(learning_rate=0.5)")
    found = given.resolved(Known(63_861, 39, 50_192))
    assert (found.batch_size, found.linear_ridge, found.bias_optimizer) == (
        77,
        0.0,
        "sgd(learning_rate=0.5)",
    )
    assert AUTO not in dataclasses.asdict(found).values()
    assert found.resolved(Known(10, 1, 1)) == found
    assert (found.metric, found.stddev) == (given.metric, given.stddev)


def test_a_log_has_rows():
    with pytest.raises(ValueError, match="`rows` of a log should be at least 1. Received: 0"):
        Known(0, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": "many"}, "`batch_size` should be a number, or auto. Received: 'many'"),
        ({"batch_size": 0}, "`batch_size` should be at least 1. Received: 0"),
        (
            {"batch_size": 1.5},
            "`batch_size` should be of type int | str, and finite. Received: 1.5",
        ),
        ({"patience": -1}, "`patience` should be at least 0. Received: -1"),
        ({"linear_ridge": -0.1}, "`linear_ridge` should be at least 0. Received: -0.1"),
        (
            {"embedding_ridge": 1e11},
            "`embedding_ridge` should be at most 1e10. Received: 100000000000.0",
        ),
        (
            {"embedding_ridge": float("nan")},
            "`embedding_ridge` should be of type float | str, and finite. Received: nan",
        ),
        (
            {"embedding_ridge": "Auto"},
            "`embedding_ridge` should be a number, or auto. Received: 'Auto'",
        ),
        ({"linear_l2": AUTO}, "`linear_l2` should be of type float, and finite. Received: 'auto'"),
    ],
)
def test_bad_options_are_named(change, message):
    with pytest.raises(ValueError) as caught:
        TrainOptions(**change)
    assert str(caught.value) == message


def test_a_bad_least_count_is_named():
    with pytest.raises(
        ValueError, match="`min_count` should be a whole number, or auto. Received: 'few'"
    ):
        PreprocessOptions("criteo", min_count="few")


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("--batch_size=many", "auto, or a whole number of at least 1. Received: 'many'"),
        ("--batch_size=0", "auto, or a whole number of at least 1. Received: '0'"),
        ("--epochs=2.5", "auto, or a whole number of at least 1. Received: '2.5'"),
        ("--min_count=AUTO", "auto, or a whole number of at least 1. Received: 'AUTO'"),
        ("--linear_ridge=-1", "auto, or a number of at least 0. Received: '-1'"),
        ("--embedding_ridge=nan", "auto, or a number of at least 0. Received: 'nan'"),
        ("--embedding_l2=inf", "auto, or a number of at least 0. Received: 'inf'"),
        ("--nobatch_size", "batch_size"),
    ],
)
def test_bad_values_name_the_flag(word, wanted):
    flags.define()
    with flagsaver.flagsaver(), pytest.raises(absl_flags.Error) as caught:
        flags.FLAGS(["test", "--model_dir=d", word])
    assert wanted in str(caught.value) and word.lstrip("-no").partition("=")[0] in str(caught.value)


def test_flags_take_numbers_and_auto():
    flags.define()
    with flagsaver.flagsaver():
        flags.FLAGS(
            [
                "test",
                "--model_dir=d",
                "--batch_size=32",
                "--linear_ridge=.5",
                "--patience=auto",
                "--min_count=3",
            ]
        )
        job = job_config()
    assert (job.train.batch_size, job.train.linear_ridge, job.train.patience) == (32, 0.5, AUTO)
