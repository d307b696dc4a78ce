"""The job that the flags describe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from launch.command.flagfiles import file_or_preset
from launch.command.flags import DATA_FLAGS, FLAGS
from launch.command.setting_flags import kinds_of

if TYPE_CHECKING:
    from irazor_tf.config.specs import Spec
    from irazor_tf.jobs.config import JobConfig


def job_config() -> JobConfig:
    """The `JobConfig` that the flags, already parsed, describe.

    Raises:
      ValueError: flags that do not go together, or a value that a setting does not take.
    """
    from data_pipelines.options import PreprocessOptions
    from irazor_tf.config.specs import parse_specs
    from irazor_tf.jobs.config import JobConfig
    from irazor_tf.training.options import TrainOptions

    data = None
    if FLAGS.reader is not None:
        data = PreprocessOptions(**_values(PreprocessOptions, DATA_FLAGS))
    _check_one_size()
    return JobConfig(
        model_dir=FLAGS.model_dir,
        data=data,
        data_dir=FLAGS.data_dir,
        model=FLAGS.model,
        retrain_model=FLAGS.retrain_model,
        method=_method(),
        task=FLAGS.task,
        width=FLAGS.width,
        train=TrainOptions(**_values(TrainOptions, {})),
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


def _check_one_size() -> None:
    """Raises ValueError where more than one flag says how large the found config is to be."""
    names = ("cpt", "budget_params", "budget_mib")
    chosen = [name for name in names if getattr(FLAGS, name) is not None]
    if FLAGS.budget_params == 0:
        chosen.remove("budget_params")
    if len(chosen) > 1:
        raise ValueError(
            "At most one of --cpt, --budget_params and --budget_mib should be given. Received: "
            f"{' and '.join(chosen)} (--budget_params=0 after --flagfile takes a preset's away)"
        )


def _method() -> str:
    """--method, with --cpt for the threshold of its last method."""
    from irazor_tf.config.specs import parse_specs

    if FLAGS.cpt is None:
        return FLAGS.method
    if not 0 <= FLAGS.cpt <= 1:  # nan is in no interval
        raise ValueError(f"--cpt should lie in [0, 1]. Received: {FLAGS.cpt}")
    *before, last = parse_specs(FLAGS.method)
    return " + ".join(map(str, (*before, _with_cpt(last))))


def _with_cpt(spec: Spec) -> Spec:
    """The spec with --cpt, which goes to the method that a method works on, if there is one."""
    if spec.operands:
        return dataclasses.replace(spec, operands=tuple(map(_with_cpt, spec.operands)))
    return spec.replace(cpt=FLAGS.cpt)


def _values(settings: type, renamed: Mapping[str, str | None]) -> dict[str, Any]:
    """Field of a dataclass -> what its flag gives it; fields without a flag are left out."""
    hints = get_type_hints(settings)
    flags = {field: renamed.get(field, field) for field in hints}
    return {field: _value(flag, hints[field]) for field, flag in flags.items() if flag is not None}


def _value(flag: str, hint: Any) -> Any:
    """What a flag gives to a field with the annotation `hint`."""
    value: Any = FLAGS[flag].value
    if flag == "schema" and value is not None:
        return file_or_preset(flag, value, "yaml")
    items = next((get_args(kind) for kind in kinds_of(hint) if get_origin(kind) is tuple), None)
    if items is None:
        return value
    if not value and type(None) in kinds_of(hint):
        return None
    if items[0] is str:
        return tuple(value)
    return _numbers(flag, value, None if ... in items else len(items))


def _numbers(flag: str, words: Sequence[str], count: int | None) -> tuple[float, ...]:
    """The numbers that a flag lists; None: any number of them."""
    try:
        numbers = tuple(map(float, words))
    except ValueError:
        numbers = ()
    if (count is not None and len(numbers) != count) or len(numbers) != len(words):
        raise ValueError(
            f"--{flag} should be {count or 'some'} numbers separated by commas. Received: "
            f"{','.join(words)}"
        )
    return numbers
