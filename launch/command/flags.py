"""The definitions of all absl flags. What they become: launch/command/job.py.

A setting of training or of the data has no line here: its flag is made from the field of
`TrainOptions` or `PreprocessOptions` (launch/command/setting_flags.py). No TensorFlow import, so
that `--help` and a mistyped flag need not wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from absl import flags

from launch.command.flagfiles import preset_names
from launch.command.setting_flags import define_settings

FLAGS = flags.FLAGS

# The flags as `--help` groups them; absl knows a group as the module that its flags belong to.
_JOB, _DATA, _SEARCH, _COMPARE, _TRAIN, _RUN = GROUPS = (
    "The job",
    "The data",
    "The search",
    "What is trained and compared",
    "Training, of searches and final models alike",
    "Running",
)
# Field of `PreprocessOptions` -> its flag, where that is called otherwise; None: there is none.
DATA_FLAGS: Mapping[str, str | None] = {"seed": "split_seed", "num_files": None}


def define(plugins: Sequence[str] = ()) -> None:
    """Defines the flags, once per process.

    Args:
      plugins: Plug-ins whose entries are named in the help texts, too.
    """
    if "model_dir" in FLAGS:
        return
    from data_pipelines.options import SPLIT_RULES, PreprocessOptions
    from irazor_tf.config.schema import TRANSFORMS
    from irazor_tf.training.options import TrainOptions

    names = _entry_names(plugins)
    _define_job()
    define_settings(
        PreprocessOptions(""),
        _DATA,
        DATA_FLAGS,
        choices={"split": SPLIT_RULES, "numeric_transform": TRANSFORMS[1:]},
        further={
            "reader": f"The readers are {names['reader']}; the command `settings NAME` lists what "
            "one takes.",
            "schema": f"Or the name of a preset: {', '.join(preset_names('yaml'))}.",
        },
    )
    _define_search(names)
    _define_comparison()
    define_settings(TrainOptions(), _TRAIN)
    _define_running()


def _entry_names(plugins: Sequence[str]) -> dict[str, str]:
    """Kind of entry -> the names that its open set and the plug-ins have, for a help text."""
    from irazor_tf.config.plugins import entries_of
    from irazor_tf.config.registry import OPEN_SETS, entries

    added = [entry for plugin in plugins for entry in entries_of(plugin)]
    return {
        kind: ", ".join(sorted({*entries(package), *(name for k, name in added if k == kind)}))
        for kind, package in OPEN_SETS.items()
    }


def _define_job() -> None:
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
    flags.DEFINE_multi_string(
        "plugin",
        [],
        "Python files or modules, joined by commas, that register methods, base models, tasks or "
        "readers of their own",
        module_name=_JOB,
    )


def _define_search(names: Mapping[str, str]) -> None:
    flags.DEFINE_string(
        "model",
        "mlp",
        f"Base model ({names['model']}), with settings: mlp(hidden=(400,400,400), dropout=0.5).",
        module_name=_SEARCH,
    )
    flags.DEFINE_string(
        "method",
        "irazor",
        f"Search method ({names['method']}), with settings: "
        "irazor(temperature=0.05, penalty=1e-3); A + B chains.",
        module_name=_SEARCH,
    )
    flags.DEFINE_string("task", "ctr", f"Task ({names['task']}).", module_name=_SEARCH)
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


def _define_comparison() -> None:
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


def _define_running() -> None:
    from irazor_tf.training.options import STRATEGIES

    flags.DEFINE_enum(
        "distribution_strategy",
        STRATEGIES[0],
        STRATEGIES,
        "tf.distribute strategy.",
        module_name=_RUN,
    )
    flags.DEFINE_bool("progress", True, "Show progress bars.", module_name=_RUN)
    flags.DEFINE_bool("tensorboard", False, "Write curves for TensorBoard.", module_name=_RUN)
