"""A finished job's folder, damaged at random: the next run says which file it is, or ends with the
same result; never with another one."""

from __future__ import annotations

import json
import pathlib
import random
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from irazor_tf.config import integrity
from irazor_tf.config.schema import Schema
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.config import JobConfig
from irazor_tf.serving import scorer as serving
from tests.jobs import small_jobs
from tests.jobs.small_jobs import SMALL, job_of, without_timing

# What a job may make again without a word, because nothing else reads it, and what is no part of a
# result.
REMADE = {"report.html", ".lock", ".data.lock", integrity.LEDGER}
STAGES: list[Callable[[JobConfig], Any]] = [jobs.evaluate, jobs.export, jobs.report, jobs.pipeline]


def finished_job(factory: pytest.TempPathFactory, **chosen: Any) -> dict[str, Any]:
    """Settings of a small job that has run all its stages."""
    settings = {
        **small_jobs.write_table(factory.mktemp("log"), small_jobs.table_lines(900)),
        **SMALL,
        "batch_size": 64,
        "epochs": 1,
    }
    settings |= {"model_dir": str(factory.mktemp("whole") / "job"), **chosen}
    jobs.pipeline(job_of(settings))
    return settings


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A job whose final models are trained afresh, with a baseline beside them."""
    return finished_job(
        tmp_path_factory, budget_params=2000, controls="fde", baselines="logistic_regression"
    )


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One with a model per cluster behind a router, and a control that is its own supernet with a
    masked table."""
    method = "ihas(epochs=1, every=2, pretrain_epochs=1, start='searched')"
    return finished_job(
        tmp_path_factory, method=method, controls="dnis(epochs=1, pretrain_epochs=1, blocks=2)"
    )


def figures(folder: pathlib.Path, *names: str) -> list[Any]:
    return [
        without_timing(json.loads((folder / name).read_text(encoding="utf-8"))) for name in names
    ]


def scores(folder: pathlib.Path) -> list[float]:
    """What the newest export gives for some rows."""
    version = json.loads((folder / "export.json").read_text(encoding="utf-8"))["version"]
    scorer = serving.Scorer(str(folder / "export" / version))
    schema = Schema.load(str(folder / "data"))
    rows = {
        "user": ["u1", "u2", ""],
        "item": [3, 4, 5],
        "price": [1.0, np.nan, 30.0],
        "junk": ["1", "2", "x"],
    }
    dtypes = {"string": object, "int64": np.int64, "float64": np.float64}
    return scorer(
        {name: np.array(rows[name], dtypes[schema.field(name).dtype]) for name in scorer.inputs}
    ).tolist()


def taken_away(folder: pathlib.Path, stage: Callable[[JobConfig], Any]) -> list[Any]:
    """What a user takes away of a stage: the table and the curve, the served scores, and of the
    pipeline all and the found config."""
    if stage is jobs.evaluate:
        return figures(folder, "summary.json", "curve.json")
    if stage is jobs.export:
        return scores(folder)
    return (
        [*figures(folder, "summary.json", "curve.json", "search/result.json"), scores(folder)]
        if stage is jobs.pipeline
        else []
    )


def damage(folder: pathlib.Path, rng: random.Random) -> pathlib.Path:
    """Damages one file, or exchanges two of a kind; returns the file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in REMADE)
    path = rng.choice(files)
    alike = [
        other
        for other in files
        if other.suffix == path.suffix and other.read_bytes() != path.read_bytes()
    ]
    kind = rng.choice(
        [
            "flip",
            "flip",
            "digit",
            "halve",
            "delete",
            "append",
            "empty",
            *(["exchange"] * 2 if alike else []),
        ]
    )
    content = bytearray(path.read_bytes())
    digits = [place for place, value in enumerate(content) if 48 <= value < 58]
    if kind == "digit" and digits:
        place = rng.choice(digits)
        content[place] = ord(str((int(chr(content[place])) + rng.randint(1, 9)) % 10))
    elif kind in ("flip", "digit") and content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "halve":
        del content[len(content) // 2 :]
    elif kind == "append":
        content += bytes(rng.randrange(256) for _ in range(rng.randint(1, 20)))
    elif kind == "exchange":
        other = rng.choice(alike)
        content, theirs = bytearray(other.read_bytes()), bytes(content)
        other.write_bytes(theirs)
    else:
        content = bytearray()
    if kind == "delete":
        path.unlink()
    else:
        path.write_bytes(bytes(content))
    return path


def names(message: str, path: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a message says which file is damaged: by its path in the job's folder, or of a
    checkpoint (several files) by its folder, which is what is to be deleted."""
    return str(path.relative_to(folder)) in message or (
        path.name.startswith("step-") and f"Delete the folder {path.parent} " in message
    )


def attack(seed: int, whole: dict[str, Any], tmp_path: pathlib.Path) -> None:
    rng = random.Random(seed)
    folder = tmp_path / "copy"
    shutil.copytree(whole["model_dir"], folder)
    expected = [taken_away(folder, stage) for stage in STAGES]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    damage(folder, rng)
    touched = [
        path
        for path, content in before.items()
        if not path.exists() or path.read_bytes() != content
    ]
    job = job_of({**whole, "model_dir": str(folder)})
    for stage, wanted in zip(STAGES, expected, strict=True):
        try:
            stage(job)
        except ValueError as error:
            assert any(names(str(error), path, folder) for path in touched), (touched, str(error))
        else:
            assert taken_away(folder, stage) == wanted, touched
    shutil.rmtree(folder)


def test_a_folder_or_a_bare_name_does_not_name_a_file(tmp_path):
    path, checkpoint = (
        tmp_path / "models" / "m" / "metrics.json",
        tmp_path / "models" / "m" / "model" / "step-3.index",
    )
    for message in (f"damaged: {path}", "damaged: models/m/metrics.json"):
        assert names(message, path, tmp_path)
    for message in (
        "damaged: metrics.json",
        f"damaged: {path.parent}",
        f"Delete the folder {path.parent} and go on",
        "damaged: metrics",
    ):
        assert not names(message, path, tmp_path)
    assert names(
        f"damaged: step-3. Delete the folder {checkpoint.parent} and go on", checkpoint, tmp_path
    )
    assert not names(
        f"Delete the folder {checkpoint.parent.parent} and go on", checkpoint, tmp_path
    )


@pytest.mark.parametrize("seed", range(16))
def test_a_damaged_job(seed, whole, tmp_path):
    attack(seed, whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(16, 116, 10))
def test_more_damaged_jobs(first, whole, tmp_path):
    for seed in range(first, first + 10):
        attack(seed, whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 30, 10))
def test_damaged_jobs_with_clusters_and_masks(first, routed, tmp_path):
    for seed in range(first, first + 10):
        attack(seed, routed, tmp_path)
