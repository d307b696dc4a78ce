"""Label rules: how the numbers in a log's label column become the labels 0 and 1 that are written,
and which numbers are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from data_pipelines.reader import Chunk
from data_pipelines.text.lines import bad_row


class LabelRule(Protocol):
    """A rule that turns the numbers in a label column into labels.

    Attributes:
      should: first sentence of the error about a number that is no label: what a label should be.
    """

    @property
    def should(self) -> str: ...

    def __call__(self, label: np.ndarray) -> np.ndarray:
        """The labels to write.

        Args:
          label: [B] float64, the numbers in the log.

        Returns:
          [B] float64, nan where the number is no label.
        """


@dataclasses.dataclass(frozen=True)
class Binary:
    """The rule for labels 0 and 1.

    Args:
      above: a number above this becomes 1, any other finite one 0. None for a log whose labels are
        0 and 1 already.
    """

    above: float | None = None
    should = (
        "A label should be 0 or 1; where it is a rating, `positive_above` says which are positive."
    )

    def __call__(self, label: np.ndarray) -> np.ndarray:
        if self.above is None:
            return np.where((label == 0) | (label == 1), label, np.nan)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(label), label > self.above, np.nan)


def labelled(
    chunk: Chunk, rule: LabelRule, drop: Sequence[float] = ()
) -> tuple[np.ndarray, np.ndarray | None]:
    """The labels of a chunk, and which of its rows are kept.

    Args:
      chunk: rows of the log.
      rule: rule that turns the numbers in the label column into labels.
      drop: labels, as the log has them, whose rows are left out.

    Returns:
      Labels, [B] float32 (0 in rows that are left out and have no label), and a [B] boolean array
      that is true for rows that are kept, or None where all are.

    Raises:
      ValueError: a row that is kept has no label; the message names file and line.
    """
    kept = ~np.isin(chunk.label, drop) if drop else None
    labels = rule(chunk.label)
    bad = np.isnan(labels) if kept is None else np.isnan(labels) & kept
    if bad.any():
        row = int(np.argmax(bad))
        received = repr(float(chunk.label[row]))
        raise bad_row(rule.should, received, chunk.path, chunk.first_line + row)
    return np.nan_to_num(labels, nan=0.0).astype(np.float32), kept
