"""The stage `report` as `python -m launch.report`; see launch/stages.py."""

from launch.stages import run

if __name__ == "__main__":
    run("report")
