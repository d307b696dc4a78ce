"""One finished job that several tests look at, and copies of it to work on."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from irazor_tf.jobs import stages as jobs
from tests.jobs import made_jobs, small_jobs


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Flags that name a small log."""
    return small_jobs.write_table(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="session")
def finished(table: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a job that has run all its stages; nobody works in its folder."""
    settings = {
        **table,
        **small_jobs.SMALL,
        "model_dir": str(tmp_path_factory.mktemp("finished") / "job"),
        "budget_params": 1000,
    }
    jobs.pipeline(small_jobs.job_of(settings))
    return settings


@pytest.fixture(scope="session")
def made_report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a job's folder made by hand."""
    folder = tmp_path_factory.mktemp("made")
    made_jobs.make_job(folder, made_jobs.make_schema())
    return made_jobs.write_report(folder, made_jobs.make_schema())


@pytest.fixture
def copied(finished: dict[str, Any], tmp_path: pathlib.Path) -> Callable[..., dict[str, Any]]:
    """`copied(cpt=0.3)`: settings of the finished job with some changed (None: left out), on a copy
    of its folder."""

    def copy(**changes: Any) -> dict[str, Any]:
        folder = tmp_path / "copy"
        if not folder.exists():
            shutil.copytree(finished["model_dir"], folder)
        settings = {**finished, "model_dir": str(folder), **changes}
        return {key: value for key, value in settings.items() if value is not None}

    return copy
