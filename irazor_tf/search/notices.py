"""What a search has to tell about itself, as records that are passed along and logged once. No
TensorFlow import."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator


@dataclasses.dataclass(frozen=True)
class Notice:
    """One thing that a reader of a result should know: a fallback taken, a doubt.

    Args:
      text: The notice, a sentence without its subject's name.
      who: Spec of the method that tells it, where the notice stands among those of others; empty
        where the result that holds the notice names the method already.
    """

    text: str
    who: str = ""

    def __str__(self) -> str:
        return f"{self.who}: {self.text}" if self.who else self.text


class Notices:
    """Notices in the order they came, each once.

    Args:
      notices: The first ones.
    """

    def __init__(self, notices: Iterable[Notice] = ()):
        self._notices = dict.fromkeys(notices)

    def __iter__(self) -> Iterator[Notice]:
        return iter(self._notices)

    def add(self, text: str, who: str = "") -> None:
        """Appends a notice, unless it is there."""
        self._notices.setdefault(Notice(text, who))


def log_once(notices: Iterable[Notice], who: str) -> None:
    """Warns of every notice once, each under its own method's name, or else under `who`."""
    logger = logging.getLogger("irazor_tf")
    for notice in dict.fromkeys(dataclasses.replace(n, who=n.who or who) for n in notices):
        logger.warning("%s", notice)
