"""What every test gets: the environment TensorFlow is to load in, two logical devices, the path of
the real data."""

import os
import pathlib
import sys
from typing import Any

import pytest

# Groups of tests (`group_of`) that take longest, from the longest on.
LONG = ("golden-0", "golden-1")

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Read by TensorFlow while it loads, so they stand here, before any test module is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
if "PYTEST_XDIST_WORKER" in os.environ:
    # As many processes as processors run side by side: with a pool of threads as wide as the
    # machine in each they would wait for one another.
    for _pool in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[_pool] = "1"

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import wrapt  # noqa: E402


@wrapt.when_imported("tensorflow")
def _configure_two_devices(tf):
    """Splits the processor in two logical devices (for tests with two replicas) as soon as
    TensorFlow is imported, by whomever.

    It cannot be done later (the first tensor initialises the devices, and many test files run in
    one process), and it should not be done earlier: tests without TensorFlow start at once.
    """
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        processor, [tf.config.LogicalDeviceConfiguration()] * 2
    )


def group_of(nodeid: str) -> str:
    """The tests that a test shares a process with: its file's, or those whose parameters end with
    the same name after an @, as in `test_json_round_trip_is_identity[@fde-mlp-ctr]`."""
    file, _, test = nodeid.partition("::")
    return test.partition("[")[2].partition("@")[2].rstrip("]") or file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a group follow one another, so that what is costly is made once and can go after
    them; the longest groups come first, so that no process is left with one at the end."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(group_of(item.nodeid), []).append(item)
    order = {name: place for place, name in enumerate(LONG)}
    ordered = sorted(groups, key=lambda group: order.get(group, len(order)))
    items[:] = [item for group in ordered for item in groups[group]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out whole groups to processes that run side by side (`pytest -n 2`), in their order."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Folder of the real logs: `IRAZOR_SHARED_DATA`, or `shared/data` beside the checkout. Skips
    where there is none."""
    folder = pathlib.Path(os.environ.get("IRAZOR_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            f"no real data in {folder} (set IRAZOR_SHARED_DATA): their licences keep them out of "
            "the repository"
        )
    return folder
