"""What `irazor_tf` itself names: curated, loaded when asked for, the same for type checkers."""

from __future__ import annotations

import ast
import inspect
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import irazor_tf

STAGES = ("preprocess", "tune", "search", "retrain", "evaluate", "export", "report", "pipeline")
PACKAGES = ("search", "report")  # stages of these names are in `irazor_tf.stages` alone


def test_the_names_that_are_promised():
    names = set(irazor_tf.__all__)
    assert names >= {"JobConfig", "PreprocessOptions", "TrainOptions", "Schema", "InputConfig"}
    assert names >= {"SearchResult", "load_export", "stages", *STAGES} - set(PACKAGES)
    assert names >= {"SearchMethod", "BaseModel", "Task", "Reader", "Gate"}
    assert names >= {f"register_{kind}" for kind in ("method", "model", "task", "reader")}


@pytest.mark.parametrize("name", irazor_tf.__all__)
def test_every_name_is_there_and_documented(name):
    value = getattr(irazor_tf, name)
    assert name in dir(irazor_tf) and (name == "__version__" or inspect.getdoc(value))


def test_stages_are_those_of_jobs():
    for name in STAGES:
        assert callable(getattr(irazor_tf.stages, name))
    for name in set(STAGES) - set(PACKAGES):
        assert getattr(irazor_tf, name) is getattr(irazor_tf.stages, name)


def test_importing_it_loads_next_to_nothing():
    code = (
        "import sys; import irazor_tf; "
        "print({'tensorflow', 'numpy', 'pyarrow'} & set(sys.modules), "
        "[m for m in sys.modules if m.startswith(('irazor_tf.', 'data_pipelines', 'launch'))])"
    )
    root = pathlib.Path(irazor_tf.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set() []"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'irazor_tf' has no attribute 'Recomender'"):
        _ = irazor_tf.Recomender  # type: ignore[attr-defined]


def test_type_checkers_see_the_same_names():
    """The imports for type checkers name what the package gives at run time, each the same object
    as there."""
    source = pathlib.Path(irazor_tf.__file__).read_text(encoding="utf-8")
    (block,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    homes: dict[str, str] = {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                homes[alias.asname or alias.name] = f"{node.module}:{alias.name}"
        elif isinstance(node, ast.Assign):
            pairs = [
                ast.unparse(side).strip("()").split(", ") for side in (*node.targets, node.value)
            ]
            for name, value in zip(*pairs, strict=True):
                imported, dot, attribute = value.partition(".")
                homes[name] = homes[imported] + dot + attribute
    homes["stages"] = homes["stages"].replace(":", ".")  # a module
    homes = {name: home for name, home in homes.items() if not name.startswith("_")}
    assert {"__version__", *homes} == set(irazor_tf.__all__)
    for name, home in homes.items():
        assert pkgutil.resolve_name(home) == getattr(irazor_tf, name), name
