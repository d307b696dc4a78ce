"""Reading YAML files so that scalars stay as they are written, and every value knows its line.

YAML 1.1 respells what stands without quotes: 00000 becomes 0, 010 becomes 8, 1_000 becomes 1000,
12:30 becomes 750, no becomes false. In a file that describes a log, where these are texts of the
log, such a value is refused and quotes are asked for. Messages give file and line and never quote
the content, because a mistyped path may lead to a file with other, private content.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]

MAX_BYTES = 8 << 20
MAX_DEPTH = 50
_TAG = "tag:yaml.org,2002:"
_KINDS = {
    "map": "a mapping",
    "seq": "a list",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "a truth value",
}
_KINDS |= {
    "null": "nothing",
    "timestamp": "a date",
    "merge": "a merge key",
    "value": "a sign of YAML's own",
}


class Value:
    """A value in a YAML file: a mapping, a list or a scalar.

    Args:
      node: the parser's node for the value.
      path: the file.
      subject: name of the value in messages: "`separator` of a table schema".
    """

    def __init__(self, node: yaml.Node, path: str, subject: str):
        self._node, self._path, self.subject = node, path, subject

    @property
    def line(self) -> int:
        """Number of the line at which the value begins, from 1."""
        return self._node.start_mark.line + 1

    @property
    def is_null(self) -> bool:
        return self._node.tag == f"{_TAG}null"

    @property
    def is_scalar(self) -> bool:
        return isinstance(self._node, yaml.ScalarNode)

    def error(self, should: str, received: str = "") -> ValueError:
        """An error about this value, with file and line.

        Args:
          should: what should be there.
          received: what is there instead. If empty (default), the kind of value.
        """
        received = received or _KINDS.get(
            self._node.tag.removeprefix(_TAG), "a value of another type"
        )
        return ValueError(
            f"{should[0].upper()}{should[1:]} Received: {received} ({self._path}, line {self.line})"
        )

    def mapping(self, known: Sequence[str], holding: str = "") -> dict[str, Value]:
        """The values of a mapping by key.

        Args:
          known: keys that are allowed, each at most once.
          holding: addition to the message about a value that is no mapping.

        Raises:
          ValueError: the value is no mapping, or a key is unknown or occurs twice.
        """
        if not isinstance(self._node, yaml.MappingNode) or self._node.tag != f"{_TAG}map":
            raise self.error(f"{self.subject} should be a mapping{holding}.")
        values: dict[str, Value] = {}
        for key, node in self._node.value:
            at_key = Value(key, self._path, f"a key of {self.subject}")
            if key.tag == f"{_TAG}merge":
                raise at_key.error(f"{self.subject} should spell out its keys.")
            if (
                not isinstance(key, yaml.ScalarNode)
                or key.tag != f"{_TAG}str"
                or key.value not in known
            ):
                is_text = isinstance(key, yaml.ScalarNode)
                near = difflib.get_close_matches(str(key.value)[:40], known, 1) if is_text else []
                hint = f"another; did you mean {near[0]}?" if near else "another"
                raise at_key.error(f"{at_key.subject} should be one of {', '.join(known)}.", hint)
            if key.value in values:
                raise at_key.error(
                    f"`{key.value}` should be given once.",
                    f"again, after line {values[key.value].line}",
                )
            values[key.value] = Value(node, self._path, f"`{key.value}` of {self.subject}")
        return values

    def items(self) -> list[Value]:
        """The entries of a list.

        Raises:
          ValueError: the value is no list.
        """
        if not isinstance(self._node, yaml.SequenceNode) or self._node.tag != f"{_TAG}seq":
            raise self.error(f"{self.subject} should be a list.")
        return [Value(node, self._path, f"an entry of {self.subject}") for node in self._node.value]

    def text(self) -> str:
        """A text as it is written in the file. Of scalars that YAML reads as something else than
        text, only whole numbers in YAML's own spelling are accepted.

        Raises:
          ValueError: the value is not such a text.
        """
        value, should = self._node.value, f"{self.subject} should be text"
        if not self.is_scalar:
            raise self.error(f"{should}.")
        if self._node.tag != f"{_TAG}str" and not (
            self._node.tag == f"{_TAG}int" and re.fullmatch("0|-?[1-9][0-9]*", value)
        ):
            raise self.error(
                f"{should}; put it in quotes, without which YAML reads something else."
            )
        if not value.isascii() and re.search("[\ud800-\udfff]", value):
            raise self.error(f"{should}.", "half a character (a surrogate)")
        return value

    def texts(self) -> tuple[str, ...]:
        """The texts in a list; a single text counts as a list of one."""
        values = self.items() if isinstance(self._node, yaml.SequenceNode) else [self]
        return tuple(value.text() for value in values)

    def truth(self) -> bool:
        """The truth value, in any of YAML's spellings.

        Raises:
          ValueError: the value is none.
        """
        truth = yaml.SafeLoader.bool_values.get(str(self._node.value).lower())
        if self._node.tag != f"{_TAG}bool" or truth is None:
            raise self.error(f"{self.subject} should be true or false, without quotes.")
        return truth

    def number(self) -> int | float:
        """A finite decimal number.

        Raises:
          ValueError: the value is none, or is written in another of YAML's notations (010 for 8,
            1_000, 12:30).
        """
        text, whole = str(self._node.value), self._node.tag == f"{_TAG}int"
        decimal = re.fullmatch(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)", text)
        if (
            not (whole or self._node.tag == f"{_TAG}float")
            or not decimal
            or not math.isfinite(float(text))
        ):
            raise self.error(
                f"{self.subject} should be a decimal number such as 3.5, without quotes or "
                "exponent."
            )
        return int(text) if whole else float(text)


class _Loader(yaml.SafeLoader):
    """A YAML loader that refuses deep nesting before Python's own limit of recursion is reached."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {MAX_DEPTH}", problem_mark=self.peek_event().start_mark
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def load(path: str, what: str) -> Value:
    """The document in a YAML file, which has to be the only one.

    Args:
      path: path of the file.
      what: name of the file's kind in messages: "a table schema".

    Raises:
      ValueError: there is no such file, or it is not YAML in UTF-8; the message names the file and,
        where there is one, the line.
    """
    name = f"{what[0].upper()}{what[1:]}"
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        hint = "" if os.path.isabs(path) else f", looked for in {os.getcwd()}"
        raise ValueError(
            f"{name} should be a readable YAML file. Received: {path!r} ({reason}{hint})"
        ) from None
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"{name} should be a YAML file of at most {MAX_BYTES >> 20} MiB. Received: {path}, "
            "which is larger"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{name} should be YAML in UTF-8. Received: {error.reason} ({path}, line {line})"
        ) from None
    try:
        node = yaml.compose(text, _Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(
            f"{name} should be YAML. Received: a control character ({path}, line {line})"
        ) from None
    except yaml.MarkedYAMLError as error:
        # What stands between quotes may be the file's content.
        problem = re.sub(r"'[^']{4,}'", "'...'", str(error.problem))
        where = ""
        if mark := error.problem_mark:
            where = f", line {mark.line + 1}, column {mark.column + 1}"
        raise ValueError(f"{name} should be YAML. Received: {problem} ({path}{where})") from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # The last two: an escape of a character that does not exist.
        raise ValueError(f"{name} should be YAML. Received: something else ({path})") from None
    if node is None:
        raise ValueError(f"{name} should be a mapping. Received: an empty file ({path})")
    return Value(node, path, what)
