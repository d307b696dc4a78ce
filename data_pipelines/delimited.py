"""Separated text to chunks: parsed by pyarrow a piece at a time, checked and converted once per
distinct value.

Every column is read as dictionary-encoded strings, so numbers, labels and missing marks are looked
at once per distinct text and a bad one leads straight to its row. Only rows that pyarrow refuses
(wrong column count, wrong encoding) are scanned again in Python."""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from data_pipelines.lines import bad_row, read_chunks, split_header
from data_pipelines.reader import Chunk
from irazor_tf.config.encoding import missing_numbers
from irazor_tf.config.schema import MISSING_INT

_RESERVED = int(MISSING_INT)
_TOO_LARGE = (
    "a whole number of 64 bits with a sign (larger ids can be read as text, that is "
    "without `dtype: int64`)"
)
COLUMN_KINDS = ("categorical", "numeric", "label", "time", "ignore")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of the text: its `name`, its `kind` (one of `COLUMN_KINDS`) and, for a categorical
    one, its `dtype`."""

    name: str
    kind: str = "categorical"
    dtype: str = "string"


@dataclasses.dataclass(frozen=True)
class Delimited:
    """The form of a separated text file.

    Args:
      columns: every column, in file order; exactly one label, at most one time.
      separator: one ASCII character.
      quote: quoting character, or None for text in which quotes mean nothing.
      missing: texts that mean a missing value, the empty text always among them; in columns of
        numbers, numbers equal to one.
      encoding: Python name of the encoding.
      strip: whether spaces around a value are left out.
      positive: label texts that mean 1, all others being 0; empty where labels are numbers.
      negative: label texts that mean 0; where given, any other text is an error.
    """

    columns: tuple[Column, ...]
    separator: str = "\t"
    quote: str | None = None
    missing: tuple[str, ...] = ()
    encoding: str = "utf-8"
    strip: bool = False
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()

    def chunks(
        self,
        path: str,
        header: Sequence[str] = (),
        pieces: Iterable[tuple[int, bytes]] | None = None,
        edit: Callable[[int, bytes], bytes] | None = None,
    ) -> Iterator[Chunk]:
        """The rows of a file.

        Args:
          path: the file.
          header: where given, what the first line should hold; it is no row.
          pieces: the file's lines as `read_chunks` gives them, where the caller has begun to read
            it; None: all of them.
          edit: may rewrite each piece of text (not its line ends), given the number of its first
            line, before it is parsed.
        """
        if header:
            found, pieces = split_header(path)
            if tuple(found.decode("utf-8", "replace").split(self.separator)) != tuple(header):
                should = (
                    f"The header should be {' '.join(header)}, with {self.separator!r} "
                    "between the names."
                )
                raise bad_row(should, repr(found.decode("utf-8", "replace")), path, 1)
        for line, text in read_chunks(path) if pieces is None else pieces:
            yield self.parse(path, line, edit(line, text) if edit else text)

    def cells(self, path: str, line: int, raw: bytes) -> list[str]:
        """The values of one line, which is given without its end.

        Raises:
          ValueError: the line is not text of this form, or a quote that opens is not closed before
            the separator or the line's end.
        """
        try:
            text = raw.decode(self.encoding)
        except UnicodeError as error:
            what = (
                f"{error.reason} at byte {error.start}"
                if isinstance(error, UnicodeDecodeError)
                else str(error)
            )
            raise bad_row(f"A line should be {self.encoding} text.", what, path, line) from None
        if any(mark in text for mark in "\r\n\0"):
            raise bad_row(
                "A value should not hold a carriage return or NUL.", repr(text), path, line
            )
        if not self.quote or self.quote not in text:
            return text.split(self.separator)
        quote, separator = re.escape(self.quote), re.escape(self.separator)
        cell = re.compile(
            f"(?:{quote}([^{quote}]*(?:{quote}{quote}[^{quote}]*)*){quote}|((?!{quote})[^{separator}]*))({separator}|\\Z)"
        )
        values, place = [], 0
        while match := cell.match(text, place):
            values.append(
                (match[1] or "").replace(2 * self.quote, self.quote)
                if match[2] is None
                else match[2]
            )
            if not match[3]:
                return values
            place = match.end()
        should = (
            "A line should hold whole quoted values: a quote that opens is closed in its "
            "line, and the separator follows it."
        )
        raise bad_row(should, repr(text[place:]), path, line)

    def parse(self, path: str, first_line: int, text: bytes) -> Chunk:
        """Whole lines of text, as one chunk.

        Raises:
          ValueError: a bad row; the message names file, line and field.
        """
        rows = text.count(b"\n")
        encoded = self._to_utf8(path, first_line, text)
        if encoded.find(b"\0") >= 0 or (
            encoded.find(b"\r") >= 0 and encoded.count(b"\r") != encoded.count(b"\r\n")
        ):
            self._scan(path, first_line, text)
        if self.quote and not self._quotes_are_whole(
            encoded
        ):  # Arrow reads on over the line's end, and takes "a"b for ab
            self._scan(path, first_line, text)
        try:
            table = self._read(encoded)
        except pa.ArrowInvalid as error:
            self._scan(path, first_line, text)
            what = f"{str(error)!r} between this line and line {first_line + rows - 1}"
            raise bad_row(
                f"A row should hold {len(self.columns)} columns of text.", what, path, first_line
            ) from None
        if table.num_rows != rows:  # a newline inside quotes
            self._scan(path, first_line, text)
            raise bad_row(
                "A value should not hold a newline.",
                f"{rows} lines that make {table.num_rows} rows",
                path,
                first_line,
            )
        columns: dict[str, pa.Array] = {}
        label, time = np.zeros(0), None
        for position, column in enumerate(self.columns):
            if column.kind == "ignore":
                continue
            array = table.column(str(position)).combine_chunks()
            array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
            converted = self._convert(array, column, path, first_line)
            if column.kind == "label":
                label = _values(converted)
            elif column.kind == "time":
                time = _values(converted)
            else:
                columns[column.name] = converted
        return Chunk(path, first_line, columns, label, time)

    def _read(self, text: bytes) -> pa.Table:
        kept = [str(k) for k, column in enumerate(self.columns) if column.kind != "ignore"]
        kind = pa.dictionary(pa.int32(), pa.string())
        return pa_csv.read_csv(
            pa.py_buffer(text),
            read_options=pa_csv.ReadOptions(
                column_names=[str(k) for k in range(len(self.columns))], block_size=len(text) + 1
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=self.separator,
                quote_char=self.quote or False,
                double_quote=bool(self.quote),
                ignore_empty_lines=False,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(kept, kind),
                include_columns=kept,
                strings_can_be_null=False,
                check_utf8=True,
            ),
        )

    def _to_utf8(self, path: str, first_line: int, text: bytes) -> bytes:
        if codecs.lookup(self.encoding).name == "utf-8":  # Arrow checks it
            return text
        try:
            return text.decode(self.encoding).encode()
        except UnicodeError as error:
            self._scan(path, first_line, text)
            raise bad_row(
                f"A line should be {self.encoding} text.", str(error), path, first_line
            ) from None

    def _quotes_are_whole(self, text: bytes) -> bool:
        """Whether every quote that opens a value is closed in its line and followed by the
        separator or the line's end."""
        quote, separator = str(self.quote).encode(), self.separator.encode()
        if quote not in text:
            return True
        # Mostly quotes come in pairs that open and close a value; the doubled ones inside values
        # need the slower look.
        codes = np.frombuffer(text, np.uint8)
        places = np.flatnonzero(codes == quote[0])
        if len(places) % 2 == 0:
            before, after = np.zeros((2, 256), bool)
            before[[separator[0], 10]] = True
            after[[separator[0], 10, 13]] = True
            opening, closing = (
                places[::2],
                places[1::2],
            )  # before the first byte stands, by its index, the newline at the end
            in_one_line = not np.add.reduceat(codes == 10, places)[::2].any()
            if in_one_line and before[codes[opening - 1]].all() and after[codes[closing + 1]].all():
                return True
        q, s = re.escape(quote), re.escape(separator)
        opens = rb"(?:(?<=[\n%b])|\A)%b" % (s, q)
        whole = re.compile(
            rb"%b[^\n%b]*(?:%b%b[^\n%b]*)*%b(?=\r?\n|%b)" % (opens, q, q, q, q, q, s)
        )
        return re.search(opens, whole.sub(b"", text)) is None

    def _convert(
        self, array: pa.DictionaryArray, column: Column, path: str, first_line: int
    ) -> pa.DictionaryArray:
        texts = array.dictionary
        number = (
            column.kind in ("numeric", "time")
            or column.dtype == "int64"
            or (column.kind == "label" and not self.positive)
        )
        if self.strip or number:
            texts = pc.utf8_trim_whitespace(texts)
        missing = pc.is_in(texts, pa.array(["", *self.missing], pa.string()))

        def fail(should: str, k: int) -> ValueError:
            row = int(np.argmax(array.indices.to_numpy() == k))
            return bad_row(
                f"Field {column.name!r} should hold {should}.",
                repr(array.dictionary[k].as_py()),
                path,
                first_line + row,
            )

        if column.kind in ("label", "time") and pc.any(missing).as_py():
            raise fail("a value in every row", pc.index(missing, True).as_py())
        values = pc.if_else(missing, pa.scalar(None, pa.string()), texts)
        if column.kind == "label" and self.positive:
            known = pc.is_in(values, pa.array([*self.positive, *self.negative], pa.string()))
            if self.negative and not pc.all(known).as_py():
                raise fail(
                    f"one of {', '.join(self.positive + self.negative)}",
                    pc.index(known, False).as_py(),
                )
            values = pc.is_in(values, pa.array(self.positive, pa.string())).cast(pa.float64())
        elif number:
            whole = column.kind == "categorical"
            numbers = _numbers(values, whole, column.kind in ("numeric", "label"), fail)
            if column.kind in ("categorical", "numeric"):
                marks = missing_numbers(self.missing, "int64" if whole else "float64")
                numbers = pc.if_else(
                    pc.is_in(numbers, pa.array(marks, numbers.type)),
                    pa.scalar(None, numbers.type),
                    numbers,
                )
            values = numbers.cast(pa.string()) if whole else numbers
        return pa.DictionaryArray.from_arrays(array.indices, values)

    def _scan(self, path: str, first_line: int, text: bytes) -> None:
        """Looks for the first bad line, one by one, and raises for it."""
        for line, raw in enumerate(text[:-1].split(b"\n"), first_line):
            cells = self.cells(path, line, raw.removesuffix(b"\r"))
            if len(cells) != len(self.columns):
                raise bad_row(
                    f"A row should have {len(self.columns)} columns.",
                    f"{len(cells)} columns",
                    path,
                    line,
                )


def _numbers(
    texts: pa.Array, whole: bool, nan: bool, fail: Callable[[str, int], ValueError]
) -> pa.Array:
    """Texts, null where missing, as int64 (`whole`) or float64 numbers, or the error for the first
    that is none.

    Arrow would also read 0x10 as 16, and Python 1_000 as 1000 and digits of other scripts. `nan`:
    whether that text passes, for a missing value, or for the caller to refuse; it is no whole
    number."""
    form = (
        r"^[+-]?[0-9]+(?:\.0+)?$"
        if whole
        else r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
    )
    good = pc.match_substring_regex(texts, form + "|^(?i:nan)$" if nan else form)
    if pc.all(good).as_py() is False:
        raise fail(
            "a whole number of 64 bits" if whole else "a finite number",
            pc.index(good, False).as_py(),
        )
    if not whole:
        numbers = texts.cast(pa.float64())
        if pc.any(pc.is_inf(numbers)).as_py():
            raise fail("a finite number", pc.index(pc.is_inf(numbers), True).as_py())
        return numbers
    try:
        numbers = texts.cast(pa.int64())
    except (
        pa.ArrowInvalid
    ):  # +5, an id as pandas writes those of a column with gaps (83.0), or too large a number
        texts = pc.replace_substring_regex(texts, r"^\+?(-?)0*([0-9]+)(?:\.0+)?$", r"\1\2")
        for k, text in enumerate(texts.to_pylist()):
            if text is not None and (len(text) > 20 or not _RESERVED < int(text) < 2**63):
                raise fail(_TOO_LARGE, k) from None
        numbers = texts.cast(pa.int64())
    if pc.any(pc.equal(numbers, _RESERVED)).as_py():
        raise fail(_TOO_LARGE, pc.index(numbers, _RESERVED).as_py())
    return numbers


def _values(array: pa.DictionaryArray) -> np.ndarray:
    return array.dictionary.to_numpy(zero_copy_only=False).astype(np.float64)[
        array.indices.to_numpy()
    ]
