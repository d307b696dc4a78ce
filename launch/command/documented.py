"""The words on a setting, read from the documentation of the dataclass that has it."""

from __future__ import annotations

import inspect
import re

_SETTING = re.compile(r"^  (`?\w+`?(?:, `?\w+`?)*): (.*)")


def documented(settings: type) -> dict[str, str]:
    """Setting -> its words, on one line, from the `Args:` section of a dataclass or of those that
    it extends. `a, b: words` says the same of both; lines indented deeper than a setting's first
    one belong to it."""
    words: dict[str, str] = {}
    for kind in settings.__mro__:
        for names, text in _arguments(inspect.cleandoc(kind.__doc__ or "")):
            for name in names:
                words.setdefault(name, text)
    return words


def _arguments(text: str) -> list[tuple[list[str], str]]:
    """Names and words of the entries of the `Args:` section of a docstring without indentation."""
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
