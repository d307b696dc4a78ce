"""Block TFRecords -> tf.data, at any position of any epoch.

A record is a block of rows. The order of files, blocks and rows is a pure function of (seed,
epoch), so a run that stopped after n batches continues with batch n without a stored shuffle
buffer, under every distribution strategy."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from typing import Any

import numpy as np
import tensorflow as tf

# Rows are shuffled within this many blocks; records were shuffled globally when they were written.
_WINDOW = 16
_OPEN_FILES = 4


@dataclasses.dataclass(frozen=True)
class Source:
    """One split, or a share of its blocks.

    Args:
      directory: folder with records and manifest.
      split: "train", "valid" or "test".
      share: share of the blocks that the split is divided by, in (0, 1]; they are spread evenly.
      rest: take the blocks that are not in the share.
    """

    directory: str
    split: str
    share: float = 1.0
    rest: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"`share` should lie in (0, 1]. Received: {self.share}")

    @property
    def name(self) -> str:
        """The split, and which share of it this is."""
        return (
            self.split
            if self.share == 1
            else f"{self.split}, {'all but ' if self.rest else ''}a share of {self.share:g}"
        )

    def held_out(self, share: float) -> tuple[Source, Source]:
        """Two disjoint sources: the rows that remain, and `share` of the blocks set aside."""
        return dataclasses.replace(self, share=share, rest=True), dataclasses.replace(
            self, share=share
        )

    @functools.cached_property
    def _manifest(self) -> dict[str, Any]:
        with open(os.path.join(self.directory, "manifest.json"), encoding="utf-8") as file:
            manifest = json.load(file)
        if self.split not in manifest["splits"]:
            raise ValueError(
                f"`split` should be one of {', '.join(manifest['splits'])}. Received: "
                f"{self.split!r}"
            )
        return manifest["splits"][self.split]

    @property
    def _files(self) -> list[str]:
        return [os.path.join(self.directory, file["name"]) for file in self._manifest["files"]]

    def _kept(self, block: Any) -> Any:
        """Whether a block is in this source; block: int, or numpy or tf int64."""
        if isinstance(block, tf.Tensor):
            inside = tf.floor(tf.cast(block + 1, tf.float64) * self.share) > tf.floor(
                tf.cast(block, tf.float64) * self.share
            )
            return tf.not_equal(inside, self.rest)
        return (math.floor((block + 1) * self.share) > math.floor(block * self.share)) != self.rest

    @functools.cached_property
    def rows(self) -> int:
        """Rows in this source."""
        files = self._manifest["files"]
        return sum(
            rows
            for i, file in enumerate(files)
            for j, rows in enumerate(file["blocks"])
            if self._kept(j * len(files) + i)
        )

    @property
    def positive_rate(self) -> float | None:
        """Share of positive labels in the whole split; None where the manifest does not say."""
        positives, rows = self._manifest.get("positives"), self._manifest["rows"]
        return None if positives is None or not rows else positives / rows

    def batches_per_epoch(self, batch_size: int) -> int:
        """Whole batches in an epoch.

        Raises:
          ValueError: there is not one.
        """
        count = self.rows // batch_size
        if not count:
            share = (
                ""
                if self.share == 1
                else f" ({'the blocks outside ' if self.rest else ''}a share of {self.share})"
            )
            every = sum(sum(file["blocks"]) for file in self._manifest["files"])
            if every * (1 - self.share if self.rest else self.share) >= batch_size:
                share += "; shares are whole blocks, and smaller `block_rows` make more of them"
            raise ValueError(
                f"A batch of {batch_size} needs as many rows. Received: {self.rows} in split "
                f"{self.split!r}{share}"
            )
        return count

    def batches(self, batch_size: int, seed: int, start: int = 0) -> tf.data.Dataset:
        """Endless training batches from batch number `start` on, shuffled anew every epoch, all of
        `batch_size` rows.

        Returns:
          Elements {"ids": [B, N] int32, "label": [B] float32}.
        """
        per_epoch = self.batches_per_epoch(batch_size)
        first, skipped = divmod(start, per_epoch)

        def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
            order = _permutation(len(self._files), seed, epoch, tf.constant(-1, tf.int64))
            windows = self._blocks(tf.cast(order, tf.int64), _OPEN_FILES).batch(_WINDOW).enumerate()
            shuffled = windows.map(
                lambda index, blocks: _shuffle(self.select(_decode(blocks)), seed, epoch, index),
                tf.data.AUTOTUNE,
            )
            batches = shuffled.rebatch(batch_size, drop_remainder=True).take(per_epoch)
            return batches.skip(tf.where(epoch == first, tf.constant(skipped, tf.int64), 0))

        return (
            tf.data.Dataset.range(first, np.iinfo(np.int32).max)
            .flat_map(epoch_batches)
            .prefetch(tf.data.AUTOTUNE)
        )

    def ordered(self, batch_size: int) -> tf.data.Dataset:
        """Every row once, in the order of the files; the last batch may be short."""
        files = tf.range(len(self._files), dtype=tf.int64)
        windows = self._blocks(files, 1).batch(_WINDOW)
        return (
            windows.map(lambda blocks: self.select(_decode(blocks)), tf.data.AUTOTUNE)
            .rebatch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def select(self, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The rows of a window of blocks that belong to this source; all of them here."""
        return rows

    def _blocks(self, files: tf.Tensor, open_files: int) -> tf.data.Dataset:
        """Serialized blocks of these files (numbers, [F] int64) that belong to this source."""
        names = tf.constant(self._files)
        whole = self.share == 1 and not self.rest

        def read(file: tf.Tensor) -> tf.data.Dataset:
            records = tf.data.TFRecordDataset(tf.gather(names, file))
            if whole:
                return records
            # Block b lies in file b % F, in ascending order.
            inside = records.enumerate().filter(
                lambda index, _: self._kept(index * len(self._files) + file)
            )
            return inside.map(lambda _, record: record)

        return tf.data.Dataset.from_tensor_slices(files).interleave(
            read, cycle_length=open_files, block_length=1
        )


_FEATURES = {
    "ids": tf.io.FixedLenFeature((), tf.string),
    "label": tf.io.FixedLenFeature((), tf.string),
}


def _decode(blocks: tf.Tensor) -> dict[str, tf.Tensor]:
    """[W] serialized blocks -> their rows."""
    parsed = tf.io.parse_example(blocks, _FEATURES)
    label = tf.io.decode_raw(tf.strings.reduce_join(parsed["label"]), tf.float32)
    ids = tf.io.decode_raw(tf.strings.reduce_join(parsed["ids"]), tf.int32)
    return {"ids": tf.reshape(ids, (tf.size(label), -1)), "label": label}


def _shuffle(
    rows: dict[str, tf.Tensor], seed: int, epoch: tf.Tensor, window: tf.Tensor
) -> dict[str, tf.Tensor]:
    order = _permutation(tf.size(rows["label"]), seed, epoch, window)
    return {key: tf.gather(value, order) for key, value in rows.items()}


def _permutation(size: tf.Tensor, seed: int, epoch: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """A random order of `size` things, [size] int32; a pure function of the three numbers."""
    seeds = tf.stack([tf.cast(epoch, tf.int64) * 1_000_003 + seed, tf.cast(window, tf.int64)])
    return tf.argsort(
        tf.random.stateless_uniform((size,), seeds, minval=None, maxval=None, dtype=tf.int32)
    )
