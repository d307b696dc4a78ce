"""The report as a page: what is in it, what it says where something is missing, and that it needs
nothing else."""

import json
import re
import subprocess
import sys

from irazor_tf.report import page
from tests.jobs.made_jobs import (
    NASTY,
    PICTURES,
    RARE,
    SECTIONS,
    Page,
    make_job,
    make_schema,
    result,
    save,
    sections,
    write_report,
)


def test_every_section_has_something_to_show(made_report):
    parts = sections(made_report)
    assert list(parts) == SECTIONS
    assert 'class="none"' not in made_report
    assert [parts[name].count("<svg") for name in SECTIONS] == [0, 1, 3, 4, 1, 1, 0, 2, 0, 0]
    tables = ["headline", "dimensions", "calibration", "costs", "models", "settings"]
    assert [name for name in SECTIONS if "<table" in parts[name]] == tables
    for picture in PICTURES:
        assert picture.title in parts["pictures"]


def test_needs_nothing_outside(made_report):
    parsed = Page(made_report)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in parsed.links)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(parsed.tags)
    assert "@import" not in made_report and not re.search(r"url\((?!#)", made_report)
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", made_report).replace("http://example.com", "")
    assert "http" not in outside


def test_ids_are_unique_and_links_lead_somewhere(made_report):
    parsed = Page(made_report)
    assert len(parsed.ids) == len(set(parsed.ids))
    targets = {link[1:] for link in parsed.links if link.startswith("#")} | set(
        re.findall(r"url\(#([^)]*)\)", made_report)
    )
    assert targets and targets <= set(parsed.ids)


def test_text_is_escaped(made_report):
    parsed = Page(made_report)
    assert "<script" not in made_report and "$quoted$" in parsed.text
    assert NASTY in parsed.text  # in the tables
    assert f"-0.0100 against {NASTY}" in parsed.text


def test_same_data_same_bytes(tmp_path, made_report):
    make_job(tmp_path, make_schema())
    assert write_report(tmp_path, make_schema()) == made_report


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
    assert list(sections(write_report(tmp_path, make_schema()))) == [
        name for name in SECTIONS if name != "calibration"
    ]


def test_empty_folder_says_what_is_missing(tmp_path):
    text = write_report(tmp_path, make_schema())
    assert list(sections(text)) == ["headline"] and "<svg" not in text, "no empty sections"
    assert (
        "No config has been found yet (stage search). Nothing has been trained and evaluated yet"
        in Page(text).text
    )
    assert Page(text).links == ["#headline"]


def test_search_alone(tmp_path):
    schema = make_schema()
    notices = {"notices": ["this search has not decided"]}
    config = result(schema, [1, 0, 1, 1, 1, 1], "finder()")
    save(tmp_path / "search" / "result.json", config | notices)
    parts = sections(write_report(tmp_path, schema))
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
    parts = sections(write_report(tmp_path, schema))
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
    parts = sections(write_report(tmp_path, schema))
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
    parts = sections(write_report(tmp_path, schema))
    assert (
        "MSE" in parts["headline"]
        and "Recall at 5" in parts["headline"]
        and "MSE, validation split" in parts["quality"]
    )


def test_many_fields_go_on_several_pages(tmp_path):
    schema = make_schema(90)
    make_job(tmp_path, schema, control="other")
    text = write_report(tmp_path, schema)
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
    columns_of_all = []
    for table in tables:
        rows = [
            re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
            for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
        ]
        columns_of_all += list(zip(*rows, strict=True))
    return columns_of_all


def test_no_column_is_without_content(tmp_path, made_report):
    """What only some searches tell has columns where one of them tells it."""
    schema = make_schema()
    make_job(tmp_path, schema)
    points = json.loads((tmp_path / "curve.json").read_text())
    for point in points:
        for key in RARE:
            point.pop(key, None)
    save(tmp_path / "curve.json", points)
    bare = write_report(tmp_path, schema)
    for text in (made_report, bare):
        assert not [column[0] for column in columns(text) if set(column[1:]) <= {"–", ""}]
    assert (
        "Search proper" in made_report
        and "as COO" in made_report
        and "Search proper" not in bare
        and "COO" not in bare
    )
    assert "Search s" in bare, "other columns stay"


def test_on_a_narrow_page_what_is_wider_scrolls_and_says_so(made_report):
    """Nothing is shrunk to the page's width; as long as it fits, no hint shows."""
    assert all(
        "max-width: 100%" not in rule
        for rule in page.CSS[: page.CSS.index("@media print")].split("}")
        if "svg" in rule
    )
    figures = re.findall(r"<figure>.*?</figure>", made_report, re.DOTALL)
    assert figures and all('<div class="drawing"><svg' in figure for figure in figures)
    widths = [
        96 * float(width) / 72 for width in re.findall(r'<svg [^>]*width="([\d.]+)pt"', made_report)
    ]
    hints = [re.search(r'class="hint w(\d+)"', figure) for figure in figures]
    assert max(widths) > 900 and len(widths) == len(hints)
    for width, hint in zip(widths, hints, strict=True):
        step = int(hint[1]) if hint else 0
        assert step <= width + 1 and not any(step < other <= width - 1 for other in page.HINT_STEPS)
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
