"""What generated logs have in common: rows drawn in chunks, the text, and the truth beside it."""

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
    """Draws a log chunk by chunk, each from a stream of its own.

    Args:
      rows: number of rows.
      key: the seed, and the number that sets the rows' streams apart from others of that seed.
      draw: fields of `CHUNK` rows from a stream.
      logits: the true logit of each row, [B], from what `draw` returns.
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
    """The intercept that makes the expected rate of positives `rate`, on rows drawn for this alone,
    so that it does not depend on the length of the log; `draw` and `logits` as in `draw_chunks`."""
    chunks = [logits(draw(stream)) for _ in range(_CALIBRATION_CHUNKS)]
    return calibrated(np.concatenate(chunks), rate)


def truth_path(path: str) -> str:
    """Where the truth about the log at `path` lies."""
    return os.path.join(os.path.dirname(path), os.path.basename(RecordsPaths("").truth))


def identity(path: str, version: int, rows: int, seed: int) -> dict[str, Any]:
    """What tells the log at `path` from every other one; `version` is the generator's."""
    return {
        "version": version,
        "log": os.path.basename(path),
        "rows": rows,
        "seed": seed,
        "bytes": os.path.getsize(path),
    }


def is_complete(path: str, identify: Callable[[], Mapping[str, Any]]) -> bool:
    """Whether `path` holds the whole log that `identify` describes, as the truth beside it says."""
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
    """Writes a log as tab-separated text with a header, the label first, beside and renames.

    Args:
      path: the log to write; its folder is made where it does not exist.
      fields: names of the fields, in column order.
      chunks: the rows.
      tokens: the texts of a column, from the field's name and its values.

    Returns:
      SHA-256 of the text, the rate of positives, and what the true logits score.
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
    """Writes what is known of the log at `path` beside it, and renames."""
    with integrity.beside(truth_path(path)) as file:
        json.dump(truth, file, indent=1)


def ceilings(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """The rate of positives, and what the true logits score, which no model can exceed in the long
    run; the AUC is None where one class is missing."""
    # Readers are imported to be listed, which should not wait for scikit-learn.
    from sklearn.metrics import roc_auc_score

    both = 0 < labels.sum() < len(labels)
    return {
        "positive_rate": float(labels.mean()),
        "ceiling_auc": float(roc_auc_score(labels, logits)) if both else None,
        "ceiling_log_loss": float(np.mean(np.logaddexp(0.0, logits) - labels * logits)),
    }
