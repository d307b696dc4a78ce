"""The served model takes what the log holds and scores it as the trainer does: in Python, in a
session and without Python TensorFlow."""

# Longer than 300 lines: one log, its model and its export, which nearly all tests look at.

from __future__ import annotations

import csv
import dataclasses
import math
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from data_pipelines import vocabulary
from data_pipelines.preprocess import PreprocessOptions, preprocess
from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import MISSING, MISSING_INT, Field, Schema
from irazor_tf.model.gate import Gate
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import RoutedRecommender, Router
from irazor_tf.models.mlp import MLP
from irazor_tf.serving.encoders import FieldEncoder
from irazor_tf.serving.export import export, raw_signature
from irazor_tf.serving.versions import size_report
from irazor_tf.tasks.ctr import ClickThroughRate
from irazor_tf.training.source import Source
from irazor_tf.training.updates.optimizers import make_optimizer
from irazor_tf.training.updates.steps import Joint
from tests.jobs import small_jobs

ROWS = 3000
LAYOUT = """
columns:
  - {name: label, kind: label}
  - {name: Dropped_text}
  - {name: user, role: user}
  - {name: item, dtype: int64, role: item}
  - {name: dropped_number, kind: numeric, transform: floor}
  - {name: price, kind: numeric, transform: log_square}
  - {name: Count, kind: numeric, transform: floor}
  - {name: rare}
  - {name: plain}
"""
DIMS = {
    "Dropped_text": 0,
    "user": 4,
    "item": 2,
    "dropped_number": 0,
    "price": 4,
    "Count": 1,
    "rare": 2,
    "plain": 1,
}
KEPT = ("user", "item", "price", "Count", "rare", "plain")
USERS = [
    "ann",
    " ann",
    "ann ",
    "Zoë, M.",
    'a "b"',
    "tab\there",
    "日本",
    "007",
    "nan",
    "x" * 40,
]  # 40: not held inside a TF_TString


def _log(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of raw values, None for a missing one; `Count` and `plain` are never missing, `rare`
    never the same twice."""

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.1 else value

    return [
        {
            "label": int(rng.random() < 0.3),
            "Dropped_text": f"t{rng.integers(5)}",
            "user": maybe(USERS[rng.integers(len(USERS))]),
            "item": maybe(int(rng.integers(-20, 20))),
            "dropped_number": float(rng.integers(9)),
            "price": maybe(float(np.exp(rng.normal(2, 2)) - 3)),
            "Count": float(rng.normal(0, 5)),
            "rare": f"r{k}",
            "plain": f"p{rng.integers(4)}",
        }
        for k in range(ROWS)
    ]


def _probes(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some rows of the log, then unseen and missing values, one field at a time and all at once."""
    base = {
        "label": 0,
        "Dropped_text": "t1",
        "user": "ann",
        "item": 3,
        "dropped_number": 1.0,
        "price": 9.5,
        "Count": 2.0,
    }
    base |= {"rare": "r1", "plain": "p1"}
    odd: dict[str, list[Any]] = {
        "user": [None, "", "nobody", "ANN", " ann", "  ann", "7", MISSING, MISSING + " "],
        "item": [None, -20, 10**6, 2**63 - 1, -(2**63) + 1],
        "price": [
            None,
            -1.0,
            -0.0,
            0.5,
            2.0,
            2.0000000000000004,
            math.e,
            1e30,
            float(np.nextafter(math.e, 0)),
        ],
        "Count": [None, -0.5, 3.999999, 4.0, 1e300, -1e300],
        "rare": [None, "r0", "other"],
        "plain": [None, "p9", "p1 "],
    }
    rows = [base | {name: value} for name, values in odd.items() for value in values]
    empty: dict[str, Any] = dict.fromkeys(base)
    return log[:50] + rows + [empty | {"label": 0}]


def _write(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for k, row in enumerate(rows):
            item = row["item"]
            text = (
                item if item is None or k % 2 else f"{item:+04d}"
            )  # a number is the same however the log writes it
            writer.writerow((row | {"item": text}).values())


def _raw(rows: list[dict[str, Any]], names: Any) -> dict[str, np.ndarray]:
    """The rows as a client sends them."""
    missing: dict[str, Any] = {"item": MISSING_INT, "price": math.nan, "Count": math.nan}
    dtypes: dict[str, Any] = {"item": np.int64, "price": np.float64, "Count": np.float64}
    columns = {
        name: [missing.get(name, "") if row[name] is None else row[name] for row in rows]
        for name in names
    }
    return {name: np.array(column, dtypes.get(name, np.str_)) for name, column in columns.items()}


def _served(path: str, raw: dict[str, np.ndarray]) -> np.ndarray:
    signature = tf.saved_model.load(path).signatures["serving_default"]
    return signature(**{name: tf.constant(value) for name, value in raw.items()})[
        "probability"
    ].numpy()


def _trained(model: Any, ids: np.ndarray) -> np.ndarray:
    return tf.function(model.predict_proba)(tf.constant(ids)).numpy()


def _randomize(model: keras.Model) -> None:
    rng = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))


def _model(schema: Schema, config: InputConfig, **options: Any) -> Recommender:
    model = Recommender(schema, config, MLP(MLP.Params(hidden=(8,))), ClickThroughRate(), **options)
    _randomize(model)
    return model


@dataclasses.dataclass
class Case:
    """A data set, a model trained on it and its export; `ids` are those of the probes, by way of
    reader and vocabularies."""

    schema: Schema
    log: list[dict[str, Any]]
    probes: list[dict[str, Any]]
    ids: np.ndarray
    model: Recommender
    path: str


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("export")
    log = _log(np.random.default_rng(0))
    probes = _probes(log)
    (folder / "layout.yaml").write_text(LAYOUT)
    for name, rows in (("log", log), ("probes", probes)):
        _write(folder / f"{name}.csv", rows)
    options = PreprocessOptions(
        "table",
        (str(folder / "log.csv"),),
        schema=str(folder / "layout.yaml"),
        min_count=2,
        block_rows=256,
    )
    schema = preprocess(options, str(folder / "data"), progress=False)
    assert schema.field("rare").vocabulary_size == 1  # an empty vocabulary file
    reader = options.make_reader()
    ids = np.zeros((len(probes), len(schema.fields)), np.int32)
    for chunk in reader.chunks([str(folder / "probes.csv")]):
        for k, field in enumerate(reader.fields()):
            column = vocabulary.tokenize(chunk.columns[field.name], field)
            encoded = vocabulary.Vocabulary.load(schema.vocabulary_file(field.name)).encode(
                column.dictionary
            )
            ids[:, k] = encoded[column.indices.to_numpy()]

    fields = {name: FieldConfig(dim) for name, dim in DIMS.items()}
    fields["user"] = FieldConfig(
        4,
        mask=BitMask.from_array(
            np.arange(4 * schema.field("user").vocabulary_size).reshape(-1, 4) % 3 > 0
        ),
    )
    model = _model(schema, InputConfig(fields))
    model.prepare(
        Joint(), {group: make_optimizer("adam(learning_rate=0.01)") for group in model.groups}
    )
    model.fit(
        Source(str(folder / "data"), "train").batches(64, seed=0).take(2), verbose=0
    )  # so that there are slots and metrics
    assert model.optimizers["network"].variables()
    _randomize(model)
    return Case(schema, log, probes, ids, model, export(model, schema, str(folder / "served")))


def test_reloaded_equals_the_model_bit_for_bit(case: Case) -> None:
    expected = _trained(case.model, case.ids)
    assert len(np.unique(expected)) > 40
    np.testing.assert_array_equal(_served(case.path, _raw(case.probes, KEPT)), expected)


def test_raw_rows_score_as_the_records_do(case: Case) -> None:
    assert case.schema.directory is not None
    splits = [
        Source(case.schema.directory, split).ordered(8192) for split in ("train", "valid", "test")
    ]
    trained = [_trained(case.model, batch["ids"]) for split in splits for batch in split]
    served = _served(case.path, _raw(case.log, KEPT))
    assert len(served) == ROWS
    np.testing.assert_allclose(np.sort(served), np.sort(np.concatenate(trained)), rtol=0, atol=1e-6)


def test_missing_and_unseen_values_have_the_ids_of_preprocessing(case: Case) -> None:
    # Guards the other tests: the probes do reach id 0, the missing line, and a missing value where
    # there is no such line.
    by_name = dict(zip(case.schema.names, case.ids.T, strict=True))
    user = by_name["user"][50:59]
    assert (
        user[0] == user[1] == user[7] > 0
        and user[2] == user[3] == user[5] == user[8] == 0
        and user[4] > 0
    )
    assert (
        by_name["item"][59] > 0
        and by_name["Count"][-1] == by_name["plain"][-1] == 0
        and not by_name["rare"].any()
    )


def test_only_what_is_served_is_written(case: Case) -> None:
    loaded = tf.saved_model.load(case.path).signatures["serving_default"]
    inputs = loaded.structured_input_signature[1]
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in inputs.items()} == {
        "user": (tf.string, [None]),
        "item": (tf.int64, [None]),
        "price": (tf.float64, [None]),
        "Count": (tf.float64, [None]),
        "rare": (tf.string, [None]),
        "plain": (tf.string, [None]),
    }
    (output,) = loaded.structured_outputs.items()
    assert output[0] == "probability" and (output[1].dtype, output[1].shape.as_list()) == (
        tf.float32,
        [None],
    )
    assert sorted(os.listdir(os.path.join(case.path, "assets"))) == [
        "Count.txt",
        "item.txt",
        "plain.txt",
        "price.txt",
        "user.txt",
    ]
    graph = small_jobs.meta_graph(case.path).graph_def
    devices = {node.device for function in graph.library.function for node in function.node_def}
    assert devices <= {"", "/device:CPU:0", "/device:CPU:*"}
    saved = pathlib.Path(case.path, "saved_model.pb").read_bytes()
    assert str(case.schema.directory).encode() not in saved and b"dropped_number" not in saved
    written = tf.train.list_variables(os.path.join(case.path, "variables", "variables"))
    sizes = [math.prod(shape) for name, shape in written if "VALUE" in name]
    vocabularies = {name: case.schema.field(name).vocabulary_size for name in KEPT}
    embeddings = sum(size * DIMS[name] for name, size in vocabularies.items())
    # No mask: masked entries are stored as zeros where they are stored. First-order terms; tower;
    # intercept.
    assert sum(sizes) == embeddings + sum(vocabularies.values()) + (14 * 8 + 8 + 8 + 1) + 1


def test_size_report(case: Case) -> None:
    report = size_report(case.path)
    files = [path for path in pathlib.Path(case.path).rglob("*") if path.is_file()]
    assert (
        report["bytes"] == sum(path.stat().st_size for path in files)
        and report["mib"] == report["bytes"] / 2**20
    )
    for part in ("variables", "assets"):
        assert (
            report[part]
            == sum(path.stat().st_size for path in files if path.parent.name == part)
            > 0
        )
    with pytest.raises(ValueError, match="without files"):
        size_report(case.path + "0")


def test_batches_of_no_rows_and_of_unequal_columns(case: Case) -> None:
    assert _served(case.path, _raw([], KEPT)).shape == (0,)
    with pytest.raises(tf.errors.InvalidArgumentError):
        _served(case.path, _raw(case.log[:4], KEPT) | {"rare": np.array(["a", "b"])})


def test_without_python_tensorflow(case: Case) -> None:
    scores = small_jobs.c_library_scores(case.path, case.schema, _raw(case.probes, KEPT))
    np.testing.assert_allclose(scores, _trained(case.model, case.ids), rtol=0, atol=1e-6)


def test_saved_model_cli(case: Case, tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "rows.npz", **_raw(case.probes, KEPT))  # type: ignore[arg-type]
    inputs = ";".join(f"{name}={tmp_path / 'rows.npz'}[{name}]" for name in KEPT)
    command = [
        sys.executable,
        "-m",
        "tensorflow.python.tools.saved_model_cli",
        "run",
        "--dir",
        case.path,
        "--tag_set",
        "serve",
    ]
    command += ["--signature_def", "serving_default", "--inputs", inputs, "--outdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        np.load(tmp_path / "probability.npy"), _trained(case.model, case.ids), rtol=0, atol=1e-6
    )


class _ByItem(Router):
    """Cluster of every item, from a table that is a weight."""

    fields = ("item",)

    def __init__(self, schema: Schema):
        super().__init__()
        self._column = schema.index("item")
        self._size = schema.field("item").vocabulary_size

    def build(self, input_shape: Any) -> None:
        constant = keras.initializers.Constant(np.arange(self._size) % 2)
        self.clusters = self.add_weight(
            "clusters", (self._size,), tf.int32, initializer=constant, trainable=False
        )

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.clusters, ids[:, self._column])


def test_a_router_is_part_of_the_graph(case: Case, tmp_path: pathlib.Path) -> None:
    dims = [DIMS | {"item": 0, "price": 0}, DIMS | {"item": 0, "user": 0, "rare": 0, "plain": 0}]
    models = [_model(case.schema, InputConfig.from_dims(each)) for each in dims]
    routed = RoutedRecommender(models, _ByItem(case.schema))
    path = export(routed, case.schema, str(tmp_path))
    clusters = routed.router(case.ids).numpy()
    assert 20 < clusters.sum() < len(clusters) - 20
    expected = np.where(clusters == 0, *(_trained(model, case.ids) for model in models))
    served = _served(path, _raw(case.probes, KEPT))  # `item` is there for the router alone
    np.testing.assert_array_equal(served, _trained(routed, case.ids))
    np.testing.assert_allclose(served, expected, rtol=0, atol=1e-6)
    assert _served(path, _raw([], KEPT)).shape == (0,)


class _Norm(Gate):
    """A gate with an architecture parameter and with statistics that are reduced over replicas when
    read."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_architecture("scale", input_shape[1:], "ones")
        self.norm = keras.layers.BatchNormalization(synchronized=True)
        super().build(input_shape)

    def call(self, x: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.norm(x, training=training) * self.scale


def test_nothing_of_a_strategy_is_served(case: Case, tmp_path: pathlib.Path) -> None:
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = _model(case.schema, InputConfig.from_dims(DIMS), gates={"embedding": _Norm()})
        moving = model.gates["embedding"].norm.moving_mean
        moving.assign(np.linspace(-1, 1, moving.shape[0]))
    model.hard_mask(InputConfig.from_dims(DIMS | {"user": 2, "Count": 0}))
    path = export(model, case.schema, str(tmp_path))
    np.testing.assert_array_equal(_served(path, _raw(case.probes, KEPT)), _trained(model, case.ids))
    names = [
        name for name, _ in tf.train.list_variables(os.path.join(path, "variables", "variables"))
    ]
    read = [
        variable
        for variable in model.variables
        if variable.name.split(":")[0] not in ("clock", "total", "count")
    ]
    assert len(names) == len(read) + 1  # one copy of each, and the object graph
    devices = {
        node.device
        for function in small_jobs.meta_graph(path).graph_def.library.function
        for node in function.node_def
    }
    assert devices <= {"", "/device:CPU:0", "/device:CPU:*"}


def test_versions_grow_and_a_failure_leaves_none(
    case: Case, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("7", "7.old", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / ".8.partial" / "assets").mkdir(parents=True)  # of a process that was killed
    (tmp_path / ".8.partial" / "assets" / "old.txt").write_text("old")
    paths = [export(case.model, case.schema, str(tmp_path)) for _ in range(2)]
    assert paths == [str(tmp_path / "8"), str(tmp_path / "9")]
    assert not (tmp_path / "8" / "assets" / "old.txt").exists()
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "8").stat().st_mode == (
        tmp_path / "plain"
    ).stat().st_mode  # as readable as any other folder
    before = sorted(os.listdir(tmp_path))

    def full_disk(module: tf.Module, path: str, **options: Any) -> None:
        os.makedirs(os.path.join(path, "variables"))
        raise OSError("no space left")

    monkeypatch.setattr(tf.saved_model, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        export(case.model, case.schema, str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == before


def test_data_rebuilt_at_the_same_place(case: Case, tmp_path: pathlib.Path) -> None:
    # A table is shared, by default, with every other made from a file of the same path, whatever
    # that holds by now.
    assert case.schema.directory is not None
    shutil.copytree(case.schema.directory, tmp_path / "data")
    schema = Schema.load(str(tmp_path / "data"))
    encoder = FieldEncoder(schema, "plain")  # keeps its table alive
    first = export(case.model, schema, str(tmp_path / "served"))
    file = pathlib.Path(schema.vocabulary_file("plain"))
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    second = export(case.model, schema, str(tmp_path / "served"))
    raw = _raw(case.log[:50], KEPT)
    loaded = [
        tf.saved_model.load(path) for path in (first, second)
    ]  # side by side, as while a server changes versions
    scores = [
        each.signatures["serving_default"](**{k: tf.constant(v) for k, v in raw.items()})[
            "probability"
        ]
        for each in loaded
    ]
    np.testing.assert_array_equal(scores[0], _served(case.path, raw))
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    lines = tf.constant(file.read_text().split())
    assert encoder(lines).numpy().tolist() == [4, 3, 2, 1] and FieldEncoder(schema, "plain")(
        lines
    ).numpy().tolist() == [1, 2, 3, 4]


def test_errors(case: Case, tmp_path: pathlib.Path) -> None:
    assert case.schema.directory is not None
    other = dataclasses.replace(case.schema, fields=case.schema.fields[::-1])
    with pytest.raises(ValueError, match="their order"):
        export(case.model, other, str(tmp_path))
    shutil.copytree(case.schema.directory, tmp_path / "data")
    with open(tmp_path / "data" / "vocab" / "plain.txt", "a", encoding="utf-8") as file:
        file.write("one more\n")
    with pytest.raises(ValueError, match="'plain'.*Received: 6"):
        export(case.model, Schema.load(str(tmp_path / "data")), str(tmp_path / "served"))
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((Field("ab", "cross", parents=("a", "b")),), "string, an int64, or numeric"),
        ((Field("a", dtype="float64"),), "string, an int64, or numeric"),
        ((Field("class"),), "keyword or `self`"),
        ((Field("self"),), "keyword or `self`"),
        ((Field("Age"), Field("age")), "more than case.*'Age' and 'age'"),
    ],
)
def test_fields_that_cannot_be_inputs(fields: tuple[Field, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        raw_signature(Schema((*fields, Field("fine"))), [field.name for field in fields])
    assert list(raw_signature(Schema((*fields, Field("fine"))), ["fine"])) == ["fine"]
