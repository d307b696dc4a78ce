"""The log with hidden groups is what it says, and is as hard as it claims to be.

The log is fixed before any method is tuned on it. If a checksum here fails, the instrument has
changed and so has the meaning of
every figure measured on it: mend the generator, not the checksum.
"""

import hashlib
import json
import os
import pathlib

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score

from data_pipelines import manifest as manifests
from data_pipelines.generated import planted_groups
from data_pipelines.generated.streams import sigmoid
from data_pipelines.preprocess import PreprocessOptions, preprocess
from data_pipelines.reader import READERS
from irazor_tf.config.schema import Schema

# header and the first thousand rows
FIRST_ROWS_SHA256 = "a8ed334d925c26b5769b0d1b800593b2df40051b4f20a8ea62d5b4f1872605b4"
TRAIN = 0.8


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("planted_groups") / "log.tsv")
    planted_groups.generate(path)
    return path


@pytest.fixture(scope="module")
def truth(path):
    with open(os.path.join(os.path.dirname(path), "truth.json"), encoding="utf-8") as file:
        return json.load(file)


@pytest.fixture(scope="module")
def log(path):
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def labels(log):
    return log["label"].to_numpy().astype(np.int64)


@pytest.fixture(scope="module")
def columns(log):
    """Fields as the generator numbers them."""
    return {name: log[name].str[1:].astype(np.int64).to_numpy() for name in planted_groups.FIELDS}


@pytest.fixture(scope="module")
def group(truth, log):
    return log["user"].map(truth["group_of_user"]).to_numpy()


@pytest.fixture(scope="module")
def logits(columns):
    return planted_groups.World.draw(planted_groups.SEED).logits(columns)


def logistic_auc(columns, labels, strengths=(0.003, 0.01, 0.03)):
    """Test AUC of a logistic regression on one-hot columns, the best of a few L2 strengths by the
    test rows themselves."""
    rows, cut = np.arange(len(labels)), int(TRAIN * len(labels))
    features = sparse.hstack(
        [sparse.csr_matrix((np.ones(len(rows)), (rows, values))) for values in columns]
    ).tocsr()
    fitted = (
        LogisticRegression(C=c, max_iter=300).fit(features[:cut], labels[:cut]) for c in strengths
    )
    return max(
        roc_auc_score(labels[cut:], model.decision_function(features[cut:])) for model in fitted
    )


@pytest.fixture(scope="module")
def plain_auc(columns, labels):
    return logistic_auc(columns.values(), labels)


@pytest.fixture(scope="module")
def crossed_auc(columns, group, labels):
    """Every field crossed with the true group."""
    return logistic_auc([2 * values + group for values in columns.values()], labels)


def test_first_thousand_rows_are_pinned(path):
    with open(path, "rb") as file:
        text = b"".join(file.readline() for _ in range(1001))
    assert hashlib.sha256(text).hexdigest() == FIRST_ROWS_SHA256


def test_truth_describes_the_log(path, truth, log, labels, group):
    assert (truth["rows"], truth["seed"]) == (len(log), planted_groups.SEED) == (100_000, 7)
    assert tuple(log.columns) == ("label", *planted_groups.FIELDS)
    with open(path, "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == truth["sha256"]
    assert truth["positive_rate"] == pytest.approx(labels.mean(), abs=1e-12)
    assert list(truth["parts"]) == list(planted_groups.FIELDS) and set(truth["parts"].values()) == {
        "a",
        "b",
        "shared",
        "noise",
    }
    assert set(truth["group_of_user"]) == set(log["user"]) and len(truth["group_of_user"]) == 400
    assert truth["rows_of_group"] == np.bincount(group).tolist()


def test_ceiling_is_the_auc_of_the_true_logit(truth, labels, logits):
    assert truth["ceiling_auc"] == pytest.approx(roc_auc_score(labels, logits), abs=1e-9)
    assert 0.83 < truth["ceiling_auc"] < 0.86
    # A true logit is calibrated: clicks come out as often as it says.
    assert sigmoid(logits).mean() == pytest.approx(labels.mean(), abs=0.005)
    assert labels.mean() == pytest.approx(0.3, abs=0.01)


def test_a_field_of_the_other_group_does_not_move_the_logit(truth, columns, logits, group):
    world = planted_groups.World.draw(planted_groups.SEED)
    matters_to = {
        "a": [True, False],
        "b": [False, True],
        "shared": [True, True],
        "noise": [False, False],
    }
    for name, part in truth["parts"].items():
        if name == "user":
            continue
        moved = (
            world.logits(columns | {name: (columns[name] + 1) % planted_groups.SIZES[name]})
            != logits
        )
        assert [moved[group == k].mean() > 0.99 for k in (0, 1)] == matters_to[part], name
        assert [moved[group == k].any() for k in (0, 1)] == matters_to[part], name


def test_groups_are_balanced_and_click_as_often(labels, group):
    assert 0.4 < group.mean() < 0.6
    assert labels[group == 0].mean() == pytest.approx(labels[group == 1].mean(), abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_balanced_for_any_seed(seed):
    columns, _, _ = next(planted_groups.chunks(20_000, seed))
    group = planted_groups.World.draw(seed).group
    assert np.bincount(group).tolist() == [200, 200]
    assert 0.4 < group[columns["user"]].mean() < 0.6


def test_only_the_user_tells_of_the_group(columns, group):
    chance = np.random.default_rng(0).permutation(
        group
    )  # what the finite log alone gives a field of so many values
    for name, values in columns.items():
        told = mutual_info_score(group, values) - mutual_info_score(chance, values)
        if name == "user":
            assert told > 0.6  # of log 2
        else:
            assert abs(told) < 0.002, name


def test_logistic_regression_stays_far_below_the_ceiling(truth, plain_auc):
    assert 0.6 < plain_auc < truth["ceiling_auc"] - 0.05


def test_the_group_decides(truth, plain_auc, crossed_auc):
    assert crossed_auc > plain_auc + 0.05
    assert (
        crossed_auc < truth["ceiling_auc"] - 0.03
    )  # user and item meet in a product, which the group alone does not give


def test_a_longer_log_begins_as_a_shorter_one(tmp_path, path):
    planted_groups.generate(str(tmp_path / "short.tsv"), rows=66_000)  # beyond one chunk
    short = (tmp_path / "short.tsv").read_bytes()
    with open(path, "rb") as file:
        assert file.read(len(short)) == short and short.count(b"\n") == 66_001


def test_same_seed_same_bytes_other_seed_other_rows(tmp_path):
    truths = [
        planted_groups.generate(str(tmp_path / str(i) / "p.tsv"), rows=100, seed=seed)
        for i, seed in enumerate((3, 3, 4))
    ]
    assert truths[0] == truths[1]
    assert (
        truths[0]["sha256"] != truths[2]["sha256"]
        and truths[0]["group_of_user"] != truths[2]["group_of_user"]
    )
    assert sorted(os.listdir(tmp_path / "0")) == ["p.tsv", "truth.json"]


@pytest.mark.parametrize("arguments", [{"rows": 0}, {"seed": -1}])
def test_arguments_out_of_range_are_refused(tmp_path, arguments):
    (name, value), should = next(iter(arguments.items())), r"`{}` should .* Received: {}"
    with pytest.raises(ValueError, match=should.format(name, value)):
        planted_groups.generate(str(tmp_path / "p.tsv"), **arguments)
    with pytest.raises(ValueError, match=should.format(name, value)):
        READERS.build(f"planted_groups({name}={value})")


def test_reader_through_preprocessing(tmp_path):
    folder = tmp_path / "data"
    schema = preprocess(
        PreprocessOptions(reader="planted_groups(rows=4000, seed=5)", min_count=1),
        str(folder),
        progress=False,
    )
    assert schema.names == planted_groups.FIELDS and Schema.load(str(folder)) == schema
    manifest = manifests.verify(str(folder), full=True)
    truth = json.loads((folder / "log" / "truth.json").read_text())
    splits = manifest["splits"].values()
    assert sum(split["rows"] for split in splits) == truth["rows"] == 4000
    assert sum(split["positives"] for split in splits) == round(4000 * truth["positive_rate"])
    assert set(pathlib.Path(schema.vocabulary_file("user")).read_text().split()) <= set(
        truth["group_of_user"]
    )
    assert (schema.field("user").role, schema.field("a_item").role, schema.field("a_1").role) == (
        "user",
        "item",
        "context",
    )
    assert schema.field("a_1").vocabulary_size == 31  # and one id for what training never saw


def test_reader_makes_a_log_again_that_is_cut_off_or_another(tmp_path):
    reader = READERS.build("planted_groups(rows=300)")
    (path,) = reader.prepare(str(tmp_path))
    whole, written = pathlib.Path(path).read_bytes(), os.stat(path).st_mtime_ns
    assert reader.prepare(str(tmp_path)) == (path,) and os.stat(path).st_mtime_ns == written
    pathlib.Path(path).write_bytes(whole[:1000])
    reader.prepare(str(tmp_path))
    assert pathlib.Path(path).read_bytes() == whole
    (other,) = READERS.build("planted_groups(rows=301)").prepare(str(tmp_path))
    assert pathlib.Path(other).read_bytes().count(b"\n") == 302


def test_reader_refuses_another_file_by_its_header(tmp_path):
    path = tmp_path / "other.tsv"
    path.write_text("label\tuser\n0\tu1\n")
    with pytest.raises(ValueError, match=r"header should be label user a_1 .*other.tsv, line 1"):
        list(READERS.build("planted_groups").chunks([str(path)]))
