"""The pictures of a search by DNIS: alpha and kept dimensions by frequency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from irazor_tf.config.field_config import FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.methods.dnis.gate import SoftSelection
from irazor_tf.search.entries import largest
from irazor_tf.search.pictures import HeatMap, Lines

_NEVER = 0.5  # where a frequency of zero stands on a logarithmic axis
_MOST_ROWS = 60  # of a heat map


def alpha_of_blocks(
    gate: SoftSelection, counts: Mapping[str, np.ndarray], per_field: bool
) -> HeatMap:
    """A heat map of alpha by block and dimension. Where there are many blocks, only some, evenly
    spaced, are shown.

    Args:
      gate: The trained soft selection layer.
      counts: Kept field -> frequency of every feature, [V].
      per_field: Whether every block has features of one field only.
    """
    names = [f"{block.max():,} to {block.min():,}" for block in _block_counts(gate, counts)]
    if per_field:
        owners = [
            field
            for field, blocks in zip(counts, gate.field_blocks, strict=True)
            for _ in np.unique(blocks)
        ]
        names = [f"{owner} {name}" for owner, name in zip(owners, names, strict=True)]
    rows = np.linspace(0, len(names) - 1, min(len(names), _MOST_ROWS))
    shown = np.unique(rows.round().astype(int))
    title = "Alpha of blocks, named by their features' frequencies"
    if len(shown) < len(names):
        title += f" ({len(shown)} of {len(names):,})"
    alpha = _used_alpha(gate)
    columns = tuple(str(column) for column in range(alpha.shape[1]))
    return HeatMap(title, alpha[shown], tuple(names[row] for row in shown), columns, "alpha")


def alpha_by_frequency(gate: SoftSelection, counts: Mapping[str, np.ndarray]) -> Lines:
    """A curve of a block's mean alpha against the mean frequency of its features (Figure 3a).

    Args:
      gate, counts: see `alpha_of_blocks`.
    """
    frequencies = np.array([max(block.mean(), _NEVER) for block in _block_counts(gate, counts)])
    order = np.argsort(frequencies, kind="stable")
    return Lines(
        "Alpha of a block against its mean frequency",
        frequencies[order],
        {"mean alpha": np.nanmean(_used_alpha(gate), axis=1)[order]},
        ("frequency", "mean alpha"),
        log_x=True,
    )


def dims_by_frequency(
    sizes: Mapping[str, np.ndarray],
    counts: Mapping[str, np.ndarray],
    rates: Sequence[float],
    configs: Sequence[InputConfig],
) -> Lines:
    """Curves of the number of dimensions that a feature keeps against its frequency, in steps of a
    factor of two (Figure 3b), one per compression rate.

    Args:
      sizes: Kept field -> sizes of its merged entries, [V, d], -1 where the space has none.
      counts: Kept field -> frequency of every feature, [V].
      rates: Compression rates to draw; one that would keep no entry, or entries that are 0, is left
        out.
      configs: Configs that were derived; the last one is drawn as "found".
    """
    steps, step, features = np.unique(
        np.floor(np.log2(np.maximum(np.concatenate(list(counts.values())), _NEVER))),
        return_inverse=True,
        return_counts=True,
    )
    widths = np.repeat(
        [field.shape[1] for field in sizes.values()], [len(field) for field in sizes.values()]
    )
    entry_step = np.repeat(step, widths)
    entries = np.concatenate([field.ravel() for field in sizes.values()])
    dims = {}
    for rate in rates:
        count = int(np.count_nonzero(entries >= 0) / rate)
        if 0 < count <= np.count_nonzero(entries > 0):
            kept = entry_step[largest(entries, count)]
            dims[f"compression {rate:g}"] = np.bincount(kept, minlength=len(steps)) / features
    for config in configs:
        rows = [_row_dims(config.fields[name], len(field)) for name, field in sizes.items()]
        dims["found"] = np.bincount(step, np.concatenate(rows), len(steps)) / features
    return Lines(
        "Dimensions kept against a feature's frequency",
        2.0**steps,
        dims,
        ("frequency", "mean dimensions"),
        log_x=True,
    )


def _block_counts(gate: SoftSelection, counts: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """For every block the frequencies of its features, L arrays.

    Args:
      gate, counts: see `alpha_of_blocks`.
    """
    blocks, frequencies = np.concatenate(gate.field_blocks), np.concatenate(list(counts.values()))
    ends = np.cumsum(np.bincount(blocks))[:-1]
    return np.split(frequencies[np.argsort(blocks, kind="stable")], ends)


def _used_alpha(gate: SoftSelection) -> np.ndarray:
    """Alpha as an array, [L, D], with nan in dimensions that no field of the block has."""
    return np.where(gate.used, gate.alpha.numpy(), np.nan)


def _row_dims(field: FieldConfig, rows: int) -> np.ndarray:
    """How many entries every row of a field's table keeps, [V].

    Args:
      field: The field's config.
      rows: V, the number of rows.
    """
    return np.full(rows, field.dim) if field.mask is None else field.mask.to_array().sum(axis=1)
