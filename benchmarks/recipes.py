"""Plain training by default and by preset, as it was and as it is, beside the baselines, on nine
logs: AUC, log loss, calibration error.

    python -m benchmarks.recipes --out=DIR --logs=FOLDER [--sets=criteo,frappe,...]
    [--recipes="before + default + lr"] [--seeds=1,2,3]

`before` are the defaults before there was "auto", `default` the defaults, `lr` those of the model
of that name. `preset` is the log's preset with every field at its width, `preset_search` with its
search; `former_preset` and `former_preset_search` are the presets before this benchmark
(benchmarks/former_presets/). A log without a preset is passed over. `--recipes="default +
default(embedding_ridge=0.0)"`: settings in brackets take the place of the recipe's own, `model`,
`width`, `method` and `min_count` too.

Every cell is a job of its own under DIR (every field 16 wide, the flags' default, but with a
preset), so a run that was stopped goes on where it was. MovieLens is trained with the first seed
alone; Avazu's 9,999 rows once for each of 20 splits, whose mean stands with its 95% interval.
Written at the end: DIR/recipes.json and DIR/recipes.md."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags, logging
from absl.testing import flagsaver
from scipy import stats

from benchmarks.common import FORMER, mean_and_spread
from benchmarks.real_data import EXPERIMENTS
from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.config.checks import did_you_mean
from irazor_tf.config.files import write_json
from irazor_tf.config.input_config import digest
from irazor_tf.config.specs import Spec, parse_specs
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.config import JobConfig
from irazor_tf.report.tables import markdown_table, text_table
from irazor_tf.training.options import TrainOptions
from launch.command import flags as launch_flags
from launch.command.flagfiles import PRESETS
from launch.command.job import job_config

# Longer than 300 lines: a command of its own, with its logs, recipes, runs and tables.
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
SHOWN = {"valid_log_loss": "valid log loss", "auc": "test AUC", "log_loss": "test log loss"}


def log_lines(
    labels: np.ndarray, users: np.ndarray, items: np.ndarray, junk: np.ndarray, first: int = 0
) -> list[str]:
    """Header and rows of a log of this form; ids of rows are counted from `first`."""
    columns = zip(labels, users, items, junk, strict=True)
    rows = [
        f"{int(label)},r{first + row},u{user},{item},i{item},{j}"
        for row, (label, user, item, j) in enumerate(columns)
    ]
    return ["label,row,user,item,item_again,junk", *rows]


def generated(rows: int, folder: str) -> PreprocessOptions:
    """A log of `rows` training and validation rows and a test file of 100,000, with an id per row
    and a column twice; users and items matter, junk does not."""
    schema = os.path.join(folder, "log.yaml")  # written last
    inputs, tests = (os.path.join(folder, "train.csv"),), (os.path.join(folder, "test.csv"),)
    options = PreprocessOptions(
        "table", inputs, test_input=tests, schema=schema, fractions=(0.9, 0.1, 0.0)
    )
    if os.path.exists(schema):
        return options
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(rows)
    user_effect, item_effect = rng.normal(size=2000), rng.normal(size=200)
    first = 0
    for name, number in (("train", rows), ("test", TEST_ROWS)):
        users, items, junk = (
            rng.zipf(1.3, number) % 2000,
            rng.integers(200, size=number),
            rng.integers(500, size=number),
        )
        labels = rng.random(number) < 1 / (
            1 + np.exp(1.5 - 0.7 * user_effect[users] - 0.5 * item_effect[items])
        )
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
        return PreprocessOptions(
            "table", (files[0],), test_input=(files[1],), schema=form, fractions=(0.9, 0.1, 0.0)
        )
    if name == "avazu":
        path = os.path.join(logs, "avazu", "avazu_first9999.csv.gz")
        return PreprocessOptions("table", (path,), schema=os.path.join(PRESETS, "avazu.yaml"))
    experiment = EXPERIMENTS[name]
    return dataclasses.replace(experiment.located(logs), min_count="auto")


SETS = (
    "criteo",
    "frappe",
    "movielens",
    "avazu",
    "adult",
    "generated-5000",
    "generated-30000",
    "planted",
    "planted_groups",
)
# Recipe -> base model, least count, training settings.
PLAIN: dict[str, tuple[str, int | str, TrainOptions]] = {
    "before": ("mlp", 1, FORMER),
    "default": ("mlp", "auto", TrainOptions()),
    "lr": ("lr", "auto", TrainOptions()),
}
# Recipe -> folder of the presets.
FOLDERS = {
    "preset": PRESETS,
    "former_preset": os.path.join(os.path.dirname(os.path.abspath(__file__)), "former_presets"),
}
RECIPES = (*PLAIN, *(f"{name}{end}" for name in FOLDERS for end in ("", "_search")))


def recipe_of(spec: Spec, name: str) -> JobConfig | None:
    """The job that a recipe makes of the log `name`, its folders aside; None where it is a preset
    that there is none of.

    Raises:
      ValueError: no such recipe, or no such setting.
    """
    if spec.name not in RECIPES:
        raise ValueError(
            f"A recipe should be one of {', '.join(RECIPES)}. {did_you_mean(spec.name, RECIPES)}"
        )
    if spec.name in PLAIN:
        model, least, train = PLAIN[spec.name]
        job = JobConfig(
            "",
            model=model,
            method="fde",
            train=train,
            data=PreprocessOptions("planted", min_count=least),
        )
    else:
        path = os.path.join(FOLDERS[spec.name.removesuffix("_search")], f"{name}.flags")
        if not os.path.exists(path):
            return None
        job = _preset(path)
        if not spec.name.endswith("_search"):
            job = dataclasses.replace(job, method="fde", budget_params=None)
    assert job.data is not None
    given = dict(spec.arguments)
    data = dataclasses.replace(job.data, min_count=given.pop("min_count", job.data.min_count))
    settings = {key: given.pop(key) for key in ("model", "method", "width") if key in given}
    known = [field.name for field in dataclasses.fields(job.train)]
    for key in given:
        if key not in known:
            raise ValueError(
                f"A setting of a recipe should be one of {', '.join(known)}. "
                f"{did_you_mean(key, known)}"
            )
    return dataclasses.replace(
        job, data=data, train=dataclasses.replace(job.train, **given), **settings
    )


def _preset(path: str) -> JobConfig:
    """The job of a flagfile."""
    launch_flags.define()
    with flagsaver.flagsaver():
        flags.FLAGS(["recipes", f"--flagfile={path}", "--model_dir=", "--input=x"])
        return job_config()


def cell(
    name: str, spec: Spec, seed: int, data: PreprocessOptions, out: str
) -> list[dict[str, Any]]:
    """What one job has to say: the model that the recipe is for and, with the default recipe, the
    baselines."""
    recipe, shown = recipe_of(spec, name), str(spec).removesuffix("()")
    if recipe is None:
        return []
    assert recipe.data is not None
    least = recipe.data.min_count
    if name == "avazu":  # another split each time
        data = dataclasses.replace(data, seed=seed)
    records = f"data-{least}-{seed}" if name == "avazu" else f"data-{least}"
    job = dataclasses.replace(
        recipe,
        model_dir=os.path.join(out, name, f"{spec.name}-{digest([str(spec)])}", f"seed-{seed}"),
        data=dataclasses.replace(data, min_count=least),
        data_dir=os.path.join(out, name, records),
        seed=seed,
        controls=(),
        curve=False,
        baselines=JobConfig.baselines if shown == "default" else (),
        progress=False,
    )
    jobs.retrain(job)
    points = jobs.evaluate(job)
    return [
        point | {"set": name, "recipe": point["name"] if "params" not in point else shown}
        for point in points
    ]


def rows_of(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row per set and recipe."""
    rows = []
    for name, recipe in dict.fromkeys((record["set"], record["recipe"]) for record in records):
        same = [record for record in records if (record["set"], record["recipe"]) == (name, recipe)]
        metrics = [[record[key] for record in same] for key in SHOWN]
        metrics.append(
            [
                record["calibration"]["calibration_error"]
                for record in same
                if "calibration" in record
            ]
        )
        metrics.append(
            [record["calibrated_log_loss"] for record in same if "calibrated_log_loss" in record]
        )
        sizes = [record["params"] for record in same if "params" in record]
        params = f"{round(np.mean(sizes)):,}" if sizes else "-"
        rows.append(
            [name, recipe, str(len(same)), *(_spread(values, name) for values in metrics), params]
        )
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
        seeds = (
            range(1, SPLITS + 1)
            if name == "avazu"
            else map(int, given.seeds[:1] if name == "movielens" else given.seeds)
        )
        for seed in seeds:
            for spec in parse_specs(given.recipes):
                for record in (of_cell := cell(name, spec, seed, data, given.out)):
                    print(
                        f"{name} {record['recipe']} seed {seed}: {record['auc']:.4f} "
                        f"{record['log_loss']:.4f}",
                        flush=True,
                    )
                records += of_cell
        header = (
            "log",
            "recipe",
            "seeds",
            *SHOWN.values(),
            "calibration error",
            "calibrated log loss",
            "params",
        )
        print(text_table(header, rows_of(records)), flush=True)
        write_json(os.path.join(given.out, "recipes.json"), records)
        with open(os.path.join(given.out, "recipes.md"), "w", encoding="utf-8") as file:
            file.write(markdown_table(header, rows_of(records)) + "\n")


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Folder for everything.", required=True)
    flags.DEFINE_string(
        "logs",
        None,
        "Folder of the logs (criteo/, frappe/, ml-1m/, avazu/, adult/).",
        required=True,
    )
    flags.DEFINE_list("sets", list(SETS), "Which logs.")
    flags.DEFINE_string(
        "recipes", "before + default + lr", f"Which recipes of {', '.join(RECIPES)}."
    )
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Which seeds.")
    app.run(main)
