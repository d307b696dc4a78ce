"""Counting, merging, choosing and looking up tokens."""

import collections
import random

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines import vocabulary
from data_pipelines.reader import RawField
from data_pipelines.vocabulary import TokenCounts, Vocabulary, build, tokenize
from irazor_tf.config.schema import MISSING


def counts_of(tokens):
    counts = TokenCounts()
    counts.add_column(pa.array(tokens, pa.string()).dictionary_encode())
    return counts


def test_tokens_of_strings_name_what_is_missing():
    field = RawField("f")
    for array in (
        pa.array(["a", None, "", "b", "a", MISSING]),
        pa.array(["a", None, "", "b", "a", MISSING]).dictionary_encode(),
    ):
        column = tokenize(array, field)
        assert column.to_pylist() == ["a", MISSING, MISSING, "b", "a", MISSING]
        assert len(column.dictionary) == 3 and column.null_count == 0


def test_a_null_in_the_dictionary_is_missing():
    array = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 2], pa.int32()), pa.array(["a", None, "a"])
    )
    column = tokenize(array, RawField("f"))
    assert column.to_pylist() == ["a", MISSING, MISSING, "a"] and len(column.dictionary) == 2


def test_tokens_of_numbers_are_codes():
    numbers = pa.array([1.0, None, float("nan"), -3.0, 10.0, 10.1])
    column = tokenize(numbers, RawField("f", "numeric", "float64", transform="log_square"))
    assert column.to_pylist() == ["-1", MISSING, MISSING, "-5", "5", "5"]
    floor = tokenize(numbers, RawField("f", "numeric", "float64", transform="floor"))
    assert floor.to_pylist() == ["1", MISSING, MISSING, "-3", "10", "10"]


@pytest.mark.parametrize("merge_at", [1, 50, 1 << 18])
def test_counts_merged_piece_by_piece_equal_a_counter(monkeypatch, merge_at):
    monkeypatch.setattr(vocabulary, "MERGE_AT", merge_at)
    draw = random.Random(0)
    expected: collections.Counter[str] = collections.Counter()
    counts = TokenCounts()
    for _ in range(40):
        tokens = [str(int(draw.expovariate(0.05))) for _ in range(30)]
        rows = np.array([draw.random() < 0.5 for _ in tokens])
        expected.update(token for token, kept in zip(tokens, rows, strict=True) if kept)
        counts.add_column(pa.array(tokens).dictionary_encode(), rows)
    table = counts.merged()
    assert dict(zip(table["token"].to_pylist(), table["count"].to_pylist(), strict=True)) == dict(
        expected
    )


def test_waiting_pieces_stay_bounded(monkeypatch):
    monkeypatch.setattr(vocabulary, "MERGE_AT", 100)
    counts = TokenCounts()
    for _ in range(100):
        counts.add(pa.array([str(k) for k in range(60)]), np.ones(60, np.int64))
        assert counts.waiting_rows <= 160
    assert counts.merged().num_rows == 60


def test_most_frequent_first_then_by_bytes():
    made = build(counts_of(["b", "a", "c", "c", "\u00e9", "Z"]))
    assert made.tokens.to_pylist() == ["c", "Z", "a", "b", "\u00e9"]
    assert made.counts.tolist() == [0, 2, 1, 1, 1, 1] and made.size == 6


def test_min_count_and_max_vocab_spare_missing():
    tokens = ["a"] * 5 + ["b"] * 3 + ["c"] * 3 + ["d"] * 2 + [None]
    column = TokenCounts()
    column.add_column(tokenize(pa.array(tokens), RawField("f")))
    made = build(column, min_count=3)
    assert made.tokens.to_pylist() == ["a", "b", "c", MISSING] and made.counts.tolist() == [
        2,
        5,
        3,
        3,
        1,
    ]
    made = build(column, min_count=3, max_vocab=2)
    assert made.tokens.to_pylist() == ["a", "b", MISSING] and made.counts.tolist() == [5, 5, 3, 1]


def test_missing_is_a_feature_only_where_training_has_it():
    assert MISSING not in build(counts_of(["a"])).tokens.to_pylist()
    empty = build(TokenCounts())
    assert empty.size == 1 and empty.counts.tolist() == [0]
    assert empty.encode(pa.array(["a", MISSING])).tolist() == [0, 0]


def test_ids_are_lines_of_the_file(tmp_path):
    made = build(counts_of(["x", "x", "y\u00e9", "z\x85\u2028w", "z w"]))
    path = tmp_path / "f.txt"
    made.save(str(path))
    lines = path.read_bytes().decode().split("\n")[:-1]
    assert lines == made.tokens.to_pylist() and lines[0] == "x"
    assert made.encode(pa.array([*reversed(lines), "other"])).tolist() == [4, 3, 2, 1, 0]
    assert Vocabulary.load(str(path)).tokens.to_pylist() == lines


@pytest.mark.parametrize("token", ["a\nb", "a\rb", "a\0b"])
def test_a_token_that_is_no_line_is_refused(token):
    with pytest.raises(
        ValueError, match="token of field 'f' should not hold a newline.*Received: 'a"
    ):
        build(counts_of(["a", token]), name="f")


def test_large_vocabularies_are_looked_up_by_hash(monkeypatch):
    words = [f"w{'x' * (k % 5)}{k}" for k in range(500)] + [MISSING, "ä", "äö"]
    made = vocabulary.Vocabulary(pa.array(words), np.zeros(len(words) + 1, np.int64))
    asked = pa.array(["no", *words[::-1], "", "w", "new", words[3]]).slice(1)
    expected = [words.index(token) + 1 if token in words else 0 for token in asked.to_pylist()]
    assert made.encode(asked).tolist() == expected
    monkeypatch.setattr(vocabulary, "HASH_ABOVE", 64)
    by_hash = vocabulary.Vocabulary(made.tokens, made.counts)
    assert by_hash.hash_index is not None
    assert by_hash.encode(asked).tolist() == expected
    assert by_hash.encode(asked.slice(0, 0)).tolist() == []
    # Two tokens with one hash: the slower lookup takes over.
    monkeypatch.setattr(vocabulary, "token_hashes", lambda tokens: np.zeros(len(tokens), np.uint64))
    collided = vocabulary.Vocabulary(made.tokens, made.counts)
    assert collided.hash_index is None
    assert collided.encode(asked).tolist() == expected
