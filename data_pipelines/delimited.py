"""Separated text to chunks: parsed by pyarrow a piece at a time, checked and converted once per distinct value.

Every column is read as dictionary-encoded strings, so numbers, labels and missing marks are looked at once per distinct text and a bad
one leads straight to its row. Only rows that pyarrow refuses (wrong column count, wrong encoding) are scanned again in Python.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from data_pipelines.lines import bad_row, read_chunks
from data_pipelines.reader import Chunk
from irazor_tf.schema import MISSING_INT, missing_numbers

_RESERVED = int(MISSING_INT)
COLUMN_KINDS = ("categorical", "numeric", "label", "time", "ignore")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of the text: its `name`, its `kind` (one of `COLUMN_KINDS`) and, for a categorical one, its `dtype`."""

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
      missing: texts that mean a missing value, the empty text always among them; in columns of numbers, numbers equal to one.
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

    def chunks(self, path: str, skip_lines: int = 0, edit: Callable[[bytes], bytes] | None = None) -> Iterator[Chunk]:
        """The rows of a file; `edit` may rewrite each piece of text (not its line ends) before it is parsed."""
        for line, text in read_chunks(path):
            while skip_lines and text:
                text = text[text.index(b"\n") + 1 :]
                skip_lines -= 1
                line += 1
            if text:
                yield self.parse(path, line, edit(text) if edit else text)

    def parse(self, path: str, first_line: int, text: bytes) -> Chunk:
        """Whole lines of text, as one chunk.

        Raises:
          ValueError: a bad row; the message names file, line and field.
        """
        rows = text.count(b"\n")
        encoded = self._to_utf8(path, first_line, text)
        if encoded.find(b"\0") >= 0 or (encoded.find(b"\r") >= 0 and encoded.count(b"\r") != encoded.count(b"\r\n")):
            self._scan(path, first_line, text)
        try:
            table = self._read(encoded)
        except pa.ArrowInvalid as error:
            self._scan(path, first_line, text)
            where = f"lines {first_line} to {first_line + rows - 1}"
            raise ValueError(f"A row should hold {len(self.columns)} columns of text. Received: {error} ({path}, {where})") from None
        if table.num_rows != rows:  # a newline inside quotes
            self._scan(path, first_line, text)
            raise bad_row("A value should not hold a newline.", f"{rows} lines that make {table.num_rows} rows", path, first_line)
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
            read_options=pa_csv.ReadOptions(column_names=[str(k) for k in range(len(self.columns))], block_size=len(text) + 1),
            parse_options=pa_csv.ParseOptions(
                delimiter=self.separator, quote_char=self.quote or False, double_quote=bool(self.quote), ignore_empty_lines=False
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(kept, kind), include_columns=kept, strings_can_be_null=False, check_utf8=True
            ),
        )

    def _to_utf8(self, path: str, first_line: int, text: bytes) -> bytes:
        if codecs.lookup(self.encoding).name == "utf-8":  # Arrow checks it
            return text
        try:
            return text.decode(self.encoding).encode()
        except UnicodeDecodeError:
            self._scan(path, first_line, text)
            raise

    def _convert(self, array: pa.DictionaryArray, column: Column, path: str, first_line: int) -> pa.DictionaryArray:
        texts = array.dictionary
        number = column.kind in ("numeric", "time") or column.dtype == "int64" or (column.kind == "label" and not self.positive)
        if self.strip or number:
            texts = pc.utf8_trim_whitespace(texts)
        missing = pc.is_in(texts, pa.array(["", *self.missing], pa.string()))

        def fail(should: str, k: int) -> ValueError:
            row = int(np.argmax(array.indices.to_numpy() == k))
            return bad_row(f"Field {column.name!r} should hold {should}.", repr(array.dictionary[k].as_py()), path, first_line + row)

        if column.kind in ("label", "time") and pc.any(missing).as_py():
            raise fail("a value in every row", pc.index(missing, True).as_py())
        values = pc.if_else(missing, pa.scalar(None, pa.string()), texts)
        if column.kind == "label" and self.positive:
            known = pc.is_in(values, pa.array([*self.positive, *self.negative], pa.string()))
            if self.negative and not pc.all(known).as_py():
                raise fail(f"one of {', '.join(self.positive + self.negative)}", pc.index(known, False).as_py())
            values = pc.is_in(values, pa.array(self.positive, pa.string())).cast(pa.float64())
        elif number:
            whole = column.kind == "categorical"
            try:
                numbers = values.cast(pa.int64() if whole else pa.float64())
                bad = pc.any(pc.equal(numbers, _RESERVED) if whole else pc.is_inf(numbers)).as_py()
            except pa.ArrowInvalid:
                bad = True
            if bad:
                numbers = _numbers(values, whole, fail)
            if column.kind in ("categorical", "numeric"):
                marks = missing_numbers(self.missing, "int64" if whole else "float64")
                numbers = pc.if_else(pc.is_in(numbers, pa.array(marks, numbers.type)), pa.scalar(None, numbers.type), numbers)
            values = numbers.cast(pa.string()) if whole else numbers
        return pa.DictionaryArray.from_arrays(array.indices, values)

    def _scan(self, path: str, first_line: int, text: bytes) -> None:
        """Looks for the first bad line, one by one, and raises for it."""
        for line, raw in enumerate(text[:-1].split(b"\n"), first_line):
            raw = raw.removesuffix(b"\r")
            try:
                decoded = raw.decode(self.encoding)
            except UnicodeDecodeError as error:
                raise bad_row(f"A line should be {self.encoding} text.", f"{error.reason} at byte {error.start}", path, line) from None
            if "\r" in decoded or "\0" in decoded:
                raise bad_row("A value should not hold a carriage return or NUL.", repr(decoded[:200]), path, line)
            if self.quote:
                try:
                    cells = next(csv.reader([decoded], delimiter=self.separator, quotechar=self.quote, strict=True), [""])
                except csv.Error as error:
                    raise bad_row("A line should hold whole quoted values.", f"{decoded[:200]!r}: {error}", path, line) from None
            else:
                cells = decoded.split(self.separator)
            if len(cells) != len(self.columns):
                raise bad_row(f"A row should have {len(self.columns)} columns.", f"{len(cells)} columns", path, line)


def _numbers(values: pa.Array, whole: bool, fail: Callable[[str, int], ValueError]) -> pa.Array:
    """What Python reads as numbers, for texts that pyarrow does not take (`+5`), or the error for the first that is none."""
    numbers: list[float | None] = []
    for k, text in enumerate(values.to_pylist()):
        try:
            number = None if text is None else int(text) if whole else float(text)
            if number is not None and ("_" in text or abs(number) == float("inf") or (whole and not _RESERVED < number < 2**63)):
                raise ValueError
        except ValueError:
            raise fail("a whole number of 64 bits" if whole else "a finite number", k) from None
        numbers.append(number)
    return pa.array(numbers, pa.int64() if whole else pa.float64())


def _values(array: pa.DictionaryArray) -> np.ndarray:
    return array.dictionary.to_numpy(zero_copy_only=False).astype(np.float64)[array.indices.to_numpy()]
