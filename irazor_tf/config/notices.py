"""What a process says once, however often it meets it. No TensorFlow import."""

from __future__ import annotations

import logging

_logger = logging.getLogger("irazor_tf")
_warned: set[str] = set()


def warn_once(message: str, *args: object) -> None:
    """Warns with `message % args`, unless this process has given the very same warning before."""
    text = message % args
    if text not in _warned:
        _warned.add(text)
        _logger.warning("%s", text)
