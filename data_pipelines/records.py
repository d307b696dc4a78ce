"""Block records: rows are scattered to bucket files, shuffled bucket by bucket, and written as
blocks; and the manifest of it all.

A record is a tf.train.Example of `block_rows` rows: `ids` (little-endian int32 [rows, N],
row-major, as one bytes value), `label` (little-endian float32 [rows], as one bytes value) and
`block` (its number in the split). Block b lies in file b % num_files."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from irazor_tf.config import integrity
from irazor_tf.config.notices import warn_once
from irazor_tf.config.schema import Schema

SPLITS = ("train", "valid", "test")
MANIFEST_VERSION = 1
BUCKET_ROWS = 1 << 18
_SMALL = {
    "schema.json",
    "counts.npz",
    "vocab",
}  # what every process looks at before it works with the data
_ANEW = "Restore it, or delete the folder and run preprocess again"
_loaded: dict[
    str, tuple[Any, dict[str, Any]]
] = {}  # manifests of large logs are large: as they were read, and the file's stamp then
_GOLDEN = 0x9E3779B97F4A7C15


def mix(seed: int, stream: int, counters: np.ndarray) -> np.ndarray:
    """Random numbers that are a pure function of (seed, stream, counter), [len(counters)] uint64.

    SplitMix64 (Steele, Lea, Flood 2014), so that any part of the data can be drawn without the
    parts before it."""

    def finish(z: np.ndarray) -> np.ndarray:
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def key(value: np.ndarray, number: int) -> np.ndarray:
        return finish(value ^ np.uint64(number % 2**64))

    start = key(key(np.array([_GOLDEN], np.uint64), seed), stream)
    return finish(start + np.asarray(counters).astype(np.uint64) * np.uint64(_GOLDEN))


def permutation(seed: int, stream: int, rows: int) -> np.ndarray:
    """A random order of `rows` rows, a pure function of (seed, stream, rows); [rows] int64."""
    return np.argsort(mix(seed, stream, np.arange(rows)), kind="stable")


class Shuffler:
    """The external shuffle of one split: a row goes to a random bucket file, and a bucket is put in
    random order in memory.

    Args:
      directory: where the bucket files go.
      split: its name.
      rows: how many rows will come.
      width: int32 columns of a row.
      seed: of the shuffle; the order is a pure function of it and of the number of rows.
      bucket_rows: rows that a bucket holds on average, so the rows in memory; None: `BUCKET_ROWS`.
    """

    def __init__(
        self,
        directory: str,
        split: str,
        rows: int,
        width: int,
        seed: int,
        bucket_rows: int | None = None,
    ):
        buckets = max(1, -(-rows // (bucket_rows or BUCKET_ROWS)))
        self._paths = [
            os.path.join(directory, f"{split}-{bucket:05d}.bucket") for bucket in range(buckets)
        ]
        self._width, self._seed, self._stream, self._seen = (
            width,
            seed,
            1000 * (1 + SPLITS.index(split)),
            0,
        )

    def add(self, rows: np.ndarray) -> None:
        """Scatters rows, [B, width] int32."""
        counters = np.arange(self._seen, self._seen + len(rows))
        self._seen += len(rows)
        if len(self._paths) == 1:
            parts = [(0, rows)] if len(rows) else []
        else:
            bucket = (mix(self._seed, self._stream, counters) % np.uint64(len(self._paths))).astype(
                np.int64
            )
            order = np.argsort(bucket, kind="stable")
            ends = np.cumsum(np.bincount(bucket, minlength=len(self._paths)))
            parts = list(enumerate(np.split(rows[order], ends[:-1])))
        for number, part in parts:
            with integrity.naming(self._paths[number]), open(self._paths[number], "ab") as file:
                file.write(np.ascontiguousarray(part, "<i4").data)

    def buckets(self) -> Iterator[tuple[int, np.ndarray]]:
        """Every bucket's number and its rows in random order; its file is deleted."""
        for number, path in enumerate(self._paths):
            if os.path.exists(path):
                rows = np.fromfile(path, "<i4").reshape(-1, self._width)
                os.remove(path)
                yield number, rows[permutation(self._seed, self._stream + 1 + number, len(rows))]


class BlockWriter:
    """Writes the blocks of one split and keeps its entry of the manifest.

    Args:
      directory: where the record files go.
      split: its name, the beginning of the file names.
      rows: how many rows will come.
      block_rows: rows of every block but the last.
      num_files: files to spread the blocks over; a split of fewer blocks has one file per block.
    """

    def __init__(self, directory: str, split: str, rows: int, block_rows: int, num_files: int):
        self._num_files = min(num_files, -(-rows // block_rows))
        self._block_rows, self._rows = block_rows, rows
        self._paths = [
            os.path.join(directory, f"{split}-{k:05d}-of-{self._num_files:05d}.tfrecord")
            for k in range(self._num_files)
        ]
        self._files: list[dict[str, Any]] = [
            {"name": os.path.basename(path), "bytes": 0, "rows": 0, "blocks": [], "crc32": []}
            for path in self._paths
        ]
        self._rest: list[tuple[np.ndarray, np.ndarray]] = []
        self._block = self._positives = self._waiting = 0
        self._writers: list[Any] = []

    def __enter__(self) -> BlockWriter:
        import tensorflow as tf

        self._writers = [tf.io.TFRecordWriter(path) for path in self._paths]
        return self

    def __exit__(self, *error: object) -> None:
        for writer in self._writers:
            writer.close()

    def add(self, ids: np.ndarray, label: np.ndarray) -> None:
        """Adds rows, [B, N] int32 and [B]; full blocks are written at once."""
        self._rest.append((ids, label))
        self._waiting += len(label)
        if self._waiting >= self._block_rows:
            self._write(self._waiting // self._block_rows * self._block_rows)

    def finish(self) -> dict[str, Any]:
        """Writes the last block, closes the files and returns the split's entry of the manifest."""
        self._write(self._waiting)
        written = sum(file["rows"] for file in self._files)
        assert written == self._rows, f"{written} rows written, {self._rows} promised"
        for writer, path, file in zip(self._writers, self._paths, self._files, strict=True):
            writer.close()
            file["bytes"] = os.path.getsize(path)
        return {
            "rows": written,
            "positives": self._positives,
            "blocks": self._block,
            "files": self._files,
        }

    def _write(self, rows: int) -> None:
        if not rows:
            return
        ids = np.concatenate([part for part, _ in self._rest])
        label = np.concatenate([part for _, part in self._rest])
        self._rest = [(ids[rows:], label[rows:])]
        self._waiting -= rows
        self._positives += int(label[:rows].sum())
        for start in range(0, rows, self._block_rows):
            end = min(start + self._block_rows, rows)
            record = _serialize(ids[start:end], label[start:end], self._block)
            self._writers[self._block % self._num_files].write(record)
            file = self._files[self._block % self._num_files]
            file["rows"] += end - start
            file["blocks"].append(end - start)
            file["crc32"].append(zlib.crc32(record))
            self._block += 1


def _serialize(ids: np.ndarray, label: np.ndarray, block: int) -> bytes:
    import tensorflow as tf

    def raw(array: np.ndarray, dtype: str) -> Any:
        return tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[np.ascontiguousarray(array, dtype).tobytes()])
        )

    number = tf.train.Feature(int64_list=tf.train.Int64List(value=[block]))
    features = {"ids": raw(ids, "<i4"), "label": raw(label, "<f4"), "block": number}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(
        deterministic=True
    )


def save_manifest(directory: str, manifest: dict[str, Any]) -> None:
    """Writes `manifest.json`, the last file of a finished folder: `manifest`, the SHA-256 of every
    other file, and one of all this."""
    path = os.path.join(directory, "manifest.json")
    files = {
        name: digest
        for name, digest in integrity.checksums(directory).items()
        if name != "manifest.json"
    }
    value = {"version": MANIFEST_VERSION, **manifest, "files": files}
    with integrity.beside(path) as file:
        json.dump(
            value | {"checksum": _own_checksum(value)}, file, indent=None, separators=(",", ":")
        )


def _own_checksum(manifest: dict[str, Any]) -> str:
    """SHA-256 of what a manifest says, its checksum left out."""
    said = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(
        json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def load_manifest(directory: str) -> dict[str, Any]:
    """Reads `manifest.json`.

    Raises:
      ValueError: there is none, so the folder is not a finished data set; it is not a manifest of
        this version; or it is damaged.
    """
    path = os.path.join(directory, "manifest.json")
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
    if not isinstance(manifest, dict) or manifest.get("version") != MANIFEST_VERSION:
        version = manifest.get("version") if isinstance(manifest, dict) else None
        raise ValueError(
            f"A manifest should have `version` {MANIFEST_VERSION}. Received: {version!r} ({path})"
        )
    summed = "checksum" in manifest or "files" in manifest  # manifests of before were not
    if manifest.get("checksum") != _own_checksum(manifest) if summed else "splits" not in manifest:
        raise ValueError(
            f"A manifest should be as preprocessing wrote it. Received: {path}, with another "
            f"content. {_ANEW}"
        )
    _loaded[path] = stamp, manifest
    return dict(manifest)


def verify(directory: str, full: bool = False, progress: bool = False) -> dict[str, Any]:
    """Compares a data folder with its manifest.

    Always: schema, vocabularies and counts by their checksums; the record files by their bytes,
    blocks and rows. Where `full`, also the checksum of every record and of every other file.

    Returns:
      The manifest.

    Raises:
      ValueError: something differs; the message names the file, and of a record the block.
    """
    manifest = load_manifest(directory)
    known = manifest.get("files")
    if known is None:
        warn_once(
            "%s was made before manifests held checksums: damage of schema, vocabularies or counts "
            "cannot be told",
            directory,
        )
        known = {}
    records = {file["name"] for entry in manifest["splits"].values() for file in entry["files"]}
    for name in sorted(set(known) - records):
        if full or name.split("/")[0] in _SMALL:
            _verify_checksum(os.path.join(directory, name), known[name])
    schema = Schema.load(directory)
    if schema.fingerprint != manifest["fingerprint"]:
        raise ValueError(
            f"`fingerprint` of {os.path.join(directory, 'schema.json')} should be the manifest's, "
            f"{manifest['fingerprint']!r}. "
            f"Received: {schema.fingerprint!r}. {_ANEW}"
        )
    for split, entry in manifest["splits"].items():
        for key, total in (
            ("rows", sum(f["rows"] for f in entry["files"])),
            ("blocks", sum(len(f["blocks"]) for f in entry["files"])),
        ):
            if entry[key] != total:
                raise ValueError(
                    f"`{key}` of split {split!r} should be the sum over its files, {total}. "
                    f"Received: {entry[key]}"
                )
        for k, file in enumerate(
            tqdm(entry["files"], f"verify {split}", unit="file", disable=not progress)
        ):
            blocks = range(k, entry["blocks"], len(entry["files"]))
            path = os.path.join(directory, file["name"])
            summed = full and file["name"] in known and os.path.exists(path)
            same = summed and integrity.checksum(path) == known[file["name"]]
            _verify_file(
                path, file, blocks, full and not same
            )  # which block it is, where it is one
            if summed and not same:
                _verify_checksum(path, known[file["name"]])
    return manifest


def _verify_checksum(path: str, expected: str) -> None:
    if not os.path.exists(path):
        raise ValueError(f"A file named in the manifest should exist. Received: no {path}. {_ANEW}")
    if integrity.checksum(path) != expected:
        raise ValueError(
            f"A data file should be as preprocessing wrote it. Received: {path}, with another "
            f"content. {_ANEW}"
        )


def _verify_file(path: str, entry: dict[str, Any], blocks: Sequence[int], full: bool) -> None:
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
    with open(path, "rb") as file:
        for block, crc32 in zip(blocks, entry["crc32"], strict=True):
            header = file.read(12)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else size
            if file.tell() + length + 4 > size:
                raise ValueError(
                    f"{path} should hold {len(blocks)} whole records in {entry['bytes']} bytes. "
                    f"Received: {size} bytes; block {block} runs "
                    "past the end of the file"
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
