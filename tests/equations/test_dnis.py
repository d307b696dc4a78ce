"""DNIS (arXiv 2006.04466): equations 4 and 6 to 9 and Algorithm 1, against oracles written from the
paper.

The oracles are plain numpy in double precision. The model of the second-order tests is smooth
(tanh), its gradient is written out, and the gradient of alpha is a central difference of alpha ->
L_val(Theta - xi grad L_train(Theta, alpha), alpha)."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.config.specs import parse_spec
from irazor_tf.embedding.pieces import Labels
from irazor_tf.embedding.tables import Embedded
from irazor_tf.evaluation.task import TASKS
from irazor_tf.methods.dnis.blocks import feature_blocks
from irazor_tf.methods.dnis.gate import SoftSelection, merge, normalize_rows
from irazor_tf.model.base import MODELS, BaseModel
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.budget import BudgetError
from irazor_tf.search.method import METHODS, Search, SearchMethod
from irazor_tf.search.pictures import HeatMap, Lines
from irazor_tf.search.run import training_spec
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.updates.optimizers import make_optimizer
from irazor_tf.training.updates.steps import Alternating, Unrolled
from irazor_tf.training.updates.unrolling import unrolled_gradients

SIZES = {"gender": 3, "goods": 40, "hour": 7}
DIM = 4
BATCH = 24


def schema_with(counts: Mapping[str, Sequence[int]]) -> Schema:
    """A schema in memory that knows its frequencies."""
    schema = Schema(
        tuple(Field(name, vocabulary_size=len(frequencies)) for name, frequencies in counts.items())
    )
    vars(schema)["counts"] = {
        name: np.array(frequencies, np.int64) for name, frequencies in counts.items()
    }
    return schema


COUNTS = {name: np.random.default_rng(9).integers(0, 300, size) for name, size in SIZES.items()}
SCHEMA = schema_with({name: frequencies.tolist() for name, frequencies in COUNTS.items()})
SPACE = InputConfig.uniform(SCHEMA, DIM)
GAPS = InputConfig(
    {
        "gender": FieldConfig(1, (2,)),
        "goods": FieldConfig(
            2, (1, 3), BitMask.from_array(np.random.default_rng(1).random((40, 2)) < 0.7)
        ),
        "hour": FieldConfig(4, None, BitMask.from_array(np.random.default_rng(2).random(7) < 0.7)),
    }
)


# Section 2.3
def oracle_sorted(counts: dict[str, np.ndarray]) -> list[tuple[str, int]]:
    """All features of all fields, eta_(f_i) >= eta_(f_j) for i < j; equal ones in the order they
    come."""
    features = [(name, v) for name, frequencies in counts.items() for v in range(len(frequencies))]
    return sorted(features, key=lambda feature: -counts[feature[0]][feature[1]])


def oracle_blocks(counts: dict[str, np.ndarray], sizes: list[int]) -> dict[str, list[int]]:
    """The sorted list, separated into blocks of these sizes."""
    ranked = oracle_sorted(counts)
    blocks = {name: [-1] * len(frequencies) for name, frequencies in counts.items()}
    for block, size in enumerate(sizes):
        for name, v in ranked[:size]:
            blocks[name][v] = block
        ranked = ranked[size:]
    assert not ranked
    return blocks


def same(blocks: dict[str, np.ndarray], expected: dict[str, list[int]]) -> bool:
    assert all(field.dtype == np.int32 for field in blocks.values())
    return {name: field.tolist() for name, field in blocks.items()} == expected


@pytest.mark.parametrize(
    ("blocks", "sizes"), [(1, [50]), (5, [10] * 5), (50, [1] * 50), (25, [2] * 25)]
)
def test_equal_blocks_of_the_features_by_frequency(blocks, sizes):
    assert same(feature_blocks(COUNTS, blocks), oracle_blocks(COUNTS, sizes))


@pytest.mark.parametrize("blocks", [3, 6, 7, 31])
def test_blocks_that_do_not_divide_differ_by_one_feature(blocks):
    cut = feature_blocks(COUNTS, blocks)
    sizes = np.bincount(np.concatenate(list(cut.values())), minlength=blocks)
    assert len(sizes) == blocks and sizes.max() - sizes.min() == 1
    assert same(cut, oracle_blocks(COUNTS, sizes.tolist()))


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [
        ((0.1, 0.2, 0.2, 0.2, 0.3), [5, 10, 10, 10, 15]),
        ((1.0,), [50]),
        ((0.02, 0.98), [1, 49]),
        ((1 / 3, 1 / 3, 1 / 3), [17, 16, 17]),
    ],
)
def test_blocks_by_shares(shares, sizes):
    assert same(feature_blocks(COUNTS, 6, shares=shares), oracle_blocks(COUNTS, sizes))


@pytest.mark.parametrize(
    ("block_sizes", "sizes"), [((2, 5), [2, 5, 43]), ((50,), [50]), ((1, 1, 48), [1, 1, 48])]
)
def test_blocks_by_sizes_and_what_they_leave(block_sizes, sizes):
    assert same(feature_blocks(COUNTS, 6, sizes=block_sizes), oracle_blocks(COUNTS, sizes))


def test_equal_frequencies_stand_in_the_order_of_fields_and_ids():
    counts = {"a": np.array([5, 0, 5]), "b": np.array([0, 5, 7, 5])}
    assert same(feature_blocks(counts, 7), {"a": [1, 5, 2], "b": [6, 3, 0, 4]})
    assert same(feature_blocks(counts, 6, sizes=(2, 2)), {"a": [0, 2, 1], "b": [2, 1, 0, 2]})
    assert same(feature_blocks({"a": np.zeros(4, np.int64)}, 2), {"a": [0, 0, 1, 1]})


def test_blocks_of_every_field_by_its_own_frequencies():
    counts = {"a": np.array([1, 9, 3, 9]), "b": np.array([2, 1000]), "c": np.array([4, 5, 6, 7, 8])}
    assert same(
        feature_blocks(counts, 2, per_field=True),
        {"a": [1, 0, 1, 0], "b": [3, 2], "c": [5, 5, 5, 4, 4]},
    )
    # A field has no more blocks than features, and no empty one.
    assert same(
        feature_blocks(counts, 4, per_field=True),
        {"a": [3, 0, 2, 1], "b": [5, 4], "c": [9, 9, 8, 7, 6]},
    )
    assert same(
        feature_blocks(counts, 1, per_field=True), {"a": [0] * 4, "b": [1] * 2, "c": [2] * 5}
    )
    assert same(
        feature_blocks(counts, 6, shares=(0.2, 0.8), per_field=True),
        {"a": [1, 0, 1, 1], "b": [2, 2], "c": [4, 4, 4, 4, 3]},
    )
    assert same(
        feature_blocks(counts, 6, sizes=(1, 3), per_field=True),
        {"a": [1, 0, 1, 1], "b": [3, 2], "c": [6, 5, 5, 5, 4]},
    )


@pytest.mark.parametrize(
    ("setting", "received"),
    [
        ({"blocks": 51}, "`blocks` 51"),
        ({"blocks": 6, "sizes": (40, 11)}, r"`block_sizes` \(40, 11\)"),
        ({"blocks": 6, "shares": (0.001, 0.999)}, r"`block_shares` \(0.001, 0.999\)"),
        ({"blocks": 6, "shares": (0.999, 0.001)}, r"`block_shares` \(0.999, 0.001\)"),
    ],
)
def test_blocks_without_a_feature_are_refused(setting, received):
    with pytest.raises(
        ValueError,
        match=r"The blocks of dnis should have a feature each, of 50 in all\. Received: "
        rf"{received}",
    ):
        feature_blocks(COUNTS, **setting)


# Equation 4
def gate_of(spec: str, space: InputConfig = SPACE, schema: Schema = SCHEMA) -> SoftSelection:
    (gate,) = METHODS.build(spec).gates(schema, space).values()
    gate(tf.zeros((2, space.num_fields, space.max_dim)), tf.zeros((2, space.num_fields), tf.int32))
    return gate


def ids_of(rows: int, seed: int, names: Sequence[str] = tuple(SIZES)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.stack([generator.integers(0, SIZES[name], rows) for name in names], axis=1).astype(
        np.int32
    )


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        ("dnis", SIZES),
        ("dnis(blocks=2, per_field=True)", SIZES),
        ("dnis(block_sizes=(2, 30))", ("goods", "hour")),
    ],
)
def test_the_output_is_the_embedding_times_its_blocks_alpha(spec, kept):
    params = METHODS.build(spec).params
    space = InputConfig({name: FieldConfig(DIM if name in kept else 0) for name in SIZES})
    gate, counts = gate_of(spec, space), {name: COUNTS[name] for name in kept}
    blocks = feature_blocks(
        counts, params.blocks, params.block_shares, params.block_sizes, params.per_field
    )
    assert gate.alpha.shape == (1 + max(field.max() for field in blocks.values()), DIM) and np.all(
        gate.alpha == 1
    )
    generator = np.random.default_rng(0)
    alpha = generator.random(gate.alpha.shape)
    gate.alpha.assign(alpha)
    e, ids = generator.normal(size=(BATCH, len(kept), DIM)), ids_of(BATCH, 1, tuple(kept))
    expected = np.zeros_like(e)
    for row in range(BATCH):
        for i, name in enumerate(kept):
            for k in range(DIM):
                expected[row, i, k] = e[row, i, k] * alpha[blocks[name][ids[row, i]], k]
    for training in (True, False):
        out = gate(tf.constant(e, tf.float32), tf.constant(ids), training=training)
        np.testing.assert_allclose(out, expected, rtol=1e-6)


# Equation 8 and line 9 of Algorithm 1
def oracle_normalized(g: np.ndarray, epsilon: float) -> np.ndarray:
    normalized = np.zeros_like(g)
    for row in range(g.shape[0]):
        mean = sum(abs(value) for value in g[row]) / g.shape[1]
        for k in range(g.shape[1]):
            normalized[row, k] = g[row, k] / (mean + epsilon)
    return normalized


def test_rows_are_normalized_by_their_mean_size():
    by_hand = normalize_rows(
        tf.constant([[1.0, -3.0], [0.0, 0.0], [2e-6, 2e-6], [4e3, 0.0]]),
        np.full((4, 1), 2.0, np.float32),
        1e-6,
    )
    np.testing.assert_allclose(
        by_hand, [[0.5, -1.5], [0.0, 0.0], [2 / 3, 2 / 3], [2.0, 0.0]], rtol=1e-5
    )
    g = np.random.default_rng(0).normal(size=(5, 7)) * 10.0 ** np.arange(-6, 4, 2)[:, None]
    for epsilon in (1e-7, 0.5):
        normalized = normalize_rows(
            tf.constant(g, tf.float32), np.full((5, 1), 7, np.float32), epsilon
        )
        np.testing.assert_allclose(normalized, oracle_normalized(g, epsilon), rtol=1e-5)


def test_padding_has_no_part_in_a_blocks_mean():
    """gender is one wide: a block of its features alone has one dimension."""
    gate = gate_of("dnis(blocks=1, per_field=True, normalization_epsilon=1e-12, l1=0.5)", GAPS)
    np.testing.assert_array_equal(
        gate.used, [[True, False, False, False], [True, True, False, False], [True] * 4]
    )
    applied: list[tf.Tensor] = []
    gate.update(
        [tf.constant([[3.0, 0, 0, 0], [1.0, 2, 0, 0], [1.0, 2, 3, -4]])],
        lambda gradients: applied.extend(gradients),
    )
    np.testing.assert_allclose(
        applied[0],
        [[1.0, 0.0, 0.0, 0.0], [2 / 3, 4 / 3, 0.0, 0.0], [0.4, 0.8, 1.2, -1.6]],
        rtol=1e-6,
    )
    gate.alpha.assign([[0.5, 9, 9, 9], [0, 0.25, 9, 9], [0, 1, 1, 0]])
    (penalty,) = gate.penalty(None, None, None).items()
    assert penalty[0] == "architecture" and float(penalty[1]) == 0.5 * 2.75
    traces = {name: float(value) for name, value in gate.traces().items()}
    assert traces == pytest.approx(
        {"alpha_mean": 2.75 / 7, "alpha_at_zero": 3 / 7, "alpha_l1": 0.5 * 2.75}
    )


def test_alpha_is_clipped_after_the_step():
    gate = gate_of("dnis(blocks=2, normalization_epsilon=1e-12)")
    gate.alpha.assign([[0.05, 0.95, 0.5, 1.0], [0.0, 1.0, 0.5, 0.5]])
    gradient = tf.constant([[1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
    gate.update([gradient], lambda gradients: gate.alpha.assign_sub(0.1 * gradients[0]))
    np.testing.assert_allclose(gate.alpha, [[0, 1, 0.4, 1], [0, 1, 0.5, 0.5]], rtol=1e-6)
    assert float(tf.reduce_min(gate.alpha)) == 0 and float(tf.reduce_max(gate.alpha)) == 1


# Equations 6 and 7, on a smooth model
class Smooth(BaseModel):
    """logit = out . tanh(kernel . x + bias) + sum of first-order terms."""

    def __init__(self, params: Any, columns: Labels = (), fields: Labels = (), seed: int = 0):
        super().__init__(params, columns, fields, seed)
        self.hidden = keras.layers.Dense(5, activation="tanh")
        self.out = keras.layers.Dense(1, use_bias=False)

    @property
    def uses(self) -> frozenset[str]:
        return frozenset({"flat", "linear"})

    def call(self, inputs: Embedded, training: bool = False) -> tf.Tensor:
        return tf.squeeze(self.out(self.hidden(inputs.flat)), axis=1) + tf.reduce_sum(
            inputs.linear, axis=1
        )


Weights = dict[str, np.ndarray]
BASE = ("kernel", "bias", "out")
XI = 0.7


@dataclasses.dataclass
class Oracle:
    """The same model in double precision, its gradient written out.

    Args:
      blocks: block of every row of the table, [sum V].
      l2: half of this times the mean squared norm of a row's embeddings and first-order terms is
        added to the loss.
      l1: weight of sum |alpha| in the loss of alpha.
      frozen: weights that do not move.
    """

    blocks: np.ndarray
    l2: float = 0.0
    l1: float = 0.0
    frozen: tuple[str, ...] = ()

    def forward(self, w: Weights, alpha: np.ndarray, batch: Any) -> tuple[Any, ...]:
        rows = batch["ids"].numpy() + np.cumsum([0, *list(SIZES.values())[:-1]])
        gates = alpha[self.blocks[rows]]
        e = w["table"][rows]
        x = (e * gates).reshape(len(rows), -1)
        h = np.tanh(x @ w["kernel"] + w["bias"])
        logit = h @ w["out"][:, 0] + w["linear"][rows, 0].sum(axis=1) + w["intercept"]
        return rows, gates, e, x, h, logit

    def loss(self, w: Weights, alpha: np.ndarray, batch: Any) -> float:
        rows, _, e, _, _, logit = self.forward(w, alpha, batch)
        y = batch["label"].numpy().astype(np.float64)
        entropy = np.mean(np.log1p(np.exp(-np.abs(logit))) + np.maximum(logit, 0) - logit * y)
        norms = np.square(e).sum(axis=(1, 2)) + np.square(w["linear"][rows, 0]).sum(axis=1)
        return entropy + 0.5 * self.l2 * norms.mean()

    def gradient(self, w: Weights, alpha: np.ndarray, batch: Any) -> Weights:
        """Of the loss, by weight; alpha's among them."""
        rows, gates, e, x, h, logit = self.forward(w, alpha, batch)
        y, n = batch["label"].numpy().astype(np.float64), len(rows)
        slope = (1 / (1 + np.exp(-logit)) - y) / n
        inner = slope[:, None] * w["out"][:, 0] * (1 - h**2)
        dx = (inner @ w["kernel"].T).reshape(e.shape)
        gradient = {name: np.zeros_like(value) for name, value in (w | {"alpha": alpha}).items()}
        np.add.at(gradient["table"], rows, dx * gates + self.l2 * e / n)
        np.add.at(
            gradient["linear"][:, 0], rows, slope[:, None] + self.l2 * w["linear"][rows, 0] / n
        )
        np.add.at(gradient["alpha"], self.blocks[rows], dx * e)
        return gradient | {
            "kernel": x.T @ inner,
            "bias": inner.sum(axis=0),
            "out": (slope @ h)[:, None],
            "intercept": slope.sum(),
        }

    def moved(self, w: Weights, alpha: np.ndarray, batch: Any, rate: float) -> Weights:
        """Equation 6."""
        gradient = self.gradient(w, alpha, batch)
        return {
            name: value if name in self.frozen else value - rate * gradient[name]
            for name, value in w.items()
        }

    def alpha_gradient(
        self, w: Weights, alpha: np.ndarray, train: Any, valid: Any, xi: float, step: float = 1e-5
    ) -> np.ndarray:
        """The left-hand side of equation 7 by central differences, and the penalty's gradient."""

        def outer(at: np.ndarray) -> float:
            return self.loss(self.moved(w, at, train, xi), at, valid)

        gradient = np.zeros_like(alpha)
        for entry in np.ndindex(alpha.shape):
            shift = np.zeros_like(alpha)
            shift[entry] = step
            gradient[entry] = (outer(alpha + shift) - outer(alpha - shift)) / (2 * step)
        return gradient + self.l1 * np.sign(alpha)

    def step(
        self,
        w: Weights,
        alpha: np.ndarray,
        train: Any,
        valid: Any,
        xi: float,
        rates: tuple[float, float],
    ) -> tuple[Weights, Any]:
        """Lines 6 to 9 of Algorithm 1, with gradient descent at both levels."""
        w = self.moved(w, alpha, train, rates[0])
        gradient = self.alpha_gradient(w, alpha, train, valid, xi)
        return w, np.clip(alpha - rates[1] * oracle_normalized(gradient, 1e-7), 0, 1)


def smooth(spec: str = "dnis(blocks=3)", l2: float = 0.0) -> tuple[Recommender, Any, Any]:
    """A supernet with weights of ordinary size, a training and a validation batch."""
    gates = METHODS.build(spec).gates(SCHEMA, SPACE)
    base = Smooth(Smooth.Params())
    model = Recommender(
        SCHEMA, SPACE, base, TASKS.build("ctr"), gates=gates, embedding_l2=l2, linear_l2=l2
    )
    generator = np.random.default_rng(5)
    for group in ("bias", "network"):
        for variable in model.variable_groups[group]:
            variable.assign(generator.normal(0, 0.7, variable.shape))
    gates["embedding"].alpha.assign(generator.uniform(0.2, 1, gates["embedding"].alpha.shape))
    batches = []
    for seed in (6, 7):
        label = (generator.random(BATCH) < 0.4).astype(np.float32)
        batches.append({"ids": tf.constant(ids_of(BATCH, seed)), "label": tf.constant(label)})
    return model, batches[0], batches[1]


def variables_of(model: Recommender) -> dict[str, tf.Variable]:
    assert model.embedding is not None and model.linear is not None
    base: Any = model.base
    variables = {
        "table": model.embedding.tables[0],
        "linear": model.linear.tables[0],
        "intercept": model.intercept.bias,
    }
    return variables | {
        "kernel": base.hidden.kernel,
        "bias": base.hidden.bias,
        "out": base.out.kernel,
    }


def in_double(model: Recommender) -> tuple[Weights, np.ndarray]:
    weights = {
        name: np.array(variable.numpy(), np.float64)
        for name, variable in variables_of(model).items()
    }
    return weights, model.gates["embedding"].alpha.numpy().astype(np.float64)


def oracle_of(
    model: Recommender, l2: float = 0.0, l1: float = 0.0, frozen: tuple[str, ...] = ()
) -> Oracle:
    blocks = np.concatenate(model.gates["embedding"].field_blocks)
    return Oracle(blocks, l2, l1, frozen)


def test_the_oracle_is_right_about_its_own_gradient():
    model, train, _ = smooth(l2=0.3)
    oracle, (w, alpha) = oracle_of(model, l2=0.3), in_double(model)
    gradient = oracle.gradient(w, alpha, train)
    for name, value in (w | {"alpha": alpha}).items():
        for entry in list(np.ndindex(value.shape))[::7]:
            losses = []
            for shift in (1e-6, -1e-6):
                moved = value.copy()
                moved[entry] += shift
                losses.append(
                    oracle.loss(
                        w | ({} if name == "alpha" else {name: moved}),
                        moved if name == "alpha" else alpha,
                        train,
                    )
                )
            assert gradient[name][entry] == pytest.approx(
                (losses[0] - losses[1]) / 2e-6, rel=1e-4, abs=1e-8
            ), name


@pytest.mark.parametrize(("l2", "l1", "frozen"), [(0.0, 0.0, ()), (0.0, 0.2, BASE), (0.1, 0.0, ())])
def test_alphas_gradient_goes_through_the_virtual_step(l2, l1, frozen):
    model, train, valid = smooth(f"dnis(blocks=3, l1={l1})", l2)
    model.frozen = frozenset({"base"}) if frozen else frozenset()
    oracle, (w, alpha) = oracle_of(model, l2, l1, frozen), in_double(model)
    expected = oracle.alpha_gradient(w, alpha, train, valid, XI)
    first = oracle.gradient(w, alpha, valid)["alpha"] + l1 * np.sign(alpha)
    assert np.abs(expected - first).max() > 0.02, "the second order should matter here"
    loss, gradients = unrolled_gradients(model, train, valid, XI)
    (gradient,) = gradients["architecture"]
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)
    at_virtual = dataclasses.replace(oracle, l2=0.0).loss(
        oracle.moved(w, alpha, train, XI), alpha, valid
    )
    assert float(loss) == pytest.approx(at_virtual, rel=1e-5)


def test_without_a_virtual_step_it_is_the_first_order_gradient():
    model, train, valid = smooth()
    oracle, (w, alpha) = oracle_of(model), in_double(model)
    expected = oracle.gradient(w, alpha, valid)["alpha"]
    _, first = model.gradients(valid, ("architecture",))
    np.testing.assert_allclose(
        tf.convert_to_tensor(first["architecture"][0]), expected, rtol=1e-4, atol=1e-6
    )
    for xi in (1e-2, 1e-4, 1e-6):
        _, gradients = unrolled_gradients(model, train, valid, xi)
        assert np.abs(gradients["architecture"][0] - expected).max() < 2 * xi + 1e-6


def with_optimizers(model: Recommender, specs: dict[str, str]) -> Recommender:
    """As a fit leaves a model before its first step."""
    model.optimizers = {group: make_optimizer(specs[group]) for group in model.groups}
    for group, optimizer in model.optimizers.items():
        optimizer._create_all_weights(model.variable_groups[group])
    return model


def bits_of(model: Recommender) -> list[bytes]:
    slots = [
        variable for optimizer in model.optimizers.values() for variable in optimizer.variables()
    ]
    return [variable.numpy().tobytes() for variable in (*model.variables, *slots)]


@pytest.mark.parametrize("compiled", [True, False])
def test_the_virtual_step_leaves_every_bit_as_it_was(compiled):
    model, train, valid = smooth(l2=0.1)
    adam = "adam(learning_rate=0.01)"
    with_optimizers(
        model, {"bias": "ftrl(learning_rate=0.01)", "network": adam, "architecture": adam}
    )
    model.step = Unrolled(XI)
    # So that the slots hold something.
    model.train_step({"weights": (train,), "architecture": valid})
    before = bits_of(model)

    def run() -> tf.Tensor:
        return unrolled_gradients(model, train, valid, XI)[1]["architecture"][0]

    gradient = (tf.function(run) if compiled else run)()
    assert bits_of(model) == before
    assert np.any(gradient != 0)


def test_the_virtual_step_takes_touched_rows_alone():
    """Nothing in the graph is as large as a table: neither the copy that is put back nor the
    step."""
    model, train, valid = smooth()
    # Two rows of larger tables.
    train, valid = ({key: value[:2] for key, value in batch.items()} for batch in (train, valid))
    graph = (
        tf.function(lambda: unrolled_gradients(model, train, valid, XI)[1]["architecture"][0])
        .get_concrete_function()
        .graph
    )
    assert model.embedding is not None and model.linear is not None
    shapes = {tuple(table.shape) for table in (*model.embedding.tables, *model.linear.tables)}
    whole = [
        op.name
        for op in graph.get_operations()
        for out in op.outputs
        if out.shape.rank and tuple(out.shape) in shapes
    ]
    assert not whole


# Algorithm 1
@pytest.mark.parametrize(
    "spec", ["dnis(blocks=3)", f"dnis(blocks=3, xi={XI})", "dnis(blocks=3, l1=0.3, xi=0.1)"]
)
def test_steps_of_algorithm_1(spec):
    """Weights first, by the training batch; alpha then, at the new weights, by the validation
    batch."""
    model, train, valid = smooth(spec)
    method = METHODS.build(spec)
    with_optimizers(
        model,
        {
            "bias": "sgd(learning_rate=0.3)",
            "network": "sgd(learning_rate=0.3)",
            "architecture": "sgd(learning_rate=0.1)",
        },
    )
    model.step = method.step()
    oracle, (w, alpha) = oracle_of(model, l1=method.params.l1), in_double(model)
    for _ in range(3):
        w, alpha = oracle.step(w, alpha, train, valid, method.params.xi, (0.3, 0.1))
        model.train_step({"weights": (train,), "architecture": valid})
        np.testing.assert_allclose(model.gates["embedding"].alpha, alpha, rtol=0, atol=1e-4)
        for name, variable in variables_of(model).items():
            np.testing.assert_allclose(variable, w[name], rtol=0, atol=1e-4, err_msg=name)
    assert np.any((alpha == 0) | (alpha == 1)), "the clip should have had something to do"


def test_the_step_of_a_setting():
    for spec, step in {
        "dnis": Alternating(),
        "dnis(held_out=0.25)": Alternating(held_out=0.25),
        "dnis(xi=0.1)": Unrolled(0.1),
        "dnis(xi=0.1, held_out=0.25)": Unrolled(0.1, 0.25),
    }.items():
        assert METHODS.build(spec).step() == step and type(METHODS.build(spec).step()) is type(step)


# Equation 9
def supernet(
    spec: str, space: InputConfig = SPACE, base: str = "mlp(hidden=(5,))", schema: Schema = SCHEMA
) -> Recommender:
    """A supernet with weights of ordinary size, some of alpha at zero."""
    model = Recommender(
        schema,
        space,
        MODELS.build(base),
        TASKS.build("ctr"),
        gates=METHODS.build(spec).gates(schema, space),
    )
    generator = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(0, 0.5, variable.shape))
    alpha = model.gates["embedding"].alpha
    alpha.assign(np.maximum(generator.uniform(-0.2, 1, alpha.shape), 0))
    return model


def derived(
    method: SearchMethod, model: Recommender, space: InputConfig, budget: int | None = None
) -> InputConfig:
    """The config of a search that has ended with `model`."""
    return method.derive(Search(model), space, budget)


def entries_of(config: InputConfig, space: InputConfig) -> dict[str, np.ndarray]:
    """What a config keeps, [V, d] bool by field, in the space's columns."""
    arrays = {}
    for name, field in config.fields.items():
        array = np.zeros((SIZES[name], space.fields[name].dim), bool)
        columns = [space.fields[name].labels.index(label) for label in field.labels]
        if columns:
            mask = np.ones(1, bool) if field.mask is None else field.mask.to_array()
            array[:, columns] = mask.reshape(len(mask), -1)
        arrays[name] = array
    return arrays


def oracle_merged(model: Recommender, spec: str) -> dict[tuple[str, int, int], float]:
    """E~ of every entry that the space has: (field, feature, column) -> value."""
    params, config, merged = METHODS.build(spec).params, model.config, {}
    assert model.embedding is not None
    blocks = feature_blocks(
        {name: COUNTS[name] for name in config.kept}, params.blocks, per_field=params.per_field
    )
    there, alpha = entries_of(config, config), model.gates["embedding"].alpha.numpy()
    for name in config.kept:
        table = model.embedding.field_table(name)
        for v, j in zip(*np.nonzero(there[name]), strict=True):
            merged[name, int(v), int(j)] = table[v, j] * alpha[blocks[name][v], j]
    return merged


def kept_in(config: InputConfig, space: InputConfig) -> set[tuple[str, int, int]]:
    return {
        (name, int(v), int(j))
        for name, array in entries_of(config, space).items()
        for v, j in zip(*np.nonzero(array), strict=True)
    }


CASES = [("dnis", SPACE), ("dnis(blocks=2, per_field=True)", SPACE), ("dnis(blocks=4)", GAPS)]


@pytest.mark.parametrize(("spec", "space"), CASES)
@pytest.mark.parametrize("threshold", [1e-9, 0.1, 0.4, 0.9])
def test_merged_entries_below_the_threshold_go(spec, space, threshold):
    model, method = supernet(spec, space), METHODS.build(spec)
    method = type(method)(dataclasses.replace(method.params, threshold=threshold))
    merged = oracle_merged(model, spec)
    config = derived(method, model, space)
    config.check(SCHEMA)
    assert config.within(space)
    expected = {entry for entry, value in merged.items() if not abs(value) < threshold}
    assert 0 < len(expected) < len(merged) and kept_in(config, space) == expected
    assert config.num_params(SCHEMA) == len(expected)


@pytest.mark.parametrize(("spec", "space"), CASES)
def test_a_compression_rate_keeps_the_largest_merged_entries(spec, space):
    model, whole = supernet(spec, space), space.num_params(SCHEMA)
    merged = oracle_merged(model, spec)
    # Stable: equal ones by field, feature, column.
    ranked = sorted(merged, key=lambda entry: -abs(merged[entry]))
    assert whole == len(merged)
    cases: list[tuple[Any, int | None, int]] = [
        (method, None, int(whole / method.params.compression))
        for _, method in METHODS.build(spec).sweep(space)
    ]
    cases += [
        (METHODS.build(spec), None, whole // 2),
        (METHODS.build(spec), 1, 1),
        (METHODS.build(spec), whole + 5, whole),
    ]
    cases += [
        (METHODS.build(spec), budget, budget) for budget in (2, 13, whole // 3, whole - 1, whole)
    ]
    for method, budget, count in cases:
        config = derived(method, model, space, budget)
        config.check(SCHEMA)
        # Equation 9 drops zeros at any threshold.
        expected = {entry for entry in ranked[:count] if merged[entry]}
        assert config.within(space) and config.num_params(SCHEMA) == len(expected)
        assert kept_in(config, space) == expected
        assert config == derived(method, model, space, budget)
    assert any(value == 0 for value in merged.values()), "some alpha should be at 0"
    model.gates["embedding"].alpha.assign(np.full(model.gates["embedding"].alpha.shape, 0.5))
    assert derived(METHODS.build(spec), model, space, whole) == space or space is GAPS


def test_what_is_kept_by_hand():
    """Columns without an entry go, a whole field has no mask, and a field without entries keeps
    what its first-order terms need."""
    model = supernet("dnis(blocks=2)")
    assert model.embedding is not None
    model.gates["embedding"].alpha.assign([[1, 1, 1, 1], [1, 0.5, 1, 0.1]])
    blocks = dict(zip(SIZES, model.gates["embedding"].field_blocks, strict=True))
    first, second = (int(np.flatnonzero(blocks["goods"] == block)[3]) for block in (0, 1))
    table = np.zeros((50, DIM), np.float32)
    table[:3] = 5.0 / np.maximum(model.gates["embedding"].alpha.numpy()[blocks["gender"]], 0.1)
    table[3 + first] = [0, 0.3, 0, -0.2]
    table[3 + second] = [0, -0.3, 0, 1.1]  # merged: -0.15 and 0.11
    model.embedding.tables[0].assign(table)
    config = derived(METHODS.build("dnis(blocks=2, threshold=0.14)"), model, SPACE)
    goods = np.zeros((40, 2), bool)
    goods[[first, first, second], [0, 1, 0]] = True
    assert config.fields["gender"] == FieldConfig(DIM)
    assert config.fields["goods"] == FieldConfig(2, (1, 3), BitMask.from_array(goods))
    assert config.fields["hour"] == FieldConfig(1, (0,), BitMask.from_array(np.zeros((7, 1), bool)))
    assert config.num_params(SCHEMA) == 15
    assert derived(METHODS.build("dnis(blocks=2)"), model, SPACE, 15) == config
    bare = supernet("dnis(blocks=2)", base="mlp(hidden=(5,), first_order=False)")
    assert bare.embedding is not None
    bare.gates["embedding"].alpha.assign(model.gates["embedding"].alpha)
    bare.embedding.tables[0].assign(table)
    assert derived(METHODS.build("dnis(blocks=2)"), bare, SPACE, 15).fields["hour"] == FieldConfig(
        0
    )


def test_a_field_that_goes_leaves_no_mask():
    model = supernet("dnis(blocks=4)", GAPS, "mlp(hidden=(5,), first_order=False)")
    config = derived(METHODS.build("dnis(blocks=4)"), model, GAPS, 1)
    assert sorted(config.fields.values(), key=lambda field: field.dim)[:2] == [
        FieldConfig(0)
    ] * 2 and config.within(GAPS)


def test_nothing_kept():
    model = supernet("dnis")
    with pytest.raises(
        BudgetError,
        match="The budget should be at least the smallest config's 1 embedding parameters. "
        "Received: 0",
    ):
        derived(METHODS.build("dnis"), model, SPACE, 0)
    with pytest.raises(
        BudgetError,
        match=r"`compression` of dnis should leave at least .* 1 .*, and leaves 0\. Received: 201",
    ):
        derived(METHODS.build("dnis(compression=201)"), model, SPACE)
    with pytest.raises(
        ValueError,
        match=r"`threshold` of dnis should keep an entry; the largest merged one is \d.*\. "
        r"Received: 1000",
    ):
        derived(METHODS.build("dnis(threshold=1000)"), model, SPACE)


@pytest.mark.parametrize(
    "base", ["mlp(hidden=(5,))", "mlp(hidden=(5,), first_order=False)", "fm", "deepfm(hidden=(5,))"]
)
@pytest.mark.parametrize(("spec", "space"), CASES)
def test_folded_and_cut_it_is_the_masked_supernet(base, spec, space):
    """Lines 11 to 13: what the final model puts out is what supernet and alpha put out together
    with the pruned entries at zero."""
    model, ids = supernet(spec, space, base), tf.constant(ids_of(64, 4))
    configs = [
        derived(METHODS.build(spec), model, space, budget)
        for budget in (4, 40, space.num_params(SCHEMA))
    ]
    expected = []
    for config in configs:
        model.hard_mask(config)
        expected.append(model(ids).numpy())
    model.hard_mask(None)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    np.testing.assert_allclose(expected[2], model(ids), rtol=0, atol=1e-6)
    gate = model.gates["embedding"]
    assert model.embedding is not None
    tables = {name: model.embedding.field_table(name) for name in space.kept}
    gate.fold(model.embedding)
    for name, blocks in zip(space.kept, gate.field_blocks, strict=True):
        np.testing.assert_array_equal(
            model.embedding.field_table(name), merge(tables[name], gate.alpha.numpy(), blocks)
        )
    for config, logits in zip(configs, expected, strict=True):
        narrow = model.restrict(config, keep_gates=False)
        assert not narrow.gates
        np.testing.assert_allclose(narrow(ids), logits, rtol=0, atol=1e-6)


def test_one_search_gives_every_rate():
    specs = [
        "dnis",
        "dnis(compression=30.0)",
        "dnis(threshold=0.1)",
        "dnis(sweep=(7.0,))",
        "dnis(compression=3.0, sweep=())",
    ]
    assert len({training_spec(parse_spec(spec)) for spec in specs}) == 1
    assert training_spec(parse_spec("dnis(xi=0.1)")) != training_spec(parse_spec("dnis"))
    model = supernet("dnis")
    before = [variable.numpy() for variable in model.variables]
    labels, sizes = [], []
    for label, method in METHODS.build("dnis(threshold=0.2, sweep=(2.0, 4.0, 50.0))").sweep(SPACE):
        labels.append(label)
        sizes.append(derived(method, model, SPACE).num_params(SCHEMA))
        method.explain(Search(model), ())
    assert labels == ["compression=2", "compression=4", "compression=50"] and sizes == [100, 50, 4]
    assert all(
        np.array_equal(variable, old) for variable, old in zip(model.variables, before, strict=True)
    )


# What a search leaves beside the config
@pytest.mark.parametrize(("spec", "space"), CASES)
def test_fields_are_scored_by_what_their_rows_put_out(spec, space):
    model = supernet(spec, space)
    merged = {name: np.zeros((SIZES[name], space.fields[name].dim)) for name in space.kept}
    for (name, v, j), value in oracle_merged(model, spec).items():
        merged[name][v, j] = value
    expected = {}
    for name, table in merged.items():
        # Row by row of the training split.
        norms = np.repeat(np.sqrt(np.square(table).sum(axis=1)), COUNTS[name])
        expected[name] = norms.mean()
    assert METHODS.build(spec).explain(Search(model), ()).scores == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize(("spec", "space"), CASES)
def test_what_is_drawn(spec, space):
    model, method = supernet(spec, space), METHODS.build(spec)
    gate = model.gates["embedding"]
    alpha = method.explain(Search(model), ()).arrays["alpha"]
    assert alpha.shape == (space.num_fields, space.max_dim)
    for i, name in enumerate(space.kept):
        seen = np.repeat(gate.alpha.numpy()[gate.field_blocks[i]], COUNTS[name], axis=0)[
            :, : space.fields[name].dim
        ]
        np.testing.assert_allclose(
            alpha[i, : space.fields[name].dim], seen.mean(axis=0, dtype=np.float64), rtol=1e-5
        )
        assert np.all(alpha[i, space.fields[name].dim :] == 0)
    config = derived(method, model, space, space.num_params(SCHEMA) // 3)
    heat, means, dims = method.explain(Search(model), (config,)).pictures
    assert isinstance(heat, HeatMap) and isinstance(means, Lines) and isinstance(dims, Lines)
    np.testing.assert_array_equal(heat.values[gate.used], gate.alpha.numpy()[gate.used])
    assert heat.values.shape == (len(heat.rows), len(heat.columns)) == gate.used.shape and np.all(
        np.isnan(heat.values[~gate.used])
    )
    counts = np.concatenate([COUNTS[name] for name in space.kept])
    first = counts[np.concatenate(gate.field_blocks) == 0]
    assert (
        heat.rows[0]
        == ("gender " if method.params.per_field else "") + f"{first.max()} to {first.min()}"
    )
    place = int(np.flatnonzero(means.x == first.mean())[0])
    assert means.series["mean alpha"][place] == pytest.approx(
        gate.alpha.numpy()[0][gate.used[0]].mean(), rel=1e-5
    )
    assert np.all(np.diff(means.x) >= 0) and means.log_x and dims.log_x and np.all(dims.x > 0)
    # Means by step of frequency, weighted by the features in it, are the entries kept.
    step = 2.0 ** np.floor(np.log2(np.maximum(counts, 0.5)))
    features = np.array([np.sum(step == x) for x in dims.x])
    assert features.sum() == len(counts)
    whole = space.num_params(SCHEMA)
    assert dims.series["found"] @ features == pytest.approx(config.num_params(SCHEMA)), (
        "by a budget, too"
    )
    for rate in (2.0, *method.params.sweep):
        assert dims.series[f"compression {rate:g}"] @ features == pytest.approx(int(whole / rate))


def test_a_heat_map_of_many_blocks_shows_some():
    counts = {"a": list(range(150)), "b": [7] * 40}
    schema = schema_with(counts)
    model = supernet("dnis(blocks=190)", InputConfig.uniform(schema, DIM), schema=schema)
    heat = METHODS.build("dnis(blocks=190)").explain(Search(model), ()).pictures[0]
    assert isinstance(heat, HeatMap)
    assert len(heat.rows) == len(heat.values) == 60 and "(60 of 190)" in heat.title
    assert heat.rows[0] == "149 to 149" and heat.rows[-1] == "0 to 0"


# The recipe
def searched(spec: str) -> types.SimpleNamespace:
    """What `train_or_resume` asks of a trainer."""
    asked = types.SimpleNamespace(schema=SCHEMA, task=TASKS.build("ctr"), pretrained=[], fits=[])
    asked.scope = lambda: tf.init_scope()
    asked.build = lambda space, gates: Recommender(
        SCHEMA, space, MODELS.build("deepfm(hidden=(5,))"), asked.task, gates=gates, seed=1
    )

    def pretrain(space, epochs):
        asked.pretrained.append(epochs)
        asked.plain = Recommender(
            SCHEMA, space, MODELS.build("deepfm(hidden=(5,))"), asked.task, seed=2
        )
        return asked.plain

    def fit(model, name, plan):
        asked.fits.append(plan)
        asked.alpha = model.gates["embedding"].alpha.numpy()
        asked.table = model.embedding.tables[0].numpy()

    asked.pretrain, asked.fit = pretrain, fit
    METHODS.build(spec).train_or_resume(asked, SPACE)
    return asked


def test_presets():
    adam = {"architecture": "adam(learning_rate=0.01)"}
    paper = searched("dnis(preset='paper')")
    recipe = {"optimizer": "adam(learning_rate=0.001)"}
    assert METHODS.build("dnis(preset='paper')").params == dataclasses.replace(
        METHODS.build("dnis").params, **recipe
    )
    assert not paper.pretrained and np.all(paper.alpha == 1)
    assert paper.fits == [
        FitPlan(step=Alternating(), epochs=10, patience=2, metric="log_loss", optimizers=adam)
    ]
    official = searched("dnis(preset='official_code')")
    (plan,) = official.fits
    assert official.pretrained == [20] and np.all(official.alpha == 1)
    np.testing.assert_array_equal(official.table, official.plain.embedding.tables[0])
    assert sorted(plan.frozen) == ["alignment", "base"] and plan.step == Alternating()
    # That of the weights is the recipe's.
    assert plan.optimizers == {"architecture": "sgd(learning_rate=0.01)"}
    gate = gate_of("dnis(preset='official_code')")
    assert float(gate.penalty(None, None, None)["architecture"]) == pytest.approx(1e-5 * 6 * DIM)
    applied: list[tf.Tensor] = []
    gate.update([tf.fill((6, DIM), 1e-8)], lambda gradients: applied.extend(gradients))
    np.testing.assert_allclose(applied[0], 0.5, rtol=1e-5)
    assert METHODS.build("dnis").traits.init == "keep"


def test_without_early_stopping_the_last_epoch_stays():
    (plan,) = searched("dnis(stop_at_best=False, epochs=3)").fits
    assert (plan.patience, plan.metric, plan.epochs) == (0, None, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("blocks=0", "`blocks` of dnis should be at least 1. Received: 0"),
        ("epochs=0", "`epochs` of dnis should be at least 1. Received: 0"),
        ("patience=0", "`patience` of dnis should be at least 1. Received: 0"),
        ("pretrain_epochs=-1", "`pretrain_epochs` of dnis should be at least 0. Received: -1"),
        ("xi=-0.1", "`xi` of dnis should be at least 0. Received: -0.1"),
        ("l1=-1e-5", "`l1` of dnis should be at least 0. Received: -1e-05"),
        (
            "normalization_epsilon=0.0",
            "`normalization_epsilon` of dnis should be above 0. Received: 0.0",
        ),
        ("threshold=0.0", "`threshold` of dnis should be above 0. Received: 0.0"),
        (
            "block_shares=(0.5, 0.4)",
            r"`block_shares` of dnis should be above 0 and sum to 1. Received: \(0.5, 0.4\)",
        ),
        (
            "block_shares=(1.5, -0.5)",
            r"`block_shares` of dnis should be above 0 and sum to 1. Received: \(1.5, -0.5\)",
        ),
        ("block_sizes=(5, 0)", r"`block_sizes` of dnis should be at least 1. Received: \(5, 0\)"),
        (
            "block_shares=(1.0,), block_sizes=(5,)",
            "One of `block_shares` and `block_sizes` of dnis should be given, not both. Received: ",
        ),
        ("held_out=1.0", r"`held_out` of dnis should lie in \(0, 1\). Received: 1.0"),
        ("compression=1.0", "`compression` of dnis should be above 1. Received: 1.0"),
        ("sweep=(2.0, 0.5)", "`compression` of dnis should be above 1. Received: 0.5"),
        (
            "compression=2.0, threshold=0.1",
            "One of `compression` and `threshold` of dnis should decide, not both. Received: 2.0 "
            "and 0.1",
        ),
    ],
)
def test_settings_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        METHODS.build(f"dnis({arguments})")


def test_entries_at_zero_are_not_kept():
    """Equation 9 drops them at any threshold: blocks whose alpha has gone to 0 leave fewer entries
    than a rate asks for, or none."""
    model = supernet("dnis(blocks=4)")
    alpha = np.zeros(model.gates["embedding"].alpha.shape, np.float32)
    model.gates["embedding"].alpha.assign(alpha)
    with pytest.raises(
        ValueError,
        match="should leave an entry that is not 0. Received: alpha at 0 in all blocks and "
        "dimensions",
    ):
        derived(METHODS.build("dnis(blocks=4)"), model, SPACE)
    alpha[0, 1] = 1.0
    model.gates["embedding"].alpha.assign(alpha)
    left = sum(int(np.sum(blocks == 0)) for blocks in model.gates["embedding"].field_blocks)
    search = Search(model)
    config = METHODS.build("dnis(blocks=4)").derive(search, SPACE)
    assert config.num_params(SCHEMA) == left > 0
    (notice,) = search.notices
    assert f"{left} merged entries are not 0, and are kept, of the 100 asked for" in str(notice)
