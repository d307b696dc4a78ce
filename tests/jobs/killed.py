"""Runs `irazor JOB [flags]` in a process that kills itself at a chosen moment: python killed.py
MOMENT[:SIGNAL] JOB [flags].

Nothing is tidied up, no handler runs: SIGKILL, as from the out-of-memory killer; unless another
signal is asked for by its number."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from collections.abc import Callable
from typing import Any

from irazor_tf.config import search_result

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
os.environ["TF_USE_LEGACY_KERAS"] = "1"


SIGNAL = int(signal.SIGKILL)


def die(*_: Any) -> None:
    os.kill(os.getpid(), SIGNAL)


def before(owner: Any, name: str, when: Callable[..., bool]) -> None:
    """Dies where `owner.name` is called and `when` says so of its arguments."""
    original = getattr(owner, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            die()
        return original(*args, **kwargs)

    setattr(owner, name, watched)


def count(
    wanted: int, matches: Callable[..., bool] = lambda *args, **kwargs: True
) -> Callable[..., bool]:
    """True at the call number `wanted` (from 1) of those that match."""
    seen = 0

    def when(*args: Any, **kwargs: Any) -> bool:
        nonlocal seen
        seen += matches(*args, **kwargs)
        return seen == wanted

    return when


def preprocess_between_chunks() -> None:
    from data_pipelines import spool
    from data_pipelines.text import lines

    lines.CHUNK_BYTES = 1 << 14
    before(spool, "labelled", count(2))


def preprocess_while_writing() -> None:
    from data_pipelines import records

    before(records, "encode", count(2))


def preprocess_before_the_rename() -> None:
    from data_pipelines import preprocess

    before(preprocess.os, "rename", lambda source, target: source.endswith("data.partial"))


def _step(folder: str, number: int) -> None:
    """At the end of a training step of a fit in that folder, counted in this process."""
    from irazor_tf.training.callbacks import Checkpoints

    matches = lambda self, *args, **kwargs: f"{os.sep}{folder}{os.sep}" in self.state.directory  # noqa: E731
    before(Checkpoints, "on_train_batch_end", count(number, matches))


def search_inside_an_epoch() -> None:
    _step("search", 5)  # a checkpoint after 3 steps


def search_before_the_first_checkpoint() -> None:
    _step("search", 2)


def search_before_the_result() -> None:

    before(
        search_result.SearchResult,
        "save",
        lambda self, path: path.endswith(os.path.join("search", "result.json")),
    )


def retrain_inside_an_epoch() -> None:
    _step("models", 2 * 7 + 5)  # 7 steps an epoch, 2 epochs a model: the second model's first epoch


def retrain_between_state_and_metrics() -> None:
    from irazor_tf.jobs import figures

    before(figures, "write_json", lambda path, *args: path.endswith("metrics.json"))


def retrain_between_metrics_and_correction() -> None:
    from irazor_tf.evaluation import calibration

    before(calibration, "write_json", count(2))


def evaluate_between_two_models() -> None:
    from irazor_tf.jobs import stages as jobs

    before(jobs, "evaluate_candidate", count(2))


def evaluate_before_the_summary() -> None:
    from irazor_tf.jobs import stages as jobs

    before(jobs, "write_json", lambda path, *args: path.endswith("summary.json"))


def _export(moment: str) -> None:
    from irazor_tf.serving import versions

    def real(path: str) -> bool:
        return (
            os.path.basename(os.path.dirname(path)) == "export"
        )  # not that of a size measured elsewhere

    if moment == "before":
        before(versions.os, "rename", lambda source, target: real(target))
    else:
        before(versions, "size_report", lambda path: real(path))


def export_before_the_rename() -> None:
    _export("before")


def export_after_the_rename() -> None:
    _export("after")


def report_while_writing() -> None:
    from irazor_tf.config import integrity

    before(integrity.os, "replace", lambda source, target: target.endswith("report.html"))


if __name__ == "__main__":
    moment, _, number = sys.argv.pop(1).partition(":")
    SIGNAL = int(number or signal.SIGKILL)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # which a shell's background jobs are started without
    globals()[moment]()
    from launch.main import main

    main()
