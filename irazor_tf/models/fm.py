"""Factorization machine of second order (Rendle 2010), on aligned embeddings."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from irazor_tf.embedding.alignment import AlignedParams
from irazor_tf.embedding.tables import Embedded
from irazor_tf.model.base import MODELS, BaseModel
from irazor_tf.model.blocks import pairwise_products


@MODELS.register("fm")
class FactorizationMachine(BaseModel):
    """logit = sum_i w_i[x_i] + sum_{i<j} <a_i, a_j> (+ the global bias), a_i the embedding of field
    i aligned to D (equation 1)."""

    @dataclasses.dataclass(frozen=True)
    class Params(AlignedParams):
        """Settings of the factorization machine, in addition to those of the alignment.

        Args:
          mean_products: Whether each inner product is divided by D, as the public code of DNIS
            does; the paper sums.
        """

        mean_products: bool = False

    @property
    def uses(self) -> frozenset[str]:
        return frozenset({"stacked", "linear"})

    def call(self, inputs: Embedded, training: bool = False) -> tf.Tensor:
        assert inputs.stacked is not None
        pairs = pairwise_products(inputs.stacked)
        if self.params.mean_products:
            pairs /= inputs.stacked.shape[2]
        return tf.reduce_sum(inputs.linear, axis=1) + pairs
