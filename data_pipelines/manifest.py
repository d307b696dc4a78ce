"""The manifest of a data folder: a list of what preprocessing wrote there, and the check that the
folder still holds it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from data_pipelines.records import block_number
from irazor_tf.config import integrity
from irazor_tf.config.files import check_version
from irazor_tf.config.integrity import warn_once
from irazor_tf.config.layout import RecordsPaths
from irazor_tf.config.schema import Schema

MANIFEST_VERSION = 1
_ANEW = "Restore it, or delete the folder and run preprocess again"
# Path -> the file's stamp and the manifest as it was read then: those of large logs are large.
_loaded: dict[str, tuple[Any, dict[str, Any]]] = {}


@dataclasses.dataclass(frozen=True)
class Split:
    """The entry of one split in a manifest.

    Args:
      rows: number of rows.
      positives: number of positive labels; None where the manifest does not say it.
      files: path of every record file.
      blocks: for every file, the number of rows in each of its blocks.
    """

    rows: int
    positives: int | None
    files: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]

    @property
    def positive_rate(self) -> float | None:
        """Share of positive labels; None where it is not known, or where the split has no rows."""
        return None if self.positives is None or not self.rows else self.positives / self.rows


def save_manifest(directory: str, manifest: dict[str, Any]) -> None:
    """Writes the manifest, the last file of a finished data folder.

    Args:
      directory: the data folder.
      manifest: the content. The SHA-256 of every other file in the folder, and one of the whole
        manifest, are added to it.
    """
    path = RecordsPaths(directory).manifest
    files = integrity.checksums(directory)
    files.pop(os.path.basename(path), None)
    value = {"version": MANIFEST_VERSION, **manifest, "files": files}
    value["checksum"] = _checksum(value)
    with integrity.beside(path) as file:
        json.dump(value, file, indent=None, separators=(",", ":"))


def _checksum(manifest: dict[str, Any]) -> str:
    """SHA-256 of a manifest's content without the key `checksum`."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load_manifest(directory: str) -> dict[str, Any]:
    """The manifest of a data folder, as a JSON value.

    Raises:
      ValueError: there is no manifest, so that the folder is not a finished data set; or it is of
        another version or damaged.
    """
    path = RecordsPaths(directory).manifest
    stamp = integrity.stamp(path)
    if stamp is not None and _loaded.get(path, (None, {}))[0] == stamp:
        return dict(_loaded[path][1])
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
    except FileNotFoundError:
        raise ValueError(
            f"A finished data folder should hold `manifest.json`. Received: {directory}, without"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`manifest.json` should be JSON. Received: {path} ({error})") from None
    check_version(manifest, MANIFEST_VERSION, "A manifest", f" ({path})")
    if "checksum" in manifest or "files" in manifest:
        whole = manifest.get("checksum") == _checksum(manifest)
    else:  # older manifests have no checksums
        whole = "splits" in manifest
    if not whole:
        raise ValueError(
            f"A manifest should be as preprocessing wrote it. Received: {path}, with another "
            f"content. {_ANEW}"
        )
    _loaded[path] = stamp, manifest
    return dict(manifest)


def load_split(directory: str, split: str) -> Split:
    """The manifest's entry of one split.

    Args:
      directory: the data folder.
      split: name of the split.

    Raises:
      ValueError: there is no such split, or the manifest cannot be read (see `load_manifest`).
    """
    splits = load_manifest(directory)["splits"]
    if split not in splits:
        raise ValueError(f"`split` should be one of {', '.join(splits)}. Received: {split!r}")
    entry = splits[split]
    return Split(
        entry["rows"],
        entry.get("positives"),
        tuple(os.path.join(directory, file["name"]) for file in entry["files"]),
        tuple(tuple(file["blocks"]) for file in entry["files"]),
    )


def verify(directory: str, full: bool = False, progress: bool = False) -> dict[str, Any]:
    """Compares a data folder with its manifest.

    Args:
      directory: the data folder.
      full: whether to compare the checksum of every record and of every other file, too. Always
        compared are schema, vocabularies and counts by their checksums, and the record files by
        their bytes, blocks and rows.
      progress: whether to show progress bars.

    Returns:
      The manifest.

    Raises:
      ValueError: something differs; the message names the file, and for a damaged record also the
        block.
    """
    manifest = load_manifest(directory)
    checksums = manifest.get("files")
    if checksums is None:
        warn_once(
            "%s was made before manifests held checksums: damage of schema, vocabularies or counts "
            "cannot be told",
            directory,
        )
        checksums = {}
    records = {file["name"] for entry in manifest["splits"].values() for file in entry["files"]}
    for name in sorted(set(checksums) - records):
        if full or _is_looked_at(name):
            _verify_checksum(os.path.join(directory, name), checksums[name])
    schema = Schema.load(directory)
    if schema.fingerprint != manifest["fingerprint"]:
        raise ValueError(
            f"`fingerprint` of {RecordsPaths(directory).schema} should be the manifest's, "
            f"{manifest['fingerprint']!r}. Received: {schema.fingerprint!r}. {_ANEW}"
        )
    for split, entry in manifest["splits"].items():
        _verify_sums(split, entry)
        files = tqdm(entry["files"], f"verify {split}", unit="file", disable=not progress)
        for number, file in enumerate(files):
            blocks = _blocks_of(number, entry["blocks"], len(entry["files"]))
            path = os.path.join(directory, file["name"])
            summed = full and file["name"] in checksums and os.path.exists(path)
            same = summed and integrity.checksum(path) == checksums[file["name"]]
            # Of a file that is not the same, the records tell which block differs, if one does.
            _verify_file(path, file, blocks, full and not same)
            if summed and not same:
                _verify_checksum(path, checksums[file["name"]])
    return manifest


def _is_looked_at(name: str) -> bool:
    """Whether a file is one that every process reads before it works with the data: schema, counts
    or a vocabulary.

    Args:
      name: the file's path relative to the data folder.
    """
    paths = RecordsPaths("")
    return name in (paths.schema, paths.counts) or name.startswith(f"{paths.vocabularies}/")


def _blocks_of(file: int, blocks: int, num_files: int) -> list[int]:
    """Numbers of the blocks in one of a split's files.

    Args:
      file: number of the file.
      blocks: number of blocks in the split.
      num_files: number of files in the split.
    """
    places = range(-(-blocks // num_files))
    numbers = (block_number(file, place, num_files) for place in places)
    return [number for number in numbers if number < blocks]


def _verify_sums(split: str, entry: dict[str, Any]) -> None:
    """Raises ValueError where the totals in a split's entry are not the sums over its files.

    Args:
      split: name of the split.
      entry: its entry in the manifest.
    """
    totals = {
        "rows": sum(file["rows"] for file in entry["files"]),
        "blocks": sum(len(file["blocks"]) for file in entry["files"]),
    }
    for key, total in totals.items():
        if entry[key] != total:
            raise ValueError(
                f"`{key}` of split {split!r} should be the sum over its files, {total}. "
                f"Received: {entry[key]}"
            )


def _verify_checksum(path: str, expected: str) -> None:
    if not os.path.exists(path):
        raise ValueError(f"A file named in the manifest should exist. Received: no {path}. {_ANEW}")
    if integrity.checksum(path) != expected:
        raise ValueError(
            f"A data file should be as preprocessing wrote it. Received: {path}, with another "
            f"content. {_ANEW}"
        )


def _verify_file(path: str, entry: dict[str, Any], blocks: Sequence[int], full: bool) -> None:
    """Raises ValueError where a record file differs from its entry in the manifest.

    Args:
      path: the file.
      entry: its entry in the manifest.
      blocks: numbers of the blocks that it should hold, in order.
      full: whether to compare the checksum of every record, too.
    """
    if not os.path.exists(path):
        raise ValueError(f"A record file named in the manifest should exist. Received: no {path}")
    size = os.path.getsize(path)
    if (
        sum(entry["blocks"]) != entry["rows"]
        or len(blocks) != len(entry["blocks"])
        or len(blocks) != len(entry["crc32"])
    ):
        raise ValueError(
            f"The manifest should list rows and checksum of blocks {list(blocks)} for {path}. "
            f"Received: {entry}"
        )
    # A TFRecord file is, for each record, its length (8 bytes), a checksum of the
    # length (4 bytes), the record, and a checksum of the record (4 bytes).
    with open(path, "rb") as file:
        for block, crc32 in zip(blocks, entry["crc32"], strict=True):
            header = file.read(12)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else size
            if file.tell() + length + 4 > size:
                raise ValueError(
                    f"{path} should hold {len(blocks)} whole records in {entry['bytes']} bytes. "
                    f"Received: {size} bytes; block {block} runs past the end of the file"
                )
            if not full:
                file.seek(length + 4, os.SEEK_CUR)
                continue
            if zlib.crc32(file.read(length)) != crc32:
                raise ValueError(
                    f"Block {block} of {path} should have checksum {crc32}. Received: another one; "
                    "the file is damaged"
                )
            file.seek(4, os.SEEK_CUR)
        if file.tell() != size:
            left = size - file.tell()
            last = f"block {blocks[-1]}" if len(blocks) else "no block"
            raise ValueError(
                f"{path} should hold {len(blocks)} records and no more. Received: {left} bytes "
                f"after {last}"
            )
        if size != entry["bytes"]:
            raise ValueError(f"{path} should have {entry['bytes']} bytes. Received: {size}")
