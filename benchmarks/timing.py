"""What the speed benchmarks share: the machine in one line, data without a log, compiled training
steps, and blocks timed in turn."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS
from irazor_tf.training.options import TrainOptions
from irazor_tf.training.updates.optimizers import make_optimizer
from irazor_tf.training.updates.steps import Joint

K = TypeVar("K")


def machine() -> str:
    """Processor, cores, load and versions."""
    name = platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(
                (line.split(":")[1].strip() for line in file if line.startswith("model name")), name
            )
    versions = (
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}, tf_keras "
        f"{keras.__version__}, numpy {np.__version__}"
    )
    gpus = len(tf.config.list_physical_devices("GPU"))
    return f"{name}, {os.cpu_count()} cores, {gpus} GPUs, load {os.getloadavg()[0]:.1f}; {versions}"


def even_schema(num_fields: int, num_features: int) -> Schema:
    """Fields of (nearly) equal vocabularies that sum to `num_features`."""
    sizes = np.diff(np.linspace(0, num_features, num_fields + 1).astype(int))
    return Schema(tuple(Field(f"f{i}", vocabulary_size=int(size)) for i, size in enumerate(sizes)))


def draw_ids(
    schema: Schema,
    batch_size: int,
    distinct: int,
    rng: np.random.Generator,
    *,
    uniform: bool = False,
) -> np.ndarray:
    """A batch in which every field has exactly `distinct` different ids (or its vocabulary, where
    that is smaller).

    The cost of the sparse update depends on the number of different rows, which therefore is the
    same for every size of vocabulary.
    Ids are drawn until there are so many: in proportion to 1 / rank, as they come in logs
    (vocabularies have the most frequent first), or `uniform`, so that no batch meets the rows of an
    earlier one in the processor's caches.

    Returns:
      [batch_size, N] int32.
    """
    columns = []
    for size in schema.vocabulary_sizes:
        number = min(distinct, int(size), batch_size)
        found = np.zeros(0, np.int64)
        while len(found) < number:
            chance = rng.random(4 * number)
            drawn = np.concatenate(
                [found, (size * chance if uniform else size**chance - 1).astype(np.int64)]
            )
            found = drawn[
                np.sort(np.unique(drawn, return_index=True)[1])
            ]  # in the order of first appearance
        found = found[:number]
        weights = 1.0 / np.arange(1, number + 1)
        rest = rng.choice(number, batch_size - number, p=weights / weights.sum())
        columns.append(found[rng.permutation(np.concatenate([np.arange(number), rest]))])
    return np.stack(columns, axis=1).astype(np.int32)


def dataset(
    schema: Schema,
    batch_size: int,
    distinct: int,
    *,
    number: int = 64,
    uniform: bool = False,
    seed: int = 1,
) -> tf.data.Dataset:
    """Endless batches from memory, `number` different ones; see `draw_ids`."""
    rng = np.random.default_rng(seed)
    ids = np.stack(
        [draw_ids(schema, batch_size, distinct, rng, uniform=uniform) for _ in range(number)]
    )
    label = (rng.random((number, batch_size)) < 0.25).astype(np.float32)
    return (
        tf.data.Dataset.from_tensor_slices({"ids": ids, "label": label})
        .repeat()
        .prefetch(tf.data.AUTOTUNE)
    )


def build(
    schema: Schema,
    config: InputConfig,
    model: str,
    options: TrainOptions,
    method: str | None = None,
) -> Recommender:
    """A model ready to train, compiled as `Trainer.fit` does it; with the gates of `method` a
    supernet."""
    gates: dict[str, Gate] = METHODS.build(method).gates(schema, config) if method else {}
    result = Recommender(
        schema,
        config,
        MODELS.build(model),
        TASKS.build("ctr"),
        gates=gates,
        embedding_l2=options.embedding_l2,
        linear_l2=options.linear_l2,
        stddev=options.stddev,
    )
    specs = options.optimizers()
    result.prepare(
        Joint(),
        {group: make_optimizer(specs[group]) for group in result.groups},
        steps_per_execution=options.steps_per_execution,
    )
    return result


def runner(model: Recommender, batches: tf.data.Dataset) -> Callable[[], object]:
    """One call of the model's own compiled train function: `steps_per_execution` steps."""
    function = model.make_train_function()
    iterator = iter(batches)
    return lambda: {key: value.numpy() for key, value in function(iterator).items()}


class Seconds(NamedTuple):
    """Seconds per call, one value per block: on the clock, and of processor time over all threads.

    Other work on the machine stretches the first; the second hardly, so it tells a slow program
    from a busy machine."""

    clock: list[float]
    processor: list[float]


def in_turn(
    calls: Mapping[K, Callable[[], object]], blocks: int, repeats: int, warm_up: int = 1
) -> dict[K, Seconds]:
    """Times `blocks` blocks of `repeats` calls of everything in `calls`.

    The blocks take turns, their order turning round each time, so that what disturbs the machine
    disturbs all alike; block i of one and block i of another are neighbours in time and make a
    ratio."""
    for call in calls.values():
        for _ in range(warm_up):
            call()
    seconds = {name: Seconds([], []) for name in calls}
    for block in range(blocks):
        for name in list(calls) if block % 2 == 0 else reversed(list(calls)):
            clock, processor = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                calls[name]()
            seconds[name].clock.append((time.perf_counter() - clock) / repeats)
            seconds[name].processor.append((time.process_time() - processor) / repeats)
    return seconds


def median_ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Median over blocks of a / b."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def spread(values: Sequence[float], scale: float, digits: int = 1) -> str:
    """Median, and in parentheses the fastest and the slowest block."""
    low, middle, high = (
        scale * value for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
