"""iHAS: Bernoulli gates that choose columns row by row, rows clustered by what passes, one model per cluster.

Yu, Qi, Yang, Jiang and Niu: iHAS: Instance-wise Hierarchical Architecture Search for Deep Learning Recommendation Models (CIKM 2023,
10.1145/3583780.3614925).
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from irazor_tf.data import Source
from irazor_tf.embedding import FieldEmbedding
from irazor_tf.gate import Gate
from irazor_tf.input_config import FieldConfig, InputConfig, RouterRef, SearchResult, digest
from irazor_tf.json_files import read_arrays, read_json, write_json
from irazor_tf.method import METHODS, SearchMethod, budget_error
from irazor_tf.ops import batch_uniform, seed_of
from irazor_tf.pictures import Bars, HeatMap, Histogram, Picture
from irazor_tf.recommender import Recommender
from irazor_tf.routing import Router
from irazor_tf.schema import Schema
from irazor_tf.steps import Alternating, Step
from irazor_tf.trainer import Trainer

_notices = logging.getLogger("irazor_tf")

MOST_CLUSTERS = 1_000  # each has a model
MOST_EVERY = 1_000  # they stand behind each other in one graph
MOST_BINS = 1_000  # each row has a histogram
HALF = 0.5  # where gates open in a row whose histogram has no local minimum


# Mathematics. B rows, M = sum of the fields' widths: the slots of [N, D] that are columns, field after field.


def slots_of(space: InputConfig) -> np.ndarray:
    """[M]: which slots of the padded and flattened [N * D] are columns."""
    return np.flatnonzero(space.slots).astype(np.int32)


def columns_of(x: tf.Tensor, slots: np.ndarray) -> tf.Tensor:
    """[B, N, D] -> [B, M]."""
    flat = tf.reshape(x, (-1, x.shape[1] * x.shape[2]))
    return flat if len(slots) == flat.shape[1] else tf.gather(flat, slots, axis=1)


def gate_logits(flat: tf.Tensor, kernel: tf.Tensor | None, bias: tf.Tensor) -> tf.Tensor:
    """e W + b, [B, M] (section 3.3.1); without a kernel b alone, the same for all rows (iHAS-4)."""
    return bias + (tf.matmul(flat, kernel) if kernel is not None else tf.zeros_like(flat))


def stochastic_mask(logits: tf.Tensor, u: tf.Tensor, v: tf.Tensor, temperature: float) -> tf.Tensor:
    """Straight-through Gumbel-softmax over (p, 1 - p), p = sigmoid(logits), of which the first entry is taken.

    Forwards 1 where log p + G(u) >= log(1 - p) + G(v), else 0 (equation 1); backwards the derivative of
    softmax((log p + G(u), log(1 - p) + G(v)) / temperature)_1 (equation 2, with the first power alone in the numerator);
    G(u) = -log(-log u).

    Args:
      logits: [B, M].
      u, v: uniform numbers in [0, 1), [B, M].
      temperature: tau.
    """
    # log p - log(1 - p) is the logit, and a softmax over two is the sigmoid of their difference.
    difference = logits + _gumbel(u) - _gumbel(v)
    soft = tf.sigmoid(difference / temperature)
    return tf.cast(difference >= 0, logits.dtype) + (soft - tf.stop_gradient(soft))  # adds an exact 0


def _gumbel(u: tf.Tensor) -> tf.Tensor:
    return -tf.math.log(-tf.math.log(tf.maximum(u, 2.0**-24)))  # a 0 stands for numbers below the resolution


def regularizer(p: tf.Tensor, penalty: float, polarization: float) -> tf.Tensor:
    """mean_i sum_j (penalty p_ij - polarization |p_ij - mean_j p_ij|) (equation 5; polarization 0: equation 4), p [B, M]."""
    apart = tf.abs(p - tf.reduce_mean(p, axis=1, keepdims=True))
    return tf.reduce_mean(tf.reduce_sum(penalty * p - polarization * apart, axis=1))


def first_valley(counts: tf.Tensor) -> tf.Tensor:
    """The first local minimum of each row's histogram from the left, [B] int32; -1 where there is none.

    That is a bin, or of a plateau the leftmost bin, lower than the bin before it and than the first different one after it. The
    outermost bins are none: nothing comes before the first, nothing rises after the last.

    Args:
      counts: [B, bins] int32.
    """
    bins = counts.shape[1]
    rises = [tf.zeros_like(counts[:, 0], tf.bool)]  # whether the next different count to the right is larger, from the last bin on
    for k in reversed(range(bins - 1)):
        here, there = counts[:, k], counts[:, k + 1]
        rises.append((there > here) | ((there == here) & rises[-1]))
    falls = tf.pad(counts[:, 1:] < counts[:, :-1], ((0, 0), (1, 0)))
    valleys = falls & tf.stack(rises[::-1], axis=1)
    return tf.where(tf.reduce_any(valleys, axis=1), tf.argmax(valleys, axis=1, output_type=tf.int32), -1)


class Selection(NamedTuple):
    """Deterministic gates of some rows.

    Args:
      open: [B, M] bool.
      valley: bin of the local minimum whose lower edge is the threshold, [B]; -1 where there is none.
      closed: [B] bool: no gate reached the threshold, and the largest p was taken instead.
      histogram: [B, bins] int32.
      p: [B, M] float64.
    """

    open: tf.Tensor
    valley: tf.Tensor
    closed: tf.Tensor
    histogram: tf.Tensor
    p: tf.Tensor


def select(flat: tf.Tensor, kernel: tf.Tensor | None, bias: tf.Tensor, bins: int) -> Selection:
    """Deterministic selection (sections 3.3.2 and 3.3.3): a gate is open from the row's threshold on.

    The threshold is the lower edge of the first local minimum of the histogram of the row's p over [0, 1]. Without a local minimum it
    is 0.5, and where no gate is open then, those with the largest p are.

    Args:
      flat: [B, M].
      kernel, bias: of the gate.
      bins: of the histogram.
    """
    # In double precision: a matrix product in single precision differs in the last bits from one compilation or batch size to another,
    # which would move rows over the edge of a bin, and so to another cluster.
    wide = [None if part is None else tf.cast(part, tf.float64) for part in (flat, kernel, bias)]
    p = tf.sigmoid(gate_logits(*wide))
    index = tf.minimum(tf.cast(p * bins, tf.int32), bins - 1)
    histogram = tf.reshape(tf.math.bincount(index, minlength=bins, maxlength=bins, axis=-1), (-1, bins))
    valley = first_valley(histogram)
    chosen = tf.where(valley[:, tf.newaxis] >= 0, index >= valley[:, tf.newaxis], p >= HALF)
    closed = ~tf.reduce_any(chosen, axis=1)
    chosen |= closed[:, tf.newaxis] & (p == tf.reduce_max(p, axis=1, keepdims=True))
    return Selection(chosen, valley, closed, histogram, p)


def nearest(masked: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """The closest centroid of each row by Euclidean distance, of equal ones the first: [B, M], [C, M] -> [B] int32."""
    masked, centroids = tf.cast(masked, tf.float64), tf.cast(centroids, tf.float64)  # see `select`
    distances = tf.reduce_sum(tf.square(centroids), axis=1) - 2.0 * tf.matmul(masked, centroids, transpose_b=True)
    return tf.argmin(distances, axis=1, output_type=tf.int32)


def fit_centroids(batches: Callable[[], Iterable[np.ndarray]], clusters: int, *, seed: int, tolerance: float, passes: int) -> np.ndarray:
    """Mini-batch k-means: centroids [C, M].

    Args:
      batches: gives the rows anew for every pass, [b, M] at a time, the first of at least `clusters` rows.
      clusters: C.
      seed: of the first centroids, which are those of k-means on the first batch.
      tolerance: a pass that moves the centroids by no more, relative to their length, is the last.
      passes: at most.
    """
    model = None
    for _ in range(passes):
        before = None if model is None else model.cluster_centers_.copy()
        for rows in batches():
            with threadpool_limits(1):  # threads add up in the order they end, which changes the last bits
                if model is None:
                    start = KMeans(clusters, n_init=3, max_iter=100, random_state=seed).fit(rows).cluster_centers_
                    model = MiniBatchKMeans(clusters, init=start, n_init=1, random_state=seed, compute_labels=False)
                model.partial_fit(rows)
        assert model is not None
        after = model.cluster_centers_
        if before is not None and np.linalg.norm(after - before) <= tolerance * np.linalg.norm(before):
            break
    return after


def majority(frequency: np.ndarray, share: float) -> np.ndarray:
    """Columns whose gates are open in at least `share` of the rows; where there are none, the one that is open most often. [M] bool."""
    kept = frequency >= share
    if not kept.any():
        kept[np.argmax(frequency)] = True
    return kept


def most_frequent(frequency: np.ndarray, probability: np.ndarray, costs: np.ndarray, budget: int) -> np.ndarray:
    """Columns by descending frequency, of equal ones by descending probability, each as long as it fits. [M] bool."""
    kept = np.zeros(len(costs), bool)
    for j in np.lexsort((-probability, -frequency)):
        if costs[j] <= budget:
            kept[j] = True
            budget -= int(costs[j])
    return kept


# Gate -----------------------------------------------------------------------------------------------------------------------------


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
            share = f"{self.undecided:.1%} of the training rows have no local minimum in the histogram of their gates' probabilities"
            found.append(f"{share}: their gates are open from p = {HALF} on")
        if self.closed:
            found.append(f"{self.closed:.1%} of the training rows have no gate at the threshold: that of largest p is open")
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


class BernoulliGate(Gate):
    """out_ij = x_ij m_ij, m_ij a Bernoulli variable of probability p_i = sigmoid(e_i W + b), e_i the row's embeddings side by side.

    While training m is drawn (`stochastic_mask`), otherwise it is `select`. The gradient of the loss runs through p into the embeddings,
    too: in equation 3 the mask is a function of them. The regularizer enters the gradient of W and b alone (Algorithm 1, lines 5 and 7).

    Args:
      space: the config whose columns are gated; what pads a narrow field has no gate.
      params: temperature, bins, weights of the regularizer, and whether W is there.
      seed: of initial values and noise.
    """

    def __init__(self, space: InputConfig, params: IHAS.Params, *, seed: int):
        super().__init__(name="bernoulli")
        self.shape = (space.num_fields, space.max_dim)
        self.slots = slots_of(space)
        self.census: Census | None = None  # set where training ends
        self.clusters: Clusters | None = None
        # For every slot of [N * D] its gate; the last index is a column of zeros.
        self._places = np.full(self.shape[0] * self.shape[1], len(self.slots), np.int32)
        self._places[self.slots] = np.arange(len(self.slots))
        self._params = params
        self._noise_seed = seed

    def build(self, input_shape: Any) -> None:
        columns = len(self.slots)
        initializer = keras.initializers.GlorotUniform(seed=seed_of(self._noise_seed, "start"))
        instance_wise = self._params.instance_wise
        self.kernel = self.add_architecture("kernel", (columns, columns), initializer) if instance_wise else None
        self.bias = self.add_architecture("bias", (columns,), "zeros" if instance_wise else initializer)
        # Means of the last training batch: of p, of |p - its row's mean|, of |2 p - 1|.
        self.moving = self.add_weight("moving_means", (3,), initializer="zeros", trainable=False, aggregation=tf.VariableAggregation.MEAN)
        super().build(input_shape)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        flat = columns_of(x, self.slots)
        if training:
            assert self.clock is not None
            logits = gate_logits(flat, self.kernel, self.bias)
            shape = tf.shape(flat)
            u, v = (batch_uniform(shape, seed_of(self._noise_seed, outcome), self.clock) for outcome in ("open", "closed"))
            mask = stochastic_mask(logits, u, v, self._params.temperature)
            p = tf.stop_gradient(tf.sigmoid(logits))
            apart = tf.abs(p - tf.reduce_mean(p, axis=1, keepdims=True))
            self.moving.assign(tf.stack([tf.reduce_mean(part) for part in (p, apart, tf.abs(2.0 * p - 1.0))]))
        else:
            mask = tf.cast(self.select(flat).open, x.dtype)
        if len(self.slots) < len(self._places):
            mask = tf.gather(tf.pad(mask, ((0, 0), (0, 1))), self._places, axis=1)
        return x * tf.reshape(mask, (-1, *self.shape))

    def select(self, flat: tf.Tensor) -> Selection:
        """Deterministic gates of rows [B, M]."""
        return select(flat, self.kernel, self.bias, self._params.bins)

    def penalty(self, embedding: keras.layers.Layer, x: tf.Tensor, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        p = tf.sigmoid(gate_logits(columns_of(x, self.slots), self.kernel, self.bias))
        value = regularizer(p, self._params.penalty, self._params.polarization)
        return {"architecture": self._params.regularizer_weight * value}

    def traces(self) -> dict[str, tf.Tensor]:
        """Of the last training batch: mean p, how far p is from 1/2 (0 to 1), the parts of the regularizer; and tau."""
        opened, apart, decided = tf.unstack(tf.convert_to_tensor(self.moving))
        scale = self._params.regularizer_weight * len(self.slots)
        return {
            "gate_open": opened,
            "gate_decided": decided,
            "sparsity_penalty": scale * self._params.penalty * opened,
            "polarization_penalty": -scale * self._params.polarization * apart,
            "temperature": tf.constant(self._params.temperature),
        }


# Router ---------------------------------------------------------------------------------------------------------------------------


class ClusterRouter(Router):
    """The cluster whose centroid is nearest to the row's masked embeddings (section 3.5.2), by the searched tables and gates.

    Args:
      schema: the data's fields.
      space: the config of the searched tables, without masks.
      bins: of a row's histogram.
      arrays: "table/<field>" [V, dim], "bias" [M], "centroids" [C, M], and "kernel" [M, M] where the gates are instance-wise.
    """

    def __init__(self, schema: Schema, space: InputConfig, bins: int, arrays: Mapping[str, np.ndarray]):
        super().__init__(name="router")
        self._slots = slots_of(space)
        self._bins = bins
        self.embedding = FieldEmbedding(schema, space, stddev=0.0, seed=0)
        self.embedding(tf.zeros((1, len(schema.fields)), tf.int32))
        for table, (_, names) in zip(self.embedding.tables, self.embedding.widths, strict=True):
            table.assign(np.concatenate([arrays[f"table/{name}"] for name in names]))
        self.constants = {}
        for name in ("kernel", "bias", "centroids"):
            if name in arrays:
                self.constants[name] = self.add_weight(name, arrays[name].shape, initializer="zeros")
                self.constants[name].assign(arrays[name])
        self.trainable = False

    @property
    def fields(self) -> tuple[str, ...]:
        return self.embedding.fields

    def select(self, ids: tf.Tensor) -> tuple[tf.Tensor, Selection]:
        """Columns [B, M] of the rows, field after field, and their deterministic gates."""
        flat = columns_of(self.embedding.stack(self.embedding(ids)), self._slots)
        return flat, select(flat, self.constants.get("kernel"), self.constants["bias"], self._bins)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        flat, chosen = self.select(ids)
        return nearest(tf.where(chosen.open, flat, 0.0), self.constants["centroids"])


# Method ---------------------------------------------------------------------------------------------------------------------------


_DECAYED = "adam(learning_rate=0.001, weight_decay=1e-06, epsilon=1e-08)"


@METHODS.register("ihas")
class IHAS(SearchMethod):
    """iHAS.

    Search (Algorithm 1, lines 1-8), mini-batch k-means on the masked embeddings of the training rows (9-13), and per cluster the columns
    that are open in most of its rows, for a model of its own on its own part of training and validation rows (14-21). A row finds its
    model by the searched tables and gates, which are at least as large as the space: the whole of it obeys no budget. One given is what the
    clusters' models may have together, in equal parts.

    `retrain=False` (the supernet itself, its gates acting), `clusters=1` (one model by all rows), `polarization=0` and
    `instance_wise=False` are the paper's iHAS-1 to iHAS-4. `rows="all"` and `start="searched"` are not the paper's: there every model
    starts anew and sees its cluster's rows alone. The clusters' models may be of another base model than the searched one,
    which then routes to them by its frozen gates (section 4.6).
    """

    @dataclasses.dataclass(frozen=True)
    class Params(SearchMethod.Params):
        """Settings.

        Args:
          epochs, patience: of the search, after which it ends with its best epoch on the validation split, the gates deterministic there.
          pretrain_epochs: of the base model before it, all gates open.
          every: training batches per validation batch, which alone moves the gates; no more than an epoch has.
          gate_optimizer: of the gates.
          weights_optimizer: of everything else in the search, where that differs from `optimizer`; None: that one.
          temperature: tau.
          penalty: lambda of equation 5. Like bins and shares below it is not given in the paper.
          polarization: weight of equation 5's second part, 1 there.
          regularizer_weight: of the whole of equation 5, a sum over columns and a mean over rows, against the cross-entropy; 1 in the
            paper. On two planted logs of 50,000 to 60,000 rows (gates moved by every batch) the gates of fields that matter were open more
            often than those of noise at .001 to .005; at .1 and at 1 the second part decides alone, and what opens is a matter of where
            the gates started.
          bins: of the histogram over [0, 1] of a row's probabilities.
          instance_wise: whether probabilities depend on the row.
          clusters: of rows, each with a model.
          majority: share of a cluster's rows in which a column has to be open to be kept, in (0, 1].
          sweep: other values of it worth a point on the curve.
          tolerance, passes: k-means ends when a pass over the training rows moves the centroids by no more, or after so many.
          retrain: whether models are trained anew; if not, the result is the supernet.
          rows: what a cluster's model learns from: "cluster", the cluster's rows (the paper), or "all", every training row. Either way
            it is judged by the cluster's validation rows, which are those that it will score.
          start: what the models start from: "fresh" numbers (the paper), or the "searched" ones of the columns kept.
        """

        epochs: int = 10
        patience: int = 2
        pretrain_epochs: int = 5
        every: int = 100
        gate_optimizer: str = "adam(learning_rate=0.001)"
        weights_optimizer: str | None = None
        temperature: float = 0.1
        penalty: float = 0.5
        polarization: float = 1.0
        regularizer_weight: float = 1.0
        bins: int = 20
        instance_wise: bool = True
        clusters: int = 2
        majority: float = 0.5
        sweep: tuple[float, ...] = (0.25, 0.75)
        tolerance: float = 1e-3
        passes: int = 10
        retrain: bool = True
        rows: str = "cluster"
        start: str = "fresh"

        def __post_init__(self) -> None:
            super().__post_init__()
            for key, most in (("clusters", MOST_CLUSTERS), ("every", MOST_EVERY), ("bins", MOST_BINS)):
                if getattr(self, key) > most:
                    raise ValueError(f"`{key}` of ihas should be at most {most:,}. Received: {getattr(self, key)}")
            for key in ("epochs", "pretrain_epochs", "every", "clusters", "passes"):
                if getattr(self, key) < 1:
                    raise ValueError(f"`{key}` of ihas should be at least 1. Received: {getattr(self, key)}")
            for key in ("patience", "penalty", "polarization", "regularizer_weight", "tolerance"):
                if getattr(self, key) < 0:
                    raise ValueError(f"`{key}` of ihas should be at least 0. Received: {getattr(self, key)}")
            for share in (self.majority, *self.sweep):
                if not 0 < share <= 1:
                    raise ValueError(f"`majority` of ihas should lie in (0, 1]. Received: {share}")
            if self.temperature <= 0:
                raise ValueError(f"`temperature` of ihas should be above 0. Received: {self.temperature}")
            if self.bins < 3:
                raise ValueError(f"`bins` of ihas should be at least 3, or no bin lies between two. Received: {self.bins}")
            for key, known in (("rows", ("cluster", "all")), ("start", ("fresh", "searched"))):
                if getattr(self, key) not in known:
                    raise ValueError(f"`{key}` of ihas should be one of {', '.join(known)}. Received: {getattr(self, key)!r}")
            if not self.retrain and (self.rows, self.start) != ("cluster", "fresh"):
                raise ValueError(
                    "`rows` and `start` of ihas say how models are trained anew, which `retrain=False` leaves out. "
                    f"Received: rows={self.rows!r}, start={self.start!r}"
                )

    presets = {
        # Section 4.4, the decay being that of its one optimizer; width, batch and tower are a log's (launch/presets/paper_ihas_*.flags).
        "paper": {"optimizer": _DECAYED, "gate_optimizer": _DECAYED, "every": 100, "temperature": 0.1, "pretrain_epochs": 5, "clusters": 2},
        # For an epoch of fewer than thousands of batches. The regulariser's weight is not a matter of size: at 1 polarisation alone
        # decides, and gates stay on the side they started on.
        "small_log": {"every": 1, "gate_optimizer": "adam(learning_rate=0.01)", "pretrain_epochs": 1, "regularizer_weight": 0.003},
    }
    derive_only = frozenset({"clusters", "majority", "sweep", "tolerance", "passes", "retrain", "rows", "start"})
    # As published the gates move once in a hundred batches: after an epoch or two of a small log they open as they did at the start.
    ranks_fields = False
    obeys_budget = False  # the router is at least as large as the space

    def __init__(self, params: Any = None):
        super().__init__(params)
        self.init = {"fresh": "fresh", "searched": "continue"}[self.params.start] if self.params.retrain else "keep"
        self.one_config = not self.params.retrain or self.params.clusters == 1
        self.narrows = self.params.retrain

    def check_space(self, trainer: Trainer, space: InputConfig) -> None:
        if self.params.clusters > trainer.train.rows:
            rows, given = trainer.train.rows, self.params.clusters
            raise ValueError(f"`clusters` of ihas should be at most the {rows} training rows. Received: {given}")

    def gates(self, schema: Schema, space: InputConfig, seed: int = 0) -> dict[str, Gate]:
        return {"embedding": BernoulliGate(space, self.params, seed=seed)}

    def step(self) -> Step:
        return Alternating(every=self.params.every)

    def optimizers(self) -> dict[str, str]:
        weights = self.params.weights_optimizer
        chosen = {"architecture": self.params.gate_optimizer, "bias": weights, "network": weights}
        return {group: spec for group, spec in chosen.items() if spec is not None}

    def train(self, trainer: Trainer, space: InputConfig) -> Recommender:
        params = self.params
        step = self.step()
        batches = trainer.train.batches_per_epoch(trainer.options.batch_size)
        if params.every > batches:
            _notices.warning("%s: an epoch has %d training batches, and the gates move once in each", self.spec(), batches)
            step = Alternating(every=batches)
        pretrained = trainer.pretrain(space, epochs=params.pretrain_epochs, patience=0)
        with trainer.scope():
            gates = self.gates(trainer.schema, space, seed_of(trainer.seed, "gates"))
        supernet = trainer.build(space, gates)
        supernet.inherit(pretrained)
        trainer.fit(supernet, "supernet", step=step, epochs=params.epochs, patience=params.patience, optimizers=self.optimizers())
        supernet.gates["embedding"].census = _census(trainer, supernet)
        return supernet

    def derive(self, supernet: Recommender, space: InputConfig, budget: int | None = None) -> InputConfig:
        """One config from all training rows: the columns open in most of them, or with a budget the most often open ones.

        Without retraining the space itself, since the gates go on choosing in it.
        """
        if not self.params.retrain:
            size = space.num_params(supernet.schema)
            if budget is not None and budget < size:
                raise budget_error(budget, size)
            return space
        census = supernet.gates["embedding"].census
        if budget is None and census.frequency.max() < self.params.majority:
            _notices.warning("%s: no column is open in the majority of the rows: the one open most often is kept", self.spec())
        return self._config(supernet.schema, space, census.frequency, census.probability, budget)

    def notices(self, supernet: Recommender) -> list[str]:
        return supernet.gates["embedding"].census.notices()

    def _config(
        self, schema: Schema, space: InputConfig, frequency: np.ndarray, probability: np.ndarray, budget: int | None, models: int = 1
    ) -> InputConfig:
        """Of one of `models` that share the budget."""
        if budget is None:
            return space.with_columns(majority(frequency, self.params.majority))
        costs = space.column_params(schema)
        kept = most_frequent(frequency, probability, costs, budget // models)
        if not kept.any():
            raise budget_error(budget // models, int(costs.min()))
        return space.with_columns(kept)

    def search(
        self, trainer: Trainer, space: InputConfig, budget: int | None = None, supernet: Recommender | None = None
    ) -> tuple[SearchResult, Recommender]:
        params = self.params
        self.check_space(trainer, space)
        models = params.clusters if params.retrain else 1
        least = models * int(space.column_params(trainer.schema).min()) if params.retrain else space.num_params(trainer.schema)
        if budget is not None and budget < least:  # said before the search, which takes a while
            owner = "the smallest config" if params.retrain and models == 1 else "the space"
            raise budget_error(budget, least, owner=f"{models} clusters with a column each" if models > 1 else owner)
        supernet = self.train(trainer, space) if supernet is None else supernet
        gate = supernet.gates["embedding"]
        notices = self.notices(supernet)
        gate.clusters = None
        if params.retrain and params.clusters > 1:
            settings = {"space": _unmasked(space).to_json(), "bins": params.bins}
            key = digest([params.clusters, params.tolerance, params.passes])
            gate.clusters = found = _clusters(trainer, supernet, params, f"router-{key}.json")
            notices += found.notices
            if len(found.rows) > 1:
                parts, models = zip(found.frequency, found.probability, strict=True), len(found.rows)
                configs = tuple(self._config(trainer.schema, space, *own, budget, models) for own in parts)
                lacking = [k for k, own in enumerate(found.frequency) if budget is None and own.max() < params.majority]
                notices += [f"No column is open in the majority of cluster {k}'s rows: it keeps the one open most often" for k in lacking]
                router = RouterRef(self.spec().name, settings, f"router-{key}.json.npz", found.params)
                everywhere = params.rows == "all"
                return SearchResult(configs, self.spec(), self.init, router, all_rows=everywhere, notices=tuple(notices)), supernet
        config = self.derive(supernet, space, budget)
        return SearchResult((config,), self.spec(), self.init, keep_gates=not params.retrain, notices=tuple(notices)), supernet

    def router(self, schema: Schema, ref: RouterRef, directory: str) -> Router:
        assert ref.weights is not None
        arrays = read_arrays(os.path.join(directory, ref.weights))
        return ClusterRouter(schema, InputConfig.from_json(ref.settings["space"]), ref.settings["bins"], arrays)

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return self.each("majority", self.params.sweep) if self.params.retrain else []

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        """Mean share of the training rows in which a field's gates are open."""
        frequency, space = self.architecture(supernet)["frequency"], supernet.config
        return {name: float(own[: space.fields[name].dim].mean()) for name, own in zip(space.kept, frequency, strict=True)}

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        gate = supernet.gates["embedding"]
        return {"frequency": _padded(gate, gate.census.frequency)}

    def pictures(self, supernet: Recommender, clusters: Sequence[InputConfig]) -> list[Picture]:
        gate, names = supernet.gates["embedding"], supernet.config.kept
        census, columns = gate.census, tuple(str(j) for j in range(gate.shape[1]))
        edges = np.linspace(0, 1, len(census.histogram) + 1)
        found: list[Picture] = [
            Histogram("Gate probabilities of one training row", edges, census.sample, "gates", {"threshold": census.sample_threshold}),
            Histogram("The same, mean over the rows", edges, census.histogram, "gates", {"mean threshold": census.threshold}),
            HeatMap("How often gates are open", _padded(gate, census.frequency), names, columns, "share of the training rows"),
        ]
        if gate.clusters is not None:
            numbered = tuple(f"cluster {k}" for k in range(len(gate.clusters.rows)))
            dims = np.array([[config.dims[name] for config in clusters] for name in names], np.float64)
            found.append(Bars("Training rows per cluster", numbered, gate.clusters.rows, "rows"))
            if len(clusters) > 1:
                found.append(HeatMap("Dimensions per cluster", dims, names, numbered, "dimensions"))
        return found


# Passes over the training rows ----------------------------------------------------------------------------------------------------


Selected = tuple[np.ndarray, Selection, np.ndarray]


def _selector(supernet: Recommender, size: int) -> Callable[[Source], Iterator[Selected]]:
    """A function that goes through a source, `size` rows at a time: embeddings [b, M], deterministic gates, labels [b]."""
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
            parts = (found.open, found.p, found.histogram, thresholds, found.valley < 0, found.closed)
            sums = [total + part.sum(axis=0, dtype=np.float64) for total, part in zip(sums, parts, strict=True)]
            first = first or (found.histogram[0], float(thresholds[0]))
        assert first is not None
        frequency, probability, histogram, *shares = [total / trainer.train.rows for total in sums]
        scalars = dict(zip(("threshold", "undecided", "closed"), map(float, shares), strict=True))
        arrays = {"frequency": frequency, "probability": probability, "histogram": histogram, "sample": first[0]}
        write_json(path, scalars | {"sample_threshold": first[1]}, arrays)
    scalars, arrays = read_json(path)
    return Census(**(arrays | scalars))


def _clusters(trainer: Trainer, supernet: Recommender, params: IHAS.Params, name: str) -> Clusters:
    """Found once, written with what the router needs to `name` in the search's folder, and then read from there."""
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
            gone = int(np.argmin(np.where(fit, np.inf, rows)))  # one at a time: its rows may make up for what another lacks
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
        value = {"rows": rows.tolist(), "notices": notices, "params": sum(int(array.size) for array in stored.values())}
        write_json(path, value, stored | {"frequency": frequency, "probability": probability})
    value, arrays = read_json(path)
    found = (arrays["frequency"], arrays["probability"], value["params"])
    return Clusters(np.array(value["rows"]), *found, tuple(value["notices"]))


def _told(dropped: Sequence[tuple[int, int]], left: int, batch: int) -> list[str]:
    """A notice of the clusters that were dropped, given their training and validation rows in the order they went."""
    if not dropped:
        return []
    needs = f"too small to train a model and judge it (a batch is {batch} rows, and validation needs both labels)"
    if len(dropped) == 1:
        train, valid = dropped[0]
        return [f"A cluster of {train} training and {valid} validation rows is {needs}: its rows go to the nearest of the other {left}"]
    spans = [f"{min(counts)} to {max(counts)}" for counts in zip(*dropped, strict=True)]
    clusters = f"{len(dropped)} clusters of {spans[0]} training and {spans[1]} validation rows"
    return [f"{clusters} are {needs}: one after another their rows go to the nearest of those left, {left} in the end"]


def _members(batches: Iterable[Selected], centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """By cluster: rows [C], share of open gates and mean p of each column [C, M], whether labels differ [C]."""
    count = len(centroids)
    rows, lowest, highest = np.zeros(count, np.int64), np.full(count, np.inf), np.full(count, -np.inf)
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


def _padded(gate: BernoulliGate, columns: np.ndarray) -> np.ndarray:
    """[M] -> [N, D], 0 in padding."""
    found = np.zeros(gate.shape)
    found.ravel()[gate.slots] = columns
    return found


def _unmasked(space: InputConfig) -> InputConfig:
    return InputConfig({name: FieldConfig(field.dim, field.columns) for name, field in space.fields.items()})
