"""A search as a job runs it: in a folder of its own, resumed after an interruption, with its cost
measured and its explanation written beside it."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from typing import NamedTuple

from irazor_tf.config.files import write_json
from irazor_tf.config.input_config import InputConfig, digest, identity
from irazor_tf.config.layout import FitPaths, SearchPaths, fits_in, search_folder_name
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec
from irazor_tf.search.budget import BudgetError
from irazor_tf.search.method import METHODS, Search, SearchMethod
from irazor_tf.search.notices import Notice, log_once
from irazor_tf.search.pictures import save_pictures
from irazor_tf.training import fit_notices
from irazor_tf.training.cost import CostMeter
from irazor_tf.training.state import read_state
from irazor_tf.training.trainer import Trainer

_logger = logging.getLogger("irazor_tf")


class Outcome(NamedTuple):
    """The outcome of a method's search in a space.

    Args:
      method: The method, with the settings that gave the result.
      result: What is passed on to the final training.
      search: The trained search that the result was derived from.
      folder: The search's folder, relative to the job's folder.
    """

    method: SearchMethod
    result: SearchResult
    search: Search
    folder: str


def run_search(
    trainer: Trainer,
    method: SearchMethod,
    space: InputConfig,
    budget: int | None = None,
    search: Search | None = None,
    *,
    redraw: bool = False,
) -> Outcome:
    """Runs a search and derives its result. A finished search, given or on disk, is not trained
    again.

    Args:
      trainer: The job's trainer; the search has a subfolder of its folder.
      method: The method.
      space: The config that is searched.
      budget: Most embedding values of the result. If None (default), the method's own setting
        decides.
      search: The trained search, where another setting of the method has it already. If None
        (default), it is trained or read from disk.
      redraw: Whether the explanation beside the search is written anew for this result. If False
        (default), an explanation that an earlier setting of the same search left stays.

    Raises:
      BudgetError: nothing can be kept.
    """
    folder = search_folder(method, space)
    inside = trainer.inside(folder, optimizers=method.traits.recipe)
    paths = SearchPaths(inside.work_dir)
    space.save(paths.space)
    meter = CostMeter(paths.cost, inside.work_dir, inside.pretrained)
    with meter.counting():
        try:
            result, search = method.search(inside, space, budget, search)
        except BudgetError as error:
            if budget is None:  # then the message names the setting that leaves nothing
                raise
            raise BudgetError(f"{method.spec().name}: {error}") from None
    meter.finish(search.spent)
    _show(paths, method, search, result, redraw)
    notices = [
        *map(Notice, result.notices),
        *_over(trainer, result, budget),
        *_of_fits(inside),
        *search.notices,
    ]
    log_once(notices, str(method.spec()))
    clusters = result.clusters
    if result.init in ("continue", "keep"):
        # The final model meets its fields where the supernet did.
        clusters = tuple(search.model.aligned(config) for config in clusters)
    result = dataclasses.replace(
        result,
        clusters=clusters,
        seconds=meter.record["seconds"],
        notices=tuple(dict.fromkeys(map(str, notices))),
        optimizers={} if result.init == "keep" else method.traits.recipe,
    )
    return Outcome(method, result, search, folder)


def run_sweep(
    trainer: Trainer, method: SearchMethod, space: InputConfig, search: Search | None = None
) -> Iterator[tuple[str, Outcome]]:
    """The outcomes for all other settings on a method's curve (see `SearchMethod.sweep`). Settings
    that one training serves share the search. A setting that keeps no field, or for which nothing
    is small enough, is left out, and logged.

    Args:
      trainer, method, space: see `run_search`.
      search: The trained search of `method`. If None (default), it is trained or read from disk
        where a setting needs it.

    Yields:
      (label of the setting, outcome).
    """
    folder = search_folder(method, space)
    for label, variant in method.sweep(space):
        shares = search_folder(variant, space) == folder
        try:
            outcome = run_search(trainer, variant, space, None, search if shares else None)
        except BudgetError as error:  # a share of the space smaller than its smallest column
            _logger.warning("%s: no point of the curve. %s", variant.spec(), error)
            continue
        if shares:
            search = outcome.search
        if all(config.num_fields for config in outcome.result.clusters):
            yield label, outcome
        else:
            _logger.warning("%s keeps no field: no point of the curve", variant.spec())


def search_folder(method: SearchMethod, space: InputConfig) -> str:
    """Path of a search's folder, relative to the job's. Settings that only the derivation reads
    (thresholds) do not change it, nor does a budget.

    Args:
      method: The method.
      space: The config that is searched.
    """
    spec = training_spec(method.spec())
    return search_folder_name(spec.name, digest([str(spec), identity(space)]))


def training_spec(spec: Spec) -> Spec:
    """The spec without the settings that only the derivation reads: equal ones have one
    training."""
    derive_only = METHODS.get(spec.name).traits.derive_only
    arguments = tuple(item for item in spec.arguments if item[0] not in derive_only)
    return Spec(spec.name, arguments, tuple(map(training_spec, spec.operands)))


def base_rate_of(trainer: Trainer) -> float | None:
    """Validation log loss of always predicting the training rows' share of positives; None where it
    is not known (see `fit_notices.base_rate_log_loss`).

    Args:
      trainer: Has the splits.
    """
    return fit_notices.base_rate_log_loss(trainer.train.positive_rate, trainer.valid.positive_rate)


def _show(
    paths: SearchPaths, method: SearchMethod, search: Search, result: SearchResult, redraw: bool
) -> None:
    """Writes the explanation of a search into its folder, where there is none yet or with `redraw`.

    Args:
      paths: The search's folder.
      method, search, redraw: see `run_search`.
      result: The result that is explained.
    """
    if not redraw and os.path.exists(paths.scores) and os.path.exists(paths.pictures):
        return
    explanation = method.explain(search, result.clusters)
    if (redraw or not os.path.exists(paths.scores)) and (explanation.scores or explanation.arrays):
        write_json(paths.scores, dict(explanation.scores), dict(explanation.arrays))
    if redraw or not os.path.exists(paths.pictures):
        save_pictures(explanation.pictures, paths.pictures)


def _over(trainer: Trainer, result: SearchResult, budget: int | None) -> list[Notice]:
    """A notice where a result, its router included, is larger than the budget; none otherwise.

    Args:
      trainer: Has the data's fields.
      result: The result.
      budget: Most embedding values allowed. None for no limit.
    """
    size = sum(config.num_params(trainer.schema) for config in result.clusters)
    size += 0 if result.router is None else result.router.params
    if budget is None or size <= budget:
        return []
    return [
        Notice(
            f"The budget of {budget:,} parameters is exceeded: all that the method needs takes "
            f"{size:,}"
        )
    ]


def _of_fits(trainer: Trainer) -> list[Notice]:
    """Notices about the trainings of a search and about the pretrainings that it shares with
    others: overfitting, or a log loss worse than the base rate.

    Args:
      trainer: Works in the search's folder.
    """
    fits = [("pretraining", FitPaths(folder)) for folder in trainer.pretrained]
    fits += [("search", fit) for fit in fits_in(trainer.work_dir)]
    texts = set()
    for stage, fit in fits:
        state = read_state(fit.state)
        of_validation = state.get("judge", trainer.valid.name) == trainer.valid.name
        base_rate = base_rate_of(trainer) if of_validation else None
        rows = "validation" if base_rate is not None else "held-out"
        best = (state["best"] or {}).get("epoch")
        notices = fit_notices.of_training(state["history"], best, base_rate, rows)
        texts |= {f"the model of its {stage} {notice}" for notice in notices}
    return [Notice(text) for text in sorted(texts)]
