"""The equations of SSEDS: the derivative of the loss in every column's mask, its normalization, and
the ranking of the columns within a size."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal

import numpy as np
import tensorflow as tf

from irazor_tf.model.recommender import Recommender
from irazor_tf.search.selection import take_while_fits


def mask_gradients(
    supernet: Recommender, batches: Iterable[Mapping[str, tf.Tensor]]
) -> tuple[np.ndarray, float, float]:
    """The magnitude of the loss's derivative in every column's mask, |d loss / d alpha| at alpha =
    1 (equation 10): the mean over batches, with one forward and one backward pass for each.

    The loss is the task's, in evaluation mode: no dropout, and no penalty.

    Args:
      supernet: The pretrained model with an `OnesMask` at its embeddings.
      batches: Each with "ids" [B, N] and "label" [B]; at least one.

    Returns:
      The magnitudes [N, D], the seconds that all passes took, and those of them that went into
      compiling.
    """

    @tf.function
    def magnitudes(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        _, gradients = supernet.gradients(batch, ("architecture",), training=False, penalties=0.0)
        (gradient,) = gradients["architecture"]
        return tf.abs(gradient)

    start, compiling = time.perf_counter(), 0.0
    by_batch: list[np.ndarray] = []
    for batch in batches:
        if not by_batch:
            before = time.perf_counter()
            magnitudes.get_concrete_function(batch)
            compiling = time.perf_counter() - before
        by_batch.append(magnitudes(batch).numpy())
    return np.mean(by_batch, axis=0), time.perf_counter() - start, compiling


def normalize(magnitudes: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The saliency of every column, s_ij = |g_ij| / sum |g| (equation 11), [N, D] float64; 0 in
    padding.

    Args:
      magnitudes: |g|, [N, D].
      real: Which positions are columns and not padding, [N, D] bool; see `InputConfig.slots`.

    Raises:
      ValueError: no column has a gradient, or one is not finite: there is nothing to rank.
    """
    magnitudes = np.where(real, magnitudes, 0.0).astype(np.float64)
    total = magnitudes.sum()
    if not 0 < total < math.inf:
        raise ValueError(
            "A batch should give the masks of some columns a gradient, finite in all. Received: "
            f"magnitudes that sum to {total}"
        )
    return magnitudes / total


def below(kappa: float, total: int) -> int:
    """The largest size strictly below kappa * total (equation 12), computed with the decimal digits
    of kappa; at kappa 1 it is `total`."""
    return total if kappa == 1 else math.ceil(Decimal(repr(kappa)) * total) - 1


def keep(saliency: np.ndarray, costs: np.ndarray, limit: int, fill: bool = False) -> np.ndarray:
    """The columns of largest saliency, up to the first that does not fit (equation 12).

    Args:
      saliency: Saliency of each column, [C]; of equal ones the first column is taken first.
      costs: What each column adds to the size, [C].
      limit: The largest size allowed.
      fill: Whether a column that does not fit is passed over, so that later ones that fit are still
        kept.

    Returns:
      [C] bool, the columns kept.
    """
    return take_while_fits(np.argsort(-saliency, kind="stable"), costs, limit, fill=fill)
