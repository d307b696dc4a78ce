"""Flags made from a dataclass of settings: one per field, with its default, its type and its
documentation, so that a setting is written in one place."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

from absl import flags

from irazor_tf.config.recipe import AUTO
from launch.command.documented import documented


def define_settings(
    settings: Any,
    group: str,
    renamed: Mapping[str, str | None] | None = None,
    choices: Mapping[str, Sequence[str]] | None = None,
    further: Mapping[str, str] | None = None,
) -> None:
    """Defines a flag per field of a dataclass, with its default and its documentation.

    Args:
      settings: An instance of the dataclass.
      group: Group of the flags in the help text.
      renamed: Field -> its flag, where that is called otherwise; None: there is none.
      choices: Field whose values are a closed set of names -> those names.
      further: Field -> a sentence behind those of its documentation.
    """
    words, hints = documented(type(settings)), get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        name = (renamed or {}).get(field.name, field.name)
        if name is None:
            continue
        text = (
            f"{_sentence(words.get(field.name, ''))} {(further or {}).get(field.name, '')}".strip()
        )
        default: Any = None if field.default is dataclasses.MISSING else field.default
        kinds = kinds_of(hints[field.name])
        options: dict[str, Any] = {"module_name": group}
        if field.name in (choices or {}):
            flags.DEFINE_enum(name, default, choices[field.name], text, **options)  # type: ignore[index]
        elif default == AUTO:
            _define_auto(settings, field.name, name, text, kinds, options)
        elif bool in kinds:
            flags.DEFINE_bool(name, default, text, **options)
        elif int in kinds:
            flags.DEFINE_integer(name, default, text, **options)
        elif float in kinds:
            flags.DEFINE_float(name, default, text, **options)
        elif any(get_origin(kind) is tuple for kind in kinds):
            flags.DEFINE_list(name, list(map(str, default or ())), text, **options)
        else:
            flags.DEFINE_string(name, default, text, **options)


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """The types that an annotation allows: int and str of `int | str`."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _sentence(words: str) -> str:
    """Words of a documentation as a sentence of a help text."""
    return f"{words[:1].upper()}{words[1:].removesuffix('.')}."


def _define_auto(
    settings: Any,
    field: str,
    name: str,
    text: str,
    kinds: Sequence[Any],
    options: Mapping[str, Any],
) -> None:
    """A flag whose default, "auto", is resolved when the log's size is known."""
    text = f"{text} {AUTO}: by the log's size."
    if kinds == (str,):
        flags.DEFINE_string(name, AUTO, text, **options)
        return
    parser = _AutoParser(int if int in kinds else float, _least(settings, field))
    flags.DEFINE(parser, name, AUTO, text, serializer=flags.ArgumentSerializer(), **options)


def _least(settings: Any, field: str) -> int:
    """0 where the settings allow it for a field, else 1."""
    try:
        dataclasses.replace(settings, **{field: 0})
    except ValueError:
        return 1
    return 0


class _AutoParser(flags.ArgumentParser):
    """A number, or "auto".

    Args:
      kind: Type of the number, int or float.
      least: Smallest number allowed.
    """

    def __init__(self, kind: type, least: int):
        self.syntactic_help = (
            f"auto, or {'a whole number' if kind is int else 'a number'} of at least {least}"
        )
        self._kind, self._least = kind, least

    def parse(self, argument: Any) -> Any:
        if argument == AUTO:
            return argument
        try:
            value = self._kind(argument)
        except (TypeError, ValueError):
            value = None
        if (
            isinstance(argument, bool)
            or value is None
            or not value >= self._least
            or value == float("inf")
        ):
            raise ValueError(f"should be {self.syntactic_help}. Received: {argument!r}")
        return value

    def flag_type(self) -> str:
        return "auto or number"
