"""iHAS: Bernoulli gates choose embedding columns row by row, rows are clustered by the embeddings
that pass, and each cluster gets a model of its own.

Yu, Qi, Yang, Jiang and Niu: iHAS: Instance-wise Hierarchical Architecture Search for Deep Learning
Recommendation Models (CIKM 2023, 10.1145/3583780.3614925).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from irazor_tf.config.field_config import FieldConfig
from irazor_tf.config.files import read_arrays
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import RouterRef, SearchResult
from irazor_tf.config.seeds import seed_of
from irazor_tf.methods.ihas.census import take_census
from irazor_tf.methods.ihas.clustering import Clusters, Counted, find_clusters
from irazor_tf.methods.ihas.equations import majority, most_frequent
from irazor_tf.methods.ihas.gate import BernoulliGate
from irazor_tf.methods.ihas.pictures import pictures_of
from irazor_tf.methods.ihas.router import ClusterRouter
from irazor_tf.methods.ihas.settings import Settings
from irazor_tf.model.gate import Gate
from irazor_tf.model.routing import Router
from irazor_tf.search.budget import budget_error
from irazor_tf.search.method import (
    METHODS,
    Explanation,
    RoutingMethod,
    Search,
    SearchMethod,
    Traits,
    build_supernet,
    group_optimizers,
    variants,
)
from irazor_tf.search.notices import Notice, Notices
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.steps import Alternating, Step

_DECAYED = "adam(learning_rate=0.001, weight_decay=1e-06, epsilon=1e-08)"


@METHODS.register("ihas")
class IHAS(RoutingMethod):
    """iHAS: gates choose columns row by row; each cluster of rows gets a model with the columns
    that are open in most of its rows.

    The steps are the search (Algorithm 1, lines 1-8), mini-batch k-means on the masked embeddings
    of the training rows (9-13), and per cluster the choice of columns and the training of a model
    on the cluster's part of training and validation rows (14-21). The router, which finds a row's
    cluster, needs the searched tables and gates. These are at least as large as the space, so that
    the whole obeys no budget; a given budget is divided equally among the clusters' models.

    `retrain=False` (the supernet itself, its gates acting), `clusters=1` (one model by all rows),
    `polarization=0` and `instance_wise=False` are the paper's iHAS-1 to iHAS-4. `rows="all"` and
    `start="searched"` are not in the paper, where every model starts anew and sees its cluster's
    rows alone. The clusters' models may have another base model than the search; the router is then
    still the searched tables with their frozen gates (section 4.6).
    """

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
        # For an epoch of fewer than thousands of batches. The regularizer's weight is not a matter
        # of size: at 1 polarization alone decides, and gates stay on the side they started on.
        "small_log": {
            "every": 1,
            "gate_optimizer": "adam(learning_rate=0.01)",
            "pretrain_epochs": 1,
            "regularizer_weight": 0.003,
        },
    }
    traits = Traits(
        budget="exceeded",  # the router is at least as large as the space
        # As published the gates move once in a hundred batches: after an epoch or two of a small
        # log they open as they did at the start.
        ranks_fields=False,
        result="clusters",
        derive_only=frozenset(
            {"clusters", "majority", "sweep", "tolerance", "passes", "retrain", "rows", "start"}
        ),
    )

    def __init__(self, params: Any = None):
        super().__init__(params)
        if not self.params.retrain:
            init, result = "keep", "gates"
        else:
            init = {"fresh": "fresh", "searched": "continue"}[self.params.start]
            result = "config" if self.params.clusters == 1 else "clusters"
        self.traits = dataclasses.replace(self.traits, init=init, result=result)

    def check(self, trainer: Trainer, space: InputConfig) -> None:
        if self.params.clusters > trainer.train.rows:
            raise ValueError(
                f"`clusters` of ihas should be at most the {trainer.train.rows} training rows. "
                f"Received: {self.params.clusters}"
            )

    def gates(self, schema: Schema, space: InputConfig, seed: int = 0) -> dict[str, Gate]:
        return {"embedding": BernoulliGate(space, self.params, seed=seed)}

    def step(self) -> Step:
        return Alternating(every=self.params.every)

    def optimizers(self) -> dict[str, str]:
        return group_optimizers(
            architecture=self.params.gate_optimizer, weights=self.params.weights_optimizer
        )

    def train_or_resume(self, trainer: Trainer, space: InputConfig) -> Search:
        params, notices = self.params, Notices()
        step = self.step()
        batches = trainer.train.batches_per_epoch(trainer.options.batch_size)
        if params.every > batches:
            notices.add(
                f"an epoch has {batches} training batches, and the gates move once in each",
                str(self.spec()),
            )
            step = Alternating(every=batches)
        pretrained = trainer.pretrain(space, epochs=params.pretrain_epochs, patience=0)
        seed = seed_of(trainer.seed, "gates")
        supernet = build_supernet(trainer, space, lambda: self.gates(trainer.schema, space, seed))
        supernet.inherit(pretrained)
        plan = FitPlan(
            step=step,
            epochs=params.epochs,
            patience=params.patience,
            optimizers=self.optimizers(),
        )
        trainer.fit(supernet, "supernet", plan)
        return Search(supernet, Counted(take_census(trainer, supernet)), notices)

    def derive(self, search: Search, space: InputConfig, budget: int | None = None) -> InputConfig:
        """One config for all rows: the columns whose gates are open in most training rows, or, with
        a budget, the most often open ones.

        With `retrain=False` it is the space itself, in which the gates go on choosing.
        """
        schema, census = search.model.schema, search.counted.census
        if not self.params.retrain:
            size = space.num_params(schema)
            if budget is not None and budget < size:
                raise budget_error(budget, size)
            return space
        if budget is None and census.frequency.max() < self.params.majority:
            search.notices.add(
                "no column is open in the majority of the rows: the one open most often is kept",
                str(self.spec()),
            )
        return self._config(schema, space, census.frequency, census.probability, budget)

    def _config(
        self,
        schema: Schema,
        space: InputConfig,
        frequency: np.ndarray,
        probability: np.ndarray,
        budget: int | None,
    ) -> InputConfig:
        """The config for some rows, such as those of a cluster.

        Args:
          schema, space, budget: see `derive`.
          frequency: Share of the rows in which each gate is open, [M].
          probability: Mean of each gate's p over the rows, [M].
        """
        if budget is None:
            return space.with_columns(majority(frequency, self.params.majority))
        costs = space.column_params(schema)
        kept = most_frequent(frequency, probability, costs, budget)
        if not kept.any():
            raise budget_error(budget, int(costs.min()))
        return space.with_columns(kept)

    def search(
        self,
        trainer: Trainer,
        space: InputConfig,
        budget: int | None = None,
        search: Search | None = None,
    ) -> tuple[SearchResult, Search]:
        """A search as `SearchMethod.search` describes it. The result has a config per cluster of
        rows, or one config where no clusters are asked for or only one is left. The search that is
        returned holds the clusters in `counted`."""
        self.check(trainer, space)
        self._check_budget(trainer.schema, space, budget)
        search = (self.train_or_resume(trainer, space) if search is None else search).again()
        params, census = self.params, search.counted.census
        clusters = None
        if params.retrain and params.clusters > 1:
            clusters = find_clusters(trainer, search.model, params)
        search = dataclasses.replace(search, counted=Counted(census, clusters))
        notices = (*census.notices(), *(clusters.notices if clusters is not None else ()))
        if clusters is not None and len(clusters.rows) > 1:
            result = self._result_of_clusters(trainer.schema, space, clusters, budget)
            notices += result.notices
            return dataclasses.replace(result, notices=notices), search
        config = self.derive(search, space, budget)
        result = SearchResult(
            (config,),
            self.spec(),
            self.traits.init,
            keep_gates=not params.retrain,
            notices=notices,
        )
        return result, search

    def _check_budget(self, schema: Schema, space: InputConfig, budget: int | None) -> None:
        """Raises BudgetError where not even the smallest configs fit in the budget, before the
        search is trained."""
        owner, models = "the space", 1
        least = space.num_params(schema)
        if self.params.retrain:
            models = self.params.clusters
            owner = f"{models} clusters with a column each" if models > 1 else "the smallest config"
            least = models * int(space.column_params(schema).min())
        if budget is not None and budget < least:
            raise budget_error(budget, least, owner=owner)

    def _result_of_clusters(
        self, schema: Schema, space: InputConfig, clusters: Clusters, budget: int | None
    ) -> SearchResult:
        """The result with a config per cluster; a budget is divided into equal parts. Notices name
        the clusters in which no column is open in the majority of rows."""
        part = None if budget is None else budget // len(clusters.rows)
        configs = tuple(
            self._config(schema, space, frequency, probability, part)
            for frequency, probability in zip(clusters.frequency, clusters.probability, strict=True)
        )
        notices = tuple(
            f"No column is open in the majority of cluster {cluster}'s rows: it keeps the one open "
            "most often"
            for cluster, frequency in enumerate(clusters.frequency)
            if budget is None and frequency.max() < self.params.majority
        )
        settings = {"space": unmasked(space).to_json(), "bins": self.params.bins}
        router = RouterRef(self.spec().name, settings, clusters.weights, clusters.params)
        return SearchResult(
            configs,
            self.spec(),
            self.traits.init,
            router,
            all_rows=self.params.rows == "all",
            notices=notices,
        )

    def router(self, schema: Schema, ref: RouterRef, directory: str) -> Router:
        assert ref.weights is not None
        arrays = read_arrays(os.path.join(directory, ref.weights))
        return ClusterRouter(
            schema, InputConfig.from_json(ref.settings["space"]), ref.settings["bins"], arrays
        )

    def sweep(self, space: InputConfig) -> list[tuple[str, SearchMethod]]:
        return variants(self, "majority", self.params.sweep) if self.params.retrain else []

    def explain(self, search: Search, configs: Sequence[InputConfig]) -> Explanation:
        """A field's score is the share of the training rows in which its gates are open, the mean
        over its columns."""
        space, census = search.model.config, search.counted.census
        frequency = search.gate.padded(census.frequency)
        scores = {
            name: float(shares[: space.fields[name].dim].mean())
            for name, shares in zip(space.kept, frequency, strict=True)
        }
        return Explanation(
            scores,
            {"frequency": frequency},
            pictures_of(search, configs),
            tuple(map(Notice, census.notices())),
        )


def unmasked(space: InputConfig) -> InputConfig:
    """The space without its masks of entries: the config of the searched tables."""
    return InputConfig(
        {name: FieldConfig(field.dim, field.columns) for name, field in space.fields.items()}
    )
