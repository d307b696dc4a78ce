"""What trainings cost: seconds, batches learned from, peak memory."""

from __future__ import annotations

import contextlib
import glob
import os
import resource
from collections.abc import Mapping
from typing import Any

from irazor_tf.training.state import read_state


def reset_peak() -> None:
    """Starts the process's peak memory anew, where the system can (Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def peak_mib() -> float:
    """The process's peak memory since `reset_peak`; since its start where that cannot be had."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit_states(folder: str) -> list[dict[str, Any]]:
    """States of the fits whose trainer works in `folder`."""
    return [
        read_state(path) for path in glob.glob(os.path.join(glob.escape(folder), "*", "state.json"))
    ]


def fit_seconds(folder: str) -> float:
    """What those fits took, whichever processes did them."""
    return sum(state.get("seconds", 0.0) for state in fit_states(folder))


def batches(state: Mapping[str, Any]) -> int:
    """Batches that a fit has learned from; states of before they
    were counted have a batch a step."""
    return state.get("batches", state["step"])
