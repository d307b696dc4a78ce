"""Checks of a setting's type, range and name, which all packages share. No TensorFlow import."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def fits(value: Any, hint: Any) -> bool:
    """Whether a literal value is of the type `hint`, a parameter's annotation. An int passes as a
    float; a bool does not pass as a number."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(item, inner[0]) for item in value)
    if origin is not None:  # a mapping
        return isinstance(value, Mapping) and all(
            fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items()
        )
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(
            value, bool
        )
    return hint is Any or isinstance(value, NoneType if hint is None else hint)


def finite(value: Any) -> bool:
    """Whether every number in a literal is finite and, where it is whole, of 64 bits at most."""
    if isinstance(value, int | float):
        return -(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(finite, value.keys())) and all(map(finite, value.values()))
    return all(map(finite, value)) if isinstance(value, tuple) else True


def check_types(settings: Any) -> None:
    """Raises ValueError where a field of a dataclass instance is not of its annotated type, or
    where a number in it is not finite."""
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if not (fits(value, hints[field.name]) and finite(value)):
            wanted = type(settings).__annotations__.get(field.name, hints[field.name])
            raise ValueError(
                f"`{field.name}` should be of type {wanted}, and finite. Received: {value!r}"
            )


def did_you_mean(name: Any, known: Iterable[str], otherwise: str = "") -> str:
    """The end of an error message about an unknown name: the name, and the known one that it
    resembles.

    Args:
      name: The name that was given.
      known: The names that exist.
      otherwise: Advice for a name that resembles none of them; "" for no advice.
    """
    close = difflib.get_close_matches(name, list(known), 1) if isinstance(name, str) else []
    advice = f"did you mean {close[0]!r}?" if close else otherwise
    return f"Received: {name!r}" + (f" ({advice})" if advice else "")


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval of numbers, and how an error names it.

    Args:
      low, high: Ends of the interval.
      open_low, open_high: Whether that end itself lies outside.
      words: The interval as a message says it ("be at least 1").
    """

    low: float
    high: float
    open_low: bool
    open_high: bool
    words: str

    def __contains__(self, value: Any) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return bool(above and (value < self.high if self.open_high else value <= self.high))


def at_least(low: float) -> Range:
    """The numbers from `low` on, `low` itself among them."""
    return Range(low, math.inf, False, False, f"be at least {low:,}")


def above(low: float) -> Range:
    """The numbers above `low`, which is not among them."""
    return Range(low, math.inf, True, False, f"be above {low:,}")


def at_most(high: float) -> Range:
    """The numbers up to `high`, `high` itself among them."""
    return Range(-math.inf, high, False, False, f"be at most {high:,}")


def inside(low: float, high: float, ends: str = "[]") -> Range:
    """The numbers between `low` and `high`.

    Args:
      low, high: Ends of the interval.
      ends: Two brackets, one for each end: a square one includes the end, a round one leaves it
        out.
    """
    return Range(
        low, high, ends[0] == "(", ends[1] == ")", f"lie in {ends[0]}{low}, {high}{ends[1]}"
    )


def check_ranges(settings: Any, owner: str = "", **ranges: Range) -> None:
    """Raises ValueError where a setting lies outside its range.

    Args:
      settings: A dataclass instance. A setting that is None is not checked; of a tuple, every item
        is.
      owner: Name of what the settings belong to (a method, say), for the message; "" for none.
      ranges: Attribute of `settings` -> the range that it should lie in.
    """
    for name, interval in ranges.items():
        value = getattr(settings, name)
        check_values(name, value if isinstance(value, tuple) else (value,), interval, owner)


def check_values(name: str, values: Iterable[Any], interval: Range, owner: str = "") -> None:
    """Raises ValueError where one of some values of a setting lies outside its range, such as the
    values that the setting has at the points of a curve.

    Args:
      name: Name of the setting, for the message.
      values: The values; None is not checked.
      interval: The range that they should lie in.
      owner: See `check_ranges`.
    """
    for value in values:
        if value is not None and value not in interval:
            of = f" of {owner}" if owner else ""
            raise ValueError(f"`{name}`{of} should {interval.words}. Received: {value}")


def check_choice(settings: Any, owner: str = "", **choices: Iterable[Any]) -> None:
    """Raises ValueError where a setting is not one of its allowed values.

    Args:
      settings, owner: see `check_ranges`.
      choices: Attribute of `settings` -> the values that it may have.
    """
    for name, known in choices.items():
        if (value := getattr(settings, name)) not in (known := list(known)):
            of = f" of {owner}" if owner else ""
            raise ValueError(
                f"`{name}`{of} should be one of {', '.join(map(str, known))}. Received: {value!r}"
            )
