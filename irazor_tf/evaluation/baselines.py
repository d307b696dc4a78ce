"""Models without embeddings, fitted to the same rows: what a found model has to be better than. No
TensorFlow import.

A baseline is a function (ids_train, y_train, ids_valid, y_valid, vocabulary_sizes, seed) ->
`Fitted`; those that a job may name stand in `BASELINES`. Fits run in one thread: their sums then do
not depend on the order in which threads end, and threads that wait by spinning (of OpenMP, of a
BLAS) hinder whoever else is at work: 400 rows of boosted trees took 10 s beside two busy processes
on two cores, and .4 s so."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse, special
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from irazor_tf.evaluation import metrics

MOST_ROWS = 200_000  # training rows that a baseline learns from; of a larger split, a sample
# rows times fields, for logs of hundreds of fields: some hundred MiB as a sparse matrix
MOST_VALUES = 20_000_000
# values of a field that boosted trees tell apart; they take 255 categories, and the last one is
# every other value
CATEGORIES = 254
_STRENGTHS = tuple(
    10.0 ** (power / 2) for power in range(-6, 3)
)  # C, from strong to weak regularisation: .001 to 10
_BETWEEN = 10.0**0.25  # the best one times and through this is tried last
# Largest element of the mean loss' gradient, and steps of L-BFGS; 1e-4, scikit-learn's own, ends a
# warm start before its first step.
_TOLERANCE, _STEPS = 3e-6, 1000
_TREES_AT_A_TIME, _MOST_TREES = 50, 500


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted baseline.

    Args:
      predict: ids [B, N] -> probabilities of label 1, [B] float64.
      settings: what was chosen by the validation rows, and iterations.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    settings: Mapping[str, float]


def logistic_regression(
    ids_train: np.ndarray,
    y_train: np.ndarray,
    ids_valid: np.ndarray,
    y_valid: np.ndarray,
    vocabulary_sizes: Sequence[int],
    seed: int,
) -> Fitted:
    """L2-penalised logistic regression on one-hot columns of all ids, out-of-vocabulary among them.

    min over w, b of 1/2 |w|^2 + C sum_i L(y_i, b + sum_n w[n, ids[i, n]]), L the cross-entropy of
    the logit; L-BFGS in float64. C goes from strong to weak regularisation by half decades, each
    fit starting at the one before, until the validation log loss has risen twice in a row; then a
    quarter decade to both sides of the C where it was lowest. The lowest of all is taken. Of ids
    that no training row has the weight is 0, so they have no column while fitting.

    Args:
      ids_train, ids_valid: [rows, N] int.
      y_train, y_valid: labels 0 and 1, [rows].
      vocabulary_sizes: ids per field, [N].
      seed: not needed here.

    Raises:
      ValueError: the training rows have one label, or an id is not in its vocabulary.
    """
    _check(ids_train, y_train, ids_valid, vocabulary_sizes)
    offsets = np.cumsum([0, *vocabulary_sizes[:-1]])
    columns = ids_train + offsets
    seen = np.zeros(sum(vocabulary_sizes), bool)
    seen[columns] = True
    place = np.cumsum(seen) - 1
    rows, fields = columns.shape
    entries = (
        np.ones(columns.size),
        place[columns].ravel(),
        np.arange(0, columns.size + 1, fields),
    )
    matrix = sparse.csr_matrix(entries, shape=(rows, int(seen.sum())))

    def with_weights(weights: np.ndarray, intercept: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda ids: special.expit(intercept + weights[ids + offsets].sum(axis=1))

    model = LogisticRegression(tol=_TOLERANCE, max_iter=_STEPS, warm_start=True)
    fits: list[Fitted] = []
    losses: list[float] = []

    def fit(strength: float) -> None:
        model.set_params(C=strength)
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # weak regularisation may take more steps; the log loss has settled by then
            model.fit(matrix, y_train)
        weights = np.zeros(len(seen))
        weights[seen] = model.coef_[0]
        fits.append(
            Fitted(
                with_weights(weights, float(model.intercept_[0])),
                {"C": strength, "iterations": int(model.n_iter_[0])},
            )
        )
        losses.append(metrics.log_loss(y_valid, fits[-1].predict(ids_valid)))

    for strength in _STRENGTHS:
        fit(strength)
        if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
            break
    best = _STRENGTHS[int(np.argmin(losses))]
    for strength in (best * _BETWEEN, best / _BETWEEN):
        fit(strength)
    return fits[int(np.argmin(losses))]


def gradient_boosting(
    ids_train: np.ndarray,
    y_train: np.ndarray,
    ids_valid: np.ndarray,
    y_valid: np.ndarray,
    vocabulary_sizes: Sequence[int],
    seed: int,
) -> Fitted:
    """Gradient-boosted trees on histograms (scikit-learn's defaults, after LightGBM), every field a
    categorical one (see `folded`).

    Trees are added until the validation log loss has not fallen for 50 trees or more, 500 at most,
    and those up to where it was lowest are taken. scikit-learn's own early stopping takes a random
    part of the training rows, or from version 1.7 on given rows.

    Args:
      ids_train, ids_valid: [rows, N] int.
      y_train, y_valid: labels 0 and 1, [rows].
      vocabulary_sizes: ids per field, [N].
      seed: of scikit-learn's random numbers.

    Raises:
      ValueError: the training rows have one label, or an id is not in its vocabulary.
    """
    _check(ids_train, y_train, ids_valid, vocabulary_sizes)
    rows, valid = folded(ids_train), folded(ids_valid)
    fields = list(range(rows.shape[1]))
    model = HistGradientBoostingClassifier(
        early_stopping=False,
        warm_start=True,
        categorical_features=fields,
        random_state=seed % 2**32,
    )
    losses: list[float] = []
    for trees in range(_TREES_AT_A_TIME, _MOST_TREES + 1, _TREES_AT_A_TIME):
        model.set_params(max_iter=trees)
        with threadpool_limits(1):
            model.fit(rows, y_train)
            later = itertools.islice(model.staged_predict_proba(valid), len(losses), None)
            losses += [metrics.log_loss(y_valid, stage[:, 1]) for stage in later]
        best = int(np.argmin(losses)) + 1
        if trees - best >= _TREES_AT_A_TIME:
            break

    def predict(ids: np.ndarray) -> np.ndarray:
        with threadpool_limits(1):
            return next(itertools.islice(model.staged_predict_proba(folded(ids)), best - 1, None))[
                :, 1
            ]

    return Fitted(predict, {"iterations": best})


BASELINES: dict[str, Callable[..., Fitted]] = {
    "logistic_regression": logistic_regression,
    "gradient_boosting": gradient_boosting,
}


def folded(ids: np.ndarray) -> np.ndarray:
    """Ids, [B, N] -> categories 0 to 254, [B, N] uint8.

    Id k of a field is its k-th most frequent training value: ids 1 to 254 are a category each, all
    others together (out-of-vocabulary, id 0, among them) the last one."""
    return np.where((ids >= 1) & (ids <= CATEGORIES), ids - 1, CATEGORIES).astype(np.uint8)


def sample(rows: int, fields: int, seed: int) -> np.ndarray | None:
    """Positions of the rows that are learned from, ascending; None: all of them.

    At most `MOST_ROWS`, and `MOST_VALUES` values in all; every subset of that size is equally
    likely."""
    most = min(MOST_ROWS, max(1, MOST_VALUES // fields))
    if rows <= most:
        return None
    return np.sort(
        np.random.default_rng(seed % 2**32).choice(rows, most, replace=False, shuffle=False)
    )


def better_on(
    found: Mapping[str, Any], baseline: Mapping[str, Any], directions: Mapping[str, int]
) -> list[str]:
    """The metrics whose validation figure, to four decimals, is better for a baseline than for the
    found model.

    Args:
      found, baseline: records with `valid_<metric>`.
      directions: metric -> +1 where larger is better, -1 where smaller is.
    """
    keys = {name: f"valid_{name}" for name in directions}
    return [
        name
        for name, key in keys.items()
        if key in found
        and key in baseline
        and directions[name] * (round(baseline[key], 4) - round(found[key], 4)) > 0
    ]


def outdone(found: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """What a baseline is better in, its `better_on`, with both figures on validation and test rows;
    "" for nothing."""
    told = [
        f"{_spoken(name)} ({baseline[f'valid_{name}']:.4f} against {found[f'valid_{name}']:.4f} on "
        "the validation rows, "
        f"{baseline[name]:.4f} against {found[name]:.4f} on the test rows)"
        for name in baseline.get("better_on", ())
    ]
    if not told:
        return ""
    better = (
        f"the baseline {baseline['name']}{learned_from(baseline)} is better than the found "
        f"model, {found['name']}"
    )
    return f"{better}, in {' and '.join(told)}"


def learned_from(baseline: Mapping[str, Any]) -> str:
    """Of how many rows a baseline has learned, in brackets; "" where it was all of them."""
    rows, every = baseline["rows"], baseline["train_rows"]
    return "" if rows == every else f" (learned from {rows:,} of {every:,} training rows)"


def _spoken(metric: str) -> str:
    return metric.upper() if len(metric) <= 4 else metric.replace("_", " ")


def _check(
    ids_train: np.ndarray,
    y_train: np.ndarray,
    ids_valid: np.ndarray,
    vocabulary_sizes: Sequence[int],
) -> None:
    labels = np.unique(y_train)
    if labels.tolist() != [0, 1]:
        raise ValueError(
            "`y_train` should hold both labels, 0 and 1, and no other. Received: "
            f"{labels[:5].tolist()}"
        )
    sizes = np.asarray(vocabulary_sizes)
    for name, ids in (("ids_train", ids_train), ("ids_valid", ids_valid)):
        if ids.ndim != 2 or ids.shape[1] != len(sizes):
            raise ValueError(
                f"`{name}` should have a column for each of the {len(sizes)} fields. Received: "
                f"shape {ids.shape}"
            )
        wrong = np.flatnonzero(((ids < 0) | (ids >= sizes)).any(axis=0))
        if len(wrong):
            field = int(wrong[0])
            low, high = ids[:, field].min(), ids[:, field].max()
            raise ValueError(
                f"`{name}` of field {field} should lie in [0, {sizes[field]}). Received: ids from "
                f"{low} to {high}"
            )
