"""The golden net: every job's figures are what they were, and the
comparison sees what has changed."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tests.golden import net

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARTS = (list(net.JOBS)[::2], list(net.JOBS)[1::2])
BEFORE = {
    "summary.json": [{"name": "fde", "auc": 0.7, "params": 10}],
    "models/a/result.json": {"init": "fresh"},
}


@pytest.mark.parametrize(
    ("now", "exact", "lines"),
    [
        (BEFORE, True, []),
        (
            {**BEFORE, "summary.json": [{"name": "fde", "auc": 0.7000001, "params": 10}]},
            True,
            ["/summary.json[0]/auc: 0.7 was"],
        ),
        ({**BEFORE, "summary.json": [{"name": "fde", "auc": 0.71, "params": 12}]}, False, []),
        (
            {**BEFORE, "summary.json": [{"name": "fde", "auc": 0.73, "params": 10}]},
            False,
            ["/summary.json[0]/auc: 0.7 +- 0.02"],
        ),
        (
            {**BEFORE, "summary.json": [{"name": "fde", "auc": 0.7}]},
            True,
            ["/summary.json[0]/params: is gone"],
        ),
        (
            {**BEFORE, "summary.json": [{"name": "fde", "auc": 0.7}]},
            False,
            ["/summary.json[0]/params: is gone"],
        ),
        (
            {**BEFORE, "summary.json": [{"name": "fde", "auc": 0.7, "params": 10.0}]},
            True,
            ["/summary.json[0]/params: 10 was"],
        ),
        ({**BEFORE, "summary.json": []}, True, ["/summary.json: 1 items were 0"]),
        ({**BEFORE, "summary.json": []}, False, ["/summary.json: 1 items were 0"]),
        ({**BEFORE, "models/b/result.json": {}}, True, ["/models/b/result.json: is new"]),
    ],
)
def test_differences_are_named(now, exact, lines):
    found = list(net.differences(BEFORE, now, exact=exact))
    assert len(found) == len(lines) and all(
        line.startswith(start) for line, start in zip(found, lines, strict=True)
    )


def test_times_are_left_out():
    assert net.timeless([{"seconds": 1, "auc": 0.5, "inner": {"peak_mib": 3}}]) == [
        {"auc": 0.5, "inner": {}}
    ]


def test_every_job_has_its_figures_and_every_method_a_job():
    from irazor_tf.search.method import METHODS

    assert {path.stem for path in net.FIGURES.glob("*.json")} == {*net.JOBS, net.MACHINE.stem}
    assert sorted(sum(PARTS, [])) == sorted(net.JOBS)
    methods = " ".join(job["method"] for job in net.JOBS.values())
    assert not [name for name in METHODS.names() if name not in methods.replace("(", " ").split()]


@pytest.mark.parametrize("part", [0, 1], ids="@golden-{}".format)
def test_figures_are_what_they_were(part):
    """In a process of its own: threads and deterministic operations have to be set before
    TensorFlow has run anything. In two parts, which may run side by side."""
    environment = {
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.golden.net", *PARTS[part]]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
