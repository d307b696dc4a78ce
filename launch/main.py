"""`irazor JOB [flags]`: runs the job module of that name."""

from __future__ import annotations

import importlib
import signal
import sys

from launch.signals import Terminated, terminable

JOBS = {
    "preprocess": "log -> block records, vocabularies, manifest",
    "tune": "records -> the best of a dozen training recipes, as a flagfile (optional)",
    "search": "records -> which fields stay and how wide",
    "retrain": "found config and controls -> trained models",
    "evaluate": "trained models, baselines -> summary.json and curve.json (reads the test split)",
    "export": "found model -> SavedModel that takes raw values",
    "report": "everything -> report.html",
    "pipeline": "all of them but tune, in this order",
}


def usage() -> str:
    """What `irazor --help` prints."""
    listed = [f"  {name:<11} {what}" for name, what in JOBS.items()]
    return "\n".join(
        [
            "Which fields of a click or rating log deserve to stay, and how wide should each one's "
            "embedding be?",
            "",
            "usage: irazor JOB --model_dir=DIR [flags]",
            "",
            *listed,
            "",
            "  irazor pipeline --reader=table --schema=FILE.yaml --input=LOG.csv --model_dir=DIR "
            "--budget_params=1000000",
            "  irazor pipeline --flagfile=PRESET --input=LOG --model_dir=DIR",
            "",
            "irazor JOB --help lists the flags and the presets, irazor settings [NAME] what "
            "methods, base models and readers take.",
        ]
    )


def main() -> None:
    """Entry point of the command line; SIGINT and SIGTERM end it in one line, from the first import
    on."""
    try:
        with terminable():
            _run()
    except KeyboardInterrupt:
        _end("interrupted", signal.SIGINT)
    except Terminated:
        _end("terminated", signal.SIGTERM)


def _end(how: str, number: signal.Signals) -> None:
    print(f"error: {how}", file=sys.stderr)
    sys.exit(128 + number)


def _run() -> None:
    """Runs the job that the command line names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-help", "-h", "help", "--helpshort", "--helpfull"):
        print(usage())
        sys.exit(0)
    if name not in (*JOBS, "settings"):
        from irazor_tf.config.checks import did_you_mean

        print(
            f"error: A job should be one of {', '.join(JOBS)} (or settings). "
            f"{did_you_mean(name, (*JOBS, 'settings'))}",
            file=sys.stderr,
        )
        sys.exit(2)
    del sys.argv[1]
    sys.argv[0] = f"irazor {name}"
    importlib.import_module(f"launch.{name}").main()
