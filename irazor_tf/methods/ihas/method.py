"""iHAS: Bernoulli gates that choose columns row by row, rows clustered by what passes, one model
per cluster.

Yu, Qi, Yang, Jiang and Niu: iHAS: Instance-wise Hierarchical Architecture Search for Deep Learning
Recommendation Models (CIKM 2023, 10.1145/3583780.3614925)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from irazor_tf.config.files import read_arrays
from irazor_tf.config.input_config import FieldConfig, InputConfig, digest
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import RouterRef, SearchResult
from irazor_tf.config.seeds import seed_of
from irazor_tf.methods.ihas.clustering import _census, _clusters
from irazor_tf.methods.ihas.equations import majority, most_frequent
from irazor_tf.methods.ihas.gate import BernoulliGate
from irazor_tf.methods.ihas.router import ClusterRouter
from irazor_tf.methods.ihas.settings import Settings
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import Router
from irazor_tf.search.method import METHODS, SearchMethod, budget_error
from irazor_tf.search.pictures import Bars, HeatMap, Histogram, Picture
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.steps import Alternating, Step
from irazor_tf.training.trainer import Trainer

_notices = logging.getLogger("irazor_tf")

# Mathematics. B rows, M = sum of the fields' widths: the slots of [N, D] that are columns, field
# after field.


# Gate ---------------------------------------------------------------------------------------------


# Router -------------------------------------------------------------------------------------------


# Method -------------------------------------------------------------------------------------------


_DECAYED = "adam(learning_rate=0.001, weight_decay=1e-06, epsilon=1e-08)"


@METHODS.register("ihas")
class IHAS(SearchMethod):
    """iHAS.

    Search (Algorithm 1, lines 1-8), mini-batch k-means on the masked embeddings of the training
    rows (9-13), and per cluster the columns that are open in most of its rows, for a model of its
    own on its own part of training and validation rows (14-21). A row finds its model by the
    searched tables and gates, which are at least as large as the space: the whole of it obeys no
    budget. One given is what the clusters' models may have together, in equal parts.

    `retrain=False` (the supernet itself, its gates acting), `clusters=1` (one model by all rows),
    `polarization=0` and `instance_wise=False` are the paper's iHAS-1 to iHAS-4. `rows="all"` and
    `start="searched"` are not the paper's: there every model starts anew and sees its cluster's
    rows alone. The clusters' models may be of another base model than the searched one, which then
    routes to them by its frozen gates (section 4.6)."""

    Params = Settings

    presets = {
        # Section 4.4, the decay being that of its one optimizer; width, batch and tower are a log's
        # (launch/presets/paper_ihas_*.flags).
        "paper": {
            "optimizer": _DECAYED,
            "gate_optimizer": _DECAYED,
            "every": 100,
            "temperature": 0.1,
            "pretrain_epochs": 5,
            "clusters": 2,
        },
        # For an epoch of fewer than thousands of batches. The regulariser's weight is not a matter
        # of size: at 1 polarisation alone decides, and gates stay on the side they started on.
        "small_log": {
            "every": 1,
            "gate_optimizer": "adam(learning_rate=0.01)",
            "pretrain_epochs": 1,
            "regularizer_weight": 0.003,
        },
    }
    derive_only = frozenset(
        {"clusters", "majority", "sweep", "tolerance", "passes", "retrain", "rows", "start"}
    )
    # As published the gates move once in a hundred batches: after an epoch or two of a small log
    # they open as they did at the start.
    ranks_fields = False
    obeys_budget = False  # the router is at least as large as the space

    def __init__(self, params: Any = None):
        super().__init__(params)
        self.init = (
            {"fresh": "fresh", "searched": "continue"}[self.params.start]
            if self.params.retrain
            else "keep"
        )
        self.one_config = not self.params.retrain or self.params.clusters == 1
        self.narrows = self.params.retrain

    def check_space(self, trainer: Trainer, space: InputConfig) -> None:
        if self.params.clusters > trainer.train.rows:
            rows, given = trainer.train.rows, self.params.clusters
            raise ValueError(
                f"`clusters` of ihas should be at most the {rows} training rows. Received: {given}"
            )

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
            _notices.warning(
                "%s: an epoch has %d training batches, and the gates move once in each",
                self.spec(),
                batches,
            )
            step = Alternating(every=batches)
        pretrained = trainer.pretrain(space, epochs=params.pretrain_epochs, patience=0)
        with trainer.scope():
            gates = self.gates(trainer.schema, space, seed_of(trainer.seed, "gates"))
        supernet = trainer.build(space, gates)
        supernet.inherit(pretrained)
        trainer.fit(
            supernet,
            "supernet",
            FitPlan(
                step=step,
                epochs=params.epochs,
                patience=params.patience,
                optimizers=self.optimizers(),
            ),
        )
        supernet.gates["embedding"].census = _census(trainer, supernet)
        return supernet

    def derive(
        self, supernet: Recommender, space: InputConfig, budget: int | None = None
    ) -> InputConfig:
        """One config from all training rows: the columns open in most of them, or with a budget the
        most often open ones.

        Without retraining the space itself, since the gates go on choosing in it.
        """
        if not self.params.retrain:
            size = space.num_params(supernet.schema)
            if budget is not None and budget < size:
                raise budget_error(budget, size)
            return space
        census = supernet.gates["embedding"].census
        if budget is None and census.frequency.max() < self.params.majority:
            _notices.warning(
                "%s: no column is open in the majority of the rows: the one open most often is "
                "kept",
                self.spec(),
            )
        return self._config(supernet.schema, space, census.frequency, census.probability, budget)

    def notices(self, supernet: Recommender) -> list[str]:
        return supernet.gates["embedding"].census.notices()

    def _config(
        self,
        schema: Schema,
        space: InputConfig,
        frequency: np.ndarray,
        probability: np.ndarray,
        budget: int | None,
        models: int = 1,
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
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        supernet: Recommender | None = None,
    ) -> tuple[SearchResult, Recommender]:
        params = self.params
        self.check_space(trainer, space)
        models = params.clusters if params.retrain else 1
        least = (
            models * int(space.column_params(trainer.schema).min())
            if params.retrain
            else space.num_params(trainer.schema)
        )
        if budget is not None and budget < least:  # said before the search, which takes a while
            owner = "the smallest config" if params.retrain and models == 1 else "the space"
            raise budget_error(
                budget,
                least,
                owner=f"{models} clusters with a column each" if models > 1 else owner,
            )
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
                parts, models = (
                    zip(found.frequency, found.probability, strict=True),
                    len(found.rows),
                )
                configs = tuple(
                    self._config(trainer.schema, space, *own, budget, models) for own in parts
                )
                lacking = [
                    k
                    for k, own in enumerate(found.frequency)
                    if budget is None and own.max() < params.majority
                ]
                notices += [
                    f"No column is open in the majority of cluster {k}'s rows: it keeps the one "
                    "open most often"
                    for k in lacking
                ]
                router = RouterRef(
                    self.spec().name, settings, f"router-{key}.json.npz", found.params
                )
                everywhere = params.rows == "all"
                return SearchResult(
                    configs,
                    self.spec(),
                    self.init,
                    router,
                    all_rows=everywhere,
                    notices=tuple(notices),
                ), supernet
        config = self.derive(supernet, space, budget)
        return SearchResult(
            (config,), self.spec(), self.init, keep_gates=not params.retrain, notices=tuple(notices)
        ), supernet

    def router(self, schema: Schema, ref: RouterRef, directory: str) -> Router:
        assert ref.weights is not None
        arrays = read_arrays(os.path.join(directory, ref.weights))
        return ClusterRouter(
            schema, InputConfig.from_json(ref.settings["space"]), ref.settings["bins"], arrays
        )

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return self.each("majority", self.params.sweep) if self.params.retrain else []

    def field_scores(self, supernet: Recommender) -> dict[str, float]:
        """Mean share of the training rows in which a field's gates are open."""
        frequency, space = self.architecture(supernet)["frequency"], supernet.config
        return {
            name: float(own[: space.fields[name].dim].mean())
            for name, own in zip(space.kept, frequency, strict=True)
        }

    def architecture(self, supernet: Recommender) -> dict[str, np.ndarray]:
        gate = supernet.gates["embedding"]
        return {"frequency": _padded(gate, gate.census.frequency)}

    def pictures(self, supernet: Recommender, clusters: Sequence[InputConfig]) -> list[Picture]:
        gate, names = supernet.gates["embedding"], supernet.config.kept
        census, columns = gate.census, tuple(str(j) for j in range(gate.shape[1]))
        edges = np.linspace(0, 1, len(census.histogram) + 1)
        found: list[Picture] = [
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
                _padded(gate, census.frequency),
                names,
                columns,
                "share of the training rows",
            ),
        ]
        if gate.clusters is not None:
            numbered = tuple(f"cluster {k}" for k in range(len(gate.clusters.rows)))
            dims = np.array(
                [[config.dims[name] for config in clusters] for name in names], np.float64
            )
            found.append(Bars("Training rows per cluster", numbered, gate.clusters.rows, "rows"))
            if len(clusters) > 1:
                found.append(HeatMap("Dimensions per cluster", dims, names, numbered, "dimensions"))
        return found


# Passes over the training rows --------------------------------------------------------------------


def _padded(gate: BernoulliGate, columns: np.ndarray) -> np.ndarray:
    """[M] -> [N, D], 0 in padding."""
    found = np.zeros(gate.shape)
    found.ravel()[gate.slots] = columns
    return found


def _unmasked(space: InputConfig) -> InputConfig:
    return InputConfig(
        {name: FieldConfig(field.dim, field.columns) for name, field in space.fields.items()}
    )
