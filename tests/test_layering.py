"""The tree's own rules, read from the source with `ast`: imports go down only, and the spine knows
no entry of an open set by name."""

import ast
import collections
import functools
import graphlib
import pathlib
import re
import subprocess
import sys
from collections.abc import Collection

import pytest

from irazor_tf.config.registry import entries, entries_in

pytestmark = pytest.mark.quick

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("irazor_tf", "data_pipelines", "launch")

ARCHITECTURE = ROOT / "docs" / "architecture.md"
# Every room, from the ground up, as docs/architecture.md lists them: a room imports from itself and
# from the floors below.
FLOORS = [
    line.split("#")[0].split()
    for line in re.search(
        r"```order\n(.*?)```", ARCHITECTURE.read_text(encoding="utf-8"), re.DOTALL
    )[1].splitlines()  # type: ignore[index]
]
ROOMS = [room for floor in FLOORS for room in floor]
# Open sets are alike: what one entry may know, every entry of the set may. These never import each
# other.
STRANGERS = {"irazor_tf.methods", "irazor_tf.models", "irazor_tf.tasks"}
DATA_PIPELINES_MAY_IMPORT = {"irazor_tf.config"}
WITHOUT_TENSORFLOW = (
    *(
        "irazor_tf",
        "irazor_tf.config",
        "irazor_tf.evaluation.metrics",
        "irazor_tf.evaluation.calibration",
    ),
    *(
        "irazor_tf.evaluation.baselines",
        "irazor_tf.report",
        "irazor_tf.training.fit_notices",
        "irazor_tf.training.tuning",
    ),
    "irazor_tf.training.options",
    *("irazor_tf.search.pictures", "irazor_tf.search.entries", "irazor_tf.search.selection"),
)
TENSORFLOW = {"tensorflow", "tf_keras", "keras", "tensorflow_recommenders", "tensorflow_datasets"}

OPEN_SETS = ("irazor_tf/methods", "irazor_tf/models", "irazor_tf/tasks", "data_pipelines/readers")
# Names of entries that are also ordinary words of the trade. Of these only the uses that cannot be
# the word are looked for: the import of the entry's module, a comparison with the name, the name as
# a call in a string.
WORDS = {
    "fields": "the fields of a record",
    "fm": "the factorisation machine term",
    "ftrl": "an optimizer",
    "grid": "the grid of a plot, a grid of values",
    "lr": "the learning rate",
    "magnitude": "the size of a number",
    "mf": "matrix factorisation",
    "mlp": "a stack of dense layers",
    "pairs": "pairs of fields",
    "random": "the module, and numpy's",
    "table": "an embedding table, a table in a report",
}
# Files of the spine in which defaults, and help texts of flags, name entries.
FLAG_FILES = {
    "launch/command/flags.py": (
        "a user who names no method, model or reader gets the defaults written there"
    ),
    "irazor_tf/jobs/config.py": "these are the defaults of a job made in Python, too",
}
EXCUSED = {("launch/main.py", "irazor"): "the command line program has this name too"}


def module_of(path: pathlib.PurePath) -> str:
    """Dotted name of a source file, its path being relative to the root."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The room that a module is in; None for one of another project, or in no room."""
    return next((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), None)


def is_ours(module: str) -> bool:
    return module.split(".")[0] in PACKAGES and not module.startswith(
        "irazor_tf.__"
    )  # `__version__` is the root's own


def imports_of(module: str, source: str, package: bool = False) -> list[tuple[int, str]]:
    """(line, dotted module) of every import, wherever it stands;
    `from a import b` counts as a.b."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            base = base[: len(base) - node.level + package] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{target}.{alias.name}") for alias in node.names]
    return found


def as_run(source: str) -> str:
    """The source without what is there for type checkers only."""
    tree = ast.parse(source)
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"))
    ]
    return ast.unparse(tree)


def floor_of(room: str | None) -> int | None:
    return next((number for number, floor in enumerate(FLOORS) if room in floor), None)


def is_pure(module: str) -> bool:
    """Whether a module is to load without TensorFlow."""
    return module == "irazor_tf" or any(
        f"{module}.".startswith(f"{pure}.") for pure in WITHOUT_TENSORFLOW[1:]
    )


def import_violations(module: str, source: str, package: bool = False) -> list[str]:
    """What the imports of one module do that they should not."""
    room = room_of(module)
    if room is None and module != "irazor_tf":
        return [f"{module}: in no room; docs/architecture.md should list it"]
    if room is None:
        source = as_run(source)
    wrong = []
    for line, target in imports_of(module, source, package):
        root = target.split(".")[0]
        if root == "absl" and target.split(".")[1:2] == ["flags"] and room != "launch":
            wrong.append(f"{module}:{line}: {target}, allowed in launch/ only")
        if root in TENSORFLOW and is_pure(module):
            wrong.append(
                f"{module}:{line}: {target}, in a module that is to load without TensorFlow"
            )
        if not is_ours(target):
            continue
        other = room_of(target)
        here, there = floor_of(room), floor_of(other)
        if there is None:
            wrong.append(f"{module}:{line}: {target} is in no room")
        elif room is None:
            wrong.append(
                f"{module}:{line}: {target}; the root imports nothing before it is asked for"
            )
        elif other != room and (there >= here or {room, other} <= STRANGERS):  # type: ignore[operator]
            wrong.append(f"{module}:{line}: {target}, which is not below")
        elif room == "data_pipelines" and other not in DATA_PIPELINES_MAY_IMPORT | {room}:
            wrong.append(
                f"{module}:{line}: {target}; data_pipelines may import "
                f"{', '.join(sorted(DATA_PIPELINES_MAY_IMPORT))} only"
            )
    if room != "launch":
        nodes = ast.walk(ast.parse(source))
        wrong += [
            f"{module}:{node.lineno}: FLAGS"
            for node in nodes
            if isinstance(node, ast.Name) and node.id == "FLAGS"
        ]
    return wrong


def constant_strings(tree: ast.AST) -> list[tuple[ast.Constant, str]]:
    """Strings that the code uses: docstrings and other strings that stand as statements are left
    out."""
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and id(node) not in statements
    ]
    return [(node, node.value) for node in constants if isinstance(node.value, str)]


def name_violations(path: str, source: str, names: set[str]) -> list[str]:
    """Where a file of the spine knows an entry by name."""
    tree = ast.parse(source)
    excused: set[int] = set()
    if path in FLAG_FILES:
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr.startswith("DEFINE_")
            ):
                excused |= {id(child) for child in ast.walk(node)}
            if isinstance(node, ast.ClassDef):  # defaults of a dataclass
                values = [
                    line.value
                    for line in node.body
                    if isinstance(line, ast.AnnAssign) and line.value is not None
                ]
                excused |= {id(child) for value in values for child in ast.walk(value)}
    compared = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.MatchValue):
            compared |= {id(child) for child in ast.walk(node)}
    used: list[tuple[int, str, bool]] = []  # line, identifier, whether it can only be the entry
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            where = getattr(node, "module", None) or ""
            for alias in node.names:
                words = f"{where}.{alias.name}".strip(".").split(".")
                used += [
                    (node.lineno, word, words[0] in ("irazor_tf", "data_pipelines"))
                    for word in words
                ]
        for attribute in ("id", "attr", "arg", "name"):
            value = getattr(node, attribute, None)
            if isinstance(value, str) and hasattr(node, "lineno"):
                used.append((node.lineno, value, False))
    strings = [(node, text) for node, text in constant_strings(tree) if id(node) not in excused]
    wrong = []
    for name in names - {
        excused_name for excused_path, excused_name in EXCUSED if excused_path == path
    }:
        whole, word = (
            re.compile(rf"(?<![a-z0-9]){name}(?![a-z0-9])"),
            re.compile(rf"\b{name}\b", re.IGNORECASE),
        )
        call, ordinary = re.compile(rf"\b{name}\("), name in WORDS
        for line, identifier, sure in used:
            if (
                identifier == name
                and sure
                or not ordinary
                and whole.search(identifier.lower().replace("irazor_tf", ""))
            ):
                wrong.append(f"{path}:{line}: the identifier {identifier!r} names {name!r}")
        for constant, text in strings:
            if (
                call.search(text)
                or (id(constant) in compared and text == name)
                or not ordinary
                and word.search(text)
            ):
                wrong.append(f"{path}:{constant.lineno}: the string {text!r} names {name!r}")
    return wrong


@functools.cache
def entry_names() -> set[str]:
    return {name for folder in OPEN_SETS for name in entries(folder.replace("/", "."))}


def sources(package: str) -> list[pathlib.Path]:
    return sorted(path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py"))


SPINE = [
    path.as_posix()
    for package in ("irazor_tf", "launch")
    for path in sources(package)
    if not any(path.is_relative_to(folder) for folder in OPEN_SETS)
]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down_only(package):
    wrong = []
    for path in sources(package):
        wrong += import_violations(
            module_of(path), (ROOT / path).read_text(encoding="utf-8"), path.name == "__init__.py"
        )
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_import_cycles():
    """Inside a layer too, imports have a direction. Imports for type annotations only are not run
    and do not count."""
    modules = {module_of(path): path for package in PACKAGES for path in sources(package)}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        source = as_run((ROOT / path).read_text(encoding="utf-8"))
        targets = [target for _, target in imports_of(module, source, path.name == "__init__.py")]
        found = {target if target in modules else target.rpartition(".")[0] for target in targets}
        graph[module] = {target for target in found if target in modules and target != module}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_every_folder_is_a_package():
    """setup.py finds packages by their __init__.py: a folder without one would be missing from an
    installed copy."""
    folders = {(ROOT / path).parent for package in PACKAGES for path in sources(package)}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


METHODS = [path for path in sources("irazor_tf/methods") if path.name != "__init__.py"]


@pytest.mark.parametrize("path", METHODS, ids=str)
def test_methods_know_no_other_by_name(path):
    """The files of one paper's folder may name its methods."""
    folder = pathlib.Path("irazor_tf/methods")
    siblings = (
        [path]
        if path.parent == folder
        else [other for other in METHODS if other.parent == path.parent]
    )
    own = {name for other in siblings for name in entries_in(str(ROOT / other))}
    wrong = name_violations(
        path.as_posix(), (ROOT / path).read_text(encoding="utf-8"), entry_names() - own
    )
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("path", SPINE)
def test_spine_knows_no_entry_by_name(path):
    wrong = name_violations(path, (ROOT / path).read_text(encoding="utf-8"), entry_names())
    assert not wrong, "\n" + "\n".join(wrong)


def test_pure_modules_load_without_tensorflow():
    modules = [module for module in map(module_of, sources("irazor_tf")) if is_pure(module)]
    code = f"import sys, {', '.join(modules)}; print(sorted(set(sys.modules) & {TENSORFLOW!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("irazor_tf.config.seeds", "from irazor_tf.model.gate import Gate", "not below"),
        ("irazor_tf.config.seeds", "from irazor_tf.model import gate", "not below"),
        ("irazor_tf.model.noise", "def f():\n    import irazor_tf.jobs", "not below"),
        ("irazor_tf.model.gate", "from ..training.trainer import Trainer", "not below"),
        ("irazor_tf.methods.some", "from ..models.mlp import MLP", "not below"),
        ("irazor_tf.models.some", "import irazor_tf.methods.fde", "not below"),
        ("irazor_tf.models.some", "import irazor_tf.tasks.ctr", "not below"),
        ("irazor_tf.report.page", "import irazor_tf.serving.export", "not below"),
        ("irazor_tf.training.trainer", "import launch.command.flags", "not below"),
        ("irazor_tf.config.schema", "from data_pipelines import records", "not below"),
        ("irazor_tf.unheard_of", "", "in no room"),
        ("irazor_tf.jobs.stages", "from irazor_tf import unheard_of", "in no room"),
        ("irazor_tf", "from irazor_tf.jobs import stages", "before it is asked for"),
        ("data_pipelines.some", "from irazor_tf.model.noise import batch_uniform", "not below"),
        ("irazor_tf.config.schema", "import tensorflow as tf", "without TensorFlow"),
        ("irazor_tf", "import tf_keras", "without TensorFlow"),
        ("irazor_tf", "if 1:\n    from irazor_tf.jobs import stages", "before it is asked for"),
        ("irazor_tf.evaluation.metrics", "from tensorflow import nn", "without TensorFlow"),
        ("irazor_tf.jobs.stages", "from absl import flags", "launch/ only"),
        ("data_pipelines.some", "import absl.flags", "launch/ only"),
        ("irazor_tf.jobs.stages", "print(FLAGS.method)", "FLAGS"),
    ],
)
def test_checker_catches_an_import(module, source, message):
    wrong = import_violations(module, source)
    assert len(wrong) == 1 and message in wrong[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "launch.search",
            "from absl import app, flags, logging\nfrom irazor_tf.jobs import stages",
        ),
        (
            "irazor_tf.jobs.stages",
            "from absl import logging\nfrom data_pipelines import preprocess\nfrom irazor_tf "
            "import __version__",
        ),
        (
            "irazor_tf.methods.some",
            "from irazor_tf.methods import other\nfrom irazor_tf.training.trainer import Trainer",
        ),
        (
            "data_pipelines.some",
            "from irazor_tf.config.schema import Schema\nfrom irazor_tf.config import "
            "registry\nimport tensorflow",
        ),
        ("irazor_tf.training.tuning", "from irazor_tf.config import specs"),
        ("irazor_tf", "if TYPE_CHECKING:\n    from irazor_tf.jobs import stages"),
    ],
)
def test_checker_lets_an_import_pass(module, source):
    assert import_violations(module, source) == []


def test_relative_imports_of_a_package_start_in_it():
    assert imports_of("irazor_tf.methods", "from .fde import FDE", package=True) == [
        (1, "irazor_tf.methods.fde.FDE")
    ]
    assert imports_of("irazor_tf.methods.fde", "from ..gate import Gate") == [
        (1, "irazor_tf.gate.Gate")
    ]


def test_every_folder_is_in_a_room_and_every_room_is_there():
    folders = {
        "/".join(path.parts[:2] if path.parts[0] == "irazor_tf" else path.parts[:1])
        for package in PACKAGES
        for path in sources(package)
    }
    assert {folder.replace("/", ".") for folder in folders if not folder.endswith(".py")} == set(
        ROOMS
    )


@pytest.mark.parametrize(
    "source",
    [
        "if spec.name == 'sparrow': pass",
        "default = 'sparrow(cpt=0.4) + random(n=3)'",
        "from irazor_tf.methods.sparrow import Sparrow",
        "is_sparrow = True",
        "def sparrow(): pass",
        "f(sparrow=1)",
        "x = f'{y} for sparrow'",
        "if name == 'random': pass",
        "if name in ('grid', 'random'): pass",
        "match name:\n    case 'random': pass",
        "spec = 'random(n=3)'",
        "import irazor_tf.methods.random",
        "flags.DEFINE_string('method', 'sparrow', 'help')",
    ],
)
def test_checker_catches_a_name(source):
    assert name_violations("irazor_tf/jobs/stages.py", source, {"sparrow", "random"})


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("irazor_tf/jobs/stages.py", "'''A sparrow.'''\ndef f():\n    '''sparrow()'''"),
        (
            "irazor_tf/jobs/stages.py",
            "# sparrow\nimport random\nx = random.random()\ny = np.random.default_rng()\nz = "
            "{'random': 1}",
        ),
        ("irazor_tf/jobs/stages.py", "sparrows = 'sparrows'"),
        (
            "launch/command/flags.py",
            "flags.DEFINE_string('method', 'sparrow', 'for example sparrow(cpt=0.4)')",
        ),
    ],
)
def test_checker_lets_a_name_pass(path, source):
    assert name_violations(path, source, {"sparrow", "random"}) == []


def test_flag_file_is_excused_for_definitions_only():
    assert name_violations(
        "launch/command/flags.py", "if FLAGS.method == 'sparrow': pass", {"sparrow"}
    )


LONGEST_FILE, LONGEST_FUNCTION, MOST_BRANCHES, MOST_FILES = 300, 60, 12, 14
BRANCHES = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.IfExp)


def oversized(path: str, source: str) -> list[str]:
    """What in a file is larger than it should be without a reason written there: a comment that
    begins with `# Longer than` or `# More than`."""
    lines = source.splitlines()
    wrong = []
    if len(lines) > LONGEST_FILE and f"# Longer than {LONGEST_FILE} lines:" not in source:
        wrong.append(f"{path}: {len(lines)} lines")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assert node.end_lineno is not None
        text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        length = node.end_lineno - node.lineno + 1
        branches = sum(isinstance(inner, BRANCHES) for inner in ast.walk(node))
        if length > LONGEST_FUNCTION and f"# Longer than {LONGEST_FUNCTION} lines:" not in text:
            wrong.append(f"{path}: {node.name} has {length} lines")
        if branches > MOST_BRANCHES and f"# More than {MOST_BRANCHES} branches:" not in text:
            wrong.append(f"{path}: {node.name} has {branches} branches")
    return wrong


@pytest.mark.parametrize("package", [*PACKAGES, "benchmarks"])
def test_files_and_functions_are_short_or_say_why_not(package):
    wrong = []
    for path in sources(package):
        wrong += oversized(path.as_posix(), (ROOT / path).read_text(encoding="utf-8"))
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_room_has_more_than_about_a_dozen_files(package):
    rooms = collections.Counter(
        path.parent.as_posix() for path in sources(package) if path.name != "__init__.py"
    )
    assert max(rooms.values()) <= MOST_FILES, rooms.most_common(3)


def test_oversized_sees_length_branches_and_reasons():
    long = "def f():\n" + "    x = 1\n" * 60
    assert oversized("a.py", long) == ["a.py: f has 61 lines"]
    assert not oversized("a.py", long.replace("x = 1", "# Longer than 60 lines: a table", 1))
    many = "def f(x):\n" + "    x = 1 if x else 2\n" * 13
    assert oversized("a.py", many) == ["a.py: f has 13 branches"]
    assert oversized("a.py", "x = 1\n" * 301) == ["a.py: 301 lines"]


# A name with one leading underscore that tests may use all the same -> why.
PRIVATE_EXCUSED: dict[str, str] = {}
# Methods of strings; what they are called with is a piece of text, whatever it looks like.
STRING_METHODS = {"startswith", "endswith", "removeprefix", "removesuffix", "replace", "split"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name.strip("_").isidentifier()


def privates_of(source: str) -> set[str]:
    """Names with one leading underscore that a source file defines: functions, classes, variables
    of the module and attributes of objects."""
    tree = ast.parse(source)
    names = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    names |= {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return set(filter(is_private, names))


@functools.cache
def our_privates() -> frozenset[str]:
    return frozenset().union(
        *(
            privates_of((ROOT / path).read_text(encoding="utf-8"))
            for package in PACKAGES
            for path in sources(package)
        )
    )


def private_uses(path: str, source: str, privates: Collection[str]) -> list[str]:
    """Where a test reaches into the packages: an attribute of anything but the `self` or `cls` of
    a class of the test's own, an import, the name of an attribute as a string, code in a string
    that imports."""
    tree = ast.parse(source)
    texts = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in STRING_METHODS
        for argument in node.args
    }
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    at_home = {
        id(node)
        for own_class in classes
        for node in ast.walk(own_class)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("self", "cls")
    }
    uses: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in privates and id(node) not in at_home:
            uses.append((node.lineno, node.attr))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            if modules[0].split(".")[0] in PACKAGES or modules[1].split(".")[0] in PACKAGES:
                words = ".".join(modules).split(".")
                uses += [(node.lineno, word) for word in words if is_private(word)]
    for constant, text in constant_strings(tree):
        if id(constant) in texts:
            continue
        imported = re.findall(rf"\b(?:{'|'.join(PACKAGES)})[\w.]* import ([\w, ]+)", text)
        words = re.findall(r"\w+", " ".join(imported))
        words += [text.rpartition(".")[2]] if re.fullmatch(r"[\w.]+", text) else []
        uses += [(constant.lineno, word) for word in words if word in privates]
    return [f"{path}:{line}: {name}" for line, name in uses if name not in PRIVATE_EXCUSED]


def test_tests_use_public_names_only():
    """What a test has to see or set has a public name, or is seen in what the code does."""
    wrong = []
    for path in sources("tests"):
        if path.name != "test_layering.py":  # its samples break the rule
            source = (ROOT / path).read_text(encoding="utf-8")
            wrong += private_uses(path.as_posix(), source, our_privates())
    assert not wrong, "\n" + "\n".join(wrong)


def test_private_names_are_seen():
    source = "_LIMIT: int = 1\n_A, b = 1, 2\ndef _f():\n    pass\nclass _C:\n"
    source += "    def __init__(self):\n        self._x, self.__y = 1, 2\n"
    assert privates_of(source) == {"_LIMIT", "_A", "_f", "_C", "_x"}


@pytest.mark.parametrize(
    "source",
    [
        "gate._size",
        "watched = lambda self, *args: self._size",
        "model.gates['embedding']._size == 1",
        "monkeypatch.setattr(vocabulary, '_size', 1)",
        "monkeypatch.setattr('irazor_tf.config.files._size', 1)",
        "before(Writer, '_size', count(2))",
        "@pytest.mark.parametrize('stage', ['_size'])\ndef test(stage): ...",
        "from irazor_tf.config.files import _size",
        "import data_pipelines._size",
        "code = 'import os; from launch.quiet import b, _size'",
    ],
)
def test_checker_catches_a_private_name(source):
    assert private_uses("tests/some.py", source, {"_size"}) == ["tests/some.py:1: _size"]


@pytest.mark.parametrize(
    "source",
    [
        "class Toy(Gate):\n    def build(self):\n        self._size = 1",
        "optimizer._create_all_weights(variables)",
        "name.endswith('_size')",
        "from tests.jobs import _size",
        "'a _size b'",
    ],
)
def test_checker_lets_a_private_name_pass(source):
    assert private_uses("tests/some.py", source, {"_size"}) == []


NAMELESS = {"found", "own", "more", "apart", "proper", "told", "said"}


@pytest.mark.parametrize("package", [*PACKAGES, "benchmarks"])
def test_things_are_called_by_their_names(package):
    """A local called `found` says that something was looked for, not what the thing is."""
    wrong = []
    for path in sources(package):
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id
            name = stored or (isinstance(node, ast.arg) and node.arg)
            if name in NAMELESS:
                wrong.append(f"{path}:{node.lineno}: {name}")  # type: ignore[attr-defined]
    assert not wrong, "\n" + "\n".join(wrong)
