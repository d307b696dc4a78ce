"""Configs that keep single entries of embedding tables: the choice of the largest entries, and the
fields and columns in which some are left. No TensorFlow import."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig


def entry_sizes(values: np.ndarray, field: FieldConfig) -> np.ndarray:
    """Absolute values of a field's table; -1 for entries that the field's mask has removed already.

    Args:
      values: The field's table, [V, dim].
      field: The field's config.

    Returns:
      [V, dim].
    """
    if field.mask is None:
        return np.abs(values)
    allowed = field.mask.to_array()
    return np.where(allowed[:, None] if allowed.ndim == 1 else allowed, np.abs(values), -1.0)


def largest(sizes: np.ndarray, count: int) -> np.ndarray:
    """The choice of the largest entries; of equal ones the first are taken, and negative ones
    never.

    Args:
      sizes: Sizes of the entries, [E].
      count: How many entries to take, at most.

    Returns:
      [E] bool, the entries taken.
    """
    count = min(count, int(np.count_nonzero(sizes >= 0)))
    threshold = np.partition(sizes, -count)[-count]
    kept = sizes > threshold
    kept[np.flatnonzero(sizes == threshold)[: count - np.count_nonzero(kept)]] = True
    return kept


def keep_entries(
    space: InputConfig, kept: Mapping[str, np.ndarray], first_order: bool
) -> InputConfig:
    """A config that keeps only some entries of the tables; columns without a kept entry are
    removed.

    Args:
      space: The config that is narrowed.
      kept: Name of a field that `space` keeps -> whether each entry stays, [V, dim] bool.
      first_order: Whether the model has first-order terms. If so, a field that keeps no entry keeps
        one column, all masked, because without columns it would lose those terms; if not, such a
        field is removed.
    """
    fields = dict(space.fields)
    for name, entries in kept.items():
        field = space.fields[name]
        columns = np.flatnonzero(entries.any(axis=0))
        if not len(columns) and first_order:
            columns = np.array([0])
        entries = entries[:, columns]
        labels = tuple(field.labels[column] for column in columns)
        whole = not labels or (entries.all() and field.mask is None)
        mask = None if whole else BitMask.from_array(entries)
        fields[name] = FieldConfig(len(labels), labels, mask)
    return dataclasses.replace(space, fields=fields)


def split(flat: np.ndarray, tables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of concatenating tables: a flat array cut into one array per field.

    Args:
      flat: The entries of all fields, field after field, [E].
      tables: Field -> an array of the shape that its part is to have.

    Returns:
      Field -> its part, in that shape.
    """
    ends = np.cumsum([table.size for table in tables.values()])
    parts = np.split(flat, ends[:-1])
    return {
        name: part.reshape(table.shape)
        for part, (name, table) in zip(parts, tables.items(), strict=True)
    }
