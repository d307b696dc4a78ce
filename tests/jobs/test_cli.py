"""The command line: help, one line for bad input, names that do not exist, flags that agree with
what they set."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys

import pytest
from absl import flags as absl_flags

from data_pipelines.preprocess import PreprocessOptions
from data_pipelines.reader import READERS
from irazor_tf.evaluation.task import TASKS
from irazor_tf.jobs import stages as jobs
from irazor_tf.jobs.config import JobConfig
from irazor_tf.model.base import MODELS
from irazor_tf.search.method import METHODS
from irazor_tf.training.options import TrainOptions
from irazor_tf.training.updates.optimizers import make_optimizer
from launch import quiet, settings
from launch.command import flags
from launch.command.documented import documented
from launch.command.flagfiles import file_or_preset, with_presets
from launch.stages import STAGES
from tests.conformance.toys import TOYS
from tests.jobs.program import ROOT, error_of, irazor, loud
from tests.jobs.small_jobs import SMALL, job_of, words

# Help ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--help",), ("help",)])
def test_help_of_the_program(arguments):
    done = irazor(*arguments)
    assert done.returncode == 0 and not done.stderr
    for name in STAGES:
        assert f"\n  {name} " in done.stdout
        assert (ROOT / "launch" / f"{name}.py").exists()
    assert (
        "irazor pipeline --reader=table" in done.stdout
        and max(map(len, done.stdout.splitlines())) <= 120
    )


@pytest.mark.parametrize("name", STAGES)
def test_help_of_a_job_lists_every_flag_by_group(name):
    done = irazor(name, "--help")
    assert done.returncode == 0 and not done.stderr, "no TensorFlow for a help text"
    assert f"usage: irazor {name} --model_dir=DIR [flags]" in done.stdout
    places = [done.stdout.index(f"\n{group}:\n") for group in flags.GROUPS]
    assert places == sorted(places)
    flags.define()
    shown = {
        line.split(":")[0].replace("[no]", "").strip()
        for line in done.stdout.splitlines()
        if line.startswith("  --")
    }
    by_module = absl_flags.FLAGS.flags_by_module_dict()
    ours = {f"--{flag.name}" for group in flags.GROUPS for flag in by_module[group]}
    assert shown == ours and len(ours) > 40
    assert "--flagfile also takes the name of a preset: adult, avazu" in done.stdout
    text = " ".join(done.stdout.split())
    for kind, registry in (("Search method", METHODS), ("Base model", MODELS), ("Task", TASKS)):
        assert f"{kind} ({', '.join(registry.names())})" in text
    assert f"The readers are {', '.join(READERS.names())};" in text


def test_settings_are_listed():
    """Of every entry: each setting, its default, and words on it."""
    done = irazor("settings", "ham", "dnis")
    assert (
        done.returncode == 0
        and "\n  mu = 5e-05\n      The distance by which every alpha drifts in a step "
        "(mu of equation 3), above 0.\n"
        in done.stdout
    )
    assert (
        "preset='small_log': alpha_optimizer='sgd(learning_rate=1.0)', mu=0.0003, epochs=12\n"
        in done.stdout
    )
    assert "\n\ndnis: " in done.stdout and "\n  compression = " in done.stdout
    assert error_of(irazor("settings", "hma")).startswith("error: A name should be one of dnis, ")
    assert settings.listed().splitlines()[0] == f"method:  {', '.join(METHODS.names())}"
    undescribed = [
        (name, field.name)
        for registry in (METHODS, MODELS, TASKS, READERS)
        for name in registry.names()
        for field in dataclasses.fields(registry.get(name).Params)
        if f"\n  {field.name} = {field.default!r}\n      " not in settings.settings_of(name)
    ]
    assert not undescribed
    for registry in (METHODS, MODELS, TASKS, READERS):
        for name in registry.names():
            assert max(map(len, settings.settings_of(name).splitlines())) <= 100
    assert "\n  metrics: auc (larger is better), log_loss (smaller is" in settings.settings_of(
        "ctr"
    )


def test_documentation_is_read_whole():
    @dataclasses.dataclass
    class Base:
        """Settings.

        Args:
          a, `b`: Of both,
            on two lines.

            And in a second paragraph: with
              - an indented point.
          c: Of the base.

        Raises:
          ValueError: never.
        """

    @dataclasses.dataclass
    class Derived(Base):
        """More.

        Args:
          `c`: int. Of this one.
        """

    both = "Of both, on two lines. And in a second paragraph: with - an indented point."
    assert documented(Derived) == {"c": "int. Of this one.", "a": both, "b": both}


def test_flags_are_defined_without_tensorflow():
    code = (
        "import sys; from launch.command.flags import define; define(); "
        "print('tensorflow' in sys.modules)"
    )
    assert python(code, ROOT).stdout == "False\n"


def test_help_without_the_program():
    done = subprocess.run(
        [sys.executable, "-m", "launch.search", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert (
        done.returncode == 0
        and "The search:" in done.stdout
        and done.stdout.startswith("Records -> the found config: which fields stay and how wide.")
    )


def test_flags_have_the_defaults_of_what_they_set():
    flags.define()
    for field in dataclasses.fields(TrainOptions):
        flag = absl_flags.FLAGS[field.name]
        assert flag.default == field.default and type(flag.default) is type(field.default), (
            field.name
        )
    assert job_of({"model_dir": "d"}).train == TrainOptions()
    job = job_of({"model_dir": "d", "reader": "criteo", "input": "a,b"})
    assert job.data == PreprocessOptions(reader="criteo", input=("a", "b"))
    assert job == JobConfig(model_dir="d", data=job.data)
    assert job_of({"model_dir": "d"}) == JobConfig("d") and JobConfig("d").controls


def test_the_help_text_of_a_setting_is_its_documentation():
    """Where that lists the optimizers, it lists them all."""
    flags.define()
    for options in (TrainOptions, PreprocessOptions):
        assert set(documented(options)) == {field.name for field in dataclasses.fields(options)}
        for name, text in documented(options).items():
            flag = flags.DATA_FLAGS.get(name, name) if options is PreprocessOptions else name
            if flag is not None:
                assert text[0].upper() + text[1:] in absl_flags.FLAGS[flag].help
    with pytest.raises(ValueError) as caught:
        make_optimizer("none")
    names = str(caught.value).partition("one of ")[2].partition(". ")[0].split(", ")
    assert len(names) > 3
    assert all(f" {name}" in absl_flags.FLAGS["network_optimizer"].help for name in names)


def test_every_setting_has_a_flag():
    flags.define()
    named = set(absl_flags.FLAGS)
    of_data = {field.name for field in dataclasses.fields(PreprocessOptions)} - {
        "seed",
        "num_files",
    } | {"split_seed"}
    assert of_data <= named
    assert {field.name for field in dataclasses.fields(JobConfig)} - named == {"data", "train"}


# Signals ------------------------------------------------------------------------------------------

# Runs the program in a process that sends itself a signal when it begins to import a module.
_STRUCK = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs are started without
number, moment = int(sys.argv[1]), sys.argv[2]
class Watch:
    def find_spec(self, name, *_):
        if name == moment:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Watch())
from launch.main import main
sys.argv = ["irazor", *sys.argv[3:]]
main()
"""  # noqa: E501


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
@pytest.mark.parametrize(
    ("moment", "arguments"),
    [
        ("launch.stages", ["search", "--model_dir=d"]),
        ("absl", ["search", "--model_dir=d"]),
        ("irazor_tf.config.registry", ["search", "--model_dir=d"]),
        ("irazor_tf.config.checks", ["serch"]),
        ("tensorflow", ["settings", "ham"]),
    ],
)
def test_a_signal_while_the_program_starts_ends_in_one_line(
    number, word, moment, arguments, tmp_path
):
    command = [sys.executable, "-c", _STRUCK, str(int(number)), moment, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=loud(), cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (128 + number, f"error: {word}\n")
    assert not list(tmp_path.iterdir())


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["pipelin"],
            "one of preprocess, tune, search, retrain, evaluate, export, report, pipeline (or "
            "settings).",
        ),
        (["pipelin"], "Received: 'pipelin' (did you mean 'pipeline'?)"),
        (["search"], "--model_dir"),
        (["search", "--model_dir=d", "--epoch=3"], "Unknown command line flag 'epoch'"),
        (["search", "--model_dir=d", "--epochs=many"], "--epochs=many"),
        (["search", "--model_dir=d", "--distribution_strategy=tpu"], "<off|one_device|mirrored>"),
        (
            ["search", "--model_dir=d", "--flagfile=adlut"],
            "--flagfile should be a file or one of: adult, avazu, criteo",
        ),
        (
            ["search", "--model_dir=d", "--flagfile", "adlut"],
            "Received: 'adlut' (did you mean 'adult'?)",
        ),
        (["settings", "dniss"], "Received: 'dniss' (did you mean 'dnis'?)"),
    ],
)
def test_a_bad_command_line_ends_in_one_line_at_once(arguments, message):
    done = irazor(*arguments)
    line = error_of(done)
    assert message in line and done.stderr == line + "\n", "without TensorFlow"


def test_bad_data_end_in_one_line(tmp_path):
    (tmp_path / "log.tsv").write_text("1\t2\n")
    done = irazor("pipeline", "--reader=criteo", "--input=log.tsv", "--model_dir=job", cwd=tmp_path)
    assert (
        error_of(done)
        == "error: A row should have 40 columns. Received: 2 columns (log.tsv, line 1)"
    )


def python(code, folder):
    """Runs Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=loud(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_a_job_leaves_out_is_said_and_nothing_else(tmp_path):
    """Our own notices are shown; other libraries' warnings, and what TensorFlow says of processors
    and drivers, are not."""
    code = (
        "import logging; from absl import logging as quiet; from launch.command.run import run\n"
        "def stage(job):\n"
        "  import tensorflow as tf; tf.config.list_logical_devices()\n"
        "  logging.getLogger('irazor_tf').warning('a control left out'); quiet.warning('chatter')\n"
        "run(stage, ['x', '--model_dir=job'])"
    )
    done = python(code, tmp_path)
    assert done.returncode == 0 and done.stderr == "WARNING: a control left out\n"


def test_an_error_of_a_library_is_passed_on_while_tensorflow_loads(tmp_path):
    """Whoever writes it, and though the process dies of it; information is not."""
    code = (
        "import os, sys\n"
        "from launch.quiet import is_noise, without_lines\n"
        "with without_lines(is_noise):\n"
        "  os.write(2, b'I0000 00:00:1.2 3 port.cc:153] oneDNN\\nE0000 00:00:1.2 3 a.cc:1] out of "
        "memory\\n')\n"
        "  print('a line of Python', file=sys.stderr)\n"
        "  os.write(2, b'F0000 00:00:1.2 3 cpu.cc:1] no AVX'); os.abort()\n"
    )
    done = python(code, tmp_path)
    assert done.returncode == -signal.SIGABRT
    assert done.stderr.splitlines() == [
        "E0000 00:00:1.2 3 a.cc:1] out of memory",
        "a line of Python",
        "F0000 00:00:1.2 3 cpu.cc:1] no AVX",
    ]


def test_that_cuda_does_not_start_is_noise_where_there_is_no_driver(monkeypatch):
    line = b"E0000 00:00:1.2 3 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error"
    monkeypatch.setattr(quiet, "DRIVERS", ("/nowhere*",))
    assert quiet.is_noise(line)
    monkeypatch.setattr(quiet, "DRIVERS", ("/dev/nul*",))
    assert not quiet.is_noise(line)


def test_a_folder_called_like_a_preset_does_not_hide_it(tmp_path, monkeypatch):
    for name in ("criteo", "avazu"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    (word,) = with_presets(["--flagfile=criteo"])
    assert word.endswith("criteo.flags") and file_or_preset("schema", "avazu", "yaml").endswith(
        "avazu.yaml"
    )


def test_a_table_end_to_end_by_the_program(table, tmp_path):
    settings = {
        **table,
        **SMALL,
        "model_dir": tmp_path / "job",
        "controls": "",
        "epochs": 1,
        "budget_params": 1500,
    }
    done = irazor("pipeline", *words(settings))
    assert done.returncode == 0, done.stderr
    (record,) = json.loads((tmp_path / "job" / "summary.json").read_text())
    assert record["name"] == "irazor" and record["budget"] == 1500 >= record["params"]
    assert f"{record['auc']:.4f}" in done.stdout and "report.html" in done.stdout
    assert (tmp_path / "job" / "export" / "1" / "saved_model.pb").exists() and (
        tmp_path / "job" / "report.html"
    ).exists()
    assert "WARNING:tensorflow" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"method": "irazer"},
            "The method should be one of .*fde.*irazor.*Received: 'irazer' \\(did you mean "
            "'irazor'\\?\\)",
        ),
        ({"method": "fde + irazer"}, "The method should be one of"),
        ({"method": "fields(irazer)"}, "The method should be one of"),
        (
            {"method": "irazor(tau=1)"},
            "A parameter of method 'irazor' should be one of: .*temperature.*Received: 'tau'$",
        ),
        (
            {"method": "irazor(temprature=1)"},
            "Received: 'temprature' \\(did you mean 'temperature'",
        ),
        ({"method": "irazor(prest='paper')"}, "Received: 'prest' \\(did you mean 'preset'"),
        (
            {"method": "irazor(preset='official')"},
            "should be one of: official_code, paper.* \\(did you mean 'official_code'",
        ),
        ({"method": "irazor("}, "A spec should read like"),
        (
            {"method": "irazor(alpha_optimizer='adama')"},
            "An optimizer should be one of .*adam.*Received: 'adama'",
        ),
        ({"method": "fields(irazor(alpha_optimizer='adama'))"}, "An optimizer should be one of"),
        ({"method": "irazor(temperature=0)"}, "`temperature` of irazor should be above 0"),
        (
            {"method": "fde", "cpt": 0.3},
            "A parameter of method 'fde' should be one of: .*Received: 'cpt'",
        ),
        ({"controls": "fde + irazer"}, "The method should be one of"),
        (
            {"model": "mpl"},
            "The model should be one of .*lr, mlp.*Received: 'mpl' \\(did you mean 'mlp'",
        ),
        (
            {"model": "mlp(layers=3)"},
            "A parameter of model 'mlp' should be one of: hidden.*Received: 'layers'",
        ),
        ({"retrain_model": "mpl"}, "The model should be one of"),
        ({"task": "cdr"}, "The task should be one of ctr.*Received: 'cdr'"),
        ({"metric": "mse"}, "The metric should be one of auc, log_loss.*Received: 'mse'"),
        (
            {"reader": "crieto"},
            "The reader should be one of criteo, libfm, movielens.*Received: 'crieto' \\(did you "
            "mean 'criteo'",
        ),
        (
            {"reader": "libfm(fields=3)"},
            "A parameter of reader 'libfm' should be one of: .*Received: 'fields'",
        ),
        ({"reader": "table"}, "should be given a `schema` file"),
        (
            {"reader": "table", "schema": "avasu"},
            "--schema should be a file or one of: .*Received: 'avasu' \\(did you mean 'avazu'",
        ),
        (
            {"network_optimizer": "adama"},
            "An optimizer should be one of adagrad, adam, ftrl.*Received: 'adama'",
        ),
        (
            {"bias_optimizer": "ftrl(rate=1)"},
            "An argument of optimizer 'ftrl' should be one of learning_rate.*Received: 'rate'",
        ),
        (
            {"network_optimizer": "adam(learning_rate='x')"},
            "`learning_rate` of optimizer 'adam' should be a number.*Received: 'x'",
        ),
        (
            {"model": "mlp(hidden=(400))"},
            r"`hidden` of model 'mlp' should be of type tuple\[int, ...\]. Received: 400",
        ),
        (
            {"method": "irazor(candidates=4)"},
            "`candidates` of method 'irazor' should be of type .*Received: 4",
        ),
        (
            {"method": "irazor(sweep=0.3)"},
            r"`sweep` of method 'irazor' should be of type tuple\[float, ...\]. Received: 0.3",
        ),
        (
            {"method": "irazor(warmup=True)"},
            "`warmup` of method 'irazor' should be of type int. Received: True",
        ),
        (
            {"method": "irazor(temperature='a')"},
            "`temperature` of method 'irazor' should be of type float. Received: 'a'",
        ),
        (
            {"baselines": "logistic_regression,boosting"},
            "A baseline should be one of .*Received: 'boosting'",
        ),
        ({"budget_mib": -1.0}, "`budget_mib` at least one value"),
        (
            {"reader": "libfm(names=('user', 'class'))"},
            "should not be called like a Python keyword or `self`. Received: 'class'",
        ),
        ({"model": "lr"}, "method 'irazor', which needs embedding, on model 'lr'"),
        ({"model": "lr", "method": "fields(irazor)"}, "needs embedding, on model 'lr'"),
        ({"steps_per_execution": 0}, "`steps_per_execution` should be at least 1"),
        ({"budget_params": 5, "budget_mib": 1.0}, "At most one of"),
        (
            {"budget_params": 5, "cpt": 0.2},
            "At most one of --cpt, --budget_params and --budget_mib",
        ),
        ({"fractions": "0.5,0.5"}, "--fractions should be 3 numbers"),
        ({"input": "nowhere.tsv"}, "`input` should name existing files.*nowhere.tsv"),
    ],
    ids=str,
)
def test_what_does_not_exist_or_fit_is_said_at_the_start(changes, message, tmp_path):
    settings = {
        "model_dir": str(tmp_path / "job"),
        "reader": "criteo",
        "input": __file__,
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        jobs.preprocess(job_of(settings))
    assert not (tmp_path / "job" / "data").exists()
    if "input" not in changes:
        assert not (tmp_path / "job").exists(), (
            "a mistyped name leaves nothing that binds the next call"
        )


def test_a_method_that_goes_on_with_its_weights_keeps_its_model(tmp_path):
    METHODS.register("toy_folded")(TOYS["toy_folded"])
    try:
        settings = {
            "model_dir": str(tmp_path),
            "reader": "criteo",
            "method": "toy_folded",
            "model": "mlp(hidden=(8,))",
        }
        with pytest.raises(
            ValueError,
            match=r"'toy_folded\(\)', searched with 'mlp\(hidden=\(8,\)\)', retrained with 'lr'",
        ):
            jobs.preprocess(job_of({**settings, "retrain_model": "lr"}))
    finally:
        METHODS.remove("toy_folded")
