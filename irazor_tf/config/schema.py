"""A data set's fields, their vocabularies, and how often each feature occurs.

A *field* is a column of the log, a *feature* one value of it. Preprocessing turns every raw value
into an id: id 0 is out-of-vocabulary, id k >= 1 is line k (counted from 1) of the field's
vocabulary file. A missing value is the feature `MISSING`. No TensorFlow import.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Mapping

import numpy as np

from irazor_tf.config import integrity
from irazor_tf.config.checks import at_least, check_choice, check_ranges
from irazor_tf.config.files import (
    check_version,
    read_arrays,
    read_json,
    understanding,
    write_json,
)
from irazor_tf.config.layout import RecordsPaths

MISSING = "__missing__"
# How a missing value of an int64 field is given to a served model.
MISSING_INT = np.iinfo(np.int64).min
KINDS = ("categorical", "numeric", "cross")
DTYPES = ("string", "int64", "float64")
TRANSFORMS = ("none", "log_square", "floor")
ROLES = ("user", "item", "context", "shadow")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LONGEST_NAME = 200
_VERSION = 1
_COUNTS = "counts/"  # so that a field may have the name of an argument of `np.savez`


@dataclasses.dataclass(frozen=True)
class Field:
    """One input field.

    Args:
      name: letters, digits and underscores, starting with a letter; also the name of the served
        input and of the vocabulary file.
      kind: `categorical`, `numeric` (a number turned into an integer code by `transform`) or
        `cross`.
      vocabulary_size: number of ids, out-of-vocabulary included.
      dtype: type of the raw value that a served model takes: `string` (missing: ""), `int64`
        (missing: `MISSING_INT`) or `float64` (missing: nan).
      transform: `none`, `log_square` or `floor`; see `numeric_codes`.
      parents: the fields a cross is made of, or the field a shadow copies.
      role: `user`, `item`, `context`, or `shadow` (a row-shuffled copy of another field: known
        noise).
      missing: texts that mean a missing value, besides the empty text. In a field of numbers only
        those texts count that are numbers themselves, and every spelling of such a number means a
        missing value (`missing_numbers`).
      strip: whether spaces around the texts of a string field are removed.
    """

    name: str
    kind: str = "categorical"
    vocabulary_size: int = 1
    dtype: str = "string"
    transform: str = "none"
    parents: tuple[str, ...] = ()
    role: str = "context"
    missing: tuple[str, ...] = ()
    strip: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                "A field `name` should be letters, digits and underscores, a letter first. "
                f"Received: {self.name!r}"
            )
        owner = f"field {self.name!r}"
        check_choice(self, owner, kind=KINDS, dtype=DTYPES, transform=TRANSFORMS, role=ROLES)
        if (self.kind == "numeric") != (self.transform != "none"):
            raise ValueError(
                f"A numeric field, and no other, should have a `transform`. Received: {self}"
            )
        if self.dtype != "string" and self.strip:
            raise ValueError(f"A field with `strip` should have `dtype` string. Received: {self}")
        if len(self.name) > _LONGEST_NAME:  # its vocabulary is a file of that name
            received = f"{len(self.name)}, {self.name[:40]!r}..."
            raise ValueError(
                f"A field `name` should have at most {_LONGEST_NAME} letters. Received: {received}"
            )
        check_ranges(self, owner, vocabulary_size=at_least(1))


@dataclasses.dataclass(frozen=True)
class Schema:
    """The fields of a data set, in the order of the columns of its id matrix, and the folder with
    their vocabularies and counts.

    Args:
      fields: The fields, in that order.
      label: Name of the label column of the log.
      fingerprint: Digest of options, vocabularies and records; equal fingerprints mean equal data.
      directory: Folder with the files of counts and vocabularies. None for a schema made in memory,
        which has neither.
    """

    fields: tuple[Field, ...]
    label: str = "label"
    fingerprint: str = ""
    directory: str | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled or not names:
            raise ValueError(
                "A schema should have at least one field, and no name twice. Received: "
                f"{len(names)} fields, twice: {doubled}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields, in column order."""
        return tuple(field.name for field in self.fields)

    @property
    def vocabulary_sizes(self) -> np.ndarray:
        """Number of ids of each field, [N] int64."""
        return np.array([field.vocabulary_size for field in self.fields], np.int64)

    @property
    def num_features(self) -> int:
        """Number of ids of all fields together."""
        return int(self.vocabulary_sizes.sum())

    def field(self, name: str) -> Field:
        """The field called `name`.

        Raises:
          ValueError: there is no such field.
        """
        for field in self.fields:
            if field.name == name:
                return field
        raise ValueError(f"A field should be one of {', '.join(self.names)}. Received: {name!r}")

    def index(self, name: str) -> int:
        """Number of the column that holds the ids of the field `name`, from 0."""
        return self.names.index(self.field(name).name)

    @functools.cached_property
    def counts(self) -> dict[str, np.ndarray]:
        """How often each id occurs in the training split: field name -> [V] int64."""
        if self.directory is None:
            raise ValueError(
                "`counts` needs a schema loaded from a folder. Received: a schema made in memory"
            )
        path = RecordsPaths(self.directory).counts
        stored = read_arrays(path)
        with understanding(path):
            counts = {name: stored[f"{_COUNTS}{name}"] for name in self.names}
            for field in self.fields:
                if counts[field.name].shape != (field.vocabulary_size,):
                    raise ValueError(
                        f"`{field.name}` should have {field.vocabulary_size} counts. Received: "
                        f"{counts[field.name].shape}"
                    )
        return counts

    def vocabulary_file(self, name: str) -> str:
        """Path of the vocabulary file of the field `name`.

        Raises:
          ValueError: the schema was made in memory, or has no such field.
        """
        if self.directory is None:
            raise ValueError(
                "A vocabulary file needs a schema loaded from a folder. Received: a schema made in "
                "memory"
            )
        return RecordsPaths(self.directory).vocabulary(name)

    def to_json(self) -> dict:
        fields = [
            dataclasses.asdict(field)
            | {"parents": list(field.parents), "missing": list(field.missing)}
            for field in self.fields
        ]
        return {
            "version": _VERSION,
            "label": self.label,
            "fingerprint": self.fingerprint,
            "fields": fields,
        }

    @classmethod
    def from_json(cls, value: dict, directory: str | None = None) -> Schema:
        check_version(value, _VERSION, "A schema file")
        # Schemas written before a key existed have its default.
        fields = tuple(
            Field(
                **(
                    field
                    | {
                        "parents": tuple(field["parents"]),
                        "missing": tuple(field.get("missing", ())),
                    }
                )
            )
            for field in value["fields"]
        )
        return cls(
            fields=fields,
            label=value["label"],
            fingerprint=value["fingerprint"],
            directory=directory,
        )

    def save(self, directory: str) -> None:
        write_json(RecordsPaths(directory).schema, self.to_json())

    @classmethod
    def load(cls, directory: str) -> Schema:
        """The schema in the file `schema.json` of a data folder.

        Raises:
          ValueError: there is no such file, or it does not hold a schema; the message names the
            file.
        """
        path = RecordsPaths(directory).schema
        if not os.path.exists(path):
            raise ValueError(
                f"A finished data folder should hold `schema.json`. Received: {directory}, without"
            )
        value, _ = read_json(path)
        with understanding(path):
            return cls.from_json(value, directory)


def save_counts(directory: str, counts: Mapping[str, np.ndarray]) -> None:
    """Writes the file `counts.npz`, which `Schema.counts` reads.

    Args:
      directory: The data folder.
      counts: Field name -> how often each of its ids occurs in the training split, [V] int64.
    """
    path = RecordsPaths(directory).counts
    with integrity.naming(path):
        np.savez(
            path, allow_pickle=False, **{_COUNTS + name: array for name, array in counts.items()}
        )
