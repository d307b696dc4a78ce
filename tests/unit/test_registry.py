"""Spec strings and registries."""

import dataclasses
import sys
import time
import types

import pytest

from irazor_tf.config.checks import check_types
from irazor_tf.config.registry import OPEN_SETS, Registry, entries, entries_in, registrations
from irazor_tf.config.specs import Spec, parse_spec, parse_specs


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("fde", Spec("fde")),
        (" fde() ", Spec("fde")),
        ("fde(dim=30)", Spec("fde", (("dim", 30),))),
        (
            "a(x=-1.5, y='s', z=None, w=True)",
            Spec("a", (("x", -1.5), ("y", "s"), ("z", None), ("w", True))),
        ),
        ("a(x=[1, (2, [3])])", Spec("a", (("x", (1, (2, (3,)))),))),
        (
            "fields(irazor(cpt=0.3), k=1)",
            Spec("fields", (("k", 1),), (Spec("irazor", (("cpt", 0.3),)),)),
        ),
        ("fields(irazor)", Spec("fields", (), (Spec("irazor"),))),
    ],
)
def test_parse_spec(text, spec):
    assert parse_spec(text) == spec
    assert parse_spec(str(spec)) == spec


def test_chains_keep_their_order():
    specs = parse_specs("a(x=1) + fields(b()) + c")
    assert [str(spec) for spec in specs] == ["a(x=1)", "fields(b())", "c()"]
    with pytest.raises(ValueError, match="Exactly one spec"):
        parse_spec("a + b")


@pytest.mark.parametrize(
    "text",
    [
        "", "a(", "a.b(x=1)", "a(x=y)", "a(x=1 + y)", "a(x=f())", "a(0.3)", "a('s')", "a(*b)", "a(**b)", "a(x=1)(y=2)", "a - b",  # noqa: E501
        "a + (b + c)", "lambda: a", "a[0]", "a; b", "x = a()", "a(x={[1]: 2})", "a(x=1, x=2)", "__import__('os')", "a(x=__import__('os'))",  # noqa: E501
    ],
)  # fmt: skip
def test_what_is_not_a_spec_is_refused(text):
    with pytest.raises(ValueError, match="Received: "):
        parse_specs(text)


def test_replace_sets_and_overrides():
    spec = parse_spec("fields(b(), x=1, y=2)").replace(y=3, z=4)
    assert str(spec) == "fields(b(), x=1, y=3, z=4)"


class Plain:
    """An entry."""

    presets = {"paper": {"x": 5, "y": 6}}

    @dataclasses.dataclass(frozen=True)
    class Params:
        x: int = 1
        y: int = 2
        derived: int = dataclasses.field(default=0, init=False)

        def __post_init__(self):
            if self.x < 0:
                raise ValueError(f"`x` should be at least 0. Received: {self.x}")

    def __init__(self, params, *operands):
        self.params, self.operands = params, operands


class Wrapper(Plain):
    """An entry made of other entries."""

    takes_operands = True


@pytest.fixture
def things(tmp_path, monkeypatch):
    """A registry with the entries `plain` (in the folder) and `wrapper` (entered by hand)."""
    package = tmp_path / "some_things"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text(
        "from some_things_home import THINGS, Plain\nTHINGS.register('plain')(Plain)\n"
    )
    registry = Registry("thing", "some_things")
    home = types.ModuleType("some_things_home")
    vars(home).update(THINGS=registry, Plain=type("Plain", (Plain,), {}))
    monkeypatch.setitem(sys.modules, "some_things_home", home)
    monkeypatch.syspath_prepend(tmp_path)
    registry.register("wrapper")(type("Wrapper", (Wrapper,), {}))
    yield registry
    for name in ("some_things", "some_things.first", "some_things.second"):
        sys.modules.pop(name, None)


def test_entries_are_found_by_scanning(things):
    assert things.names() == ["plain", "wrapper"]
    assert things.get("plain").registry_name == "plain"


def test_build_takes_arguments_and_presets(things):
    assert things.build("plain").params == Plain.Params()
    assert things.build("plain(y=3)").params == Plain.Params(1, 3)
    assert things.build("plain(preset='paper')").params == Plain.Params(5, 6)
    assert things.build("plain(preset='paper', x=7)").params == Plain.Params(7, 6)
    assert things.build(Spec("plain", (("x", 3),))).params.x == 3


def test_operands_are_built_first(things):
    wrapper = things.build("wrapper(plain(x=3), plain, y=4)")
    assert [operand.params.x for operand in wrapper.operands] == [3, 1] and wrapper.params.y == 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("plan", "thing should be one of plain, wrapper. Received: 'plan'"),
        ("plain(z=1)", "'plain' should be one of: x, y. Received: 'z'"),
        ("plain(derived=1)", "should be one of: x, y. Received: 'derived'"),
        ("plain(preset='other')", "'plain' should be one of: paper. Received: 'other'"),
        ("plain(x=-1)", "`x` should be at least 0. Received: -1"),
        ("plain(wrapper)", "named arguments only. Received: plain"),
        ("wrapper(plan)", "one of plain, wrapper. Received: 'plan'"),
    ],
)
def test_errors_list_what_exists(things, spec, message):
    with pytest.raises(ValueError) as caught:
        things.build(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "a(x=" + "(" * 60 + ")" * 60 + ")",
            "nested at most 50 deep. Received: 61 levels in 'a(x=(((",
        ),
        ("a(" * 300 + ")" * 300, "nested at most 50 deep"),
        ("+".join("a" * 1200), "join at most 1,000 others"),
        ("a(x=" + "-" * 1200 + "1)", "join at most 1,000 others"),
        ("a(" + ", ".join(f"x{k}=1" for k in range(1200)) + ")", "at most 1,000 arguments"),
        ("a(x=(" + "1," * 120_000 + "))", "at most 1,000 arguments"),
        ("a(x=" + "not " * 30_000 + "1)", "should read like"),
        ("a(x=1\0)", "should read like"),
    ],
    ids=["nested", "calls", "joined", "signs", "arguments", "items", "words", "nul"],
)
def test_a_spec_too_large_is_refused_at_once(spec, message):
    started = time.perf_counter()
    with pytest.raises(ValueError) as caught:
        parse_specs(spec)
    assert message in str(caught.value) and len(str(caught.value)) < 500
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("value", ["1e999", "-1e999", "10**400", str(10**400), str(2**63)])
def test_numbers_are_finite_and_of_64_bits(things, value):
    with pytest.raises(ValueError, match="`x` .*should be"):
        things.build(f"plain(x={value})")


@dataclasses.dataclass(frozen=True)
class Settings:
    count: int = 1
    parts: tuple[float, ...] = ()
    name: str | None = None


@pytest.mark.parametrize(
    "change",
    [
        {"count": True},
        {"count": 1.0},
        {"parts": (float("nan"),)},
        {"parts": ("1",)},
        {"name": 3},
        {"count": 2**70},
    ],
    ids=str,
)
def test_types_of_settings_are_checked(change):
    check_types(Settings())
    with pytest.raises(ValueError, match=f"`{next(iter(change))}` should be of type .* Received: "):
        check_types(Settings(**change))


def test_a_name_is_given_once(things):
    entry = things.get("plain")
    assert things.register("plain")(entry) is entry
    with pytest.raises(ValueError, match="'plain' should be free"):
        things.register("plain")(Plain)
    things.remove("plain")
    things.remove("plain")
    assert things.names() == ["wrapper"]


def test_an_unknown_name_may_be_a_plugins(things):
    with pytest.raises(ValueError, match=r"Received: 'xyz' \(the name of a plug-in's entry needs"):
        things.get("xyz")
    with pytest.raises(ValueError, match=r"Received: 'plaim' \(did you mean 'plain'\?\)$"):
        things.get("plaim")


def test_names_are_read_from_source(tmp_path):
    source = """
import irazor_tf
from somewhere import METHODS, base, register_task
@METHODS.register("a")
class A: ...
@base.READERS.register("b")
@some.decorator("x")
@other
class B: ...
@irazor_tf.register_model("c")
class C: ...
@register_task("d")
class D:
    @irazor_tf.register_method("e")
    class E: ...
@METHODS.register(name)
class F: ...
"""
    path = tmp_path / "entries.py"
    path.write_text(source)
    kinds = {"a": "method", "b": "reader", "c": "model", "d": "task", "e": "method"}
    assert {name: kind for kind, name in registrations(str(path))} == kinds
    assert sorted(entries_in(str(path))) == list("abcde")


def test_open_sets_are_those_of_the_registries():
    from launch.command.registries import registries

    assert {registry.kind: registry.package for registry in registries()} == OPEN_SETS
    for registry in registries():
        assert entries(OPEN_SETS[registry.kind]) == registry.names()


def test_a_module_that_fails_to_import_is_not_forgotten(things, tmp_path):
    (tmp_path / "some_things" / "second.py").write_text("raise ImportError('broken')\n")
    for _ in range(2):
        with pytest.raises(ImportError, match="broken"):
            things.get("plain")
