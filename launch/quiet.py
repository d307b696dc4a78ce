"""TensorFlow's import without the lines that its libraries write for their own developers. POSIX
only; elsewhere they stay."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator

# Lines of level "information" that absl's C++ logging writes to stderr whatever
# TF_CPP_MIN_LOG_LEVEL says, until somebody initialises it.
_INFORMATION = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog\(\)")
_NO_DRIVER = re.compile(rb"E\d{4} .*failed call to cuInit")
# Files that an NVIDIA driver makes, as patterns.
DRIVERS = ("/proc/driver/nvidia*", "/dev/nvidia*", "/dev/dxg")


def import_tensorflow() -> None:
    """Imports TensorFlow and lets it look for devices. What it writes meanwhile is passed on, but
    for information, and for the error that CUDA does not start on a machine without an NVIDIA
    driver. Whoever has set TF_CPP_MIN_LOG_LEVEL sees everything."""
    if "tensorflow" in sys.modules:
        return
    chosen = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    with contextlib.nullcontext() if chosen or not hasattr(os, "fork") else without_lines(is_noise):
        import tensorflow as tf

        tf.config.list_physical_devices()


def is_noise(line: bytes) -> bool:
    """Whether a line of stderr is of no use to whoever runs a job."""
    return bool(_INFORMATION.match(line)) or bool(
        _NO_DRIVER.match(line) and not any(map(glob.glob, DRIVERS))
    )


@contextlib.contextmanager
def without_lines(dropped: Callable[[bytes], bool]) -> Iterator[None]:
    """While it is open, lines on file descriptor 2, whoever writes them, but for those that are
    `dropped`.

    A child process passes them on, as they come: what this one writes before it dies inside a
    library is not lost."""
    sys.stderr.flush()
    reading, writing = os.pipe()
    stderr = os.dup(2)
    child = os.fork()
    if not child:
        try:
            # It ends when its parent has nothing more to write.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            os.close(writing)
            with os.fdopen(reading, "rb") as lines:
                for line in lines:
                    if not dropped(line):
                        os.write(stderr, line)
        finally:
            os._exit(0)
    os.close(reading)
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.waitpid(child, 0)
