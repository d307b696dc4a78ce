"""Registries of methods, models, tasks and readers, and the spec strings that name their entries.

An open set (models, methods, readers) is a folder: every module in it is imported on first use and
registers what it defines, so that adding an entry is adding one file. A spec string is Python call
syntax with literal arguments only, for example ``irazor(cpt=0.4) + fde(dim=16)``; it is parsed with
`ast` and never executed."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import os
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from irazor_tf.config.checks import did_you_mean, finite, fits
from irazor_tf.config.specs import Spec, parse_spec

T = TypeVar("T")


def modules(package: str) -> list[str]:
    """The modules and packages that a registry imports, found without importing them."""
    return sorted(
        module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
    )


def entries(package: str) -> list[str]:
    """The names that a package's files register by `@REGISTRY.register("name")`, read from their
    source, without importing them."""
    folders = importlib.import_module(package).__path__
    paths = [
        os.path.join(top, name)
        for folder in folders
        for top, _, names in os.walk(folder)
        for name in names
        if name.endswith(".py")
    ]
    return sorted(name for path in paths for name in entries_in(path))


def entries_in(path: str) -> list[str]:
    """The names that one source file registers."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found = []
    for node in ast.walk(tree):
        for call in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "register"
            ):
                found += [ast.literal_eval(argument) for argument in call.args[:1]]
    return found


class Registry:
    """Named entries of one kind, found by scanning a package.

    Args:
      kind: what an entry is called in messages ("method", "model", "reader").
      package: dotted name of the package whose modules are imported on first use.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self._package = package
        self._entries: dict[str, Any] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator: enters the class under `name`."""

        def enter(entry: T) -> T:
            if self._entries.get(name, entry) is not entry:
                raise ValueError(
                    f"The {self.kind} name {name!r} should be free. Received: a second entry "
                    f"{entry!r}"
                )
            self._entries[name] = entry
            entry.registry_name = name  # type: ignore[attr-defined]
            return entry

        return enter

    def remove(self, name: str) -> None:
        """Takes an entry out again (tests that add a toy method)."""
        self._entries.pop(name, None)

    def names(self) -> list[str]:
        self._scan()
        return sorted(self._entries)

    def get(self, name: str) -> Any:
        """The entry called `name`.

        Raises:
          ValueError: there is none; the message lists those that exist.
        """
        self._scan()
        if name not in self._entries:
            raise ValueError(
                f"The {self.kind} should be one of {', '.join(self.names())}. "
                f"{did_you_mean(name, self.names())}"
            )
        return self._entries[name]

    def build(self, spec: Spec | str) -> Any:
        """Makes the entry a spec names: ``entry(entry.Params(**arguments))``.

        ``preset='name'`` among the arguments takes that entry of the class's `presets` first and
        lets the other arguments override it."""
        spec = parse_spec(spec) if isinstance(spec, str) else spec
        entry = self.get(spec.name)
        arguments = dict(spec.arguments)
        preset = arguments.pop("preset", None)
        if preset is not None:
            presets = getattr(entry, "presets", {})
            if preset not in presets:
                named = ", ".join(sorted(presets)) or "none"
                raise ValueError(
                    f"`preset` of {self.kind} {spec.name!r} should be one of: {named}. "
                    f"{did_you_mean(preset, presets)}"
                )
            arguments = dict(presets[preset]) | arguments
        known = [field.name for field in dataclasses.fields(entry.Params) if field.init]
        for key in arguments:
            if key not in known:
                named = ", ".join(known) or "none"
                received = did_you_mean(key, [*known, "preset"])
                raise ValueError(
                    f"A parameter of {self.kind} {spec.name!r} should be one of: {named}. "
                    f"{received}"
                )
        hints = get_type_hints(entry.Params)
        for key, value in arguments.items():
            if not fits(value, hints[key]):
                wanted = entry.Params.__annotations__.get(key, hints[key])
                raise ValueError(
                    f"`{key}` of {self.kind} {spec.name!r} should be of type {wanted}. Received: "
                    f"{value!r}"
                )
            if not finite(value):
                raise ValueError(
                    f"`{key}` of {self.kind} {spec.name!r} should be finite. Received: {value!r}"
                )
        params = entry.Params(**arguments)
        if spec.operands:
            if not getattr(entry, "takes_operands", False):
                raise ValueError(
                    f"The {self.kind} {spec.name!r} takes named arguments only. Received: {spec}"
                )
            return entry(params, *(self.build(operand) for operand in spec.operands))
        return entry(params)

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = (
            True  # before the imports: a module may ask for names while it is being imported
        )
        try:
            for name in modules(self._package):
                importlib.import_module(f"{self._package}.{name}")
        except BaseException:
            self._scanned = False  # or the entries found so far would pass for all there are
            raise
