"""Candidates: the configs that a job trains and compares, that is the found config, controls, and
the points of a curve."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from irazor_tf.config.files import read_json, understanding, write_json
from irazor_tf.config.input_config import digest, identity
from irazor_tf.config.layout import JobPaths, Role
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec, parse_specs

_LONGEST = 60  # characters that settings may add to a name; longer ones make way for a number


class Searched(NamedTuple):
    """A finished search of a chain of methods, in whose result the next method has searched.

    Args:
      method: Spec of the method.
      folder: The search's folder, relative to the job's folder.
    """

    method: Spec
    folder: str


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One config (or one per cluster of rows) to train and compare.

    Args:
      role: Found config, control or point of the curve.
      name: Unique name among the candidates; the found config and controls bear their method's
        name.
      result: The search's result: configs, how training starts, router.
      search_folder: Folder of the search, relative to the job's folder; "" where it is not known.
      before: Where several methods are chained, the searches before the one that gave `result`.
    """

    role: Role
    name: str
    result: SearchResult
    search_folder: str = ""
    before: tuple[Searched, ...] = ()

    @property
    def key(self) -> str:
        """Digest of everything that the candidate's training depends on, and the name of its folder
        under `models`: equal configs are trained once."""
        result = self.result
        router = None if result.router is None else dataclasses.asdict(result.router)
        # A router's weights lie in the search's folder.
        origin = "" if result.init == "fresh" and router is None else self.search_folder
        parts = [[identity(config) for config in result.clusters], result.init, origin, router]
        parts += [
            word
            for word, given in (("gates", result.keep_gates), ("all rows", result.all_rows))
            if given
        ]
        return digest([*parts, dict(result.optimizers)] if result.optimizers else parts)

    @property
    def method(self) -> str:
        """The specs of all chained methods, joined by " + ", as `--method` takes them."""
        return " + ".join(
            map(str, (*(earlier.method for earlier in self.before), self.result.method))
        )

    @property
    def search_folders(self) -> list[str]:
        """Folders of all the candidate's searches, relative to the job's folder, in the order of
        the chain; "" for one that is not known."""
        return [*(earlier.folder for earlier in self.before), self.search_folder]

    def num_params(self, schema: Schema) -> int:
        """Number of embedding parameters of all the candidate's models, plus the values that its
        router stores."""
        router = self.result.router
        return sum(config.num_params(schema) for config in self.result.clusters) + (
            0 if router is None else router.params
        )


def short_name(spec: Spec) -> str:
    """A spec without its settings: a(x=1) -> a, a(b(x=1)) -> a(b)."""
    return spec.name + (f"({', '.join(map(short_name, spec.operands))})" if spec.operands else "")


def unique_names(chosen: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with unique names. Of those with equal names the first keeps it; to the others
    the settings are added in which they differ from the first, or a number."""
    firsts: dict[str, Candidate] = {}
    taken: set[str] = set()
    unique = []
    for candidate in chosen:
        first = firsts.setdefault(candidate.name, candidate)
        arguments = candidate.result.method.arguments
        firsts_arguments = first.result.method.arguments
        difference = ", ".join(
            f"{key}={value!r}" for key, value in arguments if (key, value) not in firsts_arguments
        )
        if not difference and arguments != firsts_arguments:
            difference = "fewer settings"
        names = [candidate.name]
        if 0 < len(difference) <= _LONGEST:
            names.append(f"{candidate.name} ({difference})")
        names += [f"{names[-1]} ({number})" for number in range(2, len(chosen) + 2)]
        name = next(name for name in names if name not in taken)
        taken.add(name)
        unique.append(dataclasses.replace(candidate, name=name))
    return unique


def save_candidates(paths: JobPaths, candidates: Sequence[Candidate]) -> None:
    """Writes the results of all candidates, and `candidates.json`, which lists them."""
    for candidate in candidates:
        candidate.result.save(paths.model(candidate.key).result)
    write_json(paths.candidates, [_listed(candidate) for candidate in candidates])


def load_candidates(paths: JobPaths) -> list[Candidate]:
    """The candidates that `save_candidates` wrote.

    Raises:
      ValueError: there is no list of candidates, or a model that it lists lacks its `result.json`.
    """
    path = paths.candidates
    if not os.path.exists(path):
        raise ValueError(
            f"Models should be trained before this stage (retrain). Received: no {path}"
        )
    entries, _ = read_json(path)
    with understanding(path):
        return [_candidate(paths, entry) for entry in entries]


def _listed(candidate: Candidate) -> dict[str, Any]:
    """The candidate's entry in `candidates.json`. Two candidates with equal configs share a key,
    and so the folder of their model."""
    return {
        "role": candidate.role.value,
        "name": candidate.name,
        "key": candidate.key,
        "search_folder": candidate.search_folder,
        "folders_before": [earlier.folder for earlier in candidate.before],
        "method": candidate.method,
        "search_seconds": candidate.result.seconds,
        "notices": list(candidate.result.notices),
    }


def _candidate(paths: JobPaths, entry: Mapping[str, Any]) -> Candidate:
    """The candidate of an entry in `candidates.json`."""
    *before, method = parse_specs(entry["method"])
    path = paths.model(entry["key"]).result
    if not os.path.exists(path):
        raise ValueError(
            "A trained model should have its `result.json` (run retrain again). Received: no "
            f"{path}"
        )
    stored = SearchResult.load(path)
    result = dataclasses.replace(
        stored,
        method=method,
        seconds=entry["search_seconds"],
        notices=tuple(entry.get("notices", stored.notices)),
    )
    folders = entry.get("folders_before", [""] * len(before))
    earlier = tuple(map(Searched, before, folders))
    candidate = Candidate(
        Role(entry["role"]), entry["name"], result, entry["search_folder"], earlier
    )
    if candidate.key != entry["key"]:
        raise ValueError(
            f"`key` should be that of its result, {candidate.key}. Received: {entry['key']}"
        )
    return candidate
