"""Time to the first training step of models with hundreds of fields: building the model, tracing its train function, running it once.

    python -m benchmarks.tracing [--fields=300,780] [--repeats=3]

The supernet is i-Razor's, uniform width 16; the pruned model has every width from 0 to 16, drawn at random, so up to sixteen tables.
Every model is built in the same process after a small one that loads what TensorFlow loads once.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import timing
from irazor_tf.input_config import InputConfig
from irazor_tf.schema import Schema
from irazor_tf.tables import text_table
from irazor_tf.trainer import TrainOptions

_WIDTH, _MODEL = 16, "mlp(hidden=(400,400,400))"
_AIM, _AIM_FIELDS = 3.0, 300


def _first_step(schema: Schema, config: InputConfig, method: str | None, options: TrainOptions) -> tuple[float, float, float, int]:
    """Seconds to build, to trace, and to optimise the graph and run it once; operations of the traced graph."""
    batches = timing.dataset(schema, options.batch_size, 64, number=2)
    start = time.perf_counter()
    model = timing.build(schema, config, _MODEL, options, method)
    built = time.perf_counter()
    function = model.make_train_function()
    iterator = iter(batches)
    graph = function.get_concrete_function(iterator).graph
    traced = time.perf_counter()
    {key: value.numpy() for key, value in function(iterator).items()}
    return built - start, traced - built, time.perf_counter() - traced, _operations(graph)


def _operations(graph: tf.Graph) -> int:
    definition = graph.as_graph_def()
    return len(definition.node) + sum(len(function.node_def) for function in definition.library.function)


def main(_: list[str]) -> None:
    """Builds every model several times and prints the table."""
    given = flags.FLAGS
    options = TrainOptions(batch_size=1024)
    small = timing.even_schema(4, 400)
    _first_step(small, InputConfig.uniform(small, 4), "irazor()", options)
    rows = []
    for number in (int(number) for number in given.fields):
        schema = timing.even_schema(number, 1000 * number)
        dims = np.random.default_rng(1).integers(0, _WIDTH + 1, number)
        mixed = InputConfig.from_dims({name: int(dim) for name, dim in zip(schema.names, dims, strict=True)})
        cases = (("supernet", InputConfig.uniform(schema, _WIDTH), "irazor()"), ("pruned, mixed widths", mixed, None))
        for name, config, method in cases:
            found = [_first_step(schema, config, method, options) for _ in range(given.repeats)]
            build, trace, run = (statistics.median(part) for part in list(zip(*found, strict=True))[:3])
            total = statistics.median(sum(parts[:3]) for parts in found)
            verdict = "" if number > _AIM_FIELDS else "met" if total <= _AIM else "MISSED"
            times = (f"{build:.2f}", f"{trace:.2f}", f"{run:.2f}", f"{total:.2f}")
            rows.append((f"{number} fields, {name}", f"{found[0][3]:,}", *times, verdict))
    print(timing.machine())
    print(f"{_MODEL}, batch {options.batch_size}; the first run is {options.steps_per_execution} steps")
    header = ("model", "operations", "build, s", "trace, s", "first run, s", "together, s", f"aim {_AIM:g} s")
    print(text_table(header, rows), flush=True)


if __name__ == "__main__":
    flags.DEFINE_list("fields", ["300", "780"], "Numbers of fields.")
    flags.DEFINE_integer("repeats", 3, "Models built per row; medians are printed.")
    app.run(main)
