"""Configs of single table entries: which are the largest, and the fields that keep them. No
TensorFlow import."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from irazor_tf.config.input_config import BitMask, FieldConfig, InputConfig


def entry_sizes(values: np.ndarray, field: FieldConfig) -> np.ndarray:
    """|values|, [V, dim]; -1 where the field's mask has taken the entry already."""
    if field.mask is None:
        return np.abs(values)
    allowed = field.mask.to_array()
    return np.where(allowed[:, None] if allowed.ndim == 1 else allowed, np.abs(values), -1.0)


def largest(sizes: np.ndarray, count: int) -> np.ndarray:
    """[E] bool: the `count` largest of `sizes`, [E], of equal ones the first; all that are not
    negative, where there are no more."""
    count = min(count, int(np.count_nonzero(sizes >= 0)))
    threshold = np.partition(sizes, -count)[-count]
    kept = sizes > threshold
    kept[np.flatnonzero(sizes == threshold)[: count - np.count_nonzero(kept)]] = True
    return kept


def keep_entries(
    space: InputConfig, kept: Mapping[str, np.ndarray], first_order: bool
) -> InputConfig:
    """`space` with the entries that are kept, and without the columns that keep none.

    Args:
      space: the config that the entries are of.
      kept: kept field -> [V, dim] bool.
      first_order: whether the model has first-order terms: a field that keeps no entry then keeps
        one masked column, because without columns it would lose them; otherwise it goes.
    """
    fields = dict(space.fields)
    for name, own in kept.items():
        columns = np.flatnonzero(own.any(axis=0))
        if not len(columns) and first_order:
            columns = np.array([0])
        own, labels = (
            own[:, columns],
            tuple(space.fields[name].labels[column] for column in columns),
        )
        whole = not labels or (own.all() and space.fields[name].mask is None)
        fields[name] = FieldConfig(len(labels), labels, None if whole else BitMask.from_array(own))
    return dataclasses.replace(space, fields=fields)


def split(flat: np.ndarray, sizes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """[E], the fields' entries behind each other -> each in its own shape."""
    parts = np.split(flat, np.cumsum([own.size for own in sizes.values()])[:-1])
    return {
        name: part.reshape(own.shape)
        for part, (name, own) in zip(parts, sizes.items(), strict=True)
    }
