"""How many of the entries that DNIS keeps are those that plain magnitude keeps, and where its
search stops.

    python -m benchmarks.kept_entries --out=DIR --logs=FOLDER [--set=criteo] [--seeds=1,2,3]

A quarter and a half of uniform 8's parameters. "Of its own table": the largest entries of the
searched table before alpha is merged in; "of a plain training": those of a model trained without a
gate, from the same initial values, by the same optimizer. The DIR of benchmarks.methods serves, and
spares the searches."""

from __future__ import annotations

import os

import numpy as np
from absl import app, flags, logging

from benchmarks.common import Points, mean_and_spread
from benchmarks.methods import ADAM, SHARES, WIDTHS, experiment_of
from irazor_tf.config.files import read_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.model.recommender import Recommender
from irazor_tf.report.tables import text_table
from irazor_tf.search.entries import largest
from irazor_tf.search.method import METHODS
from irazor_tf.search.run import search_folder

SEARCHES = {
    "the flags' optimizers": ("dnis()", "magnitude(per='entry')"),
    "as published": ("dnis(preset='paper')", f"magnitude(per='entry', {ADAM})"),
}


def entries(config: InputConfig, space: InputConfig, rows: dict[str, int]) -> np.ndarray:
    """Whether each entry of `space` is kept, all fields behind each other, [E] bool."""
    parts = []
    for name in space.kept:
        kept, field = np.zeros((rows[name], space.fields[name].dim), bool), config.fields[name]
        if field.dim:
            columns = [space.fields[name].labels.index(label) for label in field.labels]
            kept[:, columns] = True if field.mask is None else field.mask.to_array()
        parts.append(kept.ravel())
    return np.concatenate(parts)


def of_own_table(supernet: Recommender, size: int) -> np.ndarray:
    """The `size` largest entries before alpha is merged in, [E] bool."""
    assert supernet.embedding is not None
    tables = [np.abs(supernet.embedding.field_table(name)).ravel() for name in supernet.config.kept]
    return largest(np.concatenate(tables), size)


def main(_: list[str]) -> None:
    """Prints the table."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    experiment, rows = experiment_of(given.set), []
    for title, (dnis, magnitude) in SEARCHES.items():
        shares: dict[str, tuple[list[float], list[float]]] = {label: ([], []) for label in SHARES}
        stops = []
        for seed in map(int, given.seeds):
            points = Points(
                experiment, experiment.located(given.logs), os.path.join(given.out, given.set), seed
            )
            sizes = {field.name: field.vocabulary_size for field in points.schema.fields}
            for label, share in SHARES.items():
                size = int(share * InputConfig.uniform(points.schema, 8).num_params(points.schema))
                ours, theirs = (
                    points.add("entries", label, spec, size, train=False).result.config
                    for spec in (dnis, magnitude)
                )
                kept, plain = (entries(config, points.space, sizes) for config in (ours, theirs))
                for series, other in zip(
                    shares[label], (of_own_table(points.supernet(dnis), size), plain), strict=True
                ):
                    series.append(np.count_nonzero(kept & other) / np.count_nonzero(kept))
            folder = os.path.join(
                points.job.model_dir,
                search_folder(METHODS.build(dnis), points.space),
                "supernet",
            )
            state = read_json(os.path.join(folder, "state.json"))[0]
            stops.append(f"{state['best']['epoch']} of {len(state['history'])}")
        rows += [
            (title, label, *(mean_and_spread(values, 3) for values in series), ", ".join(stops))
            for label, series in shares.items()
        ]
    print(
        text_table(
            ("DNIS", "budget", "of its own table", "of a plain training", "best epoch"), rows
        )
    )


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string(
        "logs", None, "Folder of the logs (criteo/, frappe/, ml-1m/).", required=True
    )
    flags.DEFINE_enum("set", "criteo", list(WIDTHS), "Which set of benchmarks.methods.")
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Which seeds.")
    app.run(main)
