"""i-Razor (arXiv 2204.00281v2): the gate and the search loss, equations 2 to 5, 7 and 8, against
oracles written from the paper.

The oracles are plain numpy in double precision, with one loop per sum of the paper; a gradient is a
central difference of the oracle."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.config.field_config import FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.evaluation.task import TASKS
from irazor_tf.methods.irazor.gate import RegionGate
from irazor_tf.model.base import MODELS
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, Search
from irazor_tf.training.updates.optimizers import make_optimizer
from irazor_tf.training.updates.steps import Joint

SIZES = {"gender": 3, "goods": 40, "hour": 7}
SCHEMA = Schema(tuple(Field(name, vocabulary_size=size) for name, size in SIZES.items()))
DIM = 6
BATCH = 32
EPSILON = 1e-3


# Oracles. Shapes: w [N][K_i], e [B, N, d_K].
def oracle_alpha(w, tau):
    """Equation 2, one field."""
    powers = [np.exp(value / tau) for value in w]
    return [power / sum(powers) for power in powers]


def oracle_operators(candidates):
    """Section 3.2.2: operator j is 1 from the (d_(j-1) + 1)-th digit to the d_j-th and 0
    elsewhere."""
    operators = []
    for j, d in enumerate(candidates):
        first = 0 if j == 0 else candidates[j - 1]
        operators.append([1.0 if first <= digit < d else 0.0 for digit in range(candidates[-1])])
    return np.array(operators)


def oracle_normalized(e, epsilon=EPSILON):
    """Equation 3: mean and deviation of every digit of every field over the mini-batch."""
    normalized = np.zeros_like(e)
    for i in range(e.shape[1]):
        for j in range(e.shape[2]):
            digit = e[:, i, j]
            mean = sum(digit) / len(digit)
            deviation = np.sqrt(sum((digit - mean) ** 2) / len(digit))
            normalized[:, i, j] = (digit - mean) / np.sqrt(deviation**2 + epsilon)
    return normalized


def oracle_transformed(normalized, w, candidates, tau):
    """Equation 4."""
    out = np.zeros_like(normalized)
    for i, own in enumerate(candidates):
        factor = sum(
            a * operator
            for a, operator in zip(oracle_alpha(w[i], tau), oracle_operators(own), strict=True)
        )
        out[:, i, : own[-1]] = normalized[:, i, : own[-1]] * factor
    return out


def oracle_penalty(w, candidates, tau, field_weights):
    """Equation 5, with c_m of equation 6."""
    total = 0.0
    for i, own in enumerate(candidates):
        inner = 0.0
        for m, a in enumerate(oracle_alpha(w[i], tau)):
            c = own[0] if m == 0 else own[m] - own[m - 1]
            inner += c * a
        total += field_weights[i] * inner
    return total


@dataclasses.dataclass(frozen=True)
class Setting:
    """A spec of the method and what the paper (or the authors' code) makes of it."""

    spec: str
    candidates: tuple[tuple[int, ...], ...]
    tau: float
    penalty: float
    cardinality: bool = True
    normalize: bool = True
    batch_statistics: bool = True

    @property
    def field_weights(self):
        sizes = list(SIZES.values())
        return [size / sum(sizes) for size in sizes] if self.cardinality else [0.01] * len(sizes)


SAME = ((0, 1, 2, 4, 6),) * 3
SETTINGS = {
    "paper": Setting("irazor(temperature=0.5, penalty=0.3)", SAME, 0.5, 0.3),
    "no penalty": Setting("irazor(temperature=0.7, penalty=0)", SAME, 0.7, 0.0),
    "by field": Setting(
        "irazor(candidates={'gender': (0, 1, 3, 6), 'hour': (2, 6), '': (0, 4, 5, 6)}, "
        "temperature=1.0, penalty=0.2)",
        ((0, 1, 3, 6), (0, 4, 5, 6), (2, 6)),
        1.0,
        0.2,
    ),
    "official code": Setting(
        "irazor(preset='official_code', temperature=0.5, penalty=3.0)",
        SAME,
        0.5,
        3.0,
        cardinality=False,
        batch_statistics=False,
    ),
    "no batch norm": Setting(
        "irazor(normalize=False, temperature=0.5, penalty=0.3)", SAME, 0.5, 0.3, normalize=False
    ),
}


@pytest.fixture(params=SETTINGS, ids=lambda name: name.replace(" ", "_"))
def setting(request):
    return SETTINGS[request.param]


def logits_of(setting, generator):
    """w [N][K_i], and the same padded to [N, K]; what pads is to have no effect."""
    w = [generator.normal(0, 0.5, len(own)) for own in setting.candidates]
    padded = generator.normal(0, 9, (len(w), max(map(len, w))))
    for i, own in enumerate(w):
        padded[i, : len(own)] = own
    return w, padded


@pytest.fixture
def gate(setting):
    (gate,) = METHODS.build(setting.spec).gates(SCHEMA, InputConfig.uniform(SCHEMA, DIM)).values()
    gate(tf.zeros((2, 3, DIM)), tf.zeros((2, 3), tf.int32))
    return gate


def oracle_gate_input(setting, e):
    if not setting.normalize:
        return e
    return oracle_normalized(e) if setting.batch_statistics else e / np.sqrt(1 + EPSILON)


def test_alpha_is_a_softmax_with_temperature(setting, gate):
    w, padded = logits_of(setting, np.random.default_rng(0))
    gate.logits.assign(padded)
    alpha = gate.alpha().numpy()
    for i, own in enumerate(w):
        np.testing.assert_allclose(alpha[i, : len(own)], oracle_alpha(own, setting.tau), rtol=1e-5)
        np.testing.assert_array_equal(alpha[i, len(own) :], 0)


def test_alpha_starts_uniform(setting, gate):
    for i, own in enumerate(setting.candidates):
        np.testing.assert_allclose(gate.alpha()[i, : len(own)], 1 / len(own), rtol=1e-6)


def test_training_normalizes_by_the_batch_and_weighs_by_region(setting, gate):
    generator = np.random.default_rng(1)
    w, padded = logits_of(setting, generator)
    gate.logits.assign(padded)
    e = generator.normal(0.3, 0.05, (BATCH, 3, DIM)) * np.arange(1, DIM + 1)
    expected = oracle_transformed(oracle_gate_input(setting, e), w, setting.candidates, setting.tau)
    found = gate(tf.constant(e, tf.float32), tf.zeros((BATCH, 3), tf.int32), training=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_evaluation_normalizes_by_moving_averages(setting, gate):
    generator = np.random.default_rng(2)
    w, padded = logits_of(setting, generator)
    gate.logits.assign(padded)
    e = generator.normal(0.5, 2.0, (BATCH, 3, DIM))
    ids = tf.zeros((BATCH, 3), tf.int32)
    mean, variance = np.zeros((3, DIM)), np.ones((3, DIM))
    for _ in range(3):
        gate(tf.constant(e, tf.float32), ids, training=True)
        if setting.batch_statistics:
            mean, variance = 0.9 * mean + 0.1 * e.mean(axis=0), 0.9 * variance + 0.1 * e.var(axis=0)
    assert (gate.norm is None) == (not setting.normalize)
    if gate.norm is not None:
        np.testing.assert_allclose(gate.norm.moving_mean, mean.ravel(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(gate.norm.moving_variance, variance.ravel(), rtol=1e-4)
        normalized = (e - mean) / np.sqrt(variance + EPSILON)
    else:
        normalized = e
    for _ in range(2):  # the second time as the first: evaluation moves nothing
        found = gate(tf.constant(e, tf.float32), ids, training=False)
        np.testing.assert_allclose(
            found,
            oracle_transformed(normalized, w, setting.candidates, setting.tau),
            rtol=0,
            atol=2e-5,
        )


def test_penalty_weighs_sizes_by_cardinality(setting, gate):
    w, padded = logits_of(setting, np.random.default_rng(3))
    gate.logits.assign(padded)
    (group, found), *rest = gate.penalty(None, None, None).items()
    assert group == "architecture" and not rest
    expected = setting.penalty * oracle_penalty(
        w, setting.candidates, setting.tau, setting.field_weights
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_columns_that_pad_a_narrow_field_stay_zero():
    gate = RegionGate(
        [(0, 1, 2), (0, 2, 4)], np.array([0.5, 0.5]), temperature=1.0, penalty_weight=0.0
    )
    x = np.random.default_rng(4).normal(size=(8, 2, 4)).astype(np.float32)
    x[:, 0, 2:] = 0
    for training in (True, False):
        assert np.all(
            gate(tf.constant(x), tf.zeros((8, 2), tf.int32), training=training)[:, 0, 2:].numpy()
            == 0
        )


# The search loss of a whole model.
def build(setting):
    """A supernet with weights of ordinary size, and a batch."""
    generator = np.random.default_rng(5)
    base = MODELS.build("mlp(hidden=(5,))")
    space = InputConfig.uniform(SCHEMA, DIM)
    model = Recommender(
        SCHEMA,
        space,
        base,
        TASKS.build("ctr"),
        gates=METHODS.build(setting.spec).gates(SCHEMA, space),
    )
    for variable in model.trainable_variables:
        variable.assign(generator.normal(0, 0.5, variable.shape))
    ids = np.stack([generator.integers(0, size, BATCH) for size in SIZES.values()], axis=1)
    label = (generator.random(BATCH) < 0.4).astype(np.float32)
    return model, {"ids": tf.constant(ids, tf.int32), "label": tf.constant(label)}


def weights_of(model):
    """The supernet's weights in double precision, by name."""
    tower = model.base.tower
    found = {
        "logits": model.gates["embedding"].logits,
        "table": model.embedding.tables[0],
        "linear": model.linear.tables[0],
    }
    found |= {
        "kernel": tower.dense[0].kernel,
        "bias": tower.dense[0].bias,
        "out": tower.out.kernel,
        "out_bias": tower.out.bias,
    }
    return {
        name: np.array(variable.numpy(), np.float64)
        for name, variable in (found | {"intercept": model.intercept.bias}).items()
    }


def oracle_loss(setting, weights, batch):
    """Cross-entropy of the batch, and equation 7 as a whole."""
    ids, y = batch["ids"].numpy(), batch["label"].numpy().astype(np.float64)
    offsets = np.concatenate([[0], np.cumsum(list(SIZES.values()))[:-1]])
    e = np.stack([weights["table"][ids[:, i] + offset] for i, offset in enumerate(offsets)], axis=1)
    w = [weights["logits"][i, : len(own)] for i, own in enumerate(setting.candidates)]
    x = oracle_transformed(
        oracle_gate_input(setting, e), w, setting.candidates, setting.tau
    ).reshape(len(y), -1)
    hidden = np.maximum(x @ weights["kernel"] + weights["bias"], 0)
    logit = (hidden @ weights["out"])[:, 0] + weights["out_bias"][0] + weights["intercept"]
    logit = logit + sum(
        weights["linear"][ids[:, i] + offset, 0] for i, offset in enumerate(offsets)
    )
    p = 1 / (1 + np.exp(-logit))
    entropy = np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p))
    return entropy, entropy + setting.penalty * oracle_penalty(
        w, setting.candidates, setting.tau, setting.field_weights
    )


def oracle_gradient(setting, weights, batch, name, entries, step=1e-5):
    """Central differences of equation 7 at some entries of one weight."""
    found = []
    for entry in entries:
        losses = []
        for sign in (1, -1):
            moved = weights[name].copy()
            moved[entry] += sign * step
            losses.append(oracle_loss(setting, weights | {name: moved}, batch)[1])
        found.append((losses[0] - losses[1]) / (2 * step))
    return np.array(found)


def test_loss_and_gradient_of_the_architecture(setting):
    """Equations 7 and 8: one batch moves the region logits by cross-entropy and penalty."""
    model, batch = build(setting)
    weights = weights_of(model)
    loss, gradients = model.gradients(batch, ["architecture"])
    np.testing.assert_allclose(loss, oracle_loss(setting, weights, batch)[0], rtol=1e-5)
    (found,) = gradients["architecture"]
    entries = [(i, m) for i, own in enumerate(setting.candidates) for m in range(len(own))]
    expected = oracle_gradient(setting, weights, batch, "logits", entries)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose([found[entry] for entry in entries], expected, rtol=1e-3, atol=1e-5)


def test_gradient_of_the_weights(setting):
    """Equation 8, the weights' half: through the gate and the batch statistics to the tables."""
    model, batch = build(setting)
    weights = weights_of(model)
    _, gradients = model.gradients(batch, ["bias", "network"])
    by_variable = {
        v.ref(): g
        for group in gradients
        for g, v in zip(gradients[group], model.variable_groups[group], strict=True)
    }
    generator = np.random.default_rng(6)
    variables = {
        "table": model.embedding.tables[0],
        "kernel": model.base.tower.dense[0].kernel,
        "linear": model.linear.tables[0],
    }
    for name, variable in (variables | {"intercept": model.intercept.bias}).items():
        entries = [tuple(generator.integers(0, size) for size in variable.shape) for _ in range(12)]
        expected = oracle_gradient(setting, weights, batch, name, entries)
        assert np.abs(expected).max() > 1e-4
        found = tf.convert_to_tensor(by_variable[variable.ref()]).numpy()
        np.testing.assert_allclose(
            [found[entry] for entry in entries], expected, rtol=2e-3, atol=1e-5, err_msg=name
        )


def test_penalty_enters_the_gradient_with_its_factor():
    """lambda scales the penalty's part and no other."""
    found = {}
    for penalty in (0.0, 0.1, 0.2):
        model, batch = build(
            dataclasses.replace(
                SETTINGS["paper"], spec=f"irazor(temperature=0.5, penalty={penalty})"
            )
        )
        found[penalty] = model.gradients(batch, ["architecture"])[1]["architecture"][0].numpy()
    first = found[0.1] - found[0.0]
    assert np.abs(first).max() > 1e-3
    np.testing.assert_allclose(found[0.2] - found[0.0], 2 * first, rtol=1e-3, atol=1e-6)


def test_a_step_moves_alpha_down_the_gradient():
    """One-level: architecture and weights move by the same batch."""
    model, batch = build(SETTINGS["paper"])
    _, gradients = model.gradients(batch, model.groups)
    before = model.gates["embedding"].logits.numpy()
    table = model.embedding.tables[0].numpy()
    model.prepare(
        Joint(), {group: make_optimizer("sgd(learning_rate=0.1)") for group in model.groups}
    )
    model.train_step(batch)
    (gradient,) = gradients["architecture"]
    np.testing.assert_allclose(
        model.gates["embedding"].logits, before - 0.1 * gradient.numpy(), rtol=0, atol=1e-6
    )
    assert np.abs(model.embedding.tables[0].numpy() - table).max() > 0


@pytest.mark.parametrize("spec", ["irazor()", "irazor(preset='official_code')"])
@pytest.mark.parametrize("first_region", [0.0, 0.5])
def test_a_budget_never_gives_a_config_without_fields(spec, first_region):
    """Neither where region 0 outweighs all others, nor where the official comparison finds no sum
    above the threshold."""
    method, space = METHODS.build(spec), InputConfig.uniform(SCHEMA, DIM)
    base, task = MODELS.build("mlp(hidden=(4,))"), TASKS.build("ctr")
    model = Recommender(SCHEMA, space, base, task, gates=method.gates(SCHEMA, space))
    generator = np.random.default_rng(7)
    logits = generator.normal(0, 0.01, model.gates["embedding"].logits.shape)
    logits[:, 0] += first_region
    model.gates["embedding"].logits.assign(logits)
    search, whole = Search(model), space.num_params(SCHEMA)
    assert method.derive(search, space, whole) == space
    sizes = []
    for budget in range(whole, 0, -1):
        try:
            config = method.derive(search, space, budget)
        except ValueError as error:
            assert "budget" in str(error)
            break
        config.check(SCHEMA)
        sizes.append(config.num_params(SCHEMA))
        assert sizes[-1] <= budget
    assert len(set(sizes)) > 3 and sizes == sorted(sizes, reverse=True)


def test_candidates_of_a_field_that_is_not_there_are_refused():
    space = InputConfig({"gender": FieldConfig(4), "hour": FieldConfig(4)})
    with pytest.raises(
        ValueError,
        match=r"should name fields \(gender, hour\) or '' for the others\. Received: our",
    ):
        METHODS.build("irazor(candidates={'our': (0, 2)})").candidates(space)
