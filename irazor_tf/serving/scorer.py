"""Scoring raw rows of a log through an exported model, as a client would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import tensorflow as tf

from data_pipelines.inputs import expand
from data_pipelines.options import PreprocessOptions
from data_pipelines.reader import Chunk, Reader
from irazor_tf.config.layout import RecordsPaths
from irazor_tf.config.schema import MISSING_INT, Schema
from irazor_tf.serving.export import SIGNATURE

# Field's type -> what a client sends for a missing value, and the array's type.
_MISSING = {"string": ("", object), "int64": (MISSING_INT, np.int64), "float64": (np.nan, float)}


def raw_inputs(chunk: Chunk, schema: Schema, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The served model's inputs for the rows of a chunk: field name -> [B] of str, int64 or
    float64. A missing value is "" in a string field, `MISSING_INT` in an int64 field and nan in a
    float64 field.

    A shadow field is sent the values of the field that it copies, because whatever it is sent is
    noise.

    Args:
      chunk: rows as a reader gives them.
      schema: the data's fields.
      names: names of the model's inputs.
    """
    inputs = {}
    for name in names:
        field = schema.field(name)
        column = chunk.columns[field.parents[0] if field.role == "shadow" else name]
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        missing, dtype = _MISSING[field.dtype]
        values = [missing if value is None else value for value in column.to_pylist()]
        inputs[name] = np.array(values, dtype)
    return inputs


class Scorer:
    """An exported model, called with raw values.

    Args:
      path: folder of one version.
    """

    def __init__(self, path: str):
        self._loaded = tf.saved_model.load(path)
        self._signature = self._loaded.signatures[SIGNATURE]
        self.inputs = tuple(self._signature.structured_input_signature[1])

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores of rows, [B], from the raw values of every input, field name -> [B]."""
        (scores,) = self._signature(
            **{name: tf.constant(values) for name, values in inputs.items()}
        ).values()
        return scores.numpy()


def score_log(
    path: str,
    data: PreprocessOptions,
    data_dir: str,
    schema: Schema,
    rows: int,
    reader: Reader | None = None,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Scores of the first rows of the log itself.

    Args:
      path: folder of an exported version.
      data: where the log lies, and how it is read.
      data_dir: folder of the records, beside which a generated log lies.
      schema: the data's fields.
      rows: how many rows, at most those of the reader's first chunk.
      reader: the reader of `data`; None: it is made here.

    Returns:
      The rows' raw values, field name -> [rows], and their scores, [rows].
    """
    reader = data.make_reader() if reader is None else reader
    paths = list(expand(data.input, "input"))
    if not paths:  # the log of a reader that generates one
        paths = list(reader.prepare(RecordsPaths(data_dir).log))
    reader.inspect(paths)
    chunk = next(iter(reader.chunks(paths)), None)
    if chunk is None:
        raise ValueError(
            f"A log whose rows are scored should hold some. Received: {', '.join(paths)}"
        )
    scorer = Scorer(path)
    names = [name for name in schema.names if name in scorer.inputs]
    inputs = {name: values[:rows] for name, values in raw_inputs(chunk, schema, names).items()}
    return inputs, scorer(inputs)
