"""Plain training by default, as it was and as it is, beside the baselines, on nine logs: AUC, log loss and calibration error.

    python -m benchmarks.recipes --out=DIR --logs=FOLDER [--sets=criteo,frappe,...] [--recipes="before + default + lr"] [--seeds=1,2,3]

`--recipes="default + default(embedding_ridge=0.0)"`: settings in brackets take the place of the recipe's own, `model` and `min_count` too.

Every cell is a job of its own under DIR (method `fde`: every field at the width of the flags' default, 16), so a run that was stopped
goes on where it was. MovieLens is trained with the first seed alone; Avazu's 9,999 rows once for each of 20 splits, whose mean stands
with its 95% interval. Written at the end: DIR/recipes.json and DIR/recipes.md.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags, logging
from scipy import stats

from benchmarks.common import FORMER, mean_and_spread
from benchmarks.real_data import EXPERIMENTS
from data_pipelines.preprocess import PreprocessOptions
from irazor_tf import jobs
from irazor_tf.input_config import digest
from irazor_tf.job_config import JobConfig
from irazor_tf.json_files import write_json
from irazor_tf.registry import Spec, did_you_mean, parse_specs
from irazor_tf.tables import markdown_table, text_table
from irazor_tf.trainer import TrainOptions
from launch.flags import PRESETS

FORM = """
header: true
columns:
  - {name: label, kind: label}
  - {name: row}
  - {name: user}
  - {name: item}
  - {name: item_again}
  - {name: junk}
"""
TEST_ROWS = 100_000
SPLITS = 20  # of Avazu's rows
SHOWN = {"valid_auc": "valid AUC", "auc": "test AUC", "log_loss": "test log loss"}


def log_lines(labels: np.ndarray, users: np.ndarray, items: np.ndarray, junk: np.ndarray, first: int = 0) -> list[str]:
    """Header and rows of a log of this form; ids of rows are counted from `first`."""
    columns = zip(labels, users, items, junk, strict=True)
    rows = [f"{int(label)},r{first + row},u{user},{item},i{item},{j}" for row, (label, user, item, j) in enumerate(columns)]
    return ["label,row,user,item,item_again,junk", *rows]


def generated(rows: int, folder: str) -> PreprocessOptions:
    """A log of `rows` training and validation rows and a test file of 100,000, with an id per row and a column twice; users and items
    matter, junk does not."""
    schema = os.path.join(folder, "log.yaml")  # written last
    inputs, tests = (os.path.join(folder, "train.csv"),), (os.path.join(folder, "test.csv"),)
    options = PreprocessOptions("table", inputs, test_input=tests, schema=schema, fractions=(0.9, 0.1, 0.0))
    if os.path.exists(schema):
        return options
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(rows)
    user_effect, item_effect = rng.normal(size=2000), rng.normal(size=200)
    first = 0
    for name, number in (("train", rows), ("test", TEST_ROWS)):
        users, items, junk = rng.zipf(1.3, number) % 2000, rng.integers(200, size=number), rng.integers(500, size=number)
        labels = rng.random(number) < 1 / (1 + np.exp(1.5 - 0.7 * user_effect[users] - 0.5 * item_effect[items]))
        with open(os.path.join(folder, f"{name}.csv"), "w", encoding="utf-8") as file:
            file.write("\n".join(log_lines(labels, users, items, junk, first)))
        first += number
    with open(schema, "w", encoding="utf-8") as file:
        file.write(FORM)
    return options


def log_of(name: str, logs: str, out: str) -> PreprocessOptions:
    """How a log is read; `min_count` is left to the recipe."""
    if name.startswith("generated-"):
        return generated(int(name.partition("-")[2]), os.path.join(out, name, "log"))
    if name in ("planted", "planted_groups"):
        return PreprocessOptions(name)
    if name == "adult":
        files = [os.path.join(logs, "adult", f"adult.{part}.gz") for part in ("data", "test")]
        form = os.path.join(PRESETS, "adult.yaml")
        return PreprocessOptions("table", (files[0],), test_input=(files[1],), schema=form, fractions=(0.9, 0.1, 0.0))
    if name == "avazu":
        path = os.path.join(logs, "avazu", "avazu_first9999.csv.gz")
        return PreprocessOptions("table", (path,), schema=os.path.join(PRESETS, "avazu.yaml"))
    experiment = EXPERIMENTS[name]
    return dataclasses.replace(experiment.located(logs), min_count="auto")


# Recipe -> base model, least count, training settings.
RECIPES: dict[str, tuple[str, int | str, TrainOptions]] = {
    "before": ("mlp", 1, FORMER),
    "default": ("mlp", "auto", TrainOptions()),
    "lr": ("lr", "auto", TrainOptions()),
}
SETS = ("criteo", "frappe", "movielens", "avazu", "adult", "generated-5000", "generated-30000", "planted", "planted_groups")


def recipe_of(spec: Spec) -> tuple[str, int | str, TrainOptions]:
    """Base model, least count and training settings.

    Raises:
      ValueError: no such recipe, or no such setting.
    """
    if spec.name not in RECIPES:
        raise ValueError(f"A recipe should be one of {', '.join(RECIPES)}. {did_you_mean(spec.name, RECIPES)}")
    model, least, train = RECIPES[spec.name]
    given = dict(spec.arguments)
    model, least = given.pop("model", model), given.pop("min_count", least)
    known = [field.name for field in dataclasses.fields(train)]
    for key in given:
        if key not in known:
            raise ValueError(f"A setting of a recipe should be one of {', '.join(known)}. {did_you_mean(key, known)}")
    return model, least, dataclasses.replace(train, **given)


def cell(name: str, spec: Spec, seed: int, data: PreprocessOptions, out: str) -> list[dict[str, Any]]:
    """What one job has to say: the uniform model and, with the default recipe, the baselines."""
    model, least, train = recipe_of(spec)
    recipe = str(spec)
    if name == "avazu":  # another split each time
        data = dataclasses.replace(data, seed=seed)
    records = f"data-{least}-{seed}" if name == "avazu" else f"data-{least}"
    job = JobConfig(
        os.path.join(out, name, f"{spec.name}-{digest([recipe])}", f"seed-{seed}"),
        model=model,
        method="fde",
        data=dataclasses.replace(data, min_count=least),
        data_dir=os.path.join(out, name, records),
        train=train,
        seed=seed,
        controls=(),
        baselines=JobConfig.baselines if recipe == "default()" else (),
        progress=False,
    )
    jobs.retrain(job)
    points = jobs.evaluate(job)
    return [point | {"set": name, "recipe": point["name"] if "params" not in point else recipe.removesuffix("()")} for point in points]


def rows_of(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row per set and recipe."""
    rows = []
    for name, recipe in dict.fromkeys((record["set"], record["recipe"]) for record in records):
        same = [record for record in records if (record["set"], record["recipe"]) == (name, recipe)]
        metrics = [[record[key] for record in same] for key in SHOWN]
        metrics.append([record["calibration"]["calibration_error"] for record in same if "calibration" in record])
        rows.append([name, recipe, str(len(same)), *(_spread(values, name) for values in metrics)])
    return rows


def _spread(values: Sequence[float], name: str) -> str:
    """Mean and spread over seeds; over splits the mean and half of its 95% interval."""
    if name != "avazu" or len(values) < 3:
        return mean_and_spread(values) if values else "-"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.4f} ± {half:.4f}"


def main(_: list[str]) -> None:
    """Runs the chosen sets, recipes and seeds."""
    logging.set_verbosity(logging.ERROR)
    given, records = flags.FLAGS, []
    for name in given.sets:
        data = log_of(name, given.logs, given.out)
        seeds = range(1, SPLITS + 1) if name == "avazu" else map(int, given.seeds[:1] if name == "movielens" else given.seeds)
        for seed in seeds:
            for spec in parse_specs(given.recipes):
                records += cell(name, spec, seed, data, given.out)
                found = next(record for record in reversed(records) if "params" in record)
                print(f"{name} {found['recipe']} seed {seed}: {found['auc']:.4f} {found['log_loss']:.4f}", flush=True)
        header = ("log", "recipe", "seeds", *SHOWN.values(), "calibration error")
        print(text_table(header, rows_of(records)), flush=True)
        write_json(os.path.join(given.out, "recipes.json"), records)
        with open(os.path.join(given.out, "recipes.md"), "w", encoding="utf-8") as file:
            file.write(markdown_table(header, rows_of(records)) + "\n")


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string("logs", None, "Folder of the logs (criteo/, frappe/, ml-1m/, avazu/, adult/).", required=True)
    flags.DEFINE_list("sets", list(SETS), "Which logs.")
    flags.DEFINE_string("recipes", " + ".join(RECIPES), "Which recipes.")
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Which seeds.")
    app.run(main)
