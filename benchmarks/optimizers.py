"""Sparse updates: the legacy Keras optimizers that `irazor_tf.optimizers` is made of, against the
newer ones of tf_keras.

    python -m benchmarks.optimizers [--rows=1000000] [--width=16] [--ids=100000] [--blocks=7]

One table, ids drawn uniformly; a step is the gather, its gradient, the removal of repeated ids and
the update, compiled. The first row of the table is the step without an update. Dense Adam moves all
rows in every step, by definition."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras as keras
from absl import app, flags

from benchmarks import timing
from irazor_tf.report.tables import text_table
from irazor_tf.training.updates.optimizers import make_optimizer


def _step(
    optimizer: keras.optimizers.Optimizer | None, rows: int, width: int, ids: np.ndarray
) -> Callable[[], object]:
    table = tf.Variable(np.random.default_rng(1).standard_normal((rows, width), np.float32))
    index = tf.constant(ids)
    weight = tf.constant(
        np.random.default_rng(2).standard_normal((ids.shape[1], width), np.float32)
    )
    turn = tf.Variable(0)
    if optimizer is not None and hasattr(optimizer, "build"):
        optimizer.build([table])

    @tf.function
    def step() -> tf.Tensor:
        batch = tf.gather(index, turn.assign_add(1) % len(ids))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, batch) * weight)
        gradient = tape.gradient(loss, table)
        if optimizer is None:
            return loss + tf.reduce_sum(gradient.values)
        optimizer.apply_gradients([(gradient, table)])
        return loss

    compiled = step.get_concrete_function()
    return lambda: compiled().numpy()


def main(_: list[str]) -> None:
    """Times every optimizer and prints the table."""
    given = flags.FLAGS
    ids = np.random.default_rng(3).integers(0, given.rows, (8, given.ids))
    kinds = {
        "none": (None, None),
        "Adagrad": (
            "adagrad(learning_rate=0.02)",
            lambda: keras.optimizers.Adagrad(0.02, jit_compile=False),
        ),
        "FTRL": (
            "ftrl(learning_rate=0.02)",
            lambda: keras.optimizers.Ftrl(0.02, jit_compile=False),
        ),
        "Adam": (
            "adam(learning_rate=0.002)",
            lambda: keras.optimizers.Adam(0.002, jit_compile=False),
        ),
        "lazy Adam": ("lazy_adam(learning_rate=0.002)", None),
    }
    calls = {}
    for name, (spec, newer) in kinds.items():
        calls[f"{name}, legacy"] = _step(
            make_optimizer(spec) if spec else None, given.rows, given.width, ids
        )
        if newer is not None:
            calls[f"{name}, newer"] = _step(newer(), given.rows, given.width, ids)
    seconds = timing.in_turn(calls, given.blocks, given.repeats, warm_up=2)
    rows = []
    for name in kinds:
        own, other = seconds[f"{name}, legacy"], seconds.get(f"{name}, newer")
        cells = [timing.spread(found.clock, 1000) if found else "" for found in (own, other)]
        ratios = (
            ("", "")
            if other is None
            else [f"{timing.median_ratio(*pair):.2f}" for pair in zip(other, own, strict=True)]
        )
        rows.append((name, *cells, *ratios))
    distinct = statistics.mean(len(np.unique(batch)) for batch in ids)
    print(timing.machine())
    print(
        f"table {given.rows:,} x {given.width}, {given.ids:,} ids per step, {distinct:,.0f} of "
        "them different"
    )
    header = (
        "optimizer",
        "irazor_tf (legacy), ms (range)",
        "newer tf_keras, ms (range)",
        "newer / legacy",
        "of processor time",
    )
    print(text_table(header, rows), flush=True)


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 1_000_000, "Rows of the table.")
    flags.DEFINE_integer("width", 16, "Columns of the table.")
    flags.DEFINE_integer("ids", 100_000, "Ids per step.")
    flags.DEFINE_integer("blocks", 7, "Timed blocks per optimizer.")
    flags.DEFINE_integer("repeats", 5, "Steps per block.")
    app.run(main)
