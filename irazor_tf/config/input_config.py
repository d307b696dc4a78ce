"""What passes from search to retraining: which fields stay, how wide each embedding is, which
columns or entries survive.

No TensorFlow import. Configs are frozen records with a versioned JSON form; masks lie in an npz
file beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from irazor_tf.config.field_config import BitMask, FieldConfig, mask_entries
from irazor_tf.config.files import check_version, read_json, understanding, write_json
from irazor_tf.config.schema import Schema

_VERSION = 1


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """The embeddings of all fields, in the order of the schema: what a search finds and a model is
    built from.

    Args:
      fields: Field name -> `FieldConfig`. Removed fields are listed, too, with `dim` 0.
      pairs: Pairs of fields whose interaction the model keeps. None stands for all pairs.
      aligned: Width to which every field is mapped linearly before fields are compared with each
        other, even fields that have this width already. If None, it is the largest dimension of a
        field, and maps exist only where dimensions differ. A model that is cut from a wider one
        keeps the wider one's width.
    """

    fields: Mapping[str, FieldConfig]
    pairs: tuple[tuple[str, str], ...] | None = None
    aligned: int | None = None

    def __post_init__(self) -> None:
        if self.aligned is not None and self.aligned < self.max_dim:
            raise ValueError(
                f"`aligned` should be at least the widest field's {self.max_dim}. Received: "
                f"{self.aligned}"
            )

    @classmethod
    def uniform(cls, schema: Schema, dim: int) -> InputConfig:
        """A config in which every field of the schema has `dim` dimensions."""
        return cls({name: FieldConfig(dim) for name in schema.names})

    @classmethod
    def from_dims(cls, dims: Mapping[str, int]) -> InputConfig:
        """A config from dimensions alone: field name -> dimension, 0 for a removed field."""
        return cls({name: FieldConfig(int(dim)) for name, dim in dims.items()})

    def check(self, schema: Schema) -> None:
        """Raises ValueError unless the config names the schema's fields in the schema's order,
        keeps at least one of them, and has masks of the schema's vocabulary sizes."""
        if tuple(self.fields) != schema.names:
            odd = sorted(set(self.fields) ^ set(schema.names))
            received = f"{len(self.fields)} fields, differing in {odd}"
            raise ValueError(
                f"A config should name the schema's fields in their order. Received: {received}"
            )
        if not self.num_fields:
            raise ValueError(
                "A config should keep at least one field. Received: all fields with `dim` 0 (too "
                "strong a penalty or budget?)"
            )
        for name, field in self.fields.items():
            rows = schema.field(name).vocabulary_size
            if field.mask is not None and field.mask.shape not in ((rows,), (rows, field.dim)):
                raise ValueError(
                    f"The mask of field {name!r} should be [{rows}] or [{rows}, {field.dim}]. "
                    f"Received: {field.mask.shape}"
                )

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the fields with at least one dimension."""
        return tuple(name for name, field in self.fields.items() if field.dim)

    @property
    def dims(self) -> dict[str, int]:
        """Field name -> embedding dimension, 0 for a removed field."""
        return {name: field.dim for name, field in self.fields.items()}

    @property
    def stored_dims(self) -> dict[str, int]:
        """Field name -> embedding dimension, 0 also for a field whose mask leaves no entry: of such
        a field only the first-order terms stay."""
        return {
            name: 0 if field.mask is not None and not field.mask.to_array().any() else field.dim
            for name, field in self.fields.items()
        }

    @property
    def num_fields(self) -> int:
        """Number of fields with at least one dimension."""
        return len(self.kept)

    @property
    def total_dims(self) -> int:
        """Sum of the embedding dimensions of all fields."""
        return sum(field.dim for field in self.fields.values())

    @property
    def max_dim(self) -> int:
        """Largest embedding dimension of a field."""
        return max((field.dim for field in self.fields.values()), default=0)

    @property
    def slots(self) -> np.ndarray:
        """Which positions of the kept fields' embeddings, padded to one width, are columns and not
        padding.

        Returns:
          [N, D] bool for N kept fields and the largest dimension D.
        """
        return (
            np.arange(self.max_dim)
            < np.array([self.fields[name].dim for name in self.kept])[:, None]
        )

    @property
    def aligned_width(self) -> int:
        """D, the width of all fields where the model compares them with each other."""
        return self.max_dim if self.aligned is None else self.aligned

    @property
    def has_maps(self) -> bool:
        """Whether fields are mapped linearly to one width before they are compared: where
        dimensions differ, or `aligned` is given."""
        return (
            self.aligned is not None
            or len({field.dim for field in self.fields.values() if field.dim}) > 1
        )

    def num_params(self, schema: Schema) -> int:
        """Number of embedding values, the sum over fields of vocabulary size times dimension, |f_i|
        d_i; masked entries are not counted (i-Razor section 4.2.2, footnote 6)."""
        return sum(
            field.num_entries(schema.field(name).vocabulary_size)
            for name, field in self.fields.items()
        )

    def within(self, other: InputConfig) -> bool:
        """Whether every column, entry and pair that this config keeps is kept in `other`, too."""
        if tuple(self.fields) != tuple(other.fields):
            return False
        for name, field in self.fields.items():
            wide = other.fields[name]
            if not set(field.labels) <= set(wide.labels):
                return False
            if wide.mask is not None and field.dim:
                if field.mask is None:
                    return False
                columns = [wide.labels.index(label) for label in field.labels]
                if np.any(mask_entries(field) & ~mask_entries(wide)[:, columns]):
                    return False
        if other.pairs is None:
            return True
        return self.pairs is not None and set(self.pairs) <= set(other.pairs)

    def with_columns(self, kept: np.ndarray) -> InputConfig:
        """This config with only some of its columns.

        Args:
          kept: Whether each column stays, [sum of the kept fields' dims] bool, field after field.
        """
        fields, start = dict(self.fields), 0
        for name in self.kept:
            field = fields[name]
            inside = kept[start : start + field.dim]
            start += field.dim
            fields[name] = field.cut(
                label for label, keeps in zip(field.labels, inside, strict=True) if keeps
            )
        return InputConfig(fields, self.pairs)

    def column_params(self, schema: Schema) -> np.ndarray:
        """Number of embedding values that each column stores, [sum of the kept fields' dims] int64,
        field after field."""
        return np.concatenate(
            [
                self.fields[name].column_params(schema.field(name).vocabulary_size)
                for name in self.kept
            ]
        )

    def fields_only(self, space: InputConfig) -> InputConfig:
        """This config's choice of fields, each kept field with the width that it has in `space`
        (what the papers call "X w/ FDE")."""
        return InputConfig(
            {
                name: space.fields[name] if dim else FieldConfig(0)
                for name, dim in self.stored_dims.items()
            },
            self.pairs,
        )

    def to_json(self) -> dict[str, Any]:
        """The config as a JSON value. Of masks it holds the shapes alone; `masks` gives their
        bits."""
        fields: dict[str, Any] = {}
        for name, field in self.fields.items():
            fields[name] = {"dim": field.dim}
            if field.columns is not None:
                fields[name]["columns"] = list(field.columns)
            if field.mask is not None:
                fields[name]["mask"] = list(field.mask.shape)
        pairs = None if self.pairs is None else [list(pair) for pair in self.pairs]
        return {"version": _VERSION, "fields": fields, "pairs": pairs} | (
            {} if self.aligned is None else {"aligned": self.aligned}
        )

    @classmethod
    def from_json(
        cls, value: Mapping[str, Any], masks: Mapping[str, np.ndarray] | None = None
    ) -> InputConfig:
        """The config of a value that `to_json` made.

        Args:
          value: The JSON value.
          masks: Field name -> bits of its mask, as `masks` gives them. If None, no field may have a
            mask.

        Raises:
          ValueError: the value is of another version, or the bits of a mask are missing.
        """
        check_version(value, _VERSION, "A config")
        fields = {}
        for name, field in value["fields"].items():
            columns = tuple(field["columns"]) if "columns" in field else None
            mask = None
            if "mask" in field:
                if masks is None or name not in masks:
                    raise ValueError(
                        f"The mask of field {name!r} should lie in the npz beside the config. "
                        "Received: none"
                    )
                mask = BitMask(tuple(field["mask"]), np.asarray(masks[name], np.uint8).tobytes())
            fields[name] = FieldConfig(field["dim"], columns, mask)
        pairs = None if value["pairs"] is None else tuple((a, b) for a, b in value["pairs"])
        return cls(fields, pairs, value.get("aligned"))

    def masks(self) -> dict[str, np.ndarray]:
        """Field name -> packed bits of its mask, [bytes] uint8; fields without a mask are left
        out."""
        return {
            name: np.frombuffer(field.mask.bits, np.uint8)
            for name, field in self.fields.items()
            if field.mask is not None
        }

    def save(self, path: str) -> None:
        """Writes `path` (JSON) and, where there are masks, `path` + ".npz"."""
        # With a prefix: a field may be called `file`, and so is an argument of `np.savez`.
        write_json(
            path, self.to_json(), {f"mask/{name}": bits for name, bits in self.masks().items()}
        )

    @classmethod
    def load(cls, path: str) -> InputConfig:
        """The config that `save` wrote to `path`."""
        value, masks = read_json(path)
        with understanding(path):
            return cls.from_json(
                value, {key.removeprefix("mask/"): bits for key, bits in masks.items()}
            )


def digest(value: Any) -> str:
    """Ten hexadecimal digits that stand for a JSON value: the beginning of its SHA-256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def identity(config: InputConfig) -> dict[str, Any]:
    """A JSON value that two configs share only if they are equal. It adds to `to_json`, which
    leaves out the bits of masks, a checksum of those bits."""
    masks = {
        name: hashlib.sha256(bits.tobytes()).hexdigest() for name, bits in config.masks().items()
    }
    return config.to_json() | ({"masks": masks} if masks else {})
