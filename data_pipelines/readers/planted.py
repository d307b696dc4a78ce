"""The planted log of `data_pipelines.planted`: generated where no input is given, and read as
tab-separated text with a header."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

from data_pipelines import planted
from data_pipelines.delimited import Column, Delimited
from data_pipelines.reader import READERS, Chunk, RawField, Reader

_ROLES = {"user": "user", "item": "item", "item_copy": "item", "category": "item"}


@READERS.register("planted")
class Planted(Reader):
    """Clicks whose truth is known; `price` and `noise_number` become floor(log(x)^2)."""

    @dataclasses.dataclass(frozen=True)
    class Params(Reader.Params):
        """The log to generate.

        Args:
          rows: number of rows.
          seed: of the tables and of the rows.
        """

        rows: int = planted.ROWS
        seed: int = planted.SEED

        def __post_init__(self) -> None:
            planted.check(self.rows, self.seed)

    params: Params

    def fields(self) -> tuple[RawField, ...]:
        return tuple(
            RawField(name, "numeric", "float64", transform="log_square")
            if name in planted.NUMERIC
            else RawField(name, role=_ROLES.get(name, "context"))
            for name in planted.FIELDS
        )

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        kinds = tuple(
            Column(name, "numeric" if name in planted.NUMERIC else "categorical")
            for name in planted.FIELDS
        )
        form = Delimited((Column("label", "label"), *kinds))
        for path in paths:
            yield from form.chunks(path, header=planted.COLUMNS)

    def prepare(self, directory: str) -> tuple[str, ...]:
        path = os.path.join(directory, "planted.tsv")
        if not planted.is_complete(path, self.params.rows, self.params.seed):
            planted.generate(path, self.params.rows, self.params.seed)
        return (path,)
