"""The pictures of a search by iHAS: histograms of probabilities, open gates, clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irazor_tf.config.input_config import InputConfig
from irazor_tf.search.method import Search
from irazor_tf.search.pictures import Bars, HeatMap, Histogram, Picture


def pictures_of(search: Search, configs: Sequence[InputConfig]) -> list[Picture]:
    """The pictures of a search and of the configs derived from it, one config per cluster. Pictures
    of clusters are among them only if the search holds clusters."""
    gate, names = search.gate, search.model.config.kept
    census, clusters = search.counted.census, search.counted.clusters
    edges = np.linspace(0, 1, len(census.histogram) + 1)
    pictures: list[Picture] = [
        Histogram(
            "Gate probabilities of one training row",
            edges,
            census.sample,
            "gates",
            {"threshold": census.sample_threshold},
        ),
        Histogram(
            "The same, mean over the rows",
            edges,
            census.histogram,
            "gates",
            {"mean threshold": census.threshold},
        ),
        HeatMap(
            "How often gates are open",
            gate.padded(census.frequency),
            names,
            tuple(str(column) for column in range(gate.shape[1])),
            "share of the training rows",
        ),
    ]
    if clusters is not None:
        numbered = tuple(f"cluster {number}" for number in range(len(clusters.rows)))
        pictures.append(Bars("Training rows per cluster", numbered, clusters.rows, "rows"))
        if len(configs) > 1:
            dims = [[config.dims[name] for config in configs] for name in names]
            values = np.array(dims, np.float64)
            pictures.append(
                HeatMap("Dimensions per cluster", values, names, numbered, "dimensions")
            )
    return pictures
