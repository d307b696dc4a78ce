"""Laws of what a search leaves: 4 within its space, 5 JSON, 6 restrict, 9 SavedModel, 11 ranking,
12 misfits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.common import FORMER
from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, check_sites
from irazor_tf.serving.export import export
from tests.conformance import cases, laws, runs
from tests.conformance.laws import Law, law, of_law
from tests.conformance.toys import NeedsPairs

TOLERANCE = 1e-6


@law(Law.WITHIN_SPACE, cases.covering_cases())
def test_result_is_within_its_space(case, searched, tiny):
    run = searched(case)
    for config in run.result.clusters:
        config.check(tiny.schema)
        assert config.within(tiny.space)
    assert run.method.derive(run.search, tiny.space).within(tiny.space)
    whole = tiny.space.num_params(tiny.schema)
    for budget in (whole, whole // 2, whole // 10):
        try:
            config = run.method.derive(run.search, tiny.space, budget)
        except ValueError as error:
            assert budget < whole and "budget" in str(error)
            continue
        config.check(tiny.schema)
        assert config.within(tiny.space)
        if run.method.traits.budget != "exceeded":
            assert config.num_params(tiny.schema) <= budget
    with pytest.raises(ValueError, match="budget"):
        run.method.derive(run.search, tiny.space, 1 if run.method.traits.init != "keep" else 0)
    for _, other in run.method.sweep(tiny.space):
        assert other.derive(run.search, tiny.space).within(tiny.space)


@law(Law.WITHIN_SPACE, cases.method_cases(), product=False)
def test_result_is_within_a_space_with_gaps(case, tiny, tmp_path):
    """What `a + b` does: b searches inside a's result."""
    trainer = tiny.trainer(case, tmp_path, options=dataclasses.replace(runs.OPTIONS, epochs=1))
    result, _ = METHODS.build(case.method).search(trainer, tiny.awkward)
    for config in result.clusters:
        config.check(tiny.schema)
        assert config.within(tiny.awkward)


@law(Law.WITHIN_SPACE, cases.method_cases(), product=False)
def test_result_is_within_a_space_with_masks(case, tiny, tmp_path):
    """What a method does after one that leaves entry masks, on a model whose fields have to be
    aligned."""
    aligned = Spec("fm")
    if cases.fits(case.method, aligned):
        case = dataclasses.replace(case, model=aligned)
    trainer = tiny.trainer(case, tmp_path, options=dataclasses.replace(runs.OPTIONS, epochs=1))
    method = METHODS.build(case.method)
    result, search = method.search(trainer, tiny.masked)
    budget = tiny.masked.num_params(tiny.schema) * 3 // 4
    for config in (
        *result.clusters,
        method.derive(search, tiny.masked),
        method.derive(search, tiny.masked, budget),
    ):
        config.check(tiny.schema)
        assert config.within(tiny.masked)
    assert config.num_params(tiny.schema) <= budget or method.traits.budget == "exceeded"


@law(Law.ROUND_TRIP, cases.covering_cases())
def test_json_round_trip_is_identity(case, searched, tiny, tmp_path):
    run = searched(case)
    path = str(tmp_path / "result.json")
    run.result.save(path)
    loaded = SearchResult.load(path)
    assert loaded == run.result
    for i, config in enumerate(run.result.clusters):
        config.save(str(tmp_path / f"{i}.json"))
        assert InputConfig.load(str(tmp_path / f"{i}.json")) == config
        assert loaded.clusters[i].num_params(tiny.schema) == config.num_params(tiny.schema)
    again = METHODS.build(loaded.method)
    assert type(again) is type(run.method) and again.params == run.method.params
    assert again.spec() == run.method.spec()


def close(a: tf.Tensor, b: tf.Tensor) -> None:
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=TOLERANCE)


@law(Law.RESTRICTION, cases.covering_cases())
def test_hard_masked_supernet_equals_its_restriction(case, searched, tiny):
    run = searched(case)
    model = run.supernet
    ids = tiny.batch()["ids"]
    whole = model(ids)
    assert np.std(whole) > 0.02, "the model should have learnt something to compare"
    for config in [*run.result.clusters, tiny.awkward]:
        narrow = model.restrict(config)
        model.hard_mask(config)
        try:
            close(model(ids), narrow(ids))
            if (
                config == tiny.awkward
            ):  # what a search removes may be what its gates have closed already
                assert np.abs(model(ids) - whole).max() > 100 * TOLERANCE, (
                    "the config should remove something that matters"
                )
        finally:
            model.hard_mask(None)
        close(model(ids), whole)
        # Row by row, not by AUC: round-off may turn two rows that score alike, and one pair of
        # these few rows is 2e-5 of it.
        labels, masked = run.trainer.predictions(model, run.trainer.test, config)
        np.testing.assert_allclose(
            masked, run.trainer.predictions(narrow, run.trainer.test)[1], rtol=0, atol=TOLERANCE
        )
        assert run.trainer.evaluate(model, run.trainer.test, config) == run.trainer.task.metrics(
            labels, masked
        )
        # A narrow model can be cut again.
        names = {
            name: (field.labels if name == config.kept[0] else field.labels[:1])
            for name, field in config.fields.items()
        }
        narrower = InputConfig(
            {name: config.fields[name].cut(labels) for name, labels in names.items()}
        )
        close(narrow.restrict(narrower)(ids), model.restrict(narrower)(ids))


@of_law(Law.RESTRICTION)
def test_every_kind_of_mask_restricts_as_it_masks(tiny, tmp_path):
    case = cases.named("fde")
    model = tiny.trainer(case, tmp_path).build(tiny.space)
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(0, 0.5, variable.shape))
    rows = {name: tiny.schema.field(name).vocabulary_size for name in tiny.schema.names}
    fields = dict(tiny.awkward.fields)
    fields["strong_b"] = FieldConfig(
        6, None, BitMask.from_array(generator.random(rows["strong_b"]) < 0.5)
    )  # features
    fields["pair_a"] = FieldConfig(
        3, (0, 2, 5), BitMask.from_array(generator.random((rows["pair_a"], 3)) < 0.5)
    )  # entries
    config = InputConfig(fields)
    ids = tiny.batch()["ids"]
    narrow = model.restrict(config)
    plain = model.restrict(tiny.awkward)
    assert np.abs(narrow(ids) - plain(ids)).max() > 0.01
    model.hard_mask(tiny.awkward)
    close(model(ids), plain(ids))
    model.hard_mask(config)
    close(model(ids), narrow(ids))
    model.hard_mask(tiny.awkward)
    close(model(ids), plain(ids))
    model.hard_mask(None)
    # By hand: what a row of the table puts out is its kept entries.
    mask = fields["pair_a"].mask
    assert mask is not None
    table = model.embedding.field_table("pair_a")[:, [0, 2, 5]] * mask.to_array()
    stacked = narrow.embedding.stack(narrow.embedding(ids))[
        :, narrow.config.kept.index("pair_a"), :3
    ]
    np.testing.assert_array_equal(stacked, table[ids[:, tiny.schema.index("pair_a")]])


@law(Law.SAVED_MODEL, cases.covering_cases())
def test_saved_model_equals_the_model(case, searched, tiny, tmp_path):
    run = searched(case)
    batch = tiny.batch()
    for number, model in enumerate(
        [run.supernet, run.supernet.restrict(tiny.awkward, keep_gates=not run.supernet.gates)]
    ):
        path = export(model, tiny.schema, str(tmp_path / str(number)))
        served = tf.saved_model.load(path).signatures["serving_default"]
        output = run.trainer.task.output
        raw = runs.raw_features(tiny.schema, batch["ids"].numpy(), model.kept)
        expected = tf.function(model.predict_proba)(batch["ids"]).numpy()
        np.testing.assert_array_equal(served(**raw)[output].numpy(), expected)
        for rows in (1, 7):
            few = {name: value[:rows] for name, value in raw.items()}
            np.testing.assert_allclose(
                served(**few)[output].numpy(), expected[:rows], rtol=0, atol=TOLERANCE
            )


# What a method is given to rank the fields of the tiny data.
RANKING_OPTIONS = dataclasses.replace(
    FORMER,
    batch_size=128,
    epochs=6,
    patience=0,
    network_optimizer="adagrad(learning_rate=0.1)",
    stddev=0.1,
    steps_per_execution=1,
)


@law(Law.RANKING, cases.ranking_cases(), product=False)
def test_strong_fields_come_first(case, tiny, tmp_path):
    case = dataclasses.replace(
        case, model=Spec("mlp", (("hidden", (16,)),)) if case.model.name == "mlp" else case.model
    )
    trainer = tiny.trainer(case, tmp_path, options=RANKING_OPTIONS)
    method = METHODS.build(case.method)
    result, search = method.search(trainer, tiny.space)
    scores = method.explain(search, result.clusters).scores
    assert set(scores) == set(tiny.schema.names)
    assert runs.auc(scores) == 1.0, scores


laws.covers(Law.MISFIT, method=cases.method_names(), model=MODELS.names())


@of_law(Law.MISFIT)
@pytest.mark.parametrize("method", cases.method_names())
@pytest.mark.parametrize("model", MODELS.names())
def test_a_misfit_fails_with_a_message_that_names_both(method, model):
    made, base = (
        METHODS.build(cases.tiny_spec(METHODS, method)),
        MODELS.build(cases.tiny_spec(MODELS, model)),
    )
    if made.traits.needs <= base.sites:
        check_sites(made, base)
        return
    with pytest.raises(ValueError) as error:
        check_sites(made, base)
    for word in (repr(method), repr(model), *(made.traits.needs - base.sites)):
        assert word in str(error.value)


@of_law(Law.MISFIT)
def test_misfits_that_are_known():
    with pytest.raises(
        ValueError, match=r"method 'irazor', which needs embedding, on model 'lr', which has: none"
    ):
        check_sites(METHODS.build("irazor"), MODELS.build("lr"))
    METHODS.register("toy_needs_pairs")(NeedsPairs)
    try:
        with pytest.raises(
            ValueError,
            match=r"method 'toy_needs_pairs', which needs pairs, on model 'mlp', which has: "
            r"embedding",
        ):
            check_sites(METHODS.build("toy_needs_pairs"), MODELS.build("mlp"))
    finally:
        METHODS.remove("toy_needs_pairs")


@of_law(Law.MISFIT)
def test_a_gate_at_a_site_that_the_model_lacks(tiny):
    with pytest.raises(ValueError, match="'embedding' on LogisticRegression"):
        Recommender(
            tiny.schema,
            tiny.space,
            MODELS.build("lr"),
            TASKS.build("ctr"),
            gates={"embedding": Gate()},
        )
