"""What a label of the log means, as rules that the options choose from: a rule turns the numbers in
the label column into the labels that are written, and says which numbers it cannot take."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from data_pipelines.reader import Chunk
from data_pipelines.text.lines import bad_row


class LabelRule(Protocol):
    """A rule for labels.

    Attributes:
      should: what a label should be, as the message about another one begins.
    """

    @property
    def should(self) -> str: ...

    def __call__(self, label: np.ndarray) -> np.ndarray:
        """The labels to write.

        Args:
          label: [B] float64, as the log has them.

        Returns:
          [B] float64, nan for what is no label.
        """


@dataclasses.dataclass(frozen=True)
class Binary:
    """Labels 0 and 1.

    Args:
      above: a label above this is 1, any other finite one 0; None: labels are 0 and 1 already.
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
    """The labels of a chunk, and which of its rows stay.

    Args:
      chunk: rows of the log.
      rule: what their labels mean.
      drop: labels, as the log has them, whose rows are left out.

    Returns:
      Labels, [B] float32 (0 in rows that are left out and have none), and a [B] boolean array of
      the rows that stay; None: all.

    Raises:
      ValueError: a row that stays has no label; the message names file and line.
    """
    kept = ~np.isin(chunk.label, drop) if drop else None
    labels = rule(chunk.label)
    bad = np.isnan(labels) if kept is None else np.isnan(labels) & kept
    if bad.any():
        row = int(np.argmax(bad))
        received = repr(float(chunk.label[row]))
        raise bad_row(rule.should, received, chunk.path, chunk.first_line + row)
    return np.nan_to_num(labels, nan=0.0).astype(np.float32), kept
