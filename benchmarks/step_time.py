"""Training step time against the size of the vocabulary: it should not depend on it.

    python -m benchmarks.step_time [--features=100000,1000000,10000000] [--blocks=9]

24 fields, width 16, batch 1024, mlp(400, 400, 400), optimizers of the flags' defaults, the model's
own compiled train function on batches from memory. Every batch has the same number of different ids
at every size, since the sparse update costs in proportion to them; which ids is drawn anew per
batch from the whole vocabulary: in proportion to 1 / rank, as in logs, which the aim is for; and
uniformly, the worst there is, where nearly every row read or written is a miss of the caches and of
the page table's. All sizes live in one process and take turns.

The latter part of the cost belongs to pages of 4 KiB: GLIBC_TUNABLES=glibc.malloc.hugetlb=1 gives
the tables huge pages on a Linux whose /sys/kernel/mm/transparent_hugepage/enabled says madvise."""

from __future__ import annotations

from absl import app, flags

from benchmarks import timing
from benchmarks.common import FORMER
from irazor_tf.config.input_config import InputConfig
from irazor_tf.report.tables import text_table

_FIELDS, _WIDTH, _MODEL = 24, 16, "mlp(hidden=(400,400,400))"
_DRAWS = ("ids as in logs", "uniform")
_AIM = 1.15


def main(_: list[str]) -> None:
    """Times supernet and plain model at every size and prints the table."""
    given = flags.FLAGS
    options = FORMER
    sizes = sorted(int(size) for size in given.features)
    rows = []
    for name, method in (("plain", None), ("i-Razor", "irazor()")):
        calls = {}
        for size in sizes:
            schema = timing.even_schema(_FIELDS, size)
            model = timing.build(
                schema, InputConfig.uniform(schema, _WIDTH), _MODEL, options, method
            )
            for draw in _DRAWS:
                batches = timing.dataset(
                    schema, options.batch_size, given.distinct, uniform=draw == "uniform"
                )
                calls[draw, size] = timing.runner(model, batches)
        seconds = timing.in_turn(calls, given.blocks, given.executions, warm_up=2)
        for draw, size in sorted(calls, key=lambda key: _DRAWS.index(key[0])):
            times, first = seconds[draw, size], seconds[draw, sizes[0]]
            ratio = timing.median_ratio(times.clock, first.clock)
            work = timing.median_ratio(times.processor, first.processor)
            judged = size != sizes[0] and draw == _DRAWS[0]
            verdict = "" if not judged else "met" if ratio <= _AIM else "MISSED"
            per_step = timing.spread(times.clock, 1000 / options.steps_per_execution)
            rows.append(
                (f"{name}, {draw}", f"{size:,}", per_step, f"{ratio:.3f}", f"{work:.3f}", verdict)
            )
        del calls, model  # the tables go before the next ones are made
    print(timing.machine())
    print(f"{given.distinct} different ids per field in every batch of {options.batch_size}")
    header = (
        "model",
        "features",
        "ms per step (range)",
        "ratio to smallest",
        "of processor time",
        f"aim {_AIM}",
    )
    print(text_table(header, rows), flush=True)


if __name__ == "__main__":
    flags.DEFINE_list("features", ["100000", "1000000", "10000000"], "Total vocabulary sizes.")
    flags.DEFINE_integer("distinct", 512, "Different ids per field and batch.")
    flags.DEFINE_integer("blocks", 9, "Timed blocks per model.")
    flags.DEFINE_integer("executions", 3, "Calls of the train function (8 steps each) per block.")
    app.run(main)
