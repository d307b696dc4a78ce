"""The stage `evaluate` as `python -m launch.evaluate`; see launch/stages.py."""

from launch.stages import run

if __name__ == "__main__":
    run("evaluate")
