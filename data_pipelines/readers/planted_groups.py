"""The log of `data_pipelines.planted_groups`: generated where no input is given, and read as
tab-separated text with a header."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

from data_pipelines import planted, planted_groups
from data_pipelines.delimited import Column, Delimited
from data_pipelines.reader import READERS, Chunk, RawField, Reader

_ROLES = {"user": "user", "a_item": "item", "b_item": "item"}


@READERS.register("planted_groups")
class PlantedGroups(Reader):
    """Clicks whose truth is known: a hidden group of the user decides which fields matter."""

    @dataclasses.dataclass(frozen=True)
    class Params(Reader.Params):
        """The log to generate.

        Args:
          rows: number of rows.
          seed: of the tables and of the rows.
        """

        rows: int = planted_groups.ROWS
        seed: int = planted_groups.SEED

        def __post_init__(self) -> None:
            planted.check(self.rows, self.seed)

    params: Params

    def fields(self) -> tuple[RawField, ...]:
        return tuple(
            RawField(name, role=_ROLES.get(name, "context")) for name in planted_groups.FIELDS
        )

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        form = Delimited(
            (
                Column("label", "label"),
                *(Column(name, "categorical") for name in planted_groups.FIELDS),
            )
        )
        for path in paths:
            yield from form.chunks(path, header=planted_groups.COLUMNS)

    def prepare(self, directory: str) -> tuple[str, ...]:
        path = os.path.join(directory, "planted_groups.tsv")
        if not planted_groups.is_complete(path, self.params.rows, self.params.seed):
            planted_groups.generate(path, self.params.rows, self.params.seed)
        return (path,)
