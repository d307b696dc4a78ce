"""The cost of trainings and searches: seconds, batches learned from, peak memory."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import time
from collections.abc import Iterator, Mapping
from typing import Any

from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.layout import FitPaths, fits_in
from irazor_tf.training.state import read_state


@dataclasses.dataclass(frozen=True)
class Spent:
    """The cost of a search's work outside any fit, such as passes over the data without training.

    Args:
      steps: Batches learned from.
      seconds: Wall time.
    """

    steps: int
    seconds: float


class CostMeter:
    """The measurement of a search's cost, over all processes that work on it; its record is written
    once, when the search has ended.

    A fit remembers its own seconds, whichever process did it; what a call spends beside its fits is
    measured here, and a call that ends in an error (a budget too small, say) leaves its share for
    the next one. Peak memory is that of the process which ends the search.

    Args:
      path: Path of the JSON file of the record.
      folder: Folder of the search, in which its fits lie.
      pretrained: Folder of each shared pretraining that the search uses -> the seconds that making
        or reading it took in this process; read when the measurement ends.
    """

    def __init__(self, path: str, folder: str, pretrained: Mapping[str, float]):
        self._path, self._folder, self._pretrained = path, folder, pretrained
        self.record: dict[str, Any] = read_json(path)[0] if os.path.exists(path) else {}
        self._start, self._fitted = time.perf_counter(), fit_seconds(folder)
        reset_peak()

    @property
    def is_finished(self) -> bool:
        """Whether the record was written before; it then stays as it is."""
        return is_finished(self.record)

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """A context for the work of a search: where it ends in an error, the seconds spent outside
        fits are written down for the next call."""
        try:
            yield
        except Exception:
            if not self.is_finished:
                write_json(self._path, {"unfinished_seconds": self._beside_fits()})
            raise

    def finish(self, spent: Spent | None) -> None:
        """Writes the record, unless there is one: seconds, steps and peak memory in MiB, and of
        these what went into shared pretrainings and into work outside any fit.

        Args:
          spent: Cost of the work outside any fit. None where there was none.
        """
        if self.is_finished:
            return
        states = fit_states(self._folder)
        shared = [read_state(FitPaths(folder).state) for folder in self._pretrained]
        before = sum(state.get("seconds", 0.0) for state in shared)
        pretraining = {"seconds": before, "steps": sum(map(batches, shared))}
        beside = {"steps": 0} if spent is None else dataclasses.asdict(spent)
        self.record = {
            "seconds": self._beside_fits() + fit_seconds(self._folder) + before,
            "steps": sum(map(batches, states)) + pretraining["steps"] + beside["steps"],
            "peak_mib": peak_mib(),
            "pretraining": pretraining,
            "proper": beside,
        }
        write_json(self._path, self.record)

    def _beside_fits(self) -> float:
        in_fits = fit_seconds(self._folder) - self._fitted + sum(self._pretrained.values())
        spent = max(0.0, time.perf_counter() - self._start - in_fits)
        return self.record.get("unfinished_seconds", 0.0) + spent


def is_finished(record: Mapping[str, Any]) -> bool:
    """Whether a record of `CostMeter` is that of a search that has ended."""
    return "steps" in record


def reset_peak() -> None:
    """Restarts the measurement of this process's peak memory, where the system allows it
    (Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def peak_mib() -> float:
    """Peak memory of this process in MiB, since `reset_peak`, or since the process's start where
    the system cannot restart the measurement."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit_states(folder: str) -> list[dict[str, Any]]:
    """The states of the fits directly inside `folder`."""
    return [read_state(fit.state) for fit in fits_in(folder)]


def fit_seconds(folder: str) -> float:
    """Seconds of the fits directly inside `folder`, over all processes that worked on them."""
    return sum(state.get("seconds", 0.0) for state in fit_states(folder))


def batches(state: Mapping[str, Any]) -> int:
    """Number of batches that a fit has learned from. A state of an earlier version does not say it,
    and had one batch per step.

    Args:
      state: The state of the fit.
    """
    return state.get("batches", state["step"])
