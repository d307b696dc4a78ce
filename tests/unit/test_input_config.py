"""Configs, masks, results: what passes from search to retraining."""

import json
from typing import Any

import numpy as np
import pytest

from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.config.search_result import RouterRef, SearchResult
from irazor_tf.config.specs import parse_spec

SCHEMA = Schema(
    (Field("a", vocabulary_size=5), Field("b", vocabulary_size=3), Field("c", vocabulary_size=11))
)
ROWS = BitMask.from_array(np.array([1, 0, 1, 1, 0], bool))  # of field a
ENTRIES = BitMask.from_array(np.array([[1, 0], [0, 1], [1, 1]], bool))  # of field b at two columns


def config(a=2, b=2, c=2, pairs=None) -> InputConfig:
    fields = {"a": a, "b": b, "c": c}
    return InputConfig(
        {
            name: FieldConfig(field) if isinstance(field, int) else field
            for name, field in fields.items()
        },
        pairs,
    )


MASKED = config(FieldConfig(2, (0, 3), ROWS), FieldConfig(2, mask=ENTRIES), 0, pairs=(("a", "b"),))


@pytest.mark.parametrize("shape", [(0,), (1,), (8,), (9,), (5, 3), (16, 2), (0, 4)])
def test_bit_mask_round_trip(shape):
    array = np.random.default_rng(0).random(shape) < 0.5
    mask = BitMask.from_array(array)
    np.testing.assert_array_equal(mask.to_array(), array)
    assert mask.to_array().dtype == bool and len(mask.bits) == -(-array.size // 8)
    assert mask == BitMask.from_array(array.astype(int)) and hash(mask) == hash(
        BitMask.from_array(array)
    )


def test_field_config():
    assert FieldConfig(3).labels == (0, 1, 2)
    assert FieldConfig(2, (1, 4)).labels == (1, 4)
    assert FieldConfig(2, (0, 1)) == FieldConfig(2)  # one form for one meaning
    assert FieldConfig(0).labels == () and FieldConfig(0, ()) == FieldConfig(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "`dim` should be at least 0. Received: -1"),
        ((2, (1,)), "`dim` = 2 ascending numbers. Received: (1,)"),
        ((2, (3, 1)), "ascending numbers. Received: (3, 1)"),
        ((2, (1, 1)), "ascending numbers. Received: (1, 1)"),
    ],
)
def test_field_config_is_checked(arguments, message):
    with pytest.raises(ValueError) as caught:
        FieldConfig(*arguments)
    assert message in str(caught.value)


def test_sizes():
    assert config(4, 0, 1).dims == {"a": 4, "b": 0, "c": 1}
    assert InputConfig.from_dims({"a": 4, "b": 0, "c": 1}) == config(4, 0, 1)
    assert config(4, 0, 1).kept == ("a", "c")
    assert (config(4, 0, 1).num_fields, config(4, 0, 1).total_dims, config(4, 0, 1).max_dim) == (
        2,
        5,
        4,
    )
    assert config(4, 0, 1).num_params(SCHEMA) == 4 * 5 + 1 * 11
    assert InputConfig.uniform(SCHEMA, 4).num_params(SCHEMA) == 4 * 19
    assert MASKED.num_params(SCHEMA) == 3 * 2 + 4  # three rows of two columns, four entries


def test_check():
    config(1, 0, 0).check(SCHEMA)
    MASKED.check(SCHEMA)
    for wrong, message in [
        (InputConfig.from_dims({"a": 1, "b": 1}), r"differing in \['c'\]"),
        (InputConfig.from_dims({"b": 1, "a": 1, "c": 1}), "in their order"),
        (config(0, 0, 0), "all fields with `dim` 0"),
        (
            config(b=FieldConfig(2, mask=ROWS)),
            r"mask of field 'b' should be \[3\] or \[3, 2\]. Received: \(5,\)",
        ),
        (
            config(b=FieldConfig(1, mask=ENTRIES)),
            r"should be \[3\] or \[3, 1\]. Received: \(3, 2\)",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            wrong.check(SCHEMA)


def few(mask: BitMask, *kept: tuple[int, ...]) -> BitMask:
    array = np.zeros(mask.shape, bool)
    for index in kept:
        array[index] = True
    return BitMask.from_array(array)


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        (config(), config(), True),
        (config(1, 0, 2), config(), True),
        (config(3), config(), False),
        (config(FieldConfig(1, (1,))), config(), True),
        (config(FieldConfig(1, (2,))), config(), False),
        (config(1), config(FieldConfig(2, (1, 2))), False),
        (config(FieldConfig(1, (2,))), config(FieldConfig(2, (1, 2))), True),
        # masks
        (MASKED, config(4), True),
        (MASKED, MASKED, True),
        (config(), config(FieldConfig(2, mask=ROWS)), False),
        (config(0), config(FieldConfig(2, mask=ROWS)), True),
        (config(FieldConfig(1, mask=ROWS)), config(FieldConfig(2, mask=ROWS)), True),
        (
            config(FieldConfig(2, mask=few(ROWS, (0,), (2,)))),
            config(FieldConfig(2, mask=ROWS)),
            True,
        ),
        (
            config(FieldConfig(2, mask=few(ROWS, (0,), (1,)))),
            config(FieldConfig(2, mask=ROWS)),
            False,
        ),
        (
            config(b=FieldConfig(2, mask=few(ENTRIES, (0, 0), (2, 1)))),
            config(b=FieldConfig(2, mask=ENTRIES)),
            True,
        ),
        (
            config(b=FieldConfig(2, mask=few(ENTRIES, (0, 1)))),
            config(b=FieldConfig(2, mask=ENTRIES)),
            False,
        ),
        # of the two columns only the second stays; its entries are compared with that column of the
        # wide mask
        (
            config(b=FieldConfig(1, (1,), BitMask.from_array(np.array([0, 1, 1])))),
            config(b=FieldConfig(2, mask=ENTRIES)),
            True,
        ),
        (
            config(b=FieldConfig(1, (1,), BitMask.from_array(np.array([1, 0, 0])))),
            config(b=FieldConfig(2, mask=ENTRIES)),
            False,
        ),
        # pairs
        (config(pairs=(("a", "b"),)), config(), True),
        (config(), config(pairs=(("a", "b"),)), False),
        (config(pairs=()), config(pairs=(("a", "b"),)), True),
        (config(pairs=(("a", "c"),)), config(pairs=(("a", "b"),)), False),
        # other fields
        (InputConfig.from_dims({"a": 1}), config(), False),
    ],
)
def test_within(narrow, wide, expected):
    assert narrow.within(wide) is expected


def test_a_field_without_an_entry_stores_no_dimension():
    nothing = FieldConfig(2, mask=BitMask.from_array(np.zeros((5, 2), bool)))
    found = config(nothing, 2, 0)
    assert found.stored_dims == {"a": 0, "b": 2, "c": 0} and found.dims == {"a": 2, "b": 2, "c": 0}
    assert found.fields_only(config(4, 4, 4)).dims == {"a": 0, "b": 4, "c": 0}
    assert MASKED.stored_dims == MASKED.dims


def test_fields_only_keeps_the_choice_at_the_width_of_the_space():
    space = config(4, FieldConfig(3, (0, 2, 5)), 6)
    chosen = config(FieldConfig(1, (3,)), 2, 0, pairs=(("a", "b"),)).fields_only(space)
    assert chosen == config(4, FieldConfig(3, (0, 2, 5)), 0, pairs=(("a", "b"),))
    assert chosen.within(space)


@pytest.mark.parametrize(
    "saved", [config(), config(1, 0, FieldConfig(2, (1, 7))), config(pairs=()), MASKED]
)
def test_save_and_load_is_identity(tmp_path, saved):
    path = str(tmp_path / "deep" / "config.json")
    saved.save(path)
    loaded = InputConfig.load(path)
    assert loaded == saved
    assert tuple(loaded.fields) == ("a", "b", "c")  # order too, which == does not see
    assert not list(tmp_path.rglob("*.partial"))


def test_numbers_of_numpy_can_be_saved(tmp_path):
    """A method derives dimensions and columns with numpy; it should not be the end of a long search
    that finds this out."""
    derived: Any = np.array([2, 1, 3])
    saved = config(FieldConfig(derived[0], tuple(derived[1:])), 0, 0)
    saved.save(str(tmp_path / "config.json"))
    assert (
        InputConfig.load(str(tmp_path / "config.json"))
        == saved
        == config(FieldConfig(2, (1, 3)), 0, 0)
    )


@pytest.mark.parametrize("name", ["file", "allow_pickle", "args", "kwds"])
def test_a_field_may_have_the_name_of_an_argument(tmp_path, name):
    saved = InputConfig({name: FieldConfig(2, mask=ROWS)})
    saved.save(str(tmp_path / "config.json"))
    assert InputConfig.load(str(tmp_path / "config.json")) == saved


def test_a_config_saved_over_another_leaves_nothing_of_it(tmp_path):
    path = str(tmp_path / "config.json")
    for saved in (MASKED, config(), config(FieldConfig(2, mask=ROWS))):
        saved.save(path)
        assert InputConfig.load(path) == saved


@pytest.mark.parametrize(
    "saved",
    [
        SearchResult((config(),), parse_spec("fde(dim=2)")),
        SearchResult((MASKED,), parse_spec("fields(irazor(cpt=0.3), x='y')"), "keep", seconds=1.5),
        SearchResult(
            (MASKED, config(1, 0, 0), config(FieldConfig(2, mask=ROWS))),
            parse_spec("toy"),
            router=RouterRef("toy", {"k": [3]}, "w.npz"),
        ),
    ],
)
def test_search_result_save_and_load_is_identity(tmp_path, saved):
    path = str(tmp_path / "result.json")
    saved.save(path)
    assert SearchResult.load(path) == saved


def test_search_result_is_checked():
    method, router = parse_spec("toy"), RouterRef("toy")
    assert SearchResult((MASKED,), method).config is MASKED
    with pytest.raises(ValueError, match="needs a result with one cluster. Received: 2"):
        _ = SearchResult((config(), config()), method, router=router).config
    with pytest.raises(ValueError, match="`init` should be one of fresh, .*Received: 'warm'"):
        SearchResult((config(),), method, "warm")
    for clusters, given in [((), None), ((config(),), router), ((config(), config()), None)]:
        with pytest.raises(ValueError, match="needs a `router`. Received: "):
            SearchResult(clusters, method, router=given)


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"version": 1, "fields"')
    with pytest.raises(ValueError, match="config.json should be JSON. Received: "):
        InputConfig.load(str(path))
    path.write_text(json.dumps(config().to_json() | {"version": 2}))
    with pytest.raises(ValueError, match="`version` 1. Received: 2"):
        InputConfig.load(str(path))
    SearchResult((config(),), parse_spec("toy")).save(str(path))
    path.write_text(path.read_text().replace('"version": 1', '"version": 0', 1))
    with pytest.raises(ValueError, match="`version` 1. Received: 0 in .*config.json"):
        SearchResult.load(str(path))


def test_a_mask_without_its_npz_is_an_error(tmp_path):
    path = tmp_path / "config.json"
    MASKED.save(str(path))
    (tmp_path / "config.json.npz").unlink()
    with pytest.raises(
        ValueError,
        match="mask of field 'a' should lie in the npz beside the config. Received: none",
    ):
        InputConfig.load(str(path))


def test_write_json_leaves_the_old_file_where_it_fails(tmp_path):
    path = str(tmp_path / "value.json")
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert read_json(path) == ({"old": 1}, {})


def test_a_field_is_cut_with_its_mask():
    entries = np.array([[1, 0, 1], [0, 1, 1]], bool)
    field = FieldConfig(3, (1, 4, 6), BitMask.from_array(entries))
    assert field.cut([6, 1, 99]) == FieldConfig(2, (1, 6), BitMask.from_array(entries[:, [0, 2]]))
    assert field.cut([]) == FieldConfig(0)
    rows = FieldConfig(3, (1, 4, 6), BitMask.from_array(entries[:, 0]))
    assert rows.cut([4]) == FieldConfig(1, (4,), rows.mask)


def test_columns_of_all_fields_in_a_row():
    entries = np.array([[1, 0], [0, 0], [1, 1]], bool)
    config = InputConfig(
        {
            "a": FieldConfig(2, (0, 3)),
            "b": FieldConfig(0),
            "c": FieldConfig(2, None, BitMask.from_array(entries)),
            "d": FieldConfig(1),
        }
    )
    kept = np.array([False, True, True, False, False])
    cut = config.with_columns(kept)
    assert cut.fields == {
        "a": FieldConfig(1, (3,)),
        "b": FieldConfig(0),
        "c": config.fields["c"].cut([0]),
        "d": FieldConfig(0),
    }
    schema = Schema(tuple(Field(name, vocabulary_size=3) for name in "abcd"))
    np.testing.assert_array_equal(config.column_params(schema), [3, 3, 2, 1, 3])
    assert config.column_params(schema).sum() == config.num_params(schema)
