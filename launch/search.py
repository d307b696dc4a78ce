"""The stage `search` as `python -m launch.search`; see launch/stages.py."""

from launch.stages import run

if __name__ == "__main__":
    run("search")
