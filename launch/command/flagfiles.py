"""Words of a command line before absl reads them: presets by name, plug-ins, flagfiles."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence

PRESETS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "presets")


def preset_names(ending: str) -> list[str]:
    """The names of the presets with this ending: "flags" or "yaml"."""
    return sorted(
        os.path.basename(path).removesuffix(f".{ending}")
        for path in glob.glob(os.path.join(PRESETS, f"*.{ending}"))
    )


def file_or_preset(flag: str, name: str, ending: str) -> str:
    """The path of the file called `name`, or else of the preset of that name.

    Raises:
      ValueError: there is neither; the message names `flag` and lists the presets.
    """
    path = os.path.join(PRESETS, f"{name}.{ending}")
    if not os.path.isfile(name) and name in preset_names(ending):
        return path
    if not os.path.exists(name):
        from irazor_tf.config.checks import did_you_mean

        raise ValueError(
            f"--{flag} should be a file or one of: {', '.join(preset_names(ending))}. "
            f"{did_you_mean(name, preset_names(ending))}"
        )
    return name


def with_presets(words: Sequence[str]) -> list[str]:
    """The command line with the paths of presets for their names."""
    replaced = list(words)
    for place, before, name in _values(words, "flagfile"):
        replaced[place] = before + file_or_preset("flagfile", name, "flags")
    return replaced


def without_plugins(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What `--plugin` is given on a command line, and the words of it that are left."""
    names: list[str] = []
    left: list[str | None] = list(words)
    for place, before, value in _values(words, "plugin"):
        names += plugin_names([value])
        left[place] = None
        if not before:  # the flag is a word of its own
            left[place - 1] = None
    return names, [word for word in left if word is not None]


def plugin_names(values: Sequence[str]) -> list[str]:
    """The plug-ins that the values of `--plugin` name, each one or several joined by commas."""
    return [name for value in values for name in value.split(",") if name]


def _values(words: Sequence[str], flag: str) -> Iterator[tuple[int, str, str]]:
    """Every value of a flag: its place among the words, what of the word stands before it
    ("--flag=", or nothing where the flag is the word before), and the value."""
    for place, word in enumerate(words):
        if word == "--":
            return
        key, equals, value = word.partition("=")
        if key not in (f"--{flag}", f"-{flag}"):
            continue
        if equals:
            yield place, f"{key}=", value
        elif place + 1 < len(words):
            yield place + 1, "", words[place + 1]
