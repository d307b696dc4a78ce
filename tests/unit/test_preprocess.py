"""`preprocess` end to end: splits, labels, vocabularies, shadows, determinism, and nothing
half-written taken for done."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from data_pipelines import manifest as manifests
from data_pipelines import options, records, shuffle
from data_pipelines.preprocess import PreprocessOptions, preprocess
from data_pipelines.text import lines
from irazor_tf.config.schema import MISSING, Schema

SCHEMA = (
    "columns: [{name: y, kind: label}, {name: u, dtype: int64, role: user}, c, {name: n, "
    "kind: numeric}, {name: t, kind: time}]"
)


@pytest.fixture
def table(write, tmp_path):
    """Preprocesses rows `y,u,c,n,t`: `table(rows, **options)` gives the folder and the schema."""

    def make(rows, out="out", **chosen):
        chosen = {
            "min_count": 1,
            "reader": "table",
            "schema": write("schema.yaml", SCHEMA),
            "input": write("log.csv", rows),
        } | chosen
        folder = tmp_path / out
        return folder, preprocess(PreprocessOptions(**chosen), str(folder), progress=False)

    return make


def log(rows, first=0):
    """Row k: label k % 2, user k, c one of 5, n = k, time k."""
    return [f"{k % 2},{k},c{k % 5},{k},{k}" for k in range(first, first + rows)]


def users(folder, ids, name="u"):
    """The raw values behind the ids of a field."""
    schema = Schema.load(str(folder))
    tokens = ["OOV", *pathlib.Path(schema.vocabulary_file(name)).read_text().splitlines()]
    return [tokens[k] for k in ids[:, schema.index(name)]]


def everything(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_is_written(table, read_split):
    folder, schema = table([*log(95), "1,,c0,,7"], block_rows=16, num_files=2)
    assert (
        schema == Schema.load(str(folder))
        and schema.names == ("u", "c", "n")
        and schema.label == "y"
    )
    manifest = manifests.verify(str(folder), full=True)
    assert manifest["fingerprint"] == schema.fingerprint and len(schema.fingerprint) == 64
    assert (
        PreprocessOptions.from_json(manifest["options"]).block_rows == manifest["block_rows"] == 16
    )
    total = 0
    for split, entry in manifest["splits"].items():
        ids, label, blocks = read_split(folder, split)
        assert (
            entry["rows"] == len(label)
            and entry["positives"] == label.sum()
            and entry["blocks"] == len(blocks)
        )
        total += len(label)
        if split == "train":
            for k, field in enumerate(schema.fields):
                assert (
                    np.bincount(ids[:, k], minlength=field.vocabulary_size)
                    == schema.counts[field.name]
                ).all()
                assert ids[:, k].max() < field.vocabulary_size and schema.counts[field.name][0] == 0
            assert MISSING in users(folder, ids) and [
                int(u) % 2 for u in users(folder, ids) if u != MISSING
            ] == [int(y) for u, y in zip(users(folder, ids), label, strict=True) if u != MISSING]
    assert (
        total == 96
        and not (folder / "scratch").exists()
        and not pathlib.Path(f"{folder}.partial").exists()
    )
    assert (
        users(folder, read_split(folder, "valid")[0])
        == ["OOV"] * manifest["splits"]["valid"]["rows"]
    )


def test_min_count_and_max_vocab(table):
    rows = [f"0,1,{c},1,1" for c in ["a"] * 6 + ["b"] * 4 + ["d"] * 4 + ["e"] * 2 + [""]]
    folder, schema = table(rows, fractions=(1, 0, 0), min_count=3, max_vocab=2)
    assert (folder / "vocab" / "c.txt").read_text().splitlines() == ["a", "b", MISSING]
    assert schema.counts["c"].tolist() == [6, 6, 4, 1] and schema.field("c").vocabulary_size == 4


def test_vocabularies_know_the_training_split_alone(table, read_split):
    folder, _ = table(log(100), split="sequential", fractions=(0.6, 0.2, 0.2))
    known = (folder / "vocab" / "u.txt").read_text().split()
    assert sorted(map(int, known)) == list(range(60))
    ids, label, _ = read_split(folder, "test")
    assert (
        set(users(folder, ids)) == {"OOV"}
        and label.sum() == 10
        and "OOV" not in users(folder, ids, "c")
    )


def sizes(folder):
    return [entry["rows"] for entry in manifests.load_manifest(str(folder))["splits"].values()]


def test_random_split_is_by_row_and_seed(table, read_split):
    first, _ = table(log(1000), "a")
    second, _ = table(log(1000), "b", seed=3)
    assert 760 < sizes(first)[0] < 840 and 70 < sizes(first)[1] < 130 and sum(sizes(first)) == 1000
    assert set(users(first, read_split(first, "train")[0])) != set(
        users(second, read_split(second, "train")[0])
    )
    longer, _ = table(log(1100), "c")
    of_first = set(users(longer, read_split(longer, "train")[0]))
    assert {u for u in of_first if int(u) < 1000} == set(
        users(first, read_split(first, "train")[0])
    )


def test_time_split(table, read_split):
    folder, _ = table(log(100), split="time", time_boundaries=(49, 69))
    assert sizes(folder) == [50, 20, 30]
    assert sorted(map(int, users(folder, read_split(folder, "train")[0]))) == list(range(50))


@pytest.mark.parametrize(("split", "exact"), [("sequential", True), ("random", False)])
def test_files_of_their_own(table, write, split, exact):
    test = write("test.csv", log(40, first=500))
    folder, _ = table(log(900), "a", split=split, test_input=test)
    got = sizes(folder)
    assert got[2] == 40 and (got[:2] == [800, 100] if exact else 60 < got[1] < 140)
    folder, _ = table(log(900), "b", split=split, valid_input=test, test_input=test)
    assert sizes(folder) == [900, 40, 40]


def test_time_split_beside_given_files(table, write):
    test = write("test.csv", log(40, first=500))
    folder, _ = table(log(100), split="time", time_boundaries=(49, 1e9), test_input=test)
    assert sizes(folder) == [50, 50, 40]
    with pytest.raises(
        ValueError,
        match="With `test_input` given, .* should put no row of `input` there. Received: 30 rows",
    ):
        table(log(100), "b", split="time", time_boundaries=(49, 69), test_input=test)


def test_labels_dropped_and_cut(table, read_split):
    rows = [f"{k % 5 + 1},{k},c,1,1" for k in range(100)]
    folder, _ = table(rows, positive_above=3, drop_labels=(3,), fractions=(1, 0, 0))
    ids, label, _ = read_split(folder, "train")
    assert len(label) == 80
    assert all(
        int(u) % 5 != 2 and (int(u) % 5 > 2) == y
        for u, y in zip(users(folder, ids), label, strict=True)
    )


@pytest.mark.parametrize(
    ("chunk_bytes", "label"), [(1 << 20, "2"), (40, "2"), (40, "nan"), (40, "0.5")]
)
def test_a_label_that_is_none_is_named(table, monkeypatch, chunk_bytes, label):
    monkeypatch.setattr(lines, "CHUNK_BYTES", chunk_bytes)
    rows = log(20)
    rows[12] = f"{label},1,c,1,1"
    with pytest.raises(
        ValueError,
        match=rf"label should be 0 or 1;.* Received: {float(label)} \(.*log\.csv, line 13\)",
    ):
        table(rows)


def test_transform_override(table):
    folder, schema = table(
        [f"0,1,c,{n},1" for n in (1, 50, 51.5)], numeric_transform="floor", fractions=(1, 0, 0)
    )
    assert schema.field("n").transform == "floor" and sorted(
        (folder / "vocab" / "n.txt").read_text().split()
    ) == ["1", "50", "51"]


def test_shadows_keep_the_marginals_and_forget_the_row(table, read_split, monkeypatch):
    monkeypatch.setattr(shuffle, "BUCKET_ROWS", 700)
    folder, schema = table(log(3000), shadow_fields=True, min_count=1)
    assert schema.names == ("u", "c", "n", "u_shadow", "c_shadow", "n_shadow")
    shadow = schema.field("u_shadow")
    assert shadow == dataclasses.replace(
        schema.field("u"), name="u_shadow", role="shadow", parents=("u",)
    )
    assert (schema.counts["u_shadow"] == schema.counts["u"]).all()
    assert (folder / "vocab" / "u_shadow.txt").read_bytes() == (
        folder / "vocab" / "u.txt"
    ).read_bytes()
    for split in records.SPLITS:
        ids, label, _ = read_split(folder, split)
        for k in range(3):
            assert sorted(ids[:, k]) == sorted(ids[:, k + 3])
    ids, label, _ = read_split(folder, "train")
    assert (ids[:, 0] == ids[:, 3]).mean() < 0.01
    assert (ids[:, 1] == ids[:, 4]).mean() == pytest.approx(0.2, abs=0.04)
    assert abs(np.corrcoef(ids[:, 3], ids[:, 5])[0, 1]) < 0.1  # two shadows are permuted apart
    assert (
        abs(np.corrcoef(label, [int(u) % 2 for u in users(folder, ids, "u_shadow")])[0, 1]) < 0.07
    )


def test_same_input_and_options_same_bytes(table, monkeypatch):
    monkeypatch.setattr(shuffle, "BUCKET_ROWS", 300)
    first, schema = table(log(1000), "a", shadow_fields=True)
    monkeypatch.setattr(lines, "CHUNK_BYTES", 500)
    second, again = table(log(1000), "b", shadow_fields=True)
    assert everything(first) == everything(second) and schema.fingerprint == again.fingerprint
    third, other = table(log(1000), "c", shadow_fields=True, seed=1)
    assert other.fingerprint != schema.fingerprint


def test_rows_are_shuffled(table, read_split):
    folder, _ = table(log(3000), fractions=(1, 0, 0))
    order = [int(u) for u in users(folder, read_split(folder, "train")[0])]
    assert abs(np.corrcoef(order, np.arange(3000))[0, 1]) < 0.06


@pytest.mark.parametrize(
    "called",
    ["vocabulary.TokenCounts.add_column", "shuffle.Shuffler.add", "preprocess.save_manifest"],
)
def test_an_interrupted_run_leaves_no_data_folder(table, tmp_path, monkeypatch, called):
    """Interrupted while it counts, while it scatters, and before it is finished."""

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"data_pipelines.{called}", fail)
        with pytest.raises(KeyboardInterrupt):
            table(log(50))
    partial = tmp_path / "out.partial"
    assert not (tmp_path / "out").exists() and partial.is_dir()
    with pytest.raises(ValueError, match="should hold `manifest.json`"):
        manifests.verify(str(partial))
    (partial / "vocab").mkdir(exist_ok=True)
    (partial / "vocab" / "old.txt").write_text("old")
    folder, _ = table(log(50))
    assert not partial.exists() and not (folder / "vocab" / "old.txt").exists()
    manifests.verify(str(folder), full=True)


def test_a_finished_folder_is_not_overwritten(table):
    folder, _ = table(log(50))
    before = everything(folder)
    with pytest.raises(
        ValueError,
        match=rf"`output_dir` should not exist yet, or be empty .*Received: {folder}, with a "
        rf"{folder}/manifest",
    ):
        table(log(60))
    assert everything(folder) == before


def test_a_folder_that_has_lost_its_manifest_is_not_overwritten(table):
    folder, _ = table(log(50))
    (folder / "manifest.json").unlink()
    with pytest.raises(
        ValueError, match=rf"Received: {folder}, with files, but no {folder}/manifest.json"
    ):
        table(log(60))


def test_no_training_row(table):
    with pytest.raises(
        ValueError, match=r"training split should hold at least one row\. Received: .*'test': 100"
    ):
        table(log(100), split="time", time_boundaries=(-5, -5))


@pytest.mark.parametrize(
    ("chosen", "should"),
    [
        ({"min_count": 0}, "`min_count` should be at least 1. Received: 0"),
        ({"max_vocab": 0}, "`max_vocab` should be at least 1"),
        ({"split": "user"}, "`split` should be one of random, sequential, time. Received: 'user'"),
        ({"fractions": (0.5, 0.1, 0.1)}, "`fractions` should be three numbers"),
        ({"fractions": (0, 0.5, 0.5)}, "`fractions` should be three numbers"),
        ({"split": "time"}, "`time_boundaries` should be two ascending times"),
        ({"time_boundaries": (1, 2)}, "`time_boundaries` should be two ascending times"),
        (
            {"split": "time", "time_boundaries": (2, 1)},
            "`time_boundaries` should be two ascending times",
        ),
        ({"numeric_transform": "none"}, "`numeric_transform` should be one of log_square, floor"),
        (
            {"input": "/nowhere/*"},
            "`input` should name existing files, or patterns that match some. Received: '/nowhere/",
        ),
        ({"input": ()}, "'table' should be given its input files"),
        ({"reader": "tables"}, "reader should be one of .*table.* Received: 'tables'"),
    ],
)
def test_bad_options_are_refused(table, chosen, should):
    with pytest.raises(ValueError, match=should):
        table(log(10), **chosen)


def test_a_log_without_time_has_no_time_split(write, criteo_lines, tmp_path):
    chosen = PreprocessOptions(
        "criteo", (write("log.txt", criteo_lines(5)),), split="time", time_boundaries=(1, 2)
    )
    with pytest.raises(
        ValueError,
        match=r"random or sequential for a log without time\. Received: 'time' \(.*log\.txt\)",
    ):
        preprocess(chosen, str(tmp_path / "out"), progress=False)


def test_options_round_trip():
    chosen = PreprocessOptions(
        "criteo", ("log",), split="time", time_boundaries=(1, 2), drop_labels=(3,), max_vocab=5
    )
    assert PreprocessOptions.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
    with pytest.raises(
        ValueError, match=r"option should be one of reader, input, .* Received: 'mincount'"
    ):
        options.PreprocessOptions.from_json({"reader": "criteo", "mincount": 2})


def test_patterns_take_files_in_order(write, tmp_path, criteo_lines, read_split):
    text = criteo_lines(60)
    write("part-1.gz", text[40:])
    write("part-0.txt", text[:40])
    chosen = PreprocessOptions(
        "criteo", (str(tmp_path / "part-*"),), split="sequential", min_count=1
    )
    schema = preprocess(chosen, str(tmp_path / "out"), progress=False)
    known = pathlib.Path(schema.vocabulary_file("C1")).read_text().split()
    assert (
        sorted(int(token, 16) for token in known) == list(range(48))
        and schema.counts["C2"].sum() == 48
    )


def test_real_criteo(shared_data, tmp_path):
    log_file = str(shared_data / "criteo" / "dac_sample_rows_0_79999.tsv.gz")
    schema = preprocess(
        PreprocessOptions("criteo", (log_file,), min_count=4), str(tmp_path / "out"), progress=False
    )
    splits = manifests.verify(str(tmp_path / "out"), full=True)["splits"]
    assert sum(entry["rows"] for entry in splits.values()) == 80_000
    assert sum(entry["positives"] for entry in splits.values()) == pytest.approx(
        0.2245 * 80_000, abs=10
    )
    assert 24_800 < schema.num_features < 25_400


def test_real_frappe(shared_data, tmp_path):
    files = [
        str(shared_data / "frappe" / f"frappe.{part}.libfm.gz") for part in ("validation", "test")
    ]
    chosen = PreprocessOptions(
        "libfm", (files[0],), test_input=(files[1],), fractions=(0.9, 0.1, 0), min_count=1
    )
    schema = preprocess(chosen, str(tmp_path / "out"), progress=False)
    train, valid, test = sizes(tmp_path / "out")
    assert train + valid == 57_722 and test == 28_860 and 5_500 < valid < 6_100
    assert len(schema.fields) == 10 and 5_200 < schema.num_features <= 5_392


def test_fields_may_be_called_label_and_time(write, tmp_path, read_split):
    """Names that the spool of rows once had for columns of its own."""
    schema = write(
        "own.yaml",
        "columns: [{name: y, kind: label}, {name: label}, {name: time, kind: numeric}, {name: t, "
        "kind: time}]",
    )
    path = write("own.csv", [f"{k % 2},c{k % 3},{k},{k}" for k in range(60)])
    chosen = PreprocessOptions(
        reader="table", schema=schema, input=path, split="time", time_boundaries=(39, 49)
    )
    made = preprocess(chosen, str(tmp_path / "own"), progress=False)
    assert made.names == ("label", "time")
    ids, label, _ = read_split(tmp_path / "own", "test")
    assert len(label) == 10 and set(users(tmp_path / "own", ids, "label")) == {"c0", "c1", "c2"}


def test_files_without_rows_are_named(table, write, tmp_path, caplog):
    empty, some = write("empty.csv", []), write("some.csv", log(30))
    folder, _ = table(log(30), input=(some, empty), test_input=(write("own_test.csv", log(5)),))
    inputs = manifests.load_manifest(str(folder))["inputs"]
    assert inputs == {
        "input": [{"file": some, "rows": 30}, {"file": empty, "rows": 0}],
        "test": [{"file": str(tmp_path / "own_test.csv"), "rows": 5}],
    }
    assert caplog.text.count("holds no row") == 1 and f"{empty} holds no row" in caplog.text


def test_rows_left_out_by_their_label_are_rows_of_their_file(table):
    folder, _ = table(
        ["0,1,a,1,1", "1,1,a,1,1", "2,1,a,1,1"] * 10, positive_above=0.5, drop_labels=(2,)
    )
    manifest = manifests.load_manifest(str(folder))
    assert (
        manifest["inputs"]["input"][0]["rows"] == 30
        and sum(entry["rows"] for entry in manifest["splits"].values()) == 20
    )


def test_an_empty_log_names_its_files(table):
    with pytest.raises(ValueError, match=r"at least one row\. Received: .*log\.csv: 0 rows"):
        table([])


def test_a_shadow_does_not_take_a_fields_name(write, tmp_path):
    schema = write("s.yaml", "columns: [{name: y, kind: label}, {name: a}, {name: a_shadow}]")
    chosen = PreprocessOptions(
        reader="table",
        schema=schema,
        input=write("s.csv", ["1,a,b", "not a row"]),
        shadow_fields=True,
    )
    with pytest.raises(ValueError, match="Received: 'a' and 'a_shadow'"):
        preprocess(chosen, str(tmp_path / "s"), progress=False)


def test_a_time_is_finite(table):
    """By a reader that lets it through: nan would go to the test split."""
    with pytest.raises(ValueError, match=r"log\.csv, line 4"):
        table([*log(3), "1,1,c,1,nan", *log(5)], split="time", time_boundaries=(1, 2))


@pytest.mark.parametrize(
    "change",
    [
        {"min_count": True},
        {"min_count": 1.5},
        {"fractions": ("a", "b", "c")},
        {"fractions": (float("nan"), 0, 1)},
        {"fractions": 0.8},
        {"split": "time", "time_boundaries": (float("nan"), float("nan"))},
        {"split": "time", "time_boundaries": (0, float("inf"))},
        {"drop_labels": ("x",)},
        {"positive_above": float("nan")},
        {"positive_above": "3"},
        {"shadow_fields": 1},
        {"input": 3},
        {"seed": 2**80},
    ],
    ids=str,
)
def test_options_of_another_type_are_refused(change):
    with pytest.raises(ValueError, match=rf"`{[*change][-1]}` should be .* Received: "):
        PreprocessOptions(reader="criteo", **change)
