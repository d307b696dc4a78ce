"""The baselines' fits against other ones, what they choose by validation rows, the sample they
learn from, what is said of them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import optimize
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from irazor_tf.evaluation import baselines, metrics

SIZES = (7, 1, 12, 4)  # the second field has no value but the out-of-vocabulary one
NAMES = sorted(baselines.BASELINES)


def log_of(rows: int, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels; every field but the second matters."""
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.integers(size, size=rows) for size in SIZES], axis=1).astype(np.int32)
    logits = np.stack([np.sin(3.0 * ids[:, n] + n) for n in (0, 2, 3)]).sum(axis=0)
    return ids, (rng.random(rows) < 1 / (1 + np.exp(-logits / noise))).astype(np.float32)


def one_hot(ids: np.ndarray) -> np.ndarray:
    """Dense columns, field behind field, and a last one of ones."""
    blocks = [np.equal(ids[:, n, None], np.arange(size)) for n, size in enumerate(SIZES)]
    return np.concatenate([*blocks, np.ones((len(ids), 1))], axis=1).astype(np.float64)


def converged(ids: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """Weights and intercept that minimise 1/2 |w|^2 + C sum L, by another optimizer on dense
    columns."""
    columns = one_hot(ids)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        logits = columns @ w
        penalised = np.append(w[:-1], 0.0)
        value = 0.5 * penalised @ penalised + strength * np.sum(
            np.logaddexp(0, logits) - y * logits
        )
        return value, penalised + strength * columns.T @ (1 / (1 + np.exp(-logits)) - y)

    found = optimize.minimize(
        objective,
        np.zeros(columns.shape[1]),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-8, "maxiter": 5000},
    )
    assert np.abs(objective(found.x)[1]).max() < 1e-4
    return found.x


def settings_of(patch: pytest.MonkeyPatch, estimator: Any, key: str) -> list[Any]:
    """Every value that a setting of scikit-learn's estimator is given from now on."""
    seen: list[Any] = []
    plain = estimator.set_params

    def set_params(self: Any, **new: Any) -> Any:
        seen.append(new[key])
        return plain(self, **new)

    patch.setattr(estimator, "set_params", set_params)
    return seen


def cross_entropy(y: np.ndarray, p: np.ndarray) -> float:
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


def test_the_linear_fit_is_the_penalised_optimum_of_the_best_strength():
    ids, y = log_of(300)
    valid, y_valid = log_of(400, seed=1)
    fitted = baselines.logistic_regression(ids, y, valid, y_valid, SIZES, 0)
    losses: dict[float, float] = {}

    def add(strength: float) -> None:
        p = 1 / (1 + np.exp(-one_hot(valid) @ converged(ids, y, strength)))
        losses[strength] = cross_entropy(y_valid, p)
        if strength == pytest.approx(fitted.settings["C"]):
            np.testing.assert_allclose(fitted.predict(valid), p, atol=1e-4)

    for strength in (0.001, 10**-2.5, 0.01, 10**-1.5, 0.1, 10**-0.5, 1.0, 10**0.5, 10.0):
        add(strength)
    best = min(losses, key=losses.__getitem__)
    assert 0.001 < best < 10, "or the choice says nothing"
    for strength in (best * 10**0.25, best / 10**0.25):
        add(strength)
    assert fitted.settings["C"] == pytest.approx(min(losses, key=losses.__getitem__))
    assert fitted.settings["iterations"] > 0


def test_strengths_end_where_the_validation_loss_has_risen_twice(monkeypatch):
    ids, y = log_of(60, noise=3.0)
    valid, y_valid = log_of(500, seed=1, noise=3.0)
    tried = settings_of(monkeypatch, baselines.LogisticRegression, "C")
    fitted = baselines.logistic_regression(ids, y, valid, y_valid, SIZES, 0)
    *steps, above, below = tried
    assert steps == list(baselines.STRENGTHS[: len(steps)]) and len(steps) < len(
        baselines.STRENGTHS
    )
    assert np.log10([above, below]) == pytest.approx(np.log10(steps[-3]) + [0.25, -0.25])
    assert fitted.settings["C"] in (steps[-3], above, below)


def test_folding_is_a_loop_over_the_values():
    ids = np.array([[0, 1, 2], [253, 254, 255], [256, 100_000, 0]], np.int32)
    expected = [
        [baselines.CATEGORIES if not 1 <= value <= 254 else value - 1 for value in row]
        for row in ids.tolist()
    ]
    assert baselines.folded(ids).tolist() == expected and baselines.folded(ids).dtype == np.uint8
    assert baselines.folded(ids).max() == 254 and baselines.folded(
        np.zeros((0, 3), np.int32)
    ).shape == (0, 3)


def test_trees_end_where_the_validation_loss_is_lowest():
    ids, y = log_of(400)
    valid, y_valid = log_of(400, seed=1)
    fitted = baselines.gradient_boosting(ids, y, valid, y_valid, SIZES, 3)
    model = HistGradientBoostingClassifier(
        max_iter=150, early_stopping=False, categorical_features=[0, 1, 2, 3], random_state=3
    )
    with threadpool_limits(1):
        model.fit(baselines.folded(ids), y)
    stages = [stage[:, 1] for stage in model.staged_predict_proba(baselines.folded(valid))]
    losses = [cross_entropy(y_valid, stage) for stage in stages]
    best = int(np.argmin(losses))
    assert 2 < best < 100, "or the choice says nothing"
    assert fitted.settings == {"iterations": best + 1}
    np.testing.assert_allclose(fitted.predict(valid), stages[best], atol=1e-6)


def test_trees_are_added_until_50_have_not_helped(monkeypatch):
    grown = settings_of(monkeypatch, baselines.HistGradientBoostingClassifier, "max_iter")
    (ids, y), (valid, y_valid) = log_of(400), log_of(400, seed=1)
    best = int(baselines.gradient_boosting(ids, y, valid, y_valid, SIZES, 3).settings["iterations"])
    expected = next(trees for trees in itertools.count(50, 50) if trees - best >= 50)
    assert grown == list(range(50, expected + 1, 50))


@pytest.mark.parametrize("name", NAMES)
def test_ids_that_no_training_row_has_are_predicted_for(name):
    ids, y = log_of(300)
    valid, y_valid = log_of(100, seed=1)
    known = (ids[:, 0] != 5) & (ids[:, 2] != 11)
    fitted = baselines.BASELINES[name](ids[known], y[known], valid, y_valid, SIZES, 0)
    p = fitted.predict(np.array([[5, 0, 11, 0], [1, 0, 1, 1]], np.int32))
    assert p.shape == (2,) and p.dtype == np.float64 and np.all((p > 0) & (p < 1))


def test_an_id_that_was_not_seen_adds_nothing_to_the_logit():
    ids, y = log_of(300)
    valid, y_valid = log_of(100, seed=1)
    known = (ids[:, 0] != 5) & (ids[:, 0] != 6)
    fitted = baselines.logistic_regression(ids[known], y[known], valid, y_valid, SIZES, 0)
    p = fitted.predict(np.array([[5, 0, 3, 0], [6, 0, 3, 0], [4, 0, 3, 0]], np.int32))
    assert p[0] == p[1] != p[2]


@pytest.mark.parametrize("name", NAMES)
def test_fits_are_repeated_exactly_and_beat_the_base_rate(name):
    (ids, y), (valid, y_valid) = log_of(600), log_of(600, seed=1)
    first, second = (baselines.BASELINES[name](ids, y, valid, y_valid, SIZES, 7) for _ in range(2))
    assert first.settings == second.settings
    np.testing.assert_allclose(first.predict(valid), second.predict(valid), rtol=1e-9)
    assert (
        metrics.log_loss(y_valid, first.predict(valid))
        < cross_entropy(y_valid, np.full(len(y_valid), y.mean())) - 0.05
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda ids, y: (ids, np.ones_like(y)),
            r"`y_train` should hold both labels, 0 and 1.*Received: \[1.0\]",
        ),
        (lambda ids, y: (ids, y * 2), r"`y_train` should hold both labels.*\[0.0, 2.0\]"),
        (
            lambda ids, y: (ids + [0, 1, 0, 0], y),
            r"`ids_train` of field 1 should lie in \[0, 1\). Received: ids from 1 to 1$",
        ),
        (
            lambda ids, y: (ids - 1, y),
            r"`ids_train` of field 0 should lie in \[0, 7\). Received: ids from -1 to 5",
        ),
        (
            lambda ids, y: (ids[:, :3], y),
            r"a column for each of the 4 fields. Received: shape \(50, 3\)",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused(name, change, message):
    ids, y = log_of(50)
    with pytest.raises(ValueError, match=message):
        baselines.BASELINES[name](*change(ids, y), ids, y, SIZES, 0)


def test_the_sample_is_seeded_of_its_size_and_uniform(monkeypatch):
    monkeypatch.setattr(baselines, "MOST_ROWS", 300)
    assert baselines.sample(300, 5, 1) is None
    drawn = baselines.sample(1000, 5, 1)
    assert (
        drawn is not None
        and len(drawn) == 300
        and len(set(drawn.tolist())) == 300
        and np.all(np.diff(drawn) > 0)
    )
    again, other = baselines.sample(1000, 5, 1), baselines.sample(1000, 5, 2)
    assert again is not None and other is not None
    assert drawn.tolist() == again.tolist() != other.tolist()
    counts = np.zeros(1000)
    for seed in range(-200, 200):  # any integer is a seed
        counts[baselines.sample(1000, 5, seed)] += 1
    assert counts.sum() == 400 * 300 and counts.min() > 60 and counts.max() < 180, (
        "each row about 120 times (standard deviation 9)"
    )


def test_a_log_of_many_fields_has_a_smaller_sample(monkeypatch):
    monkeypatch.setattr(baselines, "MOST_VALUES", 1000)
    assert baselines.sample(200, 5, 1) is None
    assert len(baselines.sample(200, 20, 1)) == 50  # type: ignore[arg-type]


FOUND = {"name": "finder", "valid_auc": 0.75, "valid_log_loss": 0.45, "auc": 0.74, "log_loss": 0.46}
DIRECTIONS = {"auc": 1, "log_loss": -1}


@pytest.mark.parametrize(
    ("auc", "log_loss", "expected"),
    [
        (0.76, 0.46, ["auc"]),
        (0.74, 0.44, ["log_loss"]),
        (0.7502, 0.4498, ["auc", "log_loss"]),
        (0.74, 0.46, []),
        (0.75004, 0.44996, []),  # the same figures, as they are shown
    ],
)
def test_what_a_baseline_is_better_in(auc, log_loss, expected):
    record = {
        "name": "linear",
        "valid_auc": auc,
        "valid_log_loss": log_loss,
        "auc": 0.7444,
        "log_loss": 0.4555,
        "rows": 5,
        "train_rows": 5,
    }
    better = baselines.better_on(FOUND, record, DIRECTIONS)
    assert better == expected
    said = baselines.outdone(FOUND, record | {"better_on": better})
    assert bool(said) == bool(expected)
    assert ("log loss" in said) == ("log_loss" in expected)
    shown = (
        f"AUC ({auc:.4f} against 0.7500 on the validation rows, 0.7444 against 0.7400 on the "
        "test rows)"
    )
    assert (shown in said) == ("auc" in expected)
    assert not said or said.startswith(
        "the baseline linear is better than the found model, finder, in "
    )
    assert (") and log loss (" in said) == (len(expected) == 2)


def test_a_sample_is_told():
    record = {
        "name": "linear",
        "rows": 1000,
        "train_rows": 4000,
        "better_on": ["auc"],
        "valid_auc": 0.8,
        "auc": 0.8,
    }
    said = baselines.outdone(FOUND, record)
    assert said.startswith(
        "the baseline linear (learned from 1,000 of 4,000 training rows) is better than the found "
        "model, finder, in AUC"
    )
