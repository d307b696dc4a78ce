"""HAM, SAM, SAM-GS and HAM-p (CEUR 3317, 2022): equations 1 to 3, Table 1 and Algorithm 1, against
oracles written from the paper.

The oracles are numpy in double precision with one loop per sum of the paper; a gradient is a
central difference of the oracle."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.config.specs import Spec, parse_spec
from irazor_tf.evaluation.task import TASKS
from irazor_tf.methods.ham import equations, gates
from irazor_tf.model.base import MODELS
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.method import METHODS, Search
from irazor_tf.search.run import training_spec
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.trainer import Trainer
from irazor_tf.training.updates.optimizers import make_optimizer
from irazor_tf.training.updates.steps import Joint
from tests.conformance import cases, runs, tiny_data

SIZES = {"gender": 3, "goods": 40, "hour": 7, "month": 12}
SCHEMA = Schema(tuple(Field(name, vocabulary_size=size) for name, size in SIZES.items()))
# Two fields of one width, and so in one table.
DIMS = {"gender": 2, "goods": 4, "hour": 3, "month": 4}
SPACE = InputConfig.from_dims(DIMS)
REAL = np.array([[j < dim for j in range(4)] for dim in DIMS.values()])
NAMES = ("ham", "sam", "sam_gs", "ham_p")


# Oracles. V: a list of tables [C_j, d_j].
def oracle_orthogonality(tables, cosine=False):
    """Equation 1: sum_j |V_j^T V_j - I|_F^2 / d_j^2; the relaxed one has columns of unit length in
    place of V_j."""
    total = 0.0
    for table in tables:
        d = table.shape[1]
        columns = [
            table[:, a] / (np.sqrt(sum(table[:, a] ** 2)) if cosine else 1.0) for a in range(d)
        ]
        frobenius = 0.0
        for a in range(d):
            for b in range(d):
                frobenius += (sum(columns[a] * columns[b]) - (1.0 if a == b else 0.0)) ** 2
        total += frobenius / d**2
    return total


def oracle_step(alpha, gradient, costs, size, eta, mu):
    """Equation 3; `costs` are ones where columns are counted."""
    count = sum(cost for a, cost in zip(alpha, costs, strict=True) if a > 0)
    sign = (count > size) - (count < size)
    return [a - eta * g - mu * sign for a, g in zip(alpha, gradient, strict=True)]


def oracle_gumbel_sigmoid(alpha, u, temperature):
    """Section 4.2, SAM-GS."""
    z = (np.log(alpha / (1 - alpha)) + np.log(u / (1 - u))) / temperature
    return 1 / (1 + np.exp(-z))


def difference(function, x, step=1e-6):
    """Central difference of a scalar function of one number."""
    return (function(x + step) - function(x - step)) / (2 * step)


def built(gates, space=SPACE, model="mlp(hidden=(5,))", seed=0):
    """A model with weights of ordinary size, and a batch."""
    generator = np.random.default_rng(seed)
    net = Recommender(SCHEMA, space, MODELS.build(model), TASKS.build("ctr"), gates=gates)
    for group in ("bias", "network"):
        for variable in net.variable_groups[group]:
            variable.assign(generator.normal(0, 0.5, variable.shape))
    ids = np.stack([generator.integers(0, size, 32) for size in SIZES.values()], axis=1)
    return net, {
        "ids": tf.constant(ids, tf.int32),
        "label": tf.constant((generator.random(32) < 0.4).astype(np.float32)),
    }


def mask_gate(spec, space=SPACE, size=5, seed=0):
    return METHODS.build(spec).mask_gate(SCHEMA, space, size, seed)


def notice_text(search):
    """What the notices of a search say, a line each."""
    return "\n".join(map(str, search.notices))


def ready(gate, clock=0):
    """The gate with its alpha made, at a step of the clock."""
    gate.clock = tf.Variable(clock, dtype=tf.int64)
    gate(tf.zeros((1, *gate.costs.shape)), tf.zeros((1, gate.costs.shape[0]), tf.int32))
    return gate


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("tiny") / "data")
    return runs.Tiny(tiny_data.write(directory), directory)


def trainer_of(tiny, folder, shared=None):
    case = cases.Case(Spec("fde"), Spec("mlp", (("hidden", (4,)),)))
    trainer = tiny.trainer(case, folder)
    trainer.shared_dir = str(shared or folder)
    return trainer


# Equation 1
@pytest.mark.parametrize("cosine", [False, True])
def test_orthogonality_of_tables_of_unequal_width(cosine):
    measure = equations.cosine_orthogonality if cosine else equations.soft_orthogonality
    net, batch = built(
        {"embedding": gates.OrthogonalityGate(0.3, measure)}, model="deepfm(hidden=(5,))"
    )
    tables = {name: net.embedding.field_table(name).astype(np.float64) for name in SIZES}
    (group, total), *rest = net.gates["embedding"].penalty(net.embedding, None, None).items()
    assert group == "network" and not rest
    np.testing.assert_allclose(
        total, 0.3 * oracle_orthogonality(tables.values(), cosine), rtol=1e-5
    )
    gradients = {
        factor: net.gradients(batch, net.groups, penalties=factor)[1] for factor in (0.0, 1.0, 4.0)
    }
    owner = {table.ref() for table in net.embedding.tables}
    checked = 0
    for group in net.groups:
        for variable, without, once, four in zip(
            net.variable_groups[group], *(g[group] for g in gradients.values()), strict=True
        ):
            without, once, four = (tf.convert_to_tensor(g).numpy() for g in (without, once, four))
            if variable.ref() not in owner:
                np.testing.assert_array_equal(
                    once, without, err_msg=variable.name
                )  # it moves tables and nothing else
                continue
            np.testing.assert_allclose(four - without, 4 * (once - without), rtol=0, atol=2e-5)
            for piece in (piece for piece in net.embedding.pieces() if piece.variable is variable):
                name = piece.key.split("/")[1]
                for entry in [(0, 0), (2, 1), (1, DIMS[name] - 1)]:

                    def penalty(value, name=name, entry=entry):
                        moved = tables[name].copy()
                        moved[entry] = value
                        return 0.3 * oracle_orthogonality([moved], cosine)

                    expected = difference(penalty, tables[name][entry])
                    row = piece.rows[0] + entry[0]
                    np.testing.assert_allclose(
                        (once - without)[row, entry[1]], expected, rtol=1e-3, atol=1e-5
                    )
                    checked += abs(expected) > 1e-3
    assert checked > 6


def test_orthogonality_is_zero_for_unit_columns_at_right_angles():
    table = tf.constant([[0.6, 0.8], [0.8, -0.6], [0.0, 0.0]])
    assert float(equations.soft_orthogonality(table)) < 1e-12
    assert (
        float(equations.cosine_orthogonality(3.0 * table))
        < 1e-12
        < 1.0
        < float(equations.soft_orthogonality(3.0 * table))
    )
    with tf.GradientTape() as tape:  # a column of zeros has no direction
        zeros = tf.zeros((3, 2))
        tape.watch(zeros)
        value = equations.cosine_orthogonality(zeros)
    assert float(value) == 0.5 and np.isfinite(tape.gradient(value, zeros)).all()


# Equation 2 and Table 1
def test_the_indicator_passes_gradients_straight_through():
    alpha = tf.constant([-0.5, -1e-9, 0.0, 1e-9, 0.01, 2.0])
    upstream = tf.constant([1.0, -2.0, 3.0, -4.0, 5.0, 6.0])
    with tf.GradientTape() as tape:
        tape.watch(alpha)
        mask = equations.indicator(alpha)
        loss = tf.reduce_sum(mask * upstream)
    assert mask.numpy().tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(tape.gradient(loss, alpha), upstream)


def oracle_logits(net, batch, mask, kept):
    """The base model on the masked embeddings, with the first-order terms of the fields `kept` [N]
    alone."""
    uses, pieces = (
        net.base.uses,
        {piece.key: piece.read().astype(np.float64) for piece in net.pieces()},
    )
    rows = net.embedding.stack(net.embedding(batch["ids"])).numpy().astype(np.float64) * mask
    linear = tf.squeeze(net.linear.stack(net.linear(batch["ids"])), 2).numpy().astype(np.float64)
    logits = (linear * kept).sum(axis=1) + float(net.intercept.bias)
    if "stacked" in uses:
        aligned = [
            rows[:, i, : DIMS[name]] @ pieces[f"alignment/{name}/map"][0]
            for i, name in enumerate(SIZES)
        ]
        if net.base.params.align_bias:
            biases = [
                pieces[f"alignment/{name}/bias"][0] * keeps
                for name, keeps in zip(SIZES, kept, strict=True)
            ]
            aligned = [vector + bias for vector, bias in zip(aligned, biases, strict=True)]
        logits = logits + sum(
            (aligned[i] * aligned[j]).sum(axis=1) for i in range(4) for j in range(i)
        )
    if "flat" in uses:
        tower = net.base.tower
        kernel, bias, out, out_bias = (
            v.numpy().astype(np.float64) for v in (*tower.dense[0].weights, *tower.out.weights)
        )
        flat = net.embedding.flatten_stacked(tf.constant(rows)).numpy()
        logits = logits + (np.maximum(flat @ kernel + bias, 0) @ out)[:, 0] + out_bias
    return logits


BASES = ("mlp(hidden=(5,))", "fm", "deepfm(hidden=(5,))", "fm(align_bias=True)")
# The second field (goods) has no open column: it is closed.
CLOSED = np.array(
    [[0.02, -0.3, 0, 0], [-0.3, 0.0, -0.01, -0.5], [0.5, 0.0, 0.02, 0], [-0.01, 0.5, 0.02, 0.02]],
    np.float32,
)


@pytest.mark.parametrize("base", BASES)
def test_a_mask_moves_by_the_derivative_of_the_loss_in_it(base):
    """Equation 2 in a whole model: also where a column is masked, or all of a field's, the
    derivative in its mask; padding has none.

    A mask multiplies a column of embeddings and no more: the first-order term of a closed field is
    left out, and is no part of it."""
    net, batch = built({"embedding": mask_gate("ham")}, model=base, seed=1)
    net.gates["embedding"].alpha.assign(CLOSED)
    (gradient,) = net.gradients(batch, ["architecture"])[1]["architecture"]
    mask, y = np.where(REAL & (CLOSED > 0), 1.0, 0.0), batch["label"].numpy()
    kept = mask.any(axis=1)
    assert kept.tolist() == [True, False, True, True]

    def loss(mask):
        p = 1 / (1 + np.exp(-oracle_logits(net, batch, mask, kept)))
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    np.testing.assert_allclose(net.gradients(batch, ["architecture"])[0], loss(mask), rtol=1e-5)
    for i, j in np.ndindex(*REAL.shape):

        def moved(value, i=i, j=j):
            other = mask.copy()
            other[i, j] = value
            return loss(other)

        expected = difference(moved, mask[i, j]) if REAL[i, j] else 0.0
        np.testing.assert_allclose(
            gradient[i, j], expected, rtol=2e-3, atol=3e-6, err_msg=f"{i, j}"
        )
    assert np.abs(gradient[1]).max() > 1e-3, (
        "the columns of a closed field should go on being weighed"
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("base", BASES)
def test_the_masked_model_is_the_one_that_is_cut_from_it(base, training):
    """Table 1, right column, with first-order terms (and biases) that are not 0: a field goes whole
    with its last column."""
    net, batch = built({"embedding": mask_gate("ham")}, model=base, seed=2)
    for variable in (*net.variable_groups["network"], *net.variable_groups["bias"]):
        variable.assign(0.5 * variable)  # logits of ordinary size, for an absolute tolerance
    net.gates["embedding"].alpha.assign(CLOSED)
    config = METHODS.build("ham").select(Search(net), 5)
    assert config.dims == {"gender": 1, "goods": 0, "hour": 2, "month": 3}
    logits = net(batch["ids"], training=training)
    for narrow in (net.restrict(config, keep_gates=False), net.restrict(config)):
        np.testing.assert_allclose(
            narrow(batch["ids"], training=training), logits, rtol=0, atol=1e-6
        )
    np.testing.assert_allclose(
        logits, oracle_logits(net, batch, REAL & (CLOSED > 0), [1, 0, 1, 1]), rtol=0, atol=1e-6
    )
    net.hard_mask(config)
    np.testing.assert_allclose(net(batch["ids"], training=training), logits, rtol=0, atol=1e-6)
    net.hard_mask(None)
    everything = oracle_logits(net, batch, REAL & (CLOSED > 0), [1, 1, 1, 1])
    assert np.abs(logits - everything).max() > 0.05, (
        "the closed field should have something to lose"
    )
    gradients = net.gradients(batch, ["bias"], training=training)[1]["bias"]
    terms = tf.convert_to_tensor(gradients[0]).numpy()[: sum(SIZES.values())]
    start = SIZES["gender"]
    assert not terms[start : start + SIZES["goods"]].any() and terms[:start].any(), (
        "the first-order term of a closed field rests"
    )


def test_which_masks_close_fields():
    """Hard ones: HAM's, and HAM-p's draws; in evaluation that is a probability. Soft masks close
    nothing."""
    rows = [[1, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert equations.some_open(tf.constant(rows, tf.float32)).numpy().tolist() == [1, 0, 1]
    p = np.array([[0.25, 0.5], [0, 0], [1, 0.5], [0.125, 0]], np.float32)
    draws = np.array([[(a, b) for a in (0, 1) for b in (0, 1)]] * 4)
    chances = np.where(draws == 1, p[:, None], 1 - p[:, None]).prod(axis=2)
    np.testing.assert_allclose(
        equations.some_open(p), (chances * draws.any(axis=2)).sum(axis=1), rtol=1e-6
    )
    gate = ready(mask_gate("ham_p"))
    gate.alpha.assign(np.array([[0.25], [0.125], [0.5], [0.0]]) * np.ones(4))
    seen = set()
    for _ in range(40):
        drawn = (gate.mask(True).numpy() * REAL).any(axis=1)
        np.testing.assert_array_equal(gate.open_fields(True), drawn)
        seen.add(tuple(drawn.tolist()))
        gate.clock.assign_add(1)
    assert len(seen) > 4 and not any(fields[3] for fields in seen)
    np.testing.assert_allclose(
        gate.open_fields(), [1 - 0.75**2, 1 - 0.875**4, 1 - 0.5**3, 0], rtol=1e-6
    )
    for name in ("sam", "sam_gs"):
        gate = ready(mask_gate(name))
        gate.alpha.assign(np.zeros(REAL.shape))
        assert gate.open_fields(True) is None and gate.open_fields() is None


def test_gumbel_sigmoid_forward_and_backward():
    generator = np.random.default_rng(3)
    for temperature in (1.0, 0.1):
        gate = ready(mask_gate(f"sam_gs(temperature={temperature})"), clock=17)
        alpha = generator.uniform(0.2, 0.8, REAL.shape)
        gate.alpha.assign(alpha)
        u = gate.uniform().numpy().astype(np.float64)
        assert ((u > 0) & (u < 1)).all() and len(np.unique(u)) == u.size
        with tf.GradientTape() as tape:
            mask = gate.mask(True)
        np.testing.assert_allclose(
            mask, oracle_gumbel_sigmoid(alpha, u, temperature), rtol=1e-4, atol=1e-6
        )
        gradient = tape.gradient(mask, gate.alpha).numpy()
        for at in np.ndindex(*REAL.shape):
            expected = difference(
                lambda a, u=u[at], t=temperature: oracle_gumbel_sigmoid(a, u, t), alpha[at]
            )
            np.testing.assert_allclose(gradient[at], expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(
            gate.mask(False), oracle_gumbel_sigmoid(alpha, 0.5, temperature), rtol=1e-4, atol=1e-6
        )


def test_bernoulli_frequencies_and_gradient():
    gate = ready(mask_gate("ham_p"))
    p = np.linspace(0, 1, REAL.size).reshape(REAL.shape).astype(np.float32)
    gate.alpha.assign(p)
    draws = 1000
    total = np.zeros(p.shape)
    for _ in range(draws):
        mask = gate.mask(True).numpy()
        assert set(np.unique(mask)) <= {0.0, 1.0}
        np.testing.assert_array_equal(mask, gate.uniform().numpy() < p)
        total += mask
        gate.clock.assign_add(1)
    # Never at 0, always at 1.
    assert (np.abs(total / draws - p) <= 4 * np.sqrt(p * (1 - p) / draws)).all()
    np.testing.assert_array_equal(gate.mask(False), p)
    upstream = np.random.default_rng(4).normal(size=p.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(gate.mask(True) * upstream)
    np.testing.assert_allclose(tape.gradient(loss, gate.alpha), upstream, rtol=1e-6)


def test_the_soft_mask_is_alpha_itself():
    gate = ready(mask_gate("sam"))
    alpha = np.random.default_rng(5).uniform(0, 1, REAL.shape).astype(np.float32)
    gate.alpha.assign(alpha)
    x = np.random.default_rng(6).normal(size=(8, *REAL.shape)).astype(np.float32)
    for training in (True, False):
        with tf.GradientTape() as tape:
            out = gate(x, tf.zeros((8, len(REAL)), tf.int32), training=training)
        np.testing.assert_allclose(out, x * alpha * REAL, rtol=1e-6)
        np.testing.assert_allclose(
            tape.gradient(out, gate.alpha), x.sum(axis=0) * REAL, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("name", ["sam_gs", "ham_p"])
def test_a_mask_is_drawn_per_column_and_step(name):
    """One for all rows, another one in the next step and with another seed, none in evaluation;
    columns that pad stay masked."""
    gates = [ready(mask_gate(name, seed=seed)) for seed in (0, 0, 1)]
    x, ids = tf.ones((8, *REAL.shape)), tf.zeros((8, len(REAL)), tf.int32)
    first, same, other = (gate(x, ids, training=True).numpy() for gate in gates)
    assert (first == first[:1]).all() and (first == same).all() and (first != other).any()
    assert (first[:, ~REAL] == 0).all()
    before = gates[0](x, ids, training=False).numpy()
    gates[0].clock.assign_add(1)
    assert (gates[0](x, ids, training=True).numpy() != first).any()
    np.testing.assert_array_equal(gates[0](x, ids, training=False), before)


def test_the_noise_is_the_seed_s(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "pretrain", lambda self, config, **settings: self.build(config))
    monkeypatch.setattr(Trainer, "fit", lambda self, model, name, plan: [])
    drawn = []
    for seed in (1, 1, 2):
        trainer = trainer_of(tiny, tmp_path)
        trainer.seed = seed
        drawn.append(
            METHODS.build("ham_p").train_or_resume(trainer, tiny.space).gate.uniform().numpy()
        )
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).all()


@pytest.mark.parametrize(
    ("spec", "start", "bounds"),
    [
        ("sam", 1.0, (0, 1)),
        ("sam_gs(margin=0.125)", 0.5, (0.125, 0.875)),
        ("ham_p", 0.5, (0, 1)),
        ("ham(epsilon=0.25)", 0.25, None),
    ],
)
def test_where_alpha_starts_and_stays(spec, start, bounds):
    gate = ready(mask_gate(spec))
    np.testing.assert_array_equal(gate.alpha, np.full(REAL.shape, start))
    gradient = tf.constant(np.random.default_rng(7).normal(0, 4, REAL.shape), tf.float32)
    gate.update([gradient], lambda gradients: gate.alpha.assign_sub(gradients[0]))
    moved = start - gradient.numpy()
    if bounds is not None:
        np.testing.assert_allclose(gate.alpha, np.clip(moved, *bounds), rtol=1e-6)
    else:
        np.testing.assert_allclose(gate.alpha, moved - np.where(REAL, 5e-5, 0), rtol=1e-6)


# Equation 3
def test_the_update_step_by_step():
    """By hand, in numbers that floats hold exactly: s = 3, eta = 1/2, mu = 1/16; two fields, the
    second with a column of padding."""
    gate = ready(
        gates.IndicatorGate(np.array([[1, 1, 1], [1, 1, 0]]), size=3, epsilon=1 / 8, drift=1 / 16)
    )
    steps = [  # gradient, sign, alpha after the step; padding stays where it was and never counts
        (
            [[0.25, 0, -0.25], [0.125, 0.25, 0]],
            1,
            [[-0.0625, 0.0625, 0.1875], [0, -0.0625, 0.125]],
        ),  # 3 if counted after the gradient
        (
            [[0, 0, 0], [0, 0, 0]],
            -1,
            [[0, 0.125, 0.25], [0.0625, 0, 0.125]],
        ),  # a zero was masked: 2 columns
        (
            [[0, 0.5, 0], [0, -0.25, 0]],
            0,
            [[0, -0.125, 0.25], [0.0625, 0.125, 0.125]],
        ),  # one goes, one comes back
        ([[-1, 0, 0], [0, 0, 0]], 0, [[0.5, -0.125, 0.25], [0.0625, 0.125, 0.125]]),
        ([[0, 0, 0], [0, 0, 0]], 1, [[0.4375, -0.1875, 0.1875], [0, 0.0625, 0.125]]),
        ([[0, 0, 0], [0, 0, 0]], 0, [[0.4375, -0.1875, 0.1875], [0, 0.0625, 0.125]]),
    ]
    optimizer = make_optimizer("sgd(learning_rate=0.5)")
    for gradient, sign, expected in steps:
        assert int(gate.traces()["penalty_sign"]) == sign
        assert float(gate.traces()["size"]) == 3 + sign * (2 if np.all(gate.alpha == 0.125) else 1)
        gate.update(
            [tf.constant(gradient, tf.float32)],
            lambda gradients: optimizer.apply_gradients([(gradients[0], gate.alpha)]),
        )
        np.testing.assert_array_equal(gate.alpha, expected)


@pytest.mark.parametrize("in_parameters", [False, True])
def test_the_update_in_columns_and_in_parameters(in_parameters):
    gate = ready(
        mask_gate(
            f"ham(in_parameters={in_parameters}, mu=0.02, epsilon=0.1)",
            size=90 if in_parameters else 6,
        )
    )
    columns = [(name, size) for name, size in SIZES.items() for _ in range(DIMS[name])]
    costs = [size if in_parameters else 1 for _, size in columns]
    assert gate.costs[REAL].tolist() == costs and not gate.costs[~REAL].any()
    generator, signs = np.random.default_rng(8), set()
    for _ in range(60):
        gradient = np.where(REAL, generator.normal(0, 0.1, REAL.shape), 0.0)
        signs.add(int(gate.excess()))
        expected = oracle_step(
            gate.alpha.numpy()[REAL].astype(np.float64),
            gradient[REAL],
            costs,
            gate.size,
            0.3,
            0.02,
        )
        gate.update(
            [tf.constant(gradient, tf.float32)],
            lambda gradients: gate.alpha.assign_sub(0.3 * gradients[0]),
        )
        np.testing.assert_allclose(gate.alpha.numpy()[REAL], expected, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(gate.alpha.numpy()[~REAL], np.float32(0.1))
        assert float(gate.traces()["size"]) == np.sum(costs, where=np.array(expected) > 0)
    assert signs >= {-1, 1}


def test_a_count_of_parameters_is_exact():
    gate = ready(
        gates.IndicatorGate(np.array([[2**25, 1]]), size=2**25 + 1, epsilon=0.5, drift=0.1)
    )
    assert int(gate.excess()) == 0
    gate.alpha.assign([[0.5, 0.0]])
    assert int(gate.excess()) == -1  # float32 does not tell 2^25 from 2^25 + 1


# Algorithm 1
def test_a_step_is_alpha_from_validation_rows_and_then_weights_from_training_rows():
    """Equation 3 at the weights before the step, then the weights' gradient at the masks after
    it."""
    method = METHODS.build("ham(mu=0.02, size=5, alpha_optimizer='sgd(learning_rate=3.0)')")
    net, training = built(method.gates(SCHEMA, SPACE))
    _, validation = built({}, seed=9)
    gate = net.gates["embedding"]
    alpha = np.random.default_rng(10).normal(0, 0.02, REAL.shape).astype(np.float32)
    gate.alpha.assign(alpha)
    net.optimizers = {
        group: make_optimizer("sgd(learning_rate=0.1)") for group in ("bias", "network")
    }
    net.optimizers["architecture"] = make_optimizer(method.optimizers()["architecture"])
    (gradient,) = net.gradients(validation, ["architecture"])[1]["architecture"]
    expected = oracle_step(
        alpha[REAL].astype(np.float64), gradient.numpy()[REAL], [1] * 13, 5, 3.0, 0.02
    )
    assert ((alpha[REAL] > 0) != (np.array(expected) > 0)).any()
    twin, _ = built({"embedding": mask_gate("ham")})
    twin.gates["embedding"].alpha.assign(alpha)
    twin.gates["embedding"].alpha.assign(np.where(REAL, _spread(expected), alpha))
    weights = twin.gradients(training, ["network"])[1]["network"]
    before = [variable.numpy() for variable in net.variable_groups["network"]]
    net.step = method.step()
    net.train_step({"architecture": validation, "weights": (training,)})
    np.testing.assert_allclose(gate.alpha.numpy()[REAL], expected, rtol=0, atol=1e-6)
    for variable, old, weight_gradient in zip(
        net.variable_groups["network"], before, weights, strict=True
    ):
        np.testing.assert_allclose(
            variable, old - 0.1 * tf.convert_to_tensor(weight_gradient).numpy(), rtol=0, atol=1e-5
        )


def test_the_sum_of_a_batch_s_losses_may_take_the_place_of_their_mean(tiny, tmp_path, monkeypatch):
    """`summed`: equation 3 with B times the gradient of the mean; B is the batch of the search,
    whatever the optimizer."""
    monkeypatch.setattr(Trainer, "pretrain", lambda self, config, **settings: self.build(config))
    monkeypatch.setattr(Trainer, "fit", lambda self, model, name, plan: [])
    for name in NAMES:
        assert (
            METHODS.build(f"{name}(preset='paper_summed')").params
            == METHODS.build(f"{name}(preset='paper', summed=True)").params
        )
        for settings, rows in (("", 1), ("preset='paper_summed'", int(runs.OPTIONS.batch_size))):
            gate = (
                METHODS.build(f"{name}({settings})")
                .train_or_resume(trainer_of(tiny, tmp_path), tiny.space)
                .gate
            )
            before, size = gate.alpha.numpy().astype(np.float64), int(0.5 * 33 + 0.5)
            gradient = np.random.default_rng(3).normal(0, 1e-3, before.shape).astype(np.float32)
            gate.update(
                [tf.constant(gradient)],
                lambda gradients, gate=gate: gate.alpha.assign_sub(0.25 * gradients[0]),
            )
            if name == "ham":
                expected = oracle_step(
                    before[gate.exists], rows * gradient[gate.exists], [1] * 33, size, 0.25, 5e-5
                )
            else:
                expected = np.clip(before - 0.25 * rows * gradient, *gate.bounds)[gate.exists]
            np.testing.assert_allclose(gate.alpha.numpy()[gate.exists], expected, rtol=0, atol=1e-6)


def _spread(values):
    spread = np.zeros(REAL.shape)
    spread[REAL] = values
    return spread


# Comes near its size.
FAST = (
    "epochs=2, pretrain_epochs=1, mu=5e-4, alpha_optimizer='sgd(learning_rate=0.1)', "
    "early_stop=False"
)


def test_every_stream_gives_its_rows(tiny, tmp_path):
    trainer = trainer_of(tiny, tmp_path)
    step = METHODS.build("ham").step()
    assert step.architecture_first
    (element, *_) = runs.elements(step, trainer, 1)
    held = {tuple(row) for row in tiny.batch("valid", 500)["ids"].numpy().tolist()}
    seen = {
        tuple(row) for batch in trainer.train.ordered(512) for row in batch["ids"].numpy().tolist()
    }
    assert {tuple(row) for row in element["architecture"]["ids"].numpy().tolist()} <= held
    assert {tuple(row) for row in element["weights"][0]["ids"].numpy().tolist()} <= seen


def test_the_searched_model_is_the_selected_one(tiny, tmp_path):
    """The right column of Table 1: hard deterministic masks lose nothing by the selection, and
    training goes on from these weights."""
    trainer = trainer_of(tiny, tmp_path)
    result, search = METHODS.build(f"ham({FAST}, size=14)").search(trainer, tiny.space)
    supernet = search.model
    assert result.init == "continue" and 0 < result.config.total_dims < 33
    gate = supernet.gates["embedding"]
    assert result.config.total_dims == np.count_nonzero(gate.exists & (gate.alpha.numpy() > 0))
    ids = tiny.batch()["ids"]
    alpha = gate.alpha.numpy()
    alpha[0] = -1.0  # a whole field masked, whatever the search has left of it
    gate.alpha.assign(alpha)
    config = METHODS.build("ham").derive(search, tiny.space)
    assert (
        0
        < config.num_fields
        < result.config.num_fields + (tiny.schema.names[0] not in result.config.kept)
    )
    gate.fold(supernet.embedding)
    final = supernet.restrict(config, keep_gates=False)
    for name in config.kept:
        labels = list(config.fields[name].labels)
        np.testing.assert_array_equal(
            final.embedding.field_table(name), supernet.embedding.field_table(name)[:, labels]
        )
    terms = supernet.linear.field_table(tiny.schema.names[0])
    assert np.abs(terms).max() > 1e-3, "the masked field should have first-order terms to lose"
    np.testing.assert_allclose(final(ids), supernet(ids), rtol=0, atol=1e-6)


def test_stages_search_inside_what_the_stage_before_kept(tiny, tmp_path, monkeypatch):
    fits, starts = [], []
    fit = Trainer.fit

    def watched(self, model, name, plan=FitPlan()):
        fits.append((os.path.dirname(name) or name, model))
        starts.append({name: model.embedding.field_table(name) for name in model.config.kept})
        if name in ("stage-0", "stage-1", "supernet"):
            # Ends with its last masks, whatever they score.
            assert plan.patience == 0 and plan.epochs == 2
            assert (model.gates["embedding"].alpha.numpy() == np.float32(0.005)).all()
        return fit(self, model, name, plan)

    monkeypatch.setattr(Trainer, "fit", watched)
    method = METHODS.build(f"ham({FAST}, size=6, stages=(25, 16), epsilon=0.005)")
    result, search = method.search(trainer_of(tiny, tmp_path), tiny.space)
    assert [name for name, _ in fits] == ["pretrained", "stage-0", "stage-1", "supernet"]
    configs = [*(model.config for _, model in fits), result.config]
    for (_, before), (_, model), start, size in zip(
        fits, fits[1:], starts[1:], (25, 16, 6), strict=False
    ):
        assert model.gates["embedding"].size == size
        for name, table in start.items():  # the weights go on
            columns = [
                before.config.fields[name].labels.index(label)
                for label in model.config.fields[name].labels
            ]
            np.testing.assert_array_equal(table, before.embedding.field_table(name)[:, columns])
    for (_, model), kept in zip(fits[1:], configs[2:], strict=True):
        gate = model.gates["embedding"]
        dims = (gate.exists & (gate.alpha.numpy() > 0)).sum(axis=1)
        assert kept.within(model.config) and kept.total_dims < model.config.total_dims
        assert {name: kept.dims[name] for name in model.config.kept} == dict(
            zip(model.config.kept, dims, strict=True)
        )
    monkeypatch.setattr(Recommender, "fit", None)  # a finished search is not done again
    again = method.train_or_resume(trainer_of(tiny, tmp_path), tiny.space)
    np.testing.assert_array_equal(again.gate.alpha, search.gate.alpha)


def test_several_sizes_come_from_one_pretraining(tiny, tmp_path, monkeypatch):
    fits = runs.watch_fits(monkeypatch)
    counts, folders = [], []
    for size in (8, 20):
        METHODS.build(f"ham({FAST}, size={size})").search(
            trainer_of(tiny, tmp_path / str(size), tmp_path), tiny.space
        )
        counts.append(len(fits))
        folders.append(os.listdir(tmp_path / "pretrained"))
    assert counts == [1 + 2, 1 + 2 + 2] and len(folders[0]) == 1 and folders[0] == folders[1]
    sizes = [training_spec(parse_spec(f"ham(size={size})")) for size in (8, 20)]
    assert sizes[0] != sizes[1]  # s stands in equation 3: another search
    for name in ("sam", "sam_gs", "ham_p"):  # and in no step of these
        assert training_spec(parse_spec(f"{name}(size=8, sweep=(0.1,))")) == training_spec(
            parse_spec(name)
        )
    labels = {
        label: other.params
        for label, other in METHODS.build("ham(size=8, sweep=(0.1, 0.5))").sweep(tiny.space)
    }
    assert [(label, params.share, params.size) for label, params in labels.items()] == [
        ("share=0.1", 0.1, None),
        ("share=0.5", 0.5, None),
    ]


def test_another_penalty_is_another_pretraining(tiny, tmp_path, monkeypatch):
    calls = []

    def pretrain(self, config, **settings):
        calls.append(settings)
        return self.build(config)

    monkeypatch.setattr(Trainer, "pretrain", pretrain)
    for setting in (
        "",
        "cosine=True",
        "orthogonality=0.1",
        "orthogonality_every=4",
        "orthogonality=0.0",
    ):
        method = METHODS.build(f"ham({setting})")
        method.pretrained(trainer_of(tiny, tmp_path), tiny.space)
    *penalised, plain = calls
    assert len({call["key"] for call in penalised}) == 4 and set(plain) == {"epochs", "patience"}
    assert [call["step"] for call in penalised] == [
        Joint(),
        Joint(),
        Joint(),
        Joint(penalty_every=4),
    ]
    gates = [call["gates"]["embedding"] for call in penalised]
    assert [gate.weight for gate in gates] == [1e-3, 1e-3, 0.1, 1e-3]
    assert [gate.measure is equations.cosine_orthogonality for gate in gates] == [
        False,
        True,
        False,
        False,
    ]


def test_orthogonality_takes_columns_apart(tiny, tmp_path):
    """Figure 5."""
    means = []
    for weight in (0.0, 1.0):
        method = METHODS.build(f"ham(pretrain_epochs=2, orthogonality={weight}, cosine=True)")
        model = method.pretrained(trainer_of(tiny, tmp_path), method.reach(tiny.schema, tiny.space))
        cosines = [
            equations.column_cosines(model.embedding.field_table(name))
            for name in tiny.schema.names
        ]
        means.append(
            np.array([values[~np.eye(len(values), dtype=bool)].mean() for values in cosines])
        )
    assert (means[1] < 0.4 * means[0]).all()


def test_maps_go_from_the_pretraining_through_the_search_into_the_final_training(
    tiny, tmp_path, monkeypatch
):
    """Section 4.3, with `align_always`: one map per field in all three stages, trained in each."""
    maps, fit = [], Trainer.fit

    def watched(self, model, name, plan=FitPlan()):
        before = {piece.key: piece.read() for piece in model.alignment.pieces()}
        history = fit(self, model, name, plan)
        maps.append((before, {piece.key: piece.read() for piece in model.alignment.pieces()}))
        return history

    monkeypatch.setattr(Trainer, "fit", watched)
    trainer = tiny.trainer(cases.Case(Spec("fde"), Spec("fm", (("align_always", True),))), tmp_path)
    # Every field 3 wide.
    method = METHODS.build("ham(epochs=1, pretrain_epochs=1, base_dim=3, size=9)")
    search = method.train_or_resume(trainer, tiny.space)
    supernet = search.model
    (start, pretrained), (begun, searched_) = maps
    assert set(supernet.config.dims.values()) == {3} and len(start) == len(tiny.schema.names)
    for key, values in pretrained.items():
        assert (
            values.shape == (1, 3, 3)
            and np.any(values != start[key])
            and np.any(searched_[key] != values)
        )
        np.testing.assert_array_equal(begun[key], values)
    final = supernet.restrict(method.select(search, 9), keep_gates=False)
    for piece in final.alignment.pieces():
        columns = [
            supernet.config.fields[piece.key.split("/")[1]].labels.index(label)
            for label in piece.axes[1]
        ]
        np.testing.assert_array_equal(piece.read(), searched_[piece.key][:, columns])


# Section 3.3: the early stop
@pytest.mark.parametrize(
    ("sizes", "values", "ends"),
    [
        ([], [], False),
        ([20], [0.8], False),  # nothing to compare with
        ([100, 90, 80], [0.8, 0.8, 0.8], False),  # no gain, but far from the size
        ([100, 21, 20], [0.9, 0.8, 0.8], True),
        ([100, 21, 20], [0.9, 0.8, 0.81], False),  # gains
        ([100, 21, 20], [0.9, 0.8, 0.8005], True),  # gains less than counts
        ([100, 100, 20], [0.9, 0.9, 0.8], False),  # the better ones were of another size
        ([19, 100, 21], [0.82, 0.5, 0.81], True),  # the best before, not the last before
        ([20, 20, 23], [0.8, 0.8, 0.7], False),  # not near any more
        ([22, 18], [0.8, 0.8], True),  # at the edges of a tenth
    ],
)
def test_early_stop(sizes, values, ends):
    for direction in (1, -1):
        history = [
            {"epoch": i + 1, "size": size, "auc": direction * value}
            for i, (size, value) in enumerate(zip(sizes, values, strict=True))
        ]
        assert equations.settled(history, 20, 0.1, "auc", direction, 1e-3) == ends
    stop = METHODS.build("ham(size_tolerance=0.1, min_gain=0.001)").stops
    assert stop(history, 20, "auc", -1) == ends
    for spec in ("ham(early_stop=False)", "sam", "sam_gs", "ham_p"):
        assert not METHODS.build(spec).stops(history, 20, "auc", -1)


def test_a_search_ends_early(tiny, tmp_path):
    # At its size from the start.
    method = METHODS.build("ham(epochs=9, pretrain_epochs=1, mu=1e-9, share=1.0, min_gain=1.0)")
    trainer = trainer_of(tiny, tmp_path)
    supernet = method.train_or_resume(trainer, tiny.space).model
    history = runs.histories(str(tmp_path))["supernet"]
    assert (
        len(history) == 2
        and {record["size"] for record in history} == {33}
        and history[0].keys() >= {"penalty_sign", "alpha_mean"}
    )
    assert trainer.evaluate(supernet, trainer.valid)["auc"] == history[-1]["auc"]


# What is kept
def test_the_columns_of_largest_alpha():
    alpha = np.array([[0.5, 0.9, 7.0], [0.9, -0.2, 0.5]])
    ones = np.array([[1, 1, 0], [1, 1, 1]])
    order = [(0, 1), (1, 0), (0, 0), (1, 2), (1, 1)]  # equal ones as they stand; padding never
    for size in range(7):
        assert {
            (int(i), int(j)) for i, j in np.argwhere(equations.leading(alpha, ones, size))
        } == set(order[:size])
    costs = np.array([[10, 10, 0], [100, 100, 100]])
    for budget, expected in [
        (9, []),
        (10, order[:1]),
        (109, order[:1]),  # the second does not fit, and none after it is taken
        (110, order[:2]),
        (219, order[:3]),
        (320, order),
        (10**9, order),
    ]:
        assert {
            (int(i), int(j)) for i, j in np.argwhere(equations.leading(alpha, costs, budget))
        } == set(expected)
    # The best alone that fits, where the first does not.
    assert np.argwhere(equations.leading(-alpha, costs, 99)).tolist() == [[0, 0]]


def searched(name, alpha, space=SPACE):
    """A search that has ended with this alpha."""
    net, _ = built({"embedding": mask_gate(name, space)}, space)
    net.gates["embedding"].alpha.assign(alpha)
    return Search(net)


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_is_a_threshold_on_alpha(name):
    # Nothing is masked.
    alpha = np.abs(np.random.default_rng(11).normal(0, 1, REAL.shape)).astype(np.float32)
    search, method = searched(name, alpha), METHODS.build(name)
    costs = [
        (a, size)
        for row, (field, size) in zip(alpha, SIZES.items(), strict=True)
        for a in row[: DIMS[field]]
    ]
    seen = set()
    for budget in range(SPACE.num_params(SCHEMA) + 1, 2, -1):
        config = method.derive(search, SPACE, budget)
        params = config.num_params(SCHEMA)
        assert params <= budget and config.within(SPACE)
        seen.add(params)
        if budget >= max(costs)[1]:  # the first fits
            fitting = [sum(size for a, size in costs if a >= threshold) for threshold, _ in costs]
            assert params == max(size for size in fitting if size <= budget)
        else:
            assert config.total_dims == 1
    assert SPACE.num_params(SCHEMA) in seen and len(seen) > 8
    with pytest.raises(ValueError, match="budget should be at least the smallest config's 3 "):
        method.derive(search, SPACE, 2)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_without_a_budget(name):
    """HAM: what is not masked; the others: s columns. In the space's own labels, entries masked as
    they were."""
    keep = np.random.default_rng(12).random((40, 3)) < 0.7
    space = InputConfig(
        {
            "gender": FieldConfig(2, (1, 5)),
            "goods": FieldConfig(3, (0, 2, 7), BitMask.from_array(keep)),
            "hour": FieldConfig(0),
            "month": FieldConfig(1, (3,), BitMask.from_array(np.arange(12) % 2 == 0)),
        }
    )
    alpha = np.array([[0.3, -0.1, 9.0], [0.0, 0.2, 0.8], [-0.5, 9.0, 9.0]], np.float32)
    search = searched(name, alpha, space)
    config = METHODS.build(f"{name}(size=4)").derive(search, space)
    hard = name == "ham"
    assert config.fields["gender"].labels == (1,)
    assert config.fields["goods"].labels == ((2, 7) if hard else (0, 2, 7))
    np.testing.assert_array_equal(
        config.fields["goods"].mask.to_array(), keep[:, [1, 2]] if hard else keep
    )
    assert config.dims["hour"] == config.dims["month"] == 0 and config.within(space)
    assert config == METHODS.build(f"{name}(size=4)").derive(search, space)
    params = equations.column_params(SCHEMA, space)
    np.testing.assert_array_equal(params, [[3, 3, 0], keep.sum(axis=0), [6, 0, 0]])
    assert params.sum() == space.num_params(SCHEMA)


def test_all_masked():
    search = searched(
        "ham", np.where(np.arange(16).reshape(4, 4) == 9, -0.1, -0.2).astype(np.float32)
    )
    config = METHODS.build("ham(size=4)").derive(search, SPACE)
    assert config.dims == {"gender": 0, "goods": 0, "hour": 1, "month": 0} and config.fields[
        "hour"
    ].labels == (1,)
    assert "all columns are masked; the one of largest alpha is kept" in notice_text(search)
    search.gate.alpha.assign(np.zeros(REAL.shape))  # exactly 0 is masked
    assert METHODS.build("ham(size=4)").derive(search, SPACE).total_dims == 1
    by_parameters = METHODS.build("ham(size=200, in_parameters=True)")
    net, _ = built(by_parameters.gates(SCHEMA, SPACE))
    net.gates["embedding"].alpha.assign(np.where(np.arange(16).reshape(4, 4) == 5, -0.1, -0.2))
    # Larger than the rest.
    dims = by_parameters.derive(Search(net), SPACE).dims
    assert dims == {"gender": 0, "goods": 1, "hour": 0, "month": 0}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ham"])
def test_alphas_that_tie_and_a_budget_hardly_used_are_said(name):
    """All at their lower bound: the order of the fields decides. A column that costs too much ends
    the ranking."""
    method = METHODS.build(f"{name}(size=3)")
    search = searched(name, np.zeros(REAL.shape, np.float32))
    assert method.derive(search, SPACE).total_dims == 3
    tied = np.count_nonzero(REAL) - 3
    assert (
        f"{method.spec()}: {tied} columns left out have the alpha of the last one kept (0); the "
        "order of the fields decides" in notice_text(search)
    )
    search = searched(name, np.arange(REAL.size, 0, -1).reshape(REAL.shape))
    assert method.derive(search, SPACE).total_dims == 3 and not notice_text(search)
    goods_first = (
        np.where(np.arange(4)[:, None] == 1, 1.0, 0.9 - np.arange(4)[:, None] / 10)
        - np.arange(4) / 1000
    )  # goods has 40 rows
    search.gate.alpha.assign(goods_first)
    config = method.derive(search, SPACE, 39)
    assert config.dims == {"gender": 1, "goods": 0, "hour": 0, "month": 0}
    assert (
        "the ranking ends at a column with 40 parameters, and the 3 kept are less than half of the "
        "39 allowed" in notice_text(search)
    )


def test_what_the_search_did_not_reach_is_said():
    """A size far from its target; a budget that cuts what is not masked; and one that meets nothing
    but masks."""
    open_, shut = np.float32(0.1), np.float32(-0.1)
    half = np.where(np.arange(16).reshape(4, 4) % 2 == 0, open_, shut)
    search = searched("ham", half)
    size = int((REAL & (half > 0)).sum())
    assert METHODS.build(f"ham(size={size})").derive(search, SPACE).total_dims == size
    assert not notice_text(search)
    missed = search.again()
    METHODS.build(f"ham(size={size - 2})").derive(missed, SPACE)
    assert f"the search ended at size {size}, its target is {size - 2}" in notice_text(missed)
    cut = search.again()
    whole = METHODS.build(f"ham(size={size})").derive(cut, SPACE).num_params(SCHEMA)
    kept = METHODS.build(f"ham(size={size})").derive(cut, SPACE, whole - 1).num_params(SCHEMA)
    assert (
        f"of the {whole} parameters that are not masked the budget keeps {kept}" in notice_text(cut)
        and 0 < kept < whole
    )
    search.gate.alpha.assign(np.full(REAL.shape, shut))
    assert METHODS.build("ham(size=4)").derive(search, SPACE, 20).num_params(SCHEMA) <= 20
    assert (
        "all columns are masked; those of largest alpha that the budget allows are kept"
        in notice_text(search)
    )


def test_what_a_stage_did_not_reach_is_said(tiny, tmp_path, monkeypatch):
    """A notice of a stage stands in the record of the whole search."""
    monkeypatch.setattr(Trainer, "pretrain", lambda self, config, **settings: self.build(config))

    def fit(self, model, name, plan):
        model.gates["embedding"].alpha.assign(np.full(model.gates["embedding"].costs.shape, -0.1))

    monkeypatch.setattr(Trainer, "fit", fit)
    method = METHODS.build("ham(stages=(6,), size=4)")
    search = method.train_or_resume(trainer_of(tiny, tmp_path), tiny.space)
    assert notice_text(search).startswith(
        f"{method.spec()}: all columns are masked; the one of largest alpha is kept"
    )


def test_base_dimensions():
    """min(base_dim, number of features) of every field (section 4.3), its first columns, never more
    than there are."""
    method = METHODS.build("ham(base_dim=6)")
    wide = InputConfig(
        {
            "gender": FieldConfig(9),
            "goods": FieldConfig(9, tuple(range(1, 18, 2))),
            "hour": FieldConfig(0),
            "month": FieldConfig(4),
        }
    )
    narrow = method.reach(SCHEMA, wide)
    assert narrow.dims == {"gender": 3, "goods": 6, "hour": 0, "month": 4} and narrow.within(wide)
    assert narrow.fields["goods"].labels == (1, 3, 5, 7, 9, 11)
    assert METHODS.build("ham").reach(SCHEMA, InputConfig.uniform(SCHEMA, 30)).dims == {
        "gender": 3,
        "goods": 16,
        "hour": 7,
        "month": 12,
    }
    assert [
        METHODS.build(f"ham(share={share})").goal(SCHEMA, SPACE) for share in (0.01, 0.5, 1.0)
    ] == [1, 6, 13]
    assert METHODS.build("ham(share=0.5, in_parameters=True)").goal(SCHEMA, SPACE) == round(
        0.5 * SPACE.num_params(SCHEMA)
    )
    assert METHODS.build("sam(size=13)").goal(SCHEMA, SPACE) == 13


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "ham(size=14)",
            "`size` of ham should be no larger than the space that is searched, 13. Received: 14",
        ),
        (
            "sam(stages=(14, 3), size=2)",
            "`stages` of sam should be no larger than the space that is searched, 13. Received: 14",
        ),
        (
            "ham(size=237, in_parameters=True)",
            "`size` of ham should be no larger than the space that is searched, 235. Received: 237",
        ),
        (
            "ham(stages=(6,), share=0.5)",
            r"`stages` of ham should descend towards the last size, 6. Received: \(6,\)",
        ),
    ],
)
def test_a_size_beyond_the_space(spec, message, tiny, tmp_path):
    method = METHODS.build(spec)
    with pytest.raises(ValueError, match=message):
        method.goal(SCHEMA, SPACE)
    trainer = trainer_of(tiny, tmp_path)
    larger = METHODS.build("sam(size=34)")
    with pytest.raises(
        ValueError, match="no larger than the space that is searched, 33. Received: 34"
    ):
        larger.train_or_resume(trainer, tiny.space)
    assert not list(pathlib.Path(tmp_path).rglob("state.json"))  # said before anything is trained
    with pytest.raises(ValueError, match="no larger than the space"):
        METHODS.build("sam(size=14)").derive(
            searched("sam", np.ones(REAL.shape, np.float32)), SPACE
        )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ham(size=0)", "`size` should be at least 1. Received: 0"),
        ("sam(share=0.0)", r"`share` and `sweep` should lie in \(0, 1\]. Received: 0.0"),
        ("ham_p(sweep=(0.5, 1.5))", r"`share` and `sweep` should lie in \(0, 1\]. Received: 1.5"),
        ("ham(base_dim=0)", "`base_dim` should be at least 1. Received: 0"),
        ("ham(orthogonality=-1.0)", "`orthogonality` should be at least 0. Received: -1.0"),
        ("ham(orthogonality_every=0)", "`orthogonality_every` should be at least 1. Received: 0"),
        ("ham(epochs=0)", "`epochs` should be at least 1. Received: 0"),
        ("ham(pretrain_epochs=0)", "`pretrain_epochs` should be at least 1. Received: 0"),
        ("ham(pretrain_patience=-1)", "`pretrain_patience` should be at least 0. Received: -1"),
        (
            "ham(stages=(5, 8))",
            r"`stages` should be positive and descend, above `size`. Received: \(5, 8\)",
        ),
        (
            "ham(stages=(9, 5), size=5)",
            r"`stages` should be positive and descend, above `size`. Received: \(9, 5\), `size` 5",
        ),
        ("sam(stages=(0,))", r"`stages` should be positive and descend"),
        ("ham(mu=0.0)", "`mu` of ham should be above 0. Received: 0.0"),
        ("ham(epsilon=-0.1)", "`epsilon` of ham should be above 0. Received: -0.1"),
        (
            "ham(size_tolerance=-0.1)",
            "`size_tolerance` of ham should be at least 0. Received: -0.1",
        ),
        ("ham(min_gain=-0.1)", "`min_gain` of ham should be at least 0. Received: -0.1"),
        ("sam_gs(temperature=0)", "`temperature` of sam_gs should be above 0. Received: 0"),
        ("sam_gs(margin=0.5)", r"`margin` of sam_gs should lie in \(0, 0.5\). Received: 0.5"),
    ],
)
def test_settings_are_checked(spec, message):
    with pytest.raises(ValueError, match=message):
        METHODS.build(spec)


def test_defaults_of_the_paper():
    for name in NAMES:
        method = METHODS.build(f"{name}(preset='paper')")
        params = method.params
        recipe = {"optimizer": "adam(learning_rate=0.001)"} | (
            {"early_stop": False} if name == "ham" else {}
        )
        assert params == dataclasses.replace(METHODS.build(name).params, **recipe)
        assert params.epochs == 10 and params.base_dim == 16 and params.orthogonality == 1e-3
        rate = "0.001" if name == "ham" else "0.01"
        assert (
            method.optimizers() == {"architecture": f"sgd(learning_rate={rate})"}
            and method.traits.init == "continue"
        )
    assert (params := METHODS.build("ham").params).epsilon == 0.01 and params.mu == 5e-5
    assert METHODS.get("ham").presets.keys() == {"paper", "paper_summed", "small_log"}
    small = METHODS.build("ham(preset='small_log')").params
    # What a step drifts, in units of the gradient's part of it.
    rates = {"paper": 5e-5 / 1e-3, "small_log": small.mu / 1.0}
    assert (
        small.alpha_optimizer == "sgd(learning_rate=1.0)"
        and rates["small_log"] < 0.01 * rates["paper"]
    )
    specs = METHODS.build("ham(weights_optimizer='adam(learning_rate=0.001)')").optimizers()
    assert specs["bias"] == specs["network"] == "adam(learning_rate=0.001)"


# For the report
@pytest.mark.parametrize("name", NAMES)
def test_pictures(name):
    alpha = (
        np.random.default_rng(13)
        .uniform(-0.2 if name == "ham" else 0.1, 0.2, REAL.shape)
        .astype(np.float32)
    )
    search = searched(name, alpha)
    explanation = METHODS.build(name).explain(search, ())
    masks, (cosines, bars) = explanation.pictures[:2], explanation.pictures[2:]
    for picture in masks:
        assert picture.rows == tuple(SIZES) and len(picture.columns) == 4
        np.testing.assert_array_equal(np.isnan(picture.values), ~REAL)
    np.testing.assert_array_equal(masks[0].values[REAL], alpha[REAL])
    if name == "ham":
        np.testing.assert_array_equal(masks[1].values[REAL], alpha[REAL] > 0)
    table = search.model.embedding.field_table("goods").astype(np.float64)
    for a, b in np.ndindex(4, 4):
        expected = (
            abs(table[:, a] @ table[:, b])
            / np.linalg.norm(table[:, a])
            / np.linalg.norm(table[:, b])
        )
        np.testing.assert_allclose(cosines.values[a, b], expected, rtol=1e-5)
    assert cosines.rows == cosines.columns == ("0", "1", "2", "3") and "goods" in cosines.title
    assert bars.names == tuple(SIZES)
    np.testing.assert_allclose(bars.values[1], (cosines.values.sum() - 4) / 12, rtol=1e-5)
    assert equations.column_cosines(np.zeros((3, 2))).tolist() == [[0, 0], [0, 0]]
    arrays = explanation.arrays
    assert (
        arrays.keys() == {"alpha", "mask"}
        and not arrays["alpha"][~REAL].any()
        and not arrays["mask"][~REAL].any()
    )


def test_a_model_of_narrow_fields_has_no_cosines():
    space = InputConfig.from_dims(dict.fromkeys(SIZES, 1))
    net, _ = built({"embedding": mask_gate("sam", space)}, space)
    assert len(METHODS.build("sam").explain(Search(net), ()).pictures) == 2


def test_a_budget_is_spent_on_what_is_not_masked():
    """HAM's config is what was searched; the other masks rank all columns."""
    alpha = np.where(np.arange(16).reshape(4, 4) == 9, 0.1, -0.2).astype(np.float32)
    whole = SPACE.num_params(SCHEMA)
    for name in NAMES:
        config = METHODS.build(name).derive(searched(name, alpha), SPACE, whole)
        assert config.total_dims == (
            1 if name == "ham" else METHODS.build(name).reach(SCHEMA, SPACE).total_dims
        )


def test_stages_lead_to_one_size():
    assert [METHODS.build(f"{name}(stages=(4,), size=2)").sweep(SPACE) for name in NAMES] == [
        []
    ] * 4
