"""Clusters of rows by their masked embeddings (iHAS, Algorithm 1, lines 9 to 13), and which gates
are open in each."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.input_config import digest
from irazor_tf.config.layout import SearchPaths
from irazor_tf.config.seeds import seed_of
from irazor_tf.methods.ihas.census import Census, GatedRows, gated_rows
from irazor_tf.methods.ihas.equations import nearest
from irazor_tf.methods.ihas.settings import Settings
from irazor_tf.model.recommender import Recommender
from irazor_tf.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Clusters of the training rows.

    Args:
      rows: Number of training rows in each cluster, [C].
      frequency: Share of a cluster's rows in which each gate is open, [C, M].
      probability: Mean of each gate's probability p over a cluster's rows, [C, M].
      params: Number of values that the router stores.
      weights: Path of the npz with those values, relative to the search's folder.
      notices: Fallbacks taken in the clustering, in words.
    """

    rows: np.ndarray
    frequency: np.ndarray
    probability: np.ndarray
    params: int
    weights: str
    notices: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Counted:
    """What iHAS has measured after the search's training.

    Args:
      census: Statistics of the gates over all training rows.
      clusters: Clusters of rows for the present settings. None where no clusters were looked for.
    """

    census: Census
    clusters: Clusters | None = None


def find_clusters(trainer: Trainer, supernet: Recommender, params: Settings) -> Clusters:
    """The clusters of the training rows (Algorithm 1, lines 9 to 13): computed once, written to the
    search's folder together with the router's arrays, and read from there by later calls."""
    key = digest([params.clusters, params.tolerance, params.passes])
    name = f"router-{key}.json"
    path = SearchPaths(trainer.work_dir).at(name)
    if not os.path.exists(path):
        _write_clusters(path, trainer, supernet, params)
    value, arrays = read_json(path)
    return Clusters(
        np.array(value["rows"]),
        arrays["frequency"],
        arrays["probability"],
        params=value["params"],
        weights=f"{name}.npz",
        notices=tuple(value["notices"]),
    )


def _write_clusters(path: str, trainer: Trainer, supernet: Recommender, params: Settings) -> None:
    # The first batch has to have a row for every centroid.
    batches = gated_rows(supernet, max(trainer.options.eval_batch_size, params.clusters))
    centroids = fit_centroids(
        lambda: (rows.masked for rows in batches(trainer.train)),
        params.clusters,
        seed=seed_of(trainer.seed, "clusters"),
        tolerance=params.tolerance,
        passes=params.passes,
    )

    def members_of(centroids: np.ndarray) -> tuple[_Members, _Members]:
        train, valid = batches(trainer.train), batches(trainer.valid)
        return _members(train, centroids), _members(valid, centroids)

    smallest = trainer.options.batch_size
    centroids, members, dropped = _drop_small(centroids, members_of, smallest)
    notices = _dropped_notices(dropped, len(centroids), smallest)
    if len(centroids) == 1:
        notices.append("One cluster is left: one model for all rows, without a router")
    stored = _router_arrays(supernet, centroids)
    value = {
        "rows": members.rows.tolist(),
        "notices": notices,
        "params": sum(int(array.size) for array in stored.values()),
    }
    shares = {"frequency": members.frequency, "probability": members.probability}
    write_json(path, value, stored | shares)


def _router_arrays(supernet: Recommender, centroids: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays that `ClusterRouter` takes, by name."""
    gate, embedding = supernet.gates["embedding"], supernet.embedding
    assert embedding is not None
    arrays = {"bias": gate.bias.numpy(), "centroids": np.asarray(centroids, np.float32)}
    if gate.kernel is not None:
        arrays["kernel"] = gate.kernel.numpy()
    tables = {f"table/{name}": embedding.field_table(name) for name in supernet.config.kept}
    return arrays | tables


def fit_centroids(
    batches: Callable[[], Iterable[np.ndarray]],
    clusters: int,
    *,
    seed: int,
    tolerance: float,
    passes: int,
) -> np.ndarray:
    """Centroids of rows by mini-batch k-means, [C, M].

    Args:
      batches: Function that gives the rows of a pass, [b, M] at a time; the first batch has at
        least `clusters` rows.
      clusters: Number of clusters, C.
      seed: Seed of the first centroids, which are those of k-means on the first batch.
      tolerance: Movement of the centroids in a pass, relative to their length; a pass that moves
        them by no more is the last.
      passes: Most passes over the rows.
    """
    model = None
    for _ in range(passes):
        before = None if model is None else model.cluster_centers_.copy()
        for rows in batches():
            # Threads add up in the order they end, which changes the last bits.
            with threadpool_limits(1):
                if model is None:
                    model = _first_model(rows, clusters, seed)
                model.partial_fit(rows)
        assert model is not None
        after = model.cluster_centers_
        if before is not None:
            moved, length = np.linalg.norm(after - before), np.linalg.norm(before)
            if moved <= tolerance * length:
                break
    return after


def _first_model(rows: np.ndarray, clusters: int, seed: int) -> MiniBatchKMeans:
    """Mini-batch k-means that starts from the centroids of k-means on `rows`."""
    whole = KMeans(clusters, n_init=3, max_iter=100, random_state=seed).fit(rows)
    return MiniBatchKMeans(
        clusters,
        init=whole.cluster_centers_,
        n_init=1,
        random_state=seed,
        compute_labels=False,
    )


class _Members(NamedTuple):
    """Statistics of the rows nearest to each centroid.

    Args:
      rows: Number of these rows, [C].
      frequency: Share of these rows in which each gate is open, [C, M].
      probability: Mean of each gate's probability p over these rows, [C, M].
      varied: Whether both labels occur among these rows, [C].
    """

    rows: np.ndarray
    frequency: np.ndarray
    probability: np.ndarray
    varied: np.ndarray


def _members(batches: Iterable[GatedRows], centroids: np.ndarray) -> _Members:
    count = len(centroids)
    rows = np.zeros(count, np.int64)
    lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
    opened, p = np.zeros(centroids.shape), np.zeros(centroids.shape)
    for batch in batches:
        cluster = nearest(batch.masked, centroids).numpy()
        member = np.eye(count)[:, cluster]
        rows += np.bincount(cluster, minlength=count)
        opened += member @ batch.gates.open
        p += member @ batch.gates.p
        np.minimum.at(lowest, cluster, batch.labels)
        np.maximum.at(highest, cluster, batch.labels)
    divisor = np.maximum(rows, 1)[:, None]
    return _Members(rows, opened / divisor, p / divisor, lowest < highest)


def _drop_small(
    centroids: np.ndarray,
    members_of: Callable[[np.ndarray], tuple[_Members, _Members]],
    smallest: int,
) -> tuple[np.ndarray, _Members, list[tuple[int, int]]]:
    """Drops clusters that are too small, until every one that is left can train a model and judge
    it, or only one is left.

    They are dropped one at a time, the one of fewest training rows first, because its rows may make
    up for what another cluster lacks.

    Args:
      centroids: [C, M].
      members_of: Function: centroids -> statistics of their training rows and of their validation
        rows.
      smallest: Fewest training rows that a model can be trained on: those of a batch.

    Returns:
      The centroids that are left, the statistics of their training rows, and for each dropped
      cluster, in the order of dropping, the numbers of its training and validation rows.
    """
    dropped: list[tuple[int, int]] = []
    while True:
        train, valid = members_of(centroids)
        fit = (train.rows >= smallest) & valid.varied
        if fit.all() or len(centroids) == 1:
            return centroids, train, dropped
        gone = int(np.argmin(np.where(fit, np.inf, train.rows)))
        dropped.append((int(train.rows[gone]), int(valid.rows[gone])))
        centroids = np.delete(centroids, gone, axis=0)


def _dropped_notices(dropped: Sequence[tuple[int, int]], left: int, batch: int) -> list[str]:
    """A notice about the clusters that were dropped; an empty list where none was.

    Args:
      dropped: Training and validation rows of each, in the order of dropping.
      left: Number of clusters that are left.
      batch: Rows of a training batch.
    """
    if not dropped:
        return []
    needs = (
        f"too small to train a model and judge it (a batch is {batch} rows, and validation "
        "needs both labels)"
    )
    if len(dropped) == 1:
        train, valid = dropped[0]
        return [
            f"A cluster of {train} training and {valid} validation rows is {needs}: its rows go to "
            f"the nearest of the other {left}"
        ]
    spans = [f"{min(counts)} to {max(counts)}" for counts in zip(*dropped, strict=True)]
    clusters = f"{len(dropped)} clusters of {spans[0]} training and {spans[1]} validation rows"
    return [
        f"{clusters} are {needs}: one after another their rows go to the nearest of those left, "
        f"{left} in the end"
    ]
