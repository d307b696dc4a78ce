"""The rows that a router sends to one cluster, as a source of their own."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from irazor_tf.model.routing import Router
from irazor_tf.training.source import Source


@dataclasses.dataclass(frozen=True)
class Partition(Source):
    """The rows of a source that a router sends to one cluster. It has the arguments of `Source`,
    and two more.

    Args:
      router: Says which cluster a row belongs to.
      cluster: Number of the cluster.
    """

    router: Router = None  # type: ignore[assignment]
    cluster: int = 0

    @functools.cached_property
    def rows(self) -> int:  # type: ignore[override]
        total = sum(
            int(tf.reduce_sum(tf.cast(self._mine(batch["ids"]), tf.int64)))
            for batch in self._whole.ordered(8192)
        )
        if not total:
            raise ValueError(
                "A cluster should have rows in every split it is trained on. Received: none of "
                f"{self.split!r} in cluster {self.cluster}"
            )
        return total

    @property
    def _whole(self) -> Source:
        return Source(self.directory, self.split, self.share, self.rest)

    def _mine(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.equal(self.router(ids), self.cluster)

    def select(self, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        mine = self._mine(rows["ids"])
        return {key: tf.boolean_mask(value, mine) for key, value in rows.items()}


def partition(source: Source, router: Router, cluster: int) -> Partition:
    """The rows of `source` that `router` sends to `cluster`."""
    return Partition(source.directory, source.split, source.share, source.rest, router, cluster)
