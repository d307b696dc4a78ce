"""Random numbers that are computed from their position, and the external shuffle of a split: rows
are scattered to bucket files and then shuffled bucket by bucket."""

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

    They are those of SplitMix64 (Steele, Lea, Flood 2014), so that the numbers for any part of the
    data can be computed without those for the parts before it.

    Args:
      seed: the seed.
      stream: number that sets this purpose apart from others with the same seed.
      counters: positions for which numbers are wanted, whole numbers.
    """

    def finish(z: np.ndarray) -> np.ndarray:
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def key(value: np.ndarray, number: int) -> np.ndarray:
        return finish(value ^ np.uint64(number % 2**64))

    start = key(key(np.array([_GOLDEN], np.uint64), seed), stream)
    return finish(start + np.asarray(counters).astype(np.uint64) * np.uint64(_GOLDEN))


def uniform(seed: int, stream: int, counters: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) from the upper 53 bits of `mix`, [len(counters)] float64.

    Args:
      seed, stream, counters: see `mix`.
    """
    return (mix(seed, stream, counters) >> np.uint64(11)) * 2.0**-53


def permutation(seed: int, stream: int, rows: int) -> np.ndarray:
    """A random order of 0 .. rows - 1, [rows] int64; a pure function of (seed, stream, rows)."""
    return np.argsort(mix(seed, stream, np.arange(rows)), kind="stable")


class Shuffler:
    """The external shuffle of one split: every row is written to a random bucket file, and each
    bucket is later shuffled in memory.

    Args:
      directory: folder for the bucket files.
      split: name of the split.
      rows: number of rows that will be added.
      width: number of int32 values in a row.
      seed: seed of the shuffle; the order is a pure function of it and of the number of rows.
      bucket_rows: number of rows that a bucket holds on average, which is how many are in memory at
        a time; None for `BUCKET_ROWS`.
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
        """Writes rows, [B, width] int32, to random bucket files."""
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
        """(number, rows in random order, [B, width] int32) for every bucket that has rows; the
        bucket's file is deleted."""
        for number, path in enumerate(self._paths):
            if os.path.exists(path):
                rows = np.fromfile(path, "<i4").reshape(-1, self._width)
                os.remove(path)
                yield number, rows[permutation(self._seed, self._stream + 1 + number, len(rows))]
