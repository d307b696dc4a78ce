"""The stage `preprocess` as `python -m launch.preprocess`; see launch/stages.py."""

from launch.stages import run

if __name__ == "__main__":
    run("preprocess")
