"""What the toy methods show of the spine, beyond the laws: own update, fold and continue, two
clusters behind a router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.config.field_config import FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.search_result import SearchResult
from irazor_tf.model.routing import RoutedRecommender
from irazor_tf.search.method import METHODS
from irazor_tf.serving.export import export
from irazor_tf.training.partition import partition
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.source import Source
from tests.conformance import runs
from tests.conformance.laws import with_case


@with_case("toy_masked")
def test_own_update_normalises_and_clips(case, searched):
    run = searched(case)
    gate = run.supernet.gates["embedding"]
    alpha = gate.alpha.numpy()
    assert alpha.min() >= 0 and alpha.max() <= 1 and alpha.min() < 1
    applied: list[Any] = []
    with runs.untouched(run.supernet):
        gate.alpha.assign(tf.zeros_like(gate.alpha) + 0.999)
        gradient = np.random.default_rng(0).normal(size=gate.alpha.shape).astype(np.float32)

        def apply(found: Sequence[tf.Tensor]) -> None:
            applied.extend(found)
            gate.alpha.assign_sub(found[0])

        gate.update([tf.constant(gradient)], apply)
        (normed,) = applied
        np.testing.assert_allclose(np.linalg.norm(normed, axis=1), 1, rtol=1e-4)
        np.testing.assert_allclose(gate.alpha, np.clip(0.999 - normed, 0, 1), rtol=0, atol=1e-6)


@with_case("toy_folded")
def test_a_penalty_enters_the_gradient_of_its_own_group_alone(case, searched, tiny, monkeypatch):
    model = searched(case).supernet
    batch = tiny.batch("train")
    found = []
    for penalty in (
        type(model.gates["embedding"]).penalty,
        lambda *args: {},
        lambda gate, table, x, ids: {"network": tf.reduce_sum(x)},
    ):
        monkeypatch.setattr(type(model.gates["embedding"]), "penalty", penalty)
        _, gradients = model.gradients(batch, model.groups)
        found.append(
            {
                group: [tf.convert_to_tensor(g).numpy() for g in gradients[group]]
                for group in gradients
            }
        )
    own, none, other = found

    def same(a: dict[str, list[np.ndarray]], b: dict[str, list[np.ndarray]]) -> set[str]:
        return {
            group
            for group in a
            if all(np.array_equal(x, y) for x, y in zip(a[group], b[group], strict=True))
        }

    assert same(own, none) == {"bias", "network"}
    assert same(other, none) == {"bias", "architecture"}
    monkeypatch.setattr(
        type(model.gates["embedding"]), "penalty", lambda *args: {"weights": tf.constant(1.0)}
    )
    with pytest.raises(ValueError, match="one of the groups .* Received: 'weights'"):
        model.gradients(batch, model.groups)


@with_case("toy_masked")
def test_masked_result_keeps_entries(case, searched, tiny):
    config = searched(case).result.config
    masks = [field.mask for field in config.fields.values() if field.mask is not None]
    assert masks and all(len(mask.shape) == 2 for mask in masks)
    assert 0 < config.num_params(tiny.schema) <= tiny.space.num_params(tiny.schema) // 2


@with_case("toy_folded")
def test_folded_gate_goes_and_the_numbers_stay(case, searched, tiny, tmp_path):
    run = searched(case)
    model, config = run.supernet, run.result.config
    assert run.result.init == "continue" and config.num_fields < tiny.space.num_fields
    ids = tiny.batch()["ids"]
    model.hard_mask(config)
    expected = model(ids).numpy()
    model.hard_mask(None)
    forgotten = model.restrict(config, keep_gates=False)(ids).numpy()
    assert np.abs(forgotten - expected).max() > 1e-3, "the gate should matter"
    with runs.untouched(model):
        model.gates["embedding"].fold(model.embedding)
        narrow = model.restrict(config, keep_gates=False)
    assert not narrow.gates
    np.testing.assert_allclose(narrow(ids), expected, rtol=0, atol=1e-6)
    # It goes on from there.
    trainer = tiny.trainer(run.case, tmp_path)
    before = trainer.evaluate(narrow, trainer.train)["log_loss"]
    trainer.fit(narrow, "final")
    assert trainer.evaluate(narrow, trainer.train)["log_loss"] < before
    assert int(narrow.clock) == 2 * trainer.train.batches_per_epoch(128), (
        "the clock of a narrow model starts anew"
    )


@with_case("toy_routed")
def test_two_clusters_behind_a_router(case, searched, tiny, tmp_path):
    run = searched(case)
    run.result.save(str(tmp_path / "result.json"))
    result = SearchResult.load(str(tmp_path / "result.json"))
    router = METHODS.build(result.method).router(tiny.schema, result.router, str(tmp_path))
    trainer = tiny.trainer(run.case, tmp_path)
    models = []
    for cluster, config in enumerate(result.clusters):
        parts = {
            source.split: partition(source, router, cluster)
            for source in (trainer.train, trainer.valid)
        }
        model = trainer.build(config)
        trainer.fit(model, f"model-{cluster}", FitPlan(train=parts["train"], judge=parts["valid"]))
        models.append(model)
    routed = RoutedRecommender(models, router)
    test = next(iter(trainer.test.ordered(trainer.test.rows)))
    cluster = (test["ids"].numpy()[:, 0] % 2).astype(int)
    single = np.stack([model.predict_proba(test["ids"]).numpy() for model in models])
    assert np.abs(single[0] - single[1]).max() > 0.01
    labels, predicted = trainer.predictions(routed, trainer.test)
    np.testing.assert_allclose(
        predicted, single[cluster, np.arange(len(cluster))], rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(labels, test["label"])
    assert trainer.evaluate(routed, trainer.test)["auc"] > 0.5
    assert routed.num_params() == sum(config.num_params(tiny.schema) for config in result.clusters)
    path = export(routed, tiny.schema, str(tmp_path / "export"))
    raw = runs.raw_features(tiny.schema, test["ids"].numpy(), routed.kept)
    served = tf.saved_model.load(path).signatures["serving_default"](**raw)["probability"]
    np.testing.assert_allclose(served, predicted, rtol=0, atol=1e-6)


@with_case("toy_routed")
def test_a_served_router_reads_fields_that_no_model_reads(case, searched, tiny, tmp_path):
    run = searched(case)
    router = run.method.router(tiny.schema, run.result.router, str(tmp_path))
    without = InputConfig(
        {name: FieldConfig(0 if name == "strong_a" else 2) for name in tiny.schema.names}
    )
    routed = RoutedRecommender([run.trainer.build(without), run.trainer.build(without)], router)
    assert routed.kept == tiny.schema.names


@with_case("toy_routed")
@pytest.mark.parametrize("cluster", [0, 1])
def test_a_partition_holds_the_rows_of_its_cluster(case, cluster, searched, tiny, tmp_path):
    run = searched(case)
    router = run.method.router(tiny.schema, run.result.router, str(tmp_path))
    source = Source(tiny.directory, "train")
    part = partition(source, router, cluster)
    ids = next(iter(source.ordered(source.rows)))["ids"].numpy()
    mine = ids[ids[:, 0] % 2 == cluster]
    assert part.rows == len(mine)
    found = np.concatenate([batch["ids"].numpy() for batch in part.ordered(100)])
    np.testing.assert_array_equal(found, mine)
    per_epoch = part.batches_per_epoch(64)
    batches = [batch["ids"].numpy() for batch in part.batches(64, 3).take(2 * per_epoch)]
    seen = np.concatenate(batches[:per_epoch])
    assert len(np.unique(seen, axis=0)) == len(seen) == 64 * per_epoch and np.all(
        seen[:, 0] % 2 == cluster
    )
    np.testing.assert_array_equal(
        next(iter(part.batches(64, 3, per_epoch + 2)))["ids"], batches[per_epoch + 2]
    )
