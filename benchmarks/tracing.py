"""Time to the first training step of models with hundreds of fields: building the model, tracing
its train function, taking one step.

    python -m benchmarks.tracing [--fields=300,780] [--repeats=3]

The supernet is i-Razor's, uniform width 16; the pruned model has every width from 0 to 16, drawn at
random, so up to sixteen tables. Every model is built in the same process after a small one that
loads what TensorFlow loads once. The first step holds the graph's optimisation; what a later step
takes is in a column of its own. Most of this runs on one core, so the processor time of a busy
machine is near the clock time of an idle one."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import timing
from benchmarks.common import FORMER
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.report.tables import text_table
from irazor_tf.training.options import TrainOptions

_WIDTH, _MODEL = 16, "mlp(hidden=(400,400,400))"
_AIM, _AIM_FIELDS = 3.0, 300


class _Times(NamedTuple):
    """Seconds to build, to trace, of the first step and of a later one; build to first step in
    processor time; operations traced."""

    build: float
    trace: float
    first: float
    later: float
    processor: float
    operations: int

    @property
    def together(self) -> float:
        return self.build + self.trace + self.first


def _measure(
    schema: Schema, config: InputConfig, method: str | None, options: TrainOptions
) -> _Times:
    batches = timing.dataset(schema, options.batch_size, 64, number=2)
    processor = time.process_time()
    clock = [time.perf_counter()]
    model = timing.build(schema, config, _MODEL, options, method)
    clock.append(time.perf_counter())
    function = model.make_train_function()
    iterator = iter(batches)
    graph = function.get_concrete_function(iterator).graph
    clock.append(time.perf_counter())
    step = timing.runner(model, batches)
    step()
    clock.append(time.perf_counter())
    processor = time.process_time() - processor
    step()
    clock.append(time.perf_counter())
    build, trace, first, later = np.diff(clock).tolist()
    return _Times(build, trace, first, later, processor, _operations(graph))


def _operations(graph: tf.Graph) -> int:
    definition = graph.as_graph_def()
    return len(definition.node) + sum(
        len(function.node_def) for function in definition.library.function
    )


def main(_: list[str]) -> None:
    """Builds every model several times and prints the table."""
    given = flags.FLAGS
    options = dataclasses.replace(FORMER, steps_per_execution=1)
    small = timing.even_schema(4, 400)
    _measure(small, InputConfig.uniform(small, 4), "irazor()", options)
    rows = []
    for number in (int(number) for number in given.fields):
        schema = timing.even_schema(number, 1000 * number)
        dims = np.random.default_rng(1).integers(0, _WIDTH + 1, number)
        mixed = InputConfig.from_dims(
            {name: int(dim) for name, dim in zip(schema.names, dims, strict=True)}
        )
        cases = (
            ("supernet", InputConfig.uniform(schema, _WIDTH), "irazor()"),
            ("pruned, mixed widths", mixed, None),
        )
        for name, config, method in cases:
            traces = [_measure(schema, config, method, options) for _ in range(given.repeats)]
            together = statistics.median(times.together for times in traces)
            verdict = "" if number > _AIM_FIELDS else "met" if together <= _AIM else "MISSED"
            parts = [
                [getattr(times, part) for times in traces]
                for part in ("build", "trace", "first", "together", "processor", "later")
            ]
            seconds = [f"{statistics.median(values):.2f}" for values in parts]
            rows.append(
                (f"{number} fields, {name}", f"{traces[0].operations:,}", *seconds, verdict)
            )
    print(timing.machine())
    print(f"{_MODEL}, batch {options.batch_size}; medians of {given.repeats}")
    units = [
        f"{name}, s"
        for name in ("build", "trace", "first step", "together", "of processor", "later step")
    ]
    header = ("model", "operations", *units, f"aim {_AIM:g} s")
    print(text_table(header, rows), flush=True)


if __name__ == "__main__":
    flags.DEFINE_list("fields", ["300", "780"], "Numbers of fields.")
    flags.DEFINE_integer("repeats", 3, "Models built per row; medians are printed.")
    app.run(main)
