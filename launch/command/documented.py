"""The description of each setting, read from the docstring of the dataclass that has it."""

from __future__ import annotations

import inspect
import re

_SETTING = re.compile(r"^  (`?\w+`?(?:, `?\w+`?)*): (.*)")


def documented(settings: type) -> dict[str, str]:
    """The descriptions of a dataclass's settings: name of a setting -> its description, on one
    line.

    They are read from the `Args:` section of the docstring of the dataclass, or of one that it
    extends. An entry `a, b: text` describes both; lines indented deeper than an entry's first line
    belong to it.
    """
    words: dict[str, str] = {}
    for kind in settings.__mro__:
        for names, text in _arguments(inspect.cleandoc(kind.__doc__ or "")):
            for name in names:
                words.setdefault(name, text)
    return words


def _arguments(text: str) -> list[tuple[list[str], str]]:
    """The entries of the `Args:` section of a docstring, each as (names, description).

    Args:
      text: the docstring, without indentation.
    """
    listed: list[tuple[list[str], list[str]]] = []
    _, _, section = text.partition("Args:\n")
    for line in section.splitlines():
        if line[:1].strip():  # the next section
            break
        if match := _SETTING.match(line):
            listed.append((match[1].replace("`", "").split(", "), [match[2]]))
        elif listed:
            listed[-1][1].append(line)
    return [(names, " ".join(" ".join(lines).split())) for names, lines in listed]
