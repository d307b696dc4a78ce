"""The trainer of a job's settings."""

from __future__ import annotations

from collections.abc import Mapping

from irazor_tf.config.schema import Schema
from irazor_tf.evaluation.task import TASKS
from irazor_tf.jobs.config import JobConfig
from irazor_tf.model.base import MODELS
from irazor_tf.training.strategy import strategy_of
from irazor_tf.training.trainer import Trainer


def trainer_of(
    job: JobConfig,
    schema: Schema,
    *folder: str,
    model: str | None = None,
    optimizers: Mapping[str, str] | None = None,
) -> Trainer:
    """The trainer of a job's settings, working in `folder` under the job's own; `model` instead of
    the job's, `optimizers` a method's."""
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
        shared_dir=job.path("search"),
        optimizers=optimizers,
    )
