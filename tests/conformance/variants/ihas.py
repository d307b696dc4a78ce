"""Settings of ihas that take another path: the supernet kept with its gates, the same for all rows;
one cluster, and no router."""

SPECS = [
    "ihas(epochs=2, every=2, instance_wise=False, retrain=False)",
    "ihas(epochs=2, every=2, clusters=1, majority=0.6)",
]

TINY = {"every": 2}  # every batch of weights stands in the graph, which is traced in every fit
