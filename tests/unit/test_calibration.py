"""Calibration against a loop over bins, and the correction against another optimizer; ties,
extremes, and what has no maximum."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize
from scipy.special import expit, logit

from irazor_tf.config import integrity
from irazor_tf.evaluation.calibration import EPSILON, Correction, calibration, fit, logits
from irazor_tf.report import tables
from irazor_tf.serving.export import corrected
from irazor_tf.tasks.ctr import ClickThroughRate
from irazor_tf.training.fit_notices import off_the_rate


def drawn(rows, slope=0.4, intercept=0.3, spread=2.0, seed=0):
    """Labels, and the float32 predictions of a model that is too sure of itself where `slope` is
    below 1."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, spread, rows)
    labels = (rng.random(rows) < expit(slope * z + intercept)).astype(np.float32)
    return labels, expit(z.astype(np.float32)).astype(np.float32)


def loss(weights, x, labels):
    values = weights[0] * x + weights[1]
    return np.mean(np.logaddexp(0, values) - labels * values)


def bins_by_a_loop(labels, predictions):
    """Predictions that are all different, in ten bins, row by row."""
    order = sorted(range(len(labels)), key=lambda row: predictions[row])
    whole, more = divmod(len(labels), 10)
    found, start = [], 0
    for place in range(10):
        rows = order[start : start + whole + (place < more)]
        start += len(rows)
        mean = math.fsum(float(predictions[row]) for row in rows) / len(rows)
        found.append((len(rows), mean, sum(int(labels[row]) for row in rows) / len(rows)))
    return found


# Measuring ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [10, 57, 1234])
def test_bins_and_error_are_those_of_a_loop(rows):
    labels, predictions = drawn(rows)
    assert len(np.unique(predictions)) == rows
    found, expected = calibration(labels, predictions), bins_by_a_loop(labels, predictions)
    assert [own["rows"] for own in found["bins"]] == [count for count, _, _ in expected]
    np.testing.assert_allclose(
        [(own["mean_prediction"], own["rate"]) for own in found["bins"]],
        [own[1:] for own in expected],
        rtol=1e-12,
    )
    error = math.fsum(count / rows * abs(mean - rate) for count, mean, rate in expected)
    assert found["calibration_error"] == pytest.approx(error, rel=1e-12) and error > 0.01
    assert (found["rows"], found["rate"]) == (rows, pytest.approx(float(labels.mean())))
    assert found["mean_prediction"] == pytest.approx(
        float(predictions.astype(np.float64).mean()), rel=1e-12
    )


def test_ties_do_not_depend_on_the_order_of_rows():
    """Two thirds of the rows share one prediction, so that most bins end inside the tie."""
    labels, predictions = drawn(999)
    predictions[:666] = 0.25
    expected = calibration(labels, predictions)
    inside = [own["rate"] for own in expected["bins"] if own["mean_prediction"] == 0.25]
    assert (
        len(inside) >= 5
        and np.ptp(inside) < 1e-15
        and inside[0] == pytest.approx(labels[:666].mean(), abs=1e-6)
    )
    rng = np.random.default_rng(1)
    for _ in range(5):
        order = rng.permutation(999)
        assert calibration(labels[order], predictions[order]) == expected
    by_label = np.argsort(
        labels, kind="stable"
    )  # where a sort that is stable would put all positives of the tie into the last bins
    assert calibration(labels[by_label], predictions[by_label]) == expected
    counted = sum(own["rows"] * own["rate"] for own in expected["bins"])
    assert counted == pytest.approx(labels.sum()), "no label is lost or counted twice"


def test_one_prediction_for_all_rows():
    labels = np.array([1, 0, 0, 0] * 25)
    found = calibration(labels, np.full(100, 0.3))
    assert found["calibration_error"] == pytest.approx(0.05) and {
        own["rate"] for own in found["bins"]
    } == {0.25}


def test_fewer_rows_than_bins_are_a_bin_each():
    found = calibration(np.array([0, 1, 0]), np.array([0.9, 0.5, 0.1]))
    assert [tuple(own.values()) for own in found["bins"]] == [
        (1, 0.1, 0.0),
        (1, 0.5, 1.0),
        (1, 0.9, 0.0),
    ]
    assert found["calibration_error"] == pytest.approx((0.1 + 0.5 + 0.9) / 3)


def test_a_calibrated_model_has_an_error_near_0_and_the_opposite_none():
    labels, predictions = drawn(50_000, slope=1.0, intercept=0.0)
    assert calibration(labels, predictions)["calibration_error"] < 0.005
    assert calibration(1 - labels, predictions)["calibration_error"] > 0.2


@pytest.mark.parametrize("predictions", [[0.5, float("nan")], [0.5, 1.5], [-0.1, 0.5]])
def test_what_is_no_probability_is_refused(predictions):
    for work in (calibration, fit):
        with pytest.raises(ValueError, match=r"probabilities in \[0, 1\]\. Received: 1 of 2"):
            work(np.array([0, 1]), np.array(predictions))
        with pytest.raises(ValueError, match="at least one row"):
            work(np.array([]), np.array([]))


# Correcting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "slope", "spread"),
    [(300, 0.4, 2.0), (20_000, 0.4, 2.0), (20_000, 1.8, 1.0), (5000, 0.1, 8.0), (5000, 3.0, 0.01)],
)
def test_the_fit_is_the_maximum_of_the_likelihood(rows, slope, spread):
    labels, predictions = drawn(rows, slope, spread=spread)
    found = fit(labels, predictions)
    x = logit(np.clip(predictions.astype(np.float64), 2.0**-24, 1 - 2.0**-24))
    assert not found.notices and found.rows == rows
    other = minimize(
        loss,
        [1.0, 0.0],
        (x, labels.astype(np.float64)),
        method="Nelder-Mead",
        options={"xatol": 1e-10, "fatol": 1e-16},
    )
    assert loss((found.slope, found.intercept), x, labels) <= other.fun + 1e-15
    if (
        spread > 0.01
        # else slope and intercept are nearly one direction, and the other optimizer stops on the
        # way
    ):
        quick = minimize(
            loss, [1.0, 0.0], (x, labels.astype(np.float64)), method="BFGS", options={"gtol": 1e-10}
        )
        assert [found.slope, found.intercept] == pytest.approx(quick.x, abs=1e-6)
    given = expit(found.slope * x + found.intercept)
    np.testing.assert_allclose(found.apply(predictions), given, rtol=0, atol=1e-14)
    residual = given - labels
    assert abs(residual.mean()) < 1e-12, "the mean of p' is the rate"
    assert abs((residual * x).mean()) < 1e-11


def test_an_overconfident_model_is_mended():
    labels, predictions = drawn(40_000)
    found = fit(labels[:20_000], predictions[:20_000])
    assert 0.37 < found.slope < 0.43 and 0.25 < found.intercept < 0.35
    held_out = labels[20_000:], predictions[20_000:]
    before, after = calibration(*held_out), calibration(held_out[0], found.apply(held_out[1]))
    assert after["calibration_error"] < 0.02 < 0.1 < before["calibration_error"]
    task = ClickThroughRate()
    assert (
        task.corrected_metrics(held_out[0], found.apply(held_out[1]))["log_loss"]
        < task.metrics(*held_out)["log_loss"] - 0.05
    )
    again = task.metrics(held_out[0], found.apply(held_out[1]))
    assert again["auc"] == task.metrics(*held_out)["auc"], "the order of rows stays"


def test_probabilities_of_0_and_1_are_finite():
    """What a sigmoid in float32 gives from a logit of 17 on, and below -104."""
    labels, predictions = drawn(2000)
    extremes = tf.sigmoid(tf.constant([17.0, 30.0, -104.0, -1000.0])).numpy()
    assert extremes.tolist() == [1.0, 1.0, 0.0, 0.0]
    predictions[:4] = extremes
    labels[:4] = 0, 1, 1, 0
    assert (
        logits(extremes) == pytest.approx([16.6355] * 2 + [-16.6355] * 2, abs=1e-4)
        and np.float32(1 - EPSILON) < 1
    )
    found = fit(labels, predictions)
    assert not found.notices and np.all(
        (found.apply(predictions) > 0) & (found.apply(predictions) < 1)
    )
    assert found.apply(predictions).mean() == pytest.approx(
        labels.mean(dtype=np.float64), abs=1e-12
    )


@pytest.mark.parametrize(
    ("labels", "predictions", "reason"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.9], "do not overlap"),
        ([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.9], "do not overlap"),  # all but one value of both labels
        ([1, 1, 0, 0, 0], [0.1, 0.2, 0.3, 0.9, 0.95], "do not overlap"),  # the wrong way round
        ([0, 0, 1, 1, 0], [1.0, 1.0, 1.0, 1.0, 1.0], "all predictions are equal"),
        ([0, 0, 0, 1], [0.2, 0.2, 0.2, 0.2], "all predictions are equal"),
        ([1, 0, 1, 0, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.9, 0.8], "the best slope is -"),
        ([0, 0, 1, 1], [0.2, 0.8, 0.2, 0.8], "the best slope is "),
    ],
)
def test_where_no_slope_can_be_served_the_intercept_is_fitted_alone(labels, predictions, reason):
    found = fit(np.array(labels), np.array(predictions))
    (notice,) = found.notices
    assert reason in notice and notice.startswith("the correction is an intercept alone: ")
    assert found.slope == 1.0 and found.apply(np.array(predictions)).mean() == pytest.approx(
        np.mean(labels), abs=1e-12
    )
    x = logit(np.clip(predictions, 2.0**-24, 1 - 2.0**-24))
    other = minimize(
        lambda shift: loss((1.0, shift[0]), x, np.array(labels)),
        [0.0],
        method="BFGS",
        options={"gtol": 1e-12},
    )
    assert found.intercept == pytest.approx(other.x[0], abs=1e-5)


def test_rows_of_one_label_correct_nothing():
    for label in (0, 1):
        found = fit(np.full(20, label), np.linspace(0.1, 0.9, 20))
        (notice,) = found.notices
        assert (
            found.is_identity
            and f"all 20 rows that the correction is fitted on have the label {label}" in notice
        )


def test_the_identity_leaves_even_0_and_1_as_they_are():
    given = np.array([0.0, 1e-30, 0.3, 1.0], np.float32)
    np.testing.assert_array_equal(Correction().apply(given), given)
    np.testing.assert_array_equal(corrected(tf.constant(given), Correction()), given)


def test_the_graph_corrects_as_numpy_does():
    _, predictions = drawn(5000, spread=6.0)
    predictions[:4] = 0.0, 1.0, 1e-30, np.float32(1 - 2.0**-24)
    for correction in (
        Correction(0.4, 0.3),
        Correction(2.5, -1.7),
        Correction(1.0, 0.5),
        Correction(1e-3, 12.0),
    ):
        found = tf.function(corrected)(tf.constant(predictions), correction)
        assert found.dtype == tf.float64
        np.testing.assert_allclose(found, correction.apply(predictions), rtol=1e-12, atol=0)


# The file -----------------------------------------------------------------------------------------


def test_the_record_comes_back_to_the_last_bit(tmp_path):
    path = str(tmp_path / "correction.json")
    for correction in (
        Correction(),
        Correction(0.1 + 0.2, -1 / 3, 77, ("why", "and why")),
        fit(*drawn(500)),
    ):
        correction.save(path)
        assert Correction.load(path) == correction


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slope": -0.5}, "finite `slope` above 0"),
        ({"slope": "nan"}, "finite `slope` above 0"),
        ({"slope": 0}, "finite `slope` above 0"),
        ({"intercept": "inf"}, "finite `intercept`"),
        ({"intercept": None}, "TypeError"),
        ({"version": 2}, r"`version` 1\. Received: 2"),
        ({"slope": ...}, "KeyError: 'slope'"),
    ],
)
def test_a_record_that_is_not_one_is_named(change, message, tmp_path):
    path = tmp_path / "correction.json"
    Correction(0.5, 0.25, 10).save(str(path))
    value = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not ...}))
    with pytest.raises(ValueError, match=message) as error:
        Correction.load(str(path))
    assert str(path) in str(error.value)


def test_an_edited_record_is_named(tmp_path):
    path = tmp_path / "correction.json"
    with integrity.guarding(str(tmp_path)):
        Correction(0.5, 0.25, 10).save(str(path))
        path.write_text(path.read_text().replace("0.5", "0.6"))
        with pytest.raises(ValueError, match=r"correction\.json, with another content"):
            Correction.load(str(path))


# What is said of it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "mean", "told"),
    [
        (10_000, 0.3, True),  # 20 % and 11.5 standard errors of .0043
        (10_000, 0.2, True),
        (10_000, 0.264, True),  # 5.6 %, 3.2 standard errors
        (10_000, 0.262, False),  # 4.8 %
        (1_000_000, 0.26, False),  # 4 %, though 23 standard errors
        (100, 0.3, False),  # 20 %, 1.2 standard errors
        (10_000, 0.25, False),
    ],
)
def test_a_mean_that_is_off_the_rate(rows, mean, told):
    found = off_the_rate(
        {"rows": rows, "mean_prediction": mean, "rate": 0.25, "calibration_error": 0.1}
    )
    assert len(found) == told
    if told:
        assert (
            f"predicts {mean:.4f} on average where 0.2500 of the 10,000 validation rows are "
            "positive" in found[0]
        )
        assert (
            f"{abs(mean - 0.25) / 0.25:.0%} too {'much' if mean > 0.25 else 'little'}" in found[0]
            and "--calibrate mends it" in found[0]
        )
    assert not off_the_rate({})


def test_the_table_shows_baselines_beside_a_model_with_corrected_figures():
    """As a job's summary has them: corrected figures of the validation split on the model alone."""
    metrics = {"valid_auc": 0.6, "valid_log_loss": 0.5, "auc": 0.7, "log_loss": 0.51234}
    model = {"name": "a", **metrics, "calibrated_log_loss": 0.4, "valid_calibrated_log_loss": 0.4}
    lines = tables.summary_table([model, {"name": "baseline", **metrics}]).splitlines()
    assert "calibrated" not in lines[0] and lines[0].count("AUC") == 2
    assert lines[-1].split()[:5] == ["baseline", "0.6000", "0.5000", "0.7000", "0.5123"]


def test_the_table_shows_the_calibration_error_and_with_calibrate_what_is_served():
    record = {"name": "a", "valid_auc": 0.6, "valid_log_loss": 0.5, "auc": 0.7, "log_loss": 0.51234}
    record |= {"calibration": {"calibration_error": 0.0321}, "calibrate": False}
    record |= {"calibrated": {"calibration_error": 0.0045}, "calibrated_log_loss": 0.45678}
    record |= {
        "search_seconds": 1.0,
        "train_seconds": 1.0,
        "test_seconds": 1.0,
        "fields": 1,
        "dims": 1,
        "params": 1,
        "export_mib": 1.0,
    }
    other = {**record, "name": "b", "calibration": {}}  # of a task without
    text = tables.summary_table([record, other])
    assert "calibration error" in text and "0.0321" in text and "0.4568" not in text
    assert text.splitlines()[-1].split()[:6] == ["b", "0.6000", "0.5000", "0.7000", "0.5123", "-"]
    text = tables.summary_table([{**record, "calibrate": True}])
    assert text.splitlines()[-1].split()[:8] == [
        "a",
        "0.6000",
        "0.5000",
        "0.7000",
        "0.5123",
        "0.0321",
        "0.4568",
        "0.0045",
    ]
    assert "calibrated log loss" in text and "calibrated error" in text
