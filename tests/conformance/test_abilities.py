"""What recipes may ask of the spine: shared pretraining, stopping, frozen parts, second order,
sparse tables, pictures."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
import types

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.files import write_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import Role
from irazor_tf.config.search_result import RouterRef, SearchResult
from irazor_tf.config.specs import Spec, parse_spec
from irazor_tf.embedding.sparse import SparseTable, ZeroedTable, csr_bytes
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.figures import table_mib
from irazor_tf.model.gate import Gate
from irazor_tf.search.method import METHODS, Explanation, Search, SearchMethod, Traits
from irazor_tf.search.notices import Notice
from irazor_tf.search.pictures import (
    Bars,
    HeatMap,
    Histogram,
    Lines,
    Picture,
    load_pictures,
    save_pictures,
)
from irazor_tf.search.run import run_search, search_folder
from irazor_tf.serving.export import export
from irazor_tf.serving.versions import size_report
from irazor_tf.training import cost as cost_module
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.steps import Joint, Unrolled
from tests.conformance import cases, runs
from tests.conformance.toys import column_gate

CASE = cases.named("fde")


class Shrinking(Gate):
    """Pulls all tables towards 0, reading them whole; has no weights."""

    def penalty(self, embedding, x, ids):
        return {
            "network": tf.add_n([tf.reduce_sum(tf.square(table)) for table in embedding.tables])
        }


def test_a_pretraining_is_done_once_for_all_who_ask_for_the_same(tiny, tmp_path, monkeypatch):
    root = tiny.trainer(CASE, tmp_path)
    one, other = root.inside("search/one"), root.inside("search/other")
    fits = runs.watch_fits(monkeypatch)
    first = one.pretrain(tiny.space, epochs=1)
    assert len(fits) == 1
    second = other.pretrain(tiny.space, epochs=1)
    assert len(fits) == 1 and not runs.differing(tables(first), tables(second))
    assert (
        list(one.pretrained) == list(other.pretrained)
        and len(list(tmp_path.glob("pretrained/*/state.json"))) == 1
    )
    shrunk = other.pretrain(tiny.space, epochs=1, gates={"embedding": Shrinking()}, key="shrinking")
    assert len(fits) == 2 and runs.differing(tables(first), tables(shrunk))
    assert np.abs(shrunk.embedding.tables[0]).sum() < np.abs(first.embedding.tables[0]).sum()
    with pytest.raises(ValueError, match="should have no weights to train. Received: .*alpha"):
        one.pretrain(tiny.space, epochs=1, gates={"embedding": column_gate(tiny.space)})


def test_pretrainings_by_other_optimizers_are_others(tiny, tmp_path, monkeypatch):
    """Whoever asks with the same recipe shares one, and it is by that recipe."""
    root, fits = tiny.trainer(CASE, tmp_path), runs.watch_fits(monkeypatch)
    ours = {"network": "sgd(learning_rate=0.5)"}
    models = [
        root.inside(name, optimizers=own).pretrain(tiny.space, epochs=1)
        for name, own in (("a", {}), ("b", ours), ("c", ours))
    ]
    assert len(fits) == 2 and len(list(tmp_path.glob("pretrained/*/state.json"))) == 2
    assert runs.differing(tables(models[0]), tables(models[1])) and not runs.differing(
        tables(models[1]), tables(models[2])
    )
    assert (
        type(models[1].optimizers["network"]).__name__
        == "SGD"
        != type(models[0].optimizers["network"]).__name__
    )
    assert type(models[1].optimizers["bias"]) is type(models[0].optimizers["bias"]), (
        "what a recipe leaves out, the flags say"
    )


def tables(model):
    return {f"{i}:{table.name}": table.numpy() for i, table in enumerate(model.embedding.tables)}


def test_a_fit_ends_where_stop_says_so_and_stays_ended(tiny, tmp_path):
    asked: list[int] = []

    def stop(history):
        asked.append(len(history))
        assert "auc" in history[-1]
        return len(history) == 2

    trainer = tiny.trainer(CASE, tmp_path)
    assert len(
        trainer.fit(trainer.build(tiny.space), "stopped", FitPlan(epochs=5, stop=stop))
    ) == 2 and asked == [1, 2]
    assert len(
        trainer.fit(trainer.build(tiny.space), "stopped", FitPlan(epochs=5, stop=stop))
    ) == 2 and asked == [1, 2]


def test_a_trained_model_is_kept_where_going_on_makes_it_worse(tiny, tmp_path):
    options = dataclasses.replace(runs.OPTIONS, patience=1, epochs=4)
    trainer = tiny.trainer(CASE, tmp_path, options=options)
    model = trainer.build(tiny.space)
    trainer.fit(model, "first", FitPlan(epochs=2, patience=0))
    before, started = tables(model), trainer.evaluate(model, trainer.valid)["auc"]
    wild = {"network": "adam(learning_rate=1.0)", "bias": "adam(learning_rate=1.0)"}
    history = trainer.fit(model, "worse", FitPlan(optimizers=wild, keep_start=True))
    assert [record["auc"] < started for record in history] == [True]
    assert not runs.differing(before, tables(model))
    again = trainer.build(tiny.space)
    assert trainer.fit(
        again, "worse", FitPlan(optimizers=wild, keep_start=True)
    ) == history and not runs.differing(before, tables(again))
    better = trainer.fit(model, "better", FitPlan(keep_start=True))
    assert max(record["auc"] for record in better) > started and runs.differing(
        before, tables(model)
    )


def test_parts_of_a_model_can_be_frozen(tiny, tmp_path):
    trainer = tiny.trainer(CASE, tmp_path)
    model = trainer.build(tiny.space)
    before = {variable.name: variable.numpy() for variable in model.trainable_variables}
    trainer.fit(model, "frozen", FitPlan(epochs=1, frozen=("base", "linear")))
    moved = {
        v.name for v in model.trainable_variables if not np.array_equal(v.numpy(), before[v.name])
    }
    still = {v.name for part in (model.base, model.linear) for v in part.trainable_variables}
    assert moved == {v.name for v in model.trainable_variables} - still
    with pytest.raises(ValueError, match="`frozen` should name some of .*base.* Received: nobody"):
        trainer.fit(model, "other", FitPlan(epochs=1, frozen=("nobody",)))


def test_penalties_enter_every_third_batch_three_times(tiny, tmp_path, monkeypatch):
    trainer = tiny.trainer(CASE, tmp_path)
    fresh, model = (trainer.build(tiny.space, {"embedding": Shrinking()}) for _ in range(2))
    batch = tiny.batch("train")
    without, once, thrice = (
        model.gradients(batch, ("network",), penalties=factor)[1]["network"]
        for factor in (0.0, 1.0, 3.0)
    )
    table = model.embedding.tables[0]
    for factor, found in ((1, once), (3, thrice)):
        extra = tf.convert_to_tensor(found[0]) - tf.convert_to_tensor(without[0])
        np.testing.assert_allclose(extra, factor * 2 * table.numpy(), rtol=1e-4, atol=1e-5)
    factors: list[float] = []
    descend = type(model).descend

    def watched(self, element, groups, **settings):
        factors.append(settings.get("penalties", 1.0))
        return descend(self, element, groups, **settings)

    monkeypatch.setattr(type(model), "descend", watched)
    step = Joint(penalty_every=3)
    (record,) = trainer.fit(model, "thrice", FitPlan(epochs=1, step=step))
    first, last = (
        sum(float(tf.reduce_sum(tf.square(table))) for table in made.embedding.tables)
        for made in (fresh, model)
    )
    assert last < record["penalty_network"] < first, "the mean over the epoch, by its own weight"
    assert factors == [3.0, 0.0, 0.0]  # one trace
    assert int(model.clock) == step.steps_per_epoch(trainer.train, 128) == 25 // 3
    with pytest.raises(ValueError, match="`penalty_every` should be at least 1. Received: 0"):
        Joint(penalty_every=0)


def test_a_virtual_step_leaves_no_trace_and_agrees_over_replicas(tiny, tmp_path, two_replicas):
    """Weights after one real step, and alpha after one step by the second-order gradient, on one
    and on two replicas."""
    found = []
    for name, strategy in (("one", None), ("two", two_replicas)):
        trainer = tiny.trainer(CASE, tmp_path / name, strategy=strategy)
        with trainer.scope():
            gates = {"embedding": column_gate(tiny.space)}
        model = trainer.build(tiny.space, gates)
        history = trainer.fit(
            model,
            "unrolled",
            FitPlan(
                epochs=1,
                step=Unrolled(xi=0.5),
                optimizers={"architecture": "sgd(learning_rate=0.1)"},
            ),
        )
        found.append(
            [variable.numpy() for variable in model.trainable_variables] + [history[0]["auc"]]
        )
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)
    # Against weights alone: where the architecture is frozen, all other numbers are those of a fit
    # that never unrolls.
    weights = []
    for step in (Unrolled(xi=0.5), Unrolled(xi=1e-3)):
        trainer = tiny.trainer(CASE, tmp_path / f"frozen-{step.xi}")
        model = trainer.build(tiny.space, {"embedding": column_gate(tiny.space)})
        trainer.fit(
            model,
            "fit",
            FitPlan(
                epochs=1,
                step=step,
                optimizers={"architecture": "sgd(learning_rate=1e-30)"},
            ),
        )
        # What alpha moves is less than its last bit, so the virtual step is all that differs.
        weights.append(runs.values(model))
    assert not runs.differing(*weights)
    with pytest.raises(ValueError, match="`xi` should be above 0. Received: 0"):
        Unrolled(xi=0)


def test_a_sparse_table_reads_like_the_masked_one():
    generator = np.random.default_rng(0)
    table = generator.normal(size=(50, 7)).astype(np.float32)
    kept = generator.random((50, 7)) < 0.2
    for dim in (256, 257, 600):  # column numbers that one byte holds, and such that it does not
        wide, some = (
            generator.normal(size=(9, dim)).astype(np.float32),
            generator.random((9, dim)) < 0.1,
        )
        some[:, -1] = True
        served = SparseTable(wide, some, f"wide_{dim}")
        np.testing.assert_array_equal(
            served(tf.constant([[8, 0]], tf.int64))[0], np.where(some, wide, 0)[[8, 0]]
        )
        assert csr_bytes(int(some.sum()), 9, dim) == sum(
            variable.numpy().nbytes for variable in served.variables
        )
    kept[3] = False
    kept[4] = True
    index = tf.constant([[3, 4, 49], [0, 0, 3]], tf.int64)
    found = SparseTable(table, kept, "sparse")(index)
    np.testing.assert_array_equal(found, np.where(kept, table, 0)[index.numpy()])
    nothing = SparseTable(table, np.zeros_like(kept), "nothing")(index)
    np.testing.assert_array_equal(nothing, np.zeros((2, 3, 7), np.float32))
    assert SparseTable.is_smaller(kept) and not SparseTable.is_smaller(np.ones_like(kept))
    assert not SparseTable.is_smaller(np.zeros_like(kept))
    np.testing.assert_array_equal(ZeroedTable(table, kept, "dense")(index), found)
    empty = ZeroedTable(table, np.zeros_like(kept), "empty")
    np.testing.assert_array_equal(empty(index), nothing)
    assert not empty.variables


def masked_config(tiny: runs.Tiny, share: float) -> InputConfig:
    generator = np.random.default_rng(1)
    fields = {}
    for name, field in tiny.space.fields.items():
        mask = BitMask.from_array(
            generator.random((tiny.schema.field(name).vocabulary_size, field.dim)) < share
        )
        fields[name] = FieldConfig(field.dim, field.labels, mask)
    return InputConfig(fields)


@pytest.mark.parametrize("model", ["mlp(hidden=(8,))", "fm"])
def test_a_masked_model_is_served_sparse_and_scores_the_same(model, tiny, tmp_path):
    trainer = tiny.trainer(dataclasses.replace(CASE, model=parse_spec(model)), tmp_path)
    config = masked_config(tiny, 0.1)
    masked = trainer.build(config)
    path = export(masked, tiny.schema, str(tmp_path / "export"))
    batch = tiny.batch()["ids"]
    raw = runs.raw_features(tiny.schema, batch.numpy(), masked.kept)
    served = tf.saved_model.load(path).signatures["serving_default"](**raw)[masked.task.output]
    np.testing.assert_array_equal(served, masked.predict_proba(batch))
    names = [variable.name for variable in tf.saved_model.load(path).weights]
    assert any("served" in name for name in names) and not any(
        "mask_" in name or "/table_6" in name for name in names
    )
    assert not any("served" in variable.name for variable in masked.variables), (
        "the model is left as it was"
    )
    whole = export(trainer.build(tiny.space), tiny.schema, str(tmp_path / "whole"))
    entries = config.num_params(tiny.schema)
    saved = size_report(whole)["variables"] - size_report(path)["variables"]
    assert saved > 4 * (tiny.space.num_params(tiny.schema) - entries) - 5 * entries - 4 * 400 - 2000


def test_a_lightly_masked_model_is_served_without_its_masks(tiny, tmp_path):
    """Where compressed rows would be larger, and where a width has no entry left."""
    trainer = tiny.trainer(dataclasses.replace(CASE, model=parse_spec("fm")), tmp_path)
    config = masked_config(tiny, 0.9)
    name, rows = "noise_high", tiny.schema.field("noise_high").vocabulary_size
    fields = {
        **config.fields,
        name: FieldConfig(1, mask=BitMask.from_array(np.zeros((rows, 1), bool))),
    }
    config = InputConfig(fields)
    masked = trainer.build(config)
    path = export(masked, tiny.schema, str(tmp_path / "export"))
    batch = tiny.batch()["ids"]
    loaded = tf.saved_model.load(path)
    served = loaded.signatures["serving_default"](
        **runs.raw_features(tiny.schema, batch.numpy(), masked.kept)
    )[masked.task.output]
    np.testing.assert_array_equal(served, masked.predict_proba(batch))
    assert (
        masked.num_dims() == runs.WIDTH * (len(config.fields) - 1) and config.stored_dims[name] == 0
    )
    shapes = [tuple(variable.shape) for variable in loaded.weights if "served" in variable.name]
    assert shapes == [(tiny.schema.num_features - rows, runs.WIDTH)]


def test_a_share_that_keeps_no_column_is_named(tiny, tmp_path):
    model = tiny.trainer(CASE, tmp_path).build(tiny.space)
    with pytest.raises(
        ValueError,
        match=r"`share` of magnitude should leave at least .* 3 .*, and leaves 2\. Received: "
        r"0\.001",
    ):
        METHODS.build("magnitude(share=0.001)").derive(Search(model), tiny.space)


def test_sizes_of_masked_tables(tiny):
    config = masked_config(tiny, 0.1)
    entries, rows = config.num_params(tiny.schema), tiny.schema.num_features
    found = table_mib(Candidate(Role.FOUND, "x", SearchResult((config,), Spec("fde"))), tiny.schema)
    assert found["dense"] * 2**20 == 4 * rows * runs.WIDTH
    assert found["coo"] * 2**20 == 12 * entries and found["csr"] * 2**20 == 5 * entries + 4 * (
        rows + len(tiny.schema.fields)
    )


class Talkative(SearchMethod):
    """Takes everything, says so twice, and draws all it can."""

    traits = Traits(init="keep", ranks_fields=False)

    def gates(self, schema, space):
        return {"embedding": column_gate(space)}

    def derive(self, search, space, budget=None):
        search.notices.add("took everything")
        return space

    def search(self, trainer, space, budget=None, search=None):
        result, search = super().search(trainer, space, budget, search)
        return dataclasses.replace(result, keep_gates=True), search

    def explain(self, search, configs):
        return Explanation(pictures=PICTURES, notices=(Notice("could not help it"),))


PICTURES: list[Picture] = [
    HeatMap("a heat map", np.arange(6.0).reshape(2, 3), ("a", "b"), ("x", "y", "z"), "colour"),
    Bars("bars", ("a", "b"), np.array([1.0, 2.0]), "length"),
    Lines(
        "lines",
        np.array([1.0, 10.0]),
        {"one": np.array([1.0, 2.0]), "two": np.array([2.0, 1.0])},
        ("x", "y"),
        True,
    ),
    Histogram(
        "a histogram", np.array([0.0, 0.5, 1.0]), np.array([3, 400]), "p", {"threshold": 0.5}
    ),
]


def test_notices_pictures_and_cost_lie_beside_the_search(tiny, tmp_path, caplog):
    METHODS.register("talkative")(Talkative)
    try:
        trainer = tiny.trainer(CASE, tmp_path)
        trainer.inside("elsewhere").pretrain(tiny.space, epochs=1)
        with caplog.at_level("WARNING"):
            _, result, search, place = run_search(trainer, METHODS.build("talkative"), tiny.space)
        assert result.notices == ("could not help it", "took everything")
        assert [record.getMessage() for record in caplog.records] == [
            "talkative(): could not help it",
            "talkative(): took everything",
        ]
        result.save(str(tmp_path / "result.json"))
        assert SearchResult.load(str(tmp_path / "result.json")) == result
        folder = pathlib.Path(tmp_path, place)
        for before, after in zip(
            PICTURES, load_pictures(str(folder / "pictures.json")), strict=True
        ):
            assert str(before) == str(after) and type(before) is type(after)
        cost = json.loads((folder / "search_cost.json").read_text())
        assert (
            cost["steps"] == int(search.model.clock) == 2 * 25 and cost["seconds"] == result.seconds
        )
        assert cost["peak_mib"] > 100 and cost["pretraining"] == {"seconds": 0, "steps": 0}
    finally:
        METHODS.remove("talkative")
    save_pictures([], str(tmp_path / "none.json"))
    assert not (tmp_path / "none.json").exists()


class Pretrained(SearchMethod):
    """Takes everything after an epoch that all its settings share."""

    @dataclasses.dataclass(frozen=True)
    class Params:
        number: int = 0

    traits = Traits(init="keep", ranks_fields=False)

    def derive(self, search, space, budget=None):
        return space

    def search(self, trainer, space, budget=None, search=None):
        search = Search(trainer.pretrain(space, epochs=1))
        return SearchResult((space,), self.spec(), self.traits.init), search


def test_a_shared_pretraining_counts_in_every_search_that_uses_it(tiny, tmp_path, monkeypatch):
    """Beside it the searches take 1,000 seconds, which an earlier call has spent, and none of
    their own, for which the clock of the search stands still."""
    trainer = tiny.trainer(CASE, tmp_path)
    monkeypatch.setattr(cost_module, "time", types.SimpleNamespace(perf_counter=lambda: 0.0))
    fits = runs.watch_fits(monkeypatch)
    METHODS.register("pretrained")(Pretrained)
    try:
        for number in (1, 2):
            method = METHODS.build(f"pretrained(number={number})")
            folder = tmp_path / search_folder(method, tiny.space)
            write_json(str(folder / "search_cost.json"), {"unfinished_seconds": 1000.0})
            result = run_search(trainer, method, tiny.space).result
            cost = json.loads((folder / "search_cost.json").read_text())
            assert len(fits) == 1
            assert cost["steps"] == cost["pretraining"]["steps"] == 25
            assert 0 < cost["pretraining"]["seconds"] < 100
            assert cost["seconds"] == pytest.approx(1000.0 + cost["pretraining"]["seconds"])
            assert result.seconds == cost["seconds"]
    finally:
        METHODS.remove("pretrained")


def test_seconds_of_a_killed_search_are_those_of_its_fits(tiny, tmp_path, monkeypatch):
    """Whatever the process that finishes it took: what a fit wrote down before stays."""
    trainer, method = tiny.trainer(CASE, tmp_path), METHODS.build("irazor(epochs=2)")
    derive = type(method).derive
    monkeypatch.setattr(
        type(method), "derive", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        run_search(trainer, method, tiny.space)
    monkeypatch.setattr(type(method), "derive", derive)
    folder = pathlib.Path(tmp_path, search_folder(method, tiny.space))
    (path,) = folder.glob("*/state.json")
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {"seconds": 5000.0}))
    result = run_search(trainer, method, tiny.space).result
    assert 5000.0 < result.seconds < 5100.0


def test_a_pretraining_that_fails_is_counted_once(tiny, tmp_path, monkeypatch):
    trainer, method, start = (
        tiny.trainer(CASE, tmp_path),
        METHODS.build("sseds(epochs=3)"),
        time.perf_counter(),
    )
    evaluate, calls = Trainer.evaluate, []

    def failing(*args):
        calls.append(1)
        if len(calls) == 3:
            raise OSError("the disk is full")
        return evaluate(*args)

    monkeypatch.setattr(Trainer, "evaluate", failing)
    with pytest.raises(OSError, match="the disk is full"):
        run_search(trainer, method, tiny.space)
    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    result = run_search(trainer, method, tiny.space).result
    assert 0 < result.seconds < time.perf_counter() - start


def test_what_a_router_stores_counts(tiny):
    router = RouterRef("toy_routed", {"clusters": 2}, None, params=1000)
    config = tiny.space
    result = SearchResult((config, config), Spec("toy_routed"), router=router)
    assert Candidate(Role.FOUND, "x", result).num_params(
        tiny.schema
    ) == 1000 + 2 * config.num_params(tiny.schema)
    with pytest.raises(
        ValueError, match="`keep_gates` should go with `init` keep. Received: 'fresh'"
    ):
        SearchResult((config,), Spec("fde"), keep_gates=True)
