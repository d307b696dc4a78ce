"""How far alpha moves in i-Razor's one epoch by the value that its Adagrad's accumulator starts
from.

    python -m benchmarks.accumulator --out=DIR --log=train.txt [--rows=20000] [--batch_size=1024]
    [--seeds=1,2,3]

The first rows of a log in Criteo's format, and the paper's preset. Printed per accumulator and
seed: the largest |alpha - 1/K|, the entropy of alpha (the mean over fields; ln K where nothing has
moved), and how many fields have most of their weight on region 0."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
from absl import app, flags, logging

from benchmarks.common import Points
from benchmarks.real_data import EXPERIMENTS
from data_pipelines.text.lines import read_chunks
from irazor_tf.config import integrity
from irazor_tf.report.tables import text_table

ACCUMULATORS = ("0.1", "1e-3", "1e-8")  # Keras' default first, the network's last
SPEC = (
    "irazor(preset='paper', alpha_optimizer='adagrad(learning_rate=0.02, "
    "initial_accumulator_value={})')"
)


def first_rows(log: str, rows: int, folder: str) -> str:
    """A file with the first rows of `log`, plain or gzip."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"first-{rows}.tsv")
    if not os.path.exists(path):
        with integrity.replacing(path) as partial, open(partial, "wb") as file:
            left = rows
            for _, text in read_chunks(log):
                lines = text.splitlines(keepends=True)[:left]
                file.writelines(lines)
                left -= len(lines)
                if not left:
                    break
    return path


def main(_: list[str]) -> None:
    """Prints the table."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    experiment = EXPERIMENTS["criteo"]
    experiment = dataclasses.replace(
        experiment, train=dataclasses.replace(experiment.train, batch_size=given.batch_size)
    )
    data = dataclasses.replace(
        experiment.data, input=(first_rows(given.log, given.rows, given.out),)
    )
    rows = []
    for accumulator in ACCUMULATORS:
        for seed in map(int, given.seeds):
            points = Points(experiment, data, given.out, seed)
            spec = SPEC.format(accumulator)
            points.add("irazor", accumulator, spec, train=False)
            alpha = points.arrays(spec)["alpha"]
            entropy = -np.sum(alpha * np.log(np.maximum(alpha, 1e-30)), axis=1).mean()
            moved, at_zero = (
                np.abs(alpha - 1 / alpha.shape[1]).max(),
                np.count_nonzero(alpha.argmax(axis=1) == 0),
            )
            rows.append(
                (
                    accumulator,
                    str(seed),
                    f"{moved:.3f}",
                    f"{entropy:.3f}",
                    f"{at_zero} of {len(alpha)}",
                )
            )
    print(text_table(("accumulator", "seed", "max |alpha - 1/K|", "entropy", "at region 0"), rows))


if __name__ == "__main__":
    flags.DEFINE_string(
        "out", None, "Folder for everything; another for each setting.", required=True
    )
    flags.DEFINE_string("log", None, "A log in Criteo's format.", required=True)
    flags.DEFINE_integer("rows", 20_000, "Rows of it.")
    flags.DEFINE_integer("batch_size", 1024, "Rows per step.")
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Which seeds.")
    app.run(main)
