"""Criteo display advertising, Kaggle `train.txt`: label, I1-I13, C1-C26, tab-separated, empty =
missing, plain or gzip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from data_pipelines.reader import READERS, Chunk, RawField, Reader
from data_pipelines.text.columns import Column
from data_pipelines.text.delimited import Delimited

_NUMERIC = tuple(f"I{k}" for k in range(1, 14))
_CATEGORICAL = tuple(f"C{k}" for k in range(1, 27))


@READERS.register("criteo")
class Criteo(Reader):
    """The reader of Criteo's log. Counts I1-I13 are coded as floor(log(x)^2), as in the winning
    entry of the challenge; C1-C26 stay opaque strings."""

    def fields(self) -> tuple[RawField, ...]:
        numeric = tuple(
            RawField(name, "numeric", "float64", transform="log_square") for name in _NUMERIC
        )
        return numeric + tuple(RawField(name) for name in _CATEGORICAL)

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        columns = (
            Column("label", "label"),
            *(Column(name, "numeric") for name in _NUMERIC),
            *(Column(name) for name in _CATEGORICAL),
        )
        form = Delimited(columns)
        for path in paths:
            yield from form.chunks(path)
