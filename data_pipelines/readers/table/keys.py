"""The keys of a schema file, each checked; an error names the line."""

from __future__ import annotations

import dataclasses

from data_pipelines.reader import RawField
from data_pipelines.readers.table import strict_yaml
from data_pipelines.text.columns import COLUMN_KINDS, Column
from irazor_tf.config.checks import check_choice
from irazor_tf.config.schema import Field

KEYS = (
    "separator",
    "header",
    "encoding",
    "quote",
    "strip",
    "missing",
    "label",
    "positive_above",
    "columns",
)
# Kind of a field -> its `dtype` and `transform` where the file does not give them.
_DEFAULTS = {"categorical": ("string", "none"), "numeric": ("float64", "log_square")}
# Ways in which encodings write other characters in ASCII (backslashes, shifts between character
# sets, names of domains).
_ESCAPES = r"\n \x41 \u0041 +AGE- ~{VPND~} =41 .xn--bcher-kva." + "\x1b$B8@\x1b(B \x1b$)A\x0e<:\x0f"


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """An entry in the list `columns` of a schema file.

    Args:
      name: name of the field.
      kind: one of `COLUMN_KINDS`.
      column: the column's name in the header; empty where it is that of the field.
      dtype: `string` or `int64`, of a categorical field; empty for the default, `string`.
      role: `user`, `item` or `context`.
      transform: `log_square` or `floor`, of a numeric field; empty for the default, `log_square`.
    """

    name: str
    kind: str = "categorical"
    column: str = ""
    dtype: str = ""
    role: str = "context"
    transform: str = ""

    def __post_init__(self) -> None:
        check_choice(self, "a column", kind=COLUMN_KINDS)
        if self.is_field:
            Field(self.name)  # the name first, since the other messages hold it
            self.to_field()

    @property
    def is_field(self) -> bool:
        """Whether the column becomes a field; if not, it is the label, the time, or ignored."""
        return self.kind in _DEFAULTS

    def to_field(self) -> RawField:
        """The field that the reader declares for this column."""
        dtype, transform = _DEFAULTS[self.kind]
        return RawField(
            self.name, self.kind, self.dtype or dtype, self.role, self.transform or transform
        )

    def to_text(self) -> Column:
        """The description of this column for parsing the text."""
        is_string = self.kind != "categorical" or not self.dtype
        return Column(self.name, self.kind, "string" if is_string else self.dtype)


def marks(
    content: strict_yaml.Value, values: dict[str, strict_yaml.Value]
) -> tuple[str, str | None, str]:
    """The separator, the quoting character (None where quotes have no meaning) and the encoding
    that a schema file gives.

    Args:
      content: the whole file, for messages.
      values: the file's values by key.
    """
    separator = _mark(values, "separator", ",", '; a tab is "\\t", with the quotes')
    quote = None
    if "quote" not in values or not values["quote"].is_null:
        quote = _mark(values, "quote", '"', ", or null")
    if separator == quote:
        raise content.error(
            "`separator` and `quote` of a table schema should differ.", "the same character"
        )
    encoding = values["encoding"].text() if "encoding" in values else "utf-8"
    if not _extends_ascii(encoding):
        raise values["encoding"].error(
            "`encoding` of a table schema should be a known one that extends ASCII.", "another"
        )
    return separator, quote, encoding


def _mark(values: dict[str, strict_yaml.Value], key: str, default: str, also: str) -> str:
    """The single character that a schema file gives for a key.

    Args:
      values: the file's values by key.
      key: the key.
      default: the character where the file does not have the key.
      also: addition to the message about any other value.
    """
    if key not in values:
        return default
    mark = values[key].text()
    if len(mark) != 1 or not mark.isascii() or mark in "\r\n\0":
        raise values[key].error(
            f"`{key}` of a table schema should be one ASCII character{also}.", "something else"
        )
    return mark


def _extends_ascii(encoding: str) -> bool:
    """Whether `encoding` is the name of an encoding that reads ASCII text as what it is."""
    examples = (*map(chr, range(128)), _ESCAPES)
    try:
        return all(text.encode("ascii").decode(encoding) == text for text in examples)
    except (LookupError, ValueError):
        return False


def texts(values: dict[str, strict_yaml.Value], strip: bool) -> tuple[tuple[str, ...], ...]:
    """The texts that mean a missing value, those that mean a positive and those that mean a
    negative label.

    Args:
      values: the file's values by key.
      strip: whether values are read without the spaces around them.
    """
    labels = values["label"].mapping(("positive", "negative")) if "label" in values else {}
    by_key = {
        key: value
        for key, value in [*labels.items(), *values.items()]
        if key in ("positive", "negative", "missing")
    }
    lists = {key: value.texts() for key, value in by_key.items()}
    for key, items in lists.items():
        if strip and any(item != item.strip() for item in items):
            raise by_key[key].error(
                f"With `strip` no value has spaces around it, so no text of `{key}` should.",
                "some with spaces",
            )
    positive, negative = lists.get("positive", ()), lists.get("negative", ())
    if labels and not positive:
        raise values["label"].error(
            "`label` of a table schema should say which texts are `positive`.", "none"
        )
    if set(positive) & set(negative):
        raise values["label"].error(
            "A text of `label` should be positive or negative.", "one that is both"
        )
    return lists.get("missing", ()), positive, negative


def columns(value: strict_yaml.Value) -> tuple[TableColumn, ...]:
    """The entries of the list `columns`, checked one by one and together."""
    keys = [field.name for field in dataclasses.fields(TableColumn)]
    entries: list[TableColumn] = []
    lines: dict[tuple[str, str], int] = {}
    for entry in value.items():
        entry.subject = "a column of a table schema"
        only_a_name = entry.is_scalar and not entry.is_null
        values = {"name": entry} if only_a_name else entry.mapping(keys, " with `name`")
        if "name" not in values:
            raise entry.error("A column of a table schema should have a `name`.", "none")
        settings = {key: part.text() for key, part in values.items()}
        try:
            column = TableColumn(**settings)
        except ValueError as error:
            raise entry.error(str(error).partition(" Received: ")[0], "something else") from None
        for key, name in (("name", column.name), ("column", column.column or column.name)):
            if (key, name) in lines:
                raise entry.error(
                    f"A `{key}` of a table schema should occur once.",
                    f"again, after line {lines[key, name]}",
                )
            lines[key, name] = entry.line
        entries.append(column)
    kinds = [column.kind for column in entries]
    if kinds.count("label") != 1 or kinds.count("time") > 1 or not set(_DEFAULTS) & set(kinds):
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in COLUMN_KINDS)
        raise value.error(
            "A table schema should have one label, at most one time and at least one field.",
            counted,
        )
    return tuple(entries)
