"""Known noise: every field of a real log beside a row-shuffled copy of itself. Which does i-Razor keep, and what does that win back?

    python -m benchmarks.shadow_fields --out=DIR --logs=FOLDER [--sets=criteo,movielens] [--seeds=1,2,3] [--validation_only]

Resumable. For every point of the curve: real and shadow fields kept, AUC; beside it the uniform model with and without the shadows.
"""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import numpy as np
from absl import app, flags, logging
from sklearn.metrics import roc_auc_score

from benchmarks.common import Experiment, Points, mean_and_spread, table
from benchmarks.real_data import EXPERIMENTS
from irazor_tf.input_config import write_json

SEARCHES = {
    "criteo": {
        "one-level": "irazor(temperature=0.05, penalty=1e-3, epochs=1, sweep=(0.2, 0.4, 0.6, 0.8))",
        "held-out": (
            "irazor(temperature=0.05, penalty=1e-3, epochs=1, held_out=0.25, alpha_optimizer='adam(learning_rate=0.01)', "
            "sweep=(0.2, 0.4, 0.6, 0.8))"
        ),
    },
    "movielens": {
        "one-level": (
            "irazor(temperature=0.05, penalty=1e-3, warmup=1, alpha_optimizer='adam(learning_rate=0.01)', sweep=(0.2, 0.4, 0.6, 0.8))"
        ),
        "held-out": (
            "irazor(temperature=0.05, penalty=1e-3, held_out=0.25, alpha_optimizer='adam(learning_rate=0.01)', sweep=(0.2, 0.4, 0.6, 0.8))"
        ),
    },
}


def run_seed(name: str, experiment: Experiment, out: str, logs: str, seed: int, test: bool) -> list[dict[str, Any]]:
    """All points of one seed: the uniform model without and with shadows, then the curves of both searches."""
    data = experiment.located(logs)
    plain = Points(experiment, data, os.path.join(out, name, "plain"), seed)
    plain.add("uniform", "without shadows", "fde")
    points = Points(experiment, dataclasses.replace(data, shadow_fields=True), os.path.join(out, name, "shadows"), seed)
    points.add("uniform", "with shadows", "fde")
    separation = {}
    for label, spec in SEARCHES[name].items():
        points.add_sweep(f"i-Razor {label}", spec)
        scores = points.scores(spec)
        shadow = [field.role == "shadow" for field in points.schema.fields]
        separation[f"i-Razor {label}"] = float(roc_auc_score(~np.array(shadow), [scores[field] for field in points.schema.names]))
    records = plain.run(test=test) + points.run(test=test)
    shadows = {field.name for field in points.schema.fields if field.role == "shadow"}
    for record in records:
        kept = {field for field, dim in record["field_dims"][0].items() if dim}
        record["real"], record["shadow"] = len(kept - shadows), len(kept & shadows)
        record["separation"] = separation.get(record["series"])
    return records


def main(_: list[str]) -> None:
    """Runs the chosen sets and seeds and prints a table per set."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    for name in given.sets:
        records = []
        start = time.perf_counter()
        for seed in map(int, given.seeds):
            print(f"{name}, seed {seed}", flush=True)
            records += run_seed(name, EXPERIMENTS[name], given.out, given.logs, seed, not given.validation_only)
        write_json(os.path.join(given.out, f"{name}-shadows.json"), records)
        print(f"\n{name}: {(time.perf_counter() - start) / 60:.1f} min\n{table(records, ('real', 'shadow'))}")
        for series in SEARCHES[name]:
            values = {record["seed"]: record["separation"] for record in records if record["series"] == f"i-Razor {series}"}.values()
            print(f"separation of real from shadow fields, {series}: {mean_and_spread(list(values), 2)}")


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string("logs", None, "Folder of the logs (criteo/, ml-1m/).", required=True)
    flags.DEFINE_list("sets", list(SEARCHES), "Which data sets.")
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Seeds of training.")
    flags.DEFINE_bool("validation_only", False, "Leave the test split unread: for choosing settings.")
    app.run(main)
