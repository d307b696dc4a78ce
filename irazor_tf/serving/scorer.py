"""Scoring raw rows of a log through an exported model, as a client would."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import tensorflow as tf

from data_pipelines.preprocess import PreprocessOptions, expand
from data_pipelines.reader import Chunk
from irazor_tf.config.schema import MISSING_INT, Schema
from irazor_tf.serving.export import SIGNATURE


def raw_inputs(chunk: Chunk, schema: Schema, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The served model's inputs for the rows of a chunk: field name -> [B] of str, int64 or
    float64, missing values marked.

    A shadow field is given the values of the field it copies: it is noise whatever it is given.
    """
    found = {}
    for name in names:
        field = schema.field(name)
        column = chunk.columns[field.parents[0] if field.role == "shadow" else name]
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        values = column.to_pylist()
        if field.dtype == "string":
            found[name] = np.array(["" if value is None else value for value in values], object)
        elif field.dtype == "int64":
            found[name] = np.array(
                [MISSING_INT if value is None else int(value) for value in values], np.int64
            )
        else:
            found[name] = np.array(
                [np.nan if value is None else value for value in values], np.float64
            )
    return found


class Scorer:
    """An exported model.

    Args:
      path: folder of one version.
    """

    def __init__(self, path: str):
        self._loaded = tf.saved_model.load(path)
        self._signature = self._loaded.signatures[SIGNATURE]
        self.inputs = tuple(self._signature.structured_input_signature[1])

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores of rows of raw values, [B]."""
        (values,) = self._signature(
            **{name: tf.constant(values) for name, values in inputs.items()}
        ).values()
        return values.numpy()


def score_log(
    path: str, data: PreprocessOptions, data_dir: str, schema: Schema, rows: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The first rows of the log itself through the SavedModel at `path`: their raw values and their
    scores, [rows]."""
    reader, paths = data.make_reader(), list(expand(data.input, "input"))
    if not paths:  # a generated log lies beside its records
        paths = list(reader.prepare(os.path.join(data_dir, "log")))
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
