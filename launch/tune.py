"""The stage `tune` as `python -m launch.tune`; see launch/stages.py."""

from launch.stages import run

if __name__ == "__main__":
    run("tune")
