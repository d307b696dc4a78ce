"""What i-Razor keeps on the planted log, whose truth is known, over seeds; AUC beside uniform widths, magnitude and the ceiling.

    python -m benchmarks.planted --out=DIR [--seeds=1,2,3,4,5] [--rows=200000]

Resumable: every trained model stays under DIR.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from absl import app, flags, logging
from sklearn.metrics import roc_auc_score

from data_pipelines import planted
from data_pipelines.preprocess import PreprocessOptions
from irazor_tf import jobs
from irazor_tf.candidates import Candidate, Role
from irazor_tf.input_config import InputConfig, read_json, write_json
from irazor_tf.method import METHODS
from irazor_tf.tables import text_table
from irazor_tf.trainer import TrainOptions

MODEL = "mlp(hidden=(128,64))"
WIDTH = 8
TRAIN = TrainOptions(
    batch_size=1024,
    network_optimizer="adagrad(learning_rate=0.05, initial_accumulator_value=1e-8)",
    epochs=6,
    patience=2,
)
SEARCHES = {
    "i-Razor": "irazor(temperature=0.05, penalty=0.01, cpt=0.4)",
    "i-Razor, held-out": "irazor(temperature=0.05, penalty=0.01, cpt=0.4, held_out=0.25)",
}


def run_seed(out: str, rows: int, seed: int) -> list[dict[str, Any]]:
    """All models of one seed, trained or picked up."""
    job = jobs.JobConfig(
        model_dir=os.path.join(out, f"seed-{seed}"),
        data_dir=os.path.join(out, "data"),
        data=PreprocessOptions(reader=f"planted(rows={rows})"),
        model=MODEL,
        method="fde",
        width=WIDTH,
        train=TRAIN,
        seed=seed,
        progress=False,
    )
    schema = jobs.preprocess(job)
    trainer = jobs.trainer_of(job, schema)
    space = InputConfig.uniform(schema, WIDTH)
    candidates = []
    for name, spec in SEARCHES.items():
        method = METHODS.build(spec)
        result, _ = jobs.search_with(trainer, method, space)
        candidates.append(Candidate(Role.FOUND, name, result, jobs.search_folder_of(method, space)))
    size = candidates[0].num_params(schema)
    magnitude, random = METHODS.build("magnitude"), METHODS.build("random")
    for label, method, budget in (("magnitude, i-Razor's size", magnitude, size), ("random, i-Razor's size", random, size)):
        result, _ = jobs.search_with(trainer, method, space, budget)
        candidates.append(Candidate(Role.CONTROL, label, result, jobs.search_folder_of(method, space)))
    for label, method in METHODS.build("fde(sweep=(1, 2, 4, 8))").sweep():
        result, _ = jobs.search_with(trainer, method, space)
        candidates.append(Candidate(Role.CONTROL, f"uniform {label}", result, jobs.search_folder_of(method, space)))
    records = []
    for candidate in candidates:
        jobs.train_candidate(job, schema, candidate)
        record = jobs.evaluate_candidate(job, schema, candidate)
        dims = record["field_dims"][0]
        record["strong_kept"] = sum(dims[name] > 0 for name in planted.STRONG)
        record["noise_kept"] = [name for name in planted.NOISE if dims[name]]
        scores = os.path.join(job.model_dir, candidate.search_folder, "scores.json")
        record["separation"] = None
        if os.path.exists(scores):
            found = read_json(scores)[0]
            names = [*planted.STRONG, *planted.NOISE]
            record["separation"] = float(roc_auc_score([name in planted.STRONG for name in names], [found[name] for name in names]))
        records.append(record)
    return records


def main(_: list[str]) -> None:
    """Runs the seeds, prints two tables: what was kept, and how good it is."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    seeds = [int(seed) for seed in given.seeds]
    records = {seed: run_seed(given.out, given.rows, seed) for seed in seeds}
    write_json(os.path.join(given.out, "planted.json"), list(records.values()))
    with open(os.path.join(given.out, "data", "log", "truth.json"), encoding="utf-8") as file:
        ceiling = json.load(file)["ceiling_auc"]
    fields = planted.FIELDS
    kept = []
    for seed in seeds:
        for record in records[seed]:
            if record["name"] in SEARCHES:
                dims = record["field_dims"][0]
                kept.append((f"{record['name']}, seed {seed}", *(str(dims[name]) for name in fields), f"{record['separation']:.2f}"))
    print(text_table(("width of", *fields, "separation"), kept))
    rows = []
    for i, first in enumerate(records[seeds[0]]):
        same = [records[seed][i] for seed in seeds]

        def cell(key: str, same: list[dict[str, Any]] = same) -> str:
            values = [record[key] for record in same]
            return f"{np.mean(values):.4f} ({np.std(values, ddof=1) if len(values) > 1 else 0:.4f})"

        strong = "/".join(str(record["strong_kept"]) for record in same)
        dropped = sum(not {"noise_high", "noise_id"} & set(record["noise_kept"]) for record in same)
        params = f"{np.mean([record['params'] for record in same]):,.0f}"
        rows.append((first["name"], cell("valid_auc"), cell("auc"), cell("log_loss"), params, strong, f"{dropped} of {len(seeds)}"))
    header = ("model", "valid AUC", "test AUC", "test log loss", "params", "strong kept of 6, by seed", "both large noise fields dropped")
    print(f"\n{text_table(header, rows)}\nceiling of the true logit: AUC {ceiling:.4f}")


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_list("seeds", ["1", "2", "3", "4", "5"], "Seeds of training.")
    flags.DEFINE_integer("rows", planted.ROWS, "Rows of the log.")
    app.run(main)
