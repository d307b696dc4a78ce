"""The tuning of a job's training settings on its validation split: the folder `tune` holds the
trainings, their outcome, and the best recipe as a flagfile."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from typing import Any

from irazor_tf.config import integrity
from irazor_tf.config.files import write_json
from irazor_tf.config.input_config import digest
from irazor_tf.config.layout import RecipePaths
from irazor_tf.config.recipe import AUTO, RULE
from irazor_tf.jobs.config import JobConfig
from irazor_tf.jobs.job import Job
from irazor_tf.model.base import MODELS
from irazor_tf.training import pricing
from irazor_tf.training.callbacks import DivergedError
from irazor_tf.training.cost import fit_seconds, fit_states
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.source import Source
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.tuning import DROPOUT, halved, most_epochs, recipes, varied

_logger = logging.getLogger("irazor_tf")


def tune_recipes(job: Job) -> list[dict[str, Any]]:
    """Tunes the training settings of a job, by successive halving among a dozen recipes in which
    every field has the job's width. Trainings that were interrupted are continued.

    Args:
      job: The job. The recipes differ in those of its settings that are "auto", and in the dropout
        of the final models' base model where its spec does not name it.

    Returns:
      A record for each recipe, the best first: `changes` from the rule's recipe, `model`,
      `settings`, whether its training was `finished` or has `diverged`, the number of `epochs`, the
      validation `metrics` of its best epoch, seconds. `tune/result.json` lists them, too;
      `tune/recipe.flags` is the first one.

    Raises:
      ValueError: nothing is "auto", or the rule's own recipe cannot be trained.
    """
    tuning = _Tuning(job)
    numbers = range(len(tuning.changes))
    best = halved(numbers, tuning.epochs, tuning.value)[0]
    # What was trained to its end comes first: of the others the best epoch is not known.
    records = [
        tuning.record(number)
        for number in sorted(numbers, key=lambda number: (number != best, *tuning.place(number)))
    ]
    write_json(
        job.paths.tune.result,
        {"metric": job.config.train.metric, "rows": tuning.rows, "recipes": records},
    )
    with integrity.beside(job.paths.tune.flags) as file:
        file.write(_flagfile(records, job.config))
    return records


class _Tuning:
    """The recipes of a job's tuning, and their trainings.

    Args:
      job: The job.
    """

    def __init__(self, job: Job):
        self._job, schema, config = job, job.schema, job.config
        self._model, base = config.specs.final_model, job.final_base
        # Any: in these settings nothing is "auto" any more.
        self._rule: Any = job.options
        values = {
            key: getattr(self._rule, key) for key in RULE if getattr(config.train, key) == AUTO
        }
        values = {key: value for key, value in values.items() if key not in ("epochs", "patience")}
        if (
            hasattr(base.params, DROPOUT)
            and DROPOUT not in dict(self._model.arguments)
            and "preset" not in dict(self._model.arguments)
        ):
            values[DROPOUT] = getattr(base.params, DROPOUT)
        self.epochs = int(self._rule.epochs)
        self.rows = Source(config.records_dir, "train").rows
        self.changes = recipes(values, not base.sites, self.rows)
        if len(self.changes) < 2:
            open_to_it = ", ".join(varied(not base.sites))
            raise ValueError(
                f"For recipes to differ in, some of {open_to_it} should be auto (dropout: not "
                "named in the model's spec; --batch_size=auto "
                "behind a flagfile leaves that one open). Received: none that is, and that this "
                "model has"
            )
        self._trainers = [self._trainer(number) for number in range(len(self.changes))]
        self._metric = config.train.metric
        self._values: dict[int, float] = {}
        for optimizer in {trainer.options.network_optimizer for trainer in self._trainers}:
            optimizers = self._rule.optimizers() | {"network": optimizer}
            pricing.check_memory(schema, job.space, base, self._trainers[0].task, optimizers)
        passes = most_epochs(len(self.changes), self.epochs)
        message = (
            "tune: %d recipes, together at most %d passes over %s training rows (one training: "
            "at most %d)"
        )
        _logger.info(message, len(self.changes), passes, f"{self.rows:,}", self.epochs)
        self._passes, self._timed = passes, False

    def value(self, number: int, epochs: int | None) -> float:
        """Trains a recipe and returns its best validation metric so far, with its sign such that
        larger is better; -inf where the training diverges.

        Args:
          number: Number of the recipe.
          epochs: Number of the epoch up to which it is trained. None: to its end.
        """
        trainer, start = self._trainers[number], time.perf_counter()
        history, marker = self._history(trainer), RecipePaths(trainer.work_dir).diverged
        before = len(history)
        if self._job.config.progress:
            print(f"[{number + 1}/{len(self.changes)}] {self._in_words(number)}", flush=True)
        if not (trainer.is_done("model") or (epochs is not None and before >= epochs)):
            try:
                if os.path.exists(marker):
                    raise DivergedError
                history = trainer.fit(
                    trainer.build(self._job.space), "model", FitPlan(pause=epochs)
                )
            except DivergedError:
                if number == 0:
                    raise
                _logger.info(
                    "tune: %s is left out: its loss is no number any more", self._in_words(number)
                )
                write_json(marker, True)
                self._values[number] = -math.inf
                return -math.inf
        # A training that was there already may have gone further, and is judged as it was then.
        seen = history[:epochs]
        best = self._best(trainer, seen)[self._metric]
        _logger.info(
            "tune: %s: validation %s %.4f in %d epochs",
            self._in_words(number),
            self._metric,
            best,
            len(seen),
        )
        if not self._timed and len(history) > before:  # the first that was not there already
            self._timed, each = True, (time.perf_counter() - start) / (len(history) - before)
            _logger.info(
                "tune: an epoch of this one takes %.3g s, %d of them %.3g minutes",
                each,
                self._passes,
                each * self._passes / 60,
            )
        self._values[number] = trainer.task.directions[self._metric] * best
        return self._values[number]

    def place(self, number: int) -> tuple[bool, float]:
        """The key by which recipes are sorted, the best first: those trained to their end, then by
        value."""
        return not self._trainers[number].is_done("model"), -self._values[number]

    def record(self, number: int) -> dict[str, Any]:
        """The record of a recipe (see `tune_recipes`)."""
        trainer = self._trainers[number]
        history, diverged = self._history(trainer), self._values[number] == -math.inf
        best = {} if diverged else self._best(trainer, history)
        return {
            "changes": self.changes[number],
            "model": self._spec(number),
            "settings": {key: getattr(trainer.options, key) for key in RULE},
            "finished": trainer.is_done("model"),
            "diverged": diverged,
            "epochs": len(history),
            "metrics": {
                key: value for key, value in best.items() if key in trainer.task.directions
            },
            "seconds": fit_seconds(trainer.work_dir),
        }

    def _best(self, trainer: Trainer, history: list[dict[str, float]]) -> dict[str, float]:
        """The record of the epoch whose weights a training with this history ends with."""
        if not self._rule.patience:
            return history[-1]
        return max(
            history, key=lambda record: trainer.task.directions[self._metric] * record[self._metric]
        )

    @staticmethod
    def _history(trainer: Trainer) -> list[dict[str, float]]:
        return [record for state in fit_states(trainer.work_dir) for record in state["history"]]

    def _in_words(self, number: int) -> str:
        changes = ", ".join(f"{key} {value}" for key, value in self.changes[number].items())
        return changes or "the rule's recipe"

    def _spec(self, number: int) -> str:
        changes = self.changes[number]
        return str(
            self._model.replace(dropout=changes[DROPOUT]) if DROPOUT in changes else self._model
        )

    def _trainer(self, number: int) -> Trainer:
        changes = {key: value for key, value in self.changes[number].items() if key != DROPOUT}
        job, options = self._job, dataclasses.replace(self._rule, **changes)
        settings = [
            dataclasses.asdict(options),
            self._spec(number),
            job.config.width,
            job.config.seed,
            job.schema.fingerprint,
            job.config.task,
        ]
        base = MODELS.build(self._spec(number))
        recipe = job.paths.tune.recipe(digest(settings))
        folder = os.path.relpath(recipe.root, job.config.model_dir)
        return job.tuning_trainer(folder, base, options)


def _flagfile(records: list[dict[str, Any]], job: JobConfig) -> str:
    """The text of a flagfile with the settings of the best recipe, and in a comment how it was
    chosen.

    Args:
      records: The records of all recipes, the best first.
      job: The job's settings.
    """
    best, metric = records[0], job.train.metric
    rule = next(record for record in records if not record["changes"])
    figures = f"{best['metrics'][metric]:.4f}; the rule's own: {rule['metrics'][metric]:.4f}"
    lines = [
        f"# The best of {len(records)} recipes by `tune`, seed {job.seed}, width {job.width}: "
        f"validation {metric} {figures}.",
        f"--{'retrain_model' if job.retrain_model else 'model'}={best['model']}",
        *(f"--{key}={best['settings'][key]}" for key in RULE),
        f"--metric={metric}",
    ]
    return "\n".join(lines) + "\n"
