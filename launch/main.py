"""`irazor JOB [flags]`: runs the stage of that name; `irazor settings`: what its specs may say."""

from __future__ import annotations

import signal
import sys

from launch.signals import Terminated, terminable


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
    # Here, not above: a signal during an import ends in one line, too.
    from launch import settings, stages

    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-help", "-h", "help", "--helpshort", "--helpfull"):
        print(usage())
        sys.exit(0)
    jobs = (*stages.STAGES, "settings")
    if name not in jobs:
        from irazor_tf.config.checks import did_you_mean

        print(
            f"error: A job should be one of {', '.join(stages.STAGES)} (or settings). "
            f"{did_you_mean(name, jobs)}",
            file=sys.stderr,
        )
        sys.exit(2)
    del sys.argv[1]
    sys.argv[0] = f"irazor {name}"
    if name == "settings":
        settings.main()
    else:
        stages.run(name)


def usage() -> str:
    """What `irazor --help` prints."""
    from launch.stages import STAGES

    return "\n".join(
        [
            "Which fields of a click or rating log deserve to stay, and how wide should each one's "
            "embedding be?",
            "",
            "usage: irazor JOB --model_dir=DIR [flags]",
            "",
            *(f"  {name:<11} {stage.what}" for name, stage in STAGES.items()),
            "",
            "  irazor pipeline --reader=table --schema=FILE.yaml --input=LOG.csv --model_dir=DIR "
            "--budget_params=1000000",
            "  irazor pipeline --flagfile=PRESET --input=LOG --model_dir=DIR",
            "",
            "irazor JOB --help lists the flags and the presets,",
            "irazor settings [NAME] what methods, base models, tasks and readers take.",
        ]
    )
