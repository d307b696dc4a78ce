"""FM and DeepFM against numpy oracles, fields of equal and of unequal dimension; the alignment, and
what `restrict` does to it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from irazor_tf.config.field_config import FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS
from irazor_tf.model.recommender import Recommender

SIZES = {"a": 7, "b": 5, "c": 9, "d": 4}
SCHEMA = Schema(
    tuple(Field(name, vocabulary_size=size) for name, size in SIZES.items()), fingerprint="made up"
)
IDS = np.array([[0, 1, 2, 3], [6, 4, 8, 0], [3, 0, 5, 1]], np.int32)
EQUAL = InputConfig.uniform(SCHEMA, 3)
UNEQUAL = InputConfig(
    {"a": FieldConfig(2), "b": FieldConfig(0), "c": FieldConfig(4), "d": FieldConfig(1, (5,))}
)
BIASED = ", align_bias=True, align_widest=False"  # as i-Razor does
ALWAYS = ", align_always=True"  # as HAM does


def made(spec: str, config: InputConfig) -> Any:
    """A model whose weights are all random numbers."""
    model = Recommender(SCHEMA, config, MODELS.build(spec), TASKS.build("ctr"))
    generator = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(size=variable.shape))
    return model


def embeddings(model: Any) -> list[np.ndarray]:
    """Each kept field's rows [B, d_i], looked up by hand."""
    columns = [SCHEMA.index(name) for name in model.kept]
    return [
        model.embedding.field_table(name)[IDS[:, column]]
        for name, column in zip(model.kept, columns, strict=True)
    ]


def aligned(model: Any) -> list[np.ndarray]:
    """Each kept field's vector [B, D] after its own map, by hand."""
    found = []
    pieces: dict[str, Any] = {piece.key: piece for piece in model.pieces()}
    for name, rows in zip(model.kept, embeddings(model), strict=True):
        map_, bias = (pieces.get(f"alignment/{name}/{part}") for part in ("map", "bias"))
        assert map_ is not None
        vector = rows if map_.variable is None else rows @ map_.read()[0]
        found.append(
            vector + (bias.read()[0] if bias is not None and bias.variable is not None else 0.0)
        )
    return found


def first_order(model: Any) -> np.ndarray:
    total = np.full(len(IDS), model.intercept.bias.numpy(), np.float64)
    for name in model.kept:
        total += model.linear.field_table(name)[IDS[:, SCHEMA.index(name)], 0]
    return total


def products(vectors: list[np.ndarray]) -> np.ndarray:
    return sum(
        (a.astype(np.float64) * b).sum(axis=1) for a, b in itertools.combinations(vectors, 2)
    )


def tower(model: Any) -> np.ndarray:
    """The tower's output on the raw columns, in the order that the model gives them."""
    rows = dict(zip(model.kept, embeddings(model), strict=True))
    labels = {name: model.config.fields[name].labels for name in model.kept}
    x = np.stack(
        [rows[name][:, labels[name].index(label)] for name, label in model.embedding.column_labels],
        axis=1,
    )
    for dense in model.base.tower.dense:
        x = np.maximum(x @ dense.kernel.numpy() + dense.bias.numpy(), 0)
    return (x @ model.base.tower.out.kernel.numpy() + model.base.tower.out.bias.numpy())[:, 0]


def assert_cut(model, narrow):
    """What `restrict` made scores as the model under a hard mask of its config, and can be built
    again from that config."""
    model.hard_mask(narrow.config)
    np.testing.assert_allclose(narrow(IDS), model(IDS), rtol=1e-5, atol=1e-5)
    model.hard_mask(None)
    again: Any = Recommender(SCHEMA, narrow.config, model.base, model.task)
    again.inherit(narrow)
    np.testing.assert_array_equal(again(IDS), narrow(IDS))


@pytest.mark.parametrize("alignment", ["", BIASED, ALWAYS])
@pytest.mark.parametrize("config", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_factorization_machine(config, alignment):
    model = made(f"fm(mean_products=False{alignment})", config)
    expected = first_order(model) + products(aligned(model))
    np.testing.assert_allclose(model(IDS), expected, rtol=1e-5, atol=1e-5)
    mean = made(f"fm(mean_products=True{alignment})", config)
    expected = first_order(mean) + products(aligned(mean)) / config.max_dim
    np.testing.assert_allclose(mean(IDS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("alignment", ["", BIASED, ALWAYS])
@pytest.mark.parametrize("config", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_deepfm_is_the_machine_and_a_tower_on_the_raw_embeddings(config, alignment):
    model = made(f"deepfm(hidden=(5, 3){alignment})", config)
    expected = first_order(model) + products(aligned(model)) + tower(model)
    np.testing.assert_allclose(model(IDS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("alignment", "mapped", "shapes"),
    [
        ("", ("a", "c", "d"), {"map_4": (1, 4, 4), "map_2": (1, 2, 4), "map_1": (1, 1, 4)}),
        (
            BIASED,
            ("a", "d"),
            {"map_2": (1, 2, 4), "map_1": (1, 1, 4), "bias_2": (1, 4), "bias_1": (1, 4)},
        ),
    ],
)
def test_every_field_has_a_map_as_soon_as_dimensions_differ(alignment, mapped, shapes):
    model = made(f"fm(mean_products=False{alignment})", UNEQUAL)
    found = {
        weight.name.split("/")[-1].split(":")[0]: tuple(weight.shape)
        for weight in model.alignment.weights
    }
    assert found == shapes
    maps = {
        piece.key.split("/")[1]
        for piece in model.alignment.pieces()
        if piece.key.endswith("/map") and piece.variable is not None
    }
    assert maps == set(mapped)
    assert not made(f"fm(mean_products=False{alignment})", EQUAL).alignment.weights
    one = InputConfig(
        {"a": FieldConfig(2, (1, 5)), "b": FieldConfig(0), "c": FieldConfig(2), "d": FieldConfig(0)}
    )
    assert not made(f"fm(mean_products=False{alignment})", one).alignment.weights


@pytest.mark.parametrize("alignment", ["", BIASED, ALWAYS])
@pytest.mark.parametrize("wide", [EQUAL, UNEQUAL], ids=["no maps", "maps"])
@pytest.mark.parametrize("model_name", ["fm(mean_products=True", "deepfm(hidden=(5, 3)"])
def test_restrict_keeps_the_numbers(model_name, wide, alignment):
    """Fields that keep different columns meet where the wide model's did; a removed field's bias
    goes with it."""
    model = made(f"{model_name}{alignment})", wide)
    kept = {"a": (0,), "b": (), "c": (0, 2), "d": wide.fields["d"].labels[:1]}
    config = InputConfig({name: FieldConfig(len(labels), labels) for name, labels in kept.items()})
    narrow = model.restrict(config)
    assert narrow.config.aligned == wide.max_dim and narrow.config.within(wide)
    assert_cut(model, narrow)
    # And cut again.
    fewer = narrow.restrict(InputConfig({**config.fields, "c": FieldConfig(1, (2,))}))
    narrow.hard_mask(InputConfig({**config.fields, "c": FieldConfig(1, (2,))}))
    np.testing.assert_allclose(fewer(IDS), narrow(IDS), rtol=1e-5, atol=1e-5)


def test_dropping_whole_fields_needs_no_maps():
    model = made("fm", EQUAL)
    narrow = model.restrict(InputConfig({**EQUAL.fields, "b": FieldConfig(0)}))
    assert narrow.config.aligned is None and not narrow.alignment.weights


@pytest.mark.parametrize("name", ["fm", "deepfm"])
def test_maps_may_be_there_although_all_fields_are_equally_wide(name):
    """HAM, section 4.3: bias-free, every field's own, from the
    first training on, and cut with it."""
    model = made(f"{name}(align_always=True)", EQUAL)
    maps = {
        piece.key: piece.variable is not None
        for piece in model.pieces()
        if piece.key.startswith("alignment/")
    }
    assert maps == {f"alignment/{field}/map": True for field in SIZES} and [
        w.shape for w in model.alignment.weights
    ] == [(4, 3, 3)]
    whole = InputConfig({**EQUAL.fields, "b": FieldConfig(0)})
    columns = InputConfig({**whole.fields, "c": FieldConfig(2, (0, 2))})
    for config, width in ((whole, None), (columns, 3)):
        narrow = model.restrict(config)
        assert narrow.config.aligned == width
        assert_cut(model, narrow)
    with pytest.raises(
        ValueError,
        match="`align_always` maps fields of the full width and needs `align_widest`. Received: "
        "align_widest",
    ):
        MODELS.build(f"{name}(align_always=True, align_widest=False)")


def test_settings_of_the_tower_are_checked_beside_those_of_the_alignment():
    with pytest.raises(
        ValueError, match="`hidden` should be positive numbers of units. Received: \\(0,\\)"
    ):
        MODELS.build("deepfm(hidden=(0,))")


def test_maps_start_within_their_bound_and_differ_between_fields():
    config = InputConfig(
        {"a": FieldConfig(2), "b": FieldConfig(2), "c": FieldConfig(6), "d": FieldConfig(1)}
    )
    model: Any = Recommender(SCHEMA, config, MODELS.build("fm"), TASKS.build("ctr"))
    maps = {piece.key: piece.read() for piece in model.alignment.pieces()}
    for name, dim in (("a", 2), ("b", 2), ("c", 6), ("d", 1)):
        found = np.abs(maps[f"alignment/{name}/map"])
        assert 0 < found.max() <= (6 / (dim + 6)) ** 0.5
    assert not np.array_equal(maps["alignment/a/map"], maps["alignment/b/map"])


def test_alignment_width():
    assert InputConfig({**EQUAL.fields}, aligned=5).has_maps and not EQUAL.has_maps
    assert InputConfig.from_json(InputConfig({**EQUAL.fields}, aligned=5).to_json()).aligned == 5
    with pytest.raises(
        ValueError, match="`aligned` should be at least the widest field's 3. Received: 2"
    ):
        InputConfig({**EQUAL.fields}, aligned=2)
