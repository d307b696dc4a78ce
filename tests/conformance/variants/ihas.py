"""Settings of ihas that take another path: the supernet kept with its gates, the same for all rows;
one cluster, and no router."""

SPECS = [
    "ihas(epochs=2, every=5, instance_wise=False, retrain=False)",
    "ihas(epochs=2, every=4, clusters=1, majority=0.6)",
]

TINY = {"every": 5}  # an epoch has 25 batches, and as many would stand in the graph
