"""All absl flags and the settings made from them. The only place where flags are defined or read."""

from __future__ import annotations

import dataclasses
import glob
import os
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

PRESETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "presets")

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags, once per process."""
    if "model_dir" in FLAGS:
        return
    flags.DEFINE_string("model_dir", None, "Folder for everything the job writes.", required=True)
    flags.DEFINE_string("data_dir", None, "Folder of preprocessed records; default: MODEL_DIR/data.")
    # Data
    flags.DEFINE_string("reader", None, "Format of the log: criteo, movielens, libfm(...), table, planted(rows=...).")
    flags.DEFINE_list("input", [], "Files (or patterns) of the log, separated by commas.")
    flags.DEFINE_list("valid_input", [], "Files of the validation split, where it has its own.")
    flags.DEFINE_list("test_input", [], "Files of the test split, where it has its own.")
    flags.DEFINE_string("schema", None, "YAML file that describes the columns of a table.")
    flags.DEFINE_integer("min_count", 1, "Features seen less often in training become out-of-vocabulary.", lower_bound=1)
    flags.DEFINE_integer("max_vocab", None, "Most features per field, the most frequent ones; default: all.", lower_bound=1)
    flags.DEFINE_enum("split", "random", ["random", "sequential", "time"], "How rows are divided.")
    flags.DEFINE_list("fractions", ["0.8", "0.1", "0.1"], "Shares of training, validation and test rows.")
    flags.DEFINE_list("time_boundaries", [], "T1,T2 for --split=time: training <= T1 < validation <= T2 < test.")
    flags.DEFINE_integer("split_seed", 2021, "Seed of split and order of the records.")
    flags.DEFINE_float("positive_above", None, "A label above this is positive (ratings); default: the reader's rule.")
    flags.DEFINE_list("drop_labels", [], "Rows with these labels are left out.")
    flags.DEFINE_enum("numeric_transform", None, ["log_square", "floor"], "For all numeric fields; default: the reader's.")
    flags.DEFINE_bool("shadow_fields", False, "Add a row-shuffled copy of every field: known noise with real cardinality.")
    flags.DEFINE_integer("block_rows", 1024, "Rows per record.", lower_bound=1)
    # Search
    flags.DEFINE_string("model", "mlp", "Base model, with settings: mlp(hidden=(400,400,400), dropout=0.5).")
    flags.DEFINE_string("retrain_model", None, "Base model of the final models; default: --model.")
    flags.DEFINE_string("method", "irazor", "Search method, with settings: irazor(temperature=0.05, penalty=1e-3); A + B chains.")
    flags.DEFINE_string("task", "ctr", "Task.")
    flags.DEFINE_integer("width", 16, "Embedding width of every field in the search space.", lower_bound=1)
    flags.DEFINE_float("cpt", None, "Cumulative probability threshold of the method, instead of the one in --method.")
    flags.DEFINE_integer("budget_params", None, "Most embedding parameters of the found config.", lower_bound=1)
    flags.DEFINE_float("budget_mib", None, "Most MiB (float32) of embeddings of the found config.")
    flags.DEFINE_string("controls", "fde + magnitude + random", "Methods to compare with, joined by +; empty: none.")
    flags.DEFINE_bool("curve", False, "Also train other thresholds, uniform widths and the controls at those sizes.")
    # Training
    flags.DEFINE_integer("seed", 1, "Seed of initial values, noise and the order of rows.")
    flags.DEFINE_enum("distribution_strategy", "off", ["off", "one_device", "mirrored"], "tf.distribute strategy.")
    flags.DEFINE_bool("progress", True, "Show progress bars.")
    flags.DEFINE_bool("tensorboard", False, "Write curves for TensorBoard.")
    from irazor_tf.trainer import TrainOptions  # late: `--help` of a broken flag should not wait for TensorFlow

    for field in dataclasses.fields(TrainOptions):
        make: Any = {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}[type(field.default)]
        make(field.name, field.default, _HELP[field.name])


_HELP = {
    "batch_size": "Rows per step, over all replicas.",
    "epochs": "Most passes over the training rows.",
    "patience": "Epochs without a better validation metric before training stops; 0: never.",
    "metric": "Validation metric that decides (auc or log_loss).",
    "bias_optimizer": "Optimizer of first-order terms and bias.",
    "network_optimizer": "Optimizer of embeddings and dense layers.",
    "architecture_optimizer": "Optimizer of architecture parameters.",
    "embedding_l2": "Half of this times the mean squared norm of a row's embeddings enters the loss.",
    "linear_l2": "The same for first-order terms.",
    "stddev": "Standard deviation of the embeddings' initial values.",
    "eval_batch_size": "Rows per step of an evaluation.",
    "steps_per_execution": "Steps per call of the compiled function.",
    "checkpoint_steps": "Steps between checkpoints inside an epoch; 0: at the end of epochs.",
}


def job_config() -> Any:
    """The `JobConfig` that the flags describe."""
    from data_pipelines.preprocess import PreprocessOptions
    from irazor_tf.jobs import JobConfig
    from irazor_tf.registry import parse_specs
    from irazor_tf.trainer import TrainOptions

    data = None
    if FLAGS.reader is not None:
        data = PreprocessOptions(
            reader=FLAGS.reader,
            input=tuple(FLAGS.input),
            valid_input=tuple(FLAGS.valid_input),
            test_input=tuple(FLAGS.test_input),
            schema=FLAGS.schema,
            min_count=FLAGS.min_count,
            max_vocab=FLAGS.max_vocab,
            split=FLAGS.split,
            fractions=_numbers("fractions", 3),
            time_boundaries=_numbers("time_boundaries", 2) if FLAGS.time_boundaries else None,
            seed=FLAGS.split_seed,
            positive_above=FLAGS.positive_above,
            drop_labels=_numbers("drop_labels"),
            numeric_transform=FLAGS.numeric_transform,
            shadow_fields=FLAGS.shadow_fields,
            block_rows=FLAGS.block_rows,
        )
    method = FLAGS.method
    if FLAGS.cpt is not None:
        *before, last = parse_specs(method)
        method = " + ".join(map(str, (*before, last.replace(cpt=FLAGS.cpt))))
    return JobConfig(
        model_dir=FLAGS.model_dir,
        data=data,
        data_dir=FLAGS.data_dir,
        model=FLAGS.model,
        retrain_model=FLAGS.retrain_model,
        method=method,
        task=FLAGS.task,
        width=FLAGS.width,
        train=TrainOptions(**{field.name: getattr(FLAGS, field.name) for field in dataclasses.fields(TrainOptions)}),
        seed=FLAGS.seed,
        budget_params=FLAGS.budget_params,
        budget_mib=FLAGS.budget_mib,
        controls=tuple(map(str, parse_specs(FLAGS.controls))) if FLAGS.controls else (),
        curve=FLAGS.curve,
        distribution_strategy=FLAGS.distribution_strategy,
        progress=FLAGS.progress,
        tensorboard=FLAGS.tensorboard,
    )


def _numbers(name: str, count: int | None = None) -> Any:
    given = getattr(FLAGS, name)
    try:
        found = tuple(float(value) for value in given)
    except ValueError:
        found = ()
    if (count is not None and len(found) != count) or len(found) != len(given):
        raise ValueError(f"--{name} should be {count or 'some'} numbers separated by commas. Received: {','.join(given)}")
    return found


def run(stage: Callable[[Any], None], arguments: list[str] | None = None) -> None:
    """Parses the command line and runs one stage; bad input ends in one line on stderr and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    define()

    def main(rest: list[str]) -> int:
        logging.set_verbosity(logging.ERROR)
        try:
            if len(rest) > 1:
                raise ValueError(f"A job takes flags only. Received: {' '.join(rest[1:])}")
            stage(job_config())
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0

    app.run(main, [argument if i == 0 else _preset(argument) for i, argument in enumerate(arguments or sys.argv)])


def _preset(argument: str) -> str:
    """`--flagfile=NAME` finds the preset of that name where there is no such file."""
    key, _, name = argument.partition("=")
    path = os.path.join(PRESETS, f"{name}.flags")
    if key in ("--flagfile", "-flagfile") and not os.path.exists(name):
        if not os.path.exists(path):
            known = ", ".join(sorted(os.path.basename(found)[:-6] for found in glob.glob(os.path.join(PRESETS, "*.flags"))))
            sys.exit(f"error: --flagfile should be a file or one of: {known}. Received: {name!r}")
        return f"{key}={path}"
    return argument
