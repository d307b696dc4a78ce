"""The common part of generated logs: drawing rows in chunks, writing the text, and writing beside
it the truth (what the log was generated from)."""

from __future__ import annotations

import hashlib
import json
import os
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.generated.streams import Stream, calibrated, sigmoid
from irazor_tf.config import integrity
from irazor_tf.config.checks import at_least, check_ranges
from irazor_tf.config.layout import RecordsPaths

CHUNK = 65_536  # rows of a chunk
_CALIBRATION_CHUNKS = 8

Columns = dict[str, np.ndarray]
# Columns, labels [B] int64, true logits [B] of one chunk.
Rows = tuple[Columns, np.ndarray, np.ndarray]


def check(rows: int, seed: int) -> None:
    """Raises ValueError where `rows` is below 1 or `seed` below 0."""
    named = types.SimpleNamespace(rows=rows, seed=seed)
    check_ranges(named, rows=at_least(1), seed=at_least(0))


def draw_chunks(
    rows: int,
    key: tuple[int, int],
    draw: Callable[[Stream], Columns],
    logits: Callable[[Columns], np.ndarray],
) -> Iterator[Rows]:
    """Draws a log chunk by chunk: columns, labels and true logits of each. Every chunk has a random
    stream of its own.

    Args:
      rows: number of rows.
      key: the seed, and the number that sets the rows' streams apart from others of that seed.
      draw: function that draws the columns of `CHUNK` rows from a stream.
      logits: function: the columns that `draw` returns -> the true logit of each row, [B].
    """
    for number, start in enumerate(range(0, rows, CHUNK)):
        stream = Stream(*key, number)
        columns = draw(stream)  # always a whole chunk: a shorter log is the start of a longer one
        truth = logits(columns)
        labels = (stream.uniform(CHUNK) < sigmoid(truth)).astype(np.int64)
        kept = slice(0, min(CHUNK, rows - start))
        yield {name: column[kept] for name, column in columns.items()}, labels[kept], truth[kept]


def calibrate(
    stream: Stream,
    draw: Callable[[Stream], Columns],
    logits: Callable[[Columns], np.ndarray],
    rate: float,
) -> float:
    """The intercept that makes the expected rate of positives `rate`. It is computed on rows that
    are drawn only for this purpose, so that it does not depend on the length of the log.

    Args:
      stream: source of the random numbers for these rows.
      draw, logits: see `draw_chunks`; the logits are those without an intercept.
      rate: share of positives, in (0, 1).
    """
    chunks = [logits(draw(stream)) for _ in range(_CALIBRATION_CHUNKS)]
    return calibrated(np.concatenate(chunks), rate)


def truth_path(path: str) -> str:
    """Path of the file with the truth about the log at `path`."""
    return os.path.join(os.path.dirname(path), os.path.basename(RecordsPaths("").truth))


def identity(path: str, version: int, rows: int, seed: int) -> dict[str, Any]:
    """The values by which the log at `path` is told from all others, as the beginning of its truth.

    Args:
      path: the log.
      version: version of the generator.
      rows: number of rows.
      seed: seed of the log.
    """
    return {
        "version": version,
        "log": os.path.basename(path),
        "rows": rows,
        "seed": seed,
        "bytes": os.path.getsize(path),
    }


def is_complete(path: str, identify: Callable[[], Mapping[str, Any]]) -> bool:
    """Whether a log is there and whole, as the file with the truth beside it says.

    Args:
      path: the log.
      identify: function that returns the `identity` of the expected log.
    """
    try:
        with open(truth_path(path), encoding="utf-8") as file:
            truth = json.load(file)
        return identify().items() <= truth.items()
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def write_log(
    path: str,
    fields: Sequence[str],
    chunks: Iterable[Rows],
    tokens: Callable[[str, np.ndarray], Iterable[str]],
) -> dict[str, Any]:
    """Writes a log as tab-separated text with a header, the label first, under a temporary name,
    and renames it.

    Args:
      path: the log to write; its folder is made where it does not exist.
      fields: names of the fields, in column order.
      chunks: the rows: columns, labels and true logits of each chunk.
      tokens: function: name of a field, its values -> the values as text.

    Returns:
      SHA-256 of the text, and the figures of `ceilings`.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if os.path.exists(truth_path(path)):
        os.remove(truth_path(path))  # it would speak for a log that is about to be replaced
    digest, every_label, every_logit = hashlib.sha256(), [], []
    with integrity.replacing(path) as partial, open(partial, "wb") as file:
        file.write(header := ("\t".join(("label", *fields)) + "\n").encode("ascii"))
        digest.update(header)
        for columns, labels, logits in chunks:
            texts = [map(str, labels.tolist()), *(tokens(name, columns[name]) for name in fields)]
            lines = "".join("\t".join(row) + "\n" for row in zip(*texts, strict=True))
            file.write(encoded := lines.encode("ascii"))
            digest.update(encoded)
            every_label.append(labels)
            every_logit.append(logits)
    scores = ceilings(np.concatenate(every_label), np.concatenate(every_logit))
    return {"sha256": digest.hexdigest(), **scores}


def write_truth(path: str, truth: Mapping[str, Any]) -> None:
    """Writes the truth about the log at `path` into the file beside it, under a temporary name, and
    renames it."""
    with integrity.beside(truth_path(path)) as file:
        json.dump(truth, file, indent=1)


def ceilings(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """The rate of positives, and the AUC and log loss of the true logits, which no model can
    surpass on average; the AUC is None where all labels are equal.

    Args:
      labels: 0 or 1, [rows].
      logits: the true logits, [rows].
    """
    # Readers are imported to be listed, which should not wait for scikit-learn.
    from sklearn.metrics import roc_auc_score

    both = 0 < labels.sum() < len(labels)
    return {
        "positive_rate": float(labels.mean()),
        "ceiling_auc": float(roc_auc_score(labels, logits)) if both else None,
        "ceiling_log_loss": float(np.mean(np.logaddexp(0.0, logits) - labels * logits)),
    }
