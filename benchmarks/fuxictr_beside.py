"""Side by side with FuxiCTR's DNN and DeepFM, on the same rows: test AUC, test log loss, seconds
per epoch, one thread each.

    python -m venv ENV && ENV/bin/pip install fuxictr==2.3.10 'polars<2' torch==2.13.0  # a build
    for the CPU will do OMP_NUM_THREADS=1 python -m benchmarks.fuxictr_beside --out=DIR
    --logs=FOLDER --python=ENV/bin/python \\
        [--sets=criteo,movielens] [--models=mlp,deepfm] [--seeds=1,2,3]

Ours is the default recipe of plain training (method `fde`: every field at width 16). FuxiCTR gets
the settings of its own benchmark for these models, and the ids that our preprocessing gives the
same split (numeric fields of Criteo are floor(log(x)^2) above 2 in both), every field a categorical
one, on which it applies its own least count. Since a batch of 10,000 is made for 36 million rows,
it is trained with the batch of our recipe, too, all else its own. Its tower on Criteo has 5 layers
of 1,000, on MovieLens 3 of 400, as ours has on both: most of its seconds on Criteo are that
tower's. MovieLens is trained with the first seed alone.

Every cell is a file under DIR/cells, so a run that was stopped goes on where it was; ours and
FuxiCTR's take turns. Seconds are those of an epoch of training and its validation pass, by the
clock and of the processor. Written at the end: DIR/fuxictr.md."""

from __future__ import annotations

import dataclasses
import glob
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import yaml  # type: ignore[import-untyped]
from absl import app, flags, logging
from pyarrow import csv

from benchmarks.common import mean_and_spread
from benchmarks.recipes import log_of
from data_pipelines.preprocess import PreprocessOptions, preprocess
from irazor_tf.config import recipe
from irazor_tf.config.files import read_json, write_json
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.config import JobConfig
from irazor_tf.report.tables import markdown_table, text_table
from irazor_tf.training.options import TrainOptions
from irazor_tf.training.source import Source
from irazor_tf.training.state import read_state

SPLITS = ("train", "valid", "test")
THEIRS = {"mlp": "DNN", "deepfm": "DeepFM"}
COMMON: dict[str, Any] = {
    "epochs": 100,
    "early_stop_patience": 2,
    "monitor_mode": "max",
    "save_best_only": True,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "loss": "binary_crossentropy",
    "metrics": ["AUC", "logloss"],
    "task": "binary_classification",
    "hidden_activations": "relu",
    "net_regularizer": 0,
    "shuffle": True,
    "num_workers": 0,
    "verbose": 0,
}
_CRITEO = {
    "embedding_dim": 16,
    "embedding_regularizer": 1e-5,
    "hidden_units": [1000] * 5,
    "net_dropout": 0.2,
    "batch_norm": False,
    "batch_size": 10_000,
    "monitor": {"AUC": 1, "logloss": -1},
}
_MOVIELENS = {
    "embedding_dim": 10,
    "hidden_units": [400] * 3,
    "batch_norm": True,
    "batch_size": 4096,
    "monitor": "AUC",
}
# Where the repository reczoo/BARS keeps them; MovieLens there is another log of the same kind, with
# a tag in place of a rating.
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    # ranking/ctr/DNN/DNN_criteo_x4_001/README.md, experiment DNN_criteo_x4_024_673e1651
    ("criteo", "DNN"): _CRITEO,
    # ranking/ctr/DeepFM/DeepFM_criteo_x4_001/README.md, experiment DeepFM_criteo_x4_024_626165ea
    ("criteo", "DeepFM"): _CRITEO,
    # ranking/ctr/DNN/DNN_movielenslatest_x1/README.md, experiment
    # DNN_movielenslatest_x1_001_338b5be6
    ("movielens", "DNN"): _MOVIELENS | {"embedding_regularizer": 0.005, "net_dropout": 0.4},
    # ranking/ctr/DeepFM/DeepFM_movielenslatest_x1/README.md, experiment
    # DeepFM_movielenslatest_x1_001_0f6d2e8e
    ("movielens", "DeepFM"): _MOVIELENS | {"embedding_regularizer": 0.01, "net_dropout": 0.3},
}
# docs/CTR/leaderboard/criteo_x4.md; and the MovieLens experiments above.
LEAST_COUNT = {"criteo": 10, "movielens": 1}


def written(data: PreprocessOptions, folder: str) -> tuple[dict[str, Any], int]:
    """FuxiCTR's dataset config of a log, whose splits lie as CSV files in `folder` from now on; and
    the training rows."""
    records, marker = os.path.join(folder, "data-1"), os.path.join(folder, "dataset.json")
    if not os.path.exists(os.path.join(records, "manifest.json")):
        preprocess(dataclasses.replace(data, min_count=1), records, progress=False)
    paths = {split: os.path.join(folder, f"{split}.csv") for split in SPLITS}
    if not os.path.exists(marker):
        for split, path in paths.items():
            parts = list(Source(records, split).ordered(65_536).as_numpy_iterator())
            ids, label = (np.concatenate([part[key] for part in parts]) for key in ("ids", "label"))
            columns = {"label": label.astype(np.int8)} | {
                f"f{k}": ids[:, k] for k in range(ids.shape[1])
            }
            csv.write_csv(pa.table(columns), path)
        write_json(marker, list(columns)[1:])
    names = read_json(marker)[0]
    config: dict[str, Any] = {f"{split}_data": path for split, path in paths.items()}
    config |= {"data_format": "csv", "data_root": os.path.join(folder, "fuxictr")}
    config["feature_cols"] = [
        {"name": names, "active": True, "dtype": "str", "type": "categorical"}
    ]
    config["label_col"] = {"name": "label", "dtype": "float"}
    return config, Source(records, "train").rows


def theirs(
    name: str,
    model: str,
    seed: int,
    batch_size: int | None,
    dataset: dict[str, Any],
    folder: str,
    python: str,
) -> dict[str, Any]:
    """What FuxiCTR has to say: one training in its own environment."""
    settings = COMMON | SETTINGS[name, THEIRS[model]]
    batch_size = batch_size or settings["batch_size"]
    experiment = f"{THEIRS[model]}-{batch_size}-{seed}"
    config, result = (
        os.path.join(folder, "config", experiment),
        os.path.join(folder, "config", experiment, "result.json"),
    )
    identifier = f"{name}_{LEAST_COUNT[name]}"
    settings |= {
        "model": THEIRS[model],
        "batch_size": batch_size,
        "seed": seed,
        "dataset_id": identifier,
    }
    settings["model_root"] = os.path.join(folder, "checkpoints")
    os.makedirs(config, exist_ok=True)
    for file, value in (
        ("model_config.yaml", {experiment: settings}),
        ("dataset_config.yaml", {identifier: dataset | {"min_categr_count": LEAST_COUNT[name]}}),
    ):
        with open(os.path.join(config, file), "w", encoding="utf-8") as opened:
            yaml.safe_dump(value, opened)
    runner = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuxictr_run.py")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | threads
    with open(os.path.join(config, "log.txt"), "w", encoding="utf-8") as log:
        subprocess.run(
            [python, runner, config, experiment, result],
            env=environment,
            stdout=log,
            stderr=log,
            check=True,
        )
    return read_json(result)[0] | {"settings": f"FuxiCTR's own, batch {batch_size:,}"}


def ours(model: str, seed: int, data: PreprocessOptions, folder: str) -> dict[str, Any]:
    """What our default recipe has to say: one job."""
    job = JobConfig(
        os.path.join(folder, "ours", model, f"seed-{seed}"),
        model=model,
        method="fde",
        data=dataclasses.replace(data, min_count=recipe.AUTO),
        data_dir=os.path.join(folder, "data-auto"),
        train=TrainOptions(),
        seed=seed,
        controls=(),
        baselines=(),
        progress=False,
    )
    jobs.preprocess(job)
    clock, processor = time.perf_counter(), time.process_time()
    jobs.retrain(job)
    share = (time.process_time() - processor) / (time.perf_counter() - clock)
    point = next(point for point in jobs.evaluate(job) if "params" in point)
    (path,) = glob.glob(
        os.path.join(glob.escape(job.model_dir), "models", "*", "model", "state.json")
    )
    state = read_state(path)
    figures = {key: point[key] for key in ("auc", "log_loss")} | {
        "epochs": len(state["history"]),
        "seconds": state["seconds"],
    }
    batch = recipe.batch_size(recipe.Known(Source(job.records_dir, "train").rows, 1, 1))
    return figures | {
        "processor_seconds": state["seconds"] * share,
        "settings": f"ours, default recipe, batch {batch:,}",
    }


def rows_of(cells: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row per log, model and settings."""
    rows = []
    for key in dict.fromkeys((cell["log"], cell["model"], cell["settings"]) for cell in cells):
        same = [cell for cell in cells if (cell["log"], cell["model"], cell["settings"]) == key]
        quality = [
            mean_and_spread([cell[metric] for cell in same]) for metric in ("auc", "log_loss")
        ]
        epochs = "/".join(str(cell["epochs"]) for cell in same)
        seconds = [
            mean_and_spread([cell[spent] / cell["epochs"] for cell in same], 1)
            for spent in ("seconds", "processor_seconds")
        ]
        rows.append([key[0], key[1], *quality, epochs, *seconds, key[2]])
    return rows


def main(_: list[str]) -> None:
    """Runs the chosen logs, models and seeds."""
    logging.set_verbosity(logging.ERROR)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    given, cells = flags.FLAGS, []
    for name in given.sets:
        data, folder = log_of(name, given.logs, given.out), os.path.join(given.out, name)
        dataset, rows = written(data, folder)
        batch = recipe.batch_size(recipe.Known(rows, 1, 1))
        for model in given.models:
            for seed in map(int, given.seeds[:1] if name == "movielens" else given.seeds):
                kinds: dict[str, Callable[[], dict[str, Any]]] = {
                    "ours": partial(ours, model, seed, data, folder),
                    "theirs": partial(
                        theirs, name, model, seed, None, dataset, folder, given.python
                    ),
                    "theirs-our-batch": partial(
                        theirs, name, model, seed, batch, dataset, folder, given.python
                    ),
                }
                for kind, run in kinds.items():
                    path = os.path.join(given.out, "cells", f"{name}-{model}-{seed}-{kind}.json")
                    if not os.path.exists(path):
                        os.makedirs(os.path.dirname(path), exist_ok=True)
                        figures = run()
                        write_json(
                            path,
                            figures
                            | {
                                "log": name,
                                "model": model if kind == "ours" else THEIRS[model],
                                "seed": seed,
                            },
                        )
                    cell = read_json(path)[0]
                    cells.append(cell)
                    spent = cell["seconds"] / cell["epochs"]
                    print(
                        f"{path}: {cell['auc']:.4f} {cell['log_loss']:.4f}, {cell['epochs']} "
                        f"epochs of {spent:.1f} s",
                        flush=True,
                    )
    header = (
        "log",
        "model",
        "AUC",
        "log loss",
        "epochs",
        "seconds per epoch",
        "of the processor",
        "settings",
    )
    print(text_table(header, rows_of(cells)), flush=True)
    with open(os.path.join(given.out, "fuxictr.md"), "w", encoding="utf-8") as file:
        file.write(markdown_table(header, rows_of(cells)) + "\n")


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string("logs", None, "Folder of the logs (criteo/, ml-1m/).", required=True)
    flags.DEFINE_string("python", None, "Interpreter of FuxiCTR's environment.", required=True)
    flags.DEFINE_list("sets", ["criteo", "movielens"], "Which logs.")
    flags.DEFINE_list("models", list(THEIRS), "Which models.")
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Which seeds.")
    app.run(main)
