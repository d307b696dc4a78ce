"""All methods side by side on real logs, at a quarter and a half of the best uniform model's embedding parameters, over seeds.

    python -m benchmarks.methods --out=DIR --logs=FOLDER [--sets=criteo,criteo-deepfm,frappe,movielens] [--seeds=1,2,3] [--validation_only]

Uniform widths are trained first, for all seeds; the one with the best mean validation AUC sets the budgets. Methods that retrain nothing
(DNIS, magnitude by entry) are scored as the search leaves them. What several methods pretrain alike is trained once. Every trained
point is kept under DIR, so a run that was stopped goes on where it was. Written at the end: DIR/methods-<set>.json,
DIR/methods.md (the tables) and DIR/methods.svg.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import app, flags, logging
from matplotlib.figure import Figure
from scipy.stats import ttest_rel

from benchmarks.common import Experiment, Points, mean_and_spread
from benchmarks.real_data import EXPERIMENTS
from irazor_tf.input_config import write_json
from irazor_tf.plots import COLOURS, MARKERS, house_style
from irazor_tf.tables import markdown_table, text_table

SHARES = {"a quarter": 0.25, "a half": 0.5}
WIDTHS = {"criteo": (2, 4, 8, 16), "criteo-deepfm": (2, 4, 8, 16), "frappe": (4, 8, 16, 30), "movielens": (2, 4, 8, 16)}
IRAZOR = {
    "criteo": EXPERIMENTS["criteo"].methods["held-out, lambda .01"],
    "criteo-deepfm": EXPERIMENTS["criteo"].methods["held-out, lambda .01"],
    "frappe": EXPERIMENTS["frappe"].methods["lambda .001, steps of 5"],
    "movielens": EXPERIMENTS["movielens"].methods["lambda .0006"],
}
# Weights of the searches that go on from a trained model: those of the training, restarted, overfit a small log before alpha has moved.
SLOW = {
    "criteo": "adagrad(learning_rate=0.002, initial_accumulator_value=0.1)",
    "criteo-deepfm": "adagrad(learning_rate=0.002, initial_accumulator_value=0.1)",
    "frappe": "adam(learning_rate=5e-4)",
    "movielens": "adam(learning_rate=5e-4)",
}
# Searched as their papers say, but for what small logs need (BUILD_NOTES.md tells how that was found). {size} is the budget.
MASKS = "epochs=4, base_dim={width}, weights_optimizer='{slow}'"
HAM = "ham(preset='small_log', size={size}, in_parameters=True, base_dim={width}, weights_optimizer='{slow}'"
METHODS = {
    "DNIS": "dnis()",
    "HAM": HAM + ")",
    "SAM": f"sam({MASKS})",
    "SAM-GS": f"sam_gs({MASKS})",
    "HAM-p": f"ham_p({MASKS})",
    "SSEDS": "sseds()",
    "SSEDS, validation batches": "sseds(batches=8, on_validation=True)",
    "iHAS": "ihas(preset='small_log')",
}
CONTROLS = {"magnitude": "magnitude()", "magnitude, entries": "magnitude(per='entry')", "random": "random()"}
ABLATIONS: dict[str, dict[str, str]] = {
    "criteo": {
        "iHAS-1 (the search's own model)": "ihas(preset='small_log', retrain=False)",
        "iHAS-2 (one cluster)": "ihas(preset='small_log', clusters=1)",
        "iHAS-3 (no polarisation)": "ihas(preset='small_log', polarization=0.0)",
        "iHAS-4 (gates blind to the row)": "ihas(preset='small_log', instance_wise=False)",
        "HAM without orthogonality": HAM + ", orthogonality=0.0)",
    },
    "criteo-deepfm": {
        "SSEDS without retraining": "sseds(retrain=False)",
        "SSEDS without ticket": "sseds(ticket=False)",
        "HAM without orthogonality": HAM + ", orthogonality=0.0)",
    },
}
VALID = {"valid_auc": "valid AUC", "valid_log_loss": "valid log loss"}
TEST = {"auc": "test AUC", "log_loss": "test log loss"}
SPECIAL = {"frappe": {"DNIS": "dnis(epochs=13, stop_at_best=False)"}}  # its log loss worsens while AUC still grows


def experiment_of(name: str) -> Experiment:
    """The data set of `benchmarks.real_data`, with the base model that the set asks for."""
    base = EXPERIMENTS[name.split("-")[0]]
    return dataclasses.replace(base, model=base.model.replace("mlp(", "deepfm(")) if name.endswith("-deepfm") else base


def uniform(points: Points, widths: Sequence[int], test: bool) -> list[dict[str, Any]]:
    """The uniform models of one seed."""
    points.add_widths(widths)
    return points.run(test=test)


def compared(points: Points, name: str, budgets: Mapping[str, int], width: int, test: bool) -> list[dict[str, Any]]:
    """Every method and control of one seed at every budget; iHAS at its own size too, its ablations there alone."""
    for series, spec in {"i-Razor": IRAZOR[name], **METHODS, **SPECIAL.get(name, {}), **CONTROLS, **ABLATIONS.get(name, {})}.items():
        own: dict[str, int | None] = {"its own size": None} if series.startswith("iHAS") else {}
        # A budget is for the clusters' models together; the router, as large as the space, comes on top.
        for label, size in (own | ({} if series.startswith("iHAS-") else dict(budgets))).items():
            try:
                points.add(series, label, spec.format(size=size, width=width, slow=SLOW[name]), size)
            except ValueError as error:
                print(f"  {series} {label}: no point. {error}", flush=True)
    return points.run(test=test)


def compared_rows(records: Sequence[dict[str, Any]], best: str, metrics: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Header and a row per point: mean and spread over seeds, and how its first metric differs from that of the best uniform model and of
    i-Razor at the same budget, with the p of a two-sided paired t-test over the seeds."""
    first, title = next(iter(metrics.items()))
    seeds = list(dict.fromkeys(record["seed"] for record in records))
    found = {(record["series"], record["label"], record["seed"]): record for record in records}

    def difference(ours: tuple[str, str], other: tuple[str, str]) -> str:
        pairs = [(found.get((*ours, seed)), found.get((*other, seed))) for seed in seeds]
        if ours == other or not all(a and b for a, b in pairs):
            return "-"
        a, b = np.array([(a[first], b[first]) for a, b in pairs if a and b]).T
        p = f" (p {ttest_rel(a, b).pvalue:.3f})" if len(seeds) > 1 and not np.allclose(a, b) else ""
        return f"{np.mean(a - b):+.4f}{p}"

    shown = {"valid_auc": VALID["valid_auc"], **metrics}
    header = ["point", "params", "fields", *shown.values(), "search s", f"{title} less uniform {best}'s", "less i-Razor's"]
    rows = []
    for series, label in dict.fromkeys((record["series"], record["label"]) for record in records):
        same = [found[series, label, seed] for seed in seeds if (series, label, seed) in found]
        means = {key: np.mean([record[key] for record in same]) for key in ("params", "fields", "search_seconds")}
        lacking = f" ({len(same)} of {len(seeds)} seeds)" if len(same) < len(seeds) else ""
        row = [f"{series}, {label}{lacking}", f"{means['params']:,.0f}", f"{means['fields']:.1f}"]
        row += [mean_and_spread([record[key] for record in same]) for key in shown]
        compared_with = (("uniform", best), ("i-Razor", label))
        rows.append([*row, f"{means['search_seconds']:.0f}", *(difference((series, label), other) for other in compared_with)])
    return header, rows


def plot(every: Mapping[str, Sequence[dict[str, Any]]], metrics: Mapping[str, str], path: str) -> None:
    """A column of panels per set, a row per metric: its mean against mean embedding parameters, a line per method."""
    with house_style():
        figure = Figure(figsize=(5.6 * len(every), 1.0 + 3.8 * len(metrics)), layout="constrained")
        axes = figure.subplots(len(metrics), len(every), squeeze=False, sharex="col")
        lines: dict[str, Any] = {}
        for column, (name, records) in enumerate(every.items()):
            for axis, (metric, title) in zip(axes[:, column], metrics.items(), strict=True):
                for number, series in enumerate(("uniform", "i-Razor", *METHODS, *CONTROLS)):
                    labels = dict.fromkeys(record["label"] for record in records if record["series"] == series)
                    same = [[record for record in records if (record["series"], record["label"]) == (series, label)] for label in labels]
                    at = sorted((np.mean([r["params"] for r in group]), np.mean([r[metric] for r in group])) for group in same)
                    if at:
                        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
                        dashes = "-" if number < len(COLOURS) else "--"
                        x, y = zip(*at, strict=True)
                        lines[series] = axis.plot(x, y, dashes, color=colour, marker=marker, markersize=5, label=series)[0]
                axis.set_xscale("log")
                axis.set_ylabel(title)
                axis.grid(True)
            axes[0, column].set_title(name)
            axes[-1, column].set_xlabel("embedding parameters (log scale)")
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=6)
        figure.savefig(path, metadata={"Date": None})


def main(_: list[str]) -> None:
    """Runs the chosen sets and seeds, prints a table of quality and one of tests per set, and draws one figure."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    every: dict[str, list[dict[str, Any]]] = {}
    tables = []
    test = not given.validation_only
    metrics = TEST if test else VALID
    for name in given.sets:
        if name not in WIDTHS:
            raise ValueError(f"--sets should be some of {', '.join(WIDTHS)}. Received: {name!r}")
        start = time.perf_counter()
        experiment = experiment_of(name)
        seeds = [int(seed) for seed in given.seeds] or ((1,) if name == "movielens" else (1, 2, 3))
        folder = os.path.join(given.out, name)

        def points(seed: int, experiment: Experiment = experiment, folder: str = folder) -> Points:
            return Points(experiment, experiment.located(given.logs), folder, seed)

        records = [record for seed in seeds for record in uniform(points(seed), WIDTHS[name], test)]
        labels = [f"dim={width}" for width in WIDTHS[name]]
        best = max(labels, key=lambda label: np.mean([record["valid_auc"] for record in records if record["label"] == label]))
        whole = next(record["params"] for record in records if record["label"] == best)
        budgets = {f"{label} of uniform {best}": int(share * whole) for label, share in SHARES.items()}
        print(
            f"{name}: best uniform {best} with {whole:,} parameters; budgets {', '.join(f'{size:,}' for size in budgets.values())}",
            flush=True,
        )
        for seed in seeds:
            print(f"{name}, seed {seed}", flush=True)
            records += compared(points(seed), name, budgets, experiment.width, test)
        every[name] = records
        write_json(os.path.join(given.out, f"methods-{name}{'' if test else '-validation'}.json"), records)
        header, rows = compared_rows(records, best, metrics)
        print(f"\n{name}: {(time.perf_counter() - start) / 60:.1f} min\n{text_table(header, rows)}\n", flush=True)
        tables.append(f"**{name}**, best uniform model on validation {best} ({whole:,})\n\n{markdown_table(header, rows)}\n")
    plot(every, metrics, os.path.join(given.out, "methods.svg"))
    with open(os.path.join(given.out, "methods.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(tables))


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string("logs", None, "Folder of the logs (criteo/, frappe/, ml-1m/).", required=True)
    flags.DEFINE_list("sets", list(WIDTHS), "Which sets.")
    flags.DEFINE_list("seeds", [], "Which seeds; default: three, for MovieLens one.")
    flags.DEFINE_bool("validation_only", False, "Leave the test split unread: for choosing settings.")
    app.run(main)
