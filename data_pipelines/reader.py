"""Readers, one per log format: a reader declares the fields of the format, and yields a log's rows
in chunks."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from irazor_tf.config.registry import Registry
from irazor_tf.config.schema import Field

READERS = Registry("reader", "data_pipelines.readers")


@dataclasses.dataclass(frozen=True)
class RawField:
    """A field as a reader declares it, before vocabularies exist.

    Args:
      name: name of the field; see `irazor_tf.config.schema.Field`.
      kind: `categorical` or `numeric`.
      dtype: `string` or `int64` for a categorical field, `float64` for a numeric one.
      role: `user`, `item` or `context`.
      transform: `log_square` or `floor` for a numeric field, else `none`.
      missing, strip: how the reader cleans the field's texts, which the served model has to do,
        too; see `Field`.
    """

    name: str
    kind: str = "categorical"
    dtype: str = "string"
    role: str = "context"
    transform: str = "none"
    missing: tuple[str, ...] = ()
    strip: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("categorical", "numeric"):
            raise ValueError(
                f"`kind` of field {self.name!r} should be categorical or numeric. Received: "
                f"{self.kind!r}"
            )
        if self.role == "shadow":
            raise ValueError(
                f"`role` of field {self.name!r} should be user, item or context. Received: 'shadow'"
            )
        if (self.kind == "numeric") != (self.dtype == "float64"):
            raise ValueError(
                f"A numeric field, and no other, should have `dtype` float64. Received: {self}"
            )
        self.to_field()

    def to_field(self, vocabulary_size: int = 1) -> Field:
        """The schema's field for this one, once its vocabulary is built.

        Args:
          vocabulary_size: number of ids, out-of-vocabulary included.
        """
        return Field(
            self.name,
            self.kind,
            vocabulary_size,
            self.dtype,
            self.transform,
            role=self.role,
            missing=self.missing,
            strip=self.strip,
        )


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some consecutive rows of one file.

    Args:
      path: path of the file.
      first_line: line of the first row, counted from 1; row i is line `first_line + i`.
      columns: field name -> one array of B values, plain or dictionary-encoded. Categorical:
        strings, null = missing; a field of dtype int64 has strings in canonical form, `str(int)`.
        Numeric: float64, null or nan = missing.
      label: [B] float64, the label or rating as it is in the log.
      time: [B] float64, or None for a log without time.
    """

    path: str
    first_line: int
    columns: dict[str, pa.Array]
    label: np.ndarray
    time: np.ndarray | None = None

    @property
    def num_rows(self) -> int:
        """Number of rows, B."""
        return len(self.label)


class Reader(abc.ABC):
    """Base of all readers; a reader knows one format of logs. A subclass registers itself
    (`@irazor_tf.register_reader("name")`), names its options in `Params` and yields chunks.

    Args:
      params: Options of the format. None stands for their defaults.

    Attributes:
      label: Name of the label column.
      positive_above: A label above this is positive, unless the options say otherwise. None where
        labels are 0 and 1 already.
    """

    @dataclasses.dataclass(frozen=True)
    class Params:
        """Options of the format; this base has none. A subclass lists its own, and checks their
        ranges in `__post_init__`."""

    label: str = "label"
    positive_above: float | None = None
    registry_name: ClassVar[str] = ""

    def __init__(self, params: Reader.Params | None = None):
        self.params = params if params is not None else type(self).Params()

    def inspect(self, paths: Sequence[str]) -> None:
        """Looks at the files of a log whose fields are not known beforehand. It is called once,
        with the paths of all files, before `fields`; this base does nothing."""

    def described(self) -> Any:
        """A description of the log that the reader has from elsewhere than its options (the content
        of a schema file), as a JSON value. None where there is none."""
        return None

    @abc.abstractmethod
    def fields(self) -> tuple[RawField, ...]:
        """The fields of the log, in the order that the columns of the id matrix will have."""

    @abc.abstractmethod
    def chunks(self, paths: Sequence[str]) -> Iterator[Chunk]:
        """The rows of the files, in order, a chunk at a time.

        Args:
          paths: paths of the files.

        Raises:
          ValueError: a bad row; the message names file and line.
        """

    def prepare(self, directory: str) -> tuple[str, ...]:
        """Generates the log where no input is given, and returns the paths of its files; only the
        readers of generated logs can.

        Args:
          directory: folder for the files.

        Raises:
          ValueError: the reader needs input files.
        """
        raise ValueError(
            f"The reader {self.registry_name!r} should be given its input files. Received: none"
        )
