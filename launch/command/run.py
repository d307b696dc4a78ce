"""Running one stage with the flags of the command line: bad input ends in one line on stderr."""

from __future__ import annotations

import errno
import logging as std_logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from launch.command.flagfiles import plugin_names, with_presets, without_plugins
from launch.command.flags import FLAGS, define
from launch.command.help import help_text
from launch.command.job import job_config
from launch.command.registries import load_plugins
from launch.quiet import import_tensorflow
from launch.signals import Terminated, terminable

HELP = ("--help", "-help", "-h", "--helpshort", "-helpshort")
_GOES_ON = "The same command goes on from the last checkpoint"


def run(work: Callable[[Any], None], arguments: list[str] | None = None, what: str = "") -> None:
    """Parses the command line, does the work and ends the process: with exit code 2 for bad input,
    128 + the number of a signal.

    Args:
      work: What is done with the job, a `JobConfig`.
      arguments: Program and flags; None: those of the process.
      what: What is done, a sentence for `--help`.
    """
    words = sys.argv if arguments is None else arguments
    if set(HELP) & set(words[1:]):
        _help(words, what)
    define()
    app.run(lambda rest: _main(work, rest), words, flags_parser=_parse)


def _help(words: list[str], what: str) -> None:
    """Prints the help text, in which the plug-ins that the words name are part of the open sets."""
    plugins, _ = without_plugins(_with_flagfiles(words))
    try:
        define(plugins)
    except ValueError as error:
        sys.exit(_fail(_one_line(error), 2))
    print(help_text(words[0], what))
    sys.exit(0)


def _with_flagfiles(words: list[str]) -> Sequence[str]:
    """The words with those of flagfiles in their places; as they are where one cannot be read, so
    that whoever asks for help gets it."""
    try:
        return FLAGS.read_flags_from_files(with_presets(words), force_gnu=False)
    except (flags.Error, ValueError, OSError):
        return words


def _parse(words: list[str]) -> list[str]:
    """Parses the flags, and looks for the plug-ins; the words that are no flags are left."""
    from irazor_tf.config.plugins import entries_of

    try:
        rest = FLAGS(with_presets(words))
        for plugin in plugin_names(FLAGS.plugin):
            entries_of(plugin)  # now, not after the seconds that TensorFlow takes to load
        return rest
    except (flags.Error, ValueError) as error:
        sys.exit(_fail(f"{_one_line(error)} (--help lists the flags)", 2))


def _main(work: Callable[[Any], None], rest: Sequence[str]) -> int:
    """Does the work, and says in one line what ended it; the exit code."""
    _show_own_notices()
    try:
        if len(rest) > 1:
            raise ValueError(f"A job takes flags only. Received: {' '.join(rest[1:])}")
        with terminable():
            import_tensorflow()
            load_plugins(plugin_names(FLAGS.plugin))
            work(job_config())
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


def _show_own_notices() -> None:
    """Shows the notices of this package (what a job leaves out, say), not those of libraries."""
    logging.set_verbosity(logging.ERROR)
    logging.get_absl_handler().setFormatter(std_logging.Formatter("%(levelname)s: %(message)s"))
    std_logging.getLogger("irazor_tf").setLevel(std_logging.INFO)


def _exhausted(error: Exception) -> bool:
    """Whether memory or disk are full: Python says so in one way, TensorFlow in another."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
