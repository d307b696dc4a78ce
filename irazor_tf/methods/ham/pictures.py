"""The pictures of a search by HAM or one of its variants."""

from __future__ import annotations

import numpy as np

from irazor_tf.methods.ham.equations import column_cosines
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.pictures import Bars, HeatMap, Picture


def mask_pictures(supernet: Recommender) -> list[Picture]:
    """Heat maps of alpha and mask by field and column, and pictures of the cosines between the
    columns of the searched tables (Figure 5)."""
    gate, config = supernet.gates["embedding"], supernet.config
    slots = tuple(map(str, range(config.max_dim)))
    heat_maps = [
        HeatMap(
            f"{name.capitalize()} of every column",
            np.where(gate.exists, values, np.nan),
            config.kept,
            slots,
            name,
        )
        for name, values in gate.arrays().items()
    ]
    return [*heat_maps, *_cosine_pictures(supernet)]


def _cosine_pictures(supernet: Recommender) -> list[Picture]:
    """A heat map of the cosines between the columns of the widest field, and bars of every field's
    mean cosine; an empty list where no field has two columns."""
    assert supernet.embedding is not None
    fields = supernet.config.fields
    cosines = {
        name: column_cosines(supernet.embedding.field_table(name))
        for name in supernet.config.kept
        if fields[name].dim > 1
    }
    if not cosines:
        return []
    widest = max(cosines, key=lambda name: len(cosines[name]))
    labels = tuple(map(str, fields[widest].labels))
    means = [values[~np.eye(len(values), dtype=bool)].mean() for values in cosines.values()]
    return [
        HeatMap(
            f"Cosines between the columns of {widest}", cosines[widest], labels, labels, "|cosine|"
        ),
        Bars(
            "Cosines between the columns of every field",
            tuple(cosines),
            np.array(means),
            "mean |cosine| of two columns",
        ),
    ]
