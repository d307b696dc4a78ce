"""A method, a base model, a task and a reader from outside the package: by `--plugin`, and in
Python."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import irazor_tf
from data_pipelines.reader import READERS
from irazor_tf.config import plugins
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS
from irazor_tf.search.method import METHODS
from launch.command.flagfiles import without_plugins
from launch.command.registries import load_plugins
from tests.jobs.program import ROOT, error_of, irazor
from tests.jobs.small_jobs import job_of, registered, words

FOLDER = ROOT / "tests" / "plugins"
REGISTRIES = {"method": METHODS, "model": MODELS, "task": TASKS, "reader": READERS}
FILES = {kind: str(FOLDER / f"toy_{kind}.py") for kind in REGISTRIES}
TOYS = {kind: f"toy_{kind}" for kind in REGISTRIES}
SETTINGS = {
    **TOYS,
    "metric": "brier",
    "controls": "fde",
    "baselines": "",
    "epochs": 1,
    "batch_size": 128,
    "width": 4,
    "progress": False,
}


@pytest.fixture
def clean() -> Iterator[None]:
    """Takes out of registries and of the process what a test puts there."""
    before = {kind: registry.names() for kind, registry in REGISTRIES.items()}
    yield
    for name in plugins.loaded():
        plugins.forget(name)
    for kind, registry in REGISTRIES.items():
        for name in set(registry.names()) - set(before[kind]):
            registry.remove(name)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, subprocess.CompletedProcess]:
    """Settings of a job that ran to its report with all four, and its process."""
    folder = tmp_path_factory.mktemp("plugins")
    first, second = ",".join([FILES["method"], FILES["model"]]), f"--plugin={FILES['task']}"
    settings = {**SETTINGS, "model_dir": str(folder / "job")}
    done = irazor(
        "pipeline", f"--plugin={first}", second, "--plugin", FILES["reader"], *words(settings)
    )
    return settings, done


def test_a_pipeline_of_plugins(job):
    settings, done = job
    assert done.returncode == 0, done.stderr
    folder = pathlib.Path(settings["model_dir"])
    chosen, control = json.loads((folder / "summary.json").read_text())
    assert (chosen["method"], chosen["model"], control["method"]) == (
        "toy_method()",
        "toy_model",
        "fde()",
    )
    assert chosen["inputs"] != control["inputs"] == ["user", "item", "noise"]
    assert f"{chosen['brier']:.4f}" in done.stdout and "valid brier" in done.stdout
    assert (folder / "report.html").exists()
    score = irazor_tf.load_export(str(folder / "export" / "1"))
    assert set(score.inputs) == set(chosen["inputs"])
    scores = score({name: np.array(["1", "2", "never seen"]) for name in score.inputs})
    assert scores.shape == (3,) and np.all((scores > 0) & (scores < 1))


def test_a_later_call_is_told_which_plugins_it_lacks(job):
    settings, _ = job
    record = json.loads((pathlib.Path(settings["model_dir"]) / "job.json").read_text())
    assert record["chosen"]["plugins"] == list(FILES.values())
    with pytest.raises(ValueError, match="The model should be one of .*Received: 'toy_model'") as e:
        irazor_tf.evaluate(job_of(settings))
    assert str(e.value).endswith(f"begun with --plugin={','.join(FILES.values())}")


def test_help_and_settings_show_the_entries_of_plugins(tmp_path):
    flagfile = tmp_path / "own.flags"
    flagfile.write_text(f"--plugin={FILES['method']},{FILES['model']}\n")
    rest = [f"--plugin={FILES['task']}", "--plugin", FILES["reader"]]
    done = irazor("search", "--help", f"--flagfile={flagfile}", *rest)
    assert done.returncode == 0 and not done.stderr
    text = " ".join(done.stdout.split())
    labels = {"method": "Search method (", "model": "Base model (", "task": "Task ("}
    for kind, label in labels.items():
        assert TOYS[kind] in text.partition(label)[2].partition(")")[0]
    assert "toy_reader" in text.partition("The readers are ")[2].partition(";")[0]
    named = [f"--plugin={path}" for path in FILES.values()]
    done = irazor("settings", *named)
    assert done.returncode == 0, done.stderr
    for line, kind in zip(done.stdout.splitlines(), REGISTRIES, strict=True):
        assert line.startswith(f"{kind}:") and TOYS[kind] in line.split(":")[1]
    done = irazor("settings", "toy_method", *named, "toy_task")
    assert done.stdout.startswith("toy_method: Fields by the size of their weight.\n")
    assert "\n  share = 0.75\n      Part of the space's parameters that stays, " in done.stdout
    assert "\n  metrics: brier (smaller is better)\n" in done.stdout


def test_an_unknown_plugin_ends_in_one_line(tmp_path):
    done = irazor("search", f"--model_dir={tmp_path}", "--plugin=nowhere.py")
    line = error_of(done)
    assert "A plug-in should be the path of a Python file" in line and "nowhere.py" in line
    assert done.stderr == line + "\n", "without TensorFlow"
    assert error_of(irazor("settings", "--plugin=no.such_module", "toy")).startswith(
        "error: A plug"
    )
    assert error_of(irazor("search", "--help", "--plugin=nowhere.py")).startswith("error: A plug")


@pytest.mark.parametrize("name", ["nowhere.py", "no_such", "tests.no_such", "", "a..b", "/no/such"])
def test_what_is_no_plugin_is_refused(name):
    for read in (plugins.load, plugins.entries_of):
        with pytest.raises(ValueError, match=f"Received: .*{re.escape(name)}.*does not exist"):
            read(name)


def test_a_module_is_a_plugin_by_its_dotted_name(clean):
    name = "tests.plugins.toy_method"
    assert plugins.entries_of(name) == [("method", "toy_method")]
    assert "toy_method" not in METHODS.names()
    for _ in range(2):
        plugins.load(name)
    assert METHODS.build("toy_method(share=0.5)").params.share == 0.5
    assert plugins.loaded() == (name,) and plugins.missing([name, "b"]) == ["b"]


def test_a_file_is_loaded_once_under_a_name_of_its_own(clean, tmp_path, monkeypatch):
    monkeypatch.chdir(FOLDER)
    plugins.load("toy_task.py")
    plugins.load(FILES["task"])
    assert plugins.loaded() == (FILES["task"],)
    assert TASKS.get("toy_task").__module__ != "toy_task"


def test_a_plugin_cannot_take_the_name_of_an_entry(clean, tmp_path):
    taken = tmp_path / "taken.py"
    source = pathlib.Path(FILES["method"]).read_text()
    taken.write_text(source.replace('"toy_method")\nclass', '"fde")\nclass'))
    with pytest.raises(ValueError, match="The method name 'fde' should be free.*ToyMethod"):
        load_plugins([str(taken)])
    assert not plugins.loaded() and METHODS.get("fde").__name__ == "FDE"


def test_the_words_of_plugins_leave_a_command_line():
    names, rest = without_plugins(
        ["a", "--plugin=b,c", "-plugin", "d", "--e=f", "--", "--plugin=g"]
    )
    assert names == ["b", "c", "d"] and rest == ["a", "--e=f", "--", "--plugin=g"]


def test_a_method_written_in_a_notebook(clean, tmp_path):
    """Registered where it is defined, and run without any flags."""

    @irazor_tf.register_method("narrow")
    class Narrow(irazor_tf.SearchMethod):
        """Half of every field's columns."""

        def derive(self, supernet: Any, space: Any, budget: int | None = None) -> Any:
            return irazor_tf.InputConfig(
                {name: field.cut(field.labels[:2]) for name, field in space.fields.items()}
            )

    plugins.load(FILES["reader"])
    config = irazor_tf.JobConfig(
        str(tmp_path / "job"),
        data=irazor_tf.PreprocessOptions("toy_reader(rows=600)"),
        train=irazor_tf.TrainOptions(epochs=1, batch_size=64),
        method="narrow",
        model="mlp(hidden=(8,))",
        width=4,
        controls=(),
        baselines=(),
        progress=False,
    )
    (record,) = irazor_tf.pipeline(config)
    assert record["method"] == "narrow()" and record["dims"] == 6
    assert irazor_tf.stages.search(config).clusters[0].total_dims == 6


def test_a_cell_that_runs_again_defines_its_class_anew():
    first, second, other = (type("Cell", (), {"__module__": "__main__"}) for _ in range(3))
    other.__qualname__ = "Other"
    with registered(toy_cell=first):
        METHODS.register("toy_cell")(second)
        assert METHODS.get("toy_cell") is second
        with pytest.raises(ValueError, match="'toy_cell' should be free"):
            METHODS.register("toy_cell")(other)
