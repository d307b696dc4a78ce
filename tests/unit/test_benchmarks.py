"""What the quality benchmarks compute of their points."""

from __future__ import annotations

import math
import pathlib

import pytest

from benchmarks.common import Experiment, Points, mean_and_spread, over_common_budgets, table
from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.trainer import TrainOptions


def test_means_are_taken_over_the_budgets_that_all_series_reach() -> None:
    points = {"a": {10: 0.5, 1000: 0.7}, "b": {100: 0.6, 10000: 0.6}}
    records = [{"seed": 1, "series": s, "params": p, "auc": v} for s, own in points.items() for p, v in own.items()]
    records.append({"seed": 1, "series": "a", "params": 1000, "auc": 0.9})  # a second point of one size: averaged
    found = over_common_budgets(records)
    # a is read from 100 (half way to .8 in the logarithm) to 1000.
    assert found["a"] == [pytest.approx((0.65 + 0.8) / 2)]
    assert found["b"] == [pytest.approx(0.6)]


def test_spread_needs_two_values() -> None:
    assert mean_and_spread([0.5]) == "0.5000"
    assert mean_and_spread([0.4, 0.6], 2) == f"0.50 ({math.sqrt(0.02):.2f})"


def test_choosing_settings_leaves_the_test_split_unread(tmp_path: pathlib.Path) -> None:
    data = PreprocessOptions(reader="planted(rows=600)")
    experiment = Experiment(data=data, model="lr", train=TrainOptions(batch_size=64, epochs=1), width=2)
    points = Points(experiment, data, str(tmp_path), seed=1)
    points.add_widths((1,))
    records = points.run(test=False)
    assert "test" not in table(records) and "valid AUC" in table(records)
    assert not list(tmp_path.rglob("test.json"))
    tested = points.run()
    assert "test AUC" in table(tested) and "seeds" not in table(tested)
    assert "uniform dim=1 (1 of 2 seeds)" in table([*tested, {**tested[0], "seed": 2, "label": "dim=2"}])
    assert list(tmp_path.rglob("test.json"))
