"""The command line program in a process of its own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]


def loud() -> dict[str, str]:
    """The environment of a process in which TensorFlow may write what it likes."""
    return {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"} | {
        "PYTHONPATH": str(ROOT)
    }


def irazor(*arguments: str, **options: Any) -> subprocess.CompletedProcess:
    """The program, as setup.py installs it."""
    code = "import sys; from launch.main import main; sys.argv[0] = 'irazor'; main()"
    environment = loud()
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        **options,
    )


def error_of(done: subprocess.CompletedProcess) -> str:
    """The last line on stderr (before it there may be progress)."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    return lines[-1]
