"""What `--help` prints of the program and of a stage."""

from __future__ import annotations

from launch.command.flagfiles import preset_names
from launch.command.flags import FLAGS, GROUPS


def help_text(program: str, what: str) -> str:
    """What a stage does, and all flags (already defined), by group.

    Args:
      program: How the stage is called.
      what: What the stage does, a sentence.
    """
    return "\n".join(
        [
            what,
            "",
            f"usage: {program} --model_dir=DIR [flags]",
            "",
            "All jobs of one MODEL_DIR take the same flags (a file of them: --flagfile=FILE).",
            "What is finished is not done again, what was interrupted goes on, and what would not",
            "fit to it is refused.",
            f"--flagfile also takes the name of a preset: {', '.join(preset_names('flags'))}.",
            *map(FLAGS.module_help, GROUPS),
            "",
            "--helpfull lists the flags of the libraries, too.",
        ]
    )
