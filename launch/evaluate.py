"""Trained models and baselines -> summary.json, curve.json."""

from __future__ import annotations

from launch import flags


def main() -> None:
    """Runs the stage with the flags of the command line."""
    flags.run(_stage)


def _stage(job: object) -> None:
    from irazor_tf.jobs import stages as jobs

    jobs.evaluate(job)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
