"""A reader outside the package, of a log that it makes itself: `label<TAB>user<TAB>item<TAB>noise`,
where user and item matter."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np

import irazor_tf
from data_pipelines.reader import Chunk, RawField
from data_pipelines.text.delimited import Column, Delimited

FIELDS = ("user", "item", "noise")
FORM = Delimited((Column("label", "label"), *map(Column, FIELDS)))


@irazor_tf.register_reader("toy_reader")
class ToyReader(irazor_tf.Reader):
    """Clicks of 60 users on 30 items."""

    @dataclasses.dataclass(frozen=True)
    class Params(irazor_tf.Reader.Params):
        """The log to make.

        Args:
          rows: Number of rows.
        """

        rows: int = 2500

    params: Params

    def fields(self) -> tuple[RawField, ...]:
        return tuple(map(RawField, FIELDS))

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        for path in paths:
            yield from FORM.chunks(path)

    def prepare(self, directory: str) -> tuple[str, ...]:
        rng, rows = np.random.default_rng(0), self.params.rows
        users, items, noise = (rng.integers(count, size=rows) for count in (60, 30, 200))
        chances = 1 / (1 + np.exp(-(users % 5 - 2) - (items % 3 - 1)))
        labels = (rng.random(rows) < chances).astype(int)
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, "clicks.tsv")
        np.savetxt(path, np.stack([labels, users, items, noise], axis=1), "%d", "\t")
        return (path,)
