"""The golden net: small jobs of every method, whose figures a change of the code's structure may
not move.

`python -m tests.golden.net` runs the jobs and compares what they leave with the files in
`tests/golden/figures`; `--write` makes those files anew; names of jobs run those alone. On the
processor that made the files every figure has to be equal to the last digit; on another one the
structure has to be, and every AUC within .02. One thread and deterministic operations are set
before TensorFlow loads, so the net needs a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FIGURES = pathlib.Path(__file__).with_name("figures")
MACHINE = FIGURES / "machine.json"
AUC_TOLERANCE = 0.02

# What differs between two runs of one job. The net keeps a list of its own, so that no change of
# the package's can widen it.
TIMING = {"seconds", "search_seconds", "train_seconds", "test_seconds", "pretraining_seconds"}
TIMING |= {"search_peak_mib", "train_peak_mib", "peak_mib"}

SETTINGS: dict[str, Any] = {
    "reader": "planted(rows=5000)",
    "model": "mlp(hidden=(16,))",
    "width": 4,
    "min_count": 1,
    "batch_size": 256,
    "epochs": 2,
    "patience": 2,
    "metric": "auc",
    "bias_optimizer": "ftrl(learning_rate=0.01)",
    "network_optimizer": "adagrad(learning_rate=0.05, initial_accumulator_value=1e-8)",
    "embedding_l2": 0,
    "embedding_ridge": 0,
    "linear_ridge": 0,
    "search_steps": 0,
    "steps_per_execution": 1,
    "controls": "",
    "baselines": "",
    "progress": False,
}
DEEPFM = "deepfm(hidden=(16,))"
IRAZOR = "irazor(penalty=0.01, epochs=2"
IHAS = "ihas(preset='small_log', epochs=1, clusters=2"
HAM = "share=0.5, pretrain_epochs=1, epochs=2)"
# Every method with every way in which its final model may start: fresh, ticket, continue, keep.
JOBS: dict[str, dict[str, Any]] = {
    "fde": {"method": "fde(dim=2)"},
    "random": {"method": "random"},
    "magnitude": {"method": "magnitude"},
    "magnitude_keep": {"method": "magnitude(per='entry', share=0.3)", "model": DEEPFM},
    "irazor": {"method": f"{IRAZOR})"},
    "irazor_held_out": {"method": f"{IRAZOR}, held_out=0.25, stop_at_best=True)", "model": DEEPFM},
    "dnis_keep": {"method": "dnis(epochs=1, pretrain_epochs=1)", "model": DEEPFM},
    "dnis_unrolled": {"method": "dnis(epochs=1, xi=0.01, held_out=0.25, compression=4.0)"},
    "sseds_ticket": {"method": "sseds(kappa=0.3)", "model": DEEPFM},
    "sseds_fresh": {"method": "sseds(kappa=0.3, ticket=False)"},
    "sseds_keep": {"method": "sseds(kappa=0.3, retrain=False)"},
    "ham_continue": {"method": f"ham(preset='small_log', {HAM}", "model": DEEPFM},
    "sam_continue": {"method": f"sam({HAM}"},
    "sam_gs_continue": {"method": f"sam_gs(preset='small_log', {HAM}"},
    "ham_p_continue": {"method": f"ham_p(preset='small_log', {HAM}"},
    "ihas_fresh": {"method": f"{IHAS})"},
    "ihas_continue": {"method": f"{IHAS}, start='searched', rows='all')", "model": DEEPFM},
    "ihas_keep": {"method": f"{IHAS}, retrain=False)"},
    "fields": {"method": f"fields({IRAZOR}))", "model": "fm"},
    "chain": {"method": f"fields({IRAZOR}, cpt=0.3)) + magnitude(share=0.4)"},
    "curve": {
        "method": f"{IRAZOR}, sweep=(0.2, 0.6))",
        "controls": "fde(sweep=(1, 2)) + magnitude(sweep=(0.25,)) + random",
        "curve": True,
        "calibrate": True,
        "baselines": "logistic_regression,gradient_boosting",
    },
    "shadow": {"method": f"{IRAZOR})", "shadow_fields": True, "budget_params": 20000},
    # The recipe that the log's size gives.
    "auto": {
        "method": "irazor",
        "model": DEEPFM,
        **dict.fromkeys(
            ("min_count", "batch_size", "patience", "bias_optimizer", "network_optimizer"), "auto"
        ),
        **dict.fromkeys(("embedding_l2", "embedding_ridge", "linear_ridge"), "auto"),
        "metric": "log_loss",
        "search_steps": 20,
    },
}


def machine() -> dict[str, str]:
    """What the last digits depend on: the processor and the versions
    of the libraries that compute."""
    from importlib.metadata import version

    name, flags = platform.processor() or platform.machine(), ""
    if os.path.exists("/proc/cpuinfo"):
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
            name,
        )
        words = next(
            (line.partition(":")[2].split() for line in lines if line.startswith("flags")), []
        )
        flags = " ".join(sorted(word for word in words if word.startswith(("avx", "amx", "fma"))))
    libraries = {
        library: version(library) for library in ("tensorflow", "tf_keras", "numpy", "scikit-learn")
    }
    return {"processor": name, "vector_instructions": flags, **libraries}


def figures(folder: pathlib.Path) -> dict[str, Any]:
    """What a job left in its folder: summary, curve and every found config, times aside."""
    paths = [folder / "summary.json", folder / "curve.json", folder / "search" / "result.json"]
    paths += sorted(folder.glob("models/*/result.json"))
    return {
        str(path.relative_to(folder)): timeless(json.loads(path.read_text(encoding="utf-8")))
        for path in paths
    }


def timeless(value: Any) -> Any:
    """JSON without what is measured by a clock or is a path of this run."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMING}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def differences(golden: Any, now: Any, *, exact: bool, where: str = "") -> Iterator[str]:
    """A line for every figure that is not what it was; without
    `exact` for structure and AUC alone."""
    if isinstance(golden, dict) and isinstance(now, dict):
        for key in sorted(set(golden) | set(now)):
            path = f"{where}/{key}"
            if (key in golden) == (key in now):
                yield from differences(golden[key], now[key], exact=exact, where=path)
            elif exact or not where.startswith("/models"):
                yield f"{path}: {'is gone' if key in golden else 'is new'}"
    elif isinstance(golden, list) and isinstance(now, list):
        if len(golden) != len(now) and (exact or where.count("/") == 1):
            yield f"{where}: {len(golden)} items were {len(now)}"
        for i, (one, other) in enumerate(zip(golden, now, strict=False)):
            yield from differences(one, other, exact=exact, where=f"{where}[{i}]")
    elif exact and (golden != now or type(golden) is not type(now)):
        yield f"{where}: {golden!r} was expected, {now!r} received"
    elif not exact and where.endswith("/auc") and abs(golden - now) > AUC_TOLERANCE:
        yield f"{where}: {golden} +- {AUC_TOLERANCE} was expected, {now} received"


def run(names: Sequence[str], write: bool = False) -> int:
    """Runs the jobs and compares (or writes) their figures; returns how many jobs differ."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()

    here = machine()
    if write and set(names) == set(JOBS):
        FIGURES.mkdir(exist_ok=True)
        MACHINE.write_text(json.dumps(here, indent=1) + "\n", encoding="utf-8")
    exact = json.loads(MACHINE.read_text(encoding="utf-8")) == here
    print(
        "figures have to be equal"
        if exact
        else f"another machine: structure, and AUC within {AUC_TOLERANCE}",
        flush=True,
    )
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            found = run_job(pathlib.Path(scratch), name, JOBS[name])
            path = FIGURES / f"{name}.json"
            if write:
                path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            golden = json.loads(path.read_text(encoding="utf-8"))
            wrong = list(differences(golden, json.loads(json.dumps(found)), exact=exact))
            failed += bool(wrong)
            print(
                f"{name}: {'equal' if not wrong else 'DIFFERENT'}",
                *wrong[:20],
                sep="\n  ",
                flush=True,
            )
    return failed


def run_job(scratch: pathlib.Path, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Trains and evaluates one job; jobs on the same records share them."""
    import tf_keras as keras

    from irazor_tf.jobs import stages as jobs
    from tests.jobs.small_jobs import job_of

    keras.backend.clear_session()
    data = {key: settings[key] for key in ("shadow_fields", "min_count") if key in settings}
    records = scratch / "-".join(["data", *(f"{key}={value}" for key, value in data.items())])
    job = job_of(
        {**SETTINGS, **settings, "model_dir": str(scratch / name), "data_dir": str(records)}
    )
    jobs.retrain(job)
    jobs.evaluate(job)
    return figures(scratch / name)


def main(arguments: Sequence[str]) -> int:
    """`[--write] [JOB ...]`: see the module's docstring."""
    names = [word for word in arguments if not word.startswith("--")] or list(JOBS)
    return run(names, write="--write" in arguments)


if __name__ == "__main__":
    os.environ |= {
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    sys.exit(min(main(sys.argv[1:]), 100))
