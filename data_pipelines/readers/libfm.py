"""libFM text, `label id:1 id:1 ...`, with one id per field in a fixed order (the form in which
Frappe is published)."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence

import numpy as np

from data_pipelines.reader import READERS, Chunk, RawField, Reader
from data_pipelines.text.columns import Column
from data_pipelines.text.delimited import Delimited
from data_pipelines.text.lines import bad_row, first_line, read_chunks

_ONE = re.compile(rb":1(?:\.0*)?(?=[ \r\n])")
_CELL = rb"-?[0-9]+:1(?:\.0*)?"
# From the first space of a run only, or a long run would be tried from each of its spaces.
_LINE_END = re.compile(rb"(?<! ) +(?=\r?\n)")


@READERS.register("libfm")
class LibFM(Reader):
    """The reader of libFM text. Every id is an int64 feature of the field at its place in the line;
    a label of -1 or 0 is negative, 1 positive."""

    @dataclasses.dataclass(frozen=True)
    class Params(Reader.Params):
        """Options.

        Args:
          names: names of the fields in order. If empty (default), they are called field_0, field_1,
            ..., as many as the first line has.
          users: names of the fields that say who the user is.
          items: names of the fields that say what the item is.
        """

        names: tuple[str, ...] = ()
        users: tuple[str, ...] = ("user",)
        items: tuple[str, ...] = ("item",)

        def __post_init__(self) -> None:
            doubled = sorted({name for name in self.names if self.names.count(name) > 1})
            if doubled:
                raise ValueError(
                    "Each of `names` of the reader 'libfm' should occur once. Received: twice "
                    f"{', '.join(doubled)}"
                )
            for name in self.names:
                RawField(name, dtype="int64")

    params: LibFM.Params

    def __init__(self, params: LibFM.Params | None = None):
        super().__init__(params)
        self._names: tuple[str, ...] = tuple(self.params.names)

    def inspect(self, paths: Sequence[str]) -> None:
        for path in paths if not self._names else ():
            if os.path.exists(path) and not os.path.isfile(path):
                should = (
                    "Fields are counted in the first line, so `names` should be given for an "
                    "input that can be read only once."
                )
                raise ValueError(
                    f"{should} Received: {path}, which is no regular file, and no `names`"
                )
            line = first_line(path)
            if not line:
                continue  # an empty file among others
            count = len(line.split()) - 1
            if count < 1:
                raise bad_row("A libFM line should be `label id:1 id:1 ...`.", repr(line), path, 1)
            self._names = tuple(f"field_{k}" for k in range(count))
        if not self._names:
            raise ValueError(
                "A libFM file should hold a first line, whose fields are counted. Received: "
                f"{', '.join(paths)}, empty"
            )

    def fields(self) -> tuple[RawField, ...]:
        if not self._names:
            raise ValueError(
                "The fields of libFM text are known after `inspect`, or from `names`. Received: "
                "neither"
            )
        roles = dict.fromkeys(self.params.users, "user") | dict.fromkeys(self.params.items, "item")
        return tuple(
            RawField(name, dtype="int64", role=roles.get(name, "context")) for name in self._names
        )

    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        if not self._names:
            self.inspect(paths)
        form = Delimited(
            (Column("label", "label"), *(Column(name, dtype="int64") for name in self._names)),
            separator=" ",
        )
        rows = re.compile(
            rb"^[^ :\r\n]+(?: %b){%d} *\r?\n" % (_CELL, len(self._names)), re.MULTILINE
        )
        for path in paths:
            for line, text in read_chunks(path):
                if rows.sub(b"", text):
                    self._scan(path, line, text)
                if b" \n" in text or b" \r" in text:
                    text = _LINE_END.sub(b"", text)
                if b":1." in text:
                    text = _ONE.sub(b"", text)
                for end in (b" ", b"\n", b"\r"):
                    text = text.replace(b":1" + end, end)
                chunk = form.parse(path, line, text)
                bad = ~np.isin(chunk.label, (-1.0, 0.0, 1.0))
                if bad.any():
                    row = int(np.argmax(bad))
                    received = repr(float(chunk.label[row]))
                    raise bad_row("A libFM label should be -1, 0 or 1.", received, path, line + row)
                yield dataclasses.replace(chunk, label=np.maximum(chunk.label, 0.0))

    def _scan(self, path: str, first: int, text: bytes) -> None:
        """Raises for the first line that is not `label id:1 id:1 ...`, if there is one."""
        for line, raw in enumerate(text[:-1].split(b"\n"), first):
            label, *cells = raw.removesuffix(b"\r").rstrip(b" ").split(b" ")
            if not label or b":" in label or b"\r" in label:
                raise bad_row(
                    "A libFM line should begin with its label.", _shown(label), path, line
                )
            if len(cells) != len(self._names):
                should = f"A libFM line should have a label and {len(self._names)} ids."
                raise bad_row(should, f"{len(cells)} ids", path, line)
            for name, cell in zip(self._names, cells, strict=True):
                if not re.fullmatch(rb"[^:]+:1(?:\.0*)?", cell):
                    raise bad_row(
                        f"Field {name!r} should be written `id:1`: one id per field, of value 1.",
                        _shown(cell),
                        path,
                        line,
                    )
                if not re.fullmatch(_CELL, cell):
                    raise bad_row(
                        f"Field {name!r} should hold a whole number of 64 bits.",
                        _shown(cell.split(b":")[0]),
                        path,
                        line,
                    )


def _shown(cell: bytes) -> str:
    """A value as an error message quotes it."""
    return repr(cell.decode("utf-8", "replace"))
