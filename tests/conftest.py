"""What every test gets: the environment TensorFlow is to load in, two logical devices, the path of
the real data."""

import os
import pathlib
import sys

import pytest

# Groups of tests that take longest, from the longest on; they start first.
LONG: tuple[str, ...] = ()

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what is costly to make run in one process, one after the other.

    They are a group of pytest-xdist: a file is one, unless a mark `xdist_group` of its tests says
    otherwise. Longest groups first, so that no process is left with a long one at the end.
    """
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        group = mark.args[0] if mark else item.path.relative_to(ROOT / "tests").as_posix()
        if mark is None:
            item.add_marker(pytest.mark.xdist_group(group))
        groups.setdefault(group, []).append(item)
    first = {name: len(LONG) - LONG.index(name) for name in LONG}
    ordered = sorted(groups, key=lambda group: first.get(group, 0), reverse=True)
    items[:] = [item for group in ordered for item in groups[group]]


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
