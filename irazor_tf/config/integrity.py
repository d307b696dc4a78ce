"""Checksums of files, and the ledger of what a job wrote, by which a damaged file is recognised. No
TensorFlow import.

While a job is at work in its folder, the checksum of every JSON file, array and checkpoint that it
writes there is entered in one ledger, and every such file that it reads is compared with its entry.
A file without an entry (of a job begun before there were ledgers) is read without a check.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from typing import IO

_logger = logging.getLogger("irazor_tf")
_warned: set[str] = set()

LEDGER = ".checksums"
PARTIAL = ".partial"  # end of the name of a file or folder that is not whole yet
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_PIECE = 1 << 20


def checksum(path: str) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def checksums(folder: str) -> dict[str, str]:
    """The SHA-256 of every file under a folder: path relative to `folder` -> hexadecimal digits, in
    the order of the paths."""
    paths = sorted(os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)
    return {os.path.relpath(path, folder).replace(os.sep, "/"): checksum(path) for path in paths}


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """A context in which an `OSError` (a full disk, say) that does not say which file it is about
    names `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from None


@contextlib.contextmanager
def replacing(path: str, enter: bool = False) -> Iterator[str]:
    """A context for writing a file: it gives a temporary name to write to, and at its end renames
    that file to `path`. A reader so finds the old file or the whole new one.

    Args:
      path: Final name of the file; an error such as a full disk names it.
      enter: Whether the file's checksum is entered in the open ledgers, just before the renaming.
    """
    partial = path + PARTIAL
    with naming(path):
        yield partial
    if enter:
        record(path, partial)
    os.replace(partial, path)


@contextlib.contextmanager
def beside(path: str) -> Iterator[IO[str]]:
    """A context that gives a text file to write to, under a temporary name; it is renamed to `path`
    at the end of the context (see `replacing`)."""
    with replacing(path) as partial, open(partial, "w", encoding="utf-8") as file:
        yield file


def stamp(path: str) -> tuple[int, int, int] | None:
    """Inode, size in bytes and time of change of a file, by which a process notices that the file
    has changed; None where there is no file."""
    if not os.path.exists(path):
        return None
    state = os.stat(path)
    return state.st_ino, state.st_size, state.st_mtime_ns


class Ledger:
    """The checksums of what a job wrote under its folder: a text file with a line `SHA-256  path`
    per writing, appended before the written file gets its final name.

    A process may be killed between the two, so a path has two valid checksums: that of the file
    that is there, and the last one entered.

    Args:
      folder: The job's folder.
    """

    def __init__(self, folder: str):
        self.folder = os.path.abspath(folder)
        self._path = os.path.join(self.folder, LEDGER)
        self._known: dict[str, list[str]] = {}
        if os.path.exists(self._path):
            with open(self._path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
            for line in lines:
                # The last line may have been cut off with its process.
                if match := _LINE.fullmatch(line):
                    self._enter(match[2], match[1])
            if len(lines) > 100 + 4 * len(self._known):
                self._shorten()

    def covers(self, path: str) -> bool:
        """Whether the path of a file lies in the ledger's folder."""
        return os.path.abspath(path).startswith(self.folder + os.sep)

    def record(self, path: str, digest: str) -> None:
        """Enters a checksum.

        Args:
          path: Final name of a file that is about to be replaced.
          digest: SHA-256 of its new content.
        """
        name = self._name(path)
        there = checksum(path) if name in self._known and os.path.exists(path) else None
        kept = [there] if there in self._known.get(name, ()) else []
        lines = [value for value in dict.fromkeys([*kept, digest]) if value is not None]
        for value in lines:
            self._enter(name, value)
        with naming(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write("".join(f"{value}  {name}\n" for value in lines))

    def forget(self, path: str) -> None:
        """Removes the entry of a file that is deleted on purpose."""
        if self._known.pop(self._name(path), None) is not None:
            self._shorten()

    def knows(self, path: str) -> bool:
        """Whether there is an entry for a file."""
        return self._name(path) in self._known

    def damaged(self, path: str) -> bool:
        """Whether a file has an entry, and holds something else than what was entered."""
        known = self._known.get(self._name(path))
        return known is not None and checksum(path) not in known

    def _name(self, path: str) -> str:
        return os.path.relpath(os.path.abspath(path), self.folder).replace(os.sep, "/")

    def _enter(self, name: str, digest: str) -> None:
        before = [value for value in self._known.get(name, ()) if value != digest]
        self._known[name] = [*before[-1:], digest]

    def _shorten(self) -> None:
        """Writes the ledger anew without the checkpoints that no longer exist (a training deletes
        all but its last ones)."""
        there = {
            name
            for name in self._known
            if "/step-" not in name or os.path.exists(os.path.join(self.folder, name))
        }
        self._known = {name: known for name, known in self._known.items() if name in there}
        lines = [f"{value}  {name}\n" for name, known in self._known.items() for value in known]
        with beside(self._path) as file:
            file.write("".join(lines))


_open: list[Ledger] = []


@contextlib.contextmanager
def guarding(folder: str) -> Iterator[None]:
    """A context in which checksums of files under `folder` are entered in its ledger and compared
    with it. Inside another such context of the same folder, the outer one's ledger is used."""
    if any(ledger.folder == os.path.abspath(folder) for ledger in _open):
        yield
        return
    ledger = Ledger(folder)
    _open.append(ledger)
    try:
        yield
    finally:
        _open.remove(ledger)


def record(path: str, written: str | None = None) -> None:
    """Enters the checksum of a file in the open ledgers.

    Args:
      path: Final name of the file.
      written: Path at which the new content lies at the moment. If None, it lies at `path`.
    """
    for ledger in _ledgers(path):
        ledger.record(path, checksum(written or path))


def damaged(path: str) -> bool:
    """Whether the content of `path` differs from what an open ledger says; a file without an entry
    never counts as damaged."""
    return os.path.exists(path) and any(ledger.damaged(path) for ledger in _ledgers(path))


def known(path: str) -> bool:
    """Whether an open ledger has an entry for `path`."""
    return any(ledger.knows(path) for ledger in _ledgers(path))


def check(path: str) -> None:
    """Raises ValueError where the content of `path` differs from what an open ledger says."""
    if damaged(path):
        raise ValueError(
            f"A file of a job should be as the job wrote it. Received: {path}, with another "
            "content (damaged, or changed by hand). "
            "Delete it, and run the same command again: what it holds is made anew (where it is "
            "the ledger that is damaged, "
            f"{LEDGER}, delete that: files are then taken as they are)"
        )


def forget(path: str) -> None:
    """Removes the entries of a file that was deleted on purpose from the open ledgers."""
    for ledger in _ledgers(path):
        ledger.forget(path)


def _ledgers(path: str) -> list[Ledger]:
    return [ledger for ledger in _open if ledger.covers(path)]


def warn_once(message: str, *args: object) -> None:
    """Logs the warning `message % args`, unless this process has logged the very same text
    before."""
    text = message % args
    if text not in _warned:
        _warned.add(text)
        _logger.warning("%s", text)
