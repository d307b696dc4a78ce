"""What a pipeline trains and compares: the found config, controls, and the points of a curve."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from irazor_tf.input_config import SearchResult
from irazor_tf.schema import Schema


class Role(enum.Enum):
    """Why a candidate is trained."""

    FOUND = "found"
    CONTROL = "control"
    CURVE = "curve"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One config (or one per cluster) to train and compare.

    Args:
      role: found, control or a point of the curve.
      name: unique among the candidates; found and controls bear their method's name.
      result: configs, start of training, router.
      search_folder: where its supernet lies, relative to the job's folder.
    """

    role: Role
    name: str
    result: SearchResult
    search_folder: str = ""

    @property
    def key(self) -> str:
        """Digest of what its training depends on, and its folder: equal configs are trained once."""
        origin = "" if self.result.init == "fresh" else self.search_folder
        router = None if self.result.router is None else dataclasses.asdict(self.result.router)
        return digest([[config.to_json() for config in self.result.clusters], self.result.init, origin, router])

    def num_params(self, schema: Schema) -> int:
        return sum(config.num_params(schema) for config in self.result.clusters)


def digest(value: Any) -> str:
    """Ten hexadecimal digits of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def unique_names(chosen: Sequence[Candidate]) -> list[Candidate]:
    """The same candidates, equal names told apart by a number."""
    names: dict[str, int] = {}
    unique = []
    for candidate in chosen:
        count = names[candidate.name] = names.get(candidate.name, 0) + 1
        unique.append(candidate if count == 1 else dataclasses.replace(candidate, name=f"{candidate.name} ({count})"))
    return unique
