"""Dropout, forward and backward: 16 random bits per unit (irazor_tf) against a uniform number per
unit, both by (seed, step, row).

python -m benchmarks.dropout [--rows=2048] [--units=400] [--rate=0.2] [--blocks=15] [--repeats=20]
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from absl import app, flags

from benchmarks import timing
from irazor_tf.model.noise import batch_dropout, batch_uniform
from irazor_tf.report.tables import text_table


def _from_floats(x: tf.Tensor, rate: float, seed: int, step: tf.Tensor) -> tf.Tensor:
    return tf.where(batch_uniform(tf.shape(x), seed, step) >= rate, x / (1.0 - rate), 0.0)


def _call(
    drop: Callable[..., tf.Tensor], rows: int, units: int, rate: float
) -> Callable[[], object]:
    x = tf.Variable(tf.random.stateless_normal((rows, units), [1, 2]))
    step = tf.Variable(0, dtype=tf.int64)

    @tf.function
    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(3.0 * drop(x, rate, 7, step.assign_add(1)))
        return tape.gradient(loss, x)

    return lambda: gradient().numpy()


def main(_: list[str]) -> None:
    """Times both and prints the table."""
    given = flags.FLAGS
    kinds = {
        "16 bits": batch_dropout,
        "a float": _from_floats,
        "none": lambda x, rate, seed, step: x / (1.0 - rate),
    }
    calls = {name: _call(drop, given.rows, given.units, given.rate) for name, drop in kinds.items()}
    seconds = timing.in_turn(calls, given.blocks, given.repeats, warm_up=3)
    rows = [
        (
            name,
            timing.spread(timings.clock, 1000, 2),
            f"{timing.median_ratio(timings.clock, seconds['a float'].clock):.2f}",
        )
        for name, timings in seconds.items()
    ]
    print(timing.machine())
    print(f"{given.rows} x {given.units}, rate {given.rate}")
    print(text_table(("drawn per unit", "ms (range)", "/ a float"), rows), flush=True)


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 2048, "Rows of a batch.")
    flags.DEFINE_integer("units", 400, "Units of a layer.")
    flags.DEFINE_float("rate", 0.2, "Share dropped.")
    flags.DEFINE_integer("blocks", 15, "Timed blocks of each.")
    flags.DEFINE_integer("repeats", 20, "Calls per block.")
    app.run(main)
