"""iHAS on the log whose users' hidden group decides which fields matter: do its clusters find the
groups? AUC beside one model for all.

    python -m benchmarks.planted_groups --out=DIR [--seeds=1,2,3,4,5] [--rows=100000]

Two measures over the validation rows. Adjusted Rand index of the clusters and the groups: 1 where
they are the same, about 0 by chance; embeddings that differ by group reach it with masks that do
not. Selectivity: how much more often a gate is open in the fields of the row's own group than in
those of the other, 1 where only those are open, 0 where gates know nothing of groups. Resumable."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import numpy as np
from absl import app, flags, logging
from sklearn.metrics import adjusted_rand_score

from benchmarks.common import FORMER, Experiment, Points, mean_and_spread
from data_pipelines.generated import planted_groups
from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.config.files import write_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import JobPaths, RecordsPaths
from irazor_tf.jobs.final_models import restored_model
from irazor_tf.model.routing import RoutedRecommender
from irazor_tf.report.tables import text_table
from irazor_tf.search.method import METHODS
from irazor_tf.training.source import Source

EXPERIMENT = Experiment(
    data=PreprocessOptions(reader="planted_groups", min_count=1),
    model="mlp(hidden=(128,64))",
    train=dataclasses.replace(
        FORMER,
        batch_size=1024,
        network_optimizer="adagrad(learning_rate=0.05, initial_accumulator_value=1e-8)",
        epochs=12,
        patience=2,
    ),
    width=8,
    seeds=(1, 2, 3, 4, 5),
)
SEARCHES = {
    "iHAS, paper": "ihas()",
    "iHAS, small logs": "ihas(preset='small_log')",
    "iHAS-2 (one cluster)": "ihas(preset='small_log', clusters=1)",
    "iHAS-4 (gates blind to the row)": "ihas(preset='small_log', instance_wise=False)",
}
MEASURES = {"rand_index": "adjusted Rand index", "selectivity": "selectivity"}


def groups(directory: str) -> np.ndarray:
    """Group of every id of the field `user`, -1 where it is not known, [V]."""
    with open(RecordsPaths(directory).truth, encoding="utf-8") as file:
        of_user = json.load(file)["group_of_user"]
    with open(RecordsPaths(directory).vocabulary("user"), encoding="utf-8") as file:
        return np.array([-1, *(of_user.get(line.rstrip("\n"), -1) for line in file)])


def agreement(
    model: RoutedRecommender, space: InputConfig, source: Source, of_id: np.ndarray
) -> dict[str, float]:
    """Adjusted Rand index of clusters and groups, and selectivity of the gates, over the rows of
    `source`."""
    parts = np.repeat(
        [planted_groups.PARTS[name] for name in space.kept],
        [space.fields[name].dim for name in space.kept],
    )
    clusters, truth, leads = [], [], []
    for batch in source.ordered(8192):
        group = of_id[batch["ids"].numpy()[:, model.schema.index("user")]]
        gates = model.router.select(batch["ids"])[1].open.numpy()
        a, b = (gates[:, parts == letter].mean(axis=1) for letter in planted_groups.LETTERS)
        clusters.append(model.router(batch["ids"]).numpy())
        truth.append(group)
        leads.append(np.select([group == 0, group == 1], [a - b, b - a], np.nan))
    index = float(adjusted_rand_score(np.concatenate(truth), np.concatenate(clusters)))
    return {"rand_index": index, "selectivity": float(np.nanmean(np.concatenate(leads)))}


def run_seed(experiment: Experiment, out: str, seed: int) -> list[dict[str, Any]]:
    """All models of one seed, trained or picked up."""
    points = Points(experiment, experiment.data, out, seed)
    added = {name: points.add(name, "", spec) for name, spec in SEARCHES.items()}
    points.add_widths((2, 4, 8))
    records = points.run()
    of_id = groups(JobPaths(out).records.root)
    for record in records:
        candidate = added.get(record["series"])
        if candidate is not None and candidate.result.router is not None:
            model = restored_model(points.work, candidate)
            record |= agreement(model, points.space, Source(points.job.records_dir, "valid"), of_id)
        elif (
            candidate is not None and METHODS.build(SEARCHES[record["series"]]).params.clusters > 1
        ):
            record["rand_index"] = 0.0  # one cluster was left
    return records


def main(_: list[str]) -> None:
    """Runs the seeds; prints the dims per cluster and a table of quality."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    data = dataclasses.replace(EXPERIMENT.data, reader=f"planted_groups(rows={given.rows})")
    experiment = dataclasses.replace(EXPERIMENT, data=data)
    every = [
        record for seed in map(int, given.seeds) for record in run_seed(experiment, given.out, seed)
    ]
    write_json(os.path.join(given.out, "planted_groups.json"), every)
    kept = []
    for record in every:
        if record["series"] in SEARCHES:
            dims = [
                "/".join(str(dims[name]) for dims in record["field_dims"])
                for name in planted_groups.FIELDS
            ]
            measures = [f"{record[key]:.3f}" if key in record else "-" for key in MEASURES]
            kept.append((f"{record['series']}, seed {record['seed']}", *dims, *measures))
    print(text_table(("width of", *planted_groups.FIELDS, *MEASURES.values()), kept))
    rows = []
    for key in dict.fromkeys((record["series"], record["label"]) for record in every):
        same = [record for record in every if (record["series"], record["label"]) == key]
        quality = [
            mean_and_spread([record[metric] for record in same])
            for metric in ("valid_auc", "auc", "log_loss")
        ]
        measured = [
            [record[measure] for record in same if measure in record] for measure in MEASURES
        ]
        size = f"{np.mean([record['params'] for record in same]):,.0f}"
        rows.append(
            (
                " ".join(key),
                *quality,
                size,
                *(mean_and_spread(values, 3) if values else "-" for values in measured),
            )
        )
    print(
        "\n"
        + text_table(
            ("model", "valid AUC", "test AUC", "test log loss", "params", *MEASURES.values()), rows
        )
    )


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_list("seeds", ["1", "2", "3", "4", "5"], "Seeds of training.")
    flags.DEFINE_integer("rows", planted_groups.ROWS, "Rows of the log.")
    app.run(main)
