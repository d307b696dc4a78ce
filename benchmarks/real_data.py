"""AUC and log loss against embedding parameters on real logs: i-Razor, uniform widths, magnitude and random, over seeds.

    python -m benchmarks.real_data --out=DIR --shared=PATH_TO_LOGS [--sets=criteo,frappe,movielens] [--seeds=1,2,3]

Every trained point is kept under DIR, so a run that was stopped goes on where it was; the tables are printed at the end and written to
DIR/<set>.json. Settings are chosen on the validation split; the test split is read for the tables alone.
"""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import numpy as np
from absl import app, flags, logging

from data_pipelines.preprocess import PreprocessOptions
from irazor_tf import jobs
from irazor_tf.candidates import Candidate, Role
from irazor_tf.input_config import InputConfig, write_json
from irazor_tf.method import METHODS
from irazor_tf.tables import text_table
from irazor_tf.trainer import TrainOptions


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One data set.

    Args:
      data: how its log is read, paths relative to the folder of logs.
      model: base model.
      train: training settings.
      width: of the search space.
      methods: label -> spec of a search; every threshold of its sweep is a point.
      seeds: default seeds.
    """

    data: PreprocessOptions
    model: str
    train: TrainOptions
    width: int
    methods: dict[str, str]
    seeds: tuple[int, ...] = (1, 2, 3)


EXPERIMENTS = {
    "criteo": Experiment(
        data=PreprocessOptions(reader="criteo", input=("criteo/dac_sample_rows_0_79999.tsv.gz",), min_count=4),
        model="mlp(hidden=(400,400,400))",
        train=TrainOptions(
            batch_size=1024,
            bias_optimizer="ftrl(learning_rate=0.02)",
            network_optimizer="adagrad(learning_rate=0.02, initial_accumulator_value=1e-8)",
            embedding_l2=0.1,
            epochs=6,
            patience=1,
        ),
        width=16,
        methods={
            "one-level, lambda 1": "irazor(temperature=0.2, penalty=1.0, epochs=1, sweep=(0.5, 0.8))",
            "one-level, lambda .1": "irazor(temperature=0.05, penalty=0.1, epochs=1, sweep=(0.4, 0.8))",
            "held-out, lambda .01": "irazor(temperature=0.05, penalty=0.01, epochs=1, held_out=0.25, sweep=(0.4, 0.8))",
        },
    ),
    "frappe": Experiment(
        data=PreprocessOptions(
            reader="libfm(names=('user', 'item', 'daytime', 'weekday', 'isweekend', 'homework', 'cost', 'weather', 'country', 'city'))",
            input=("frappe/frappe.validation.libfm.gz",),
            test_input=("frappe/frappe.test.libfm.gz",),
            fractions=(0.9, 0.1, 0.0),
        ),
        model="mlp(hidden=(400,400,400), dropout=0.5)",
        train=TrainOptions(
            batch_size=1024,
            bias_optimizer="ftrl(learning_rate=0.02)",
            network_optimizer="adam(learning_rate=2e-3)",
            epochs=13,
            patience=13,
        ),
        width=30,
        methods={
            "one-level, lambda .01": "irazor(temperature=0.05, penalty=0.01, epochs=2, sweep=(0.4, 0.7))",
            "warm-up, lambda .001": "irazor(temperature=0.05, penalty=1e-3, warmup=1, epochs=2, sweep=(0.4, 0.6, 0.8))",
        },
    ),
    "movielens": Experiment(
        data=PreprocessOptions(reader="movielens", input=("ml-1m/ratings.dat.gz",)),
        model="mlp(hidden=(400,400,400))",
        train=TrainOptions(
            batch_size=2048,
            bias_optimizer="ftrl(learning_rate=0.02)",
            network_optimizer="adam(learning_rate=2e-3)",
            epochs=8,
            patience=2,
        ),
        width=16,
        methods={
            "warm-up, lambda .001": (
                "irazor(temperature=0.05, penalty=1e-3, warmup=1, alpha_optimizer='adam(learning_rate=0.01)', sweep=(0.4, 0.6, 0.8))"
            )
        },
        seeds=(1, 2),
    ),
}


def run_seed(experiment: Experiment, folder: str, shared: str, seed: int, progress: bool) -> list[dict[str, Any]]:
    """Trains and evaluates every point of one seed; picks up what is there."""
    data = experiment.data
    inputs, tests = (tuple(os.path.join(shared, path) for path in paths) for paths in (data.input, data.test_input))
    job = jobs.JobConfig(
        model_dir=os.path.join(folder, f"seed-{seed}"),
        data=dataclasses.replace(data, input=inputs, test_input=tests),
        data_dir=os.path.join(folder, "data"),
        model=experiment.model,
        width=experiment.width,
        train=experiment.train,
        seed=seed,
        method="fde",
        controls=(),
        progress=False,
    )
    schema = jobs.preprocess(job)
    trainer = jobs.trainer_of(job, schema)
    space = InputConfig.uniform(schema, experiment.width)
    points: list[tuple[str, str, Candidate]] = []  # series, label, candidate

    def add(series: str, label: str, spec: str | Any, budget: int | None = None, supernet: Any = None) -> tuple[Candidate, Any]:
        method = METHODS.build(spec) if isinstance(spec, str) else spec
        result, supernet = jobs.search_with(trainer, method, space, budget, supernet)
        candidate = Candidate(Role.CURVE, f"{series} {label}", result, jobs.search_folder_of(method, space))
        points.append((series, label, candidate))
        return candidate, supernet

    for name, spec in experiment.methods.items():
        supernet = None
        for label, method in METHODS.build(spec).sweep():
            _, supernet = add("i-Razor", f"{name}, {label}", method, None, supernet)
    found = list(points)
    for label, method in METHODS.build("fde").sweep():
        if method.params.dim <= experiment.width:
            add("uniform", label, method)
    for control in ("magnitude", "random"):
        supernet = None
        for _, label, candidate in found:
            _, supernet = add(control, f"at {label}", control, candidate.num_params(schema), supernet)
    records = []
    for number, (series, label, candidate) in enumerate(points):
        start = time.perf_counter()
        jobs.train_candidate(job, schema, candidate)
        record = jobs.evaluate_candidate(job, schema, candidate) | {"series": series, "label": label}
        records.append(record)
        if progress:
            found_text = f"{record['params']:>9,} valid {record['valid_auc']:.4f} test {record['auc']:.4f}"
            print(f"  [{number + 1}/{len(points)}] {series} {label}: {found_text}  {time.perf_counter() - start:.0f} s", flush=True)
    return records


def table(records: list[dict[str, Any]]) -> str:
    """Mean and spread over seeds per point, in the order of the runs."""
    rows = []
    for series, label in dict.fromkeys((record["series"], record["label"]) for record in records):
        same = [record for record in records if (record["series"], record["label"]) == (series, label)]

        def cell(key: str, digits: int = 4, same: list[dict[str, Any]] = same) -> str:
            values = [record[key] for record in same]
            spread = f" ({np.std(values, ddof=1):.{digits}f})" if len(values) > 1 else ""
            return f"{np.mean(values):.{digits}f}{spread}"

        params = f"{np.mean([record['params'] for record in same]):,.0f}"
        fields = f"{np.mean([record['fields'] for record in same]):.1f}"
        rows.append((f"{series} {label}", params, fields, cell("valid_auc"), cell("valid_log_loss"), cell("auc"), cell("log_loss")))
    return text_table(("point", "params", "fields", "valid AUC", "valid log loss", "test AUC", "test log loss"), rows)


def main(_: list[str]) -> None:
    """Runs the chosen sets and seeds and prints a table per set."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    for name in given.sets:
        if name not in EXPERIMENTS:
            raise ValueError(f"--sets should be some of {', '.join(EXPERIMENTS)}. Received: {name!r}")
        experiment = EXPERIMENTS[name]
        folder = os.path.join(given.out, name)
        records = []
        start = time.perf_counter()
        for seed in [int(seed) for seed in given.seeds] or experiment.seeds:
            print(f"{name}, seed {seed}", flush=True)
            records += run_seed(experiment, folder, given.shared, seed, True)
        write_json(os.path.join(given.out, f"{name}.json"), records)
        print(f"\n{name}: {(time.perf_counter() - start) / 60:.1f} min\n{table(records)}\n", flush=True)


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string("shared", None, "Folder of the logs (criteo/, frappe/, ml-1m/).", required=True)
    flags.DEFINE_list("sets", list(EXPERIMENTS), "Which data sets.")
    flags.DEFINE_list("seeds", [], "Which seeds; default: three, for MovieLens two.")
    app.run(main)
