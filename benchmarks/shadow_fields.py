"""Known noise: every field of a real log beside a row-shuffled copy of itself. Which does i-Razor
keep, and what does that win back?

    python -m benchmarks.shadow_fields --out=DIR --logs=FOLDER [--sets=criteo,movielens]
    [--seeds=1,2,3] [--validation_only]

Resumable. Two tables: real and shadow fields kept at every threshold; AUC of some of these configs,
beside the uniform model with and without the shadows."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import numpy as np
from absl import app, flags, logging
from sklearn.metrics import roc_auc_score

from benchmarks.common import Experiment, Points, mean_and_spread, table
from benchmarks.real_data import ADAM, EXPERIMENTS
from irazor_tf.config.files import write_json
from irazor_tf.report.tables import text_table
from irazor_tf.search.method import METHODS

# Label -> a search and which of its thresholds are retrained.
SEARCHES: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "criteo": {
        "one-level": ("irazor(temperature=0.05, penalty=1e-3)", ("cpt=0.2",)),
        "held-out": (
            f"irazor(temperature=0.05, penalty=1e-3, held_out=0.25, {ADAM})",
            ("cpt=0.2",),
        ),
        "one-level, no batch norm": (
            f"irazor(temperature=0.05, penalty=1e-3, {ADAM}, normalize=False)",
            ("cpt=0.2",),
        ),
        "held-out, no batch norm": (
            f"irazor(temperature=0.05, penalty=1e-3, held_out=0.25, {ADAM}, normalize=False)",
            ("cpt=0.2", "cpt=0.4"),
        ),
    },
    "movielens": {
        "one-level": (f"irazor(temperature=0.05, penalty=1e-4, warmup=1, {ADAM})", ("cpt=0.2",)),
        "held-out": (
            f"irazor(temperature=0.05, penalty=1e-4, held_out=0.25, {ADAM})",
            ("cpt=0.4",),
        ),
        "one-level, no batch norm": (
            f"irazor(temperature=0.05, penalty=3e-5, epochs=2, {ADAM}, normalize=False)",
            ("cpt=0.8",),
        ),
        "held-out, no batch norm": (
            f"irazor(temperature=0.05, penalty=1e-4, held_out=0.25, {ADAM}, normalize=False)",
            (),
        ),
    },
}

# The recipes of benchmarks.real_data, but for MovieLens-1M a shorter one: three seeds, twice the
# fields.
RECIPES = EXPERIMENTS | {
    "movielens": dataclasses.replace(
        EXPERIMENTS["movielens"],
        model="mlp(hidden=(400,400,400))",
        train=dataclasses.replace(
            EXPERIMENTS["movielens"].train, network_optimizer="adam(learning_rate=2e-3)", epochs=8
        ),
    )
}


def run_seed(
    name: str, experiment: Experiment, out: str, logs: str, seed: int, test: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One seed: what every search keeps at every threshold, and the trained points."""
    data = experiment.located(logs)
    folder = os.path.join(out, "shadow_fields", name)
    plain = Points(experiment, data, os.path.join(folder, "without"), seed)
    plain.add("uniform", "without shadows", "fde")
    points = Points(
        experiment,
        dataclasses.replace(data, shadow_fields=True),
        os.path.join(folder, "with"),
        seed,
    )
    points.add("uniform", "with shadows", "fde")
    shadow = np.array([field.role == "shadow" for field in points.schema.fields])
    kept = []
    for label, (spec, trained) in SEARCHES[name].items():
        for setting, method in METHODS.build(spec).sweep(points.space):
            candidate = points.add(f"i-Razor {label}", setting, method, train=setting in trained)
            dims = candidate.result.config.dims
            is_kept = np.array([dims[field] > 0 for field in points.schema.names])
            row = {
                "search": label,
                "setting": setting,
                "real": int(is_kept[~shadow].sum()),
                "shadow": int(is_kept[shadow].sum()),
            }
            scores = points.scores(spec)
            separation = float(
                roc_auc_score(~shadow, [scores[field] for field in points.schema.names])
            )
            kept.append(
                row
                | {
                    "seed": seed,
                    "params": candidate.num_params(points.schema),
                    "separation": separation,
                }
            )
    return kept, plain.run(test=test) + points.run(test=test)


def kept_table(rows: list[dict[str, Any]]) -> str:
    """Fields kept and separation per search and threshold, by seed."""
    lines = []
    for key in dict.fromkeys((row["search"], row["setting"]) for row in rows):
        same = [row for row in rows if (row["search"], row["setting"]) == key]
        fields, sizes = (
            " ".join(f"{row['real']}/{row['shadow']}" for row in same),
            " ".join(f"{row['params']:,}" for row in same),
        )
        lines.append((*key, mean_and_spread([row["separation"] for row in same], 3), fields, sizes))
    return text_table(
        ("search", "threshold", "separation", "real/shadow kept, by seed", "params, by seed"), lines
    )


def main(_: list[str]) -> None:
    """Runs the chosen sets and seeds and prints the tables of each set."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    for name in given.sets:
        if name not in SEARCHES:
            raise ValueError(f"--sets should be some of {', '.join(SEARCHES)}. Received: {name!r}")
        kept, records, suffix = [], [], "-validation" if given.validation_only else ""
        start = time.perf_counter()
        for seed in map(int, given.seeds):
            print(f"{name}, seed {seed}", flush=True)
            is_kept = run_seed(
                name, RECIPES[name], given.out, given.logs, seed, not given.validation_only
            )
            kept += is_kept[0]
            records += is_kept[1]
        path = os.path.join(given.out, f"{name}-shadows{suffix}.json")
        write_json(path, {"kept": kept, "records": records})
        minutes = (time.perf_counter() - start) / 60
        for label, (spec, _) in SEARCHES[name].items():
            print(f"{label}: {spec}")
        print(f"\n{name}: {minutes:.1f} min\n{kept_table(kept)}\n\n{table(records)}", flush=True)


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string("logs", None, "Folder of the logs (criteo/, ml-1m/).", required=True)
    flags.DEFINE_list("sets", list(SEARCHES), "Which data sets.")
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Seeds of training.")
    flags.DEFINE_bool(
        "validation_only", False, "Leave the test split unread: for choosing settings."
    )
    app.run(main)
