"""docs/write_a_method.md: followed literally, it gives a method that works."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

import irazor_tf
from irazor_tf.config import plugins
from irazor_tf.config.layout import JobPaths, fits_below
from irazor_tf.config.search_result import SearchResult
from irazor_tf.search.method import METHODS
from tests.jobs.program import ROOT, irazor, loud

GUIDE = (ROOT / "docs" / "write_a_method.md").read_text(encoding="utf-8")
FILE, NAME = "my_method.py", "threshold_gates"


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in the guide's order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


# A backslash at the end of a line is the shell's, not the words'.
PIPELINE, LAWS = (shlex.split(block.replace("\\\n", "")) for block in blocks("sh"))
(NOTEBOOK,) = blocks("py")


def write_method(folder: pathlib.Path) -> pathlib.Path:
    """The guide's Python blocks as one file."""
    path = folder / FILE
    path.write_text("\n".join(blocks("python")), encoding="utf-8")
    return path


def job_paths(folder: pathlib.Path) -> JobPaths:
    """The job that the guide's pipeline runs in `folder`."""
    return JobPaths(str(folder / "runs" / "gates"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the method's file, in which the guide's pipeline has run."""
    folder = tmp_path_factory.mktemp("guide")
    write_method(folder)
    program, *words = PIPELINE
    assert program == "irazor"
    done = irazor(*words, "--progress=false", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def loaded(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The method's file, loaded in this process while the test runs."""
    path = write_method(tmp_path)
    METHODS.names()  # complete before the plug-in is loaded, as in the program
    plugins.load(str(path))
    yield path
    plugins.forget(str(path))
    METHODS.remove(NAME)


def test_the_command_ends_in_an_export_within_the_budget(written):
    paths = job_paths(written)
    schema = irazor_tf.Schema.load(paths.records.root)
    config = SearchResult.load(paths.result).config
    space = irazor_tf.InputConfig.uniform(schema, 4)
    assert 0 < config.num_params(schema) <= 2000 < space.num_params(schema)
    assert config.within(space)
    chosen, control = json.loads(pathlib.Path(paths.summary).read_text(encoding="utf-8"))
    assert chosen["method"].startswith(NAME) and control["method"].startswith("fde")
    score = irazor_tf.load_export(os.path.join(paths.exports, "1"))
    assert set(score.inputs) == set(config.kept)
    report = pathlib.Path(paths.report).read_text(encoding="utf-8")
    assert "Gates of all columns" in report


def test_the_notebook_derives_from_the_same_search(written):
    """By the threshold, without a training."""
    states = [fit.state for fit in fits_below(job_paths(written).searches)]
    before = list(map(os.path.getmtime, states))
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=written,
        env=loud() | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(written)])},
    )
    assert done.returncode == 0, done.stderr
    dims = json.loads(done.stdout.splitlines()[-1].replace("'", '"'))
    schema = irazor_tf.Schema.load(job_paths(written).records.root)
    assert tuple(dims) == schema.names and 0 < sum(dims.values()) < 4 * len(dims)
    fits = fits_below(job_paths(written).searches)
    assert [fit.state for fit in fits] == states and list(map(os.path.getmtime, states)) == before


def test_settings_are_printed_as_the_guide_documents_them(tmp_path):
    write_method(tmp_path)
    (command,) = re.findall(rf"`irazor (settings {NAME} --[^`]*)`", GUIDE)
    done = irazor(*shlex.split(command), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{NAME}: A learned gate on every embedding column; ")
    for setting in ("penalty = 0.03", "threshold = 0.5", "sweep = (0.4, 0.6)", "held_out = None"):
        assert f"\n  {setting}\n      " in done.stdout
    assert "optimizer = None" in done.stdout and "preset='small': penalty=0.1" in done.stdout


def test_a_setting_out_of_range_is_named(loaded):
    with pytest.raises(ValueError, match=r"`penalty` of threshold_gates should be at least 0\."):
        METHODS.build(f"{NAME}(penalty=-1.0)")
    method = METHODS.build(f"{NAME}(preset='small')")
    labels = [label for label, _ in method.sweep(None)]
    assert method.params.penalty == 0.1 and labels == ["threshold=0.4", "threshold=0.6"]


def test_no_entry_is_left_behind():
    assert NAME not in METHODS.names()


@pytest.mark.slow
def test_the_method_keeps_the_laws(tmp_path):
    write_method(tmp_path)
    _, program, *words = LAWS
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=loud() | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout.splitlines()[-1]
