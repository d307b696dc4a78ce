"""Registries of methods, models, tasks and readers: named entries that spec strings ask for.

An open set is a folder: every module in it is imported on first use and registers what it defines,
so that adding an entry is adding one file. A module outside the folder registers its entries in the
same way (see `irazor_tf.config.plugins`). Specs: `irazor_tf.config.specs`. No TensorFlow import."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

from irazor_tf.config.checks import did_you_mean, finite, fits
from irazor_tf.config.specs import Spec, parse_spec

T = TypeVar("T")

# What an entry of each open set is called -> the package with a file or a folder per entry.
OPEN_SETS: Mapping[str, str] = {
    "method": "irazor_tf.methods",
    "model": "irazor_tf.models",
    "task": "irazor_tf.tasks",
    "reader": "data_pipelines.readers",
}
PLUGIN_HINT = "the name of a plug-in's entry needs --plugin"


def modules(package: str) -> list[str]:
    """The modules and packages that a registry imports, found without importing them."""
    return sorted(
        module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
    )


def entries(package: str) -> list[str]:
    """The names that the files of a package register, sorted, read from their source without
    importing them."""
    folders = importlib.import_module(package).__path__
    return sorted(
        name for folder in folders for path in sources_in(folder) for name in entries_in(path)
    )


def sources_in(folder: str) -> list[str]:
    """The paths of the Python files anywhere in a folder."""
    return [
        os.path.join(top, name)
        for top, _, names in os.walk(folder)
        for name in names
        if name.endswith(".py")
    ]


def entries_in(path: str) -> list[str]:
    """The names that one source file registers."""
    return [name for _, name in registrations(path)]


def registrations(path: str) -> list[tuple[str, str]]:
    """The entries that a source file registers, read without importing the file.

    Returns:
      (kind, name) of every class that is decorated by `@METHODS.register("name")` or
      `@irazor_tf.register_method("name")`; the kind is that of the registry, as in `OPEN_SETS`.
    """
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    return [
        (kind, str(call.args[0].value))
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for call in node.decorator_list
        if isinstance(call, ast.Call)
        and (kind := _kind_registered_by(call.func))
        and call.args
        and isinstance(call.args[0], ast.Constant)
    ]


def _kind_registered_by(decorator: ast.expr) -> str:
    """The kind of entry that a decorator registers: "method" for `METHODS.register`,
    `register_method` and `irazor_tf.register_method`; empty for any other decorator."""
    name = ast.unparse(decorator)
    owner, _, last = name.rpartition(".")
    if last == "register":
        return owner.rpartition(".")[2].lower().removesuffix("s")
    prefix, _, kind = last.partition("_")
    return kind if prefix == "register" else ""


class Registry:
    """Named entries of one kind, found by scanning a package.

    Args:
      kind: What an entry is called in messages ("method", "model", "task", "reader").
      package: Dotted name of the package whose modules are imported on first use.

    Attributes:
      scanned: Whether the package's modules have been imported. Set to False, it makes the next
        question import those that have come since.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.package = package
        self._entries: dict[str, Any] = {}
        self.scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """A class decorator that enters the class under `name`.

        Raises:
          ValueError: another class has this name already.
        """

        def enter(entry: T) -> T:
            holder = self._entries.get(name, entry)
            if holder is not entry and not _defined_again(holder, entry):
                raise ValueError(
                    f"The {self.kind} name {name!r} should be free. Received: a second entry "
                    f"{entry!r}"
                )
            self._entries[name] = entry
            entry.registry_name = name  # type: ignore[attr-defined]
            return entry

        return enter

    def remove(self, name: str) -> None:
        """Removes the entry called `name`, if there is one (for tests that register a class for a
        while)."""
        self._entries.pop(name, None)

    def names(self) -> list[str]:
        """The names of all entries, sorted."""
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
                f"{did_you_mean(name, self.names(), PLUGIN_HINT)}"
            )
        return self._entries[name]

    def build(self, spec: Spec | str) -> Any:
        """Makes the entry a spec names: ``entry(entry.Params(**arguments), *operands)``.

        ``preset='name'`` among the arguments takes that entry of the class's `presets` first and
        lets the other arguments override it.

        Raises:
          ValueError: an entry, a preset or a parameter that does not exist, a value of the wrong
            type or out of its range, or operands for an entry that takes none.
        """
        spec = parse_spec(spec) if isinstance(spec, str) else spec
        entry = self.get(spec.name)
        arguments = self._with_preset(entry, spec)
        self._check_arguments(entry, spec.name, arguments)
        params = entry.Params(**arguments)
        if spec.operands and not getattr(entry, "takes_operands", False):
            raise ValueError(
                f"The {self.kind} {spec.name!r} takes named arguments only. Received: {spec}"
            )
        return entry(params, *map(self.build, spec.operands))

    def _with_preset(self, entry: Any, spec: Spec) -> dict[str, Any]:
        """The arguments of a spec, completed by those of the preset that it names; an argument of
        the spec itself overrides the preset's."""
        arguments = dict(spec.arguments)
        preset = arguments.pop("preset", None)
        if preset is None:
            return arguments
        presets = getattr(entry, "presets", {})
        if preset not in presets:
            named = ", ".join(sorted(presets)) or "none"
            raise ValueError(
                f"`preset` of {self.kind} {spec.name!r} should be one of: {named}. "
                f"{did_you_mean(preset, presets)}"
            )
        return dict(presets[preset]) | arguments

    def _check_arguments(self, entry: Any, name: str, arguments: Mapping[str, Any]) -> None:
        """Raises ValueError for an argument that is no field of `entry.Params`, or whose value has
        the wrong type."""
        known = [field.name for field in dataclasses.fields(entry.Params) if field.init]
        for key in arguments:
            if key not in known:
                raise ValueError(
                    f"A parameter of {self.kind} {name!r} should be one of: "
                    f"{', '.join(known) or 'none'}. {did_you_mean(key, [*known, 'preset'])}"
                )
        hints = get_type_hints(entry.Params)
        for key, value in arguments.items():
            if not fits(value, hints[key]):
                wanted = entry.Params.__annotations__.get(key, hints[key])
                raise ValueError(
                    f"`{key}` of {self.kind} {name!r} should be of type {wanted}. Received: "
                    f"{value!r}"
                )
            if not finite(value):
                raise ValueError(
                    f"`{key}` of {self.kind} {name!r} should be finite. Received: {value!r}"
                )

    def _scan(self) -> None:
        if self.scanned:
            return
        # Before the imports: a module may ask for names while it is being imported.
        self.scanned = True
        try:
            for name in modules(self.package):
                importlib.import_module(f"{self.package}.{name}")
        except BaseException:
            self.scanned = False  # or the entries found so far would pass for all there are
            raise


def _defined_again(holder: Any, entry: Any) -> bool:
    """Whether `entry` is a new definition of the class `holder`, as happens where a cell of a
    notebook is run again."""
    places = [(one.__module__, one.__qualname__) for one in (holder, entry)]
    return places[0] == places[1] and entry.__module__ == "__main__"
