"""The report's sections: numbers, figures and words of each."""

import json
import re
import warnings

import numpy as np
import pytest

from irazor_tf.report.figures import curves, pictures
from irazor_tf.report.figures.style import house_style, svg
from irazor_tf.report.search_record import FieldArray
from irazor_tf.report.sections import learned
from irazor_tf.search.pictures import Bars, HeatMap, Picture, save_pictures
from tests.jobs.made_jobs import (
    SECTIONS,
    Page,
    make_job,
    make_schema,
    result,
    save,
    sections,
    write_report,
)


def test_pictures_of_many_rows_are_paged_on_one_scale(tmp_path):
    """None is left out, and the pages can be compared."""
    make_job(tmp_path, make_schema())
    names = tuple(f"f{i}" for i in range(130))
    mask = HeatMap("Masks", np.arange(260.0).reshape(130, 2), names, ("x", "y"), "mask")
    many: list[Picture] = [mask, Bars("Sizes", names, np.arange(130.0), "rows")]
    save_pictures(many, str(tmp_path / "search" / "finder-0123456789" / "pictures.json"))
    text = Page(write_report(tmp_path, make_schema())).text
    for title in ("Masks", "Sizes"):
        for span in ("1 to 60 of 130", "61 to 120 of 130", "121 to 130 of 130"):
            assert re.search(rf"{title} \(.*\): {span}\.", text)
    assert all(text.count(f"\n{name}\n") >= 2 for name in names)
    with house_style():
        pages = [pictures.draw_rows(many[1], rows) for rows in (range(60), range(120, 130))]
    assert pages[0].axes[0].get_xlim() == pages[1].axes[0].get_xlim() == (0.0, 1.05 * 129)


@pytest.mark.parametrize("size", [1, 6288, 7991, 8000, 13238])
def test_a_curve_of_one_size_has_limits(size):
    with house_style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = curves.quality_curve(
            [curves.Series("a", [size], [0.7], [""], 0, (size, 0.7))], "AUC"
        )
        svg(drawn, "curve", "a curve")
    assert drawn.axes[0].get_xlim()[0] < size < drawn.axes[0].get_xlim()[1]


def test_a_budget_stands_beside_the_method(tmp_path):
    schema = make_schema()
    make_job(tmp_path, schema, curve=False)
    points = json.loads((tmp_path / "curve.json").read_text())
    save(tmp_path / "curve.json", [points[0] | {"budget": 54321}, *points[1:]])
    job = json.loads((tmp_path / "job.json").read_text())
    job["chosen"]["budget"] = 54321
    save(tmp_path / "job.json", job)
    text = Page(write_report(tmp_path, schema)).text
    assert "searched with a budget of 54,321 embedding parameters" in text
    assert text.count("finder(cut=0.4), the widest config of at most 54,321 parameters") == 1


def test_numbers(made_report):
    schema, parts = make_schema(), sections(made_report)
    params = int(schema.vocabulary_sizes @ [0, 1, 2, 3, 4, 0])
    whole = 4 * schema.num_features
    for text in (
        "0.7000",
        f"{params:,}",
        f"{params / whole:.1%}",
        "1.25",
        "export/1700000000",
        f"of {whole:,} at full width",
    ):
        assert text in parts["headline"], text
    assert (
        "4 of 6 fields are kept. Removed: field_5, field_0." in parts["dimensions"]
        and "field_1 (shadow)" in parts["dimensions"]
    )
    assert (
        "1,234,567" in parts["models"]
        and parts["models"].count("<tr") == 7
        and ">17<" in parts["models"]
    )
    assert (
        "12,345" in parts["settings"]
        and "train.batch_size" in parts["settings"]
        and "f1f2f3" in parts["settings"]
    )


def test_arrays_are_named_and_those_of_another_shape_left_out(made_report):
    part = sections(made_report)["arrays"]
    assert [
        name in part
        for name in (
            "weights: finder",
            "signed: finder",
            "single: finder",
            "blocks",
            "weights_sizes",
        )
    ] == [True] * 3 + [False] * 2
    assert "2 (3)" in part  # the third region has three columns
    assert "a dot marks what its config keeps" in part


def test_series_come_from_the_specs(made_report):
    part = sections(made_report)["quality"]
    for text in (">finder<", ">other<", "found: finder", "cut=0.2"):
        assert text in part, text


def test_traces_are_drawn(made_report):
    assert "Gate entropy" in sections(made_report)["learning"]


def test_calibration_as_trained_and_calibrated(made_report, tmp_path):
    part = sections(made_report)["calibration"]
    for text in (
        "of whose 12,340 rows 0.2000 are positive",
        "sigmoid(0.625 logit(p) - 0.5)",
        "its log loss goes from 0.5000 to 0.4321",
    ):
        assert text in part, text
    assert "The export serves predictions as trained" in part and part.count("<table") == 2
    assert part.count("<tr") == 11 + 3, (
        "a header and a row per bin, a header and a row per compared model"
    )
    assert "as often as predicted" in part and "0.3000" in part and "0.0100" in part
    assert "Calibrated log loss" in sections(made_report)["headline"]
    make_job(tmp_path, make_schema())
    save(
        tmp_path / "export.json",
        {"key": "m0", "version": "2", "correction": {"slope": 0.625, "intercept": -0.5}},
    )
    save(tmp_path / "models" / "m0" / "correction.json", {"notices": ["an intercept alone"]})
    part = sections(write_report(tmp_path, make_schema()))["calibration"]
    assert "The export serves calibrated predictions." in part and "an intercept alone" in part


def test_costs_and_notices(made_report):
    parts = sections(made_report)
    assert "two clusters became one" in parts["headline"]
    row = parts["costs"][parts["costs"].index("finder") :]
    assert all(
        text in row for text in ("4,321", "2,109", "988", "876", "1 steps, 0.25 s", "1.50", "4.125")
    )
    assert "nothing to set the search against" not in parts["costs"]


def baseline(name, auc, better_on):
    """A baseline's record, as `summary.json` and `curve.json` hold it."""
    figures = {
        "auc": auc,
        "log_loss": 0.6,
        "valid_auc": auc + 0.01,
        "valid_log_loss": 0.61,
        "train_seconds": 7.25,
        "test_seconds": 0.5,
    }
    words = {
        "seed": 17,
        "rows": 1000,
        "train_rows": 4000,
        "settings": {"C": 0.1},
        "better_on": better_on,
    }
    return {"name": name, "role": "baseline"} | figures | words


@pytest.mark.parametrize("gone", ["nothing", "curve.json"])
def test_baselines_have_rows_and_the_better_ones_the_first_line(gone, tmp_path, made_report):
    schema = make_schema()
    make_job(tmp_path, schema)
    for name in ("summary.json", "curve.json"):
        records = [baseline("worse", 0.6, []), baseline("better", 0.9, ["auc"])]
        save(tmp_path / name, [*json.loads((tmp_path / name).read_text()), *records])
    (tmp_path / gone).unlink(missing_ok=True)
    text = write_report(tmp_path, schema)
    parts = sections(text)
    assert list(parts) == SECTIONS
    head = Page(text[text.index("</h1>") + 5 : text.index("<nav>")]).text.strip().split("\n")
    assert head[0] == (
        "The baseline better (learned from 1,000 of 4,000 training rows) is better than the found "
        "model, finder, in AUC (0.9100 against "
        "0.7100 on the validation rows, 0.9000 against 0.7000 on the test rows)."
    )
    assert "6 fields with" in "".join(head[1:]) and "is better" not in made_report
    assert (
        "+0.1000 against worse, -0.2000 against better." in parts["headline"]
        and "worse C 0.1 (learned from 1,000" in parts["headline"]
    )
    for part, count in (("headline", 4), ("models", 5 if gone == "curve.json" else 9)):
        assert parts[part].count("<tr") == count + (part == "headline")
        assert all(
            re.search(rf">{name}</td>.*>0.{value}000<.*>7.2<.*</tr>", parts[part])
            for name, value in (("worse", 6), ("better", 9))
        )
    assert "worse 0.6100, better 0.9100" in parts["quality"]
    assert "worse" not in parts["costs"] + parts["learning"]


def test_clusters(tmp_path):
    schema = make_schema()
    value = result(schema, [1, 2, 3, 0, 1, 0], "finder()")
    value["clusters"].append(result(schema, [4, 2, 0, 0, 1, 1], "finder()")["clusters"][0])
    value["router"] = {"name": "finder", "settings": {}, "weights": None}
    save(tmp_path / "search" / "result.json", value)
    part = sections(write_report(tmp_path, schema))["dimensions"]
    assert (
        "2 clusters" in part
        and "dimension, cluster 1" in part
        and "1 | 4" in part
        and "Removed: field_3." in part
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [[0.26, 0.24, 0.25, 0.25], [0.25, 0.25, 0.24, 0.26]],
            "its rows have 100.0% of the entropy of uniform weights",
        ),
        (
            [[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.24, 0.26]],
            "its rows have 100.0% of the entropy",
        ),  # a field with two regions
        ([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.24, 0.26]], ""),
        ([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]], ""),
        ([[3.0, 2.96], [2.99, 3.0]], "its values differ by 1.3% of the largest"),
        ([[-3.0, -3.0], [-3.0, -3.0]], "all its values are equal"),
        ([[0.0, 0.0]], "all its values are equal"),
        ([[3.0, 2.0], [2.99, 3.0]], ""),
        ([[3.0]], ""),
        ([[1.0, float("nan")]], ""),
    ],
)
def test_a_flat_map_is_called_flat(rows, words):
    array = FieldArray("alpha", tuple("abcd"[: len(rows)]), np.array(rows), None, None)
    text = learned.flatness(array)
    assert words in text and ("This map is flat" in text) == bool(words)
