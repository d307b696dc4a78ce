"""Rows per second by layout of the records: blocks of rows against one tf.train.Example per row.

    python -m benchmarks.input_pipeline [--rows=400000] [--example_rows=60000] [--blocks=5]

39 fields, batches of 1024, files in the page cache, eight files each, the readers taking turns.
Shuffled readers are compared with the shuffled reader of blocks, those that keep the order with the
one that keeps it; the shuffle of Examples has a buffer as large as the window of 16 blocks. All map
functions run in parallel (AUTOTUNE)."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import timing
from data_pipelines import manifest, records
from irazor_tf.report.tables import text_table
from irazor_tf.training.source import Source

_FIELDS, _BATCH, _BLOCK, _FILES = 39, 1024, 1024, 8
_WINDOW = 16 * _BLOCK
_AIM = 5.0


def _write_blocks(directory: str, ids: np.ndarray, label: np.ndarray) -> None:
    with records.BlockWriter(directory, "train", len(label), _BLOCK, _FILES) as writer:
        writer.add(ids, label)
        entry = writer.finish()
    manifest.save_manifest(
        directory,
        {"options": {}, "fingerprint": "", "block_rows": _BLOCK, "splits": {"train": entry}},
    )


def _write_examples(directory: str, name: str, ids: np.ndarray, label: np.ndarray) -> list[str]:
    """One Example per row: a list of 39 ids under `ids` for "list", else one feature per field."""

    def integers(values: np.ndarray) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values.tolist()))

    paths = [os.path.join(directory, f"{name}-{k}.tfrecord") for k in range(_FILES)]
    writers = [tf.io.TFRecordWriter(path) for path in paths]
    for i, (row, value) in enumerate(zip(ids, label, strict=True)):
        features = (
            {"ids": integers(row)}
            if name == "list"
            else {f"f{k}": integers(row[k : k + 1]) for k in range(_FIELDS)}
        )
        features["label"] = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        writers[i % _FILES].write(
            tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
        )
    for writer in writers:
        writer.close()
    return paths


def _parser(name: str, batched: bool) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    label = {"label": tf.io.FixedLenFeature((), tf.float32)}
    if name == "list":
        features = {"ids": tf.io.FixedLenFeature((_FIELDS,), tf.int64)} | label
    else:
        features = {f"f{k}": tf.io.FixedLenFeature((), tf.int64) for k in range(_FIELDS)} | label
    parse = tf.io.parse_example if batched else tf.io.parse_single_example

    def read(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = parse(serialized, features)
        ids = (
            parsed["ids"]
            if name == "list"
            else tf.stack([parsed[f"f{k}"] for k in range(_FIELDS)], axis=-1)
        )
        return {"ids": tf.cast(ids, tf.int32), "label": parsed["label"]}

    return read


def _examples(paths: list[str], name: str, *, batched: bool, shuffled: bool) -> tf.data.Dataset:
    data = tf.data.Dataset.from_tensor_slices(paths).interleave(
        tf.data.TFRecordDataset, cycle_length=4 if shuffled else 1
    )
    if shuffled:
        data = data.shuffle(_WINDOW)
    if batched:
        data = data.batch(_BATCH).map(_parser(name, True), tf.data.AUTOTUNE)
    else:
        data = data.map(_parser(name, False), tf.data.AUTOTUNE).batch(_BATCH)
    return data.prefetch(tf.data.AUTOTUNE)


def _read(data: tf.data.Dataset) -> tuple[float, float]:
    """Rows per second of one pass, on the clock and of processor time."""
    clock, processor, seen = time.perf_counter(), time.process_time(), 0
    for batch in data:
        seen += int(batch["label"].shape[0])
    return seen / (time.perf_counter() - clock), seen / (time.process_time() - processor)


def _layouts(
    directory: str, ids: np.ndarray, label: np.ndarray, example_rows: int
) -> dict[tuple[str, str], tf.data.Dataset]:
    """Writes every layout into a folder: (layout, order) -> its batches.

    Args:
      directory: the folder.
      ids: [rows, N].
      label: [rows].
      example_rows: rows written as Examples, of which a row takes far longer than in a block.
    """
    _write_blocks(directory, ids, label)
    source = Source(directory, "train")
    epoch = source.batches_per_epoch(_BATCH)
    data = {
        ("block records", "rows shuffled"): source.batches(_BATCH, 1).take(epoch),
        ("block records", "in order"): source.ordered(_BATCH),
    }
    for name, text in (("list", "one int list"), ("fields", "a feature per field")):
        paths = _write_examples(directory, name, ids[:example_rows], label[:example_rows])
        for order, shuffled in (("rows shuffled", True), ("in order", False)):
            data[f"Example, {text}, parsed in batches", order] = _examples(
                paths, name, batched=True, shuffled=shuffled
            )
        if name == "fields":
            data[f"Example, {text}, parsed singly", "in order"] = _examples(
                paths, name, batched=False, shuffled=False
            )
    return data


def main(_: list[str]) -> None:
    """Writes every layout into a temporary folder, reads each several times and prints the
    table."""
    given = flags.FLAGS
    rng = np.random.default_rng(1)
    # Heavy-tailed: small ids are frequent, and short as varints.
    ids = (1e5 ** rng.random((given.rows, _FIELDS))).astype(np.int32)
    label = (rng.random(given.rows) < 0.25).astype(np.float32)
    with tempfile.TemporaryDirectory() as directory:
        data = _layouts(directory, ids, label, given.example_rows)
        rates: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in data}
        for block in range(given.blocks + 1):
            for key, dataset in data.items():
                rate = _read(dataset)
                if block:  # the first round warms up
                    rates[key].append(rate)
    rows = []
    for (layout, order), values in rates.items():
        ratios = np.median(np.array(rates["block records", order]) / np.array(values), axis=0)
        judged = "batches" in layout
        verdict = "" if not judged else "met" if ratios[0] >= _AIM else "MISSED"
        clock = [rate for rate, _ in values]
        speed = (f"{statistics.median(clock):,.0f}", f"{min(clock):,.0f}-{max(clock):,.0f}")
        rows.append((f"{layout}, {order}", *speed, *(f"{ratio:.1f}" for ratio in ratios), verdict))
    print(timing.machine())
    print(
        f"{_FIELDS} fields, batches of {_BATCH}; {given.rows:,} rows as blocks, "
        f"{given.example_rows:,} as Examples"
    )
    titles = ("layout", "rows/s", "range", "blocks are x times faster", "of processor time")
    print(text_table((*titles, f"aim {_AIM:g}"), rows), flush=True)


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 400_000, "Rows written as blocks.")
    flags.DEFINE_integer("example_rows", 60_000, "Rows written as one Example each.")
    flags.DEFINE_integer("blocks", 5, "Times every layout is read.")
    app.run(main)
