"""All settings of a job, written down first, so that later calls can tell the same job from
another."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Mapping
from typing import Any

from data_pipelines.manifest import load_manifest
from data_pipelines.preprocess import PreprocessOptions
from irazor_tf.config import integrity
from irazor_tf.config.checks import check_types, did_you_mean
from irazor_tf.config.files import read_json, understanding, write_json
from irazor_tf.config.recipe import AUTO
from irazor_tf.config.specs import Spec, parse_spec, parse_specs
from irazor_tf.evaluation.baselines import BASELINES
from irazor_tf.evaluation.task import TASKS
from irazor_tf.model.base import MODELS
from irazor_tf.search.method import METHODS
from irazor_tf.search.run import training_spec
from irazor_tf.training.optimizers import make_optimizer
from irazor_tf.training.options import TrainOptions

WIDEST = 4096
# Trained models do not tell by what settings they were trained, and would be shown under others.
_SETTINGS_GONE = (
    "Restore it, or delete the folders `search` and `models` beside it, or take another `model_dir`"
)
STRATEGIES = ("off", "one_device", "mirrored")
# What a finished search or training does not depend on; of the data, the fingerprint counts, not
# where they lie.
_FREE = frozenset(
    {
        "model_dir",
        "data_dir",
        "budget_params",
        "budget_mib",
        "controls",
        "curve",
        "calibrate",
        "baselines",
    }
    | {"progress", "tensorboard", "distribution_strategy"}
)
# What a job begun before these settings were there was trained with.
NEUTRAL = {"embedding_ridge": 0.0, "linear_ridge": 0.0, "search_steps": 0}
# What differs between two runs of one job, wherever it stands in a result file.
TIMING = (
    "seconds",
    "search_seconds",
    "train_seconds",
    "test_seconds",
    "pretraining_seconds",
    "search_peak_mib",
    "train_peak_mib",
    "peak_mib",
)


@dataclasses.dataclass(frozen=True)
class JobConfig:
    """All settings of a pipeline.

    Args:
      model_dir: where everything goes.
      data: how the log becomes records; None: the records are there already.
      data_dir: folder of the records; default `model_dir`/data.
      model: spec of the base model.
      retrain_model: spec of the base model of the final models, where it differs from the search's.
      method: spec of the search, or several joined by "+", each searching inside the last one's
        result.
      task: spec of the task.
      width: embedding width of every field in the space.
      train: training settings.
      seed: of initial values, noise and order.
      budget_params, budget_mib: at most so many embedding parameters (or MiB of float32) in the
        found config; None: the method's own.
      controls: method specs compared with at the found config's number of parameters.
      curve: whether other settings of the method, uniform widths and the controls at those sizes
        are trained too, for the curve.
      calibrate: whether predictions are corrected, by what the validation split says, before they
        are served.
      baselines: names of models without embeddings that are fitted to the same rows and shown
        beside the found config (`BASELINES`).
      distribution_strategy: off, one_device or mirrored.
      progress: whether to show progress.
      tensorboard: whether to write curves for TensorBoard.
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
        check_types(self)
        if not 1 <= self.width <= WIDEST:
            raise ValueError(
                f"`width` should be at least 1 and at most {WIDEST:,}. Received: {self.width}"
            )
        if self.distribution_strategy not in STRATEGIES:
            raise ValueError(
                f"`distribution_strategy` should be one of {', '.join(STRATEGIES)}. Received: "
                f"{self.distribution_strategy!r}"
            )
        if self.budget_params is not None and self.budget_mib is not None:
            raise ValueError(
                "At most one of `budget_params` and `budget_mib` should be given. Received: both"
            )
        if self.budget is not None and self.budget < 1:
            raise ValueError(
                "`budget_params` should be at least 1, `budget_mib` at least one value. Received: "
                f"{self.budget:,} parameters"
            )

    @property
    def records_dir(self) -> str:
        return self.data_dir or os.path.join(self.model_dir, "data")

    @property
    def has_records(self) -> bool:
        """Whether the records are there, finished."""
        return os.path.exists(os.path.join(self.records_dir, "manifest.json"))

    @property
    def budget(self) -> int | None:
        """Most embedding parameters allowed."""
        return self.budget_params if self.budget_mib is None else int(self.budget_mib * 2**20 / 4)

    def settings(self) -> dict[str, Any]:
        """What a finished stage depends on, as JSON; parameters used
        by derivation alone left out."""
        fixed = {key: value for key, value in dataclasses.asdict(self).items() if key not in _FREE}
        fixed["data"] = None if self.data is None else self.data.to_json()
        fixed["method"] = " + ".join(str(training_spec(spec)) for spec in parse_specs(self.method))
        return fixed

    def path(self, *parts: str) -> str:
        return os.path.join(self.model_dir, *parts)

    def choices(self) -> dict[str, Any]:
        """What may change on a finished search, as JSON; which models are trained depends on it.
        (Baselines are no models.)"""
        return {
            "method": self.method,
            "budget": self.budget,
            "controls": list(self.controls),
            "curve": self.curve,
        }


def check(job: JobConfig) -> None:
    """Raises ValueError for a name or a setting that does not exist, and for parts that do not go
    together."""
    base = MODELS.build(job.model)
    specs = parse_specs(job.method)
    for spec in specs:
        METHODS.build(spec).check(base)
    for spec in specs[:-1]:
        method = METHODS.build(spec)
        if not method.one_config:
            raise ValueError(
                "A method that another one follows should leave one config. Received: "
                f"{str(spec)!r}: one per cluster of rows"
            )
        if not method.narrows:
            raise ValueError(
                "A method that another one follows should say what to keep. Received: "
                f"{str(spec)!r}: gates in all of it"
            )
    for control in job.controls:
        METHODS.build(control)
    for group, optimizer in job.train.optimizers().items():
        if optimizer == AUTO:
            continue
        try:
            make_optimizer(optimizer)
        except ValueError as error:
            raise ValueError(f"`{group}_optimizer`: {error}") from None
    optimizers: list[str] = []
    for spec in (
        inner
        for outer in (*specs, *map(parse_spec, job.controls))
        for inner in _with_operands(outer)
    ):
        method = METHODS.build(spec)
        optimizers += [*method.recipe().values(), *method.optimizers().values()]
    for optimizer in optimizers:
        make_optimizer(optimizer)
    final = job.retrain_model or job.model
    MODELS.build(final)
    for spec in (specs[-1], *map(parse_spec, job.controls)):
        if METHODS.build(spec).init in ("continue", "keep") and parse_spec(final) != parse_spec(
            job.model
        ):
            raise ValueError(
                "A method whose final model goes on with the searched weights should be retrained "
                "on the model it was searched with. "
                f"Received: method {str(spec)!r}, searched with {job.model!r}, retrained with "
                f"{final!r}"
            )
    TASKS.build(job.task).check_metric(job.train.metric)
    for name in job.baselines:
        if name not in BASELINES:
            raise ValueError(
                f"A baseline should be one of {', '.join(BASELINES)}. "
                f"{did_you_mean(name, BASELINES)}"
            )
    if job.data is not None and not job.has_records:
        job.data.make_reader()


def claim(job: JobConfig) -> None:
    """Checks every name and setting, and writes `job.json`, or refuses what does not fit to work
    that is there already.

    Records bind the settings of the data (none given: those of the records are taken); a training
    whose state is on disk, or a found config, binds all others that it depends on, and the data's
    fingerprint. Without either, settings may still change: a name mistyped or a batch larger than
    the log in the first call binds nobody.

    Raises:
      ValueError: see `check`, or changed settings, with what was and what is.
    """
    check(job)
    path = job.path("job.json")
    before = _written(path)
    if before.get("settings", {}).get("train"):
        # What "auto" stood for is kept since before there was this one, so "auto" may stand for
        # what the job had: see `resolved_job`.
        own = {"search_steps": AUTO} if job.train.search_steps == AUTO else {}
        before["settings"]["train"] = NEUTRAL | own | before["settings"]["train"]
    if not before and has_trained(job):
        raise ValueError(
            "What was trained in a folder should have its settings beside it. Received: no "
            f"{path}. {_SETTINGS_GONE}"
        )
    old, settings = before.get("settings", {}), _plain(job.settings())
    fingerprint = None
    if job.has_records:
        manifest = load_manifest(job.records_dir)
        fingerprint = manifest["fingerprint"]
        if job.data is None:
            settings["data"] = manifest["options"] or None
        changed = (
            []
            if job.data is None
            else _difference(
                manifest["options"], _moved(settings["data"], manifest["options"]), "data"
            )
        )
        if job.data is not None and manifest.get("described") is not None and not changed:
            changed = _difference(
                manifest["described"], job.data.make_reader().described(), job.data.schema or "data"
            )
        if changed:
            raise ValueError(
                f"The settings of the data should be those that the records in {job.records_dir} "
                "were made with (or be left out), or the "
                f"folder another. Received: {'; '.join(changed)}"
            )
    if before and has_trained(job):
        changed = _difference(_but_data(old), _but_data(settings))
        known = before.get("data_fingerprint")
        changed += (
            _difference(known, fingerprint, "data fingerprint") if known and fingerprint else []
        )
        if changed:
            raise ValueError(
                f"The settings should be those that {path} was begun with, or `model_dir` another. "
                f"Received: {'; '.join(changed)}"
            )
        fingerprint = fingerprint or known
    chosen = job.choices() | {
        "calibrate": job.calibrate,
        "baselines": list(job.baselines),
        "data_dir": job.data_dir,
    }
    chosen |= {"distribution_strategy": job.distribution_strategy}
    now = {
        "settings": settings,
        "chosen": chosen,
        "data_fingerprint": fingerprint,
        "trained": before.get("trained"),
    }
    if now != before:
        write_json(path, now)


def has_trained(job: JobConfig) -> bool:
    """Whether any fit has left a state, or any search a result."""
    patterns = [
        os.path.join(glob.escape(job.path(stage)), "**", "state.json")
        for stage in ("search", "models")
    ]
    return os.path.exists(job.path("search", "result.json")) or any(
        glob.glob(pattern, recursive=True) for pattern in patterns
    )


def mark_trained(job: JobConfig) -> None:
    """Writes down the choices whose models are listed in `candidates.json`."""
    path = job.path("job.json")
    write_json(path, _written(path) | {"trained": job.choices()})


def check_trained(job: JobConfig) -> None:
    """Raises ValueError where the models listed in `candidates.json` are those of other choices, or
    where there are none."""
    path = job.path("job.json")
    trained = _written(path).get("trained")
    if trained is None:
        raise ValueError(
            "Models should be trained before this stage (retrain). Received: none in "
            f"{job.model_dir}"
        )
    with understanding(path):
        changed = _difference(_respelled(trained), _respelled(_plain(job.choices())))
    if changed:
        raise ValueError(
            "The choices should be those that models were last trained for (retrain). Received: "
            f"{'; '.join(changed)}"
        )


def _written(path: str) -> dict[str, Any]:
    """What `job.json` holds; nothing where there is none."""
    if integrity.damaged(path):
        raise ValueError(
            f"`job.json` should be as the job wrote it. Received: {path}, with another content. "
            f"{_SETTINGS_GONE}"
        )
    value = read_json(path)[0] if os.path.exists(path) else {}
    if not isinstance(value, dict) or not isinstance(value.get("settings", {}), dict):
        raise ValueError(
            f"`job.json` should hold a job's settings. Received: {path}, with other things. "
            f"{_SETTINGS_GONE}"
        )
    return value


def _but_data(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "data"}


def _respelled(choices: dict[str, Any]) -> dict[str, Any]:
    """The choices with the method in its one spelling."""
    return choices | {"method": " + ".join(map(str, parse_specs(choices["method"])))}


def _with_operands(spec: Spec) -> list[Spec]:
    return [spec, *(inner for operand in spec.operands for inner in _with_operands(operand))]


def _moved(options: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The options; a schema file that has only moved (as with a newly installed package) under its
    old path."""
    old, new = before.get("schema"), options["schema"]
    if old and new and not os.path.exists(old) and os.path.basename(old) == os.path.basename(new):
        return options | {"schema": old}
    return options


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _difference(before: Any, now: Any, name: str = "") -> list[str]:
    """One "`name` was ... and is ..." for every value that is not the same."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now))
        return [
            line
            for key in keys
            for line in _difference(before.get(key), now.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if before == now else [f"`{name}` was {before!r} and is {now!r}"]
