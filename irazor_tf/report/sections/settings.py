"""The report's section on the job's settings. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irazor_tf.report.formats import NONE, number
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import data_table


def settings(job: JobRecord) -> str:
    """HTML of a table of all settings of the job, and the fingerprint of its data; "" where they
    are not known."""
    rows = [*_flat(job.chosen, "chosen."), *_flat(job.settings)]
    if not rows:
        return ""
    rows.append(("data fingerprint", job.schema.fingerprint or NONE))
    return data_table(["Setting", "Value"], rows, left=2, wrap=28)


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as a list of (name with dots, value as text).

    Args:
      value: The settings.
      prefix: What stands before every name.
    """
    rows: list[tuple[str, str]] = []
    for key, setting in value.items():
        if isinstance(setting, Mapping) and setting:
            rows += _flat(setting, f"{prefix}{key}.")
        elif isinstance(setting, list):
            rows.append((prefix + key, ", ".join(map(str, setting)) or NONE))
        elif setting in (None, ""):
            rows.append((prefix + key, NONE))
        else:  # seeds and years have no separators
            large = isinstance(setting, int) and setting >= 10_000
            rows.append((prefix + key, number(setting) if large else str(setting)))
    return rows
