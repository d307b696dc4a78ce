"""Search step against plain step at equal width: what the gate of i-Razor adds.

    python -m benchmarks.search_step [--blocks=9]

24 fields, 1M features, batch 1024; width 16 and 30; three layers of 400 and the five of 700 of the
paper. Supernet and plain model live in one process and take turns, block by block; the ratio is the
median over pairs of neighbouring blocks."""

from __future__ import annotations

import dataclasses

from absl import app, flags

from benchmarks import timing
from benchmarks.common import FORMER
from irazor_tf.config.input_config import InputConfig
from irazor_tf.report.tables import text_table

_FIELDS, _FEATURES = 24, 1_000_000
_TOWERS = ("(400,400,400)", "(700,700,700,700,700)")
_AIM = 1.10


def main(_: list[str]) -> None:
    """Times every pair and prints the table."""
    given = flags.FLAGS
    options = dataclasses.replace(FORMER, batch_size=given.batch_size)
    schema = timing.even_schema(_FIELDS, _FEATURES)
    batches = timing.dataset(schema, options.batch_size, given.distinct)
    rows = []
    for width in (int(width) for width in given.widths):
        config = InputConfig.uniform(schema, width)
        for tower in _TOWERS:
            base = f"mlp(hidden={tower})"
            methods = {"plain": None, "search": given.method}
            calls = {
                name: timing.runner(timing.build(schema, config, base, options, method), batches)
                for name, method in methods.items()
            }
            seconds = timing.in_turn(calls, given.blocks, given.executions, warm_up=2)
            ratio = timing.median_ratio(seconds["search"].clock, seconds["plain"].clock)
            work = timing.median_ratio(seconds["search"].processor, seconds["plain"].processor)
            columns = [
                timing.spread(seconds[name].clock, 1000 / options.steps_per_execution)
                for name in methods
            ]
            rows.append(
                (
                    f"width {width}, {tower}",
                    *columns,
                    f"{ratio:.3f}",
                    f"{work:.3f}",
                    "met" if ratio <= _AIM else "MISSED",
                )
            )
            if given.verbose:
                print("  ".join(rows[-1]), flush=True)
    print(timing.machine())
    print(
        f"{given.method}, batch {options.batch_size}, {given.distinct} different ids per field and "
        "batch"
    )
    header = (
        "model",
        "plain, ms per step (range)",
        "search, ms per step (range)",
        "ratio",
        "of processor time",
        f"aim {_AIM}",
    )
    print(text_table(header, rows), flush=True)


if __name__ == "__main__":
    flags.DEFINE_list("widths", ["16", "30"], "Widths of the space.")
    flags.DEFINE_string("method", "irazor()", "The searched model's method.")
    flags.DEFINE_integer("batch_size", 1024, "Rows per step.")
    flags.DEFINE_integer("distinct", 512, "Different ids per field and batch.")
    flags.DEFINE_integer("blocks", 9, "Timed blocks per model.")
    flags.DEFINE_integer("executions", 2, "Calls of the train function (8 steps each) per block.")
    flags.DEFINE_bool("verbose", False, "Print every row as it comes.")
    app.run(main)
