"""JSON files, with arrays in an npz beside them: written beside and renamed, entered in the job's
ledger, and compared with it when read.

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


def write_json(path: str, value: Any, arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes JSON (and `arrays` to `path` + ".npz") beside and renames, so that a reader finds the
    old file or the whole new one."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if arrays:
        with integrity.naming(path + ".npz"), open(path + ".npz.partial", "wb") as binary:
            np.savez(binary, allow_pickle=False, **arrays)  # type: ignore[arg-type]
        _rename(path + ".npz")
    with integrity.naming(path), open(path + ".partial", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
    _rename(path)
    if not arrays and os.path.exists(path + ".npz"):  # those of what stood here before
        os.remove(path + ".npz")
        integrity.forget(path + ".npz")


def _rename(path: str) -> None:
    integrity.record(path, path + ".partial")
    os.replace(path + ".partial", path)


def read_json(path: str) -> tuple[Any, dict[str, np.ndarray]]:
    """Reads what `write_json` wrote: the value and the arrays (none: empty).

    Raises:
      ValueError: a file is not as it was written; the message names it.
    """
    integrity.check(path)
    with open(path, encoding="utf-8") as file:
        try:
            value = json.load(file)
        except (
            ValueError,
            RecursionError,
        ) as error:  # a text that is not UTF-8 is a ValueError, too
            raise ValueError(f"{path} should be JSON. Received: {error}") from None
    return value, read_arrays(path + ".npz") if os.path.exists(path + ".npz") or integrity.known(
        path + ".npz"
    ) else {}


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Reads an npz.

    Raises:
      ValueError: it cannot be read, or is not as it was written; the message names it.
    """
    if not os.path.exists(path):
        raise ValueError(f"An npz that a job wrote should be there. Received: no {path}")
    integrity.check(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        struct.error,
    ) as error:
        raise ValueError(f"An npz should be whole. Received: {path} ({error})") from None


@contextlib.contextmanager
def understanding(path: str) -> Iterator[None]:
    """What is missing or of another type in a file's JSON, met inside, is a `ValueError` that names
    the file."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        if isinstance(error, ValueError) and path in str(error):
            raise
        said = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"A file of a job should hold what was written there. Received: {path} ({said})"
        ) from None
