"""Every preset makes a job, says in its first lines how it is called and what to expect, and
travels with the package."""

from __future__ import annotations

import ast
import dataclasses
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from data_pipelines.preprocess import PreprocessOptions, preprocess
from data_pipelines.reader import READERS
from data_pipelines.readers.table.schema import TableSchema
from irazor_tf.config.schema import Schema
from irazor_tf.config.specs import parse_spec
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.config import JobConfig
from irazor_tf.jobs.job import Job
from irazor_tf.search.method import METHODS
from irazor_tf.training.source import Source
from launch.command.flagfiles import PRESETS as FOLDER
from tests.jobs.small_jobs import job_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRESETS = sorted(pathlib.Path(FOLDER).glob("*.flags"))
NAMES = [path.stem for path in PRESETS]
# Table 2 of the paper: width, candidates, temperature, cpt, rows of a batch, layer normalisation.
PAPER = {
    "paper_avazu": (30, (0, 1, 2, 4, 8, 16, 30), 0.05, 0.45, 128, True),
    "paper_avazu_fg": (6, (0, 1, 2, 4, 6), 0.05, 0.3, 128, True),
    "paper_criteo": (25, (0, 1, 2, 4, 8, 16, 25), 0.1, 0.8, 500, False),
    "paper_criteo_fg": (10, (0, 1, 3, 6, 10), 0.2, 0.3, 500, False),
}

ADAM, DECAYED = (
    "adam(learning_rate=0.001)",
    "adam(learning_rate=0.001, weight_decay=1e-06, epsilon=1e-08)",
)
DEEPFM = "deepfm(hidden=(400,400,400))"
MAPPED = "deepfm(hidden=(400,400,400), align_always=True)"  # HAM, section 4.3
# The other papers' sections on their implementation: width, rows of a batch, model, optimizer,
# least frequency, the method's settings.
PAPERS: dict[str, tuple[int, int, str, str, int, dict[str, Any]]] = {
    "paper_dnis_movielens": (
        64,
        4096,
        "mlp(hidden=(128,64))",
        ADAM,
        1,
        {"blocks": 10, "alpha_optimizer": "adam(learning_rate=0.01)"},
    ),
    "paper_dnis_criteo": (
        64,
        4096,
        DEEPFM,
        ADAM,
        4,
        {"blocks": 6, "alpha_optimizer": "adam(learning_rate=0.01)"},
    ),
    "paper_ham_movielens": (
        16,
        2048,
        MAPPED,
        ADAM,
        1,
        {"size": 28, "mu": 5e-5, "epochs": 10, "orthogonality": 1e-3, "cosine": False},
    ),
    "paper_ham_criteo": (
        16,
        2048,
        MAPPED,
        ADAM,
        10,
        {"size": 90, "mu": 5e-5, "epochs": 10, "orthogonality": 1e-6, "cosine": True},
    ),
    "paper_ham_avazu": (
        16,
        2048,
        MAPPED,
        ADAM,
        4,
        {"size": 50, "mu": 5e-5, "epochs": 10, "orthogonality": 1e-6, "cosine": True},
    ),
    "paper_sseds_criteo": (
        128,
        2048,
        "deepfm(hidden=(1024,1024))",
        ADAM,
        10,
        {"kappa": 0.1, "batches": 1, "on_validation": False},
    ),
    "paper_sseds_avazu": (
        128,
        2048,
        "deepfm(hidden=(1024,1024))",
        ADAM,
        10,
        {"kappa": 0.1, "batches": 1, "on_validation": False},
    ),
    "paper_ihas_criteo": (
        16,
        2048,
        "mlp(hidden=(16,8))",
        DECAYED,
        10,
        {"every": 100, "temperature": 0.1, "clusters": 2},
    ),
    "paper_ihas_avazu": (
        16,
        2048,
        "mlp(hidden=(16,8))",
        DECAYED,
        10,
        {"every": 100, "temperature": 0.1, "clusters": 2},
    ),
}


def preset(name: str, *changes: str) -> JobConfig:
    return job_of([f"--flagfile={name}", "--model_dir=somewhere", *changes])


def test_the_presets_that_are_promised():
    assert {
        "adult",
        "avazu",
        "criteo",
        "frappe",
        "movielens",
        "planted",
        "planted_groups",
        "quickstart",
        *PAPER,
        *PAPERS,
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_preset_makes_a_job(name):
    job = preset(name)
    assert job.data is not None and job.model_dir == "somewhere"
    if parse_spec(job.data.reader).name == "table" and job.data.schema is None:
        job = preset(name, "--schema=avazu")  # a crossed log comes with a schema file of its own
    Job(job)
    assert job.data is not None and job.data.make_reader().fields()


def test_a_flagfile_with_a_budget_gives_way_to_a_threshold(tmp_path):
    path = tmp_path / "own.flags"
    path.write_text(
        "--flagfile=" + str(pathlib.Path(FOLDER) / "movielens.flags") + "\n--budget_params=54336\n"
    )
    assert preset(str(path)).budget == 54_336
    with pytest.raises(
        ValueError,
        match=r"cpt and budget_params \(--budget_params=0 after --flagfile takes a preset's away\)",
    ):
        preset(str(path), "--cpt=0.3")
    job = preset(str(path), "--cpt=0.3", "--budget_params=0")
    assert job.budget is None and "cpt=0.3" in job.method


@pytest.mark.parametrize("path", PRESETS, ids=NAMES)
def test_preset_opens_with_its_command_and_the_expected_number(path):
    head = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        assert len(line) <= 140
        head.append(line)
    text = "\n".join(head)
    assert f"irazor pipeline --flagfile={path.stem}" in text
    assert re.search(r"AUC (about )?\.\d\d", text)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_settings(name):
    width, candidates, temperature, cpt, batch, layer_norm = PAPER[name]
    job = preset(name)
    method = METHODS.build(job.method).params
    assert (job.width, method.candidates, method.temperature, method.cpt, method.penalty) == (
        width,
        candidates,
        temperature,
        cpt,
        1e-4,
    )
    assert job.model == f"mlp(hidden=(700,700,700,700,700), layer_norm={layer_norm})"
    train = job.train
    assert (train.batch_size, train.embedding_l2, train.bias_optimizer) == (
        batch,
        0.001,
        "ftrl(learning_rate=0.01)",
    )
    assert train.network_optimizer.startswith("adagrad(learning_rate=0.02")
    # The method's recipe is the flags', which the controls train by; alpha's optimizer is the
    # network's, accumulator and all.
    recipe = {**METHODS.build(job.method).traits.recipe, **METHODS.build(job.method).optimizers()}
    assert recipe == train.optimizers() and recipe["architecture"] == recipe["network"]
    crossed = (
        "hold the crossed fields as columns"
        in (pathlib.Path(FOLDER) / f"{name}.flags").read_text().splitlines()[0]
    )
    assert crossed == name.endswith("_fg")


@pytest.mark.parametrize("name", PAPERS)
def test_the_other_papers_settings(name):
    width, batch, model, optimizer, least, settings = PAPERS[name]
    job = preset(name)
    method = METHODS.build(job.method)
    assert job.data is not None
    assert (job.width, job.model, job.train.batch_size, job.data.min_count) == (
        width,
        model,
        batch,
        least,
    )
    assert job.data.fractions == (0.8, 0.1, 0.1)
    assert {key: getattr(method.params, key) for key in settings} == settings
    # The method's recipe is the flags', which the controls train by.
    assert (
        set(method.traits.recipe.values())
        == {job.train.bias_optimizer, job.train.network_optimizer}
        == {optimizer}
    )
    assert job.data.drop_labels == ((3.0,) if name == "paper_ham_movielens" else ())
    assert (job.train.epochs, job.train.patience) == (10, 2)
    assert job.train.metric == ("log_loss" if name.startswith("paper_dnis") else "auc")


@pytest.mark.parametrize(
    "path", sorted(pathlib.Path(FOLDER).glob("*.yaml")), ids=lambda path: path.stem
)
def test_schema_preset_is_found_by_name(path):
    job = job_of(["--model_dir=somewhere", "--reader=table", f"--schema={path.stem}"])
    assert job.data is not None and job.data.schema == str(path)
    assert TableSchema.load(str(path)).fields()


def test_a_file_goes_before_a_preset_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adult").write_text("--reader=criteo\n")
    assert preset("adult").data == PreprocessOptions(reader="criteo")


def test_unknown_presets_list_those_there_are():
    with pytest.raises(
        ValueError,
        match=r"--flagfile should be a file or one of: adult, avazu, .*planted.*Received: 'adlut'",
    ):
        preset("adlut")
    with pytest.raises(
        ValueError, match=r"--schema should be a file or one of: adult, avazu\. Received: 'adlut'"
    ):
        preset("adult", "--schema=adlut")


def test_presets_travel_with_the_package():
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    (data,) = (
        ast.literal_eval(keyword.value)
        for keyword in call.keywords
        if keyword.arg == "package_data"
    )
    shipped = {path for pattern in data["launch"] for path in (ROOT / "launch").glob(pattern)}
    assert shipped >= set((ROOT / "launch" / "presets").iterdir())


def test_the_readers_of_presets_exist():
    assert {parse_spec(preset(name).data.reader).name for name in NAMES} <= set(READERS.names())  # type: ignore[union-attr]


# On the real logs ---------------------------------------------------------------------------------


def records(
    job: JobConfig, folder: pathlib.Path, log: pathlib.Path, test: tuple[str, ...] = ()
) -> Schema:
    assert job.data is not None
    return preprocess(
        dataclasses.replace(job.data, input=(str(log),), test_input=test),
        str(folder),
        progress=False,
    )


def test_adult_reads_both_files(shared_data, tmp_path):
    folder = shared_data / "adult"
    schema = records(
        preset("adult"),
        tmp_path / "data",
        folder / "adult.data.gz",
        (str(folder / "adult.test.gz"),),
    )
    assert len(schema.fields) == 13 and schema.field("age").dtype == "float64"
    rows = {
        split: Source(str(tmp_path / "data"), split).rows for split in ("train", "valid", "test")
    }
    assert rows["train"] + rows["valid"] == 32561 and rows["test"] == 16281
    labels = np.concatenate(
        [batch["label"] for batch in Source(str(tmp_path / "data"), "test").ordered(8192)]
    )
    assert labels.mean() == pytest.approx(0.2362, abs=1e-4)


def test_avazu_reads_its_file(shared_data, tmp_path):
    schema = records(
        preset("avazu"), tmp_path / "data", shared_data / "avazu" / "avazu_first9999.csv.gz"
    )
    assert len(schema.fields) == 22 and schema.field("hour").vocabulary_size == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"), [("adult", 0.918), ("planted", 0.74), ("planted_groups", 0.765)]
)
def test_the_number_that_a_preset_promises(name, least, request, tmp_path):
    log = []
    if name == "adult":
        data = request.getfixturevalue("shared_data") / "adult"
        log = [f"--input={data / 'adult.data.gz'}", f"--test_input={data / 'adult.test.gz'}"]
    job = job_of(
        [
            f"--flagfile={name}",
            f"--model_dir={tmp_path}",
            "--noprogress",
            "--controls=",
            "--baselines=",
            *log,
        ]
    )
    assert jobs.pipeline(job)[0]["auc"] > least
