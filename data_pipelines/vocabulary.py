"""Vocabularies: counting tokens a piece at a time, merging the counts, choosing the tokens that get
an id, and turning tokens into ids."""

from __future__ import annotations

import dataclasses
import functools
import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.reader import RawField
from irazor_tf.config import integrity
from irazor_tf.config.encoding import numeric_codes
from irazor_tf.config.layout import RecordsPaths
from irazor_tf.config.schema import MISSING, save_counts

TOKENS = pa.dictionary(pa.int32(), pa.string())
# Rows of counts that wait, above which they are merged, unless what is merged already has more.
MERGE_AT = 1 << 18
# Tokens of a vocabulary above which its ids are looked up by hash.
HASH_ABOVE = 1 << 16
_FACTOR = 0x9E3779B97F4A7C15


def tokenize(array: pa.Array, field: RawField) -> pa.DictionaryArray:
    """The tokens of a column, dictionary-encoded: the texts of a categorical field, integer codes
    for numbers, and `MISSING` for a missing value.

    Args:
      array: a column of a chunk.
      field: the reader's declaration of the field, whose transform makes the codes.
    """
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    values, indices = array.dictionary, array.indices
    if field.kind == "numeric":
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        tokens = pa.array(numeric_codes(numbers, field.transform)).cast(pa.string())
        tokens = pc.if_else(pa.array(np.isnan(numbers)), MISSING, tokens)
    else:
        tokens = values.cast(pa.string()).fill_null(MISSING)
        tokens = pc.if_else(pc.equal(tokens, ""), MISSING, tokens)
    if indices.null_count:
        indices = indices.fill_null(len(tokens))
        tokens = pa.concat_arrays([tokens, pa.array([MISSING])])
    distinct = tokens.dictionary_encode()
    if len(distinct.dictionary) != len(tokens):
        indices = distinct.indices.take(indices)
        tokens = distinct.dictionary
    return pa.DictionaryArray.from_arrays(indices.cast(pa.int32()), tokens)


class TokenCounts:
    """Counts of tokens, collected from any number of pieces in any order; memory grows with the
    number of distinct tokens only.

    Pieces are kept aside until they have more rows than what is merged already, so that every token
    is merged a logarithmic number of times.
    """

    def __init__(self) -> None:
        self._merged = pa.table(
            {"token": pa.array([], pa.string()), "count": pa.array([], pa.int64())}
        )
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0

    def add(self, tokens: pa.Array, counts: np.ndarray) -> None:
        """Adds the counts of a piece.

        Args:
          tokens: distinct tokens.
          counts: how often each of them occurs in the piece, [len(tokens)]; those that occur 0
            times are left out.
        """
        some = counts > 0
        if not some.all():
            tokens, counts = tokens.filter(pa.array(some)), counts[some]
        if len(tokens):
            self._waiting.append(pa.table({"token": tokens, "count": pa.array(counts, pa.int64())}))
            self._waiting_rows += len(tokens)
        if self._waiting_rows > max(MERGE_AT, self._merged.num_rows):
            self.merged()

    def add_column(self, column: pa.DictionaryArray, rows: np.ndarray | None = None) -> None:
        """Adds the tokens of a column.

        Args:
          column: [B] tokens, as `tokenize` makes them.
          rows: [B] boolean array that is true for the rows to count. None for all rows.
        """
        indices = column.indices.to_numpy()
        indices = indices if rows is None else indices[rows]
        self.add(column.dictionary, np.bincount(indices, minlength=len(column.dictionary)))

    @property
    def waiting_rows(self) -> int:
        """Rows of the pieces that wait to be merged; memory holds them beside the merged counts."""
        return self._waiting_rows

    def merged(self) -> pa.Table:
        """The counts of all pieces together: a table with the columns `token` and `count`, one row
        per token."""
        if self._waiting:
            every = pa.concat_tables([self._merged, *self._waiting])
            table = every.group_by("token", use_threads=False).aggregate([("count", "sum")])
            self._merged = (
                table.rename_columns({"count_sum": "count"})
                .select(["token", "count"])
                .combine_chunks()
            )
            self._waiting, self._waiting_rows = [], 0
        return self._merged


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The features of a field: id k >= 1 is `tokens[k - 1]`, id 0 is out-of-vocabulary.

    Args:
      tokens: most frequent first, ties in the order of their UTF-8 bytes.
      counts: [V] int64, how often every id occurs in the training split; `counts[0]` is for all
        tokens that are left out.
    """

    tokens: pa.Array
    counts: np.ndarray

    @property
    def size(self) -> int:
        """V, the number of ids, out-of-vocabulary included."""
        return len(self.counts)

    def encode(self, tokens: pa.Array) -> np.ndarray:
        """The ids of distinct tokens, [len(tokens)] int32; 0 for a token that is not in the
        vocabulary."""
        # `index_in` hashes the whole vocabulary in every call, so in a long log its cost would grow
        # with the square of the rows.
        if len(self.tokens) <= HASH_ABOVE or self.hash_index is None or not len(tokens):
            positions = pc.index_in(tokens, value_set=self.tokens)
            return positions.fill_null(-1).to_numpy().astype(np.int32) + 1
        order, keys = self.hash_index
        place = np.minimum(np.searchsorted(keys, token_hashes(tokens)), len(keys) - 1)
        candidate = order[place]
        same = pc.equal(self.tokens.take(pa.array(candidate)), tokens).to_numpy(
            zero_copy_only=False
        )
        return np.where(same, candidate + 1, 0).astype(np.int32)

    @functools.cached_property
    def hash_index(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The positions of the tokens in ascending order of their hashes, and these hashes; None in
        the unlikely case that two hashes are equal."""
        hashes = np.concatenate(
            [
                token_hashes(self.tokens[start : start + HASH_ABOVE])
                for start in range(0, len(self.tokens), HASH_ABOVE)
            ]
        )
        order = np.argsort(hashes).astype(np.int32)
        keys = hashes[order]
        return None if (keys[1:] == keys[:-1]).any() else (order, keys)

    def save(self, path: str) -> None:
        """Writes the tokens to `path`, one per line: line k, from 1, is the token of id k."""
        with integrity.naming(path), open(path, "wb") as file:
            file.write("".join(token + "\n" for token in self.tokens.to_pylist()).encode())

    @classmethod
    def load(cls, path: str) -> Vocabulary:
        """The vocabulary that `save` wrote to `path`. Its frequencies, which lie in the file
        `counts.npz`, are 0."""
        with open(path, encoding="utf-8", newline="\n") as file:
            tokens = file.read().split("\n")[:-1]
        return cls(pa.array(tokens, pa.string()), np.zeros(len(tokens) + 1, np.int64))


def build(
    counts: TokenCounts, min_count: int = 1, max_vocab: int | None = None, name: str = ""
) -> Vocabulary:
    """The vocabulary of a field: the tokens that are frequent enough. `MISSING` is kept in any
    case, where it occurs.

    Args:
      counts: counts of the field's tokens over the training split.
      min_count: a token that occurs less often is out-of-vocabulary.
      max_vocab: largest number of tokens that are kept, the most frequent ones. None for no limit.
      name: name of the field, for messages.

    Raises:
      ValueError: a token that cannot stand on a line of its own.
    """
    table = counts.merged()
    total = pc.sum(table["count"]).as_py() or 0
    table = table.sort_by([("count", "descending"), ("token", "ascending")])
    missing = pc.equal(table["token"], MISSING)
    kept = table.filter(pc.and_(pc.greater_equal(table["count"], min_count), pc.invert(missing)))
    if max_vocab is not None:
        kept = kept.slice(0, max_vocab)
    if pc.any(missing).as_py():
        kept = pa.concat_tables([kept, table.filter(missing)]).sort_by(
            [("count", "descending"), ("token", "ascending")]
        )
    kept = kept.combine_chunks()
    tokens = _one(kept["token"])
    bad = pc.match_substring_regex(tokens, "[\\n\\r\\x00]")
    if pc.any(bad).as_py():
        token = tokens[pc.index(bad, True).as_py()].as_py()
        raise ValueError(
            f"A token of field {name!r} should not hold a newline, carriage return or NUL. "
            f"Received: {token!r}"
        )
    frequencies = kept["count"].to_numpy()
    return Vocabulary(
        tokens, np.concatenate([[total - frequencies.sum()], frequencies]).astype(np.int64)
    )


def save(directory: str, vocabularies: dict[str, Vocabulary]) -> None:
    """Writes the vocabulary files of all fields, and the file with all counts.

    Args:
      directory: the data folder.
      vocabularies: field -> vocabulary.
    """
    paths = RecordsPaths(directory)
    os.makedirs(paths.vocabularies, exist_ok=True)
    for name, vocabulary in vocabularies.items():
        vocabulary.save(paths.vocabulary(name))
    save_counts(directory, {name: item.counts for name, item in vocabularies.items()})


def token_hashes(tokens: pa.Array) -> np.ndarray:
    """A 64-bit hash of every token, [len(tokens)] uint64: a polynomial in the token's bytes and in
    its length."""
    offsets = np.frombuffer(tokens.buffers()[1], np.int32)[
        tokens.offset : tokens.offset + len(tokens) + 1
    ]
    lengths, starts = np.diff(offsets), offsets[:-1] - offsets[0]
    values = np.frombuffer(tokens.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].astype(
        np.uint64
    )
    powers = np.cumprod(np.full(int(lengths.max()) + 1, _FACTOR, np.uint64))
    values = (values + np.uint64(1)) * powers[np.arange(len(values)) - np.repeat(starts, lengths)]
    # Modulo 2^64, so differences are exact.
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values)])
    hashes = sums[starts + lengths] - sums[starts]
    return hashes ^ (hashes >> np.uint64(32))


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A chunked column as a single array."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())
