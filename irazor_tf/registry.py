"""Registries of methods, models, tasks and readers, and the spec strings that name their entries.

An open set (models, methods, readers) is a folder: every module in it is imported on first use and registers what it defines, so
that adding an entry is adding one file. A spec string is Python call syntax with literal arguments only, for example
``irazor(cpt=0.4) + fde(dim=16)``; it is parsed with `ast` and never executed.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib
import importlib.util
import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
DEEPEST = 50  # brackets within brackets
MOST_ARGUMENTS = 1_000


@dataclasses.dataclass(frozen=True)
class Spec:
    """One named entry with its arguments: ``name(arguments...)``.

    `operands` holds positional arguments that are specs themselves (``fields(irazor())``).
    """

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()
    operands: tuple[Spec, ...] = ()

    def __str__(self) -> str:
        parts = [str(operand) for operand in self.operands]
        parts += [f"{key}={value!r}" for key, value in self.arguments]
        return f"{self.name}({', '.join(parts)})"

    def replace(self, **arguments: Any) -> Spec:
        """The same spec with some arguments set or replaced."""
        merged = dict(self.arguments) | arguments
        return dataclasses.replace(self, arguments=tuple(merged.items()))


def parse_specs(text: str) -> tuple[Spec, ...]:
    """Parses ``a(x=1) + b`` into its specs, left to right.

    Raises:
      ValueError: the text is not names and calls with literal arguments joined by ``+``.
    """
    _check_depth(text)
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # of a NUL, or of what is nested without brackets
        said = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise ValueError(f"A spec should read like `name(key=value)`, joined by `+`. Received: {_short(text)!r} ({said})") from None
    if len(list(ast.walk(node))) > 100 * MOST_ARGUMENTS:
        raise ValueError(f"A spec should have at most {MOST_ARGUMENTS:,} arguments. Received: {_short(text)!r}")
    specs: list[Spec] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        specs.append(_spec(node.right, text))
        node = node.left
    specs.append(_spec(node, text))
    return tuple(reversed(specs))


def _check_depth(text: str) -> None:
    """Raises ValueError for brackets nested, or specs joined, so deep that the parser itself would give up."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise ValueError(f"A spec should be nested at most {DEEPEST} deep. Received: {deepest} levels in {_short(text)!r}")
    if text.count("+") + text.count("-") + text.count("~") > MOST_ARGUMENTS:
        raise ValueError(f"A spec should join at most {MOST_ARGUMENTS:,} others. Received: {_short(text)!r}")


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "..."


def parse_spec(text: str) -> Spec:
    """Parses a single spec such as ``mlp(hidden=(400, 400))``."""
    specs = parse_specs(text)
    if len(specs) != 1:
        raise ValueError(f"Exactly one spec should be given here. Received: {text!r}")
    return specs[0]


def _spec(node: ast.AST, text: str) -> Spec:
    if isinstance(node, ast.Name):
        return Spec(node.id)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ValueError(f"A spec should be a name or a call with literal arguments. Received: {text!r}")
    operands = tuple(_spec(argument, text) for argument in node.args)
    arguments: list[tuple[str, Any]] = []
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError(f"A spec takes no `**` arguments. Received: {text!r}")
        if keyword.arg in dict(arguments):
            raise ValueError(f"`{keyword.arg}` should be given once. Received: {text!r}")
        try:
            value = ast.literal_eval(keyword.value)
        except (ValueError, TypeError):
            raise ValueError(f"`{keyword.arg}` should be a literal (number, string, list, tuple, dict). Received: {text!r}") from None
        arguments.append((keyword.arg, _tuples(value)))
    if len(arguments) + len(operands) > MOST_ARGUMENTS:
        raise ValueError(f"A spec should have at most {MOST_ARGUMENTS:,} arguments. Received: {len(arguments):,} in {_short(text)!r}")
    return Spec(node.func.id, tuple(arguments), operands)


def _tuples(value: Any) -> Any:
    """Lists become tuples, so that parameters stay hashable and frozen."""
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a literal is of the type a parameter asks for; a whole number is a float, too, a truth value is no number."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, inner[0]) for item in value)
    if origin is not None:  # a mapping
        return isinstance(value, Mapping) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return hint is Any or isinstance(value, NoneType if hint is None else hint)


def finite(value: Any) -> bool:
    """Whether no number in a literal is nan, infinite or a whole number of more than 64 bits."""
    if isinstance(value, int | float):
        return -(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(finite, value.keys())) and all(map(finite, value.values()))
    return all(map(finite, value)) if isinstance(value, tuple) else True


def check_types(settings: Any) -> None:
    """Raises ValueError where a field of a dataclass instance is not of its annotated type, or a number in it not finite."""
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if not (_fits(value, hints[field.name]) and finite(value)):
            wanted = type(settings).__annotations__.get(field.name, hints[field.name])
            raise ValueError(f"`{field.name}` should be of type {wanted}, and finite. Received: {value!r}")


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """The end of a message about a name that is not `known`: the name, and the one that it resembles, if there is one."""
    close = difflib.get_close_matches(name, list(known), 1) if isinstance(name, str) else []
    return f"Received: {name!r}" + (f" (did you mean {close[0]!r}?)" if close else "")


def modules(package: str) -> list[str]:
    """The modules that a registry imports, found without importing them."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))


def entries(package: str) -> list[str]:
    """The names that a package's modules register by `@REGISTRY.register("name")`, read from their source, without importing them."""
    found = []
    for module in modules(package):
        spec = importlib.util.find_spec(f"{package}.{module}")
        assert spec is not None and spec.origin is not None
        found += entries_in(spec.origin)
    return sorted(found)


def entries_in(path: str) -> list[str]:
    """The names that one source file registers."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found = []
    for node in ast.walk(tree):
        for call in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "register":
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
                raise ValueError(f"The {self.kind} name {name!r} should be free. Received: a second entry {entry!r}")
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
            raise ValueError(f"The {self.kind} should be one of {', '.join(self.names())}. {did_you_mean(name, self.names())}")
        return self._entries[name]

    def build(self, spec: Spec | str) -> Any:
        """Makes the entry a spec names: ``entry(entry.Params(**arguments))``.

        ``preset='name'`` among the arguments takes that entry of the class's `presets` first and lets the other arguments override it.
        """
        spec = parse_spec(spec) if isinstance(spec, str) else spec
        entry = self.get(spec.name)
        arguments = dict(spec.arguments)
        preset = arguments.pop("preset", None)
        if preset is not None:
            presets = getattr(entry, "presets", {})
            if preset not in presets:
                named = ", ".join(sorted(presets)) or "none"
                raise ValueError(f"`preset` of {self.kind} {spec.name!r} should be one of: {named}. {did_you_mean(preset, presets)}")
            arguments = dict(presets[preset]) | arguments
        known = [field.name for field in dataclasses.fields(entry.Params) if field.init]
        for key in arguments:
            if key not in known:
                named = ", ".join(known) or "none"
                received = did_you_mean(key, [*known, "preset"])
                raise ValueError(f"A parameter of {self.kind} {spec.name!r} should be one of: {named}. {received}")
        hints = get_type_hints(entry.Params)
        for key, value in arguments.items():
            if not _fits(value, hints[key]):
                wanted = entry.Params.__annotations__.get(key, hints[key])
                raise ValueError(f"`{key}` of {self.kind} {spec.name!r} should be of type {wanted}. Received: {value!r}")
            if not finite(value):
                raise ValueError(f"`{key}` of {self.kind} {spec.name!r} should be finite. Received: {value!r}")
        params = entry.Params(**arguments)
        if spec.operands:
            if not getattr(entry, "takes_operands", False):
                raise ValueError(f"The {self.kind} {spec.name!r} takes named arguments only. Received: {spec}")
            return entry(params, *(self.build(operand) for operand in spec.operands))
        return entry(params)

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True  # before the imports: a module may ask for names while it is being imported
        try:
            for name in modules(self._package):
                importlib.import_module(f"{self._package}.{name}")
        except BaseException:
            self._scanned = False  # or the entries found so far would pass for all there are
            raise
