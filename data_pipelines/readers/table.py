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
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]

from data_pipelines.delimited import COLUMN_KINDS, Column, Delimited
from data_pipelines.lines import bad_row, read_chunks
from data_pipelines.reader import READERS, Chunk, RawField, Reader

_DEFAULTS: dict[str, Any] = {
    "separator": ",",
    "header": False,
    "encoding": "utf-8",
    "quote": '"',
    "strip": False,
    "missing": [],
    "label": {},
    "positive_above": None,
    "columns": [],
}


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
            raise ValueError(f"`kind` of column {self.name!r} should be one of {', '.join(COLUMN_KINDS)}. Received: {self.kind!r}")
        if self.kind in ("categorical", "numeric"):
            self.to_field()

    def to_field(self) -> RawField:
        if self.kind == "numeric":
            return RawField(self.name, "numeric", self.dtype or "float64", self.role, self.transform or "log_square")
        return RawField(self.name, "categorical", self.dtype or "string", self.role, self.transform or "none")


@dataclasses.dataclass(frozen=True)
class TableSchema:
    """A schema file, checked.

    Args:
      columns: as in the file.
      form: the text form; its columns are those of the file without a header.
      header: whether the first line names the columns.
      positive_above: a label above this is positive; None for labels that are 0 and 1, or mapped by the form.
    """

    columns: tuple[TableColumn, ...]
    form: Delimited
    header: bool = False
    positive_above: float | None = None

    @classmethod
    def from_dict(cls, value: Any, origin: str = "a table schema") -> TableSchema:
        """Raises ValueError, naming `origin`, for what is not a schema."""
        if not isinstance(value, dict):
            raise ValueError(f"{origin} should be a mapping with `columns`. Received: {type(value).__name__}")
        _known(value, list(_DEFAULTS), f"A key of {origin}")
        value = _DEFAULTS | value
        known = [field.name for field in dataclasses.fields(TableColumn)]
        columns = []
        if not isinstance(value["columns"], list):
            raise ValueError(f"`columns` of {origin} should be a list. Received: {value['columns']!r}")
        for entry in value["columns"]:
            entry = {"name": entry} if isinstance(entry, str) else entry
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise ValueError(f"A column of {origin} should be a mapping with `name`. Received: {entry!r}")
            _known(entry, known, f"A key of column {entry['name']!r} of {origin}")
            columns.append(TableColumn(**entry))
        kinds = [column.kind for column in columns]
        if kinds.count("label") != 1 or kinds.count("time") > 1 or not {"categorical", "numeric"} & set(kinds):
            raise ValueError(f"{origin} should have one label, at most one time and at least one field. Received: {kinds}")
        for key, names in (("name", [c.name for c in columns]), ("column", [c.column or c.name for c in columns])):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise ValueError(f"A `{key}` of {origin} should occur once. Received: twice {', '.join(doubled)}")
        for key in ("header", "strip"):
            if not isinstance(value[key], bool):
                raise ValueError(f"`{key}` of {origin} should be true or false, without quotes. Received: {value[key]!r}")
        above = value["positive_above"]
        if above is not None and (isinstance(above, bool) or not isinstance(above, int | float) or not math.isfinite(above)):
            raise ValueError(f"`positive_above` of {origin} should be a number, without quotes or exponent. Received: {above!r}")
        separator, quote = value["separator"], value["quote"]
        if not isinstance(separator, str) or len(separator) != 1 or not separator.isascii():
            raise ValueError(f"`separator` of {origin} should be one ASCII character. Received: {separator!r}")
        if quote is not None and (not isinstance(quote, str) or len(quote) != 1 or not quote.isascii()):
            raise ValueError(f"`quote` of {origin} should be one ASCII character or null. Received: {quote!r}")
        try:
            plain = "\n,".encode(codecs.lookup(value["encoding"]).name) == b"\n,"
        except (LookupError, TypeError):
            plain = False
        if not plain:
            raise ValueError(f"`encoding` of {origin} should be a known one that extends ASCII. Received: {value['encoding']!r}")
        _known(value["label"], ["positive", "negative"], f"A key of `label` of {origin}")
        form = Delimited(
            tuple(Column(c.name, c.kind, c.to_field().dtype if c.kind == "categorical" else "string") for c in columns),
            separator,
            quote,
            _texts(value["missing"], f"`missing` of {origin}"),
            value["encoding"],
            value["strip"],
            _texts(value["label"].get("positive", []), f"`label: positive` of {origin}"),
            _texts(value["label"].get("negative", []), f"`label: negative` of {origin}"),
        )
        return cls(tuple(columns), form, value["header"], above)

    @classmethod
    def load(cls, path: str) -> TableSchema:
        try:
            with open(path, encoding="utf-8") as file:
                value = yaml.safe_load(file)
        except OSError as error:
            raise ValueError(f"A table schema should be a readable YAML file. Received: {path} ({error.strerror})") from None
        except yaml.YAMLError as error:
            raise ValueError(f"A table schema should be YAML. Received: {path} ({error})") from None
        return cls.from_dict(value, path)

    def fields(self) -> tuple[RawField, ...]:
        """The fields, with how their texts are cleaned."""
        fields = [column.to_field() for column in self.columns if column.kind in ("categorical", "numeric")]
        form = self.form
        return tuple(dataclasses.replace(field, missing=form.missing, strip=form.strip and field.dtype == "string") for field in fields)

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        """The rows of the files, in order."""
        for path in paths:
            form = self._with_header(path) if self.header else self.form
            yield from form.chunks(path, skip_lines=int(self.header))

    def _with_header(self, path: str) -> Delimited:
        """The form with its columns in the order of the file's header; columns that the schema does not name are ignored."""
        for line, text in read_chunks(path, 1 << 16):
            raw = text.split(b"\n", 1)[0].removesuffix(b"\r")
            try:
                header = raw.decode(self.form.encoding)
            except UnicodeDecodeError as error:
                raise bad_row(f"A line should be {self.form.encoding} text.", str(error), path, line) from None
            separator, quote = self.form.separator, self.form.quote
            cells = next(csv.reader([header], delimiter=separator, quotechar=quote), []) if quote else header.split(separator)
            names = [name.strip() for name in cells]
            wanted = {column.column or column.name: made for column, made in zip(self.columns, self.form.columns, strict=True)}
            for name in wanted:
                if names.count(name) != 1:
                    raise bad_row(f"The header should name column {name!r} once.", f"{names.count(name)} times", path, line)
            ordered = tuple(wanted.get(name) or Column(f"column {k}", "ignore") for k, name in enumerate(names))
            return dataclasses.replace(self.form, columns=ordered)
        raise bad_row("A file with a header should have a first line.", "an empty file", path, 1)


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
                raise ValueError("The reader 'table' should be given a `schema` file. Received: none")

    params: Table.Params

    def __init__(self, params: Table.Params):
        super().__init__(params)
        self.table = TableSchema.load(params.schema)
        self.label = next(column.name for column in self.table.columns if column.kind == "label")
        self.positive_above = self.table.positive_above

    def fields(self) -> tuple[RawField, ...]:
        return self.table.fields()

    def described(self) -> Any:
        return json.loads(json.dumps(dataclasses.asdict(self.table)))

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        return self.table.chunks(paths)


def _known(value: Any, known: Sequence[str], what: str) -> None:
    for key in value if isinstance(value, dict) else [value]:
        if key not in known:
            raise ValueError(f"{what} should be one of {', '.join(known)}. Received: {key!r}")


def _texts(value: Any, what: str) -> tuple[str, ...]:
    """Texts as they stand in the log. YAML reads an unquoted no, null or 1.50 as something else than that text."""
    found = value if isinstance(value, list) else [value]
    for item in found:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise ValueError(f"{what} should be texts or whole numbers; put others in quotes. Received: {item!r}")
    return tuple(map(str, found))
