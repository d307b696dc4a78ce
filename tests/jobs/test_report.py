"""The report of a job folder made by hand: what is in it, what it says where something is missing,
and that it needs nothing else."""

import html.parser
import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

from irazor_tf.config.files import write_json
from irazor_tf.config.schema import Field, Schema
from irazor_tf.report import page, report
from irazor_tf.report.figures import curves, pictures
from irazor_tf.report.figures.style import house_style, svg
from irazor_tf.report.search_record import FieldArray
from irazor_tf.report.sections import learned
from irazor_tf.search.pictures import Bars, HeatMap, Histogram, Lines, Picture, save_pictures

NASTY = "<script>alert('x')</script> & \"$quoted$\" http://example.com/x.png"
SECTIONS = [
    "headline",
    "dimensions",
    "arrays",
    "pictures",
    "quality",
    "calibration",
    "costs",
    "learning",
    "models",
    "settings",
]


def make_schema(count=6):
    fields = [
        Field(
            f"field_{i}", vocabulary_size=10 ** (i % 4 + 1), role="shadow" if i == 1 else "context"
        )
        for i in range(count)
    ]
    return Schema(tuple(fields), fingerprint="f1f2f3")


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def result(schema, dims, method):
    cluster = {
        "version": 1,
        "fields": {name: {"dim": dim} for name, dim in zip(schema.names, dims, strict=True)},
        "pairs": None,
    }
    return {
        "version": 1,
        "method": method,
        "init": "fresh",
        "seconds": 3.0,
        "router": None,
        "clusters": [cluster],
    }


def measured(off, bins=0):
    """A calibration that predicts `off` too much, with so many bins."""
    found = {"rows": 12340, "mean_prediction": 0.2 + off, "rate": 0.2, "calibration_error": off}
    own = [{"rows": 1234, "mean_prediction": 0.04 * k + off, "rate": 0.04 * k} for k in range(bins)]
    return found | ({"bins": own} if bins else {})


# What only some searches tell.
MORE = {
    "search_steps": 4321,
    "search_peak_mib": 987.6,
    "train_peak_mib": 876.5,
    "train_steps": 2109,
    "pretraining_seconds": 1.5,
    "search_proper": {"steps": 1, "seconds": 0.25},
    "table_mib": {"dense": 8.0, "coo": 6.0, "csr": 4.125},
    "notices": ["two clusters became one"],
}


def make_job(folder, schema, curve=True, control=NASTY, width=4):
    """A job with a method `finder`, one control and, with `curve`, two more points of each."""
    rng = np.random.default_rng(0)
    sizes = schema.vocabulary_sizes
    train = {"metric": "auc", "batch_size": 12345}
    chosen = {"method": "finder(cut=0.4)", "budget": None, "controls": [control], "curve": curve}
    save(
        folder / "job.json",
        {
            "settings": {
                "width": width,
                "model": "tower(hidden=(8,))",
                "train": train,
                "data": None,
            },
            "chosen": chosen,
        },
    )
    found = [i % (width + 1) for i in range(len(sizes))]
    listed = [
        ("found", "finder", "finder(cut=0.4)", found),
        ("control", control, "other()", [width] * len(sizes)),
    ]
    if curve:
        listed += [
            ("curve", f"finder cut={cut}", f"finder(cut={cut})", [min(dim, 2) for dim in found])
            for cut in (0.4, 0.2)
        ]
        listed += [
            ("curve", f"{control} at cut={cut}", "other()", [1] * len(sizes)) for cut in (0.2, 0.6)
        ]
    points, entries = [], []
    for i, (role, name, method, dims) in enumerate(listed):
        history = [
            {"epoch": e + 1, "loss": 0.5 - 0.1 * e, "auc": 0.7 + 0.01 * e, "log_loss": 0.4}
            for e in range(3)
        ]
        state = {
            "version": 1,
            "step": 9,
            "last": "step-9",
            "best": {"value": 0.72, "epoch": 3},
            "done": True,
            "history": history,
        }
        save(folder / "models" / f"m{i}" / "model" / "state.json", state)
        save(folder / "models" / f"m{i}" / "result.json", result(schema, dims, method))
        entries.append(
            {
                "role": role,
                "name": name,
                "key": f"m{i}",
                "search_folder": f"search/{method.split('(')[0]}-0123456789",
            }
        )
        point = {
            "name": name,
            "role": role,
            "method": method,
            "model": "tower",
            "seed": 17,
            "auc": 0.7 + i / 100,
            "log_loss": 0.5,
        }
        point |= {
            "valid_auc": 0.71 + i / 100,
            "valid_log_loss": 0.49,
            "params": int(sizes @ dims),
            "total_params": 1234567,
        }
        point |= {
            "fields": sum(dim > 0 for dim in dims),
            "dims": sum(dims),
            "folder": f"models/m{i}",
        }
        point |= {
            "valid_calibration": measured(0.3),
            "valid_calibrated_log_loss": 0.43,
            "calibrated_log_loss": 0.4321,
            "calibrate": True,
        }
        point |= {
            "calibration": measured(0.3),
            "calibrated": measured(0.01),
            "correction": {"slope": 0.625, "intercept": -0.5},
        }
        points.append(
            point
            | {
                "search_seconds": 3.0,
                "train_seconds": 2.0,
                "test_seconds": 1.0,
                "plain": role == "control",
            }
            | (MORE if role == "found" else {})
        )
    save(folder / "candidates.json", entries)
    save(folder / "curve.json", points)
    summary = [
        point
        | {"export_mib": 1.25, "calibration": measured(0.3, 10), "calibrated": measured(0.01, 10)}
        for point in points[:2]
    ]
    save(folder / "summary.json", summary)
    save(folder / "export.json", {"key": "m0", "version": "1700000000", "mib": 1.25})
    search = folder / "search" / "finder-0123456789"
    space = {"version": 1, "fields": {name: {"dim": width} for name in schema.names}, "pairs": None}
    save(search / "space.json", space)
    gate = [
        {"epoch": e + 1, "loss": 0.6, "auc": 0.7, "log_loss": 0.4, "gate_entropy": 1.5 - e / 10}
        for e in range(2)
    ]
    save(
        search / "supernet" / "state.json",
        {"version": 1, "best": None, "done": True, "history": gate},
    )
    arrays = {
        "weights": rng.dirichlet(np.ones(3), len(sizes)),
        "weights_sizes": np.tile([0, 1, width - 1], (len(sizes), 1)),
    }
    arrays |= {
        "signed": rng.normal(size=(len(sizes), width)),
        "single": rng.random(len(sizes)),
        "blocks": rng.random((len(sizes) + 1, 2)),
    }
    write_json(str(search / "scores.json"), dict.fromkeys(schema.names, 0.5), arrays)
    save_pictures(PICTURES, str(search / "pictures.json"))


PICTURES: list[Picture] = [
    HeatMap(
        "Alpha by block",
        np.array([[0.5, np.nan, 1.0], [0.0, 0.25, 0.1]]),
        (NASTY, "b"),
        ("x", "y", "z"),
        "alpha",
    ),
    Bars("Cluster sizes", ("first", NASTY), np.array([1.0, 2.0]), "rows"),
    Lines(
        "Ranked saliency",
        np.arange(1, 100),
        {"one": np.arange(99.0), "two": np.ones(99)},
        ("rank", "saliency"),
        True,
    ),
    Histogram(
        "Probabilities", np.linspace(0, 1, 5), np.array([3, 40000, 2, 1]), "p", {"threshold": 0.5}
    ),
]


class Page(html.parser.HTMLParser):
    """Checks that elements nest, and gathers ids, links, tags and text."""

    VOID = ("meta", "br", "img")

    def __init__(self, text):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]
        self.links += [
            value for key, value in attrs if key in ("href", "xlink:href", "src", "data", "action")
        ]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.text += data + "\n"


def write(folder, schema):
    path = report.write(str(folder), schema)
    assert path == str(folder / "report.html") and not (folder / "report.html.partial").exists()
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    make_job(folder, make_schema())
    return write(folder, make_schema())


def sections(text):
    """Section id -> its HTML."""
    return dict(re.findall(r'<section id="(\w+)">(.*?)</section>', text, re.DOTALL))


def test_every_section_has_something_to_show(full):
    parts = sections(full)
    assert list(parts) == SECTIONS
    assert 'class="none"' not in full
    assert [parts[name].count("<svg") for name in SECTIONS] == [0, 1, 3, 4, 1, 1, 0, 2, 0, 0]
    tables = ["headline", "dimensions", "calibration", "costs", "models", "settings"]
    assert [name for name in SECTIONS if "<table" in parts[name]] == tables
    for picture in PICTURES:
        assert picture.title in parts["pictures"]


def test_pictures_of_many_rows_are_paged_on_one_scale(tmp_path):
    """None is left out, and the pages can be compared."""
    make_job(tmp_path, make_schema())
    names = tuple(f"f{i}" for i in range(130))
    mask = HeatMap("Masks", np.arange(260.0).reshape(130, 2), names, ("x", "y"), "mask")
    many: list[Picture] = [mask, Bars("Sizes", names, np.arange(130.0), "rows")]
    save_pictures(many, str(tmp_path / "search" / "finder-0123456789" / "pictures.json"))
    text = Page(write(tmp_path, make_schema())).text
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


def test_needs_nothing_outside(full):
    parsed = Page(full)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in parsed.links)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(parsed.tags)
    assert "@import" not in full and not re.search(r"url\((?!#)", full)
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", full).replace("http://example.com", "")
    assert "http" not in outside


def test_ids_are_unique_and_links_lead_somewhere(full):
    parsed = Page(full)
    assert len(parsed.ids) == len(set(parsed.ids))
    targets = {link[1:] for link in parsed.links if link.startswith("#")} | set(
        re.findall(r"url\(#([^)]*)\)", full)
    )
    assert targets and targets <= set(parsed.ids)


def test_a_budget_is_told_with_the_method(tmp_path):
    schema = make_schema()
    make_job(tmp_path, schema, curve=False)
    points = json.loads((tmp_path / "curve.json").read_text())
    save(tmp_path / "curve.json", [points[0] | {"budget": 54321}, *points[1:]])
    job = json.loads((tmp_path / "job.json").read_text())
    job["chosen"]["budget"] = 54321
    save(tmp_path / "job.json", job)
    text = Page(write(tmp_path, schema)).text
    assert "searched with a budget of 54,321 embedding parameters" in text
    assert text.count("finder(cut=0.4), the widest config of at most 54,321 parameters") == 1


def test_text_is_escaped(full):
    parsed = Page(full)
    assert "<script" not in full and "$quoted$" in parsed.text
    assert NASTY in parsed.text  # in the tables
    assert f"-0.0100 against {NASTY}" in parsed.text


def test_numbers(full):
    schema, parts = make_schema(), sections(full)
    found = int(schema.vocabulary_sizes @ [0, 1, 2, 3, 4, 0])
    whole = 4 * schema.num_features
    for text in (
        "0.7000",
        f"{found:,}",
        f"{found / whole:.1%}",
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


def test_arrays_are_named_and_those_of_another_shape_left_out(full):
    part = sections(full)["arrays"]
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


def test_series_come_from_the_specs(full):
    part = sections(full)["quality"]
    for text in (">finder<", ">other<", "found: finder", "cut=0.2"):
        assert text in part, text


def test_traces_are_drawn(full):
    assert "Gate entropy" in sections(full)["learning"]


def test_same_data_same_bytes(tmp_path, full):
    make_job(tmp_path, make_schema())
    assert write(tmp_path, make_schema()) == full


def test_calibration_as_trained_and_calibrated(full, tmp_path):
    part = sections(full)["calibration"]
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
    assert "Calibrated log loss" in sections(full)["headline"]
    make_job(tmp_path, make_schema())
    save(
        tmp_path / "export.json",
        {"key": "m0", "version": "2", "correction": {"slope": 0.625, "intercept": -0.5}},
    )
    save(tmp_path / "models" / "m0" / "correction.json", {"notices": ["an intercept alone"]})
    part = sections(write(tmp_path, make_schema()))["calibration"]
    assert "The export serves calibrated predictions." in part and "an intercept alone" in part


def test_a_folder_from_before_there_was_calibration(tmp_path):
    make_job(tmp_path, make_schema())
    for name in ("curve.json", "summary.json"):
        points = json.loads((tmp_path / name).read_text())
        save(
            tmp_path / name,
            [
                {key: value for key, value in point.items() if "calib" not in key}
                for point in points
            ],
        )
    assert list(sections(write(tmp_path, make_schema()))) == [
        name for name in SECTIONS if name != "calibration"
    ]


def test_costs_and_notices(full):
    parts = sections(full)
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
    told = {
        "seed": 17,
        "rows": 1000,
        "train_rows": 4000,
        "settings": {"C": 0.1},
        "better_on": better_on,
    }
    return {"name": name, "role": "baseline"} | figures | told


@pytest.mark.parametrize("gone", ["nothing", "curve.json"])
def test_baselines_have_rows_and_the_better_ones_the_first_line(gone, tmp_path, full):
    schema = make_schema()
    make_job(tmp_path, schema)
    for name in ("summary.json", "curve.json"):
        records = [baseline("worse", 0.6, []), baseline("better", 0.9, ["auc"])]
        save(tmp_path / name, [*json.loads((tmp_path / name).read_text()), *records])
    (tmp_path / gone).unlink(missing_ok=True)
    text = write(tmp_path, schema)
    parts = sections(text)
    assert list(parts) == SECTIONS
    head = Page(text[text.index("</h1>") + 5 : text.index("<nav>")]).text.strip().split("\n")
    assert head[0] == (
        "The baseline better (learned from 1,000 of 4,000 training rows) is better than the found "
        "model, finder, in AUC (0.9100 against "
        "0.7100 on the validation rows, 0.9000 against 0.7000 on the test rows)."
    )
    assert "6 fields with" in "".join(head[1:]) and "is better" not in full
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


def test_empty_folder_says_what_is_missing(tmp_path):
    text = write(tmp_path, make_schema())
    assert list(sections(text)) == ["headline"] and "<svg" not in text, "no empty sections"
    assert (
        "No config has been found yet (stage search). Nothing has been trained and evaluated yet"
        in Page(text).text
    )
    assert Page(text).links == ["#headline"]


def test_search_alone(tmp_path):
    schema = make_schema()
    found = result(schema, [1, 0, 1, 1, 1, 1], "finder()") | {
        "notices": ["this search has not decided"]
    }
    save(tmp_path / "search" / "result.json", found)
    parts = sections(write(tmp_path, schema))
    assert list(parts) == ["headline", "dimensions"]
    assert "Removed: field_1." in parts["dimensions"] and "<svg" in parts["dimensions"]
    assert (
        'class="none"' in parts["headline"]
        and "finder: this search has not decided" in parts["headline"]
    )


def test_without_curve_arrays_and_histories(tmp_path):
    schema = make_schema()
    make_job(tmp_path, schema, curve=False)
    for path in [
        *tmp_path.glob("search/*/scores.json*"),
        *tmp_path.glob("*/*/*/state.json"),
        tmp_path / "export.json",
    ]:
        path.unlink()
    for path in tmp_path.glob("search/*/pictures.json"):
        path.unlink()
    parts = sections(write(tmp_path, schema))
    assert list(parts) == [
        name for name in SECTIONS if name not in ("arrays", "pictures", "learning")
    ]
    assert "<svg" in parts["quality"] and "with --curve" in parts["quality"]
    assert "Not exported yet" in parts["headline"] and "no score" in parts["dimensions"]


def test_missing_metrics_and_models_without_embeddings(tmp_path):
    schema = make_schema()
    make_job(tmp_path, schema)
    points = json.loads((tmp_path / "curve.json").read_text())
    points[1]["params"] = 0
    points[2]["valid_auc"] = float("nan")
    del points[3]["valid_auc"], points[3]["total_params"]
    save(tmp_path / "curve.json", points)
    parts = sections(write(tmp_path, schema))
    assert "Not drawn: 2" in parts["quality"] and "nan" in parts["models"]


def test_another_task(tmp_path):
    schema = make_schema()
    make_job(tmp_path, schema)
    text = (
        (tmp_path / "curve.json")
        .read_text()
        .replace("auc", "mse")
        .replace("log_loss", "recall_at_5")
    )
    (tmp_path / "curve.json").write_text(text)
    (tmp_path / "summary.json").unlink()
    (tmp_path / "job.json").write_text(
        (tmp_path / "job.json").read_text().replace('"auc"', '"mse"')
    )
    parts = sections(write(tmp_path, schema))
    assert (
        "MSE" in parts["headline"]
        and "Recall at 5" in parts["headline"]
        and "MSE, validation split" in parts["quality"]
    )


def test_clusters(tmp_path):
    schema = make_schema()
    value = result(schema, [1, 2, 3, 0, 1, 0], "finder()")
    value["clusters"].append(result(schema, [4, 2, 0, 0, 1, 1], "finder()")["clusters"][0])
    value["router"] = {"name": "finder", "settings": {}, "weights": None}
    save(tmp_path / "search" / "result.json", value)
    part = sections(write(tmp_path, schema))["dimensions"]
    assert (
        "2 clusters" in part
        and "dimension, cluster 1" in part
        and "1 | 4" in part
        and "Removed: field_3." in part
    )


def test_many_fields_go_on_several_pages(tmp_path):
    schema = make_schema(90)
    make_job(tmp_path, schema, control="other")
    text = write(tmp_path, schema)
    part = sections(text)["dimensions"]
    assert (
        part.count("<svg") == 2
        and '<div class="scroll"><figure>' in part
        and "61 to 90 of 90" in part
    )
    assert all(name in part for name in schema.names)
    assert len(text) < 3_000_000
    parsed = Page(text)
    assert len(parsed.ids) == len(set(parsed.ids))


def columns(part):
    """Texts of every table's columns, header first."""
    tables = re.findall(r"<table.*?</table>", part, re.DOTALL)
    found = []
    for table in tables:
        rows = [
            re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
            for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
        ]
        found += list(zip(*rows, strict=True))
    return found


def test_no_column_is_without_content(tmp_path, full):
    """What only some searches tell has columns where one of them tells it."""
    schema = make_schema()
    make_job(tmp_path, schema)
    points = json.loads((tmp_path / "curve.json").read_text())
    for point in points:
        for key in MORE:
            point.pop(key, None)
    save(tmp_path / "curve.json", points)
    bare = write(tmp_path, schema)
    for text in (full, bare):
        assert not [column[0] for column in columns(text) if set(column[1:]) <= {"–", ""}]
    assert (
        "Search proper" in full
        and "as COO" in full
        and "Search proper" not in bare
        and "COO" not in bare
    )
    assert "Search s" in bare, "other columns stay"


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


def test_on_a_narrow_page_what_is_wider_scrolls_and_says_so(full):
    """Nothing is shrunk to the page's width; as long as it fits, no hint shows."""
    assert all(
        "max-width: 100%" not in rule
        for rule in page.CSS[: page.CSS.index("@media print")].split("}")
        if "svg" in rule
    )
    figures = re.findall(r"<figure>.*?</figure>", full, re.DOTALL)
    assert figures and all('<div class="drawing"><svg' in figure for figure in figures)
    widths = [96 * float(width) / 72 for width in re.findall(r'<svg [^>]*width="([\d.]+)pt"', full)]
    hints = [re.search(r'class="hint w(\d+)"', figure) for figure in figures]
    assert max(widths) > 900 and len(widths) == len(hints)
    for width, hint in zip(widths, hints, strict=True):
        step = int(hint[1]) if hint else 0
        assert step <= width + 1 and not any(step < other <= width - 1 for other in page._STEPS)
        assert (
            not step
            or f"(max-width: {step + 48}px) {{ .w{step} {{ display: block; }} }}" in page.CSS
        )
    wide = page.data_table(
        ["Name", *(f"a long heading {i}" for i in range(9))], [["x", *["12,345,678"] * 9]]
    )
    narrow = page.data_table(["Name", "AUC"], [["x", "0.7"]])
    assert (
        'class="hint w' in wide
        and "hint" not in narrow
        and all('<div class="scroll">' in text for text in (wide, narrow))
    )


def test_loads_without_tensorflow():
    code = "import sys, irazor_tf.report; print('tensorflow' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )
