"""Where everything in a job's folder lies. No TensorFlow import."""

from __future__ import annotations

import enum


class Role(enum.Enum):
    """Why a candidate is trained, and what else stands beside it in `summary.json` and
    `curve.json`: baselines are no candidates."""

    FOUND = "found"
    CONTROL = "control"
    CURVE = "curve"
    BASELINE = "baseline"
