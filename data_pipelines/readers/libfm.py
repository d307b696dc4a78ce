"""libFM text, `label id:1 id:1 ...`, with one id per field in a fixed order (the form in which Frappe is published)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

import numpy as np

from data_pipelines.delimited import Column, Delimited
from data_pipelines.lines import bad_row, first_line, read_chunks
from data_pipelines.reader import READERS, Chunk, RawField, Reader

_ONE = re.compile(rb":1(?:\.0*)?(?=[ \r\n])")
_CELL = re.compile(r"-?\d+:1(?:\.0*)?")
_LINE_END = re.compile(rb" +(?=\r?\n)")


@READERS.register("libfm")
class LibFM(Reader):
    """Every id is an int64 feature of the field at its place in the line; label -1 or 0 is negative, 1 positive."""

    @dataclasses.dataclass(frozen=True)
    class Params(Reader.Params):
        """Options.

        Args:
          names: field names in order; () names them field_0, field_1, ... after the first line.
          users: which of them say who the user is.
          items: which of them say what the item is.
        """

        names: tuple[str, ...] = ()
        users: tuple[str, ...] = ("user",)
        items: tuple[str, ...] = ("item",)

    params: LibFM.Params

    def __init__(self, params: LibFM.Params | None = None):
        super().__init__(params)
        self._names: tuple[str, ...] = tuple(self.params.names)

    def inspect(self, paths: Sequence[str]) -> None:
        if not self._names:
            count = len(first_line(paths[0]).split()) - 1
            if count < 1:
                raise bad_row("A libFM line should be `label id:1 id:1 ...`.", repr(first_line(paths[0])), paths[0], 1)
            self._names = tuple(f"field_{k}" for k in range(count))

    def fields(self) -> tuple[RawField, ...]:
        if not self._names:
            raise ValueError("The fields of libFM text are known after `inspect`, or from `names`. Received: neither")
        roles = dict.fromkeys(self.params.users, "user") | dict.fromkeys(self.params.items, "item")
        return tuple(RawField(name, dtype="int64", role=roles.get(name, "context")) for name in self._names)

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        if not self._names:
            self.inspect(paths)
        form = Delimited((Column("label", "label"), *(Column(name, dtype="int64") for name in self._names)), separator=" ")
        for path in paths:
            for line, text in read_chunks(path):
                if b" \n" in text or b" \r" in text:
                    text = _LINE_END.sub(b"", text)
                bare = _ONE.sub(b"", text)
                if b":" in bare or text.count(b":") != text.count(b"\n") * len(self._names):
                    self._scan(path, line, text)
                chunk = form.parse(path, line, bare)
                bad = ~np.isin(chunk.label, (-1.0, 0.0, 1.0))
                if bad.any():
                    row = int(np.argmax(bad))
                    raise bad_row("A libFM label should be -1, 0 or 1.", repr(float(chunk.label[row])), path, line + row)
                yield dataclasses.replace(chunk, label=np.maximum(chunk.label, 0.0))

    def _scan(self, path: str, first: int, text: bytes) -> None:
        """Looks for the first line that is not `label id:1 id:1 ...`, and raises for it."""
        for line, raw in enumerate(text[:-1].split(b"\n"), first):
            cells = raw.removesuffix(b"\r").decode("utf-8", "replace").split(" ")
            if len(cells) != len(self._names) + 1:
                raise bad_row(f"A libFM line should have a label and {len(self._names)} ids.", f"{len(cells) - 1} ids", path, line)
            for name, cell in zip(self._names, cells[1:], strict=True):
                if not _CELL.fullmatch(cell):
                    raise bad_row(f"Field {name!r} should be written `id:1`: one id per field, of value 1.", repr(cell), path, line)
