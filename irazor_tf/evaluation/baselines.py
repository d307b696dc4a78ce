"""Baselines: models without embeddings, fitted to the same rows, which a found model has to
surpass. No TensorFlow import.

A baseline is a function (ids_train, y_train, ids_valid, y_valid, vocabulary_sizes, seed) ->
`Fitted`; those that a job may name stand in `BASELINES`. Fits run in one thread: their sums then do
not depend on the order in which threads end, and threads that wait by spinning (of OpenMP, of a
BLAS) hinder all other processes: 400 rows of boosted trees took 10 s beside two busy processes on
two cores, and .4 s in one thread.
"""

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

# Training rows that a baseline learns from; of a larger split it takes a sample.
MOST_ROWS = 200_000
# Rows times fields, for logs of hundreds of fields: some hundred MiB as a sparse matrix.
MOST_VALUES = 20_000_000
# Values of a field that boosted trees tell apart; they take 255 categories, and the last one is
# every other value.
CATEGORIES = 254
# C, from strong to weak regularisation: .001 to 10.
STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-6, 3))
# The best C times this, and divided by this, is tried last.
_BETWEEN = 10.0**0.25
# Largest element of the mean loss' gradient, and steps of L-BFGS; 1e-4, scikit-learn's own, ends a
# warm start before its first step.
_TOLERANCE, _STEPS = 3e-6, 1000
_TREES_AT_A_TIME, _MOST_TREES = 50, 500


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted baseline.

    Args:
      predict: Ids [B, N] -> probabilities of label 1, [B] float64.
      settings: Name -> value of the settings that were chosen by the validation rows, and of the
        number of iterations.
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
    quarter decade to both sides of the C where it was lowest. The fit with the lowest of all is
    taken. The weight of an id that no training row has is 0, so it has no column while fitting.

    Args:
      ids_train, ids_valid: [rows, N] int.
      y_train, y_valid: Labels 0 and 1, [rows].
      vocabulary_sizes: Ids per field, [N].
      seed: Not used: the fit draws no random numbers.

    Raises:
      ValueError: the training rows have one label, or an id is not in its vocabulary.
    """
    _check(ids_train, y_train, ids_valid, vocabulary_sizes)
    columns = _OneHot(ids_train, vocabulary_sizes)
    model = LogisticRegression(tol=_TOLERANCE, max_iter=_STEPS, warm_start=True)
    fits: list[Fitted] = []
    losses: list[float] = []

    def fit(strength: float) -> None:
        model.set_params(C=strength)
        with threadpool_limits(1), warnings.catch_warnings():
            # Weak regularisation may take more steps; the log loss has settled by then.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(columns.matrix, y_train)
        predict = columns.predictor(model.coef_[0], float(model.intercept_[0]))
        fits.append(Fitted(predict, {"C": strength, "iterations": int(model.n_iter_[0])}))
        losses.append(metrics.log_loss(y_valid, predict(ids_valid)))

    for strength in STRENGTHS:
        fit(strength)
        if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
            break
    best = STRENGTHS[int(np.argmin(losses))]
    for strength in (best * _BETWEEN, best / _BETWEEN):
        fit(strength)
    return fits[int(np.argmin(losses))]


class _OneHot:
    """Training rows as one-hot columns, one for every id that occurs in them.

    Args:
      ids: [rows, N] int.
      vocabulary_sizes: Ids per field, [N].
    """

    def __init__(self, ids: np.ndarray, vocabulary_sizes: Sequence[int]):
        self._offsets = np.cumsum([0, *vocabulary_sizes[:-1]])
        features = ids + self._offsets
        self._seen = np.zeros(sum(vocabulary_sizes), bool)
        self._seen[features] = True
        column = np.cumsum(self._seen) - 1
        rows, fields = features.shape
        ends = np.arange(0, features.size + 1, fields)
        # [rows, ids that occur], with N ones a row.
        self.matrix = sparse.csr_matrix(
            (np.ones(features.size), column[features].ravel(), ends),
            shape=(rows, int(self._seen.sum())),
        )

    def predictor(
        self, coefficients: np.ndarray, intercept: float
    ) -> Callable[[np.ndarray], np.ndarray]:
        """The predicting function of a fitted logistic regression: ids [B, N] -> probabilities [B].
        Ids without a column have the weight 0."""
        weights = np.zeros(len(self._seen))
        weights[self._seen] = coefficients
        return lambda ids: special.expit(intercept + weights[ids + self._offsets].sum(axis=1))


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
    part of the training rows, or from version 1.7 on rows that it is given.

    Args:
      ids_train, ids_valid: [rows, N] int.
      y_train, y_valid: Labels 0 and 1, [rows].
      vocabulary_sizes: Ids per field, [N].
      seed: Seed of scikit-learn's random numbers.

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
            stages = model.staged_predict_proba(folded(ids))
            return next(itertools.islice(stages, best - 1, None))[:, 1]

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
    """Positions of a random sample of the training rows for a baseline, ascending; None where all
    rows are taken.

    A sample has at most `MOST_ROWS` rows, and at most `MOST_VALUES` values (rows times fields);
    every subset of that size is equally likely.
    """
    most = min(MOST_ROWS, max(1, MOST_VALUES // fields))
    if rows <= most:
        return None
    return np.sort(
        np.random.default_rng(seed % 2**32).choice(rows, most, replace=False, shuffle=False)
    )


def better_on(
    model: Mapping[str, Any], baseline: Mapping[str, Any], directions: Mapping[str, int]
) -> list[str]:
    """Names of the metrics in which a baseline surpasses the found model on the validation rows.

    Args:
      model, baseline: Records of the two with a value `valid_<metric>` for each metric, which are
        compared to four decimals.
      directions: Metric -> +1 where larger is better, -1 where smaller is.
    """
    keys = {name: f"valid_{name}" for name in directions}
    return [
        name
        for name, key in keys.items()
        if key in model
        and key in baseline
        and directions[name] * (round(baseline[key], 4) - round(model[key], 4)) > 0
    ]


def outdone(model: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """A sentence, without a full stop, that says in which metrics (its `better_on`) a baseline is
    better than the found model, with the figures of both on validation and test rows; "" where the
    baseline is better in none. Both arguments are records with `name`, `<metric>` (test rows) and
    `valid_<metric>`."""
    figures = [
        f"{_spoken(name)} ({baseline[f'valid_{name}']:.4f} against {model[f'valid_{name}']:.4f} on "
        f"the validation rows, {baseline[name]:.4f} against {model[name]:.4f} on the test rows)"
        for name in baseline.get("better_on", ())
    ]
    if not figures:
        return ""
    better = (
        f"the baseline {baseline['name']}{learned_from(baseline)} is better than the found "
        f"model, {model['name']}"
    )
    return f"{better}, in {' and '.join(figures)}"


def learned_from(baseline: Mapping[str, Any]) -> str:
    """The words " (learned from n of m training rows)" for a baseline whose record has n as `rows`
    and m as `train_rows`; "" where n = m."""
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
