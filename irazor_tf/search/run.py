"""A job's trainer, and a search with it: the folder it works in, and picking up what is there."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.input_config import InputConfig, digest, identity
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, BudgetError, SearchMethod
from irazor_tf.search.pictures import save_pictures
from irazor_tf.training import fit_notices
from irazor_tf.training.cost import batches, fit_seconds, fit_states, peak_mib, reset_peak
from irazor_tf.training.state import read_state
from irazor_tf.training.trainer import Trainer

_notices = logging.getLogger("irazor_tf")


def search_with(
    trainer: Trainer,
    method: SearchMethod,
    space: InputConfig,
    budget: int | None = None,
    supernet: Recommender | None = None,
    *,
    redraw: bool = False,
) -> tuple[SearchResult, Recommender]:
    """Searches (or picks up the finished supernet, given or from disk) and derives; the method's
    own arrays go beside it.

    They and its pictures are made where there are none yet, or with `redraw`: a supernet may serve
    several settings, one of which is the user's."""
    inside = trainer.inside(search_folder_of(method, space), optimizers=method.recipe())
    timing = os.path.join(inside.work_dir, "seconds.json")
    space.save(os.path.join(inside.work_dir, "space.json"))
    # What a call spent beside the fits that ended in an error (a budget too small, say) counts,
    # too; fits remember their own seconds.
    unfinished = os.path.join(inside.work_dir, "seconds_unfinished.json")
    before = read_json(unfinished)[0] if os.path.exists(unfinished) else 0.0
    start, fitted = time.perf_counter(), fit_seconds(inside.work_dir)
    reset_peak()

    def beside_fits() -> float:
        in_fits = fit_seconds(inside.work_dir) - fitted + sum(inside.pretrained.values())
        return before + max(0.0, time.perf_counter() - start - in_fits)

    with _collected() as notices:
        try:
            result, supernet = method.search(inside, space, budget, supernet)
        except Exception as error:
            if not os.path.exists(timing):
                write_json(unfinished, beside_fits())
            if (
                isinstance(error, BudgetError) and budget is not None
            ):  # which does not say whose it is, as a setting does
                raise BudgetError(f"{method.spec().name}: {error}") from None
            raise
    told = os.path.join(inside.work_dir, "search_cost.json")
    if not (os.path.exists(timing) and os.path.exists(told)):
        cost = _cost(inside, beside_fits())
        write_json(told, cost)
        write_json(timing, cost["seconds"])
    scored, drawn = (
        os.path.join(inside.work_dir, name) for name in ("scores.json", "pictures.json")
    )
    if redraw or not os.path.exists(scored):
        scores, arrays = method.field_scores(supernet), method.architecture(supernet)
        if scores or arrays:
            write_json(scored, scores, arrays)
    if redraw or not os.path.exists(drawn):
        save_pictures(method.pictures(supernet, result.clusters), drawn)
    size = sum(config.num_params(trainer.schema) for config in result.clusters) + (
        result.router.params if result.router else 0
    )
    if budget is not None and size > budget:
        over = (
            f"The budget of {budget:,} parameters is exceeded: all that the method needs takes "
            f"{size:,}"
        )
        result = dataclasses.replace(result, notices=(*result.notices, over))
    result = dataclasses.replace(result, notices=(*result.notices, *_of_fits(inside)))
    for notice in result.notices:
        if notice not in notices:
            _notices.warning("%s: %s", method.spec(), notice)
    if result.init in (
        "continue",
        "keep",
    ):  # the final model meets its fields where the supernet did
        result = dataclasses.replace(
            result, clusters=tuple(supernet.aligned(config) for config in result.clusters)
        )
    noticed = tuple(dict.fromkeys([*result.notices, *notices]))
    final = {} if result.init == "keep" else method.recipe()
    return dataclasses.replace(
        result, seconds=read_json(timing)[0], notices=noticed, optimizers=final
    ), supernet


def _cost(trainer: Trainer, beside_fits: float) -> dict[str, Any]:
    """What a search took: seconds, steps (batches learned from), and peak memory in MiB;
    pretrainings that it shares are included.

    Every fit counts as long as it took when it was done, whichever process did it; so does a shared
    pretraining."""
    own = fit_states(trainer.work_dir)
    shared = [read_state(os.path.join(folder, "state.json")) for folder in trainer.pretrained]
    before = sum(state.get("seconds", 0.0) for state in shared)
    pretraining = {"seconds": before, "steps": sum(map(batches, shared))}
    apart = os.path.join(
        trainer.work_dir, "cost.json"
    )  # what a method says its search proper took, apart from any fit
    proper = read_json(apart)[0] if os.path.exists(apart) else {"steps": 0}
    steps = sum(map(batches, own)) + pretraining["steps"] + proper["steps"]
    seconds = beside_fits + fit_seconds(trainer.work_dir) + before
    return {
        "seconds": seconds,
        "steps": steps,
        "peak_mib": peak_mib(),
        "pretraining": pretraining,
        "proper": proper,
    }


def base_rate_of(trainer: Trainer) -> float | None:
    """See `fit_notices.base_rate_log_loss`."""
    return fit_notices.base_rate_log_loss(trainer.train.positive_rate, trainer.valid.positive_rate)


def _of_fits(trainer: Trainer) -> list[str]:
    """Notices of the trainings of a search, the pretrainings that it shares among them."""
    shared = [
        ("pretraining", read_state(os.path.join(folder, "state.json")))
        for folder in trainer.pretrained
    ]
    found = set()
    for stage, state in [*shared, *(("search", state) for state in fit_states(trainer.work_dir))]:
        judged_on = state.get("judge", trainer.valid.name)
        base_rate = base_rate_of(trainer) if judged_on == trainer.valid.name else None
        rows = "validation" if base_rate is not None else "held-out"
        notices = fit_notices.of_training(
            state["history"], (state["best"] or {}).get("epoch"), base_rate, rows
        )
        found |= {f"the model of its {stage} {notice}" for notice in notices}
    return sorted(found)


@contextlib.contextmanager
def _collected() -> Iterator[list[str]]:
    """The warnings of this package while it is open, shown or not."""
    found: list[str] = []
    level, propagate = _notices.level, _notices.propagate
    if not _notices.isEnabledFor(
        logging.WARNING
    ):  # whoever wants no warnings shown still finds them in summary and report
        _notices.setLevel(logging.WARNING)
        _notices.propagate = False

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Collector(logging.WARNING)
    _notices.addHandler(handler)
    try:
        yield found
    finally:
        _notices.removeHandler(handler)
        _notices.setLevel(level)
        _notices.propagate = propagate


def sweep_with(
    trainer: Trainer, method: SearchMethod, space: InputConfig, supernet: Recommender | None = None
) -> Iterator[tuple[str, SearchResult, Recommender]]:
    """Label, result and supernet for every other setting of `sweep`; those that another training
    serves share the supernet.

    A setting that keeps no field, or for which nothing is small enough, is left out, and said.
    """
    folder = search_folder_of(method, space)
    for label, other in method.sweep(space):
        shared = search_folder_of(other, space) == folder
        try:
            result, found = search_with(trainer, other, space, None, supernet if shared else None)
        except (
            BudgetError
        ) as error:  # a share of the space that is smaller than its smallest column
            _notices.warning("%s: no point of the curve. %s", other.spec(), error)
            continue
        supernet = found if shared else supernet
        if all(config.num_fields for config in result.clusters):
            yield label, result, found
        else:
            _notices.warning("%s keeps no field: no point of the curve", other.spec())


def search_folder_of(method: SearchMethod, space: InputConfig) -> str:
    """One folder per training: the same supernet serves every threshold and budget."""
    spec = training_spec(method.spec())
    return os.path.join("search", f"{spec.name}-{digest([str(spec), identity(space)])}")


def training_spec(spec: Spec) -> Spec:
    """The spec without what only derivation reads."""
    method = METHODS.get(spec.name)
    arguments = tuple(item for item in spec.arguments if item[0] not in method.derive_only)
    return Spec(spec.name, arguments, tuple(training_spec(operand) for operand in spec.operands))
