"""The reader of separated text with a schema file."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from data_pipelines.reader import READERS, Chunk, RawField, Reader
from data_pipelines.readers.table.schema import TableSchema
from data_pipelines.text.lines import split_header


@READERS.register("table")
class Table(Reader):
    """The reader of separated text whose columns a schema file describes."""

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
        """Checks the header of every file before the first row is read. A pipe, which can be read
        only once, is checked when its rows are read."""
        for path in paths if self.table.header else ():
            if os.path.isfile(path):
                self.table.with_header(path, split_header(path, 1 << 16)[0])

    def fields(self) -> tuple[RawField, ...]:
        return self.table.fields()

    def described(self) -> Any:
        return json.loads(json.dumps(dataclasses.asdict(self.table)))

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        return self.table.chunks(paths, self._listed)
