"""What a process says once, however often it meets it. No TensorFlow import."""

from __future__ import annotations

import logging

_logger = logging.getLogger("irazor_tf")
_said: set[str] = set()


def warn_once(message: str, *args: object) -> None:
    """Warns, unless this process has given the very same warning (of a path, say) before; `message
    % args`."""
    text = message % args
    if text not in _said:
        _said.add(text)
        _logger.warning("%s", text)
