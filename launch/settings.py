"""The settings of methods, base models, tasks and readers: what `NAME(setting=value)` takes, with
defaults and presets.

`irazor settings` lists the names, `irazor settings NAME` the settings of one. `--plugin=FILE.py`
adds the entries of a plug-in.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import textwrap
from typing import Any

from launch.command.documented import documented
from launch.command.flagfiles import without_plugins
from launch.command.registries import load_plugins, registries
from launch.quiet import import_tensorflow

_WIDTH = 100


def main() -> None:
    """Prints what the command line asks for; without a name, the names."""
    plugins, names = without_plugins(sys.argv[1:])
    if {"--help", "-help", "-h"} & set(names):
        print((__doc__ or "").strip())
        return
    import_tensorflow()
    try:
        load_plugins(plugins)
        print("\n\n".join(settings_of(name) for name in names) if names else listed())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def listed() -> str:
    """The names of all entries, a line per kind."""
    return "\n".join(
        f"{registry.kind + ':':<8} {', '.join(registry.names())}" for registry in registries()
    )


def settings_of(name: str) -> str:
    """Every setting of the entry called `name` (or of several, of one kind each): its default and
    its documentation; and the presets.

    Raises:
      ValueError: there is no such entry.
    """
    from irazor_tf.config.checks import did_you_mean
    from irazor_tf.config.registry import PLUGIN_HINT

    names = [entry for registry in registries() for entry in registry.names()]
    if name not in names:
        raise ValueError(
            f"A name should be one of {', '.join(names)}. {did_you_mean(name, names, PLUGIN_HINT)}"
        )
    return "\n\n".join(
        "\n".join(_described(name, registry.get(name)))
        for registry in registries()
        if name in registry.names()
    )


def _described(name: str, entry: Any) -> list[str]:
    """The lines on one entry."""
    summary, *_ = (inspect.getdoc(entry) or "no description").split("\n\n")
    lines = _wrapped(f"{name}: {' '.join(summary.split())}", "", "  ")
    if getattr(entry, "takes_operands", False):
        lines.append(f"  takes a method: {name}(METHOD(setting=value))")
    if directions := getattr(entry, "directions", {}):
        wanted = {1: "larger is better", -1: "smaller is better"}
        metrics = [f"{metric} ({wanted[sign]})" for metric, sign in directions.items()]
        lines += _wrapped(f"metrics: {', '.join(metrics)}", "  ", "      ")
    words = documented(entry.Params)
    for field in dataclasses.fields(entry.Params):
        default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
        lines.append(f"  {field.name}{default}")
        lines += _wrapped(words.get(field.name, ""), "      ", "      ")
    for preset, changed in getattr(entry, "presets", {}).items():
        values = ", ".join(f"{key}={value!r}" for key, value in changed.items()) or "the defaults"
        lines += _wrapped(f"preset={preset!r}: {values}", "  ", "      ")
    return lines


def _wrapped(text: str, first: str, others: str) -> list[str]:
    """Lines of at most `_WIDTH` characters; values and names stay whole."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
