"""What every method keeps on the planted log, whose truth is known, over seeds; AUC beside uniform
widths, controls and the ceiling.

    python -m benchmarks.planted --out=DIR [--seeds=1,2,3,4,5] [--searches=i-Razor,DNIS,...]
    [--rows=200000] [--min_count=1]
        [--model=SPEC] [--network_optimizer=SPEC] [--stddev=0.01]

Resumable: every trained model stays under DIR.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import numpy as np
from absl import app, flags, logging
from sklearn.metrics import roc_auc_score

from benchmarks.common import FORMER, Experiment, Points, mean_and_spread
from data_pipelines.generated import planted
from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.config.files import write_json
from irazor_tf.config.layout import JobPaths
from irazor_tf.report.tables import text_table
from irazor_tf.search.budget import BudgetError

WIDTH = 8
EXPERIMENT = Experiment(
    data=PreprocessOptions(reader="planted", min_count=1),
    model="mlp(hidden=(128,64))",
    train=dataclasses.replace(
        FORMER,
        batch_size=1024,
        network_optimizer="adagrad(learning_rate=0.05, initial_accumulator_value=1e-8)",
        epochs=6,
        patience=2,
    ),
    width=WIDTH,
    seeds=(1, 2, 3, 4, 5),
)
SEARCHES = {
    "i-Razor": "irazor(temperature=0.05, penalty=0.01, cpt=0.4)",
    "i-Razor, held-out": "irazor(temperature=0.05, penalty=0.01, cpt=0.4, held_out=0.25)",
    "DNIS": "dnis(compression=40.0)",
    "HAM": "ham(share=0.25)",
    "HAM, small logs": "ham(preset='small_log', share=0.25)",
    "SAM": "sam(share=0.25)",
    "SAM-GS": "sam_gs(share=0.25)",
    "SAM-GS, small logs": "sam_gs(preset='small_log', share=0.25)",
    "HAM-p": "ham_p(share=0.25)",
    "HAM-p, small logs": "ham_p(preset='small_log', share=0.25)",
    "SSEDS": "sseds(kappa=0.1)",
    "SSEDS, small logs": "sseds(preset='small_log', kappa=0.1)",
    "iHAS": "ihas()",
    "iHAS, small logs": "ihas(preset='small_log')",
}
CONTROLS = ("magnitude", "magnitude(per='entry')", "random")


def run_seed(
    experiment: Experiment, out: str, seed: int, searches: dict[str, str]
) -> list[dict[str, Any]]:
    """All models of one seed, trained or picked up."""
    points = Points(experiment, experiment.data, out, seed)
    size = points.add("i-Razor", "", SEARCHES["i-Razor"], train="i-Razor" in searches).num_params(
        points.schema
    )
    for name, spec in searches.items():
        if name != "i-Razor":
            try:
                points.add(name, "", spec)
            except BudgetError as error:
                print(f"  {name}: no point. {error}", flush=True)
    for control in CONTROLS if size else ():
        points.add(control, "at i-Razor's size", control, size)
    points.add_sweep("uniform", "fde(sweep=(1, 2, 4, 8))")
    records = points.run()
    for record in records:
        clusters = record["field_dims"]
        dims = {name: max(widths[name] for widths in clusters) for name in planted.FIELDS}
        dims_of_item = max(dims["item"], dims["item_copy"])  # one of the two is enough
        record["strong_kept"] = sum(
            (dims_of_item if name == "item" else dims[name]) > 0 for name in planted.STRONG
        )
        record["noise_kept"] = [name for name in planted.NOISE if dims[name]]
        scores = points.scores(searches[record["series"]]) if record["series"] in searches else {}
        if scores:
            names = [*planted.STRONG, *planted.NOISE]
            scores = scores | {"item": max(scores["item"], scores["item_copy"])}
            strong = [name in planted.STRONG for name in names]
            separation = roc_auc_score(strong, [scores[name] for name in names])
            record["separation"] = float(separation)
    return records


def main(_: list[str]) -> None:
    """Runs the seeds, prints two tables: what was kept, and how good it is."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    seeds = [int(seed) for seed in given.seeds]
    data = dataclasses.replace(
        EXPERIMENT.data, reader=f"planted(rows={given.rows})", min_count=given.min_count
    )
    train = dataclasses.replace(
        EXPERIMENT.train, network_optimizer=given.network_optimizer, stddev=given.stddev
    )
    experiment = dataclasses.replace(EXPERIMENT, data=data, model=given.model, train=train)
    searches = {name: SEARCHES[name] for name in given.searches}
    records = {seed: run_seed(experiment, given.out, seed, searches) for seed in seeds}
    write_json(os.path.join(given.out, "planted.json"), list(records.values()))
    with open(JobPaths(given.out).records.truth, encoding="utf-8") as file:
        ceiling = json.load(file)["ceiling_auc"]
    fields = planted.FIELDS
    kept = []
    for seed in seeds:
        for record in records[seed]:
            if record["series"] in searches:
                clusters = record["field_dims"]
                dims = ["/".join(str(widths[name]) for widths in clusters) for name in fields]
                separation = f"{record['separation']:.2f}" if "separation" in record else "-"
                kept.append((f"{record['series']}, seed {seed}", *dims, separation))
    print(text_table(("width of", *fields, "separation"), kept))
    every = [record for seed in seeds for record in records[seed]]
    header, rows = _quality(every, seeds)
    print(f"\n{text_table(header, rows)}\nceiling of the true logit: AUC {ceiling:.4f}")


def _quality(
    every: list[dict[str, Any]], seeds: list[int]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The table of how good each model is over the seeds: its header and its lines."""
    rows = []
    for key in dict.fromkeys((record["series"], record["label"]) for record in every):
        same = [record for record in every if (record["series"], record["label"]) == key]
        quality = [
            mean_and_spread([record[key] for record in same])
            for key in ("valid_auc", "auc", "log_loss")
        ]
        by_seed = {record["seed"]: str(record["strong_kept"]) for record in same}
        strong = "/".join(by_seed.get(seed, "-") for seed in seeds)
        lacking = f" ({len(same)} of {len(seeds)} seeds)" if len(same) < len(seeds) else ""
        dropped = sum(not {"noise_high", "noise_id"} & set(record["noise_kept"]) for record in same)
        ranks = [record["separation"] for record in same if "separation" in record]
        ranked = mean_and_spread(ranks, 2) if ranks else "-"
        params = f"{np.mean([record['params'] for record in same]):,.0f}"
        rows.append(
            (
                " ".join(key).strip() + lacking,
                *quality,
                params,
                ranked,
                strong,
                f"{dropped} of {len(same)}",
            )
        )
    titles = (
        "model",
        "valid AUC",
        "test AUC",
        "test log loss",
        "params",
        "separation",
        "strong kept of 6, by seed",
    )
    return (*titles, "both large noise fields dropped"), rows


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_list("seeds", ["1", "2", "3", "4", "5"], "Seeds of training.")
    flags.DEFINE_list("searches", list(SEARCHES), "Which searches.")
    flags.DEFINE_integer("rows", planted.ROWS, "Rows of the log.")
    flags.DEFINE_integer(
        "min_count", 1, "Values seen less often in training have no id of their own."
    )
    flags.DEFINE_string("model", EXPERIMENT.model, "Base model.")
    flags.DEFINE_string(
        "network_optimizer",
        EXPERIMENT.train.network_optimizer,
        "Optimizer of embeddings and tower.",
    )
    flags.DEFINE_float(
        "stddev", EXPERIMENT.train.stddev, "Standard deviation of the embeddings' initial values."
    )
    app.run(main)
