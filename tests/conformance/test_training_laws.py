"""Laws of training: 1 no retracing, 2 only declared variables move, 3 evaluation has no side
effect, 7 replicas agree, 8 seeds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from irazor_tf.model.base import MODELS, BaseModel
from irazor_tf.model.gate import Gate
from irazor_tf.model.noise import part_of_step
from irazor_tf.model.recommender import Recommender
from irazor_tf.tasks.ctr import ClickThroughRate
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.steps import Alternating, Joint
from tests.conformance import cases, runs
from tests.conformance.laws import Law, law, of_law, with_case


@law(Law.NO_RETRACING, cases.covering_cases())
def test_trains_in_graph_mode_without_retracing(case, searched):
    run = searched(case)
    assert not run.supernet.run_eagerly
    assert len(run.fits) >= cases.EPOCHS
    check_traces(run.fits)


def check_traces(fits: list[runs.Fit]) -> None:
    """The training step is traced where a fit starts or other groups are frozen, the prediction
    step once, and nothing runs eagerly."""
    frozen: frozenset[str] | None = None
    for fit in fits:
        assert fit.eager == 0 and fit.functions == 1
        assert (fit.train_traces > 0) == (fit.epoch == 0 or fit.frozen != frozen), (
            f"traced again: {fits}"
        )
        assert (fit.predict_traces > 0) == (fit.epoch == 0), f"traced again: {fits}"
        frozen = fit.frozen


@of_law(Law.NO_RETRACING)
def test_several_steps_per_call_trace_once(tiny, tmp_path, monkeypatch):
    """With a shorter call at the end of an epoch."""
    case = cases.named("irazor")
    fits = runs.watch_fits(monkeypatch)
    trainer = tiny.trainer(case, tmp_path, options=runs.SEVERAL)
    assert trainer.train.batches_per_epoch(128) % runs.SEVERAL.steps_per_execution
    runs.train(case, trainer, tiny.space)
    assert len(fits) == cases.EPOCHS
    check_traces(fits)


def test_a_trainer_inside_another_shares_its_rows_and_resolved_options(tiny, tmp_path):
    trainer = tiny.trainer(cases.named("fde"), tmp_path)
    inside = trainer.inside("search", {"network": "sgd(learning_rate=0.5)"})
    for name in ("train", "valid", "test", "options", "base", "task", "shared_dir"):
        assert getattr(inside, name) is getattr(trainer, name)
    assert inside.work_dir == str(tmp_path / "search") and trainer.work_dir == str(tmp_path)
    assert inside.optimizers == {"network": "sgd(learning_rate=0.5)"} and not trainer.optimizers
    assert inside.inside("deeper").optimizers == inside.optimizers
    assert inside.pretrained is not trainer.pretrained


@law(Law.DECLARED_VARIABLES, cases.covering_cases())
def test_only_declared_variables_move(case, searched, monkeypatch):
    run = searched(case)
    model, step = run.supernet, run.supernet.step
    group_of = {
        variable.ref(): group
        for group, variables in model.variable_groups.items()
        for variable in variables
    }
    assert {variable.ref() for variable in model.trainable_variables} == set(group_of)
    records = {record.ref() for gate in model.gates.values() for record in gate.records}
    calls: list[tuple[Any, set[str], set[str]]] = []
    descend = Recommender.descend

    def watched(self, batch, groups, **settings):
        before = [variable.numpy() for variable in self.variables]
        loss = descend(self, batch, groups, **settings)
        moved = [
            v
            for v, old in zip(self.variables, before, strict=True)
            if not np.array_equal(v.numpy(), old)
        ]
        allowed = set(groups) - self.frozen
        means = {
            variable.ref() for metric in self.metrics for variable in metric.variables
        }  # of the epoch's losses and penalties
        for variable in (variable for variable in moved if variable.ref() not in means):
            if variable.trainable:
                assert group_of[variable.ref()] in allowed, (
                    f"{variable.name} moved with {sorted(groups)}"
                )
            elif variable.ref() in records:
                assert "architecture" in allowed, f"{variable.name} moved with {sorted(groups)}"
            else:
                assert "moving_" in variable.name, (
                    f"{variable.name} moved though nothing declares it"
                )
        calls.append((batch, set(groups), {group_of[v.ref()] for v in moved if v.trainable}))
        return loss

    monkeypatch.setattr(Recommender, "descend", watched)
    with runs.untouched(model):
        model.frozen = frozenset()
        found = runs.elements(step, run.trainer, 3)
        for element in found:
            clock = int(model.clock)
            model.train_step(element)
            assert int(model.clock) == clock + 1
        moved = set().union(*(call[2] for call in calls))
        assert moved == set(model.groups), (
            "every group with variables should move when none is frozen"
        )
        if isinstance(step, Joint):
            assert [groups for _, groups, _ in calls] == [set(model.groups)] * 3
        if isinstance(step, Alternating):
            check_alternation(step, found, calls)
        for group in model.groups:
            model.frozen = frozenset({group})
            calls.clear()
            model.train_step(found[0])
            assert set().union(*(call[2] for call in calls)) == set(model.groups) - {group}


def check_alternation(step: Alternating, found: list[Any], calls: list[Any]) -> None:
    """Weights from the weights' batches and architecture from the architecture's, in the declared
    order and ratio."""
    expected: list[tuple[Any, set[str]]] = []
    for element in found:
        weights = [(batch, {"bias", "network"}) for batch in element["weights"]]
        assert len(weights) == step.every
        architecture = [(element["architecture"], {"architecture"})]
        expected += architecture + weights if step.architecture_first else weights + architecture
    for (batch, groups, _), (wanted, wanted_groups) in zip(calls, expected, strict=True):
        assert batch is wanted and groups == wanted_groups


def rows_of(elements: Any) -> set[tuple[int, ...]]:
    return {tuple(row) for batch in elements for row in batch["ids"].numpy().tolist()}


@of_law(Law.DECLARED_VARIABLES)
def test_the_streams_of_an_alternating_step_share_no_row(tiny, tmp_path):
    trainer = tiny.trainer(cases.named("fde"), tmp_path)
    step = Alternating(held_out=0.25)
    per_epoch = step.steps_per_epoch(trainer.train, 128)
    found = list(step.elements(trainer.train, trainer.valid, 128, 0, 0).take(2 * per_epoch))
    weights = rows_of(batch for element in found for batch in element["weights"])
    architecture = rows_of(element["architecture"] for element in found)
    everything = rows_of(trainer.train.ordered(512))
    assert not weights & architecture
    assert weights | architecture <= everything
    assert len(everything) == trainer.train.rows
    assert len(architecture) > 0.2 * len(everything) and len(weights) > 0.7 * len(everything)
    # By default the architecture learns from the validation split.
    found = list(Alternating(every=2).elements(trainer.train, trainer.valid, 128, 0, 0).take(3))
    assert rows_of(element["architecture"] for element in found) <= rows_of(
        trainer.valid.ordered(512)
    )
    assert rows_of(batch for element in found for batch in element["weights"]) <= everything


class Borrowing(Gate):
    """Claims a layer of somebody else as architecture."""

    def __init__(self, layer):
        super().__init__(name="borrowing")
        self.borrowed = layer


class Lending(BaseModel):
    """A base model around one layer that others hold too."""

    layer: Any = None

    def __init__(self, *args):
        super().__init__(*args)
        self.lent = self.layer

    def call(self, inputs, training=False):
        return tf.reduce_sum(inputs.flat, axis=1) + tf.squeeze(
            self.lent(inputs.flat[:, :1]), axis=1
        )


class LearningTask(ClickThroughRate, tf.Module):
    """A task with a variable that no part of the model owns."""

    def __init__(self):
        tf.Module.__init__(self)
        ClickThroughRate.__init__(self)
        self.scale = tf.Variable(1.0)


@of_law(Law.DECLARED_VARIABLES)
def test_a_variable_in_two_groups_or_in_none_is_an_error(tiny):
    class Lender(Lending):
        layer = keras.layers.Dense(1, name="lent")

    base = Lender(Lender.Params())
    with pytest.raises(
        ValueError, match=r"in one group. Received: .*lent.* in network and architecture"
    ):
        Recommender(
            tiny.schema,
            tiny.space,
            base,
            ClickThroughRate(),
            gates={"embedding": Borrowing(Lender.layer)},
        )
    with pytest.raises(ValueError, match=r"one of the groups .* Received: none for .*Variable"):
        Recommender(tiny.schema, tiny.space, MODELS.build("mlp(hidden=(4,))"), LearningTask())


@law(Law.NO_SIDE_EFFECT, cases.covering_cases())
def test_evaluation_has_no_side_effect(case, searched, tiny):
    run = searched(case)
    model, trainer = run.supernet, run.trainer
    found = runs.elements(model.step, trainer, 4)

    def steps(part: list[Any]) -> dict[str, np.ndarray]:
        for element in part:
            model.train_step(element)
        return runs.values(model)

    with runs.untouched(model):
        expected = steps(found)
    with runs.untouched(model):
        before = steps(found[:2])
        first = trainer.evaluate(model, trainer.valid)
        for cluster in run.result.clusters:
            trainer.evaluate(model, trainer.valid, cluster)
        trainer.evaluate(model, trainer.valid, tiny.awkward)
        (
            model.num_params(),
            model.num_total_params(),
            run.method.explain(run.search, run.result.clusters),
        )
        run.method.derive(run.search, tiny.space)
        model.restrict(tiny.awkward)
        assert not runs.differing(before, runs.values(model))
        assert trainer.evaluate(model, trainer.valid) == first
        assert not runs.differing(expected, steps(found[2:]))


# Training anew costs most: further settings of a method are for the slow suite.
@law(Law.REPLICAS, cases.covering_cases(variants=False))
def test_one_and_two_replicas_agree(case, searched, tiny, two_replicas, tmp_path):
    run = searched(case)
    check_replicas(run, tiny, tiny.trainer(case, tmp_path, strategy=two_replicas))


@with_case("irazor")
@of_law(Law.REPLICAS)
def test_one_and_two_replicas_agree_with_several_steps_per_call(
    case, searched, tiny, two_replicas, tmp_path
):
    check_replicas(
        searched(case),
        tiny,
        tiny.trainer(case, tmp_path, strategy=two_replicas, options=runs.SEVERAL),
    )


def check_replicas(run: runs.Run, tiny: runs.Tiny, trainer: Trainer) -> None:
    supernet = runs.train(run.case, trainer, tiny.space)[2].model
    assert supernet.clock.values[1].device.endswith("CPU:1")
    sums = {
        variable.ref() for metric in run.supernet.metrics for variable in metric.variables
    }  # of losses over replicas
    for one, two in zip(run.supernet.variables, supernet.variables, strict=True):
        if one.ref() in sums:
            continue
        np.testing.assert_allclose(two.numpy(), one.numpy(), rtol=0, atol=1e-5, err_msg=one.name)
    here, there = runs.histories(run.trainer.work_dir), runs.histories(trainer.work_dir)
    assert here.keys() == there.keys()
    for name, history in here.items():
        for record, other in zip(history, there[name], strict=True):
            assert record == pytest.approx(other, abs=1e-5)
    batch = tiny.batch("valid")
    np.testing.assert_allclose(
        supernet.predict_proba(batch["ids"]),
        run.supernet.predict_proba(batch["ids"]),
        rtol=0,
        atol=1e-5,
    )


# Training anew costs most: further settings of a method are for the slow suite.
@law(Law.SEED, cases.covering_cases(variants=False))
def test_same_seed_same_result(case, searched, tiny, tmp_path):
    run = searched(case)
    again = tiny.trainer(case, tmp_path / "elsewhere" / "again")
    _, result, search = runs.train(case, again, tiny.space)
    supernet = search.model
    assert not runs.differing(run.at_end, runs.values(supernet))
    assert dataclasses.replace(result, seconds=0.0) == dataclasses.replace(run.result, seconds=0.0)
    assert runs.histories(again.work_dir) == runs.histories(run.trainer.work_dir)


@law(Law.SEED, cases.method_cases(), product=False)
def test_another_seed_another_result(case, searched, tiny, tmp_path):
    run = searched(case)
    supernet = runs.train(case, tiny.trainer(case, tmp_path, seed=2), tiny.space)[2].model
    differing = set(runs.differing(run.at_end, runs.values(supernet)))
    trainable = {f"{i}:{v.name}" for i, v in enumerate(supernet.variables) if v.trainable}
    assert trainable <= differing


@of_law(Law.SEED)
def test_another_seed_another_order_of_rows(tiny, tmp_path):
    trainer = tiny.trainer(cases.named("fde"), tmp_path)
    first = [next(iter(trainer.train.batches(128, seed)))["ids"].numpy() for seed in (1, 1, 2)]
    assert np.array_equal(first[0], first[1]) and not np.array_equal(first[0], first[2])


def test_every_training_row_is_seen_once_per_epoch(tiny, tmp_path):
    source = tiny.trainer(cases.named("fde"), tmp_path).train
    per_epoch = source.batches_per_epoch(64)
    batches = list(source.batches(64, 9).take(2 * per_epoch))
    assert per_epoch * 64 == source.rows
    assert (
        rows_of(batches[:per_epoch]) == rows_of(batches[per_epoch:]) == rows_of(source.ordered(512))
    )
    assert not np.array_equal(batches[0]["ids"], batches[per_epoch]["ids"])
    later = next(iter(source.batches(64, 9, per_epoch + 3)))
    assert np.array_equal(later["ids"], batches[per_epoch + 3]["ids"])


@with_case("toy_masked")
@of_law(Law.SEED)
def test_noise_differs_between_the_batches_of_a_step(case, searched, tiny):
    model = searched(case).supernet
    ids = tiny.batch()["ids"]
    with runs.untouched(model):
        plain = model(ids, training=True).numpy()
        found = []
        for number in (0, 1, 2):
            with part_of_step(number):
                found.append(model(ids, training=True).numpy())
        assert np.array_equal(found[0], plain) and np.array_equal(model(ids, training=True), plain)
        assert np.mean(found[1] != plain) > 0.5 and np.mean(found[2] != found[1]) > 0.5


@with_case("toy_masked")
@of_law(Law.SEED)
def test_noise_changes_with_the_step_and_with_nothing_else(case, searched, tiny):
    """Dropout and gate noise: while the clock stands still a forward pass repeats itself."""
    model = searched(case).supernet
    ids = tiny.batch()["ids"]
    with runs.untouched(model):
        first = model(ids, training=True).numpy()
        assert np.array_equal(model(ids, training=True), first)
        model.clock.assign_add(1)
        assert np.mean(model(ids, training=True).numpy() != first) > 0.5
        assert np.mean(model(ids, training=False).numpy() != first) > 0.5
