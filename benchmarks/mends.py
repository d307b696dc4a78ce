"""What options and mends of HAM, SSEDS and iHAS change, on the logs and in the recipe of
`benchmarks.methods`, at a half of its budget.

    python -m benchmarks.mends --out=DIR --logs=FOLDER
    [--sets=criteo,frappe,criteo-deepfm,criteo-deepfm-maps] [--seeds=1,2,3]
        [--series=HAM,HAM-summed,...]

Every trained point is kept under DIR, so a run that was stopped goes on where it was. Written at
the end, for the series asked for: DIR/mends-<set>-<series>.json and DIR/mends-<series>.md, a table
per set: mean and spread over seeds, and for HAM the size that its search had after every epoch,
seed by seed. iHAS is scored at its own size on Criteo, too."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from absl import app, flags, logging

from benchmarks.common import Experiment, Points, mean_and_spread
from benchmarks.methods import IHAS, OWN_SIZE, SLOW, experiment_of, series_of
from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.report.tables import markdown_table, text_table

# The uniform width that is best on validation (docs/results.md), a half of whose parameters is the
# budget.
BEST = {"criteo": 8, "criteo-deepfm": 4, "frappe": 30}
OPTIONS = {
    "": "",
    ", rows all": ", rows='all'",
    ", start searched": ", start='searched'",
    ", both": ", rows='all', start='searched'",
}
SUMMED = "HAM, summed loss"
# a set whose model aligns fields by maps in the supernet, too, where they are equally wide
# (`align_always`)
MAPS = "-maps"
# Group -> series -> spec; None: as `benchmarks.methods` has it for the set.
GROUPS: dict[str, dict[str, str | None]] = {
    "iHAS": {f"iHAS{label}": IHAS + option + ")" for label, option in OPTIONS.items()},
    "iHAS-published": {
        f"iHAS, as published{label}": f"ihas(preset='paper'{option})"
        for label, option in OPTIONS.items()
    },
    "HAM": {"HAM": None, "HAM, as published": None},
    "HAM-summed": {SUMMED: None},
    "HAM-columns": {  # sizes in columns, as the paper counts
        "HAM, as published, columns": "ham(preset='paper', share=0.25, base_dim={width})",
        "HAM, summed loss, columns": "ham(preset='paper_summed', share=0.25, base_dim={width})",
    },
    # of alpha's Adagrad: Keras' default, and the network's, which `preset='paper'` takes
    "accumulator": {
        "i-Razor, as published, accumulator .1": "irazor(preset='paper', "
        "alpha_optimizer='adagrad(learning_rate=0.02)')",
        "i-Razor, as published": "irazor(preset='paper')",
    },
    "SSEDS": dict.fromkeys(("SSEDS", "SSEDS, small logs", "SSEDS, as published")),
    "recipes": dict.fromkeys(("DNIS, as published", "i-Razor, as published")),
}


def set_of(name: str) -> tuple[str, Experiment]:
    """The set of `benchmarks.methods`, and its experiment with the model that the name asks for."""
    base = name.removesuffix(MAPS)
    experiment = experiment_of(base)
    model = (
        experiment.model
        if base == name
        else experiment.model.removesuffix(")") + ", align_always=True)"
    )
    return base, dataclasses.replace(experiment, model=model)


def specs_of(group: str, name: str) -> dict[str, str]:
    """Series -> spec of a group on a set."""
    known = series_of(name)
    known[SUMMED] = str(known["HAM, as published"]).replace(
        "preset='paper'", "preset='paper_summed'"
    )
    return {
        series: str(known[series]) if spec is None else spec
        for series, spec in GROUPS[group].items()
    }


def one_seed(
    points: Points, name: str, groups: Sequence[str], size: int, width: int
) -> list[dict[str, Any]]:
    """The records of one seed; those of a search that traces its
    size with "sizes", epoch by epoch."""
    sizes = {}
    for group in groups:
        for series, spec in specs_of(group, name).items():
            filled, budgets = (
                spec.format(size=size, width=width, slow=SLOW[name]),
                {"a half": size, OWN_SIZE: None},
            )
            if group == "HAM-columns":
                del budgets["a half"]
            elif not group.startswith("iHAS") or name != "criteo":
                del budgets[OWN_SIZE]
            for label, budget in budgets.items():
                candidate = points.add(series, label, filled, budget)
            if group.startswith("HAM"):
                history = read_json(
                    points.job.path(candidate.search_folder, "supernet", "state.json")
                )[0]["history"]
                sizes[series] = [int(record["size"]) for record in history]
    return [record | {"sizes": sizes.get(record["series"], [])} for record in points.run()]


def rows_of(records: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and a row per point."""
    shown = {"valid_auc": "valid AUC", "auc": "test AUC", "log_loss": "test log loss"}
    rows = []
    for series, label in dict.fromkeys((record["series"], record["label"]) for record in records):
        same = [
            record for record in records if (record["series"], record["label"]) == (series, label)
        ]
        params = sum(record["params"] for record in same) / len(same)
        sizes = "; ".join(" ".join(map(str, record["sizes"])) for record in same if record["sizes"])
        metrics = [mean_and_spread([record[key] for record in same]) for key in shown]
        rows.append(
            [f"{series}, {label}", str(len(same)), f"{params:,.0f}", *metrics, sizes or "-"]
        )
    return ("point", "seeds", "params", *shown.values(), "size after each epoch"), rows


def main(_: list[str]) -> None:
    """Runs the chosen sets, groups and seeds."""
    logging.set_verbosity(logging.ERROR)
    given, tables = flags.FLAGS, []
    for name in given.sets:
        base, experiment = set_of(name)
        records = []
        for seed in map(int, given.seeds):
            print(f"{name}, seed {seed}", flush=True)
            points = Points(
                experiment, experiment.located(given.logs), os.path.join(given.out, name), seed
            )
            size = InputConfig.uniform(points.schema, BEST[base]).num_params(points.schema) // 2
            records += one_seed(points, base, given.series, size, experiment.width)
        write_json(os.path.join(given.out, f"mends-{name}-{'-'.join(given.series)}.json"), records)
        header, rows = rows_of(records)
        print(
            f"\n{name}, a half of uniform {BEST[base]}: {size:,} "
            f"parameters\n{text_table(header, rows)}\n",
            flush=True,
        )
        tables.append(
            f"**{name}**, a half of uniform {BEST[base]}: {size:,} "
            f"parameters\n\n{markdown_table(header, rows)}\n"
        )
    with open(
        os.path.join(given.out, f"mends-{'-'.join(given.series)}.md"), "w", encoding="utf-8"
    ) as file:
        file.write("\n".join(tables))


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string("logs", None, "Folder of the logs (criteo/, frappe/).", required=True)
    flags.DEFINE_list("sets", ["criteo", "frappe"], "Which sets.")
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Which seeds.")
    flags.DEFINE_list(
        "series",
        ["iHAS", "HAM", "HAM-summed", "SSEDS"],
        f"Which groups of series: {'; '.join(GROUPS)}.",
    )
    app.run(main)
