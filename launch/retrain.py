"""The stage `retrain` as `python -m launch.retrain`; see launch/stages.py."""

from launch.stages import run

if __name__ == "__main__":
    run("retrain")
