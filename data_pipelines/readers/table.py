"""Any CSV or TSV, described by a YAML schema file.

separator: ","            # one character; the default
header: false             # whether the first line names the columns
encoding: utf-8
quote: '"'                # null: quotes mean nothing
strip: true               # leave out spaces around values
missing: ["?"]            # texts that mean a missing value, besides the empty one; in number columns -1 is also -1.0
label: {positive: [">50K", ">50K."], negative: ["<=50K", "<=50K."]}   # for labels that are not numbers
positive_above: 3         # for ratings
columns:                  # every column in file order; with a header: those to use, in any order
  - {name: age, kind: numeric, transform: log_square}
  - {name: education_num, column: education-num, kind: categorical, dtype: int64}   # `column`: its name in the header
  - {name: user, kind: categorical, role: user}
  - {name: fnlwgt, kind: ignore}
  - {name: when, kind: time}
  - {name: income, kind: label}
"""  # noqa: E501

from __future__ import annotations

import collections
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from data_pipelines import strict_yaml
from data_pipelines.delimited import COLUMN_KINDS, Column, Delimited
from data_pipelines.lines import bad_row, split_header
from data_pipelines.reader import READERS, Chunk, RawField, Reader
from irazor_tf.config.notices import warn_once
from irazor_tf.config.schema import Field

_KEYS = (
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
_LISTED = 20  # names in a notice
# Ways in which encodings write other characters in ASCII (backslashes, shifts between character
# sets, names of domains).
_ESCAPES = r"\n \x41 \u0041 +AGE- ~{VPND~} =41 .xn--bcher-kva." + "\x1b$B8@\x1b(B \x1b$)A\x0e<:\x0f"


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """One entry of `columns`; see the module's docstring for the keys."""

    name: str
    kind: str = "categorical"
    column: str = ""
    dtype: str = ""
    role: str = "context"
    transform: str = ""

    def __post_init__(self) -> None:
        if self.kind not in COLUMN_KINDS:
            raise ValueError(
                f"`kind` of a column should be one of {', '.join(COLUMN_KINDS)}. Received: "
                f"{self.kind!r}"
            )
        if self.kind in ("categorical", "numeric"):
            Field(self.name)  # the name first, since the other messages hold it
            self.to_field()

    def to_field(self) -> RawField:
        if self.kind == "numeric":
            return RawField(
                self.name,
                "numeric",
                self.dtype or "float64",
                self.role,
                self.transform or "log_square",
            )
        return RawField(
            self.name, "categorical", self.dtype or "string", self.role, self.transform or "none"
        )


@dataclasses.dataclass(frozen=True)
class TableSchema:
    """A schema file, checked.

    Args:
      columns: as in the file.
      form: the text form; its columns are those of the file without a header.
      header: whether the first line names the columns.
      positive_above: a label above this is positive; None for labels that are 0 and 1, or mapped by
        the form.
    """

    columns: tuple[TableColumn, ...]
    form: Delimited
    header: bool = False
    positive_above: float | None = None

    @classmethod
    def load(cls, path: str) -> TableSchema:
        """Reads a schema file.

        Raises:
          ValueError: it is not a table schema; the message names file and line, and quotes nothing
            of the content.
        """
        content = strict_yaml.load(path, "a table schema")
        found = content.mapping(_KEYS, " with `columns`")
        if "columns" not in found:
            raise content.error("A table schema should have a list of `columns`.", "none")
        separator, quote, encoding = _marks(content, found)
        header, strip = (key in found and found[key].truth() for key in ("header", "strip"))
        above = None
        if "positive_above" in found and not found["positive_above"].is_null:
            above = found["positive_above"].number()
        missing, positive, negative = _texts(found, strip)
        if positive and above is not None:
            raise found["positive_above"].error(
                "Labels should be texts (`label`) or numbers (`positive_above`).", "both keys"
            )
        columns = _columns(found["columns"])
        form = Delimited(
            tuple(
                Column(c.name, c.kind, c.to_field().dtype if c.kind == "categorical" else "string")
                for c in columns
            ),
            separator,
            quote,
            missing,
            encoding,
            strip,
            positive,
            negative,
        )
        return cls(columns, form, header, above)

    def fields(self) -> tuple[RawField, ...]:
        """The fields, with how their texts are cleaned."""
        fields = [
            column.to_field()
            for column in self.columns
            if column.kind in ("categorical", "numeric")
        ]
        form = self.form
        return tuple(
            dataclasses.replace(
                field, missing=form.missing, strip=form.strip and field.dtype == "string"
            )
            for field in fields
        )

    def chunks(self, paths: Sequence[str], listed: set[str] | None = None) -> Iterator[Chunk]:
        """The rows of the files, in order; a column of theirs that the schema leaves out is said
        once, unless it is `listed`."""
        listed = set() if listed is None else listed
        for path in paths:
            if not self.header:
                yield from self.form.chunks(path)
                continue
            header, pieces = split_header(path)
            form, left_out = self.with_header(path, header)
            new = [name for name in left_out if name not in listed]
            if new:
                listed.update(new)
                names = ", ".join(name[:80] for name in new[:_LISTED]) + (
                    ", ..." if len(new) > _LISTED else ""
                )
                warn_once(
                    "%s: left out, as the schema does not name them: %d columns (%s)",
                    path,
                    len(new),
                    names,
                )
            yield from form.chunks(path, pieces=pieces)

    def with_header(self, path: str, header: bytes) -> tuple[Delimited, list[str]]:
        """The form with its columns in the order of a file's header, and the names that the schema
        leaves out.

        Raises:
          ValueError: a column of the schema is not in the header, or twice; the message names the
            file.
        """
        if not header:
            raise bad_row("A file with a header should have a first line.", "none", path, 1)
        names = [name.strip() for name in self.form.cells(path, 1, header)]
        times = collections.Counter(names)
        wanted = {
            column.column or column.name: made
            for column, made in zip(self.columns, self.form.columns, strict=True)
        }
        for name in wanted:
            if times[name] != 1:
                raise bad_row(
                    f"The header should name column {name!r} once.", f"{times[name]} times", path, 1
                )
        ordered = tuple(
            wanted.get(name) or Column(f"column {k}", "ignore") for k, name in enumerate(names)
        )
        return dataclasses.replace(self.form, columns=ordered), [
            name for name in names if name not in wanted
        ]


def _marks(
    content: strict_yaml.Value, found: dict[str, strict_yaml.Value]
) -> tuple[str, str | None, str]:
    """Separator, quoting character and encoding."""
    marks: dict[str, str | None] = {"separator": ",", "quote": '"'}
    for key, also in (("separator", '; a tab is "\\t", with the quotes'), ("quote", ", or null")):
        if key in found:
            mark = None if key == "quote" and found[key].is_null else found[key].text()
            if mark is not None and (len(mark) != 1 or not mark.isascii() or mark in "\r\n\0"):
                raise found[key].error(
                    f"`{key}` of a table schema should be one ASCII character{also}.",
                    "something else",
                )
            marks[key] = mark
    separator, quote = str(marks["separator"]), marks["quote"]
    if separator == quote:
        raise content.error(
            "`separator` and `quote` of a table schema should differ.", "the same character"
        )
    encoding = found["encoding"].text() if "encoding" in found else "utf-8"
    try:
        extends = all(
            text.encode("ascii").decode(encoding) == text
            for text in (*map(chr, range(128)), _ESCAPES)
        )
    except (LookupError, ValueError):
        extends = False
    if not extends:
        raise found["encoding"].error(
            "`encoding` of a table schema should be a known one that extends ASCII.", "another"
        )
    return separator, quote, encoding


def _texts(found: dict[str, strict_yaml.Value], strip: bool) -> tuple[tuple[str, ...], ...]:
    """The texts that mean a missing value, a positive and a negative label."""
    labels = found["label"].mapping(("positive", "negative")) if "label" in found else {}
    listed = {
        key: value
        for key, value in [*labels.items(), *found.items()]
        if key in ("positive", "negative", "missing")
    }
    texts = {key: value.texts() for key, value in listed.items()}
    for key, values in texts.items():
        if strip and any(value != value.strip() for value in values):
            raise listed[key].error(
                f"With `strip` no value has spaces around it, so no text of `{key}` should.",
                "some with spaces",
            )
    positive, negative = texts.get("positive", ()), texts.get("negative", ())
    if labels and not positive:
        raise found["label"].error(
            "`label` of a table schema should say which texts are `positive`.", "none"
        )
    if set(positive) & set(negative):
        raise found["label"].error(
            "A text of `label` should be positive or negative.", "one that is both"
        )
    return texts.get("missing", ()), positive, negative


def _columns(value: strict_yaml.Value) -> tuple[TableColumn, ...]:
    """The entries of `columns`, checked one by one and together."""
    keys = [field.name for field in dataclasses.fields(TableColumn)]
    columns: list[TableColumn] = []
    lines: dict[tuple[str, str], int] = {}
    for entry in value.items():
        entry.subject = "a column of a table schema"
        found = (
            {"name": entry}
            if entry.is_scalar and not entry.is_null
            else entry.mapping(keys, " with `name`")
        )
        if "name" not in found:
            raise entry.error("A column of a table schema should have a `name`.", "none")
        texts = {key: part.text() for key, part in found.items()}
        try:
            column = TableColumn(**texts)
        except ValueError as error:
            raise entry.error(str(error).partition(" Received: ")[0], "something else") from None
        for key, name in (("name", column.name), ("column", column.column or column.name)):
            if (key, name) in lines:
                raise entry.error(
                    f"A `{key}` of a table schema should occur once.",
                    f"again, after line {lines[key, name]}",
                )
            lines[key, name] = entry.line
        columns.append(column)
    kinds = [column.kind for column in columns]
    if (
        kinds.count("label") != 1
        or kinds.count("time") > 1
        or not {"categorical", "numeric"} & set(kinds)
    ):
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in COLUMN_KINDS)
        raise value.error(
            "A table schema should have one label, at most one time and at least one field.",
            counted,
        )
    return tuple(columns)


@READERS.register("table")
class Table(Reader):
    """Separated text with the columns that a schema file describes."""

    @dataclasses.dataclass(frozen=True)
    class Params(Reader.Params):
        """Options.

        Args:
          schema: the YAML file that describes the columns.
        """

        schema: str = ""

        def __post_init__(self) -> None:
            if not self.schema:
                raise ValueError(
                    "The reader 'table' should be given a `schema` file. Received: none"
                )

    params: Table.Params

    def __init__(self, params: Table.Params):
        super().__init__(params)
        self.table = TableSchema.load(params.schema)
        self._listed: set[str] = set()
        self.label = next(column.name for column in self.table.columns if column.kind == "label")
        self.positive_above = self.table.positive_above

    def inspect(self, paths: Sequence[str]) -> None:
        """Looks at every header before the first row is read; what can be read only once waits for
        its turn."""
        for path in paths if self.table.header else ():
            if os.path.isfile(path):
                self.table.with_header(path, split_header(path, 1 << 16)[0])

    def fields(self) -> tuple[RawField, ...]:
        return self.table.fields()

    def described(self) -> Any:
        return json.loads(json.dumps(dataclasses.asdict(self.table)))

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        return self.table.chunks(paths, self._listed)
