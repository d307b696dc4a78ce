"""The settings of methods, base models, tasks and readers: what `NAME(setting=value)` takes, with
defaults and presets.

`irazor settings` lists the names, `irazor settings NAME` the settings of one.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from launch.quiet import import_tensorflow


def main() -> None:
    """Prints what the command line asks for; without a name, the names."""
    names = sys.argv[1:]
    if {"--help", "-help", "-h"} & set(names):
        print((__doc__ or "").strip())
        return
    import_tensorflow()
    try:
        print("\n\n".join(settings_of(name) for name in names) if names else listed())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _registries() -> Iterator[Any]:
    from data_pipelines.reader import READERS
    from irazor_tf.evaluation.task import TASKS
    from irazor_tf.model.base import MODELS
    from irazor_tf.search.method import METHODS

    yield from (METHODS, MODELS, TASKS, READERS)


def listed() -> str:
    """A line per kind."""
    return "\n".join(
        f"{registry.kind + ':':<8} {', '.join(registry.names())}" for registry in _registries()
    )


def settings_of(name: str) -> str:
    """Every setting of the entry called `name`, its default and what it does, and the presets.

    Raises:
      ValueError: there is no such entry.
    """
    from irazor_tf.config.checks import did_you_mean

    found = {entry: registry for registry in _registries() for entry in registry.names()}
    if name not in found:
        raise ValueError(f"A name should be one of {', '.join(found)}. {did_you_mean(name, found)}")
    entry = found[name].get(name)
    lines = [f"{name}: {(inspect.getdoc(entry) or 'no description').splitlines()[0]}"]
    if getattr(entry, "takes_operands", False):
        lines.append(f"  takes a method: {name}(METHOD(setting=value))")
    described = documented(entry.Params)
    for field in dataclasses.fields(entry.Params):
        default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
        lines.append(f"  {field.name}{default}")
        lines += textwrap.wrap(
            described.get(field.name, ""), 116, initial_indent="      ", subsequent_indent="      "
        )
    for preset, changed in getattr(entry, "presets", {}).items():
        values = ", ".join(f"{key}={value!r}" for key, value in changed.items()) or "the defaults"
        lines += textwrap.wrap(
            f"preset={preset!r}: {values}", 120, initial_indent="  ", subsequent_indent="      "
        )
    return "\n".join(lines)


def documented(params: type) -> dict[str, str]:
    """Setting -> its words in the `Args:` of the class or of those it extends; "a, b: words" tells
    of both."""
    found: dict[str, str] = {}
    for kind in params.__mro__:
        _, _, arguments = (inspect.cleandoc(kind.__doc__ or "")).partition("Args:\n")
        for names, words in re.findall(
            r"^  (\w+(?:, \w+)*): (.*(?:\n    .*)*)", arguments, re.MULTILINE
        ):
            for name in names.split(", "):
                found.setdefault(name, " ".join(words.split()))
    return found


if __name__ == "__main__":
    main()
