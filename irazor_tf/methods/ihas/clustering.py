"""Clusters of rows by their masked probabilities, and what is open in each (iHAS, section 3.3)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.seeds import seed_of
from irazor_tf.methods.ihas.equations import HALF, Selection, columns_of, nearest
from irazor_tf.methods.ihas.settings import Settings
from irazor_tf.model.recommender import Recommender
from irazor_tf.training.source import Source
from irazor_tf.training.trainer import Trainer

Selected = tuple[np.ndarray, Selection, np.ndarray]  # see `_selector`


def fit_centroids(
    batches: Callable[[], Iterable[np.ndarray]],
    clusters: int,
    *,
    seed: int,
    tolerance: float,
    passes: int,
) -> np.ndarray:
    """Mini-batch k-means: centroids [C, M].

    Args:
      batches: gives the rows anew for every pass, [b, M] at a time, the first of at least
        `clusters` rows.
      clusters: C.
      seed: of the first centroids, which are those of k-means on the first batch.
      tolerance: a pass that moves the centroids by no more, relative to their length, is the last.
      passes: at most.
    """
    model = None
    for _ in range(passes):
        before = None if model is None else model.cluster_centers_.copy()
        for rows in batches():
            with threadpool_limits(
                1
            ):  # threads add up in the order they end, which changes the last bits
                if model is None:
                    start = (
                        KMeans(clusters, n_init=3, max_iter=100, random_state=seed)
                        .fit(rows)
                        .cluster_centers_
                    )
                    model = MiniBatchKMeans(
                        clusters, init=start, n_init=1, random_state=seed, compute_labels=False
                    )
                model.partial_fit(rows)
        assert model is not None
        after = model.cluster_centers_
        if before is not None and np.linalg.norm(after - before) <= tolerance * np.linalg.norm(
            before
        ):
            break
    return after


@dataclasses.dataclass(frozen=True)
class Census:
    """What the deterministic gates of the training rows do, as `train` left them.

    Args:
      frequency: share of the rows in which each gate is open, [M].
      probability: mean of p, [M].
      histogram: mean of the rows' histograms, [bins].
      sample: histogram of the first row, [bins].
      threshold: mean of the rows' thresholds.
      sample_threshold: that of the first row.
      undecided: share of the rows without a local minimum.
      closed: share of the rows in which no gate reached the threshold.
    """

    frequency: np.ndarray
    probability: np.ndarray
    histogram: np.ndarray
    sample: np.ndarray
    threshold: float
    sample_threshold: float
    undecided: float
    closed: float

    def notices(self) -> list[str]:
        """The fallbacks taken, in words."""
        found = []
        if self.undecided:
            share = (
                f"{self.undecided:.1%} of the training rows have no local minimum in the "
                "histogram of their gates' probabilities"
            )
            found.append(f"{share}: their gates are open from p = {HALF} on")
        if self.closed:
            found.append(
                f"{self.closed:.1%} of the training rows have no gate at the threshold: that of "
                "largest p is open"
            )
        return found


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Clusters of the training rows.

    Args:
      rows: training rows in each, [C].
      frequency, probability: see `Census`, by cluster, [C, M].
      params: values that the router stores.
      notices: what happened on the way.
    """

    rows: np.ndarray
    frequency: np.ndarray
    probability: np.ndarray
    params: int
    notices: tuple[str, ...]


def _selector(supernet: Recommender, size: int) -> Callable[[Source], Iterator[Selected]]:
    """A function that goes through a source, `size` rows at a time: embeddings [b, M],
    deterministic gates, labels [b]."""
    embedding, gate = supernet.embedding, supernet.gates["embedding"]
    assert embedding is not None

    @tf.function(reduce_retracing=True)
    def selected(ids: tf.Tensor) -> tuple[tf.Tensor, Selection]:
        flat = columns_of(embedding.stack(embedding(ids)), gate.slots)
        return flat, gate.select(flat)

    def batches(source: Source) -> Iterator[Selected]:
        for batch in source.ordered(size):
            flat, found = selected(batch["ids"])
            yield flat.numpy(), Selection(*(part.numpy() for part in found)), batch["label"].numpy()

    return batches


def _census(trainer: Trainer, supernet: Recommender) -> Census:
    """Counted once, and then read from the search's folder."""
    path = os.path.join(trainer.work_dir, "census.json")
    if not os.path.exists(path):
        sums, first = [np.zeros(())] * 6, None
        for _, found, _ in _selector(supernet, trainer.options.eval_batch_size)(trainer.train):
            thresholds = np.where(found.valley >= 0, found.valley / found.histogram.shape[1], HALF)
            parts = (
                found.open,
                found.p,
                found.histogram,
                thresholds,
                found.valley < 0,
                found.closed,
            )
            sums = [
                total + part.sum(axis=0, dtype=np.float64)
                for total, part in zip(sums, parts, strict=True)
            ]
            first = first or (found.histogram[0], float(thresholds[0]))
        assert first is not None
        frequency, probability, histogram, *shares = [total / trainer.train.rows for total in sums]
        scalars = dict(zip(("threshold", "undecided", "closed"), map(float, shares), strict=True))
        arrays = {
            "frequency": frequency,
            "probability": probability,
            "histogram": histogram,
            "sample": first[0],
        }
        write_json(path, scalars | {"sample_threshold": first[1]}, arrays)
    scalars, arrays = read_json(path)
    return Census(**(arrays | scalars))


def _clusters(trainer: Trainer, supernet: Recommender, params: Settings, name: str) -> Clusters:
    """Found once, written with what the router needs to `name` in the search's folder, and then
    read from there."""
    path = os.path.join(trainer.work_dir, name)
    if not os.path.exists(path):
        batches = _selector(supernet, max(trainer.options.eval_batch_size, params.clusters))
        centroids = fit_centroids(
            lambda: (np.where(found.open, flat, 0) for flat, found, _ in batches(trainer.train)),
            params.clusters,
            seed=seed_of(trainer.seed, "clusters"),
            tolerance=params.tolerance,
            passes=params.passes,
        )
        dropped: list[tuple[int, int]] = []
        while True:
            rows, frequency, probability, _ = _members(batches(trainer.train), centroids)
            judged, _, _, varied = _members(batches(trainer.valid), centroids)
            fit = (rows >= trainer.options.batch_size) & varied
            if fit.all() or len(centroids) == 1:
                break
            gone = int(
                np.argmin(np.where(fit, np.inf, rows))
            )  # one at a time: its rows may make up for what another lacks
            dropped.append((int(rows[gone]), int(judged[gone])))
            centroids = np.delete(centroids, gone, axis=0)
        notices = _told(dropped, len(centroids), trainer.options.batch_size)
        if len(centroids) == 1:
            notices.append("One cluster is left: one model for all rows, without a router")
        gate, embedding = supernet.gates["embedding"], supernet.embedding
        assert embedding is not None
        stored = {"bias": gate.bias.numpy(), "centroids": np.asarray(centroids, np.float32)}
        if gate.kernel is not None:
            stored["kernel"] = gate.kernel.numpy()
        for field, kept in supernet.config.fields.items():
            if kept.dim:
                stored[f"table/{field}"] = embedding.field_table(field)
        value = {
            "rows": rows.tolist(),
            "notices": notices,
            "params": sum(int(array.size) for array in stored.values()),
        }
        write_json(path, value, stored | {"frequency": frequency, "probability": probability})
    value, arrays = read_json(path)
    found = (arrays["frequency"], arrays["probability"], value["params"])
    return Clusters(np.array(value["rows"]), *found, tuple(value["notices"]))


def _told(dropped: Sequence[tuple[int, int]], left: int, batch: int) -> list[str]:
    """A notice of the clusters that were dropped, given their training and validation rows in the
    order they went."""
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


def _members(
    batches: Iterable[Selected], centroids: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """By cluster: rows [C], share of open gates and mean p of each column [C, M], whether labels
    differ [C]."""
    count = len(centroids)
    rows, lowest, highest = (
        np.zeros(count, np.int64),
        np.full(count, np.inf),
        np.full(count, -np.inf),
    )
    opened, p = np.zeros(centroids.shape), np.zeros(centroids.shape)
    for flat, found, label in batches:
        own = nearest(np.where(found.open, flat, 0), centroids).numpy()
        member = np.eye(count)[:, own]
        rows += np.bincount(own, minlength=count)
        opened += member @ found.open
        p += member @ found.p
        np.minimum.at(lowest, own, label)
        np.maximum.at(highest, own, label)
    several = np.maximum(rows, 1)[:, None]
    return rows, opened / several, p / several, lowest < highest
