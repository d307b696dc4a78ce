"""Exported versions on disk: their numbers, checksums and size. No TensorFlow import.

A version is a folder whose name is an integer. It is written in a hidden folder and renamed last,
so a serving process that watches the folder of versions sees a version whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from irazor_tf.config import integrity
from irazor_tf.config.layout import ExportPaths


def next_version(export_dir: str) -> int:
    """The number of the next version under `export_dir`: one above the largest, from 1 on."""
    names = os.listdir(export_dir) if os.path.isdir(export_dir) else []
    return 1 + max((int(name) for name in names if name.isascii() and name.isdigit()), default=0)


def publish(export_dir: str, write: Callable[[str], None]) -> str:
    """Makes the next version under `export_dir`, with its checksums beside it.

    One process at a time may publish in a folder.

    Args:
      export_dir: folder of the versions, made where it is not there.
      write: writes the version's files into the folder of the path it is called with. Where it
        fails, no version is left behind.

    Returns:
      The version's path, `export_dir/<integer>`.
    """
    paths, version = ExportPaths(export_dir), next_version(export_dir)
    # Not tempfile.mkdtemp: its folders are closed to all other users, so to a server run by one.
    path, partial = paths.version(version), paths.partial(version)
    os.makedirs(export_dir, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write(partial)
        lines = [
            f"{digest}  {version}/{name}\n" for name, digest in integrity.checksums(partial).items()
        ]
        with integrity.beside(paths.checksums(version)) as file:
            file.write("".join(lines))
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def has_checksums(path: str) -> bool:
    """Whether the checksums of the version at `path` lie beside it."""
    return os.path.exists(_checksum_file(path))


def damage(path: str) -> str:
    """What the version at `path` holds that it was not written with, or lacks, in words; empty for
    a whole one."""
    checksum_file = _checksum_file(path)
    if not os.path.exists(checksum_file):
        return f"{os.path.basename(checksum_file)} is gone"
    with open(checksum_file, encoding="utf-8", errors="replace") as file:
        pairs = [line.rstrip("\n").partition("  ")[::2] for line in file]
    written = {name.partition("/")[2]: digest for digest, name in pairs}
    there = integrity.checksums(path)
    changed = [
        f"{name} is {'not as it was written' if name in there else 'gone'}"
        for name in written
        if there.get(name) != written[name]
    ]
    added = [f"{name} was not written with it" for name in there if name not in written]
    return "; ".join(changed + added)


def size_report(path: str) -> dict[str, float]:
    """The size of the version at `path`.

    Returns:
      `bytes` of all files, of which `variables` and `assets`; and `mib`, all files in units of 2^20
      bytes.
    """
    sizes = {"bytes": 0, "variables": 0, "assets": 0}
    for folder, _, names in os.walk(path):
        top = os.path.relpath(folder, path).split(os.sep)[0]
        size = sum(os.path.getsize(os.path.join(folder, name)) for name in names)
        sizes["bytes"] += size
        if top in ("variables", "assets"):
            sizes[top] += size
    if not sizes["bytes"]:
        raise ValueError(f"`path` should be an exported version. Received: {path}, without files")
    return {**sizes, "mib": sizes["bytes"] / 2**20}


def _checksum_file(path: str) -> str:
    """Where the checksums of the version at `path` lie."""
    export_dir, version = os.path.split(path)
    return ExportPaths(export_dir).checksums(version)
