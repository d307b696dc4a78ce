"""Text files, plain or gzip, in large pieces cut at a newline, so that memory does not grow with the file."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO

CHUNK_BYTES = 24 << 20


def bad_row(should: str, received: str, path: str, line: int) -> ValueError:
    """The error for one row: what should hold, what was there, and where."""
    return ValueError(f"{should} Received: {received} ({path}, line {line})")


def read_chunks(path: str, chunk_bytes: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Whole lines of a file, some tens of megabytes at a time; the next piece is read while the caller works on this one.

    A byte order mark and blank lines at the end of the file are left out, and the last line always ends in a newline.

    Yields:
      The number of the first line, counted from 1, and the lines.

    Raises:
      ValueError: a gzip file that is cut off or damaged; the message names the file and the last line read.
    """
    line, rest, first = 1, b"", True
    with _open(path) as file, ThreadPoolExecutor(1) as pool:
        pending = pool.submit(file.read, chunk_bytes or CHUNK_BYTES)
        while True:
            try:
                data = pending.result()
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                last = line - 1 + rest.count(b"\n")
                raise _damaged(error, path, last) from None
            if not data:
                break
            pending = pool.submit(file.read, chunk_bytes or CHUNK_BYTES)
            if first:
                data, first = data.removeprefix(b"\xef\xbb\xbf"), False
            # Blank lines stay with what follows, so that those at the end of the file can be told from those inside it.
            cut = data.rfind(b"\n") + 1
            if cut:
                cut = len(data[:cut].rstrip(b"\r\n"))
                cut = data.find(b"\n", cut) + 1 if cut else 0
            if not cut:
                rest += data
                continue
            text = rest + data[:cut] if rest else data[:cut]
            rest = data[cut:]
            yield line, text
            line += text.count(b"\n")
    if rest.strip(b"\r\n"):
        yield line, rest.rstrip(b"\r\n") + b"\n"


def first_line(path: str) -> str:
    """The first line of a file, without its end; empty for an empty file."""
    with _open(path) as file:
        try:
            return file.readline().removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n").decode("utf-8", "replace")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _damaged(error, path, 0) from None


def _damaged(error: Exception, path: str, last: int) -> ValueError:
    return ValueError(f"A gzip file should be complete and undamaged. Received: {error} ({path}, last line read {last})")


class _Gzip(io.RawIOBase):
    """Reads ahead of the damage: what could be unpacked is handed out before the error is raised."""

    def __init__(self, path: str):
        self._file = gzip.GzipFile(path, "rb")
        self._error: Exception | None = None

    def readline(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        return self._file.readline()

    def read(self, size: int = -1) -> bytes:
        parts: list[bytes] = []
        left = size
        while left > 0 and self._error is None:
            try:
                part = self._file.read1(min(left, 1 << 20))
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                self._error = error
                break
            if not part:
                break
            parts.append(part)
            left -= len(part)
        if self._error is not None and not parts:
            raise self._error
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()
        super().close()


def _open(path: str) -> IO[bytes] | _Gzip:
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise ValueError(f"An input file should be readable. Received: {path} ({error.strerror})") from None
    return _Gzip(path) if packed else open(path, "rb")
