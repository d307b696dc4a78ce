"""JSON files, each with an optional npz file of arrays beside it.

A file is written under a temporary name and renamed once it is whole. Its checksum goes into the
job's ledger (`irazor_tf.config.integrity`), and a file that is read is compared with that checksum.
No TensorFlow import.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from irazor_tf.config import integrity

# What a damaged npz makes numpy and the libraries below it raise.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    struct.error,
)


def write_json(path: str, value: Any, arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes a JSON file, and an npz file with arrays beside it. Each is written under a temporary
    name and then renamed, so that a reader finds the old file or the whole new one.

    Args:
      path: Path of the JSON file; missing folders are made. The arrays go to `path` + ".npz".
      value: What the JSON file is to hold.
      arrays: Name -> array. Without any, an npz file that is there already is removed.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    npz = path + ".npz"
    if arrays:
        with integrity.replacing(npz, enter=True) as partial, open(partial, "wb") as binary:
            np.savez(binary, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    with (
        integrity.replacing(path, enter=True) as partial,
        open(partial, "w", encoding="utf-8") as file,
    ):
        json.dump(value, file, indent=1)
    if not arrays and os.path.exists(npz):  # the arrays of what stood here before
        os.remove(npz)
        integrity.forget(npz)


def read_json(path: str) -> tuple[Any, dict[str, np.ndarray]]:
    """Reads what `write_json` wrote.

    Returns:
      The JSON value, and the arrays by name (an empty dict where there are none).

    Raises:
      ValueError: a file is not as it was written; the message names it.
    """
    integrity.check(path)
    with open(path, encoding="utf-8") as file:
        try:
            value = json.load(file)
        except (ValueError, RecursionError) as error:  # text that is not UTF-8 is a ValueError, too
            raise ValueError(f"{path} should be JSON. Received: {error}") from None
    npz = path + ".npz"
    return value, read_arrays(npz) if os.path.exists(npz) or integrity.known(npz) else {}


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Reads an npz file: name -> array.

    Raises:
      ValueError: there is no such file, it cannot be read, or it is not as it was written; the
        message names it.
    """
    if not os.path.exists(path):
        raise ValueError(f"An npz that a job wrote should be there. Received: no {path}")
    integrity.check(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except _DAMAGE as error:
        raise ValueError(f"An npz should be whole. Received: {path} ({error})") from None


def check_version(value: Any, expected: int, what: str, where: str = "") -> None:
    """Raises ValueError where a file was written by another version of the file format than the one
    that this code reads.

    Args:
      value: The file's JSON value, an object with the key `version`.
      expected: The only version that can be read.
      what: What the file holds, as the message begins: "A search result".
      where: End of the message, which names the file: " in result.json". "" inside the context
        `understanding`, which adds the file's name itself.
    """
    received = value.get("version") if isinstance(value, Mapping) else type(value).__name__
    if received != expected:
        raise ValueError(f"{what} should have `version` {expected}. Received: {received!r}{where}")


@contextlib.contextmanager
def understanding(path: str) -> Iterator[None]:
    """A context for code that interprets a file's JSON value: an error about a missing key or a
    value of another type becomes a `ValueError` that names the file.

    Args:
      path: Path of the file.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        if isinstance(error, ValueError) and path in str(error):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"A file of a job should hold what was written there. Received: {path} ({reason})"
        ) from None
