"""The lines of text files, plain or gzip, read in large pieces that end at a newline, so that
memory does not grow with the file.

A file is opened once and read from its first byte to its last, so that a pipe (`/dev/stdin`, a
FIFO, a process substitution) gives every row.
"""

from __future__ import annotations

import gzip
import itertools
import os
import re
import stat
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

CHUNK_BYTES = 24 << 20
# A longer line is refused, for what has no newlines would be held in memory whole.
LINE_BYTES = 16 << 20
_RECEIVED_CHARACTERS = 400
_BOM = b"\xef\xbb\xbf"
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
_FOREIGN = (
    (rb"PAR1\x15", "a Parquet file"),
    (rb"PK\x03\x04", "a zip archive or a spreadsheet"),
    (rb"BZh[1-9]1AY&SY", "a bzip2 file"),
    (rb"\xfd7zXZ\x00", "an xz file"),
    (rb"\x28\xb5\x2f\xfd", "a zstd file"),
    (rb"ARROW1\x00\x00", "an Arrow file"),
    (rb"Obj\x01", "an Avro file"),
    (rb"SQLite format 3\x00", "an SQLite database"),
    (rb"\xff\xfe|\xfe\xff", "UTF-16 text"),
)


def bad_row(should: str, received: str, path: str, line: int) -> ValueError:
    """The error about one row.

    Args:
      should: sentence that says what the row should hold.
      received: what it holds, of which the beginning is quoted.
      path: the file.
      line: number of the line.
    """
    if len(received) > _RECEIVED_CHARACTERS:
        received = received[:_RECEIVED_CHARACTERS] + "..."
    return ValueError(f"{should} Received: {received} ({path}, line {line})")


def read_chunks(path: str, chunk_bytes: int | None = None) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, some tens of megabytes at a time; the next piece is read while the
    caller works on this one.

    A byte-order mark and blank lines at the end of the file are left out, and the last line always
    ends in a newline.

    Yields:
      The number of the piece's first line, counted from 1, and its lines, whole.

    Raises:
      ValueError: a gzip file that is cut off or damaged (the message names the file and the last
        line read), a line above `LINE_BYTES`, a second byte-order mark, or a file of another kind.
    """
    line, beginning = 1, True
    unfinished: list[bytes] = []  # pieces of a line whose end has not come yet
    length = 0  # of these together
    blank = b""  # blank lines, which may be the last ones of the file
    with _Input(path) as source:
        while True:
            try:
                data = source.read(chunk_bytes or CHUNK_BYTES)
            except _DAMAGE as error:
                last = line - 1 + blank.count(b"\n")
                should = "A gzip file should be complete and undamaged."
                raise ValueError(
                    f"{should} Received: {error} ({path}, last line read {last})"
                ) from None
            except OSError as error:
                raise _unreadable(path, error) from None
            if beginning:
                _check_kind(path, data)
                data, beginning = data.removeprefix(_BOM), False
            if not data:
                break
            cut = data.rfind(b"\n") + 1
            if cut:
                lines = b"".join([*unfinished, data[:cut]])
                unfinished, length = [], 0
                end = len(lines.rstrip(b"\r\n"))
                end = lines.index(b"\n", end) + 1 if end else 0
                blank, text = (lines[end:], blank + lines[:end]) if end else (blank + lines, b"")
                if text:
                    _check_lines(path, line, text)
                    yield line, text
                    line += text.count(b"\n")
            unfinished.append(data[cut:])
            length += len(data) - cut
            if max(length, len(blank)) > LINE_BYTES:
                raise _too_long(path, line + blank.count(b"\n") if length > LINE_BYTES else line)
    last_line = b"".join(unfinished)
    if last_line.strip(b"\r"):
        text = blank + last_line.removesuffix(b"\r") + b"\n"
        _check_lines(path, line, text)
        yield line, text


def first_line(path: str) -> str:
    """The first line of a file, without its end; empty for an empty file.

    Raises:
      ValueError: a file that `read_chunks` refuses, or one that cannot be read a second time (a
        pipe).
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(
            "An input that is looked at before it is read should be a regular file. Received: "
            f"{path}, which is none"
        )
    header, _ = split_header(path, 1 << 16)
    return header.decode("utf-8", "replace")


def split_header(
    path: str, chunk_bytes: int | None = None
) -> tuple[bytes, Iterator[tuple[int, bytes]]]:
    """The first line of a file, without its end (empty for an empty file), and the other lines as
    `read_chunks` gives them, in one reading.

    Args:
      path: the file.
      chunk_bytes: size of a piece. None for the default.
    """
    chunks = read_chunks(path, chunk_bytes)
    line, text = next(chunks, (1, b""))
    header, _, rest = text.partition(b"\n")
    return header.removesuffix(b"\r"), itertools.chain([(line + 1, rest)] if rest else [], chunks)


def _check_kind(path: str, data: bytes) -> None:
    for pattern, kind in _FOREIGN:
        if re.match(pattern, data):
            should = (
                "An input file should be text, plain or gzip, in an encoding that extends ASCII."
            )
            raise ValueError(f"{should} Received: {path}, which is {kind}")


def _check_lines(path: str, line: int, text: bytes) -> None:
    """Raises ValueError for a line longer than `LINE_BYTES`, and for one that begins with a
    byte-order mark.

    Args:
      path: the file, for messages.
      line: number of the first line.
      text: the lines.
    """
    start = 0
    while len(text) - start > LINE_BYTES:
        end = text.rfind(b"\n", start, start + LINE_BYTES + 1)
        if end < 0:
            raise _too_long(path, line + text.count(b"\n", 0, start))
        start = end + 1
    if text.startswith(_BOM) or b"\n" + _BOM in text:
        place = 0 if text.startswith(_BOM) else text.index(b"\n" + _BOM) + 1
        should = "A byte-order mark should stand once, at the beginning of a file."
        received = "one more, as files have that were joined"
        raise bad_row(should, received, path, line + text.count(b"\n", 0, place))


def _too_long(path: str, line: int) -> ValueError:
    return bad_row(
        f"A line, and blank lines in a row, should take at most {LINE_BYTES >> 20} MiB.",
        "more",
        path,
        line,
    )


def _unreadable(path: str, error: OSError) -> ValueError:
    return ValueError(
        f"An input file should be readable. Received: {path} ({error.strerror or error})"
    )


class _Input:
    """A file that is opened once. `read` gives its bytes, unpacked where they are gzip, and reads
    ahead in a thread where that cannot block (not from a pipe).

    Args:
      path: the file.
    """

    def __init__(self, path: str):
        try:
            self._file = open(path, "rb")  # noqa: SIM115, closed by `__exit__`
            regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
            head = _Head(self._file)
        except OSError as error:
            raise _unreadable(path, error) from None
        except ValueError as error:  # a NUL in the name
            raise ValueError(
                f"An input file should be readable. Received: {path!r} ({error})"
            ) from None
        self._source: _Head | _Gzip = _Gzip(head) if head.is_gzip else head
        # A thread that waits for a pipe could not be stopped when a row is refused.
        self._pool = ThreadPoolExecutor(1) if regular else None
        self._pending: Future[bytes] | None = None

    def __enter__(self) -> _Input:
        return self

    def __exit__(self, *error: object) -> None:
        # A reading that is given up ends where the garbage collector finds it, maybe inside
        # `threading`: a thread joined there, by the default `wait`, would wait for ever for locks
        # that are held further up.
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        self._file.close()

    def read(self, size: int) -> bytes:
        """The next `size` bytes. At the end of the file, or before damage, there are fewer; after
        it, none."""
        if self._pool is None:
            return self._source.read(size)
        data = self._source.read(size) if self._pending is None else self._pending.result()
        self._pending = self._pool.submit(self._source.read, size)
        return data


class _Head:
    """A file of which the first two bytes are looked at beforehand; `read` still gives them.

    Args:
      file: the open file.
    """

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._head = file.read(2)
        self.is_gzip = self._head == b"\x1f\x8b"

    def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head + self._file.read(size - len(head))


class _Gzip:
    """The unpacked bytes of a gzip file. Where it is damaged, everything that could be unpacked is
    handed out before the error is raised.

    Args:
      file: the open file.
    """

    def __init__(self, file: _Head):
        self._file = gzip.GzipFile(fileobj=file, mode="rb")  # type: ignore[call-overload]
        self._error: Exception | None = None

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        left = size
        while left > 0 and self._error is None:
            try:
                part = self._file.read1(min(left, 1 << 20))
            except _DAMAGE as error:
                self._error = error
                break
            if not part:
                break
            parts.append(part)
            left -= len(part)
        if self._error is not None and not parts:
            raise self._error
        return b"".join(parts)
