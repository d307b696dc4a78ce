"""All methods side by side on real logs, at a quarter and a half of the best uniform model's
embedding parameters, over seeds.

    python -m benchmarks.methods --out=DIR --logs=FOLDER
    [--sets=criteo,criteo-deepfm,frappe,movielens] [--seeds=1,2,3] \\
        [--series=DNIS --series="DNIS, as published" ...] [--validation_only]

Uniform widths are trained first, for all seeds; the one with the best mean validation AUC sets the
budgets. Methods that retrain nothing (DNIS, magnitude by entry) are scored as the search leaves
them. What several methods pretrain alike is trained once. Every trained point is kept under DIR, so
a run that was stopped goes on where it was, and one with more --series adds to it. Written at the
end: DIR/methods-<set>.json and, of all sets that are finished there, DIR/methods.md (tables) and
DIR/methods.svg; with --validation_only the names end in -validation."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import app, flags, logging
from matplotlib.figure import Figure
from scipy.stats import ttest_rel

from benchmarks.common import Experiment, Points, mean_and_spread
from benchmarks.real_data import EXPERIMENTS, on_movielens
from irazor_tf.config.files import read_json, write_json
from irazor_tf.report.figures.style import COLOURS, MARKERS, house_style, log_ticks
from irazor_tf.report.tables import markdown_table, text_table
from irazor_tf.search.budget import BudgetError
from irazor_tf.search.method import METHODS as SEARCHES

# Longer than 300 lines: a command of its own, with its series, runs, tables and figure.
SHARES = {"a quarter": 0.25, "a half": 0.5}
WIDTHS = {
    "criteo": (2, 4, 8, 16),
    "criteo-deepfm": (1, 2, 4, 8, 16),
    "frappe": (4, 8, 16, 30),
    "movielens": (2, 4, 8, 16),
}
SEEDS = {"movielens": (1,)}
IRAZOR: dict[str, str | dict[str, str]] = {  # one search for both budgets, or one for each
    "criteo": EXPERIMENTS["criteo"].methods["held-out, lambda .01"],
    "criteo-deepfm": EXPERIMENTS["criteo"].methods["held-out, lambda .01"],
    "frappe": EXPERIMENTS["frappe"].methods["lambda .001, steps of 5"],
    # What keeps user and movie at 5 dimensions does not fit in a quarter: there every dimension is
    # a region.
    "movielens": {
        "a quarter": on_movielens(tuple(range(17)), 6e-4),
        "a half": EXPERIMENTS["movielens"].methods["lambda .0006"],
    },
}
# Weights of the searches that go on from a trained model: those of the training, restarted, overfit
# a small log before alpha has moved.
SLOW = {
    "criteo": "adagrad(learning_rate=0.002, initial_accumulator_value=0.1)",
    "criteo-deepfm": "adagrad(learning_rate=0.002, initial_accumulator_value=0.1)",
    "frappe": "adam(learning_rate=5e-4)",
    "movielens": "adam(learning_rate=5e-4)",
}
# Searched as their papers say, but for what small logs need (docs/deviations.md tells how that
# was found). {size} is the budget.
MASKS = "epochs=4, base_dim={width}, weights_optimizer='{slow}'"
HAM = (
    "ham(preset='small_log', size={size}, in_parameters=True, base_dim={width}, "
    "weights_optimizer='{slow}'"
)
IHAS = "ihas(preset='small_log', epochs=4, weights_optimizer='{slow}'"
METHODS = {
    "DNIS": "dnis()",
    "HAM": HAM + ")",
    "SAM": f"sam({MASKS})",
    "SAM-GS": f"sam_gs(preset='small_log', {MASKS})",
    "HAM-p": f"ham_p(preset='small_log', {MASKS})",
    "SSEDS": "sseds()",
    "SSEDS, small logs": "sseds(preset='small_log')",
    "iHAS": IHAS + ")",
}
# The papers' recipes, the weights' optimizers among them, in the batches and towers of the set.
ADAM = "optimizer='adam(learning_rate=0.001)'"
HAM_PUBLISHED = "ham(preset='paper', size={size}, in_parameters=True, base_dim={width}"
PUBLISHED: dict[str, str | dict[str, str]] = {
    "i-Razor, as published": "irazor(preset='paper')",
    "DNIS, as published": "dnis(preset='paper')",
    "HAM, as published": HAM_PUBLISHED + ")",
    "HAM, but for the weights' optimizer": "ham(size={size}, in_parameters=True, base_dim={width}, "
    "early_stop=False)",
    "SSEDS, as published": "sseds(preset='paper')",
    # What their optimizer does without them.
    "uniform, Adam": f"fde({ADAM})",
    "magnitude, entries, Adam": f"magnitude(per='entry', {ADAM})",
}
CONTROLS = {
    "magnitude": "magnitude()",
    "magnitude, entries": "magnitude(per='entry')",
    "random": "random()",
}
# Everything kept, pretrained, searched in and trained on as the masks are: what methods that go on
# training owe to that alone.
TRAINED_ON = ("nothing removed", "trained as SAM is", f"sam(share=1.0, {MASKS})")
# Method -> label of what it is without a part of it -> spec.
ABLATIONS: dict[str, dict[str, dict[str, str]]] = {
    "criteo": {
        "iHAS": {
            "iHAS-1 (the search's own model)": IHAS + ", retrain=False)",
            "iHAS-2 (one cluster)": IHAS + ", clusters=1)",
            "iHAS-3 (no polarisation)": IHAS + ", polarization=0.0)",
            "iHAS-4 (gates blind to the row)": IHAS + ", instance_wise=False)",
        },
        "HAM": {"HAM without orthogonality": HAM + ", orthogonality=0.0)"},
    },
    "criteo-deepfm": {
        "SSEDS": {
            "SSEDS without retraining": "sseds(retrain=False)",
            "SSEDS without ticket": "sseds(ticket=False)",
        },
        "HAM": {"HAM without orthogonality": HAM + ", orthogonality=0.0)"},
    },
}
# of methods whose result no budget holds: it is a point too, and their ablations are compared with
# it
OWN_SIZE = "its own size"
VALID = {"valid_auc": "valid AUC", "valid_log_loss": "valid log loss"}
TEST = {"auc": "test AUC", "log_loss": "test log loss"}
SPECIAL: dict[str, dict[str, str | dict[str, str]]] = {
    # Table 2's temperature on Criteo; HAM's paper gives no orthogonality there, and on Avazu, a log
    # like it, this one.
    "criteo": {
        "i-Razor, as published": "irazor(preset='paper', temperature=0.1)",
        "HAM, as published": HAM_PUBLISHED + ", cosine=True, orthogonality=1e-6)",
    },
    "criteo-deepfm": {
        "i-Razor, as published": "irazor(preset='paper', temperature=0.1)",
        "HAM, as published": HAM_PUBLISHED + ", cosine=True, orthogonality=1e-6)",
    },
    "frappe": {
        "DNIS": "dnis(epochs=13, stop_at_best=False)"
    },  # its log loss worsens while AUC still grows
    # The gradient in a mask is larger here: at the preset's rate it holds columns against mu, and
    # the search stays above its size.
    "movielens": {
        "HAM": HAM + ", alpha_optimizer='sgd(learning_rate=0.1)')",
        "DNIS, as published": "dnis(preset='paper', blocks=10)",
    },
}


def experiment_of(name: str) -> Experiment:
    """The data set of `benchmarks.real_data`, with the base model that the set asks for."""
    base = EXPERIMENTS[name.split("-")[0]]
    return (
        dataclasses.replace(base, model=base.model.replace("mlp(", "deepfm("))
        if name.endswith("-deepfm")
        else base
    )


def uniform(points: Points, widths: Sequence[int], test: bool) -> list[dict[str, Any]]:
    """The uniform models of one seed."""
    points.add_widths(widths)
    return points.run(test=test)


def series_of(name: str) -> dict[str, str | dict[str, str]]:
    """Every method and control of a set, and the spec (or the one by budget) that it stands for."""
    return {"i-Razor": IRAZOR[name], **METHODS, **PUBLISHED, **CONTROLS} | SPECIAL.get(name, {})


def ablations_of(name: str) -> dict[str, str]:
    """Every ablation of a set."""
    return {
        label: spec for chosen in ABLATIONS.get(name, {}).values() for label, spec in chosen.items()
    }


def compared(
    points: Points,
    name: str,
    budgets: Mapping[str, int],
    width: int,
    test: bool,
    only: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Every method, control and ablation of one seed, or those of `only`, at every budget."""
    parts = ablations_of(name)
    for series, specs in {**series_of(name), **parts}.items():
        if only and series not in only:
            continue
        for label, spec, size in points_of(specs, name, budgets, width, part=series in parts):
            try:
                points.add(series, label, spec, size)
            except BudgetError as error:
                print(f"  {series} {label}: no point. {error}", flush=True)
    series, label, spec = TRAINED_ON
    if not only or series in only:
        points.add(series, label, spec.format(width=width, slow=SLOW[name]))
    return points.run(test=test)


def points_of(
    specs: str | Mapping[str, str], name: str, budgets: Mapping[str, int], width: int, *, part: bool
) -> list[tuple[str, str, int | None]]:
    """Label, spec and budget of a series' points: one per budget. A method that no budget holds (a
    router, larger than the space, comes on top of its clusters' models, which share the budget) has
    one at its own size, too, and as a `part` of an ablation that alone."""
    entries: list[tuple[str, str, int | None]] = []
    for label, size in budgets.items():
        spec = specs if isinstance(specs, str) else specs[label.split(" of ")[0]]
        filled = spec.format(size=size, width=width, slow=SLOW[name])
        if SEARCHES.build(filled).traits.budget == "exceeded":
            chosen = (OWN_SIZE, filled, None)
            if part:
                return [chosen]
            entries = entries or [chosen]
        entries.append((label, filled, size))
    return entries


def best_uniform(records: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """Label and parameters of the uniform model with the best mean validation AUC."""
    entries: dict[tuple[str, int], list[float]] = {}
    for record in records:
        if record["series"] == "uniform":
            entries.setdefault((record["label"], record["params"]), []).append(record["valid_auc"])
    return max(entries, key=lambda key: np.mean(entries[key]))


def compared_rows(
    name: str, records: Sequence[dict[str, Any]], metrics: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Header and a row per point: mean and spread over seeds, and differences with the p of a
    two-sided paired t-test over the seeds: from the best uniform model, from i-Razor at the same
    budget, and of an ablation from its whole method."""
    # Longer than 60 lines: one table, and three short functions that read its entries.
    seeds = list(dict.fromkeys(record["seed"] for record in records))
    entries = {(record["series"], record["label"], record["seed"]): record for record in records}
    whole = {
        label: method for method, chosen in ABLATIONS.get(name, {}).items() for label in chosen
    }
    best, _ = best_uniform(records)

    def difference(ours: tuple[str, str], other: tuple[str, str], metric: str) -> str:
        pairs = [(entries.get((*ours, seed)), entries.get((*other, seed))) for seed in seeds]
        if ours == other or not all(a and b for a, b in pairs):
            return "-"
        a, b = np.array([(a[metric], b[metric]) for a, b in pairs if a and b]).T
        if len(seeds) == 1 or np.allclose(a, b):
            return f"{np.mean(a - b):+.4f}"
        p = ttest_rel(a, b).pvalue
        return f"{np.mean(a - b):+.4f} (p {f'{p:.3f}' if p >= 0.0005 else '< 0.001'})"

    def mean(series: str, label: str, key: str) -> float:
        return float(
            np.mean(
                [
                    entries[series, label, seed][key]
                    for seed in seeds
                    if (series, label, seed) in entries
                ]
                or [np.nan]
            )
        )

    shown = {"valid_auc": VALID["valid_auc"], **metrics}
    (first, title), (second, second_title) = metrics.items()
    header = [
        "point",
        "params",
        "fields",
        *shown.values(),
        "search s",
        f"{title} less uniform's",
        f"{second_title} less uniform's",
    ]
    header += [f"{title} less i-Razor's", f"{title} less its method's"]
    rows = []
    for series, label in dict.fromkeys((record["series"], record["label"]) for record in records):
        same = [entries[series, label, seed] for seed in seeds if (series, label, seed) in entries]
        lacking = f" ({len(same)} of {len(seeds)} seeds)" if len(same) < len(seeds) else ""
        size = mean(series, label, "params")
        row = [
            f"{series}, {label}{lacking}",
            f"{size:,.0f}",
            f"{mean(series, label, 'fields'):.1f}",
        ]
        row += [mean_and_spread([record[key] for record in same]) for key in shown]
        row.append(f"{mean(series, label, 'search_seconds'):.0f}")
        row += [
            difference((series, label), ("uniform", best), metric) for metric in (first, second)
        ]
        # What is larger than its budget (a router comes on top) is not set beside what is not.
        fits = all(record["params"] <= (record.get("budget") or 0) for record in same)
        row.append(difference((series, label), ("i-Razor", label), first) if fits else "-")
        row.append(
            difference((series, label), (whole[series], label), first) if series in whole else "-"
        )
        rows.append(row)
    return header, rows


def plot(
    every: Mapping[str, Sequence[dict[str, Any]]], metrics: Mapping[str, str], path: str
) -> None:
    """A column of panels per set, a row per metric: its mean against mean embedding parameters, a
    line per method."""
    with house_style():
        figure = Figure(figsize=(5.6 * len(every), 1.0 + 3.8 * len(metrics)), layout="constrained")
        axes = figure.subplots(len(metrics), len(every), squeeze=False, sharex="col")
        lines: dict[str, Any] = {}
        for column, (name, records) in enumerate(every.items()):
            for axis, (metric, title) in zip(axes[:, column], metrics.items(), strict=True):
                for number, series in enumerate(
                    ("uniform", "i-Razor", *METHODS, *PUBLISHED, *CONTROLS, TRAINED_ON[0])
                ):
                    labels = dict.fromkeys(
                        record["label"] for record in records if record["series"] == series
                    )
                    same = [
                        [
                            record
                            for record in records
                            if (record["series"], record["label"]) == (series, label)
                        ]
                        for label in labels
                    ]
                    at = sorted(
                        (np.mean([r["params"] for r in group]), np.mean([r[metric] for r in group]))
                        for group in same
                    )
                    if at:
                        turn = number // len(COLOURS)
                        colour, marker = (
                            COLOURS[number % len(COLOURS)],
                            MARKERS[(number + 3 * turn) % len(MARKERS)],
                        )
                        dashes = "--" if turn else "-"
                        x, y = zip(*at, strict=True)
                        lines[series] = axis.plot(
                            x, y, dashes, color=colour, marker=marker, markersize=5, label=series
                        )[0]
                axis.set_xscale("log")
                log_ticks(axis.xaxis)
                axis.set_ylabel(title)
                axis.grid(True)
            axes[0, column].set_title(name)
            axes[-1, column].set_xlabel("embedding parameters (log scale)")
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=6)
        figure.savefig(path, metadata={"Date": None})


def run_set(
    name: str, out: str, logs: str, seeds: Sequence[int], test: bool, only: Sequence[str] = ()
) -> None:
    """Trains and evaluates all points of a set, or the uniform ones and the series of `only`, and
    writes their records."""
    experiment, folder = experiment_of(name), os.path.join(out, name)

    def points(seed: int) -> Points:
        return Points(experiment, experiment.located(logs), folder, seed)

    records = [record for seed in seeds for record in uniform(points(seed), WIDTHS[name], test)]
    best, whole = best_uniform(records)
    budgets = {f"{label} of uniform {best}": int(share * whole) for label, share in SHARES.items()}
    print(
        f"{name}: best uniform {best} with {whole:,} parameters; budgets "
        f"{', '.join(f'{n:,}' for n in budgets.values())}",
        flush=True,
    )
    for seed in seeds:
        print(f"{name}, seed {seed}", flush=True)
        records += compared(points(seed), name, budgets, experiment.width, test, only)
    records = [record | {"budget": budgets.get(record["label"])} for record in records]
    write_json(os.path.join(out, _name(test, name, "json")), records)


def _name(test: bool, *parts: str) -> str:
    """methods-<set>.json, methods.md, methods.svg; with --validation_only
    methods-<set>-validation.json and so on."""
    *names, suffix = parts
    return "-".join(["methods", *names, *([] if test else ["validation"])]) + f".{suffix}"


def minutes_of_training(folder: str) -> float:
    """Of all searches and models of all seeds under `folder`, whichever call did them."""
    states = glob.glob(
        os.path.join(glob.escape(folder), "seed-*", "**", "state.json"), recursive=True
    )
    return sum(read_json(path)[0].get("seconds", 0.0) for path in states) / 60


def main(_: list[str]) -> None:
    """Runs the chosen sets and seeds; tables and figure are of all
    sets that are finished in DIR."""
    logging.set_verbosity(logging.ERROR)
    given = flags.FLAGS
    test = not given.validation_only
    metrics = TEST if test else VALID
    if unknown := [name for name in given.sets if name not in WIDTHS]:
        raise ValueError(f"--sets should be some of {', '.join(WIDTHS)}. Received: {unknown[0]!r}")
    for name in given.sets:
        known = [*series_of(name), *ablations_of(name), TRAINED_ON[0]]
        if unknown := [series for series in given.series if series not in known]:
            raise ValueError(
                f"--series of {name} should be some of {'; '.join(known)}. Received: {unknown[0]!r}"
            )
    for name in given.sets:
        run_set(
            name,
            given.out,
            given.logs,
            [int(seed) for seed in given.seeds] or SEEDS.get(name, (1, 2, 3)),
            test,
            given.series,
        )
    paths = {name: os.path.join(given.out, _name(test, name, "json")) for name in WIDTHS}
    every = {name: read_json(path)[0] for name, path in paths.items() if os.path.exists(path)}
    tables = []
    for name, records in every.items():
        header, rows = compared_rows(name, records, metrics)
        best, whole = best_uniform(records)
        minutes = minutes_of_training(os.path.join(given.out, name))
        about = (
            f"**{name}**, best uniform model on validation {best} ({whole:,} parameters), "
            f"{minutes:.0f} minutes of training"
        )
        print(f"\n{about}\n{text_table(header, rows)}\n", flush=True)
        tables.append(f"{about}\n\n{markdown_table(header, rows)}\n")
    with open(os.path.join(given.out, _name(test, "md")), "w", encoding="utf-8") as file:
        file.write("\n".join(tables))
    plot(every, metrics, os.path.join(given.out, _name(test, "svg")))


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string(
        "logs", None, "Folder of the logs (criteo/, frappe/, ml-1m/).", required=True
    )
    flags.DEFINE_list("sets", list(WIDTHS), "Which sets.")
    flags.DEFINE_list("seeds", [], "Which seeds; default: three, for MovieLens one.")
    flags.DEFINE_multi_string(
        "series",
        [],
        "Which methods, controls and ablations, beside the uniform widths; default: all.",
    )
    flags.DEFINE_bool(
        "validation_only", False, "Leave the test split unread: for choosing settings."
    )
    app.run(main)
