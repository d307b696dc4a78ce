"""The planted log, `data_pipelines.generated.planted`."""

from __future__ import annotations

import dataclasses

from data_pipelines.generated import planted
from data_pipelines.generated.reader import GeneratedReader
from data_pipelines.reader import READERS


@READERS.register("planted")
class Planted(GeneratedReader):
    """The reader of the planted log, whose clicks are drawn from a known formula; `price` and
    `noise_number` are coded as floor(log(x)^2)."""

    @dataclasses.dataclass(frozen=True)
    class Params(GeneratedReader.Params):
        """The log to generate.

        Args:
          rows: number of rows.
          seed: seed of the tables and of the rows.
        """

        rows: int = planted.ROWS
        seed: int = planted.SEED

    names = planted.FIELDS
    numeric = planted.NUMERIC
    roles = {"user": "user", "item": "item", "item_copy": "item", "category": "item"}

    def is_complete(self, path: str) -> bool:
        return planted.is_complete(path, self.params.rows, self.params.seed)

    def generate(self, path: str) -> None:
        planted.generate(path, self.params.rows, self.params.seed)
