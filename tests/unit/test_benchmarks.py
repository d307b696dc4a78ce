"""What the quality benchmarks compute of their points."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import pytest
from scipy.stats import ttest_rel

from benchmarks import mends, methods, recipes
from benchmarks.common import Experiment, Points, mean_and_spread, over_common_budgets, table
from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.config.specs import Spec, parse_spec
from irazor_tf.search.method import METHODS
from irazor_tf.training.options import TrainOptions


def test_means_are_taken_over_the_budgets_that_all_series_reach() -> None:
    points = {"a": {10: 0.5, 1000: 0.7}, "b": {100: 0.6, 10000: 0.6}}
    records = [
        {"seed": 1, "series": s, "params": p, "auc": v}
        for s, own in points.items()
        for p, v in own.items()
    ]
    records.append(
        {"seed": 1, "series": "a", "params": 1000, "auc": 0.9}
    )  # a second point of one size: averaged
    found = over_common_budgets(records)
    # a is read from 100 (half way to .8 in the logarithm) to 1000.
    assert found["a"] == [pytest.approx((0.65 + 0.8) / 2)]
    assert found["b"] == [pytest.approx(0.6)]


def test_spread_needs_two_values() -> None:
    assert mean_and_spread([0.5]) == "0.5000"
    assert mean_and_spread([0.4, 0.6], 2) == f"0.50 ({math.sqrt(0.02):.2f})"


def test_points_are_compared_with_what_they_should_be() -> None:
    """The best uniform model, i-Razor at the same budget whatever it uses of it, and an ablation's
    whole method."""

    def of(
        series: str, label: str, seed: int, auc: float, params: int, budget: int | None
    ) -> dict[str, Any]:
        found = {
            "series": series,
            "label": label,
            "seed": seed,
            "params": params,
            "budget": budget,
            "fields": 3,
            "search_seconds": 1.0,
        }
        return found | {"valid_auc": auc, "auc": auc - 0.01, "log_loss": 1 - auc}

    records = []
    for seed in (1, 2, 3):
        noise = 0.001 * seed**2
        records += [
            of("uniform", "dim=2", seed, 0.70, 200, None),
            of("uniform", "dim=4", seed, 0.75, 400, None),
        ]
        records += [
            of("i-Razor", "a half", seed, 0.74, 150, 200),
            of("SSEDS", "a half", seed, 0.73 + noise, 199, 200),
        ]
        records += [
            of("iHAS", "a half", seed, 0.71, 900, 200),
            of("SSEDS without ticket", "a half", seed, 0.72 - noise, 199, 200),
        ]
        if seed < 3:
            records.append(of("random", "a half", seed, 0.6, 200, 200))
    assert methods.best_uniform(records) == ("dim=4", 400)
    header, rows = methods.compared_rows("criteo-deepfm", records, methods.TEST)
    found = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    p = ttest_rel([0.73 + 0.001 * k**2 for k in (1, 2, 3)], [0.74] * 3).pvalue
    assert (
        found["SSEDS, a half"]["test AUC less i-Razor's"]
        == f"{0.73 + 0.014 / 3 - 0.74:+.4f} (p {p:.3f})"
    )
    assert found["SSEDS, a half"]["test AUC less uniform's"].startswith("-0.0153 (p ")
    assert found["SSEDS, a half"]["test log loss less uniform's"].startswith("+0.0153 (p ")
    assert found["SSEDS without ticket, a half"]["test AUC less its method's"].startswith(
        f"{-0.01 - 0.028 / 3:+.4f} (p "
    )
    assert found["iHAS, a half"]["test AUC less i-Razor's"] == "-", "it is larger than its budget"
    assert (
        found["uniform, dim=4"]["test AUC less uniform's"]
        == "-"
        == found["i-Razor, a half"]["test AUC less i-Razor's"]
    )
    assert found["random, a half (2 of 3 seeds)"]["test AUC less i-Razor's"] == "-"


def test_every_series_has_a_point_per_budget() -> None:
    budgets = {"a quarter of uniform dim=8": 10, "a half of uniform dim=8": 20}

    def labels(specs: Any, *, part: bool = False) -> list[tuple[str, str, int | None]]:
        return methods.points_of(specs, "movielens", budgets, 16, part=part)

    quarter, half = budgets
    assert labels("ham(size={size})") == [(quarter, "ham(size=10)", 10), (half, "ham(size=20)", 20)]
    assert labels({"a quarter": "dnis()", "a half": "sseds()"}) == [
        (quarter, "dnis()", 10),
        (half, "sseds()", 20),
    ]
    routed = (methods.OWN_SIZE, "ihas()", None)
    assert labels("ihas()") == [routed, (quarter, "ihas()", 10), (half, "ihas()", 20)]
    assert labels("ihas(clusters=1)", part=True) == [(methods.OWN_SIZE, "ihas(clusters=1)", None)]
    for name in methods.WIDTHS:
        experiment = methods.experiment_of(name)
        every = [
            methods.IRAZOR[name],
            *methods.METHODS.values(),
            *methods.SPECIAL.get(name, {}).values(),
        ]
        every += [spec for own in methods.ABLATIONS.get(name, {}).values() for spec in own.values()]
        assert all(
            len(methods.points_of(specs, name, budgets, experiment.width, part=False)) >= 2
            for specs in every
        )


def test_choosing_settings_leaves_the_test_split_unread(tmp_path: pathlib.Path) -> None:
    data = PreprocessOptions(reader="planted(rows=600)")
    experiment = Experiment(
        data=data, model="lr", train=TrainOptions(batch_size=64, epochs=1), width=2
    )
    points = Points(experiment, data, str(tmp_path), seed=1)
    points.add_widths((1,))
    records = points.run(test=False)
    assert "test" not in table(records) and "valid AUC" in table(records)
    assert not list(tmp_path.rglob("test.json"))
    tested = points.run()
    assert "test AUC" in table(tested) and "seeds" not in table(tested)
    assert "uniform dim=1 (1 of 2 seeds)" in table(
        [*tested, {**tested[0], "seed": 2, "label": "dim=2"}]
    )
    assert list(tmp_path.rglob("test.json"))


@pytest.mark.parametrize("name", list(methods.WIDTHS))
def test_every_series_is_a_method(name: str) -> None:
    """And those as published have their papers' optimizers."""
    for series, specs in {**methods.series_of(name), **methods.ablations_of(name)}.items():
        for spec in [specs] if isinstance(specs, str) else specs.values():
            method = methods.SEARCHES.build(spec.format(size=10, width=16, slow=methods.SLOW[name]))
            assert bool(method.traits.recipe) == (series.endswith(("as published", "Adam"))), series


def test_what_mends_change_is_told_by_series_and_point() -> None:
    for group in mends.GROUPS:
        for spec in mends.specs_of(group, "criteo").values():
            METHODS.build(spec.format(size=100, width=4, slow="sgd"))
    of = {"series": "HAM", "label": "a half", "params": 90, "log_loss": 0.5}
    records = [
        of | {"auc": 0.7 + 0.01 * seed, "valid_auc": 0.75, "sizes": [200, 100 - seed]}
        for seed in (0, 1)
    ]
    records.append({**of, "series": "SSEDS", "auc": 0.6, "valid_auc": 0.65, "sizes": []})
    header, rows = mends.rows_of(records)
    assert header[-1] == "size after each epoch"
    assert rows[0] == [
        "HAM, a half",
        "2",
        "90",
        "0.7500 (0.0000)",
        "0.7050 (0.0071)",
        "0.5000 (0.0000)",
        "200 100; 200 99",
    ]
    assert rows[1] == ["SSEDS, a half", "1", "90", "0.6500", "0.6000", "0.5000", "-"]


@pytest.mark.parametrize("name", recipes.SETS)
def test_every_recipe_of_the_table_makes_a_job(name: str) -> None:
    for recipe in recipes.RECIPES:
        folder = pathlib.Path(recipes.FOLDERS.get(recipe.removesuffix("_search"), "."))
        there = recipe in recipes.PLAIN or (folder / f"{name}.flags").exists()
        job = recipes.recipe_of(Spec(recipe), name)
        assert (job is not None) == there, recipe
        if job is not None:
            assert (job.method == "fde") == (not recipe.endswith("_search"))
            assert recipe.endswith("_search") or job.budget is None


def test_settings_of_a_recipe_take_the_place_of_its_own() -> None:
    spec = parse_spec("former_preset(width=4, min_count=7, batch_size=32, model='fm')")
    job = recipes.recipe_of(spec, "criteo")
    assert job is not None and job.data is not None
    assert (job.width, job.data.min_count, job.train.batch_size, job.model) == (4, 7, 32, "fm")
    assert job.train.bias_optimizer == "ftrl(learning_rate=0.02)"
    with pytest.raises(
        ValueError,
        match=r"A recipe should be one of before, .*Received: 'befor' \(did you mean 'before'\?\)",
    ):
        recipes.recipe_of(parse_spec("befor"), "criteo")
    with pytest.raises(
        ValueError, match="A setting of a recipe should be one of batch_size, .*Received: 'batch'"
    ):
        recipes.recipe_of(parse_spec("default(batch=3)"), "criteo")
