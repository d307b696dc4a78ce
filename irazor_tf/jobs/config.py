"""All settings of a job, as text and numbers; the specs in them are parsed once."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any, NamedTuple

from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.config.checks import check_choice, check_types
from irazor_tf.config.layout import JobPaths, RecordsPaths, fits_below
from irazor_tf.config.specs import Spec, parse_spec, parse_specs
from irazor_tf.search.run import training_spec
from irazor_tf.training.options import STRATEGIES, TrainOptions

WIDEST = 4096
# What a finished search or training does not depend on; of the data, the fingerprint counts, not
# where they lie.
_FREE = frozenset(
    {"model_dir", "data_dir", "budget_params", "budget_mib", "controls", "curve", "calibrate"}
    | {"baselines", "progress", "tensorboard", "distribution_strategy"}
)
# What a job begun before these settings were there was trained with.
NEUTRAL = {"embedding_ridge": 0.0, "linear_ridge": 0.0, "search_steps": 0}


class JobSpecs(NamedTuple):
    """The specs of a job, parsed.

    Args:
      model: Spec of the base model that is searched with.
      final_model: Spec of the base model of the final models.
      task: Spec of the task.
      methods: Specs of the chained search methods, each searching inside the result of the one
        before.
      controls: Specs of the methods that the found config is compared with.
    """

    model: Spec
    final_model: Spec
    task: Spec
    methods: tuple[Spec, ...]
    controls: tuple[Spec, ...]


@dataclasses.dataclass(frozen=True)
class JobConfig:
    """All settings of a job. A spec may be given as text, as on the command line, or parsed.

    Args:
      model_dir: Folder for everything that the job writes.
      model: Spec of the base model, such as "mlp(hidden=(64, 32))".
      method: Spec of the search, or several joined by "+", each searching inside the result of the
        one before.
      data: How the log becomes records. If None (default), the records exist already.
      data_dir: Folder of the records. If None (default), `data` in `model_dir`.
      retrain_model: Spec of the base model of the final models. If None (default), `model`.
      task: Spec of the task.
      width: Embedding width of every field in the space that is searched, 1 to 4096.
      train: Settings of all trainings.
      seed: Seed of initial values, noise and the order of rows.
      budget_params, budget_mib: Most embedding parameters of the found config, or most MiB that
        they take as float32; at most one of the two. If None (default), the method's own setting
        decides.
      controls: Specs of methods that the found config is compared with, at its number of
        parameters.
      curve: Whether other settings of the method, uniform widths and the controls at those sizes
        are trained too.
      calibrate: Whether served probabilities are corrected by what the validation split says.
      baselines: Names of models without embeddings that are fitted to the same rows and shown
        beside the found config.
      distribution_strategy: off, one_device or mirrored.
      progress: Whether progress is shown.
      tensorboard: Whether curves for TensorBoard are written.
    """

    model_dir: str
    model: str = "mlp"
    method: str = "irazor"
    data: PreprocessOptions | None = None
    data_dir: str | None = None
    retrain_model: str | None = None
    task: str = "ctr"
    width: int = 16
    train: TrainOptions = dataclasses.field(default_factory=TrainOptions)
    seed: int = 1
    budget_params: int | None = None
    budget_mib: float | None = None
    controls: tuple[str, ...] = ("fde()", "magnitude()", "random()")
    curve: bool = False
    calibrate: bool = False
    baselines: tuple[str, ...] = ("logistic_regression", "gradient_boosting")
    distribution_strategy: str = "off"
    progress: bool = True
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("model", "retrain_model", "task", "method", "controls"):
            object.__setattr__(self, name, _as_text(getattr(self, name)))
        check_types(self)
        if not 1 <= self.width <= WIDEST:
            raise ValueError(
                f"`width` should be at least 1 and at most {WIDEST:,}. Received: {self.width}"
            )
        check_choice(self, distribution_strategy=STRATEGIES)
        if self.budget_params is not None and self.budget_mib is not None:
            raise ValueError(
                "At most one of `budget_params` and `budget_mib` should be given. Received: both"
            )
        if self.budget is not None and self.budget < 1:
            raise ValueError(
                "`budget_params` should be at least 1, `budget_mib` at least one value. Received: "
                f"{self.budget:,} parameters"
            )

        _ = self.specs  # a text that is no spec is refused here

    @functools.cached_property
    def specs(self) -> JobSpecs:
        """All specs of the job, parsed."""
        return JobSpecs(
            parse_spec(self.model),
            parse_spec(self.final_model),
            parse_spec(self.task),
            parse_specs(self.method),
            tuple(map(parse_spec, self.controls)),
        )

    @property
    def final_model(self) -> str:
        """Spec of the base model of the final models, as text."""
        return self.retrain_model or self.model

    @property
    def paths(self) -> JobPaths:
        """The job's folder, `model_dir`, with the paths of everything in it."""
        return JobPaths(self.model_dir)

    @property
    def records(self) -> RecordsPaths:
        """The folder of the records: `data_dir`, or the folder `data` in the job's."""
        return self.paths.records if self.data_dir is None else RecordsPaths(self.data_dir)

    @property
    def records_dir(self) -> str:
        """Path of the folder of the records."""
        return self.records.root

    @property
    def has_records(self) -> bool:
        """Whether preprocessing has finished: whether the records have their manifest."""
        return os.path.exists(self.records.manifest)

    @property
    def has_trained(self) -> bool:
        """Whether a training has left a state in the job's folder, or a search its result."""
        paths = self.paths
        return os.path.exists(paths.result) or bool(
            fits_below(paths.searches) or fits_below(paths.models)
        )

    @property
    def budget(self) -> int | None:
        """Most embedding parameters of the found config; None where no budget is given."""
        return self.budget_params if self.budget_mib is None else int(self.budget_mib * 2**20 / 4)

    def settings(self) -> dict[str, Any]:
        """The settings that finished work depends on, as a JSON value. Settings of methods that
        only the derivation reads are left out."""
        fixed = {key: value for key, value in dataclasses.asdict(self).items() if key not in _FREE}
        fixed["data"] = None if self.data is None else self.data.to_json()
        fixed["method"] = " + ".join(str(training_spec(spec)) for spec in self.specs.methods)
        return fixed

    def path(self, *parts: str) -> str:
        """The path of a file or folder inside the job's folder."""
        return os.path.join(self.model_dir, *parts)

    def choices(self) -> dict[str, Any]:
        """The settings that may change after a search has finished, and that decide which models
        are trained, as a JSON value. (Baselines have no trained models.)"""
        return {
            "method": self.method,
            "budget": self.budget,
            "controls": list(self.controls),
            "curve": self.curve,
        }


def _as_text(value: Any) -> Any:
    """A spec, or a tuple of specs, as text; any other value unchanged."""
    if isinstance(value, Spec):
        return str(value)
    if isinstance(value, tuple) and value and all(isinstance(item, Spec) for item in value):
        return tuple(map(str, value))
    return value
