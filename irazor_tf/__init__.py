"""irazor_tf: which input fields of a recommender model deserve to stay, and how wide each one's
embedding should be.

    import irazor_tf

    data = irazor_tf.PreprocessOptions("table", input="log.csv", schema="log.yaml")
    irazor_tf.pipeline(irazor_tf.JobConfig("runs/first", data=data))
    score = irazor_tf.load_export("runs/first/export/1")

The names below are loaded when they are first asked for, so that `import irazor_tf` is quick and
free of TensorFlow. `irazor_tf.search` and `irazor_tf.report` are the packages of these names; the
stages that are called alike are `irazor_tf.stages.search` and `irazor_tf.stages.report`.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_pipelines.options import PreprocessOptions as PreprocessOptions
    from data_pipelines.reader import READERS as _READERS
    from data_pipelines.reader import Reader as Reader
    from irazor_tf.config.input_config import InputConfig as InputConfig
    from irazor_tf.config.schema import Schema as Schema
    from irazor_tf.config.search_result import SearchResult as SearchResult
    from irazor_tf.evaluation.task import TASKS as _TASKS
    from irazor_tf.evaluation.task import Task as Task
    from irazor_tf.jobs import stages as stages
    from irazor_tf.jobs.config import JobConfig as JobConfig
    from irazor_tf.jobs.stages import evaluate as evaluate
    from irazor_tf.jobs.stages import export as export
    from irazor_tf.jobs.stages import pipeline as pipeline
    from irazor_tf.jobs.stages import preprocess as preprocess
    from irazor_tf.jobs.stages import retrain as retrain
    from irazor_tf.jobs.stages import tune as tune
    from irazor_tf.model.base import MODELS as _MODELS
    from irazor_tf.model.base import BaseModel as BaseModel
    from irazor_tf.model.gate import Gate as Gate
    from irazor_tf.search.method import METHODS as _METHODS
    from irazor_tf.search.method import SearchMethod as SearchMethod
    from irazor_tf.serving.scorer import Scorer as _Scorer
    from irazor_tf.training.options import TrainOptions as TrainOptions

    load_export = _Scorer
    register_method, register_model = _METHODS.register, _MODELS.register
    register_task, register_reader = _TASKS.register, _READERS.register

# TensorFlow Recommenders refuses to import under Keras 3. The choice is the process's own: it is
# made here only where TensorFlow is not loaded yet and nobody has chosen.
if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

__version__ = "0.1.0"

# Name -> where it is, "module:name in it"; a type checker reads the same from the imports above.
_HOMES = {
    # A job: its settings, its stages, what it leaves.
    "JobConfig": "irazor_tf.jobs.config:JobConfig",
    "PreprocessOptions": "data_pipelines.options:PreprocessOptions",
    "TrainOptions": "irazor_tf.training.options:TrainOptions",
    "Schema": "irazor_tf.config.schema:Schema",
    "InputConfig": "irazor_tf.config.input_config:InputConfig",
    "SearchResult": "irazor_tf.config.search_result:SearchResult",
    "stages": "irazor_tf.jobs.stages",
    "preprocess": "irazor_tf.jobs.stages:preprocess",
    "tune": "irazor_tf.jobs.stages:tune",
    "retrain": "irazor_tf.jobs.stages:retrain",
    "evaluate": "irazor_tf.jobs.stages:evaluate",
    "export": "irazor_tf.jobs.stages:export",
    "pipeline": "irazor_tf.jobs.stages:pipeline",
    "load_export": "irazor_tf.serving.scorer:Scorer",
    # A plug-in: the contracts, and decorators that add an entry.
    "SearchMethod": "irazor_tf.search.method:SearchMethod",
    "Gate": "irazor_tf.model.gate:Gate",
    "BaseModel": "irazor_tf.model.base:BaseModel",
    "Task": "irazor_tf.evaluation.task:Task",
    "Reader": "data_pipelines.reader:Reader",
    "register_method": "irazor_tf.search.method:METHODS.register",
    "register_model": "irazor_tf.model.base:MODELS.register",
    "register_task": "irazor_tf.evaluation.task:TASKS.register",
    "register_reader": "data_pipelines.reader:READERS.register",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = pkgutil.resolve_name(_HOMES[name])
    globals()[name] = value  # so that it is looked up once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
