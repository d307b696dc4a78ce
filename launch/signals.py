"""SIGTERM as an exception. Imports next to nothing, so that a program has it from its first moment
on."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class Terminated(BaseException):
    """SIGTERM, as an exception: what is open is closed, and nothing takes it for an error of its
    own."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends what runs inside like an interruption from the keyboard."""

    def terminate(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
