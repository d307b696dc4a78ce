"""The planted log is what it says, and is as hard as it claims to be.

The log is fixed before any method is tuned on it. If a checksum here fails, the instrument has
changed and so has the meaning of
every figure measured on it: mend the generator, not the checksum.
"""

import hashlib
import json
import os

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import entr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from data_pipelines.generated import planted
from data_pipelines.generated.log import ceilings
from data_pipelines.generated.streams import sigmoid
from data_pipelines.reader import READERS
from irazor_tf.config.encoding import numeric_codes

# header and the first thousand rows
FIRST_ROWS_SHA256 = "da14d86fe0cb0d4e2d80510edde74020555d2ba67038b62be5a63cbf4ccf5947"
TRAIN = 0.8


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("planted") / "planted.tsv")
    planted.generate(path)
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
    """Fields as the generator numbers them: values by number, numbers as float64 with nan for a
    missing one."""
    numbers = {
        name: log[name].str[1:].astype(np.int64).to_numpy()
        for name in planted.FIELDS
        if name not in planted.NUMERIC
    }
    return numbers | {
        name: pd.to_numeric(log[name]).to_numpy(np.float64) for name in planted.NUMERIC
    }


@pytest.fixture(scope="module")
def codes(columns):
    """Fields as a model gets them: 0 .. V - 1, numeric ones through the transform, missing a value
    of its own."""
    result = {}
    for name, column in columns.items():
        if name in planted.NUMERIC:
            column = np.where(np.isnan(column), 10**6, numeric_codes(column, "log_square"))
        result[name] = np.unique(column, return_inverse=True)[1]
    return result


@pytest.fixture(scope="module")
def logistic_auc(codes, labels):
    """Test AUC of a logistic regression on one-hot fields; a value that no training row has is left
    out of its row."""
    cut, blocks = int(TRAIN * len(labels)), []
    for values in codes.values():
        size = values.max() + 1
        rows = np.flatnonzero((np.bincount(values[:cut], minlength=size) > 0)[values])
        blocks.append(
            sparse.csr_matrix((np.ones(len(rows)), (rows, values[rows])), shape=(len(values), size))
        )
    features = sparse.hstack(blocks).tocsr()
    # The best of a few L2 strengths by the test rows themselves: the comparison favours the
    # regression.
    fitted = (
        LogisticRegression(C=c, max_iter=300).fit(features[:cut], labels[:cut])
        for c in (0.003, 0.01, 0.03)
    )
    return max(
        roc_auc_score(labels[cut:], model.decision_function(features[cut:])) for model in fitted
    )


@pytest.fixture(scope="module")
def information(codes, labels):
    """Plug-in mutual information of each field with the label on the training rows, nats."""
    cut = int(TRAIN * len(labels))
    rate, result = labels[:cut].mean(), {}
    for name, values in codes.items():
        rows = np.bincount(values[:cut])
        clicks = np.bincount(values[:cut], weights=labels[:cut])[rows > 0]
        rows = rows[rows > 0]
        within = entr(clicks / rows) + entr(1 - clicks / rows)
        result[name] = float(entr(rate) + entr(1 - rate) - (rows * within).sum() / cut)
    return result


def test_first_thousand_rows_are_pinned(path):
    with open(path, "rb") as file:
        text = b"".join(file.readline() for _ in range(1001))
    assert hashlib.sha256(text).hexdigest() == FIRST_ROWS_SHA256


def test_truth_describes_the_log(path, truth, log, labels):
    assert (truth["rows"], truth["seed"]) == (len(log), planted.SEED) == (200_000, 7)
    assert list(log.columns) == ["label", *planted.FIELDS]
    with open(path, "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == truth["sha256"]
    assert truth["positive_rate"] == pytest.approx(labels.mean(), abs=1e-12)
    groups = [*truth["strong"], *truth["weak"], *truth["redundant"], *truth["noise"]]
    assert sorted(groups) == sorted(planted.FIELDS)
    assert truth["values_in_log"] == {name: log[name].nunique() for name in truth["values_in_log"]}


def test_ceiling_is_the_auc_of_the_true_logit(truth, columns, labels):
    logits = planted.World.draw(planted.SEED).logits(columns)
    assert truth["ceiling_auc"] == pytest.approx(roc_auc_score(labels, logits), abs=1e-9)
    assert 0.80 < truth["ceiling_auc"] < 0.85
    # A true logit is calibrated: clicks come out as often as it says.
    assert sigmoid(logits).mean() == pytest.approx(labels.mean(), abs=0.004)


def test_positive_rate_is_about_a_quarter(labels):
    assert labels.mean() == pytest.approx(0.25, abs=0.01)


def test_fields_have_the_sizes_asked_for(log):
    values = log.nunique()
    for name in (
        "user",
        "item",
        "hour",
        "pair_a",
        "pair_b",
        "item_copy",
        "category",
        "weak_1",
        "weak_2",
        "noise_low",
    ):
        assert values[name] == planted.SIZES[name], name
    assert (
        10_000 < values["noise_high"] <= 20_000
    )  # the tail of the Zipf law is not all seen in 200,000 rows
    assert values["noise_id"] == pytest.approx(len(log) / 2, rel=0.02)


def test_users_follow_the_zipf_law(columns):
    counts = np.bincount(columns["user"], minlength=2000)
    weights = np.arange(1, 2001) ** -1.1
    assert counts[:20] / len(columns["user"]) == pytest.approx(
        weights[:20] / weights.sum(), rel=0.08
    )


def test_a_tenth_of_the_prices_is_missing(log, columns):
    assert (log["price"] == "").mean() == pytest.approx(0.1, abs=0.005)
    assert all((log[name] != "").all() for name in planted.FIELDS if name != "price")
    price = columns["price"][~np.isnan(columns["price"])]
    assert price.min() > 0
    assert np.log(price).mean() == pytest.approx(2.0, abs=0.02)


def test_item_copy_renames_the_item_and_category_follows_from_it(log):
    pairs = log[["item", "item_copy"]].drop_duplicates()
    assert len(pairs) == pairs["item"].nunique() == pairs["item_copy"].nunique() == 1000
    assert (pairs["item"].str[1:] != pairs["item_copy"].str[1:]).mean() > 0.9
    assert log.groupby("item")["category"].nunique().max() == 1


def test_pair_says_nothing_alone_and_much_together(truth, log, labels):
    signs = np.array(truth["pair_signs"])
    assert not signs.sum(0).any() and not signs.sum(1).any() and (abs(signs) == 1).all()
    for name in ("pair_a", "pair_b"):
        assert np.ptp(pd.Series(labels).groupby(log[name].to_numpy()).mean()) < 0.015
    together = (
        pd.Series(labels)
        .groupby([log["pair_a"].to_numpy(), log["pair_b"].to_numpy()])
        .mean()
        .to_numpy()
    )
    assert together[signs.ravel() > 0].min() > together[signs.ravel() < 0].max() + 0.1


def test_price_survives_its_transform(truth, columns, labels):
    """The best that the codes of the price can do, a mean effect per code, costs next to nothing of
    the ceiling."""
    logits = planted.World.draw(planted.SEED).logits(columns)
    effect = np.nan_to_num(0.5 * (np.log(columns["price"]) - 2.0))
    known = ~np.isnan(columns["price"])
    values = np.unique(numeric_codes(columns["price"], "log_square"), return_inverse=True)[1]
    means = np.bincount(values[known], effect[known]) / np.maximum(np.bincount(values[known]), 1)
    coarse = logits - effect + np.where(known, means[values], 0.0)
    assert len(means) > 20
    assert truth["ceiling_auc"] - roc_auc_score(labels, coarse) < 0.001


def test_noise_is_noise(columns):
    """No noise field goes along with the true logit beyond chance."""
    logits = planted.World.draw(planted.SEED).logits(columns)
    groups = (
        columns["noise_low"],
        np.minimum(columns["noise_high"], 20),
        columns["noise_id"] % 10,
        np.floor(columns["noise_number"] / 50),
    )
    for values in groups:
        inverse = np.unique(values, return_inverse=True)[1]
        counts = np.bincount(inverse)
        means = np.bincount(inverse, logits) / counts
        chance = logits.std() / np.sqrt(counts)
        assert (abs(means - logits.mean()) < 5 * chance).all()


def test_logistic_regression_stays_far_below_the_ceiling(truth, logistic_auc):
    assert 0.6 < logistic_auc < truth["ceiling_auc"] - 0.05


def test_single_field_information_misses_the_pair(information):
    assert max(information["pair_a"], information["pair_b"]) < max(
        information[name] for name in planted.NOISE
    )
    # Nor is it the large noise fields alone that hide it: other fields that matter stand clear of
    # both.
    others = [information[name] for name in planted.STRONG if not name.startswith("pair")]
    assert 20 * max(information["pair_a"], information["pair_b"]) < min(others)


def test_single_field_information_is_fooled_by_large_noise(information):
    for name in ("noise_high", "noise_id"):
        assert information[name] > max(information[strong] for strong in planted.STRONG)


def test_a_short_log_is_the_start_of_a_long_one_but_for_noise_id(tmp_path, log):
    planted.generate(str(tmp_path / "short.tsv"), rows=1500)
    short = pd.read_csv(tmp_path / "short.tsv", sep="\t", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(
        short.drop(columns="noise_id"), log.head(1500).drop(columns="noise_id")
    )
    assert short["noise_id"].nunique() == pytest.approx(750, rel=0.1)


def test_same_seed_same_bytes_other_seed_other_rows(tmp_path):
    truths = [
        planted.generate(str(tmp_path / str(i) / "p.tsv"), rows=100, seed=seed)
        for i, seed in enumerate((3, 3, 4))
    ]
    assert truths[0] == truths[1]
    assert truths[0]["sha256"] != truths[2]["sha256"]
    assert sorted(os.listdir(tmp_path / "0")) == ["p.tsv", "truth.json"]


@pytest.mark.parametrize("arguments", [{"rows": 0}, {"seed": -1}])
def test_arguments_out_of_range_are_refused(tmp_path, arguments):
    with pytest.raises(
        ValueError,
        match=f"`{next(iter(arguments))}` should .* Received: {next(iter(arguments.values()))}",
    ):
        planted.generate(str(tmp_path / "p.tsv"), **arguments)


def test_auc_counts_ties_half():
    scores = ceilings(np.array([0, 1, 0, 1]), np.array([1.0, 1.0, 0.0, 2.0]))
    assert scores["ceiling_auc"] == pytest.approx(0.875)


def test_reader_generates_once_and_reads_what_was_written(tmp_path):
    reader = READERS.build("planted(rows=3000, seed=5)")
    paths = reader.prepare(str(tmp_path))
    written = os.stat(paths[0]).st_mtime_ns
    assert reader.prepare(str(tmp_path)) == paths and os.stat(paths[0]).st_mtime_ns == written
    reader.inspect(paths)
    assert tuple(field.name for field in reader.fields()) == planted.FIELDS
    text = pd.read_csv(paths[0], sep="\t", dtype=str, keep_default_na=False)
    chunks = list(reader.chunks(paths))
    assert chunks[0].first_line == 2
    assert (
        np.concatenate([chunk.label for chunk in chunks]).tolist()
        == text["label"].astype(float).tolist()
    )
    for field in reader.fields():
        values = [value for chunk in chunks for value in chunk.columns[field.name].to_pylist()]
        if field.kind == "numeric":
            got = np.array([np.nan if value is None else value for value in values])
            np.testing.assert_array_equal(got, pd.to_numeric(text[field.name]).to_numpy())
        else:
            assert values == text[field.name].tolist()


def test_reader_makes_a_log_again_that_is_cut_off_or_another(tmp_path):
    reader = READERS.build("planted(rows=300)")
    (path,) = reader.prepare(str(tmp_path))
    with open(path, "rb") as file:
        whole = file.read()
    with open(path, "wb") as file:
        file.write(whole[:1000])
    reader.prepare(str(tmp_path))
    with open(path, "rb") as file:
        assert file.read() == whole
    (other,) = READERS.build("planted(rows=301)").prepare(str(tmp_path))
    with open(other, "rb") as file:
        assert file.read().count(b"\n") == 302


def test_reader_refuses_another_file_by_its_header(tmp_path):
    path = tmp_path / "other.tsv"
    path.write_text("label\tuser\n0\tu1\n")
    with pytest.raises(ValueError, match=r"header should be label user .*other.tsv, line 1"):
        list(READERS.build("planted").chunks([str(path)]))
