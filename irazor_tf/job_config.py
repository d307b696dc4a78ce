"""All settings of a job, written down first, so that later calls can tell the same job from another."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.base_model import MODELS
from irazor_tf.input_config import read_json, write_json
from irazor_tf.method import METHODS
from irazor_tf.registry import Spec, parse_specs
from irazor_tf.task import TASKS
from irazor_tf.trainer import TrainOptions

STRATEGIES = ("off", "one_device", "mirrored")
# What a finished search or training does not depend on.
_FREE = frozenset({"model_dir", "budget_params", "budget_mib", "controls", "curve", "progress", "tensorboard", "distribution_strategy"})
TIMING = ("search_seconds", "train_seconds", "test_seconds")


@dataclasses.dataclass(frozen=True)
class JobConfig:
    """All settings of a pipeline.

    Args:
      model_dir: where everything goes.
      data: how the log becomes records; None: `data_dir` is there already.
      data_dir: folder of the records; default `model_dir`/data.
      model: spec of the base model.
      retrain_model: spec of the base model of the final models, where it differs from the search's.
      method: spec of the search, or several joined by "+", each searching inside the last one's result.
      task: spec of the task.
      width: embedding width of every field in the space.
      train: training settings.
      seed: of initial values, noise and order.
      budget_params, budget_mib: at most so many embedding parameters (or MiB of float32) in the found config; None: the method's own.
      controls: method specs compared with at the found config's number of parameters.
      curve: whether other settings of the method, uniform widths and the controls at those sizes are trained too, for the curve.
      distribution_strategy: off, one_device or mirrored.
      progress: whether to show progress.
      tensorboard: whether to write curves for TensorBoard.
    """

    model_dir: str
    model: str
    method: str
    data: PreprocessOptions | None = None
    data_dir: str | None = None
    retrain_model: str | None = None
    task: str = "ctr"
    width: int = 16
    train: TrainOptions = dataclasses.field(default_factory=TrainOptions)
    seed: int = 1
    budget_params: int | None = None
    budget_mib: float | None = None
    controls: tuple[str, ...] = ()
    curve: bool = False
    distribution_strategy: str = "off"
    progress: bool = True
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"`width` should be at least 1. Received: {self.width}")
        if self.distribution_strategy not in STRATEGIES:
            raise ValueError(f"`distribution_strategy` should be one of {', '.join(STRATEGIES)}. Received: {self.distribution_strategy!r}")
        if self.budget_params is not None and self.budget_mib is not None:
            raise ValueError("At most one of `budget_params` and `budget_mib` should be given. Received: both")
        if self.data is None and self.data_dir is None:
            raise ValueError("Either a reader with its input or a `data_dir` with records should be given. Received: neither")

    @property
    def records_dir(self) -> str:
        return self.data_dir or os.path.join(self.model_dir, "data")

    @property
    def budget(self) -> int | None:
        """Most embedding parameters allowed."""
        return self.budget_params if self.budget_mib is None else int(self.budget_mib * 2**20 / 4)

    def settings(self) -> dict[str, Any]:
        """What a finished stage depends on, as JSON; parameters used by derivation alone left out."""
        fixed = {key: value for key, value in dataclasses.asdict(self).items() if key not in _FREE}
        fixed["data"] = None if self.data is None else self.data.to_json()
        fixed["method"] = " + ".join(str(training_spec(spec)) for spec in parse_specs(self.method))
        return fixed

    def path(self, *parts: str) -> str:
        return os.path.join(self.model_dir, *parts)


def claim(job: JobConfig) -> None:
    """Checks every name and setting, writes `job.json`, or refuses settings other than those it holds."""
    base = MODELS.build(job.model)
    for spec in parse_specs(job.method):
        METHODS.build(spec).check(base)
    for control in job.controls:
        METHODS.build(control)
    MODELS.build(job.retrain_model or job.model)
    TASKS.build(job.task).check_metric(job.train.metric)
    path, settings = job.path("job.json"), job.settings()
    chosen = {"method": job.method, "budget": job.budget, "controls": list(job.controls), "curve": job.curve}
    if os.path.exists(path):
        before = read_json(path)[0]["settings"]
        changed = _difference(before, _plain(settings))
        if changed:
            raise ValueError(
                f"The settings should be those that {path} was begun with, or `model_dir` another. Received: {'; '.join(changed)}"
            )
    write_json(path, {"settings": settings, "chosen": chosen})


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _difference(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now))
        return [line for key in keys for line in _difference(before.get(key), now.get(key), f"{name}.{key}" if name else key)]
    return [] if before == now else [f"`{name}` was {before!r} and is {now!r}"]


def training_spec(spec: Spec) -> Spec:
    """The spec without what only derivation reads."""
    method = METHODS.get(spec.name)
    arguments = tuple(item for item in spec.arguments if item[0] not in method.derive_only)
    return Spec(spec.name, arguments, tuple(training_spec(operand) for operand in spec.operands))
