"""What every test gets: the environment TensorFlow is to load in, two logical devices, the path of
the real data."""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Read by TensorFlow while it loads, so they stand here, before any test module is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import wrapt  # noqa: E402


@wrapt.when_imported("tensorflow")
def _configure_two_devices(tf):
    """Splits the processor in two logical devices (for tests with two replicas) as soon as
    TensorFlow is imported, by whomever.

    It cannot be done later (the first tensor initialises the devices, and the whole suite is one
    process), and it should not be
    done earlier: tests without TensorFlow start at once.
    """
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        processor, [tf.config.LogicalDeviceConfiguration()] * 2
    )


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
