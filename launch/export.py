"""The stage `export` as `python -m launch.export`; see launch/stages.py."""

from launch.stages import run

if __name__ == "__main__":
    run("export")
