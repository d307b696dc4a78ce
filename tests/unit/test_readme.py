"""What README.md promises to name."""

import dataclasses
import pathlib
import re

import pytest

from data_pipelines.readers.table import keys

README = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "key", [*keys.KEYS, *(field.name for field in dataclasses.fields(keys.TableColumn))]
)
def test_every_key_of_a_schema_file_is_explained(key):
    assert re.search(rf"^\| .*`{key}\b", README, re.MULTILINE)
