"""The log with hidden groups of users, `data_pipelines.generated.planted_groups`."""

from __future__ import annotations

import dataclasses

from data_pipelines.generated import planted_groups
from data_pipelines.generated.reader import GeneratedReader
from data_pipelines.reader import READERS


@READERS.register("planted_groups")
class PlantedGroups(GeneratedReader):
    """The reader of the log with hidden groups of users, whose clicks are drawn from a known
    formula: a hidden group of the user decides which fields matter."""

    @dataclasses.dataclass(frozen=True)
    class Params(GeneratedReader.Params):
        """The log to generate.

        Args:
          rows: number of rows.
          seed: seed of the tables and of the rows.
        """

        rows: int = planted_groups.ROWS
        seed: int = planted_groups.SEED

    names = planted_groups.FIELDS
    roles = {"user": "user", "a_item": "item", "b_item": "item"}

    def is_complete(self, path: str) -> bool:
        return planted_groups.is_complete(path, self.params.rows, self.params.seed)

    def generate(self, path: str) -> None:
        planted_groups.generate(path, self.params.rows, self.params.seed)
