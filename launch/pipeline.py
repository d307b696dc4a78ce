"""The stage `pipeline` as `python -m launch.pipeline`; see launch/stages.py."""

from launch.stages import run

if __name__ == "__main__":
    run("pipeline")
