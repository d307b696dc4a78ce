"""Plug-ins: Python modules outside the packages whose `register_*` decorators add entries to the
registries. No TensorFlow import, but for what a plug-in imports itself."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable

from irazor_tf.config.registry import registrations, sources_in

_loaded: list[str] = []  # in the order of loading, each as `resolved` spells it


def load(name: str) -> None:
    """Imports a plug-in, a Python module that registers entries of its own, unless this process has
    imported it before.

    Args:
      name: The path of a Python file, or the dotted name of a module that Python finds.

    Raises:
      ValueError: there is no such file or module. (Errors that the module itself raises are passed
        on.)
    """
    name = resolved(name)
    if name in _loaded:
        return
    _source(name)  # the message about what is missing is there
    if _is_file(name):
        _import_file(name)
    else:
        importlib.import_module(name)
    _loaded.append(name)


def loaded() -> tuple[str, ...]:
    """The plug-ins that this process has loaded, in that order, spelled as by `resolved`."""
    return tuple(_loaded)


def forget(name: str) -> None:
    """Makes this process forget a plug-in, so that it can be loaded again; its registered entries
    stay (used by tests; see `Registry.remove`)."""
    name = resolved(name)
    _loaded.remove(name)
    sys.modules.pop(_module_name(name) if _is_file(name) else name, None)


def missing(names: Iterable[str]) -> list[str]:
    """Those of the plug-ins `names`, spelled as by `resolved`, that this process has not loaded."""
    return [name for name in names if name not in _loaded]


def resolved(name: str) -> str:
    """The name of a plug-in in a form that is valid in any working folder: the absolute path of a
    file, or the dotted name of a module."""
    return os.path.abspath(name) if _is_file(name) else name


def entries_of(name: str) -> list[tuple[str, str]]:
    """(kind, name) of every entry that a plug-in registers, read from its source.

    Raises:
      ValueError: there is no such file or module.
    """
    path = _source(resolved(name))
    paths = sources_in(os.path.dirname(path)) if os.path.basename(path) == "__init__.py" else [path]
    return sorted(entry for source in paths for entry in registrations(source))


def _is_file(name: str) -> bool:
    return name.endswith(".py") or os.sep in name


def _source(name: str) -> str:
    """Path of the file that the code of a plug-in stands in.

    Raises:
      ValueError: there is no such file or module.
    """
    if _is_file(name):
        path = name if os.path.isfile(name) else None
    else:
        try:
            spec = importlib.util.find_spec(name) if name.strip(".") == name != "" else None
        except ModuleNotFoundError:  # of a package that the module should be in
            spec = None
        path = spec.origin if spec is not None else None
    if path is None:
        raise ValueError(
            "A plug-in should be the path of a Python file, or the dotted name of a module. "
            f"Received: {name!r}, which does not exist"
        )
    return path


def _module_name(path: str) -> str:
    """A module name for the plug-in file at `path`, made of the whole path, because files of one
    name may lie in two folders."""
    return "plugin_" + re.sub(r"\W", "_", path)


def _import_file(path: str) -> None:
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"A plug-in's file should end in .py. Received: {path!r}")
    module = importlib.util.module_from_spec(spec)
    # Before it runs: annotations of its dataclasses are looked up in its module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
