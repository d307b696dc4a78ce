"""The rows of block TFRecords as a `tf.data.Dataset`, from any position of any epoch.

A record is a block of rows. The order of files, blocks and rows is a pure function of (seed,
epoch), so a run that stopped after n batches continues with batch n without a stored shuffle
buffer, under every distribution strategy.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from data_pipelines.manifest import Split, load_split
from data_pipelines.records import block_number, decode
from irazor_tf.config.checks import check_ranges, inside

# Rows are shuffled within this many blocks; records were shuffled globally when they were written.
_WINDOW = 16
_OPEN_FILES = 4


@dataclasses.dataclass(frozen=True)
class Source:
    """The rows of a split, or of a share of its blocks.

    Args:
      directory: Folder with records and manifest.
      split: "train", "valid" or "test".
      share: Which part of the split's blocks is set aside, in (0, 1]; these blocks are spread
        evenly over the split.
      rest: Whether the source consists of the blocks outside that share. If False (default), of
        those inside.
    """

    directory: str
    split: str
    share: float = 1.0
    rest: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, share=inside(0, 1, "(]"))

    @property
    def name(self) -> str:
        """The name of these rows: the split's, with the share where it is not the whole split."""
        if self.share == 1:
            return self.split
        return f"{self.split}, {'all but ' if self.rest else ''}a share of {self.share:g}"

    def held_out(self, share: float) -> tuple[Source, Source]:
        """Two disjoint sources: the rows that remain, and the rows in the blocks that are set
        aside.

        Args:
          share: Share of the blocks to set aside, in (0, 1).
        """
        remaining = dataclasses.replace(self, share=share, rest=True)
        return remaining, dataclasses.replace(self, share=share)

    @functools.cached_property
    def _listed(self) -> Split:
        """The entry of the whole split in the manifest."""
        return load_split(self.directory, self.split)

    def _kept(self, block: Any) -> Any:
        """Whether a block belongs to this source.

        Args:
          block: Number of the block, an int or an int64 tensor.
        """
        if isinstance(block, tf.Tensor):
            before = tf.floor(tf.cast(block, tf.float64) * self.share)
            after = tf.floor(tf.cast(block + 1, tf.float64) * self.share)
            return tf.not_equal(after > before, self.rest)
        return (math.floor((block + 1) * self.share) > math.floor(block * self.share)) != self.rest

    @functools.cached_property
    def rows(self) -> int:
        """Number of rows in this source."""
        files = self._listed.blocks
        return sum(
            rows
            for file, blocks in enumerate(files)
            for place, rows in enumerate(blocks)
            if self._kept(block_number(file, place, len(files)))
        )

    @property
    def positive_rate(self) -> float | None:
        """Share of positive labels in the whole split; None where it is not known."""
        return self._listed.positive_rate

    def batches_per_epoch(self, batch_size: int) -> int:
        """Number of whole batches in an epoch.

        Args:
          batch_size: Rows of a batch.

        Raises:
          ValueError: the source has too few rows for one batch.
        """
        count = self.rows // batch_size
        if not count:
            share = ""
            if self.share != 1:
                share = f" ({'the blocks outside ' if self.rest else ''}a share of {self.share})"
            every = sum(map(sum, self._listed.blocks))
            if every * (1 - self.share if self.rest else self.share) >= batch_size:
                share += "; shares are whole blocks, and smaller `block_rows` make more of them"
            raise ValueError(
                f"A batch of {batch_size} needs as many rows. Received: {self.rows} in split "
                f"{self.split!r}{share}"
            )
        return count

    def batches(self, batch_size: int, seed: int, start: int = 0) -> tf.data.Dataset:
        """Endless training batches, shuffled anew every epoch.

        Args:
          batch_size: rows of every batch; an epoch leaves out what is too few for one.
          seed: seed of the order.
          start: number of the first batch, counted over all epochs.

        Returns:
          Elements {"ids": [B, N] int32, "label": [B] float32}.
        """
        per_epoch = self.batches_per_epoch(batch_size)
        first, skipped = divmod(start, per_epoch)

        def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
            order = _permutation(len(self._listed.files), seed, epoch, tf.constant(-1, tf.int64))
            windows = self._blocks(tf.cast(order, tf.int64), _OPEN_FILES).batch(_WINDOW).enumerate()
            shuffled = windows.map(
                lambda index, blocks: _shuffle(self.select(decode(blocks)), seed, epoch, index),
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
        """Every row once, in the order of the files; the last batch may be smaller.

        Args:
          batch_size: Rows of a batch.

        Returns:
          Elements {"ids": [B, N] int32, "label": [B] float32}.
        """
        files = tf.range(len(self._listed.files), dtype=tf.int64)
        windows = self._blocks(files, 1).batch(_WINDOW)
        return (
            windows.map(lambda blocks: self.select(decode(blocks)), tf.data.AUTOTUNE)
            .rebatch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def select(self, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Those rows of some whole blocks that belong to this source: here all of them; a subclass
        may leave some out.

        Args:
          rows: {"ids": [rows, N], "label": [rows]}.
        """
        return rows

    def _blocks(self, files: tf.Tensor, open_files: int) -> tf.data.Dataset:
        """The serialized blocks of some files, those that belong to this source.

        Args:
          files: Numbers of the files, [F] int64, in reading order.
          open_files: How many files are read at once, a block of each in turn.
        """
        names = tf.constant(self._listed.files)
        whole = self.share == 1 and not self.rest

        def read(file: tf.Tensor) -> tf.data.Dataset:
            records = tf.data.TFRecordDataset(tf.gather(names, file))
            if whole:
                return records
            kept = records.enumerate().filter(
                lambda place, _: self._kept(block_number(file, place, len(self._listed.files)))
            )
            return kept.map(lambda _, record: record)

        return tf.data.Dataset.from_tensor_slices(files).interleave(
            read, cycle_length=open_files, block_length=1
        )


def _shuffle(
    rows: dict[str, tf.Tensor], seed: int, epoch: tf.Tensor, window: tf.Tensor
) -> dict[str, tf.Tensor]:
    order = _permutation(tf.size(rows["label"]), seed, epoch, window)
    return {key: tf.gather(value, order) for key, value in rows.items()}


def _permutation(size: tf.Tensor, seed: int, epoch: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """A random order of 0 .. size - 1, [size] int32; a pure function of all arguments."""
    seeds = tf.stack([tf.cast(epoch, tf.int64) * 1_000_003 + seed, tf.cast(window, tf.int64)])
    return tf.argsort(
        tf.random.stateless_uniform((size,), seeds, minval=None, maxval=None, dtype=tf.int32)
    )
