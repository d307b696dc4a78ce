"""What the quality benchmarks share: points trained on one data set with one seed, resumable, and
tables over seeds."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.config.files import read_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import Role
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec
from irazor_tf.jobs import figures
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.config import JobConfig
from irazor_tf.jobs.job import Job
from irazor_tf.model.recommender import Recommender
from irazor_tf.report.tables import text_table
from irazor_tf.search.method import METHODS, Search, SearchMethod
from irazor_tf.search.run import run_search, search_folder
from irazor_tf.training.options import TrainOptions

# What the tables of docs/results.md were trained with where an experiment says nothing else: the
# defaults before there was "auto".
FORMER = TrainOptions(
    batch_size=1024,
    epochs=10,
    patience=2,
    metric="auc",
    bias_optimizer="ftrl(learning_rate=0.01)",
    network_optimizer="adagrad(learning_rate=0.02, initial_accumulator_value=1e-8)",
    embedding_l2=0.0,
    embedding_ridge=0.0,
    linear_ridge=0.0,
    search_steps=0,
)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One data set and how models are trained on it.

    Args:
      data: how its log is read, paths relative to the folder of logs.
      model: base model.
      train: training settings.
      width: of the search space.
      methods: label -> spec of a search; every threshold of its sweep is a point.
      budgets: label of a search -> parameters; the widest config of that size is a point too.
      seeds: default seeds.
    """

    data: PreprocessOptions
    model: str
    train: TrainOptions
    width: int
    methods: dict[str, str] = dataclasses.field(default_factory=dict)
    budgets: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (1, 2, 3)

    def located(self, folder: str) -> PreprocessOptions:
        """`data` with its paths under `folder`."""
        data = self.data
        inputs, tests = (
            tuple(os.path.join(folder, path) for path in paths)
            for paths in (data.input, data.test_input)
        )
        return dataclasses.replace(data, input=inputs, test_input=tests)


class Points:
    """Points of one experiment and seed: added, then trained and evaluated; what is on disk is
    picked up.

    Args:
      experiment: the data set.
      data: its log.
      folder: everything goes here; the records are shared by the seeds.
      seed: of training.
    """

    def __init__(self, experiment: Experiment, data: PreprocessOptions, folder: str, seed: int):
        self.job = JobConfig(
            model_dir=os.path.join(folder, f"seed-{seed}"),
            data_dir=os.path.join(folder, "data"),
            data=data,
            model=experiment.model,
            method="fde",
            width=experiment.width,
            train=experiment.train,
            seed=seed,
            baselines=(),
            progress=False,
        )
        self.schema = jobs.preprocess(self.job)
        self.work = Job(self.job)
        self.space = self.work.space
        self._searches: dict[str, Search] = {}
        self._points: list[tuple[str, str, Candidate]] = []

    def add(
        self,
        series: str,
        label: str,
        spec: str | SearchMethod,
        budget: int | None = None,
        *,
        train: bool = True,
    ) -> Candidate:
        """Searches (once per supernet) and notes the derived config as a point, unless `train` is
        off or it keeps no field."""
        method = METHODS.build(spec) if isinstance(spec, str) else spec
        folder = search_folder(method, self.space)
        outcome = run_search(
            self.work.trainer, method, self.space, budget, self._searches.get(folder)
        )
        self._searches[folder] = outcome.search
        candidate = Candidate(Role.CURVE, f"{series} {label}", outcome.result, folder)
        if train and not all(config.num_fields for config in candidate.result.clusters):
            print(f"  {series} {label} keeps no field: no point")
        elif train:
            self._points.append((series, label, candidate))
        return candidate

    def add_sweep(self, series: str, spec: str, prefix: str = "") -> list[tuple[str, int]]:
        """One point per setting that one search of `spec` serves: their labels and sizes."""
        added = []
        for label, method in METHODS.build(spec).sweep(self.space):
            candidate = self.add(series, prefix + label, method)
            if all(config.num_fields for config in candidate.result.clusters):
                added.append((prefix + label, candidate.num_params(self.schema)))
        return added

    def add_widths(self, widths: Sequence[int]) -> None:
        """Uniform models, whatever the width of the space."""
        for width in widths:
            result = SearchResult(
                (InputConfig.uniform(self.schema, width),), Spec("fde", (("dim", width),))
            )
            self._points.append(
                ("uniform", f"dim={width}", Candidate(Role.CURVE, f"uniform dim={width}", result))
            )

    def add_controls(self, sizes: Sequence[tuple[str, int]]) -> None:
        """Magnitude and random at these sizes."""
        for control in ("magnitude", "random"):
            for label, size in sizes:
                self.add(control, f"at {label}", control, size)

    def scores(self, spec: str) -> dict[str, float]:
        """What the finished search of `spec` thinks of every field."""
        return self._searched(spec)[0]

    def arrays(self, spec: str) -> dict[str, np.ndarray]:
        """The architecture that the finished search of `spec` has left, with a row per field."""
        return self._searched(spec)[1]

    def supernet(self, spec: str) -> Recommender:
        """The supernet of a search that `add` was told of."""
        return self._searches[search_folder(METHODS.build(spec), self.space)].model

    def _searched(self, spec: str) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        folder = search_folder(METHODS.build(spec), self.space)
        return read_json(os.path.join(self.job.model_dir, folder, "scores.json"))

    def run(self, *, test: bool = True) -> list[dict[str, Any]]:
        """Trains every point and evaluates it, on the test split too unless `test` is off."""
        records = []
        for number, (series, label, candidate) in enumerate(self._points):
            start = time.perf_counter()
            figures.train_candidate(self.work, candidate)
            if test:
                record = figures.evaluate_candidate(self.work, candidate)
            else:
                record = figures.describe_candidate(self.work, candidate)
            records.append(record | {"series": series, "label": label})
            quality = f"valid {record['valid_auc']:.4f}" + (
                f" test {record['auc']:.4f}" if test else ""
            )
            taken = time.perf_counter() - start
            print(
                f"  [{number + 1}/{len(self._points)}] {series} {label}: {record['params']:>9,} "
                f"{quality}  {taken:.0f} s",
                flush=True,
            )
        return records


def mean_and_spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean and, in brackets, sample standard deviation."""
    spread = f" ({np.std(values, ddof=1):.{digits}f})" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def table(records: Sequence[dict[str, Any]], extra: Sequence[str] = ()) -> str:
    """Mean and spread over seeds per point, in the order of the runs.

    Args:
      records: as `Points.run` returns them, of all seeds; without test metrics, their columns are
        left out.
      extra: further keys to show, as they came out for each seed.
    """
    rows = []
    seeds = len({record["seed"] for record in records})
    titles = {
        "valid_auc": "valid AUC",
        "valid_log_loss": "valid log loss",
        "auc": "test AUC",
        "log_loss": "test log loss",
    }
    shown = [key for key in titles if all(key in record for record in records)]
    for series, label in dict.fromkeys((record["series"], record["label"]) for record in records):
        same = [
            record for record in records if (record["series"], record["label"]) == (series, label)
        ]
        size = f"{np.mean([record['params'] for record in same]):,.0f}"
        fields = f"{np.mean([record['fields'] for record in same]):.1f}"
        metrics = [mean_and_spread([record[key] for record in same]) for key in shown]
        extras = ["/".join(str(record.get(key, "-")) for record in same) for key in extra]
        lacking = f" ({len(same)} of {seeds} seeds)" if len(same) < seeds else ""
        rows.append((f"{series} {label}{lacking}", size, fields, *metrics, *extras))
    header = ("point", "params", "fields", *(titles[key] for key in shown), *extra)
    return text_table(header, rows)


def over_common_budgets(
    records: Sequence[dict[str, Any]], metric: str = "auc"
) -> dict[str, list[float]]:
    """Series -> its mean metric over the budgets that all series reach, one value per seed.

    Every series is read at 16 budgets, evenly spaced in the logarithm of the parameters, on
    straight lines between its points (those of one size averaged)."""
    collected: dict[str, list[float]] = {}
    for seed in dict.fromkeys(record["seed"] for record in records):
        curves: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for series in dict.fromkeys(record["series"] for record in records):
            cells = [
                (record["params"], record[metric])
                for record in records
                if (record["seed"], record["series"]) == (seed, series)
            ]
            sizes = sorted({size for size, _ in cells})
            values = [np.mean([value for size, value in cells if size == at]) for at in sizes]
            curves[series] = (np.log(sizes), np.array(values))
        low, high = max(x[0] for x, _ in curves.values()), min(x[-1] for x, _ in curves.values())
        for series, (x, y) in curves.items():
            collected.setdefault(series, []).append(
                float(np.interp(np.linspace(low, high, 16), x, y).mean())
            )
    return collected
