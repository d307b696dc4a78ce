"""The final models, which are compared and served: their initial weights, their training, and how
they are read back from disk."""

from __future__ import annotations

import functools
import os

import tensorflow as tf

from irazor_tf.config.input_config import InputConfig
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.job import Job
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import RoutedRecommender, Router
from irazor_tf.search.method import RoutingMethod
from irazor_tf.training.partition import partition
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.trainer import Trainer


def trained_model(job: Job, candidate: Candidate) -> Recommender | RoutedRecommender:
    """The candidate's model, or its models behind a router; those that are not trained yet are
    trained."""
    return _models(job, candidate, train=True)


def restored_model(job: Job, candidate: Candidate) -> Recommender | RoutedRecommender:
    """The candidate's trained model, or its models behind a router, read from disk."""
    return _models(job, candidate, train=False)


def fit_names(candidate: Candidate) -> list[str]:
    """Names of the candidate's final trainings; none where the searched model itself is the final
    one."""
    if candidate.result.init == "keep":
        return []
    if candidate.result.router is None:
        return ["model"]
    return [f"cluster-{number}" for number in range(len(candidate.result.clusters))]


def initial_model(
    job: Job, candidate: Candidate, trainer: Trainer, config: InputConfig
) -> Recommender:
    """The model that the final training starts from, with the weights that the result's `init`
    says.

    Args:
      job: The job.
      candidate: The candidate.
      trainer: Works in the folder of the candidate's models.
      config: The config of the model, one of the candidate's.
    """
    init = candidate.result.init
    if init == "fresh":
        return trainer.build(config)
    method = job.method(candidate.result.method)
    searcher = job.trainer.inside(candidate.search_folder, optimizers=method.traits.recipe)
    space = InputConfig.load(job.paths.search(candidate.search_folder).space)
    supernet = method.train_or_resume(searcher, space).model
    if init == "ticket":
        return _with_searched_tables(trainer.build(config), supernet)
    with trainer.scope():
        if candidate.result.keep_gates:
            return supernet if config == supernet.config else supernet.restrict(config)
    for gate in supernet.gates.values():
        gate.fold(supernet.embedding)
    with trainer.scope():
        return supernet.restrict(config, keep_gates=False)


def _with_searched_tables(model: Recommender, supernet: Recommender) -> Recommender:
    """The model with the supernet's embeddings of the kept columns (the winning ticket); all other
    weights stay as they are."""
    pieces = {piece.key: (piece.read(), piece.axes) for piece in model.pieces()}
    pieces |= {
        piece.key: (piece.read(), piece.axes)
        for piece in supernet.pieces()
        if piece.key.startswith("embedding/")
    }
    model.load_pieces(pieces)
    return model


def _models(job: Job, candidate: Candidate, *, train: bool) -> Recommender | RoutedRecommender:
    """The candidate's model, or its models behind a router.

    Args:
      job: The job.
      candidate: The candidate.
      train: Whether models that are not trained yet are trained. If False, all are read from disk.
    """
    trainer = job.final_trainer(candidate)
    configs = candidate.result.clusters
    if candidate.result.router is None:
        return _model(job, candidate, trainer, configs[0], "model", train)
    with trainer.scope():
        router = _router(job, candidate)
    models = [
        _model(job, candidate, trainer, config, f"cluster-{number}", train, number)
        for number, config in enumerate(configs)
    ]
    with trainer.scope():
        return RoutedRecommender(models, router)


def _model(
    job: Job,
    candidate: Candidate,
    trainer: Trainer,
    config: InputConfig,
    name: str,
    train: bool,
    cluster: int | None = None,
) -> Recommender:
    """One final model of a candidate, trained or read from disk.

    Args:
      job, candidate, train: see `_models`.
      trainer: Works in the folder of the candidate's models.
      config: The model's config.
      name: Name of the model's training.
      cluster: Number of the cluster whose rows the model is judged by and, unless the result says
        otherwise, learns from. None for a model of all rows.
    """
    result = candidate.result
    if result.init == "keep":
        return initial_model(job, candidate, trainer, config)
    if not train or trainer.is_done(name):
        model = trainer.build(config)
        trainer.restore(model, name)
        return model
    model = initial_model(job, candidate, trainer, config)
    plan = FitPlan(keep_start=result.init == "continue")
    if cluster is not None:
        with tf.device("/CPU:0"):  # where rows are read and parted
            router = _router(job, candidate)
        part = functools.partial(partition, router=router, cluster=cluster)
        plan = FitPlan(
            train=trainer.train if result.all_rows else part(trainer.train),
            judge=part(trainer.valid),
            keep_start=plan.keep_start,
        )
    trainer.fit(model, name, plan)
    return model


def _router(job: Job, candidate: Candidate) -> Router:
    """The router of a candidate with clusters, made again by its method from the stored weights."""
    method, router = job.method(candidate.result.method), candidate.result.router
    assert isinstance(method, RoutingMethod) and router is not None
    return method.router(
        job.schema, router, os.path.join(job.config.model_dir, candidate.search_folder)
    )
