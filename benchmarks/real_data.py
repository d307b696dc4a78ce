"""AUC and log loss against embedding parameters on real logs: i-Razor, uniform widths, magnitude
and random, over seeds.

    python -m benchmarks.real_data --out=DIR --logs=FOLDER [--sets=criteo,frappe,movielens]
    [--seeds=1,2,3] [--split_seed=N] \\
        [--validation_only]

Every trained point is kept under DIR, so a run that was stopped goes on where it was; the tables
are printed at the end and written to DIR/<set>.json (DIR/<set>-validation.json). Settings are
chosen on the validation split, with --validation_only, which leaves the test split unread."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

from absl import app, flags, logging

from benchmarks.common import (
    FORMER,
    Experiment,
    Points,
    mean_and_spread,
    over_common_budgets,
    table,
)
from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.config.files import write_json

WIDTHS = (1, 2, 4, 8, 16, 30)
ADAM = "alpha_optimizer='adam(learning_rate=0.01)'"
# a search of few epochs needs larger steps than a long training
FAST = "weights_optimizer='adam(learning_rate=2e-3)'"


def on_movielens(candidates: tuple[int, ...], penalty: float) -> str:
    """A search of few epochs without batch norm, alpha resting in the first."""
    return (
        f"irazor(candidates={candidates}, penalty={penalty}, warmup=1, {FAST}, {ADAM}, "
        "normalize=False, sweep=())"
    )


EXPERIMENTS = {
    "criteo": Experiment(
        data=PreprocessOptions(
            reader="criteo", input=("criteo/dac_sample_rows_0_79999.tsv.gz",), min_count=4
        ),
        model="mlp(hidden=(400,400,400))",
        train=dataclasses.replace(
            FORMER,
            batch_size=1024,
            bias_optimizer="ftrl(learning_rate=0.02)",
            network_optimizer="adagrad(learning_rate=0.02, initial_accumulator_value=1e-8)",
            embedding_l2=0.1,
            epochs=6,
            patience=1,
        ),
        width=16,
        methods={
            "one-level, lambda 1": "irazor(temperature=0.2, penalty=1.0, epochs=1, sweep=(0.5, "
            "0.8, 0.9))",
            "one-level, lambda .1": "irazor(temperature=0.05, penalty=0.1, epochs=1, sweep=(0.8,))",
            "held-out, lambda .01": "irazor(temperature=0.05, penalty=0.01, epochs=1, "
            "held_out=0.25, sweep=(0.4, 0.6))",
        },
    ),
    "frappe": Experiment(
        data=PreprocessOptions(
            reader="libfm(names=('user', 'item', 'daytime', 'weekday', 'isweekend', 'homework', "
            "'cost', 'weather', 'country', 'city'))",
            input=("frappe/frappe.validation.libfm.gz",),
            test_input=("frappe/frappe.test.libfm.gz",),
            fractions=(0.9, 0.1, 0.0),
            min_count=1,
        ),
        model="mlp(hidden=(400,400,400), dropout=0.5)",
        train=dataclasses.replace(
            FORMER,
            batch_size=1024,
            bias_optimizer="ftrl(learning_rate=0.02)",
            network_optimizer="adam(learning_rate=2e-3)",
            epochs=13,
            patience=13,
            stddev=0.1,
        ),
        width=30,
        methods={
            "lambda .002": "irazor(temperature=0.05, penalty=2e-3, warmup=1, epochs=4, "
            "sweep=(0.6,))",
            "lambda .001": "irazor(temperature=0.05, penalty=1e-3, warmup=1, epochs=4, sweep=(0.4, "
            "0.7))",
            "lambda .001, Adam": f"irazor(temperature=0.05, penalty=1e-3, warmup=1, {ADAM}, "
            "sweep=(0.4, 0.6))",
            "lambda .001, steps of 5": "irazor(candidates=(0,5,10,15,20,25,30), penalty=1e-3, "
            "warmup=1, epochs=4, sweep=())",
            "lambda .0001, no batch norm": "irazor(temperature=0.05, penalty=1e-4, epochs=2, "
            f"{ADAM}, normalize=False, sweep=(0.4,))",
        },
        budgets={
            "lambda .001": (79_320,),
            "lambda .001, steps of 5": (79_320,),
        },  # half of width 30
    ),
    "movielens": Experiment(
        data=PreprocessOptions(reader="movielens", input=("ml-1m/ratings.dat.gz",), min_count=1),
        model="mlp(hidden=(400,400,400), dropout=0.2)",
        train=dataclasses.replace(
            FORMER,
            batch_size=2048,
            bias_optimizer="ftrl(learning_rate=0.02)",
            network_optimizer="adam(learning_rate=5e-4)",
            epochs=15,
            patience=2,
        ),
        width=16,
        methods={
            # regions of equal size, but for the last column: with unequal ones the small regions
            # stay (docs/tuning_log.md)
            label: on_movielens((0, 5, 10, 15, 16), penalty)
            for label, penalty in (("lambda .0006", 6e-4), ("lambda .0003", 3e-4))
        },
        budgets={
            "lambda .0006": (54_336, 81_504),
            "lambda .0003": (108_672,),
        },  # a half, three quarters and all of width 8
        seeds=(1, 2),
    ),
}


def run_seed(
    experiment: Experiment, folder: str, logs: str, seed: int, test: bool
) -> list[dict[str, Any]]:
    """Trains and evaluates every point of one seed; picks up what is there."""
    points = Points(experiment, experiment.located(logs), folder, seed)
    sizes = []
    for name, spec in experiment.methods.items():
        sizes += points.add_sweep("i-Razor", spec, f"{name}, ")
        for budget in experiment.budgets.get(name, ()):
            label = f"{name}, at most {budget:,}"
            sizes.append(
                (label, points.add("i-Razor", label, spec, budget).num_params(points.schema))
            )
    points.add_widths(WIDTHS)
    points.add_controls(sizes)
    return points.run(test=test)


def main(_: list[str]) -> None:
    """Runs the chosen sets and seeds and prints a table per set."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    for name in given.sets:
        if name not in EXPERIMENTS:
            raise ValueError(
                f"--sets should be some of {', '.join(EXPERIMENTS)}. Received: {name!r}"
            )
        experiment = EXPERIMENTS[name]
        if given.split_seed is not None:
            experiment = dataclasses.replace(
                experiment, data=dataclasses.replace(experiment.data, seed=given.split_seed)
            )
        records = []
        start = time.perf_counter()
        for seed in [int(seed) for seed in given.seeds] or experiment.seeds:
            print(f"{name}, seed {seed}", flush=True)
            records += run_seed(
                experiment,
                os.path.join(given.out, name),
                given.logs,
                seed,
                not given.validation_only,
            )
        write_json(
            os.path.join(given.out, f"{name}{'-validation' if given.validation_only else ''}.json"),
            records,
        )
        print(
            f"\n{name}: {(time.perf_counter() - start) / 60:.1f} min\n{table(records)}\n",
            flush=True,
        )
        for metric in ("valid_auc",) if given.validation_only else ("valid_auc", "auc"):
            means = over_common_budgets(records, metric)
            print(
                f"mean {metric} over the common budgets: "
                + ", ".join(f"{k} {mean_and_spread(v)}" for k, v in means.items()),
                flush=True,
            )


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string(
        "logs", None, "Folder of the logs (criteo/, frappe/, ml-1m/).", required=True
    )
    flags.DEFINE_list("sets", list(EXPERIMENTS), "Which data sets.")
    flags.DEFINE_list("seeds", [], "Which seeds; default: three, for MovieLens two.")
    flags.DEFINE_bool(
        "validation_only", False, "Leave the test split unread: for choosing settings."
    )
    flags.DEFINE_integer(
        "split_seed", None, "Another random split than the default one; takes another --out."
    )
    app.run(main)
