"""Fields, schemas and the integer codes of numbers."""

import dataclasses
import json
import math

import numpy as np
import pytest

from irazor_tf.config.encoding import log_square_boundaries, numeric_codes
from irazor_tf.config.schema import Field, Schema, save_counts

FIELDS = (
    Field("user", vocabulary_size=10, role="user", missing=("?", "none"), strip=True),
    Field("price", "numeric", 7, "float64", "log_square"),
    Field("user_x_price", "cross", 50, parents=("user", "price")),
    Field("user_shadow", vocabulary_size=10, parents=("user",), role="shadow"),
)


def code_by_logarithm(x: float) -> int:
    """floor(log(x)^2) above 2, else floor(x) - 2: the rule as Criteo's winners published it."""
    return math.floor(math.log(x) ** 2) if x > 2 else math.floor(x) - 2


def test_log_square_of_integers():
    numbers = np.arange(-1000, 100001)
    assert numeric_codes(numbers, "log_square").tolist() == [
        code_by_logarithm(int(x)) for x in numbers
    ]


def test_log_square_of_random_numbers():
    random = np.random.default_rng(1)
    numbers = np.concatenate(
        [
            random.uniform(-100, 100, 5000),
            random.lognormal(3, 4, 5000),
            np.exp(random.uniform(0, 42.9, 5000)),
        ]
    )
    # At a boundary itself a logarithm may fall on either side: keep away from those by a few units
    # in the last place.
    numbers = numbers[np.abs(numbers[:, None] / log_square_boundaries() - 1).min(axis=1) > 1e-14]
    assert len(numbers) > 14900
    assert numeric_codes(numbers, "log_square").tolist() == [code_by_logarithm(x) for x in numbers]


def test_log_square_steps_at_its_boundaries():
    boundaries = log_square_boundaries()
    # exp(1) = 2.718... is the first above 2; there is one for every code that a 63-bit number can
    # have.
    assert boundaries[0] == math.e and len(boundaries) == code_by_logarithm(2.0**63)
    at = boundaries[boundaries < 2.0**62]
    steps = np.arange(1, len(at) + 1)
    np.testing.assert_array_equal(numeric_codes(at, "log_square"), steps)
    np.testing.assert_array_equal(numeric_codes(np.nextafter(at, 0), "log_square"), steps - 1)


def test_floor():
    assert numeric_codes(
        np.array([-2.5, -1.0, -0.1, 0.0, 0.9, 2.0, 1e6 + 0.5]), "floor"
    ).tolist() == [-3, -1, -1, 0, 0, 2, 10**6]


@pytest.mark.parametrize("transform", ["floor", "log_square"])
def test_codes_never_fall_and_extremes_stay_finite(transform):
    numbers = np.array(
        [-np.inf, -1e300, -5.0, 0.0, 1.0, 2.0, 2.5, 3.0, 100.0, 2.0**62, 1e300, np.inf]
    )
    codes = numeric_codes(numbers, transform)
    assert codes.dtype == np.int64 and (np.diff(codes) >= 0).all()
    missing, zero = numeric_codes(np.array([np.nan, 0.0]), transform)
    assert missing == zero


def test_unknown_transform():
    with pytest.raises(ValueError, match="log_square or floor. Received: 'log'"):
        numeric_codes(np.zeros(1), "log")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "1st"}, "a letter first. Received: '1st'"),
        ({"name": "a b"}, "Received: 'a b'"),
        ({"name": "a\n"}, "Received: 'a"),
        (
            {"name": "a", "kind": "number"},
            "`kind` of field 'a' should be one of categorical, numeric, cross. Received: 'number'",
        ),
        ({"name": "a", "dtype": "int32"}, "`dtype` of field 'a'"),
        ({"name": "a", "kind": "numeric", "transform": "sqrt"}, "`transform` of field 'a'"),
        ({"name": "a", "role": "label"}, "`role` of field 'a'"),
        ({"name": "a", "kind": "numeric"}, "should have a `transform`"),
        ({"name": "a", "transform": "floor"}, "should have a `transform`"),
        ({"name": "a", "vocabulary_size": 0}, "at least 1. Received: 0"),
        (
            {
                "name": "a",
                "kind": "numeric",
                "transform": "floor",
                "dtype": "float64",
                "strip": True,
            },
            "should have `dtype` string",
        ),
    ],
)
def test_field_is_checked(arguments, message):
    with pytest.raises(ValueError) as caught:
        Field(**arguments)
    assert message in str(caught.value)


def test_schema_lookup():
    schema = Schema(FIELDS)
    assert schema.names == ("user", "price", "user_x_price", "user_shadow")
    assert schema.vocabulary_sizes.tolist() == [10, 7, 50, 10] and schema.num_features == 77
    assert schema.field("price") is FIELDS[1] and schema.index("user_x_price") == 2
    for find in (schema.field, schema.index):
        with pytest.raises(
            ValueError, match="one of user, price, user_x_price, user_shadow. Received: 'prize'"
        ):
            find("prize")


def test_schema_needs_fields_with_names_of_their_own():
    with pytest.raises(ValueError, match="Received: 0 fields"):
        Schema(())
    with pytest.raises(ValueError, match=r"twice: \['user'\]"):
        Schema((FIELDS[0], FIELDS[0]))


def test_save_and_load_is_identity(tmp_path):
    schema = Schema(FIELDS, "click", "abc")
    schema.save(str(tmp_path))
    loaded = Schema.load(str(tmp_path))
    assert loaded == schema and loaded.directory == str(tmp_path)
    assert loaded.vocabulary_file("price") == str(tmp_path / "vocab" / "price.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["schema.json"]


def test_counts_are_read_on_demand(tmp_path):
    fields = (*FIELDS, Field("file", vocabulary_size=3), Field("allow_pickle", vocabulary_size=2))
    counts = {field.name: np.arange(field.vocabulary_size) for field in fields}
    save_counts(str(tmp_path), counts)
    loaded = Schema(fields, directory=str(tmp_path)).counts
    assert list(loaded) == list(counts)
    for name, values in counts.items():
        np.testing.assert_array_equal(loaded[name], values)


def test_a_schema_in_memory_has_no_files():
    schema = Schema(FIELDS)
    with pytest.raises(ValueError, match="loaded from a folder. Received: a schema made in memory"):
        _ = schema.counts
    with pytest.raises(ValueError, match="loaded from a folder"):
        schema.vocabulary_file("user")


def test_another_version_is_refused(tmp_path):
    value = Schema(FIELDS).to_json()
    (tmp_path / "schema.json").write_text(json.dumps(value | {"version": 99}))
    with pytest.raises(ValueError, match="`version` 1. Received: 99"):
        Schema.load(str(tmp_path))


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FIELDS[0].name = "other"  # type: ignore[misc]


def test_a_name_has_to_do_for_a_file():
    assert Field("f" * 200)
    with pytest.raises(ValueError, match="at most 200 letters. Received: 300, 'ffff"):
        Field("f" * 300)
