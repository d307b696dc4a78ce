"""Magnitude pruning by entry (what DNIS, arXiv 2006.04466, section 3.4, is compared with): one
global ranking of |E|, cut in one shot.

The oracle ranks a plain list of (size, place) pairs.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import Role
from irazor_tf.config.schema import Field, Schema, save_counts
from irazor_tf.config.specs import parse_spec
from irazor_tf.evaluation.task import TASKS
from irazor_tf.jobs import final_models
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.config import JobConfig
from irazor_tf.jobs.job import Job
from irazor_tf.model.base import MODELS
from irazor_tf.model.recommender import Recommender
from irazor_tf.search.budget import BudgetError
from irazor_tf.search.entries import largest
from irazor_tf.search.method import METHODS, Search
from irazor_tf.search.run import run_search, training_spec
from irazor_tf.training.options import TrainOptions
from tests.conformance import tiny_data

SIZES = {"gender": 3, "goods": 40, "hour": 7}
SCHEMA = Schema(tuple(Field(name, vocabulary_size=size) for name, size in SIZES.items()))
DIM = 4
SPACE = InputConfig.uniform(SCHEMA, DIM)


def model_with(
    tables: dict[str, np.ndarray], space: InputConfig = SPACE, base: str = "mlp(hidden=(5,))"
) -> Recommender:
    """A model with these tables, and weights of ordinary size elsewhere."""
    model = Recommender(SCHEMA, space, MODELS.build(base), TASKS.build("ctr"))
    generator = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(0, 0.5, variable.shape))
    pieces = {piece.key: (piece.read(), piece.axes) for piece in model.pieces()}
    for name, table in tables.items():
        pieces[f"embedding/{name}"] = (table.astype(np.float32), pieces[f"embedding/{name}"][1])
    model.load_pieces(pieces)
    return model


def random_tables(seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        name: generator.normal(0, 1, (size, DIM)) * generator.uniform(0.1, 2)
        for name, size in SIZES.items()
    }


def oracle(tables: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """[V, D] bool by field: the `count` entries of largest size, of equal ones the first by field,
    row and column."""
    places = [
        (name, v, j)
        for name, table in tables.items()
        for v in range(len(table))
        for j in range(table.shape[1])
    ]
    ranked = sorted(
        places, key=lambda place: -abs(tables[place[0]].astype(np.float32)[place[1:]])
    )  # stable
    kept = {name: np.zeros(table.shape, bool) for name, table in tables.items()}
    for name, v, j in ranked[:count]:
        kept[name][v, j] = True
    return kept


def entries_of(config: InputConfig, space: InputConfig = SPACE) -> dict[str, np.ndarray]:
    """What a config keeps, [V, D] bool by field, in the space's columns."""
    found = {}
    for name, field in config.fields.items():
        array = np.zeros((SIZES[name], space.fields[name].dim), bool)
        columns = [space.fields[name].labels.index(label) for label in field.labels]
        array[:, columns] = True if field.mask is None else field.mask.to_array()
        found[name] = array
    return found


@pytest.mark.parametrize("budget", [1, 2, 7, 50, 113, 199, 200])
def test_the_largest_entries_of_all_fields_stay(budget: int) -> None:
    tables = random_tables()
    config = METHODS.build("magnitude(per='entry')").derive(
        Search(model_with(tables)), SPACE, budget
    )
    config.check(SCHEMA)
    assert config.within(SPACE) and config.num_params(SCHEMA) == budget
    found, expected = entries_of(config), oracle(tables, budget)
    for name in SIZES:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_a_table_by_hand() -> None:
    """Columns without an entry go; a field without any keeps one, all masked, for its first-order
    terms; a whole field has no mask."""
    tables = {name: np.zeros((size, DIM)) for name, size in SIZES.items()}
    tables["gender"][:, :] = [[9, -9, 8, 9], [-8, 9, 9, 9], [9, 9, 9, -9]]
    tables["goods"][5] = [0, 0.25, 0, -3]
    tables["goods"][39, 1] = -2
    model = model_with(tables)
    config = METHODS.build("magnitude(per='entry')").derive(Search(model), SPACE, 12 + 2)
    assert config.fields["gender"] == FieldConfig(DIM)
    goods = np.zeros((40, 2), bool)
    goods[5, 1] = goods[39, 0] = True
    assert config.fields["goods"] == FieldConfig(2, (1, 3), BitMask.from_array(goods))
    assert config.fields["hour"] == FieldConfig(1, (0,), BitMask.from_array(np.zeros((7, 1), bool)))
    assert config.num_params(SCHEMA) == 14
    # A model without first-order terms has no use for such a field.
    bare = model_with(tables, base="mlp(hidden=(5,), first_order=False)")
    assert METHODS.build("magnitude(per='entry')").derive(Search(bare), SPACE, 14).fields[
        "hour"
    ] == FieldConfig(0)


def test_ties_are_broken_by_place_and_the_count_is_exact() -> None:
    np.testing.assert_array_equal(
        largest(np.array([1.0, 2.0, 1.0, 2.0, 1.0]), 3), [True, True, False, True, False]
    )
    np.testing.assert_array_equal(largest(np.zeros(4), 3), [True, True, True, False])
    np.testing.assert_array_equal(
        largest(np.array([3.0, -1.0, 0.0]), 3), [True, False, True]
    )  # -1: not there to be kept
    tables = {name: np.full((size, DIM), 0.5) for name, size in SIZES.items()}
    for budget in (1, 30, 150):
        config = METHODS.build("magnitude(per='entry')").derive(
            Search(model_with(tables)), SPACE, budget
        )
        assert config.num_params(SCHEMA) == budget
        for name, kept in oracle(tables, budget).items():
            np.testing.assert_array_equal(entries_of(config)[name], kept)


@pytest.mark.parametrize("share, count", [(0.5, 100), (0.0625, 12), (1.0, 200)])
def test_the_share_counts_entries(share: float, count: int) -> None:
    config = METHODS.build(f"magnitude(per='entry', share={share})").derive(
        Search(model_with(random_tables())), SPACE
    )
    assert config.num_params(SCHEMA) == count
    assert (config == SPACE) == (share == 1)


def test_nothing_fits() -> None:
    model = model_with(random_tables())
    with pytest.raises(
        BudgetError,
        match="The budget should be at least the smallest config's 1 embedding parameters. "
        "Received: 0",
    ):
        METHODS.build("magnitude(per='entry')").derive(Search(model), SPACE, 0)
    with pytest.raises(
        BudgetError,
        match=r"`share` of magnitude should leave at least .* 1 .*, and leaves 0\. Received: "
        r"0\.001",
    ):
        METHODS.build("magnitude(per='entry', share=0.001)").derive(Search(model), SPACE)


def test_a_space_with_gaps_and_masks_is_not_left() -> None:
    """Entries that the space has masked are not there, however large; the rest is ranked as
    before."""
    generator = np.random.default_rng(2)
    entries, features = generator.random((40, 2)) < 0.6, generator.random(7) < 0.5
    goods, hour = (
        FieldConfig(2, (1, 3), BitMask.from_array(entries)),
        FieldConfig(3, None, BitMask.from_array(features)),
    )
    space = InputConfig({"gender": FieldConfig(0), "goods": goods, "hour": hour})
    tables = {"goods": generator.normal(0, 1, (40, 2)), "hour": generator.normal(0, 1, (7, 3))}
    model = model_with(tables, space)
    inside = {"goods": tables["goods"] * entries, "hour": tables["hour"] * features[:, None]}
    whole = space.num_params(SCHEMA)
    for budget in (1, 10, whole // 2, whole):
        config = METHODS.build("magnitude(per='entry')").derive(Search(model), space, budget)
        config.check(SCHEMA)
        assert (
            config.within(space)
            and config.num_params(SCHEMA) == budget
            and not config.fields["gender"].dim
        )
        for name, kept in oracle(inside, budget).items():
            np.testing.assert_array_equal(entries_of(config, space)[name], kept, err_msg=name)
    assert (
        METHODS.build("magnitude(per='entry')")
        .derive(Search(model), space, whole + 1)
        .num_params(SCHEMA)
        == whole
    )


@pytest.mark.parametrize("base", ["mlp(hidden=(5,))", "fm", "deepfm(hidden=(5,))"])
@pytest.mark.parametrize("budget", [3, 60])
def test_the_final_model_is_the_trained_one_with_entries_at_zero(base: str, budget: int) -> None:
    method, tables = METHODS.build("magnitude(per='entry')"), random_tables()
    model = model_with(tables, base=base)
    config = method.derive(Search(model), SPACE, budget)
    final = model.restrict(config, keep_gates=False)
    zeroed = {
        name: np.where(kept, tables[name], 0.0) for name, kept in oracle(tables, budget).items()
    }
    pieces = {piece.key: (piece.read(), piece.axes) for piece in model.pieces()}
    for name, table in zeroed.items():
        pieces[f"embedding/{name}"] = (table.astype(np.float32), pieces[f"embedding/{name}"][1])
    generator = np.random.default_rng(4)
    ids = tf.constant(
        np.stack([generator.integers(0, size, 64) for size in SIZES.values()], axis=1), tf.int32
    )
    whole = model(ids).numpy()
    model.load_pieces(pieces)
    np.testing.assert_allclose(final(ids), model(ids), rtol=0, atol=2e-6)
    assert np.abs(final(ids).numpy() - whole).max() > 0.01
    assert final.num_params() == budget


def test_columns_are_the_default_and_both_kinds_share_a_training() -> None:
    column, entry = METHODS.build("magnitude"), METHODS.build("magnitude(per='entry')")
    assert (column.params.per, column.traits.init, entry.traits.init) == ("column", "fresh", "keep")
    specs = [
        parse_spec(text)
        for text in ("magnitude", "magnitude(per='column')", "magnitude(per='entry', share=0.1)")
    ]
    assert len({training_spec(spec) for spec in specs}) == 1
    assert str(entry.spec()) == "magnitude(per='entry')" and str(column.spec()) == "magnitude()"
    assert [other.traits.init for _, other in entry.sweep(SPACE)] == ["keep"] * 3
    with pytest.raises(
        ValueError, match="`per` of magnitude should be one of column, entry. Received: 'row'"
    ):
        METHODS.build("magnitude(per='row')")


def test_one_training_serves_columns_and_entries(tmp_path, monkeypatch) -> None:
    """From data to the final model: that of the entries is the trained model, masked; nothing is
    trained for it."""
    directory = str(tmp_path / "data")
    schema = tiny_data.write(directory)
    options = TrainOptions(
        batch_size=128, epochs=1, patience=0, stddev=0.3, eval_batch_size=256, steps_per_execution=1
    )
    job = JobConfig(
        str(tmp_path),
        "mlp(hidden=(4,))",
        "magnitude",
        data_dir=directory,
        width=4,
        train=options,
        seed=3,
        progress=False,
    )
    work = Job(job)
    trainer, space = work.trainer, work.space
    search = run_search(trainer, METHODS.build("magnitude"), space).search
    monkeypatch.setattr(
        Recommender, "train_step", lambda *_: pytest.fail("nothing should be trained again")
    )
    method = METHODS.build("magnitude(per='entry', share=0.3)")
    _, result, _, folder = run_search(trainer, method, space)
    candidate = Candidate(Role.CONTROL, "magnitude", result, folder)
    final = final_models.initial_model(
        work, candidate, work.final_trainer(candidate), result.config
    )
    assert result.init == "keep" and result.config.num_params(schema) == final.num_params() == int(
        0.3 * space.num_params(schema)
    )
    ids = next(iter(trainer.valid.ordered(300)))["ids"]
    search.model.hard_mask(result.config)
    np.testing.assert_allclose(final(ids), search.model(ids), rtol=0, atol=1e-6)


def test_masked_entries_do_not_count(tmp_path: pathlib.Path) -> None:
    """What a space's mask has taken is neither in a column's spread nor in its price."""
    kept = np.array([[1, 1], [0, 1], [1, 1], [0, 1], [1, 0]], bool)
    save_counts(str(tmp_path), {"only": np.full(5, 7)})
    schema = Schema(
        (Field("only", vocabulary_size=5),), fingerprint="made up", directory=str(tmp_path)
    )
    space = InputConfig({"only": FieldConfig(2, None, BitMask.from_array(kept))})
    model = Recommender(schema, space, MODELS.build("fm"), TASKS.build("ctr"))
    table = np.array([[1.0, 0.2], [99.0, 0.1], [-1.0, 0.3], [99.0, 0.2], [1.0, 99.0]], np.float32)
    model.embedding.tables[0].assign(table)  # type: ignore[union-attr]
    spread = METHODS.build("magnitude").explain(Search(model), ()).arrays["spread"]
    np.testing.assert_allclose(spread, np.where(kept, table, 0).std(axis=0)[None], rtol=1e-6)
    assert METHODS.build("magnitude").derive(Search(model), space, 3) == InputConfig(
        {"only": space.fields["only"].cut([0])}
    )
    with pytest.raises(ValueError, match="smallest config's 3 "):
        METHODS.build("magnitude").derive(Search(model), space, 2)
