"""Spec strings: Python call syntax with literal arguments only, such as `irazor(cpt=0.4) + fde()`,
parsed with `ast` and never executed. No TensorFlow import."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

# Beyond these the parser itself gives up, or takes minutes.
DEEPEST = 50  # brackets within brackets
MOST_ARGUMENTS = 1_000


@dataclasses.dataclass(frozen=True)
class Spec:
    """One named entry with its arguments: ``name(arguments...)``.

    Args:
      name: Name of a registry's entry, or of an optimizer.
      arguments: Pairs of an argument's name and its value, in the order in which they were written.
      operands: Positional arguments, which are specs themselves (``fields(irazor())``).
    """

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()
    operands: tuple[Spec, ...] = ()

    def __str__(self) -> str:
        parts = [str(operand) for operand in self.operands]
        parts += [f"{key}={value!r}" for key, value in self.arguments]
        return f"{self.name}({', '.join(parts)})"

    def replace(self, **arguments: Any) -> Spec:
        """A copy of this spec in which the given arguments are added or have new values."""
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
    # All but the first: of a NUL, or of what is nested without brackets.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise ValueError(
            f"A spec should read like `name(key=value)`, joined by `+`. Received: {_short(text)!r} "
            f"({reason})"
        ) from None
    if len(list(ast.walk(node))) > 100 * MOST_ARGUMENTS:
        raise ValueError(
            f"A spec should have at most {MOST_ARGUMENTS:,} arguments. Received: {_short(text)!r}"
        )
    specs: list[Spec] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        specs.append(_spec(node.right, text))
        node = node.left
    specs.append(_spec(node, text))
    return tuple(reversed(specs))


def parse_spec(text: str) -> Spec:
    """Parses a single spec such as ``mlp(hidden=(400, 400))``.

    Raises:
      ValueError: the text is no spec, or more than one.
    """
    specs = parse_specs(text)
    if len(specs) != 1:
        raise ValueError(f"Exactly one spec should be given here. Received: {text!r}")
    return specs[0]


def _check_depth(text: str) -> None:
    """Raises ValueError for a text that Python's own parser could not read: brackets nested too
    deep, or too many specs joined."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise ValueError(
            f"A spec should be nested at most {DEEPEST} deep. Received: {deepest} levels in "
            f"{_short(text)!r}"
        )
    if text.count("+") + text.count("-") + text.count("~") > MOST_ARGUMENTS:
        raise ValueError(
            f"A spec should join at most {MOST_ARGUMENTS:,} others. Received: {_short(text)!r}"
        )


def _short(text: str) -> str:
    """The text as an error message quotes it: 200 characters at most."""
    return text if len(text) <= 200 else text[:200] + "..."


def _spec(node: ast.AST, text: str) -> Spec:
    """The spec that a node of the parsed `text` stands for."""
    if isinstance(node, ast.Name):
        return Spec(node.id)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ValueError(
            f"A spec should be a name or a call with literal arguments. Received: {text!r}"
        )
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
            raise ValueError(
                f"`{keyword.arg}` should be a literal (number, string, list, tuple, dict). "
                f"Received: {text!r}"
            ) from None
        arguments.append((keyword.arg, _tuples(value)))
    if len(arguments) + len(operands) > MOST_ARGUMENTS:
        raise ValueError(
            f"A spec should have at most {MOST_ARGUMENTS:,} arguments. Received: "
            f"{len(arguments):,} in {_short(text)!r}"
        )
    return Spec(node.func.id, tuple(arguments), operands)


def _tuples(value: Any) -> Any:
    """The value with all lists turned into tuples, inside it, too, so that parameters stay hashable
    and frozen."""
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
