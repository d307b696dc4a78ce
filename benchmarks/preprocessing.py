"""Rows per second and peak memory of `preprocess` on generated logs in the format of Criteo.

    python -m benchmarks.preprocessing [--logs=1000000,1000000.gz,5000000] [--min_count=1]
    [--folder=FOLDER]

Categorical fields have the cardinalities and missing shares of the Criteo display advertising set,
written as eight hexadecimal digits; rank r occurs in proportion to 1 / r, so the number of features
grows with the rows as it does there. Generating and preprocessing run in processes of their own;
the peak is the resident set (VmHWM where /proc has it, else `ru_maxrss`) of the process that
preprocesses, the interpreter and libraries included. Everything is written into a temporary folder
that is deleted afterwards."""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from absl import app, flags

from irazor_tf.report.tables import text_table

_AIM_GIB, _AIM_GROWTH = 4.0, 1.5
# Of all 45.8M rows, C1 to C26 (the counts used by the DLRM papers); missing shares of I1-I13 and
# C1-C26 in the first 80,000 rows.
_CARDINALITIES = (
    (1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194)
    + (27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572)
)  # fmt: skip
_MISSING_NUMERIC = (
    0.445,
    0,
    0.191,
    0.194,
    0.048,
    0.252,
    0.047,
    0.001,
    0.047,
    0.445,
    0.047,
    0.772,
    0.194,
)
_MISSING = (
    (0, 0, 0.039, 0.039, 0, 0.137, 0, 0, 0, 0, 0, 0.039, 0)
    + (0, 0, 0.039, 0, 0, 0.414, 0.414, 0.039, 0.817, 0, 0.039, 0.414, 0.414)
)  # fmt: skip
_SCALES = (2, 30, 8, 5, 3000, 40, 4, 10, 40, 0.7, 1.5, 0.5, 6)  # medians of I1-I13, about
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def _hexadecimal(field: int, rank: np.ndarray) -> np.ndarray:
    """Eight digits that stand for a rank of a field, [B] bytes; a bijection of 32-bit numbers, so
    different ranks stay different."""
    mixed = (
        rank.astype(np.uint64) * np.uint64(2654435761) + np.uint64(field * 40503 * 65537)
    ).astype(np.uint32)
    digits = (mixed[:, None] >> np.arange(28, -4, -4, dtype=np.uint32)) & np.uint32(15)
    return np.ascontiguousarray(_HEX[digits]).view("S8").ravel()


def generate(path: str, rows: int, seed: int = 1, piece: int = 100_000) -> None:
    """Writes a log; the end `.gz` of the path makes it a gzip file."""
    import pyarrow as pa
    from pyarrow import csv

    rng = np.random.default_rng(seed)
    sink: Any = pa.OSFile(path, "wb")
    if path.endswith(".gz"):
        sink = pa.CompressedOutputStream(sink, "gzip")
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with sink:
        for start in range(0, rows, piece):
            number = min(piece, rows - start)
            columns = {"label": pa.array((rng.random(number) < 0.256).astype(np.int8))}
            for k, (scale, missing) in enumerate(zip(_SCALES, _MISSING_NUMERIC, strict=True)):
                values = np.floor(np.exp(rng.normal(np.log(scale), 1.5, number))).astype(np.int32)
                columns[f"I{k + 1}"] = pa.array(values, mask=rng.random(number) < missing)
            for k, (cardinality, missing) in enumerate(zip(_CARDINALITIES, _MISSING, strict=True)):
                rank = np.floor((cardinality + 1.0) ** rng.random(number))
                columns[f"C{k + 1}"] = pa.array(
                    _hexadecimal(k, rank), pa.binary(), mask=rng.random(number) < missing
                ).cast(pa.string())
            csv.write_csv(pa.table(columns), sink, options)


def _measure(log: str, output: str, min_count: int) -> dict[str, float]:
    """Preprocesses in this process; seconds, peak memory in GiB and number of features."""
    from data_pipelines.preprocess import PreprocessOptions, preprocess

    # `preprocess` imports it to write; its start-up is not timed.
    importlib.import_module("tensorflow")
    start, before = time.perf_counter(), time.process_time()
    schema = preprocess(
        PreprocessOptions(reader="criteo", input=(log,), min_count=min_count),
        output,
        progress=False,
    )
    seconds, processor = time.perf_counter() - start, time.process_time() - before
    return {
        "seconds": seconds,
        "processor": processor,
        "features": schema.num_features,
        "gib": _peak(),
    }


def _peak() -> float:
    """Peak resident set of this process in GiB. `ru_maxrss` also counts what the parent held when
    it started this process."""
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**30 if sys.platform == "darwin" else 2**20
    )


def _again(stage: str, *arguments: str) -> str:
    """Runs one stage of this module in a process of its own; returns what it printed last."""
    command = [sys.executable, "-m", "benchmarks.preprocessing", f"--stage={stage}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


def _rows(name: str) -> int:
    """Number of rows of a log, from its name among the flag's."""
    return int(name.removesuffix(".gz"))


def _run(name: str, folder: str | None, min_count: int) -> tuple[float, dict[str, float]]:
    """Generates a log and preprocesses it; returns its MiB and what was measured."""
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        log = os.path.join(directory, "log.tsv" + name[len(str(_rows(name))) :])
        _again("generate", f"--log={log}", f"--rows={_rows(name)}")
        output = f"--output={directory}/data"
        measured = _again("measure", f"--log={log}", output, f"--min_count={min_count}")
        return os.path.getsize(log) / 2**20, json.loads(measured)


def _cells(name: str, size: float, measured: dict[str, float]) -> tuple[str, ...]:
    """A line of the table."""
    rows, form = _rows(name), "gzip" if name.endswith(".gz") else "plain"
    return (
        f"{rows:,} rows, {form}",
        f"{size:,.0f}",
        f"{measured['features']:,}",
        f"{measured['seconds']:.1f}",
        f"{rows / measured['seconds']:,.0f}",
        f"{rows / measured['processor']:,.0f}",
        f"{measured['gib']:.2f}",
        "met" if measured["gib"] <= _AIM_GIB else "MISSED",
    )


def main(_: list[str]) -> None:
    """Generates every log, preprocesses it and prints the table."""
    given = flags.FLAGS
    if given.stage == "generate":
        generate(given.log, given.rows)
        print("done")
        return
    if given.stage == "measure":
        print(json.dumps(_measure(given.log, given.output, given.min_count)))
        return
    if given.stage == "machine":
        from benchmarks import timing

        print(timing.machine())
        return
    runs = [(name, *_run(name, given.folder, given.min_count)) for name in given.logs]
    print(_again("machine"))
    print(f"Criteo format, 39 fields, min_count {given.min_count}")
    header = (
        "log",
        "MiB",
        "features",
        "seconds",
        "rows/s",
        "rows/s of processor time",
        "peak GiB",
        f"aim {_AIM_GIB:g} GiB",
    )
    print(text_table(header, [_cells(*run) for run in runs]))
    peaks = [(_rows(name), measured["gib"]) for name, _, measured in runs]
    (least, first), (most, last) = min(peaks), max(peaks)
    if least != most:
        verdict = "met" if last / first <= _AIM_GROWTH else "MISSED"
        print(
            f"memory at {most:,} rows is {last / first:.2f} times that at {least:,}; aim, flat: at "
            f"most {_AIM_GROWTH} times: {verdict}"
        )


if __name__ == "__main__":
    flags.DEFINE_list(
        "logs", ["1000000", "1000000.gz", "5000000"], "Rows of every log; with .gz packed."
    )
    flags.DEFINE_integer(
        "min_count",
        1,
        "As in PreprocessOptions; 1, the default there, keeps the largest vocabularies.",
    )
    flags.DEFINE_string("folder", None, "Where the temporary folder goes; default the system's.")
    flags.DEFINE_enum(
        "stage", "", ["", "generate", "measure", "machine"], "Used by the script itself."
    )
    flags.DEFINE_string("log", None, "Used by the script itself.")
    flags.DEFINE_string("output", None, "Used by the script itself.")
    flags.DEFINE_integer("rows", 0, "Used by the script itself.")
    app.run(main)
