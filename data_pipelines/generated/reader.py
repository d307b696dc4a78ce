"""The base class of the readers of generated logs."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from data_pipelines.generated.log import check
from data_pipelines.reader import Chunk, RawField, Reader
from data_pipelines.text.columns import Column
from data_pipelines.text.delimited import Delimited


class GeneratedReader(Reader):
    """Base of the readers of generated logs. Where no input is given, the log is generated; it is
    read as tab-separated text with a header.

    Attributes:
      names: the fields, in column order.
      numeric: those of the fields that are numbers; they are coded as floor(log(x)^2).
      roles: field -> `user` or `item`; every other field is context.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(Reader.Params):
        """The log to generate.

        Args:
          rows: number of rows.
          seed: seed of the tables and of the rows.
        """

        rows: int
        seed: int

        def __post_init__(self) -> None:
            check(self.rows, self.seed)

    params: Params
    names: ClassVar[tuple[str, ...]] = ()
    numeric: ClassVar[tuple[str, ...]] = ()
    roles: ClassVar[Mapping[str, str]] = {}

    @abc.abstractmethod
    def is_complete(self, path: str) -> bool:
        """Whether the log with these rows and this seed lies at `path`, whole."""

    @abc.abstractmethod
    def generate(self, path: str) -> None:
        """Writes the log to `path`, and the file with the truth beside it."""

    def fields(self) -> tuple[RawField, ...]:
        return tuple(
            RawField(name, "numeric", "float64", transform="log_square")
            if name in self.numeric
            else RawField(name, role=self.roles.get(name, "context"))
            for name in self.names
        )

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        columns = (
            Column(name, "numeric" if name in self.numeric else "categorical")
            for name in self.names
        )
        form = Delimited((Column("label", "label"), *columns))
        for path in paths:
            yield from form.chunks(path, header=("label", *self.names))

    def prepare(self, directory: str) -> tuple[str, ...]:
        path = os.path.join(directory, f"{self.registry_name}.tsv")
        if not self.is_complete(path):
            self.generate(path)
        return (path,)
