"""Block records: writing rows to TFRecord files, and decoding them.

A record is a tf.train.Example of `block_rows` rows: `ids` (little-endian int32 [rows, N],
row-major, as one bytes value), `label` (little-endian float32 [rows], as one bytes value) and
`block` (the number of the block in the split). Block b of a split lies in file b % num_files, in
ascending order. TensorFlow is imported where a record is written or decoded, so that preprocessing
options can be read without it.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

SPLITS = ("train", "valid", "test")


def encode(ids: np.ndarray, label: np.ndarray, block: int) -> bytes:
    """The serialized record of one block of rows.

    Args:
      ids: [rows, N] integers.
      label: [rows] numbers.
      block: number of the block in its split.
    """
    import tensorflow as tf

    def raw(array: np.ndarray, dtype: str) -> tf.train.Feature:
        values = [np.ascontiguousarray(array, dtype).tobytes()]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    number = tf.train.Feature(int64_list=tf.train.Int64List(value=[block]))
    features = {"ids": raw(ids, "<i4"), "label": raw(label, "<f4"), "block": number}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def decode(records: tf.Tensor) -> dict[str, tf.Tensor]:
    """The rows in some block records, one block after the other.

    Args:
      records: serialized records, a string tensor [number of records].

    Returns:
      {"ids": [rows, N] int32, "label": [rows] float32}, with the rows of all blocks together.
    """
    import tensorflow as tf

    features = {key: tf.io.FixedLenFeature((), tf.string) for key in ("ids", "label")}
    parsed = tf.io.parse_example(records, features)
    label = tf.io.decode_raw(tf.strings.reduce_join(parsed["label"]), tf.float32)
    ids = tf.io.decode_raw(tf.strings.reduce_join(parsed["ids"]), tf.int32)
    return {"ids": tf.reshape(ids, (tf.size(label), -1)), "label": label}


def block_number(file: Any, place: Any, num_files: int) -> Any:
    """The number of a block in its split.

    Args:
      file: number of the file that the block lies in, an int or an int64 tensor.
      place: place of the block in that file, from 0, of the same type.
      num_files: number of files in the split.
    """
    return place * num_files + file


class BlockWriter:
    """Writes the records of one split, and collects the split's entry in the manifest.

    Args:
      directory: folder for the record files.
      split: name of the split, with which the file names begin.
      rows: number of rows that will be added.
      block_rows: rows of every block but the last.
      num_files: number of files that the blocks are spread over; a split of fewer blocks has one
        file per block.
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
        """Adds rows; blocks that are full are written at once.

        Args:
          ids: [B, N] int32.
          label: [B].
        """
        self._rest.append((ids, label))
        self._waiting += len(label)
        if self._waiting >= self._block_rows:
            self._write(self._waiting // self._block_rows * self._block_rows)

    def finish(self) -> dict[str, Any]:
        """Writes the last block, closes the files, and returns the split's entry in the
        manifest."""
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
            record = encode(ids[start:end], label[start:end], self._block)
            number = self._block % self._num_files
            self._writers[number].write(record)
            file = self._files[number]
            file["rows"] += end - start
            file["blocks"].append(end - start)
            file["crc32"].append(zlib.crc32(record))
            self._block += 1
