"""The parsing of separated text into chunks of rows: pyarrow parses a piece at a time, and values
are checked and converted once per distinct text.

Every column is read as dictionary-encoded strings, which `columns` converts. Only pieces that
pyarrow refuses (wrong column count, wrong encoding) are scanned again in Python, to find the bad
row.
"""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from data_pipelines.reader import Chunk
from data_pipelines.text.columns import Column, TextRules, convert, values_of
from data_pipelines.text.lines import bad_row, read_chunks, split_header


@dataclasses.dataclass(frozen=True)
class Delimited:
    """The form of a separated text file.

    Args:
      columns: all columns, in file order; exactly one of kind label, at most one of kind time.
      separator: one ASCII character.
      quote: quoting character, or None for text in which quotes have no meaning.
      missing: texts that mean a missing value, in addition to the empty text; in columns of
        numbers, every spelling of the same number.
      encoding: Python name of the encoding.
      strip: whether spaces around a value are removed.
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
        """The rows of a file, a chunk at a time.

        Args:
          path: path of the file.
          header: names that the first line should hold. If empty (default), the first line is a
            row.
          pieces: lines of the file as `read_chunks` gives them, for a caller that has begun to read
            it. If None (default), the whole file is read.
          edit: function that is called with the number of its first line and each piece of text,
            and returns the text to parse, with the same line ends. If None (default), the text is
            parsed as it is.
        """
        if header:
            first, pieces = split_header(path)
            line = first.decode("utf-8", "replace")
            if tuple(line.split(self.separator)) != tuple(header):
                should = (
                    f"The header should be {' '.join(header)}, with {self.separator!r} "
                    "between the names."
                )
                raise bad_row(should, repr(line), path, 1)
        for number, text in read_chunks(path) if pieces is None else pieces:
            yield self.parse(path, number, edit(number, text) if edit else text)

    def cells(self, path: str, line: int, raw: bytes) -> list[str]:
        """The values in one line.

        Args:
          path: the file, for messages.
          line: number of the line, for messages.
          raw: the line, without its end.

        Raises:
          ValueError: the line is not text of this form, or a quote that opens is not closed before
            the separator or the line's end.
        """
        try:
            text = raw.decode(self.encoding)
        except UnicodeError as error:
            reason = str(error)
            if isinstance(error, UnicodeDecodeError):
                reason = f"{error.reason} at byte {error.start}"
            raise bad_row(f"A line should be {self.encoding} text.", reason, path, line) from None
        if any(mark in text for mark in "\r\n\0"):
            should = "A value should not hold a carriage return or NUL."
            raise bad_row(should, repr(text), path, line)
        if not self.quote or self.quote not in text:
            return text.split(self.separator)
        quote, separator = re.escape(self.quote), re.escape(self.separator)
        quoted = f"{quote}([^{quote}]*(?:{quote}{quote}[^{quote}]*)*){quote}"
        plain = f"((?!{quote})[^{separator}]*)"
        cell = re.compile(f"(?:{quoted}|{plain})({separator}|\\Z)")
        values, place = [], 0
        while match := cell.match(text, place):
            unquoted = (match[1] or "").replace(2 * self.quote, self.quote)
            values.append(unquoted if match[2] is None else match[2])
            if not match[3]:
                return values
            place = match.end()
        should = (
            "A line should hold whole quoted values: a quote that opens is closed in its "
            "line, and the separator follows it."
        )
        raise bad_row(should, repr(text[place:]), path, line)

    def parse(self, path: str, first_line: int, text: bytes) -> Chunk:
        """The rows in some whole lines, as one chunk.

        Args:
          path: the file.
          first_line: number of the first line, from 1.
          text: the lines.

        Raises:
          ValueError: a bad row; the message names file, line and field.
        """
        rows = text.count(b"\n")
        encoded = self._to_utf8(path, first_line, text)
        lone_returns = b"\r" in encoded and encoded.count(b"\r") != encoded.count(b"\r\n")
        if b"\0" in encoded or lone_returns:
            self._scan(path, first_line, text)
        # Where quotes are not whole, Arrow reads on over the line's end, and takes "a"b for ab.
        if self.quote and not self._quotes_are_whole(encoded):
            self._scan(path, first_line, text)
        try:
            table = self._read(encoded)
        except pa.ArrowInvalid as error:
            self._scan(path, first_line, text)
            should = f"A row should hold {len(self.columns)} columns of text."
            received = f"{str(error)!r} between this line and line {first_line + rows - 1}"
            raise bad_row(should, received, path, first_line) from None
        if table.num_rows != rows:  # a newline inside quotes
            self._scan(path, first_line, text)
            received = f"{rows} lines that make {table.num_rows} rows"
            raise bad_row("A value should not hold a newline.", received, path, first_line)
        rules = TextRules(self.missing, self.strip, self.positive, self.negative)
        columns: dict[str, pa.Array] = {}
        label, time = np.zeros(0), None
        for position, column in enumerate(self.columns):
            if column.kind == "ignore":
                continue
            array = table.column(str(position)).combine_chunks()
            array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
            converted = convert(array, column, rules, path, first_line)
            if column.kind == "label":
                label = values_of(converted)
            elif column.kind == "time":
                time = values_of(converted)
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
            opening, closing = places[::2], places[1::2]
            # Before the first byte stands, by its index -1, the newline at the end.
            in_one_line = not np.add.reduceat(codes == 10, places)[::2].any()
            if in_one_line and before[codes[opening - 1]].all() and after[codes[closing + 1]].all():
                return True
        q, s = re.escape(quote), re.escape(separator)
        opens = rb"(?:(?<=[\n%b])|\A)%b" % (s, q)
        whole = re.compile(
            rb"%b[^\n%b]*(?:%b%b[^\n%b]*)*%b(?=\r?\n|%b)" % (opens, q, q, q, q, q, s)
        )
        return re.search(opens, whole.sub(b"", text)) is None

    def _scan(self, path: str, first_line: int, text: bytes) -> None:
        """Raises ValueError for the first bad line of some text, if there is one."""
        for line, raw in enumerate(text[:-1].split(b"\n"), first_line):
            cells = self.cells(path, line, raw.removesuffix(b"\r"))
            if len(cells) != len(self.columns):
                should = f"A row should have {len(self.columns)} columns."
                raise bad_row(should, f"{len(cells)} columns", path, line)
