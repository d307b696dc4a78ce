"""What each method promises beyond the laws: its ranking, its budgets, its settings."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.specs import Spec, parse_spec
from irazor_tf.methods.irazor import regions
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, Search
from irazor_tf.search.run import run_search
from tests.conformance import cases, runs
from tests.conformance.laws import on_case

MLP = Spec("mlp", (("hidden", (4,)),))
STOPPED = next(
    spec for spec in cases.VARIANTS["irazor"] if dict(spec.arguments).get("stop_at_best")
)
STOPPED_CASE = cases.Case(STOPPED, cases.named("irazor").model)
on_stopped = pytest.mark.parametrize("case", [on_case(STOPPED_CASE)])


def built(method: str, tiny: runs.Tiny, folder: pathlib.Path) -> Recommender:
    """An untrained supernet with tables of ordinary size."""
    trainer = tiny.trainer(cases.Case(parse_spec(method), MLP), folder)
    supernet = trainer.build(tiny.space, METHODS.build(method).gates(tiny.schema, tiny.space))
    generator = np.random.default_rng(0)
    assert supernet.embedding is not None
    for table in supernet.embedding.tables:
        table.assign(
            generator.normal(0, 1, table.shape) * generator.uniform(0.2, 2, table.shape[-1])
        )
    return supernet


@pytest.mark.parametrize("part", [0.05, 0.3, 0.8])
def test_magnitude_keeps_the_columns_that_put_out_the_most(
    part: float, tiny: runs.Tiny, tmp_path: pathlib.Path
) -> None:
    """Against the standard deviation of what every column puts out, row by row of the training
    split."""
    supernet = built("magnitude", tiny, tmp_path)
    assert supernet.embedding is not None
    budget = int(part * tiny.space.num_params(tiny.schema))
    ranked = []
    for name in tiny.schema.names:
        put_out = np.repeat(supernet.embedding.field_table(name), tiny.schema.counts[name], axis=0)
        ranked += [
            (float(np.std(column, dtype=np.float64)), name, j) for j, column in enumerate(put_out.T)
        ]
    expected: dict[str, list[int]] = {name: [] for name in tiny.schema.names}
    left = budget
    for _, name, j in sorted(ranked, reverse=True):
        if tiny.schema.field(name).vocabulary_size <= left:
            expected[name].append(j)
            left -= tiny.schema.field(name).vocabulary_size
    found = METHODS.build("magnitude").derive(Search(supernet), tiny.space, budget)
    assert {name: sorted(field.labels) for name, field in found.fields.items()} == {
        name: sorted(own) for name, own in expected.items()
    }


def test_irazor_takes_the_widest_config_that_fits(tiny: runs.Tiny, tmp_path: pathlib.Path) -> None:
    """Against Algorithm 1 at every threshold that changes anything."""
    method, supernet = METHODS.build("irazor"), built("irazor", tiny, tmp_path)
    gate = supernet.gates["embedding"]
    gate.logits.assign(np.random.default_rng(1).normal(0, 0.05, gate.logits.shape))
    alpha = gate.alpha().numpy().astype(np.float64)
    sizes = set()
    for cpt in regions.thresholds(alpha):
        pairs = zip(alpha, method.candidates(tiny.space), strict=True)
        dims = [
            regions.region_sizes(own)[list(regions.prune(row[: len(own)], cpt))].sum()
            for row, own in pairs
        ]
        sizes.add(int(np.dot(dims, tiny.schema.vocabulary_sizes)))
    sizes.discard(0)
    assert len(sizes) > 10
    for size in sizes:
        for budget in (size, size + 1):
            fitting = max(other for other in sizes if other <= budget)
            assert (
                method.derive(Search(supernet), tiny.space, budget).num_params(tiny.schema)
                == fitting
            )


def test_uniform_width_takes_the_widest_that_fits(tiny: runs.Tiny, tmp_path: pathlib.Path) -> None:
    supernet, method = built("fde", tiny, tmp_path), METHODS.build("fde")
    for dim in range(1, runs.WIDTH):
        narrower, wider = (
            InputConfig.uniform(tiny.schema, width).num_params(tiny.schema)
            for width in (dim, dim + 1)
        )
        for budget in (narrower, wider - 1):
            assert set(method.derive(Search(supernet), tiny.space, budget).dims.values()) == {dim}


def test_random_widths_use_the_budget_and_differ_by_seed(
    tiny: runs.Tiny, tmp_path: pathlib.Path
) -> None:
    supernet, budget = built("random", tiny, tmp_path), tiny.space.num_params(tiny.schema) // 3
    found = [
        METHODS.build(f"random(seed={seed})").derive(Search(supernet), tiny.space, budget)
        for seed in range(20)
    ]
    assert min(config.num_params(tiny.schema) for config in found) > 0.97 * budget
    assert len({tuple(config.dims.values()) for config in found}) > 15
    assert METHODS.build("random(seed=3)").derive(Search(supernet), tiny.space, budget) == found[3]


@on_stopped
def test_alpha_rests_in_the_warm_up(case, searched, tiny: runs.Tiny) -> None:
    run = searched(case)
    assert [("architecture" in fit.frozen) for fit in run.fits] == [True, False, False]
    assert (
        dict(STOPPED.arguments)["warmup"] == 1 and dict(STOPPED.arguments)["search_steps"] == 25
    )  # a whole epoch and a part of one


@on_stopped
def test_the_best_epoch_is_that_of_the_held_out_rows(case, searched, tiny: runs.Tiny) -> None:
    run = searched(case)
    (state,) = pathlib.Path(run.trainer.work_dir).rglob("supernet/state.json")
    best = json.loads(state.read_text())["best"]["value"]
    held_out = run.trainer.train.held_out(dict(STOPPED.arguments)["held_out"])[1]
    losses = [
        run.trainer.evaluate(run.supernet, rows)["log_loss"]
        for rows in (held_out, run.trainer.valid)
    ]
    assert losses[0] == pytest.approx(abs(best), rel=1e-6) and losses[1] != pytest.approx(
        losses[0], rel=1e-3
    )


def test_no_field_is_searched_wider_than_its_last_candidate(
    tiny: runs.Tiny, tmp_path: pathlib.Path, caplog
) -> None:
    spec = (
        "irazor(candidates={'strong_a': (0, 1, 3), 'pair_b': (2, 99), '': (0, 2)}, epochs=1, "
        "cpt=1.0)"
    )
    trainer = tiny.trainer(cases.Case(parse_spec(spec), MLP), tmp_path)
    caplog.set_level("WARNING", "irazor_tf")
    outcome = run_search(trainer, METHODS.build(spec), tiny.space)
    result, supernet = outcome.result, outcome.search.model
    expected = dict.fromkeys(tiny.schema.names, 2) | {"strong_a": 3, "pair_b": runs.WIDTH}
    assert result.config.dims == supernet.config.dims == expected
    assert "candidates wider than the field is in the space are cut there: pair_b\n" in caplog.text
    whole = METHODS.build(spec).derive(
        Search(supernet), tiny.space, tiny.space.num_params(tiny.schema)
    )
    assert whole.dims == expected


def test_a_width_above_the_space_is_said_and_recorded_as_it_is(
    tiny: runs.Tiny, tmp_path: pathlib.Path, caplog
) -> None:
    trainer = tiny.trainer(cases.Case(Spec("fde"), MLP), tmp_path)
    caplog.set_level("WARNING", "irazor_tf")
    result = run_search(trainer, METHODS.build("fde(dim=30)"), tiny.space).result
    assert str(result.method) == f"fde(dim={runs.WIDTH})" and set(result.config.dims.values()) == {
        runs.WIDTH
    }
    assert f"fde(dim=30): the space is no wider than {runs.WIDTH}" in caplog.text
    labels = [label for label, _ in METHODS.build("fde(sweep=(1, 6, 7))").sweep(tiny.space)]
    assert labels == ["dim=1", "dim=6"]


@pytest.mark.parametrize("name", ["magnitude", "random"])
def test_controls_have_a_curve_of_their_own(
    name: str, tiny: runs.Tiny, tmp_path: pathlib.Path
) -> None:
    supernet, whole = built(name, tiny, tmp_path), tiny.space.num_params(tiny.schema)
    sizes = [
        method.derive(Search(supernet), tiny.space).num_params(tiny.schema)
        for _, method in METHODS.build(name).sweep(tiny.space)
    ]
    for part, size in zip((1 / 16, 1 / 8, 1 / 4), sizes, strict=True):
        assert 0.9 * part * whole < size <= part * whole
    with pytest.raises(
        ValueError, match=rf"`sweep` of {name} should lie in \(0, 1\]\. Received: 2"
    ):
        METHODS.build(f"{name}(sweep=(0.5, 2.0))")
