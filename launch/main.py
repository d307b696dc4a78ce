"""`irazor JOB [flags]`: runs the job module of that name."""

from __future__ import annotations

import importlib
import sys

JOBS = {
    "preprocess": "log -> block records, vocabularies, manifest",
    "search": "records -> which fields stay and how wide",
    "retrain": "found config and controls -> trained models",
    "evaluate": "trained models -> summary.json and curve.json (reads the test split)",
    "export": "found model -> SavedModel that takes raw values",
    "report": "everything -> report.html",
    "pipeline": "all of them, in this order",
}


def main() -> None:
    """Entry point of the command line."""
    if len(sys.argv) < 2 or sys.argv[1] not in JOBS:
        wrong = [] if len(sys.argv) < 2 or sys.argv[1] in ("--help", "-h", "help") else [f"error: no job {sys.argv[1]!r}"]
        listed = [f"  {name:<11} {what}" for name, what in JOBS.items()]
        print("\n".join([*wrong, "usage: irazor JOB [flags]    (irazor JOB --helpfull lists the flags)", *listed]))
        sys.exit(2 if wrong else 0)
    name = sys.argv.pop(1)
    sys.argv[0] = f"irazor {name}"
    importlib.import_module(f"launch.{name}").main()
