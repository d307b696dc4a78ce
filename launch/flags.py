"""All absl flags and the settings made from them. The only place
where flags are defined or read."""

from __future__ import annotations

import dataclasses
import errno
import glob
import logging as std_logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from launch.quiet import import_tensorflow
from launch.signals import Terminated, terminable

_GOES_ON = "The same command goes on from the last checkpoint"
PRESETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "presets")

FLAGS = flags.FLAGS
_AUTO_WORDS = "auto: by the log's size."

# The flags as `--help` groups them; absl knows a group as the module that its flags belong to.
_JOB, _DATA, _SEARCH, _COMPARE, _TRAIN, _RUN = GROUPS = (
    "The job",
    "The data",
    "The search",
    "What is trained and compared",
    "Training, of searches and final models alike",
    "Running",
)


def define() -> None:
    """Defines the flags, once per process. Without TensorFlow, so that `--help` and a mistyped flag
    need not wait for it."""
    if "model_dir" in FLAGS:
        return
    from irazor_tf.config.registry import entries

    flags.DEFINE_string(
        "model_dir", None, "Folder for everything the job writes.", required=True, module_name=_JOB
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Folder of preprocessed records; default: MODEL_DIR/data.",
        module_name=_JOB,
    )
    flags.DEFINE_integer(
        "seed", 1, "Seed of initial values, noise and the order of rows.", module_name=_JOB
    )

    flags.DEFINE_string(
        "reader",
        None,
        "Format of the log: criteo, movielens, libfm(names=...), table (with --schema), "
        "planted(rows=...), planted_groups(rows=...).",
        module_name=_DATA,
    )
    flags.DEFINE_list("input", [], "Files (or patterns) of the log.", module_name=_DATA)
    flags.DEFINE_list(
        "valid_input", [], "Files of the validation split, where it has its own.", module_name=_DATA
    )
    flags.DEFINE_list(
        "test_input", [], "Files of the test split, where it has its own.", module_name=_DATA
    )
    flags.DEFINE_string(
        "schema",
        None,
        "YAML file that describes the columns of a table, or the name of a preset.",
        module_name=_DATA,
    )
    _define_auto(
        "min_count",
        "Features seen less often in training become out-of-vocabulary.",
        _DATA,
        int,
        least=1,
    )
    flags.DEFINE_integer(
        "max_vocab",
        None,
        "Most features per field, the most frequent ones; default: all.",
        lower_bound=1,
        module_name=_DATA,
    )
    flags.DEFINE_enum(
        "split",
        "random",
        ["random", "sequential", "time"],
        "How rows are divided.",
        module_name=_DATA,
    )
    flags.DEFINE_list(
        "fractions",
        ["0.8", "0.1", "0.1"],
        "Shares of training, validation and test rows.",
        module_name=_DATA,
    )
    flags.DEFINE_list(
        "time_boundaries",
        [],
        "T1,T2 for --split=time: training <= T1 < validation <= T2 < test.",
        module_name=_DATA,
    )
    flags.DEFINE_integer(
        "split_seed", 2021, "Seed of split and order of the records.", module_name=_DATA
    )
    flags.DEFINE_float(
        "positive_above",
        None,
        "A label above this is positive (ratings); default: the reader's rule.",
        module_name=_DATA,
    )
    flags.DEFINE_list("drop_labels", [], "Rows with these labels are left out.", module_name=_DATA)
    flags.DEFINE_enum(
        "numeric_transform",
        None,
        ["log_square", "floor"],
        "For all numeric fields; default: the reader's.",
        module_name=_DATA,
    )
    flags.DEFINE_bool(
        "shadow_fields",
        False,
        "Add a row-shuffled copy of every field: known noise with real cardinality.",
        module_name=_DATA,
    )
    flags.DEFINE_integer("block_rows", 1024, "Rows per record.", lower_bound=1, module_name=_DATA)

    flags.DEFINE_string(
        "model",
        "mlp",
        f"Base model ({', '.join(entries('irazor_tf.models'))}), with settings: "
        "mlp(hidden=(400,400,400), dropout=0.5).",
        module_name=_SEARCH,
    )
    flags.DEFINE_string(
        "method",
        "irazor",
        f"Search method ({', '.join(entries('irazor_tf.methods'))}), with settings: "
        "irazor(temperature=0.05, penalty=1e-3); A + B chains.",
        module_name=_SEARCH,
    )
    flags.DEFINE_string("task", "ctr", "Task.", module_name=_SEARCH)
    flags.DEFINE_integer(
        "width",
        16,
        "Embedding width of every field in the search space.",
        lower_bound=1,
        module_name=_SEARCH,
    )
    flags.DEFINE_float(
        "cpt",
        None,
        "Cumulative probability threshold of the (last) method, instead of the one in --method; "
        "may change after a search.",
        module_name=_SEARCH,
    )
    flags.DEFINE_integer(
        "budget_params",
        None,
        "Most embedding parameters of the found config; 0: no budget, where a preset has one; may "
        "change after a search.",
        lower_bound=0,
        module_name=_SEARCH,
    )
    flags.DEFINE_float(
        "budget_mib", None, "The same in MiB of float32 values.", module_name=_SEARCH
    )

    flags.DEFINE_string(
        "retrain_model",
        None,
        "Base model of the final models; default: --model.",
        module_name=_COMPARE,
    )
    flags.DEFINE_string(
        "controls",
        "fde + magnitude + random",
        "Methods to compare with, joined by +; empty: none. May change after a search.",
        module_name=_COMPARE,
    )
    flags.DEFINE_bool(
        "curve",
        False,
        "Also train other thresholds (`sweep` of the method: irazor(sweep=(0.2, 0.6))), uniform "
        "widths and the controls at those sizes. "
        "May change after a search.",
        module_name=_COMPARE,
    )
    flags.DEFINE_bool(
        "calibrate",
        False,
        "Serve probabilities corrected by slope and intercept of the logit, fitted on the "
        "validation split. May change after a search.",
        module_name=_COMPARE,
    )
    flags.DEFINE_list(
        "baselines",
        ["logistic_regression", "gradient_boosting"],
        "Models without embeddings that are fitted to the same rows, to compare with; empty: none. "
        "May change at any time.",
        module_name=_COMPARE,
    )

    _define_auto("batch_size", "Rows per step, over all replicas.", _TRAIN, int, least=1)
    _define_auto("epochs", "Most passes over the training rows.", _TRAIN, int, least=1)
    _define_auto(
        "patience",
        "Epochs without a better validation metric before training stops; 0: never.",
        _TRAIN,
        int,
    )
    flags.DEFINE_string(
        "metric",
        "log_loss",
        "Validation metric that decides (auc or log_loss).",
        module_name=_TRAIN,
    )
    flags.DEFINE_string(
        "bias_optimizer",
        "auto",
        f"Optimizer of first-order terms and bias. {_AUTO_WORDS}",
        module_name=_TRAIN,
    )
    kinds = "adagrad, adam, lazy_adam, ftrl or sgd, with settings"
    flags.DEFINE_string(
        "network_optimizer",
        "auto",
        f"Optimizer of embeddings and dense layers: {kinds}. {_AUTO_WORDS}",
        module_name=_TRAIN,
    )
    flags.DEFINE_string(
        "architecture_optimizer",
        "adagrad(learning_rate=0.02)",
        "Optimizer of architecture parameters.",
        module_name=_TRAIN,
    )
    _define_auto(
        "embedding_l2",
        "Half of this times the mean squared norm of a row's embeddings enters the loss.",
        _TRAIN,
        float,
    )
    flags.DEFINE_float("linear_l2", 0.0, "The same for first-order terms.", module_name=_TRAIN)
    ridge = (
        "Half of this times the squared norm of all embeddings enters the loss of an epoch, "
        "summed over its rows: 1/C of scikit-learn."
    )
    _define_auto("embedding_ridge", ridge, _TRAIN, float)
    _define_auto("linear_ridge", "The same for first-order terms.", _TRAIN, float)
    _define_auto(
        "search_steps",
        "Steps of a search by a method with a setting of this name that its spec does not give; 0: "
        "one epoch.",
        _TRAIN,
        int,
    )
    flags.DEFINE_float(
        "stddev", 0.01, "Standard deviation of the embeddings' initial values.", module_name=_TRAIN
    )
    flags.DEFINE_integer(
        "eval_batch_size", 8192, "Rows per step of an evaluation.", module_name=_TRAIN
    )
    flags.DEFINE_integer(
        "steps_per_execution", 8, "Steps per call of the compiled function.", module_name=_TRAIN
    )
    flags.DEFINE_integer(
        "checkpoint_steps",
        0,
        "Steps between checkpoints inside an epoch; 0: at the end of epochs.",
        module_name=_TRAIN,
    )

    flags.DEFINE_enum(
        "distribution_strategy",
        "off",
        ["off", "one_device", "mirrored"],
        "tf.distribute strategy.",
        module_name=_RUN,
    )
    flags.DEFINE_bool("progress", True, "Show progress bars.", module_name=_RUN)
    flags.DEFINE_bool("tensorboard", False, "Write curves for TensorBoard.", module_name=_RUN)


class _AutoParser(flags.ArgumentParser):
    """A number, or "auto".

    Args:
      kind: int or float.
      least: the smallest number allowed.
    """

    def __init__(self, kind: type, least: int):
        self.syntactic_help = (
            f"auto, or {'a whole number' if kind is int else 'a number'} of at least {least}"
        )
        self._kind, self._least = kind, least

    def parse(self, argument: Any) -> Any:
        if argument == "auto":
            return argument
        try:
            value = self._kind(argument)
        except (TypeError, ValueError):
            value = None
        if (
            isinstance(argument, bool)
            or value is None
            or not value >= self._least
            or value == float("inf")
        ):
            raise ValueError(f"should be {self.syntactic_help}. Received: {argument!r}")
        return value

    def flag_type(self) -> str:
        return "auto or number"


def _define_auto(name: str, help_text: str, group: str, kind: type, least: int = 0) -> None:
    """A flag whose default, "auto", is resolved when the log's size is known."""
    parser, words = _AutoParser(kind, least), f"{help_text} {_AUTO_WORDS}"
    flags.DEFINE(
        parser, name, "auto", words, module_name=group, serializer=flags.ArgumentSerializer()
    )


def job_config() -> Any:
    """The `JobConfig` that the flags describe."""
    from data_pipelines.preprocess import PreprocessOptions
    from irazor_tf.config.specs import parse_specs
    from irazor_tf.jobs.config import JobConfig
    from irazor_tf.training.options import TrainOptions

    data = None
    if FLAGS.reader is not None:
        data = PreprocessOptions(
            reader=FLAGS.reader,
            input=tuple(FLAGS.input),
            valid_input=tuple(FLAGS.valid_input),
            test_input=tuple(FLAGS.test_input),
            schema=_schema(FLAGS.schema),
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
    given = [
        name for name in ("cpt", "budget_params", "budget_mib") if getattr(FLAGS, name) is not None
    ]
    if FLAGS.budget_params == 0:
        given.remove("budget_params")
    if len(given) > 1:
        received = (
            f"{' and '.join(given)} (--budget_params=0 after --flagfile takes a preset's away)"
        )
        raise ValueError(
            "At most one of --cpt, --budget_params and --budget_mib should be given. Received: "
            f"{received}"
        )
    method = FLAGS.method
    if FLAGS.cpt is not None:
        if not 0 <= FLAGS.cpt <= 1:  # nan is in no interval
            raise ValueError(f"--cpt should lie in [0, 1]. Received: {FLAGS.cpt}")
        *before, last = parse_specs(method)
        method = " + ".join(map(str, (*before, _with_cpt(last))))
    return JobConfig(
        model_dir=FLAGS.model_dir,
        data=data,
        data_dir=FLAGS.data_dir,
        model=FLAGS.model,
        retrain_model=FLAGS.retrain_model,
        method=method,
        task=FLAGS.task,
        width=FLAGS.width,
        train=TrainOptions(
            **{field.name: getattr(FLAGS, field.name) for field in dataclasses.fields(TrainOptions)}
        ),
        seed=FLAGS.seed,
        budget_params=FLAGS.budget_params or None,
        budget_mib=FLAGS.budget_mib,
        controls=tuple(map(str, parse_specs(FLAGS.controls))) if FLAGS.controls else (),
        curve=FLAGS.curve,
        calibrate=FLAGS.calibrate,
        baselines=tuple(FLAGS.baselines),
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
        raise ValueError(
            f"--{name} should be {count or 'some'} numbers separated by commas. Received: "
            f"{','.join(given)}"
        )
    return found


def _with_cpt(spec: Any) -> Any:
    """The spec with --cpt, given to the method that a method works on, if there is one."""
    if spec.operands:
        return dataclasses.replace(spec, operands=tuple(map(_with_cpt, spec.operands)))
    return spec.replace(cpt=FLAGS.cpt)


def run(stage: Callable[[Any], None], arguments: list[str] | None = None) -> None:
    """Parses the command line and runs one stage; bad input ends in one line on stderr and exit
    code 2."""
    define()
    given = sys.argv if arguments is None else arguments
    if {"--help", "-help", "-h", "--helpshort", "-helpshort"} & set(given[1:]):
        print(help_text(given[0], sys.modules[stage.__module__].__doc__ or ""))
        sys.exit(0)

    def parse(words: list[str]) -> list[str]:
        try:
            return FLAGS(with_presets(words))
        except (flags.Error, ValueError) as error:
            print(f"error: {_one_line(error)} (--help lists the flags)", file=sys.stderr)
            sys.exit(2)

    def main(rest: list[str]) -> int:
        logging.set_verbosity(logging.ERROR)  # the libraries'; what a job leaves out is said
        logging.get_absl_handler().setFormatter(std_logging.Formatter("%(levelname)s: %(message)s"))
        std_logging.getLogger("irazor_tf").setLevel(std_logging.INFO)
        try:
            if len(rest) > 1:
                raise ValueError(f"A job takes flags only. Received: {' '.join(rest[1:])}")
            with terminable():
                import_tensorflow()
                stage(job_config())
        except (ValueError, OSError) as error:
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            return _fail(_one_line(error) + (f". Make room. {_GOES_ON}" if full else ""), 2)
        except KeyboardInterrupt:
            return _fail(f"interrupted. {_GOES_ON}", 128 + signal.SIGINT)
        except Terminated:
            return _fail(f"terminated. {_GOES_ON}", 128 + signal.SIGTERM)
        except Exception as error:
            if not _exhausted(error):
                raise
            return _fail(f"no more memory, or no more room on the disk: {_one_line(error)}", 2)
        return 0

    app.run(main, given, flags_parser=parse)


def _exhausted(error: Exception) -> bool:
    """Whether memory or disk are full: Python says so in one way, TensorFlow in another."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def help_text(program: str, what: str) -> str:
    """What `--help` prints: what the job does, and all flags, by group."""
    names = ", ".join(_known("flags"))
    lines = [
        what.strip(),
        "",
        f"usage: {program} --model_dir=DIR [flags]",
        "",
        "All jobs of one MODEL_DIR take the same flags (a file of them: --flagfile=FILE). What is "
        "finished is not done again, what was",
        "interrupted goes on, and what would not fit to it is refused.",
        f"--flagfile also takes the name of a preset: {names}.",
    ]
    for group in GROUPS:
        lines.append(FLAGS.module_help(group))
    return "\n".join([*lines, "", "--helpfull lists the flags of the libraries, too."])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _known(ending: str) -> list[str]:
    """Names of the presets with this ending."""
    return sorted(
        os.path.basename(found).removesuffix(f".{ending}")
        for found in glob.glob(os.path.join(PRESETS, f"*.{ending}"))
    )


def _preset(flag: str, name: str, ending: str) -> str:
    """The file called `name`, or else the preset of that name."""
    path = os.path.join(PRESETS, f"{name}.{ending}")
    if not os.path.isfile(name) and name in _known(ending):
        return path
    if not os.path.exists(name):
        from irazor_tf.config.checks import did_you_mean

        raise ValueError(
            f"--{flag} should be a file or one of: {', '.join(_known(ending))}. "
            f"{did_you_mean(name, _known(ending))}"
        )
    return name


def with_presets(words: list[str]) -> list[str]:
    """The command line with the paths of presets for their names."""
    found = list(words)
    for place, word in enumerate(words):
        key, equals, name = word.partition("=")
        if word == "--":
            break
        if key not in ("--flagfile", "-flagfile"):
            continue
        if equals:
            found[place] = f"{key}={_preset('flagfile', name, 'flags')}"
        elif place + 1 < len(words):
            found[place + 1] = _preset("flagfile", words[place + 1], "flags")
    return found


def _schema(name: str | None) -> str | None:
    return None if name is None else _preset("schema", name, "yaml")
