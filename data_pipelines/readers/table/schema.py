"""Reading a schema file, and the rows of the files that it describes."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence

from data_pipelines.reader import Chunk, RawField
from data_pipelines.readers.table import strict_yaml
from data_pipelines.readers.table.keys import KEYS, TableColumn, columns, marks, texts
from data_pipelines.text.columns import Column
from data_pipelines.text.delimited import Delimited
from data_pipelines.text.lines import bad_row, split_header
from irazor_tf.config.integrity import warn_once

_LISTED = 20  # names in a notice


@dataclasses.dataclass(frozen=True)
class TableSchema:
    """The content of a schema file, checked.

    Args:
      columns: the entries of its list `columns`.
      form: form of the text, with the columns in the order of a file that has no header.
      header: whether the first line of a file names the columns.
      positive_above: a label above this is positive. None for labels that are 0 and 1, or that the
        form maps to these.
    """

    columns: tuple[TableColumn, ...]
    form: Delimited
    header: bool = False
    positive_above: float | None = None

    @classmethod
    def load(cls, path: str) -> TableSchema:
        """Reads and checks a schema file.

        Raises:
          ValueError: the file is not a table schema; the message names file and line, and quotes
            nothing of the content.
        """
        content = strict_yaml.load(path, "a table schema")
        values = content.mapping(KEYS, " with `columns`")
        if "columns" not in values:
            raise content.error("A table schema should have a list of `columns`.", "none")
        separator, quote, encoding = marks(content, values)
        header, strip = (key in values and values[key].truth() for key in ("header", "strip"))
        above = None
        if "positive_above" in values and not values["positive_above"].is_null:
            above = values["positive_above"].number()
        missing, positive, negative = texts(values, strip)
        if positive and above is not None:
            raise values["positive_above"].error(
                "Labels should be texts (`label`) or numbers (`positive_above`).", "both keys"
            )
        entries = columns(values["columns"])
        form = Delimited(
            tuple(entry.to_text() for entry in entries),
            separator,
            quote,
            missing,
            encoding,
            strip,
            positive,
            negative,
        )
        return cls(entries, form, header, above)

    def fields(self) -> tuple[RawField, ...]:
        """The fields, each with the rules by which its texts are cleaned."""
        form = self.form
        fields = [column.to_field() for column in self.columns if column.is_field]
        return tuple(
            dataclasses.replace(
                field, missing=form.missing, strip=form.strip and field.dtype == "string"
            )
            for field in fields
        )

    def chunks(self, paths: Sequence[str], listed: set[str] | None = None) -> Iterator[Chunk]:
        """The rows of the files, in order, a chunk at a time. A notice names the columns in a
        header that the schema leaves out.

        Args:
          paths: paths of the files.
          listed: columns that were named in a notice before; new ones are added to it. None for no
            such columns.
        """
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
                names = ", ".join(name[:80] for name in new[:_LISTED])
                names += ", ..." if len(new) > _LISTED else ""
                warn_once(
                    "%s: left out, as the schema does not name them: %d columns (%s)",
                    path,
                    len(new),
                    names,
                )
            yield from form.chunks(path, pieces=pieces)

    def with_header(self, path: str, header: bytes) -> tuple[Delimited, list[str]]:
        """The form of the text with its columns in the order of a file's header, and the names in
        the header that the schema leaves out.

        Args:
          path: the file, for messages.
          header: its first line.

        Raises:
          ValueError: a column of the schema is not in the header, or is there twice; the message
            names the file.
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
                should = f"The header should name column {name!r} once."
                raise bad_row(should, f"{times[name]} times", path, 1)
        ordered = tuple(
            wanted.get(name) or Column(f"column {k}", "ignore") for k, name in enumerate(names)
        )
        left_out = [name for name in names if name not in wanted]
        return dataclasses.replace(self.form, columns=ordered), left_out
