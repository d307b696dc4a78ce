"""What a search passes on to the final training: one config or several, how the final model starts,
and a router. No TensorFlow import."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from irazor_tf.config.files import check_version, read_json, understanding, write_json
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.specs import Spec, parse_spec

_VERSION = 1
INITS = ("fresh", "ticket", "continue", "keep")


@dataclasses.dataclass(frozen=True)
class RouterRef:
    """A reference to the router that decides which cluster a row belongs to: it holds no tensors,
    only what a router can be made from again.

    Args:
      name: Name of the method, in the registry, that makes the router.
      settings: The router's settings, JSON values.
      weights: Path of the npz file with its weights, relative to the search's folder. None for a
        router without weights.
      params: Number of values that the router stores; they count as parameters of the model.
    """

    name: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: str | None = None
    params: int = 0


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The outcome of a search, from which final models are trained.

    Args:
      clusters: One config, or one per cluster of rows.
      method: Spec of the method that made the result, by which it can be made again.
      init: How a final model starts. fresh: with new weights; ticket: with the embeddings that the
        supernet had; continue: with the searched weights; keep: the searched model is the final
        one, and nothing is retrained.
      router: What decides which cluster a row belongs to. None for a result with one config.
      seconds: Wall time of the search, including trainings that it shares with other searches
        (pretraining).
      keep_gates: Whether the gates go on acting in the final model; only with `init` keep.
      all_rows: Whether the model of every cluster learns from all training rows instead of its own
        cluster's; only with a router.
      notices: Sentences that a reader of the result should know (fallbacks taken).
      optimizers: Group of variables -> optimizer spec for the final training. A group that is not
        named has the optimizer of the training settings.
    """

    clusters: tuple[InputConfig, ...]
    method: Spec
    init: str = "fresh"
    router: RouterRef | None = None
    seconds: float = 0.0
    keep_gates: bool = False
    all_rows: bool = False
    notices: tuple[str, ...] = ()
    optimizers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise ValueError(f"`init` should be one of {', '.join(INITS)}. Received: {self.init!r}")
        if (len(self.clusters) > 1) != (self.router is not None) or not self.clusters:
            received = f"{len(self.clusters)} clusters, {self.router}"
            raise ValueError(
                f"More than one cluster, and only that, needs a `router`. Received: {received}"
            )
        if self.keep_gates and self.init != "keep":
            raise ValueError(f"`keep_gates` should go with `init` keep. Received: {self.init!r}")
        if self.all_rows and self.router is None:
            raise ValueError("`all_rows` should go with a `router`. Received: a result without one")

    @property
    def config(self) -> InputConfig:
        """The config of a result that has exactly one.

        Raises:
          ValueError: the result has several clusters.
        """
        if len(self.clusters) != 1:
            raise ValueError(
                f"`config` needs a result with one cluster. Received: {len(self.clusters)}"
            )
        return self.clusters[0]

    def save(self, path: str) -> None:
        """Writes the result to `path` (JSON) and, where there are masks, to `path` + ".npz"."""
        value: dict[str, Any] = {
            "version": _VERSION,
            "method": str(self.method),
            "init": self.init,
            "seconds": self.seconds,
            "router": None if self.router is None else dataclasses.asdict(self.router),
            "clusters": [config.to_json() for config in self.clusters],
            "keep_gates": self.keep_gates,
            "all_rows": self.all_rows,
            "notices": list(self.notices),
            "optimizers": dict(self.optimizers),
        }
        masks = {
            f"{i}/{name}": bits
            for i, config in enumerate(self.clusters)
            for name, bits in config.masks().items()
        }
        write_json(path, value, masks)

    @classmethod
    def load(cls, path: str) -> SearchResult:
        """The result that `save` wrote to `path`."""
        value, masks = read_json(path)
        with understanding(path):
            check_version(value, _VERSION, "A search result", f" in {path}")
            clusters = []
            for i, cluster in enumerate(value["clusters"]):
                masks_of_cluster = {
                    key.split("/", 1)[1]: bits
                    for key, bits in masks.items()
                    if key.startswith(f"{i}/")
                }
                clusters.append(InputConfig.from_json(cluster, masks_of_cluster))
            router = None if value["router"] is None else RouterRef(**value["router"])
            optional = {key: value.get(key, False) for key in ("keep_gates", "all_rows")} | {
                "notices": tuple(value.get("notices", ()))
            }
            optional |= {"optimizers": value.get("optimizers", {})}
            return cls(
                tuple(clusters),
                parse_spec(value["method"]),
                value["init"],
                router,
                value["seconds"],
                **optional,
            )
