"""What README.md and the documents promise: names that are explained, an example that runs, links
and paths that lead somewhere."""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
import re
import runpy
from collections.abc import Iterator

import pytest

from data_pipelines.readers.table import keys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
README = TEXTS[ROOT / "README.md"]
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"\b(?:irazor_tf|data_pipelines|launch|tests|benchmarks|docs)/[\w./-]*\w/?")
COMMAND = re.compile(r"python -m ((?:benchmarks|launch|tests)[\w.]*)")
OVER_LONG = 100  # characters of a line of prose; a row of a table is one line, however long

each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


@pytest.mark.parametrize(
    "key", [*keys.KEYS, *(field.name for field in dataclasses.fields(keys.TableColumn))]
)
def test_every_key_of_a_schema_file_is_explained(key):
    assert re.search(rf"^\| .*`{key}\b", TEXTS[ROOT / "docs" / "data.md"], re.MULTILINE)


def test_the_example_in_python_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    runpy.run_path("example.py")
    printed = capsys.readouterr().out
    assert re.search(r"^irazor \d+ 0\.\d+$", printed, re.MULTILINE)
    assert re.search(r"^fde \d+ 0\.\d+$", printed, re.MULTILINE)
    assert (tmp_path / "runs" / "first" / "report.html").exists()


@pytest.mark.quick
@each_document
def test_every_relative_link_leads_to_a_file_and_a_heading(path):
    broken = []
    for target in LINK.findall(TEXTS[path]):
        name, _, anchor = target.partition("#")
        if ":" in name:  # an address
            continue
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in set(anchors(TEXTS[file]))):
            broken.append(target)
    assert not broken


@pytest.mark.quick
@each_document
def test_every_path_and_command_that_is_named_exists(path):
    text = TEXTS[path]
    lost = {name for name in PATH.findall(text) if not (ROOT / name).exists()}
    assert not lost
    assert not {name for name in COMMAND.findall(text) if importlib.util.find_spec(name) is None}


@pytest.mark.quick
@each_document
def test_lines_of_prose_fit_on_a_screen(path):
    prose = FENCED.sub("", TEXTS[path]).splitlines()
    long = [line for line in prose if len(line) > OVER_LONG and not line.startswith(("|", "  |"))]
    assert not long


def anchors(text: str) -> Iterator[str]:
    """The names by which links find the headings of a document: lower case, without punctuation,
    dashes for spaces."""
    for heading in re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
