"""Raw values become the ids of preprocessing inside the served graph."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines import vocabulary
from data_pipelines.preprocess import PreprocessOptions, preprocess
from irazor_tf.config.encoding import log_square_boundaries, numeric_codes
from irazor_tf.config.schema import MISSING, MISSING_INT, Schema
from irazor_tf.serving.encoders import FieldEncoder, graph_codes
from irazor_tf.training.source import Source


def _cleaned(tmp_path: pathlib.Path) -> tuple[Schema, list[tuple[str, str, str]]]:
    """A log with spaces and missing marks in columns of texts, whole
    numbers and numbers; its rows."""
    layout = """
        strip: true
        missing: ["?", "NA", "-1", "-999"]
        columns: [{name: label, kind: label}, {name: work}, {name: days, dtype: int64}, {name: price, kind: numeric, transform: floor}]
    """  # noqa: E501
    (tmp_path / "log.yaml").write_text(layout, encoding="utf-8")
    texts = [
        "clerk",
        " clerk",
        "clerk ",
        "\u3000clerk\u2003",
        "?",
        " ? ",
        "NA",
        "",
        "  ",
        "N A",
        "clerk ?",
        "-1",
    ]
    days = ["5", " 5", "-1", "?", "+5", "-01", "", "7", "-999", "-2", "0", "1"]
    price = ["2.5", "-999", "-999.0", "-1e0", "NA", "", "-998", "0", "-1.5", " 2.5", "7", "3"]
    rows = list(zip(texts, days, price, strict=True))
    (tmp_path / "log.csv").write_text(
        "".join(f"{k % 2},{','.join(row)}\n" for k, row in enumerate(rows)), encoding="utf-8"
    )
    form, log = str(tmp_path / "log.yaml"), (str(tmp_path / "log.csv"),)
    options = PreprocessOptions(
        "table", log, log, log, form, min_count=1, fractions=(1.0, 0.0, 0.0), block_rows=len(rows)
    )
    return preprocess(options, str(tmp_path / "data")), rows


def test_values_are_cleaned_as_those_of_the_log(tmp_path: pathlib.Path) -> None:
    schema, rows = _cleaned(tmp_path)

    def number(text: str, missing: float) -> float:
        return missing if text.strip() in ("", "?", "NA") else float(text)

    raw = {
        "work": tf.constant([row[0] for row in rows]),
        "days": tf.constant([int(number(row[1], MISSING_INT)) for row in rows], tf.int64),
        "price": tf.constant([number(row[2], math.nan) for row in rows], tf.float64),
    }
    expected = {
        "work": ["clerk"] * 4 + [MISSING] * 5 + ["N A", "clerk ?", MISSING],
        "days": ["5", "5", MISSING, MISSING, "5", MISSING, MISSING, "7", MISSING, "-2", "0", "1"],
        "price": [
            "2",
            MISSING,
            MISSING,
            MISSING,
            MISSING,
            MISSING,
            "-998",
            "0",
            "-2",
            "2",
            "7",
            "3",
        ],
    }
    served = {}
    for name, values in raw.items():
        tokens = vocabulary.Vocabulary.load(schema.vocabulary_file(name)).tokens.to_pylist()
        served[name] = FieldEncoder(schema, name)(values).numpy()
        assert [tokens[k - 1] for k in served[name]] == expected[name], name
        assert len(FieldEncoder(schema, name)(values[:0]).numpy()) == 0
    # The records hold the same rows, shuffled.
    (stored,) = [
        batch["ids"].numpy().tolist()
        for batch in Source(str(tmp_path / "data"), "train").ordered(len(rows))
    ]
    assert sorted(stored) == sorted(
        np.stack([served[name] for name in schema.names], axis=1).tolist()
    )


@pytest.mark.parametrize("transform", ["floor", "log_square"])
def test_codes_in_the_graph_are_those_of_preprocessing(transform: str) -> None:
    rng = np.random.default_rng(1)
    edges = np.concatenate(
        [
            log_square_boundaries(),
            np.arange(-5.0, 6.0),
            [2.0**52, 2.0**53, 2.0**62, 2.0**63, 1e300, 1.0, 0.0],
        ]
    )
    values = np.concatenate(
        [
            edges,
            np.nextafter(edges, np.inf),
            np.nextafter(edges, -np.inf),
            np.exp(rng.normal(0, 20, 5000)),
        ]
    )
    smallest = np.finfo(np.float64).tiny  # below it numbers are denormal
    values = np.concatenate(
        [
            values,
            rng.normal(0, 3, 5000),
            [smallest, np.nextafter(smallest, 0), 5e-324, np.inf, np.nan],
        ]
    )
    values = np.concatenate([values, -values])
    codes = tf.function(graph_codes)(tf.constant(values), transform).numpy()
    np.testing.assert_array_equal(codes, numeric_codes(values, transform))
    assert tf.strings.as_string(codes).numpy().tolist() == [str(code).encode() for code in codes]
