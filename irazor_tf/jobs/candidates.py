"""What a pipeline trains and compares: the found config, controls, and the points of a curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from irazor_tf.config.input_config import digest, identity
from irazor_tf.config.layout import Role
from irazor_tf.config.schema import Schema
from irazor_tf.config.search_result import SearchResult
from irazor_tf.config.specs import Spec

_LONGEST = 60  # characters that settings may add to a name; longer ones make way for a number


class Searched(NamedTuple):
    """A search of a chain that another one followed.

    Args:
      method: its spec.
      folder: where its supernet lies, relative to the job's folder.
    """

    method: Spec
    folder: str


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One config (or one per cluster) to train and compare.

    Args:
      role: found, control or a point of the curve.
      name: unique among the candidates; found and controls bear their method's name.
      result: configs, start of training, router.
      search_folder: where its supernet lies, relative to the job's folder.
      before: the searches before the result's one, where several methods are chained.
    """

    role: Role
    name: str
    result: SearchResult
    search_folder: str = ""
    before: tuple[Searched, ...] = ()

    @property
    def key(self) -> str:
        """Digest of what its training depends on, and its folder:
        equal configs are trained once."""
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
        """The whole chain, as `--method` takes it."""
        return " + ".join(
            map(str, (*(earlier.method for earlier in self.before), self.result.method))
        )

    @property
    def search_folders(self) -> list[str]:
        """Of all its searches, in their order; "" where there was none or it is not known."""
        return [*(earlier.folder for earlier in self.before), self.search_folder]

    def num_params(self, schema: Schema) -> int:
        """Embedding parameters of all its models, and what a router stores."""
        router = self.result.router
        return sum(config.num_params(schema) for config in self.result.clusters) + (
            0 if router is None else router.params
        )


def short_name(spec: Spec) -> str:
    """A spec without its settings: a(x=1) -> a, a(b(x=1)) -> a(b)."""
    return spec.name + (f"({', '.join(map(short_name, spec.operands))})" if spec.operands else "")


def unique_names(chosen: Sequence[Candidate]) -> list[Candidate]:
    """The same candidates; of equal names the first stays, the others get the settings that set
    them apart from it, or a number."""
    firsts: dict[str, Candidate] = {}
    taken: set[str] = set()
    unique = []
    for candidate in chosen:
        first = firsts.setdefault(candidate.name, candidate)
        own, other = candidate.result.method.arguments, first.result.method.arguments
        more = ", ".join(f"{key}={value!r}" for key, value in own if (key, value) not in other)
        apart = more or ("" if own == other else "fewer settings")
        names = [
            candidate.name,
            *([f"{candidate.name} ({apart})"] if 0 < len(apart) <= _LONGEST else []),
        ]
        names += [f"{names[-1]} ({number})" for number in range(2, len(chosen) + 2)]
        name = next(name for name in names if name not in taken)
        taken.add(name)
        unique.append(dataclasses.replace(candidate, name=name))
    return unique
