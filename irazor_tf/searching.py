"""A job's trainer, and a search with it: the folder it works in, and picking up what is there."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import time
from collections.abc import Iterator

import tensorflow as tf

from irazor_tf.base_model import MODELS
from irazor_tf.candidates import digest, identity
from irazor_tf.input_config import InputConfig, SearchResult, read_json, write_json
from irazor_tf.job_config import JobConfig, training_spec
from irazor_tf.method import BudgetError, SearchMethod
from irazor_tf.recommender import Recommender
from irazor_tf.schema import Schema
from irazor_tf.task import TASKS
from irazor_tf.trainer import Trainer

_notices = logging.getLogger("irazor_tf")


@functools.cache
def strategy_of(name: str) -> tf.distribute.Strategy | None:
    """The `tf.distribute` strategy called `name`; mirrored takes all GPUs, or all logical CPU devices where there is none.

    One per process and name: the collective operations of a second one would take the keys of the first one's.
    """
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy("/GPU:0" if tf.config.list_logical_devices("GPU") else "/CPU:0")
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])
    return None


def trainer_of(job: JobConfig, schema: Schema, *folder: str, model: str | None = None) -> Trainer:
    """The trainer of a job's settings, working in `folder` under the job's own; `model` instead of the job's."""
    return Trainer(
        schema,
        job.records_dir,
        MODELS.build(model or job.model),
        TASKS.build(job.task),
        job.train,
        job.path(*folder),
        strategy=strategy_of(job.distribution_strategy),
        seed=job.seed,
        progress=job.progress,
        tensorboard=job.tensorboard,
    )


def search_with(
    trainer: Trainer, method: SearchMethod, space: InputConfig, budget: int | None = None, supernet: Recommender | None = None
) -> tuple[SearchResult, Recommender]:
    """Searches (or picks up the finished supernet, given or from disk) and derives; the method's own arrays go beside it."""
    inside = trainer.inside(search_folder_of(method, space))
    timing = os.path.join(inside.work_dir, "seconds.json")
    space.save(os.path.join(inside.work_dir, "space.json"))
    # What a call spent that ended in an error (a budget too small, say) after the training counts, too.
    unfinished = os.path.join(inside.work_dir, "seconds_unfinished.json")
    start = time.perf_counter() - (read_json(unfinished)[0] if os.path.exists(unfinished) else 0.0)
    try:
        result, supernet = method.search(inside, space, budget, supernet)
    except Exception:
        if not os.path.exists(timing):
            write_json(unfinished, time.perf_counter() - start)
        raise
    if not os.path.exists(timing):
        write_json(timing, time.perf_counter() - start)
    if method.ranks_fields:
        arrays = method.architecture(supernet)
        write_json(os.path.join(inside.work_dir, "scores.json"), method.field_scores(supernet), arrays)
    return dataclasses.replace(result, seconds=read_json(timing)[0]), supernet


def sweep_with(
    trainer: Trainer, method: SearchMethod, space: InputConfig, supernet: Recommender | None = None
) -> Iterator[tuple[str, SearchResult, Recommender]]:
    """Label, result and supernet for every other setting that one search serves.

    A setting that keeps no field, or for which nothing is small enough, is left out, and said.
    """
    for label, other in method.sweep(space):
        try:
            result, supernet = search_with(trainer, other, space, None, supernet)
        except BudgetError as error:  # a share of the space that is smaller than its smallest column
            _notices.warning("%s: no point of the curve. %s", other.spec(), error)
            continue
        if all(config.num_fields for config in result.clusters):
            yield label, result, supernet
        else:
            _notices.warning("%s keeps no field: no point of the curve", other.spec())


def search_folder_of(method: SearchMethod, space: InputConfig) -> str:
    """One folder per training: the same supernet serves every threshold and budget."""
    spec = training_spec(method.spec())
    return os.path.join("search", f"{spec.name}-{digest([str(spec), identity(space)])}")
