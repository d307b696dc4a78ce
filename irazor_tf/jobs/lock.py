"""A lock on a folder: one process at a time works in it, and a second one is told which process
that is."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import socket
from collections.abc import Iterator

from filelock import FileLock, Timeout

from irazor_tf.config import integrity

_logger = logging.getLogger("irazor_tf")


@contextlib.contextmanager
def held(path: str, folder: str) -> Iterator[None]:
    """A context that holds a lock for work in a folder; it may be nested within one process.

    The lock is one of the operating system's and ends with its process, so that the lock of a
    process that is gone is free again. Its owner is written to a file beside it, for the message to
    others.

    Args:
      path: The lock file.
      folder: The folder, for the message.

    Raises:
      ValueError: another process holds the lock; the message names process, host and the time since
        when.
    """
    home = os.path.dirname(os.path.abspath(path))
    new = not os.path.isdir(home)
    os.makedirs(home, exist_ok=True)
    with open(path, "a", encoding="utf-8"):  # what cannot be written is said for what it is
        pass
    lock = FileLock(os.path.abspath(path), is_singleton=True)
    owner = path + ".owner"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"One process at a time should work in a folder. Received: {folder}, in use by "
            f"{described_owner(owner)}"
        ) from None
    try:
        if lock.lock_counter == 1:
            if os.path.exists(owner):
                _logger.info(
                    "%s: taken over from %s, which is gone", folder, described_owner(owner)
                )
            since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
            with integrity.naming(owner), open(owner, "w", encoding="utf-8") as file:
                json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": since}, file)
        yield
    finally:
        if lock.lock_counter == 1:
            with contextlib.suppress(OSError):
                os.remove(owner)
        lock.release()
        # A job that was refused leaves no folder behind.
        if new and not [name for name in os.listdir(home) if name != os.path.basename(path)]:
            with contextlib.suppress(OSError):
                os.remove(path)
            os.rmdir(home)


def described_owner(owner: str) -> str:
    """The owner that the file `owner` names, in words: process, host and time."""
    try:
        with open(owner, encoding="utf-8") as file:
            value = json.load(file)
        return f"process {value['pid']} on {value['host']} since {value['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is just coming or going
        return "another process"
