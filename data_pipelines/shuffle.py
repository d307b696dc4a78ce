"""Random numbers by position, and the external shuffle of a split: rows are scattered to bucket
files, and shuffled bucket by bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from data_pipelines.records import SPLITS
from irazor_tf.config import integrity

BUCKET_ROWS = 1 << 18
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


def uniform(seed: int, stream: int, counters: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) from the upper 53 bits of `mix`, [len(counters)] float64."""
    return (mix(seed, stream, counters) >> np.uint64(11)) * 2.0**-53


def permutation(seed: int, stream: int, rows: int) -> np.ndarray:
    """A random order of `rows` rows, a pure function of (seed, stream, rows); [rows] int64."""
    return np.argsort(mix(seed, stream, np.arange(rows)), kind="stable")


class Shuffler:
    """The external shuffle of one split: a row goes to a random bucket file, and a bucket is put in
    random order in memory.

    Args:
      directory: folder for the bucket files.
      split: name of the split.
      rows: how many rows will come.
      width: int32 columns of a row.
      seed: seed of the shuffle; the order is a pure function of it and of the number of rows.
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
        self._width = width
        self._seed = seed
        self._stream = 1000 * (1 + SPLITS.index(split))
        self._seen = 0

    def add(self, rows: np.ndarray) -> None:
        """Scatters rows, [B, width] int32."""
        counters = np.arange(self._seen, self._seen + len(rows))
        self._seen += len(rows)
        if len(self._paths) == 1:
            parts = [(0, rows)] if len(rows) else []
        else:
            numbers = mix(self._seed, self._stream, counters) % np.uint64(len(self._paths))
            bucket = numbers.astype(np.int64)
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
