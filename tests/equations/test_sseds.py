"""SSEDS (arXiv 2204.03281): equations 4 and 9 to 13 and Algorithm 1, against oracles written from
the paper.

The oracles are plain numpy in double precision. A derivative is what equation 10 says: the limit of
(L(1) - L(1 - d)) / d in one mask entry, the difference itself being the loss change of equation 9
at d = 1."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import Role
from irazor_tf.config.schema import Field, Schema
from irazor_tf.config.seeds import seed_of
from irazor_tf.config.specs import parse_spec
from irazor_tf.evaluation.task import TASKS
from irazor_tf.jobs import final_models
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.config import JobConfig
from irazor_tf.jobs.job import Job
from irazor_tf.methods.sseds import equations
from irazor_tf.methods.sseds import method as sseds
from irazor_tf.model.base import MODELS
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.budget import BudgetError
from irazor_tf.search.method import METHODS, Search
from irazor_tf.search.run import run_search, run_sweep, search_folder
from irazor_tf.training.options import TrainOptions
from irazor_tf.training.trainer import Trainer
from tests.conformance import tiny_data

SIZES = {"gender": 3, "goods": 40, "hour": 7}
SCHEMA = Schema(tuple(Field(name, vocabulary_size=size) for name, size in SIZES.items()))
DIM = 4
SPACE = InputConfig.uniform(SCHEMA, DIM)
NARROW = InputConfig(
    {"gender": FieldConfig(2, (1, 3)), "goods": FieldConfig(4), "hour": FieldConfig(1, (2,))}
)
BATCH = 32
BASES = {
    "mlp": "mlp(hidden=(5,), dropout=0.3)",
    "fm": "fm",
    "deepfm": "deepfm(hidden=(5,), dropout=0.3)",
}


def supernet_of(
    space: InputConfig = SPACE, base: str = "mlp(hidden=(5,))", gated: bool = True
) -> Recommender:
    """A supernet with weights of ordinary size (alpha at 1), and the L2 terms on."""
    gates = METHODS.build("sseds").gates(SCHEMA, space) if gated else {}
    model = Recommender(
        SCHEMA,
        space,
        MODELS.build(base),
        TASKS.build("ctr"),
        gates=gates,
        embedding_l2=0.3,
        linear_l2=0.2,
    )
    generator = np.random.default_rng(5)
    for group in ("bias", "network"):
        for variable in model.variable_groups[group]:
            variable.assign(generator.normal(0, 0.5, variable.shape))
    return model


def batch_of(seed: int) -> dict[str, tf.Tensor]:
    generator = np.random.default_rng(seed)
    ids = np.stack([generator.integers(0, size, BATCH) for size in SIZES.values()], axis=1)
    return {
        "ids": tf.constant(ids, tf.int32),
        "label": tf.constant((generator.random(BATCH) < 0.4).astype(np.float32)),
    }


# Oracles
def weights_of(model: Recommender) -> dict[str, np.ndarray]:
    weights = {piece.key: piece.read().astype(np.float64) for piece in model.pieces()}
    if "flat" in model.base.uses:
        tower = model.base.tower
        parts = {
            "kernel": tower.dense[0].kernel,
            "bias": tower.dense[0].bias,
            "out": tower.out.kernel,
            "out_bias": tower.out.bias,
        }
        weights |= {name: variable.numpy().astype(np.float64) for name, variable in parts.items()}
    return weights


def oracle_logits(
    model: Recommender, weights: dict[str, np.ndarray], alpha: np.ndarray, ids: np.ndarray
) -> np.ndarray:
    """The base model on V * alpha (equation 8); embeddings of unequal width meet as M_i V_i x_i
    (equations 13 and 14).

    A field whose alpha is 0 in all its columns is pruned as a whole (section 3.2.3): its
    first-order term goes, too."""
    config, uses = model.config, model.base.uses
    logits = np.full(len(ids), float(weights["intercept"]))
    columns: dict[tuple[str, int], np.ndarray] = {}
    aligned: list[np.ndarray] = []
    for i, name in enumerate(config.kept):
        rows, labels = ids[:, SCHEMA.index(name)], config.fields[name].labels
        e = weights[f"embedding/{name}"][rows] * alpha[i, : len(labels)]
        columns |= {(name, label): e[:, j] for j, label in enumerate(labels)}
        if np.any(alpha[i, : len(labels)]):
            logits += weights[f"linear/{name}"][rows, 0]
        if "stacked" in uses:
            (map_,) = weights[f"alignment/{name}/map"]
            aligned.append(e @ map_)
    for i in range(len(aligned)):
        for j in range(i):
            logits += (aligned[i] * aligned[j]).sum(axis=1)
    if "flat" in uses:
        assert model.embedding is not None
        flat = np.stack([columns[label] for label in model.embedding.column_labels], axis=1)
        hidden = np.maximum(flat @ weights["kernel"] + weights["bias"], 0)
        logits += (hidden @ weights["out"])[:, 0] + weights["out_bias"][0]
    return logits


def oracle_loss(
    model: Recommender,
    weights: dict[str, np.ndarray],
    alpha: np.ndarray,
    batch: dict[str, tf.Tensor],
) -> float:
    """Equation 7, averaged over the batch."""
    p = 1 / (1 + np.exp(-oracle_logits(model, weights, alpha, batch["ids"].numpy())))
    y = batch["label"].numpy().astype(np.float64)
    return float(np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p)))


def oracle_derivative(
    model: Recommender, batch: dict[str, tf.Tensor], d: float = 1e-6
) -> np.ndarray:
    """Equation 10: every mask entry of a column by itself; 0 for slots that are no columns."""
    weights, ones = weights_of(model), np.ones((model.config.num_fields, model.config.max_dim))
    derivatives = np.zeros_like(ones)
    for i, name in enumerate(model.config.kept):
        for j in range(model.config.fields[name].dim):
            less = ones.copy()
            less[i, j] -= d
            derivatives[i, j] = (
                oracle_loss(model, weights, ones, batch) - oracle_loss(model, weights, less, batch)
            ) / d
    return derivatives


def oracle_config(
    saliency: np.ndarray, space: InputConfig, costs: dict[str, int], fits
) -> dict[str, tuple[int, ...]]:
    """Equation 12 and the ranking of Algorithm 1, column by column; `fits` tells whether a size is
    allowed."""
    ranked = []
    for i, name in enumerate(space.kept):
        ranked += [(-saliency[i, j], i, j, name) for j in range(space.fields[name].dim)]
    kept: dict[str, list[int]] = {name: [] for name in space.fields}
    size = 0
    for _, _, j, name in sorted(ranked):
        size += costs[name]
        if not fits(size):
            break
        kept[name].append(space.fields[name].labels[j])
    return {name: tuple(sorted(labels)) for name, labels in kept.items()}


def labels_of(config: InputConfig) -> dict[str, tuple[int, ...]]:
    return {name: field.labels for name, field in config.fields.items()}


# Equations 9 and 10
@pytest.mark.parametrize("space", [SPACE, NARROW], ids=["uniform", "unequal"])
@pytest.mark.parametrize("base", BASES)
def test_one_pass_gives_the_derivative_in_every_mask_entry(base: str, space: InputConfig) -> None:
    """Of the task's loss alone, and without dropout."""
    model, batch = supernet_of(space, BASES[base]), batch_of(0)
    np.testing.assert_allclose(
        model(batch["ids"]),
        oracle_logits(model, weights_of(model), np.ones((3, DIM)), batch["ids"].numpy()),
        rtol=0,
        atol=1e-5,
    )
    expected = oracle_derivative(model, batch)
    magnitudes, seconds, compiling = equations.mask_gradients(model, [batch])
    assert (
        magnitudes.shape == (3, DIM) and np.abs(expected).max() > 0.01 and 0 < compiling < seconds
    )
    np.testing.assert_allclose(magnitudes, np.abs(expected), rtol=1e-4, atol=3e-6)
    assert np.all(magnitudes[~space.slots] == 0)


def test_several_batches_are_averaged_by_magnitude() -> None:
    model, batches = supernet_of(), [batch_of(seed) for seed in range(3)]
    derivatives = np.stack([oracle_derivative(model, batch) for batch in batches])
    magnitudes, *_ = equations.mask_gradients(model, batches)
    np.testing.assert_allclose(magnitudes, np.abs(derivatives).mean(axis=0), rtol=1e-4, atol=3e-6)
    assert np.abs(magnitudes - np.abs(derivatives.mean(axis=0))).max() > 1e-3, (
        "of the mean gradient it would be something else"
    )


def test_the_gate_changes_nothing_at_one() -> None:
    ids = batch_of(1)["ids"]
    np.testing.assert_array_equal(supernet_of()(ids), supernet_of(gated=False)(ids))


@pytest.mark.parametrize("space", [SPACE, NARROW], ids=["uniform", "unequal"])
@pytest.mark.parametrize("base", BASES)
def test_the_model_under_a_mask_of_zeros_and_ones_is_the_pruned_one(
    base: str, space: InputConfig
) -> None:
    """Equation 12's alpha in the supernet, one field all 0, against the model without retraining;
    first-order terms are not 0."""
    model, ids = supernet_of(space, BASES[base]), batch_of(2)["ids"]
    for group in ("bias", "network"):
        for variable in model.variable_groups[group]:
            variable.assign(0.5 * variable)  # logits of ordinary size, for an absolute tolerance
    # Of `hour` no column is left; where it has but one, the slots beside it, which are none, say
    # otherwise.
    alpha = np.array([[1, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1]], np.float32) * np.array(
        [[1], [1], [space is NARROW]], np.float32
    )
    model.gates["embedding"].alpha.assign(alpha)
    config = space.with_columns(alpha[space.slots] > 0)
    assert config.dims["hour"] == 0 and config.num_fields == 2
    narrow = model.restrict(config, keep_gates=False)
    np.testing.assert_allclose(narrow(ids), model(ids), rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        model(ids), oracle_logits(model, weights_of(model), alpha, ids.numpy()), rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(model.restrict(config)(ids), model(ids), rtol=0, atol=1e-6)


# Equation 11
def test_saliency_is_normalized_over_the_columns() -> None:
    generator = np.random.default_rng(0)
    magnitudes, real = generator.exponential(1, (3, DIM)), NARROW.slots
    np.testing.assert_array_equal(real, [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    total = sum(magnitudes[i, j] for i, width in enumerate((2, 4, 1)) for j in range(width))
    saliency = equations.normalize(magnitudes, real)  # what stands in the padding has no part in it
    np.testing.assert_allclose(saliency, np.where(real, magnitudes / total, 0), rtol=1e-12)
    np.testing.assert_allclose(saliency.sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_batch_without_a_gradient(value: float) -> None:
    magnitudes = np.ones((3, DIM))
    magnitudes[NARROW.slots] = value
    with pytest.raises(
        ValueError,
        match=r"A batch should give the masks of some columns a gradient.* Received: magnitudes "
        r"that sum to",
    ):
        equations.normalize(magnitudes, NARROW.slots)


def test_tables_of_zeros_give_no_gradient() -> None:
    model = supernet_of()
    assert model.embedding is not None
    for table in model.embedding.tables:
        table.assign(tf.zeros_like(table))
    magnitudes, *_ = equations.mask_gradients(model, [batch_of(0)])
    with pytest.raises(ValueError, match="Received: magnitudes that sum to 0"):
        equations.normalize(magnitudes, SPACE.slots)


# Equation 12
def with_saliency(saliency: np.ndarray, space: InputConfig = SPACE) -> Search:
    return Search(supernet_of(space), saliency)


BY_HAND = np.array(
    [[0.10, 0.02, 0.01, 0.001], [0.03, 0.005, 0.004, 0.002], [0.30, 0.08, 0.06, 0.05]]
)


@pytest.mark.parametrize(
    "settings, kept",
    [
        # hour 7, gender 3, hour 7 make 17; the next (hour) 24. 10 % of 200 parameters are 20.
        ("kappa=0.1", {"gender": (0,), "goods": (), "hour": (0, 1)}),
        # The first three are 17 parameters: not strictly below 17, as 8.5 % of 200 are.
        ("kappa=0.085", {"gender": (0,), "goods": (), "hour": (0,)}),
        ("kappa=0.0851", {"gender": (0,), "goods": (), "hour": (0, 1)}),
        # Then hour, hour: 31 parameters, goods: 71, gender: 74.
        ("kappa=0.37", {"gender": (0,), "goods": (0,), "hour": (0, 1, 2, 3)}),
        ("kappa=0.38", {"gender": (0, 1), "goods": (0,), "hour": (0, 1, 2, 3)}),
        ("kappa=1", {"gender": (0, 1, 2, 3), "goods": (0, 1, 2, 3), "hour": (0, 1, 2, 3)}),
        ("kappa=1.0", {"gender": (0, 1, 2, 3), "goods": (0, 1, 2, 3), "hour": (0, 1, 2, 3)}),
        # 12 columns: strictly below 6, strictly below 6.12.
        ("kappa=0.5, in_dims=True", {"gender": (0,), "goods": (), "hour": (0, 1, 2, 3)}),
        ("kappa=0.51, in_dims=True", {"gender": (0,), "goods": (0,), "hour": (0, 1, 2, 3)}),
        (
            "kappa=1, in_dims=True",
            {"gender": (0, 1, 2, 3), "goods": (0, 1, 2, 3), "hour": (0, 1, 2, 3)},
        ),
    ],
)
def test_a_ranking_by_hand(settings: str, kept: dict[str, tuple[int, ...]]) -> None:
    search = with_saliency(BY_HAND)
    method = METHODS.build(f"sseds({settings})")
    config = method.derive(search, SPACE)
    assert labels_of(config) == kept and config == method.derive(search, SPACE)
    assert config.fields["goods"] == (
        FieldConfig(len(kept["goods"]), kept["goods"]) if kept["goods"] else FieldConfig(0)
    )


@pytest.mark.parametrize("space", [SPACE, NARROW], ids=["uniform", "unequal"])
@pytest.mark.parametrize("in_dims", [False, True])
def test_rankings_against_the_oracle(space: InputConfig, in_dims: bool) -> None:
    generator = np.random.default_rng(1)
    search = with_saliency(BY_HAND, space)
    costs = dict.fromkeys(SIZES, 1) if in_dims else SIZES
    total = sum(costs[name] * field.dim for name, field in space.fields.items())
    nothing = 0
    for _ in range(60):
        saliency = generator.integers(0, 5, (3, DIM)) / 10  # with ties, and zeros
        search = dataclasses.replace(search, counted=saliency)
        kappa = int(generator.integers(1, 100)) / 100
        expected = oracle_config(
            saliency, space, costs, lambda size, kappa=kappa: size < Fraction(repr(kappa)) * total
        )
        method = METHODS.build(f"sseds(kappa={kappa}, in_dims={in_dims})")
        if any(expected.values()):
            assert labels_of(method.derive(search, space)) == expected
        else:
            nothing += 1
            with pytest.raises(BudgetError, match="budget"):
                method.derive(search, space)
    assert nothing < 40


def test_the_share_is_taken_as_it_is_written() -> None:
    """0.07 * 100 is 7.000000000000001 in binary, and 7 would be below it."""
    assert (
        equations.below(0.07, 100) == 6
        and equations.below(0.29, 100) == 28
        and equations.below(0.1, 30) == 2
    )
    assert (
        equations.below(0.071, 100) == 7
        and equations.below(1, 100) == equations.below(1.0, 100) == 100
    )


def test_budgets_in_parameters() -> None:
    """At most the budget; `in_dims` does not change what a budget counts."""
    search = with_saliency(BY_HAND)
    for settings in ("", "in_dims=True"):
        method = METHODS.build(f"sseds({settings})")
        for budget in range(7, 201):
            config = method.derive(search, SPACE, budget)
            assert labels_of(config) == oracle_config(
                BY_HAND, SPACE, SIZES, lambda size, budget=budget: size <= budget
            )
            assert config.num_params(SCHEMA) <= budget
        assert config == SPACE
        with pytest.raises(
            BudgetError,
            match="at least the column of largest saliency's 7 embedding parameters. Received: 6",
        ):
            method.derive(search, SPACE, 6)


def test_columns_that_do_not_fit_may_be_passed_over() -> None:
    """hour 7, gender 3, hour 7, hour 7, hour 7 make 31; goods would be 71; gender 34, gender 37,
    gender 40 and no more."""
    search = with_saliency(BY_HAND)
    plain = METHODS.build("sseds(kappa=0.34)").derive(search, SPACE)
    filled = METHODS.build("sseds(kappa=0.34, fill=True)").derive(search, SPACE)
    assert plain.dims == {"gender": 1, "goods": 0, "hour": 4} and plain.num_params(SCHEMA) == 31
    (notice,) = search.notices
    assert str(notice) == (
        "sseds(kappa=0.34): the ranking ends at a column with 40 parameters, and the 31 kept are "
        "less than half of the 67 allowed (`fill` passes over it)"
    )
    assert filled.dims == {"gender": 4, "goods": 0, "hour": 4} and filled.num_params(SCHEMA) == 40
    early = with_saliency(
        BY_HAND[:, ::-1] + np.array([[0], [1], [0.5]])
    )  # goods' columns first, then hour's
    config = METHODS.build("sseds").derive(early, SPACE, 79)
    assert config.dims == {"gender": 0, "goods": 1, "hour": 0} and not list(early.notices)
    with pytest.raises(
        BudgetError,
        match="should be above that of the smallest column, which has 3. Received: 0.01",
    ):
        METHODS.build("sseds(kappa=0.01, fill=True)").derive(search, SPACE)
    small = METHODS.build("sseds(preset='small_log')").params
    assert (small.batches, small.on_validation, small.fill) == (8, True, True)


def test_a_share_below_the_first_column() -> None:
    search = with_saliency(BY_HAND)
    message = (
        "`kappa` of sseds, the budget as a share of 200 parameters, should be above that of "
        "the column of largest saliency, which has 7"
    )
    with pytest.raises(BudgetError, match=f"{message}. Received: 0.035"):
        METHODS.build("sseds(kappa=0.035)").derive(search, SPACE)
    with pytest.raises(BudgetError, match="a share of 12 columns, .* which has 1. Received: 0.08"):
        METHODS.build("sseds(kappa=0.08, in_dims=True)").derive(search, SPACE)


def test_masks_of_the_space_stay() -> None:
    """A column costs the entries that its field's mask leaves, and takes them along."""
    generator = np.random.default_rng(2)
    entries, features = generator.random((40, 2)) < 0.5, np.array([1, 0, 1, 1, 0, 0, 0], bool)
    goods, hour = (
        FieldConfig(2, (1, 3), BitMask.from_array(entries)),
        FieldConfig(4, None, BitMask.from_array(features)),
    )
    space = InputConfig({"gender": FieldConfig(0), "goods": goods, "hour": hour})
    saliency = np.array([[0.1, 0.3, 0, 0], [0.2, 0.15, 0.15, 0.1]])
    search = with_saliency(saliency, space)
    second, first = int(entries[:, 1].sum()), int(entries[:, 0].sum())
    config = METHODS.build("sseds").derive(search, space, second + 3 + 3)
    hour = FieldConfig(2, (0, 1), BitMask.from_array(features))
    assert config.fields == {
        "gender": FieldConfig(0),
        "goods": FieldConfig(1, (3,), BitMask.from_array(entries[:, 1:])),
        "hour": hour,
    }
    assert config.within(space) and config.num_params(SCHEMA) == second + 3 + 3
    assert METHODS.build("sseds").derive(search, space, first + second + 12) == space


@pytest.mark.parametrize(
    "setting, message",
    [
        ("kappa=0", r"`kappa` of sseds should lie in \(0, 1\]. Received: 0"),
        ("kappa=1.01", r"`kappa` of sseds should lie in \(0, 1\]. Received: 1.01"),
        ("sweep=(0.5, -0.1)", r"`kappa` of sseds should lie in \(0, 1\]. Received: -0.1"),
        ("batches=0", "`batches` of sseds should be at least 1. Received: 0"),
        ("epochs=0", "`epochs` of sseds should be at least 1. Received: 0"),
        ("patience=-1", "`patience` of sseds should be at least 0. Received: -1"),
    ],
)
def test_settings_are_checked(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        METHODS.build(f"sseds({setting})")


# Equation 13
def test_fields_of_unequal_width_meet_through_their_maps() -> None:
    """Every field has a map to the widest dimension; the forward pass of `fm` is that of M_i V_i
    x_i."""
    config = METHODS.build("sseds(kappa=0.38)").derive(with_saliency(BY_HAND), SPACE)
    model, batch = supernet_of(config, "fm", gated=False), batch_of(3)
    widths = {"gender": 2, "goods": 1, "hour": 4}
    shapes = {
        piece.key: piece.read().shape
        for piece in model.pieces()
        if piece.key.startswith("alignment/")
    }
    assert shapes == {f"alignment/{name}/map": (1, width, 4) for name, width in widths.items()}
    ids = batch["ids"].numpy()
    np.testing.assert_allclose(
        model(ids), oracle_logits(model, weights_of(model), np.ones((3, 4)), ids), rtol=0, atol=1e-5
    )


# Algorithm 1 on data
OPTIONS = TrainOptions(
    batch_size=128, epochs=1, patience=0, stddev=0.3, eval_batch_size=256, steps_per_execution=1
)
WIDTH = 6


@dataclasses.dataclass(frozen=True)
class Setting:
    """A job on the tiny data, and its search."""

    job: Job
    schema: Schema

    @property
    def space(self) -> InputConfig:
        return self.job.space

    @property
    def trainer(self) -> Trainer:
        return self.job.trainer

    def initial(self, spec: str) -> tuple[InputConfig, Recommender]:
        """The config that a method finds, and the model that its final training starts from."""
        outcome = run_search(self.trainer, METHODS.build(spec), self.space)
        config = outcome.result.config
        candidate = Candidate(Role.FOUND, "sseds", outcome.result, outcome.folder)
        trainer = self.job.final_trainer(candidate)
        return config, final_models.initial_model(self.job, candidate, trainer, config)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[Schema, str]:
    directory = str(tmp_path_factory.mktemp("tiny") / "data")
    return tiny_data.write(directory), directory


@pytest.fixture(
    scope="module",
    params=["mlp(hidden=(4,))", "fm", "deepfm(hidden=(4,))"],
    ids=["mlp", "fm", "deepfm"],
)
def setting(request, data, tmp_path_factory) -> Setting:
    schema, directory = data
    folder = str(tmp_path_factory.mktemp("job"))
    job = JobConfig(
        folder,
        request.param,
        "sseds",
        data_dir=directory,
        width=WIDTH,
        train=OPTIONS,
        seed=3,
        progress=False,
    )
    return Setting(Job(job), schema)


def test_the_winning_ticket(setting: Setting) -> None:
    """Tables start as the kept columns of the pretrained ones, and everything else afresh; without
    the ticket, everything."""
    pretrained = {
        piece.key: piece.read() for piece in setting.trainer.pretrain(setting.space).pieces()
    }
    config, ticket = setting.initial("sseds(kappa=0.5)")
    assert len(set(config.dims.values())) > 1, "the case should have unequal widths"
    fresh = {piece.key: piece.read() for piece in setting.trainer.build(config).pieces()}
    seen = 0
    for piece in ticket.pieces():
        name = piece.key.removeprefix("embedding/")
        if name in config.fields:
            np.testing.assert_array_equal(
                piece.read(), pretrained[piece.key][:, list(config.fields[name].labels)]
            )
            seen += int(np.any(piece.read() != fresh[piece.key]))
        else:
            np.testing.assert_array_equal(piece.read(), fresh[piece.key], err_msg=piece.key)
    assert seen == config.num_fields
    same, without = setting.initial("sseds(kappa=0.5, ticket=False)")
    assert same == config
    for piece in without.pieces():
        np.testing.assert_array_equal(piece.read(), fresh[piece.key], err_msg=piece.key)


def test_without_retraining(setting: Setting) -> None:
    """The final model is the pretrained one with the removed columns, and the removed fields'
    first-order terms, at zero."""
    config, final = setting.initial("sseds(kappa=0.5, retrain=False)")
    pretrained, ids = (
        setting.trainer.pretrain(setting.space),
        next(iter(setting.trainer.valid.ordered(300)))["ids"],
    )
    whole = pretrained(ids).numpy()
    pieces = {piece.key: (np.array(piece.read()), piece.axes) for piece in pretrained.pieces()}
    for name, field in config.fields.items():
        gone = [column for column in range(WIDTH) if column not in field.labels]
        pieces[f"embedding/{name}"][0][:, gone] = 0
        pieces[f"linear/{name}"][0][:] *= field.dim > 0
    pretrained.load_pieces(pieces)
    np.testing.assert_allclose(final(ids), pretrained(ids), rtol=0, atol=2e-6)
    assert np.abs(final(ids).numpy() - whole).max() > 0.01
    assert (
        final.num_params()
        == config.num_params(setting.schema)
        < setting.space.num_params(setting.schema)
    )


@pytest.fixture
def plain(data, tmp_path) -> Setting:
    schema, directory = data
    job = JobConfig(
        str(tmp_path),
        "mlp(hidden=(4,))",
        "sseds",
        data_dir=directory,
        width=WIDTH,
        train=OPTIONS,
        seed=3,
        progress=False,
    )
    return Setting(Job(job), schema)


def test_one_training_and_one_pass_serve_every_kappa(plain: Setting, monkeypatch, caplog) -> None:
    calls: list[str] = []

    def watch(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **settings: Any) -> Any:
            calls.append(name)
            return original(*arguments, **settings)

        monkeypatch.setattr(owner, name, watched)

    watch(Trainer, "fit")
    watch(sseds, "mask_gradients")
    caplog.set_level("INFO", "irazor_tf")
    method = METHODS.build("sseds(kappa=0.3, sweep=(0.2, 0.25, 0.5, 0.9, 1))")
    _, result, search, folder = run_search(plain.trainer, method, plain.space)
    points = {
        label: outcome.result.config
        for label, outcome in run_sweep(plain.trainer, method, plain.space, search)
    }
    assert calls == ["fit", "mask_gradients"]
    sizes = [
        config.num_params(plain.schema) / plain.space.num_params(plain.schema)
        for config in points.values()
    ]
    assert list(points) == [
        "kappa=0.2",
        "kappa=0.25",
        "kappa=0.5",
        "kappa=0.9",
        "kappa=1",
    ] and sizes == sorted(sizes)
    assert (
        0 < sizes[0] < 0.2
        and 0.25 < sizes[2] < 0.5 < sizes[3] < 0.9
        and points["kappa=1"] == plain.space
    )
    assert result.init == "ticket" and result.config.within(points["kappa=0.5"])
    # What the search cost on top of the pretraining.
    with open(plain.job.paths.search(folder).cost, encoding="utf-8") as file:
        cost = json.load(file)["proper"]
    assert cost["steps"] == 1 and 0 < cost["seconds"] < 60
    assert search.spent is not None and cost == dataclasses.asdict(search.spent)
    assert (
        "the saliency of 36 columns took 1 forward and backward passes of 128 rows: " in caplog.text
    )


def test_the_supernet_is_the_pretrained_model_and_its_saliency_that_of_a_training_batch(
    plain: Setting,
) -> None:
    method = METHODS.build("sseds")
    search = method.train_or_resume(plain.trainer, plain.space)
    supernet, pretrained = search.model, plain.trainer.pretrain(plain.space)
    ids = next(iter(plain.trainer.valid.ordered(300)))["ids"]
    np.testing.assert_allclose(supernet(ids), pretrained(ids), rtol=0, atol=1e-6)
    saliency = method.explain(search, ()).arrays["saliency"]
    np.testing.assert_allclose(saliency.sum(), 1, rtol=1e-6)
    resumed = method.train_or_resume(plain.trainer, plain.space)
    again = method.explain(resumed, ()).arrays["saliency"]
    np.testing.assert_array_equal(again, saliency)
    for spec, source, count in (
        ("sseds", "train", 1),
        ("sseds(batches=2)", "train", 2),
        ("sseds(on_validation=True)", "valid", 1),
    ):
        other = METHODS.build(spec).train_or_resume(plain.trainer, plain.space)
        batches = (
            getattr(plain.trainer, source)
            .batches(128, seed_of(plain.trainer.seed, "rows", "saliency"))
            .take(count)
        )
        magnitudes, *_ = equations.mask_gradients(other.model, batches)
        expected = equations.normalize(magnitudes, plain.space.slots)
        np.testing.assert_allclose(
            method.explain(other, ()).arrays["saliency"], expected, rtol=0, atol=1e-7
        )
        assert spec == "sseds" or np.abs(expected - saliency).max() > 1e-5
    everything = {piece.key: piece.read() for piece in supernet.pieces()}
    for piece in pretrained.pieces():
        np.testing.assert_array_equal(piece.read(), everything[piece.key])


def test_variants_share_the_search() -> None:
    """Whatever training does not depend on leaves the folder as it is."""
    names = {
        search_folder(METHODS.build(f"sseds({one})"), SPACE)
        for one in ("", "kappa=0.3", "in_dims=True", "ticket=False, retrain=False")
    }
    assert len(names) == 1
    assert search_folder(METHODS.build("sseds(batches=2)"), SPACE) not in names
    inits = {
        "": "ticket",
        "ticket=False": "fresh",
        "retrain=False": "keep",
        "ticket=False, retrain=False": "keep",
    }
    assert {
        settings: METHODS.build(f"sseds({settings})").traits.init for settings in inits
    } == inits
    assert METHODS.build("sseds(preset='paper')").spec() == parse_spec(
        "sseds(optimizer='adam(learning_rate=0.001)')"
    )
    assert [
        other.traits.init for _, other in METHODS.build("sseds(retrain=False)").sweep(SPACE)
    ] == ["keep"] * 3


def test_pictures() -> None:
    search = with_saliency(BY_HAND)
    config = METHODS.build("sseds(kappa=0.1)").derive(
        search, SPACE, SPACE.num_params(SCHEMA) * 38 // 100
    )
    lines, bars = METHODS.build("sseds(kappa=0.1)").explain(search, (config,)).pictures
    np.testing.assert_array_equal(lines.x, np.arange(1, 13))
    (ranked,) = lines.series.values()
    np.testing.assert_allclose(ranked, np.sort(BY_HAND.ravel())[::-1], rtol=1e-6)
    assert lines.log_x and bars.title == "Dimensions kept", "in what was found, by a budget too"
    assert bars.names == ("gender", "goods", "hour") and list(bars.values) == [2, 1, 4]
