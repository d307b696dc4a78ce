"""The files of a log: those that the options name by paths or patterns, or a log that the reader
generates."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from data_pipelines.options import PreprocessOptions
from data_pipelines.reader import Reader
from data_pipelines.records import SPLITS

INPUT = "input"  # the source that the split rule divides; the others are named as their split is
INPUT_OPTIONS = (INPUT, *(f"{split}_input" for split in SPLITS[1:]))


def named_inputs(options: PreprocessOptions) -> tuple[str, ...]:
    """The paths of all files that the options name; none for a log that is generated.

    Raises:
      ValueError: a pattern matches no file.
    """
    return tuple(path for key in INPUT_OPTIONS for path in expand(getattr(options, key), key))


def files_of(
    options: PreprocessOptions, reader: Reader, log_dir: str
) -> dict[str, tuple[str, ...]]:
    """The files of the log.

    Args:
      options: the options of preprocessing.
      reader: the reader of the log's format.
      log_dir: folder in which the reader generates the log where no input is given.

    Returns:
      Source -> its files. A source is `INPUT`, whose rows are divided into splits, or the name of a
      split that has files of its own.

    Raises:
      ValueError: a pattern matches no file.
    """
    inputs = expand(options.input, "input") if options.input else ()
    if not inputs:
        os.makedirs(log_dir)
        inputs = tuple(reader.prepare(log_dir))
    sources = {INPUT: inputs}
    for split in SPLITS[1:]:
        paths = expand(getattr(options, f"{split}_input"), f"{split}_input")
        if paths:
            sources[split] = paths
    return sources


def expand(patterns: Sequence[str], name: str) -> tuple[str, ...]:
    """The paths of the files that patterns match.

    Args:
      patterns: paths or glob patterns.
      name: the option that holds them, for messages.

    Raises:
      ValueError: a pattern matches no file.
    """
    paths: list[str] = []
    for pattern in patterns:
        matches = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
        if not matches:
            raise ValueError(
                f"`{name}` should name existing files, or patterns that match some. Received: "
                f"{pattern!r}"
            )
        paths += matches
    return tuple(paths)
