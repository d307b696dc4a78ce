"""Notices: sentences about fallbacks and doubts that a search records, passes on with its result
and logs once. No TensorFlow import."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator


@dataclasses.dataclass(frozen=True)
class Notice:
    """A sentence that a reader of a result should know: about a fallback taken, or a doubt.

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
    """A list of notices in the order in which they came, without repetitions.

    Args:
      notices: The notices to begin with.
    """

    def __init__(self, notices: Iterable[Notice] = ()):
        self._notices = dict.fromkeys(notices)

    def __iter__(self) -> Iterator[Notice]:
        return iter(self._notices)

    def add(self, text: str, who: str = "") -> None:
        """Appends a notice, unless an equal one is there.

        Args:
          text, who: see `Notice`.
        """
        self._notices.setdefault(Notice(text, who))


def log_once(notices: Iterable[Notice], who: str) -> None:
    """Logs every notice as a warning, equal ones once.

    Args:
      notices: The notices.
      who: Name to put before a notice that names no method itself.
    """
    logger = logging.getLogger("irazor_tf")
    for notice in dict.fromkeys(dataclasses.replace(n, who=n.who or who) for n in notices):
        logger.warning("%s", notice)
