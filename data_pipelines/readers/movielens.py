"""MovieLens-1M: `ratings.dat` (plain or gzip), joined with `users.dat` and `movies.dat` in the same
folder."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from data_pipelines.reader import READERS, Chunk, RawField, Reader
from data_pipelines.text.columns import Column
from data_pipelines.text.delimited import Delimited
from data_pipelines.text.lines import bad_row, read_chunks

_USER = ("gender", "age", "occupation", "zip")
_MOVIE = ("genres", "year")
_FORM = Delimited(
    (
        Column("user", dtype="int64"),
        Column("movie", dtype="int64"),
        Column("rating", "label"),
        Column("timestamp", "time"),
    )
)


@READERS.register("movielens")
class MovieLens(Reader):
    """The reader of MovieLens-1M: ratings, joined with the attributes of the user and of the film.
    Each combination of genres is one feature of the field `genres`; `year` is that of the film's
    release.

    The timestamp is no field, but `split=time` may use it. Ratings above 3 are positive unless the
    options say otherwise.
    """

    label: str = "rating"
    positive_above: float | None = 3.0

    def fields(self) -> tuple[RawField, ...]:
        return (
            RawField("user", dtype="int64", role="user"),
            RawField("movie", dtype="int64", role="item"),
            RawField("gender", role="user"),
            RawField("age", dtype="int64", role="user"),
            RawField("occupation", dtype="int64", role="user"),
            RawField("zip", role="user"),
            RawField("genres", role="item"),
            RawField("year", dtype="int64", role="item"),
        )

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        for path in paths:
            folder = os.path.dirname(path)
            users = _side_table(os.path.join(folder, "users.dat"), "utf-8", _user)
            movies = _side_table(os.path.join(folder, "movies.dat"), "latin-1", _movie)
            for chunk in _FORM.chunks(path, edit=functools.partial(_to_tabs, path)):
                columns = dict(chunk.columns)
                columns |= _join(chunk, "user", users, _USER)
                columns |= _join(chunk, "movie", movies, _MOVIE)
                yield Chunk(chunk.path, chunk.first_line, columns, chunk.label, chunk.time)


def _to_tabs(path: str, first_line: int, text: bytes) -> bytes:
    """The lines with tabs in place of `::`, because Arrow takes a single character as separator.

    Args:
      path: the file, for messages.
      first_line: number of the first line, for messages.
      text: the lines.

    Raises:
      ValueError: a line holds a tab already.
    """
    if b"\t" in text:  # would be taken for `::`
        line = text.count(b"\n", 0, text.index(b"\t"))
        received = repr(text.split(b"\n")[line].decode("utf-8", "replace"))
        should = "A rating should have `::` between values, and no tabs."
        raise bad_row(should, received, path, first_line + line)
    return text.replace(b"::", b"\t")


def _join(
    chunk: Chunk, key: str, table: dict[str, tuple[str | None, ...]], names: Sequence[str]
) -> dict[str, pa.Array]:
    """The attributes of each row's user or film: name of an attribute -> column.

    Args:
      chunk: a chunk of ratings.
      key: `user` or `movie`, the column that holds the id.
      table: id -> its attributes.
      names: names of the attributes.
    """
    column = chunk.columns[key]
    keys = column.dictionary.to_pylist()
    for k, value in enumerate(keys):
        if value not in table:
            row = int(np.argmax(column.indices.to_numpy() == k))
            should = f"A rating should be of a {key} in `{key}s.dat`."
            raise bad_row(should, repr(value), chunk.path, chunk.first_line + row)
    rows = [table[value] for value in keys]
    attributes = (pa.array([row[k] for row in rows], pa.string()) for k in range(len(names)))
    return {
        name: pa.DictionaryArray.from_arrays(column.indices, values)
        for name, values in zip(names, attributes, strict=True)
    }


def _side_table(
    path: str, encoding: str, parse: Callable[[Sequence[str]], tuple[str | None, ...]]
) -> dict[str, tuple[str | None, ...]]:
    """Reads a small `::`-separated file, `users.dat` or `movies.dat`: id -> attributes.

    Args:
      path: the file.
      encoding: Python name of its encoding.
      parse: function: values of a line -> attributes.
    """
    if not os.path.exists(path):
        raise ValueError(
            f"`ratings.dat` should have `users.dat` and `movies.dat` beside it. Received: no {path}"
        )
    table: dict[str, tuple[str | None, ...]] = {}
    for first, text in read_chunks(path):
        for line, raw in enumerate(text[:-1].split(b"\n"), first):
            try:
                cells = raw.removesuffix(b"\r").decode(encoding).split("::")
                if any(mark in cell for cell in cells for mark in "\r\0\t"):
                    raise ValueError("a carriage return, NUL or tab")
                key, value = _whole(cells[0]), parse(cells)
            except ValueError as error:
                should = (
                    f"A line should be {encoding} text with `::` between values, as the "
                    "MovieLens README says."
                )
                raise bad_row(should, f"{raw[:200]!r}: {error}", path, line) from None
            if key in table:
                raise bad_row("An id should occur once.", f"{key} again", path, line)
            table[key] = value
    return table


def _whole(text: str) -> str:
    """The text of a whole number in canonical form, without leading zeros."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError(f"{text!r} is no whole number")
    return str(int(text))


def _user(cells: Sequence[str]) -> tuple[str | None, ...]:
    _, gender, age, occupation, zip_code = cells
    return gender, _whole(age), _whole(occupation), zip_code


def _movie(cells: Sequence[str]) -> tuple[str | None, ...]:
    _, title, genres = cells
    year = re.search(r"\(([0-9]{4})\)\s*$", title)
    return genres, str(int(year[1])) if year else None
