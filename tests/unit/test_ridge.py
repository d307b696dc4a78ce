"""The ridge against numpy: over the training rows it adds up to half of the ridge times the squared
norm of what occurs."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.preprocess import PreprocessOptions, preprocess
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.weight_penalties import Shares
from irazor_tf.training.source import Source

FORM = "columns: [{name: y, kind: label}, a, b, c]"
EMBEDDING, LINEAR = 3.0, 7.0


def made(
    schema: Schema,
    config: InputConfig,
    base: str,
    embedding_ridge: float = EMBEDDING,
    linear_ridge: float = LINEAR,
) -> Any:
    """A model with these ridges."""
    task = TASKS.build("ctr")
    return Recommender(
        schema,
        config,
        MODELS.build(base),
        task,
        stddev=0.5,
        embedding_ridge=embedding_ridge,
        linear_ridge=linear_ridge,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A schema with counts and all training rows; field `b` has one value, `c` some that occur in
    no training row."""
    folder = tmp_path_factory.mktemp("ridge")
    rng = np.random.default_rng(4)
    rows = [
        f"{i % 2},{a},x,{c}"
        for i, (a, c) in enumerate(
            zip(rng.integers(5, size=90), rng.zipf(1.5, 90) % 30, strict=True)
        )
    ]
    (folder / "log.csv").write_text("\n".join(rows), encoding="utf-8")
    (folder / "form.yaml").write_text(FORM, encoding="utf-8")
    options = PreprocessOptions(
        "table", (str(folder / "log.csv"),), schema=str(folder / "form.yaml"), min_count=2
    )
    schema = preprocess(options, str(folder / "out"), progress=False)
    (batch,) = list(Source(str(folder / "out"), "train").ordered(1000))
    return schema, batch


def test_shares_are_the_inverse_counts(data):
    schema, batch = data
    found = Shares(schema, ("c", "a"))(batch["ids"]).numpy()
    ids = batch["ids"].numpy()
    for column, name in enumerate(("c", "a")):
        own = ids[:, schema.index(name)]
        np.testing.assert_allclose(
            found[:, column], [1 / np.sum(own == one) for one in own], rtol=1e-6
        )


@pytest.mark.parametrize(
    "dims", [{"a": 3, "b": 3, "c": 3}, {"a": 2, "b": 5, "c": 2}, {"a": 4, "b": 0, "c": 1}]
)
def test_it_adds_up_to_the_norm_of_what_occurs(data, dims):
    schema, batch = data
    model = made(schema, InputConfig.from_dims(dims), "mlp(hidden=(4,))")
    rng = np.random.default_rng(0)
    for table in model.linear.tables:
        table.assign(rng.normal(size=table.shape))
    ids, total = batch["ids"].numpy(), 0.0
    for name in model.kept:
        seen = np.unique(ids[:, schema.index(name)])
        total += 0.5 * EMBEDDING * np.sum(model.embedding.field_table(name)[seen] ** 2)
        total += 0.5 * LINEAR * np.sum(model.linear.field_table(name)[seen] ** 2)
    inputs, rows, _ = model.embed(batch["ids"])
    ridge = model.weight_penalties.ridge(batch["ids"], rows, inputs.linear)
    np.testing.assert_allclose(len(ids) * float(ridge), total, rtol=1e-5)


def test_its_gradient_enters_those_of_both_groups_and_of_looked_up_rows_alone(data):
    schema, batch = data
    config, few = InputConfig.uniform(schema, 2), {key: value[:3] for key, value in batch.items()}
    models = [
        made(schema, config, "mlp(hidden=())"),
        made(schema, config, "mlp(hidden=())", 0.0, 0.0),
    ]
    (_, found), (_, plain) = (model.gradients(few, ("bias", "network")) for model in models)
    more = (
        tf.convert_to_tensor(found["network"][0]).numpy()
        - tf.convert_to_tensor(plain["network"][0]).numpy()
    )
    table, expected, start = models[0].embedding.tables[0].numpy(), np.zeros_like(more), 0
    for name in schema.names:
        column, counts = few["ids"].numpy()[:, schema.index(name)], schema.counts[name]
        for one in column:
            expected[start + one] += EMBEDDING * table[start + one] / counts[one] / len(column)
        start += len(counts)
    np.testing.assert_allclose(more, expected, atol=1e-6)
    assert np.count_nonzero(more.any(axis=1)) < len(more)


def test_what_is_not_asked_for_reads_no_counts():
    schema = Schema((Field("a", vocabulary_size=3),))
    made(schema, InputConfig.uniform(schema, 2), "mlp(hidden=())", 0.0, 0.0)
    with pytest.raises(ValueError, match="`counts` needs a schema loaded from a folder"):
        made(schema, InputConfig.uniform(schema, 2), "lr", 0.0, 1.0)


def test_it_is_no_weight_of_the_model(data):
    schema, _ = data
    config = InputConfig.uniform(schema, 2)
    plain, held = made(schema, config, "mlp", 0.0, 0.0), made(schema, config, "mlp")
    assert [(v.name, v.shape) for v in plain.variables] == [
        (v.name, v.shape) for v in held.variables
    ]
    narrow = held.restrict(dataclasses.replace(held.config, aligned=None))
    assert narrow.settings == held.settings
