"""DeepFM (Guo et al. 2017): a factorization machine and a tower on the same embeddings, added."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from irazor_tf.embedding.alignment import AlignedParams
from irazor_tf.embedding.pieces import Labels
from irazor_tf.embedding.tables import Embedded
from irazor_tf.model.base import MODELS, BaseModel
from irazor_tf.model.blocks import Tower, TowerParams, pairwise_products


@MODELS.register("deepfm")
class DeepFM(BaseModel):
    """logit = sum_i w_i[x_i] + sum_{i<j} <a_i, a_j> + tower(e_1 ; ... ; e_N) (+ the global bias),
    equations 1 to 4.

    a_i is the embedding of field i aligned to D; the tower reads the embeddings e_i at their own
    dimensions, which need no alignment (SSEDS, section 3.2.3; i-Razor's public code)."""

    @dataclasses.dataclass(frozen=True)
    class Params(AlignedParams, TowerParams):
        """Settings of DeepFM: those of the tower (dense layers) and those of the alignment (linear
        maps of all embeddings to one width)."""

        def __post_init__(self) -> None:
            AlignedParams.__post_init__(self)
            TowerParams.__post_init__(self)

    def __init__(self, params: Params, columns: Labels = (), fields: Labels = (), seed: int = 0):
        super().__init__(params, columns, fields, seed)
        self.tower = Tower(params, columns, seed=seed)

    @property
    def uses(self) -> frozenset[str]:
        return frozenset({"flat", "stacked", "linear"})

    def call(self, inputs: Embedded, training: bool = False) -> tf.Tensor:
        first = tf.reduce_sum(inputs.linear, axis=1)
        return (
            first + pairwise_products(inputs.stacked) + self.tower(inputs.flat, training=training)
        )

    def labelled_axes(self) -> list[tuple[tf.Variable, tuple[Labels | None, ...]]]:
        return self.tower.labelled_axes()
