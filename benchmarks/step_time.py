"""Training step time against the size of the vocabulary: it should not depend on it.

    python -m benchmarks.step_time [--features=100000,1000000,10000000] [--blocks=9]

24 fields, width 16, batch 1024, mlp(400, 400, 400), optimizers of the flags' defaults, the model's own compiled train function on
batches from memory. Every batch has the same number of different ids at every size, since the sparse update costs in proportion to
them; which ids is drawn anew per batch from the whole vocabulary. All sizes live in one process and take turns.
"""

from __future__ import annotations

from absl import app, flags

from benchmarks import timing
from irazor_tf.input_config import InputConfig
from irazor_tf.tables import text_table
from irazor_tf.trainer import TrainOptions

_FIELDS, _WIDTH, _MODEL = 24, 16, "mlp(hidden=(400,400,400))"
_AIM = 1.15


def main(_: list[str]) -> None:
    """Times supernet and plain model at every size and prints the table."""
    given = flags.FLAGS
    options = TrainOptions(batch_size=1024)
    sizes = sorted(int(size) for size in given.features)
    rows = []
    for name, method in (("plain model", None), ("i-Razor supernet", "irazor()")):
        calls = {}
        for size in sizes:
            schema = timing.even_schema(_FIELDS, size)
            config = InputConfig.uniform(schema, _WIDTH)
            model = timing.build(schema, config, _MODEL, options, method)
            calls[f"{size}"] = timing.runner(model, timing.dataset(schema, options.batch_size, given.distinct))
        seconds = timing.in_turn(calls, given.blocks, given.executions, warm_up=2)
        for size in sizes:
            own, first = seconds[f"{size}"], seconds[f"{sizes[0]}"]
            ratio = timing.median_ratio(own.clock, first.clock)
            work = timing.median_ratio(own.processor, first.processor)
            verdict = "" if size == sizes[0] else "met" if ratio <= _AIM else "MISSED"
            per_step = timing.spread(own.clock, 1000 / options.steps_per_execution)
            rows.append((name, f"{size:,}", per_step, f"{ratio:.3f}", f"{work:.3f}", verdict))
        calls.clear()  # the tables of this model go before the next ones are made
    print(timing.machine())
    print(f"{given.distinct} different ids per field in every batch of {options.batch_size}")
    header = ("model", "features", "ms per step (range)", "ratio to smallest", "of processor time", f"aim {_AIM}")
    print(text_table(header, rows), flush=True)


if __name__ == "__main__":
    flags.DEFINE_list("features", ["100000", "1000000", "10000000"], "Total vocabulary sizes.")
    flags.DEFINE_integer("distinct", 512, "Different ids per field and batch.")
    flags.DEFINE_integer("blocks", 9, "Timed blocks per model.")
    flags.DEFINE_integer("executions", 3, "Calls of the train function (8 steps each) per block.")
    app.run(main)
