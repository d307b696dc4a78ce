"""Raw values of a field to ids inside the served graph, as preprocessing makes them."""

from __future__ import annotations

import tensorflow as tf

from irazor_tf.config.encoding import log_square_boundaries, missing_numbers
from irazor_tf.config.schema import MISSING, MISSING_INT, Field, Schema

# What Unicode calls white space, as Arrow's `utf8_trim_whitespace` leaves it out.
_SPACE = r"[\t-\r\x1c-\x20\x85\p{Z}]"
_SPACES = f"^{_SPACE}+|{_SPACE}+$"


class FieldEncoder(tf.Module):
    """Raw values [B] of one field -> ids [B] int32.

    A missing value is looked up as the token `MISSING`, and so is, as in preprocessing, a text that
    reads exactly so; where the vocabulary has no such line both are id 0, as is every unseen value.

    Args:
      schema: the data's fields, loaded from the folder that holds the vocabulary files.
      name: the field.

    Raises:
      ValueError: the vocabulary file has another number of lines than the schema says.
    """

    def __init__(self, schema: Schema, name: str):
        super().__init__(name=f"encode_{name}")
        self._field = schema.field(name)
        self._table = None
        if self._field.vocabulary_size > 1:  # an empty file cannot be read into a table
            self._table = tf.lookup.StaticHashTable(
                _VocabularyFile(schema.vocabulary_file(name)), 0
            )
            size = 1 + int(self._table.size())
            if size != self._field.vocabulary_size:
                file = schema.vocabulary_file(name)
                raise ValueError(
                    f"{file} should make `vocabulary_size` {self._field.vocabulary_size} of field "
                    f"{name!r}. Received: {size}"
                )

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        if self._table is None:
            return tf.zeros_like(raw, tf.int32)
        return tf.cast(self._table.lookup(_tokens(raw, self._field)), tf.int32)


class _VocabularyFile(tf.lookup.TextFileInitializer):
    """Line k of a vocabulary file, counted from 1, -> k. The file becomes an asset."""

    # By default tables are shared under their file's path: it would go into the model, and in one
    # process a table of rebuilt data would be that of the old data, without a word where the sizes
    # are equal. Without a name each table gets one of its own.
    _shared_name = ""

    def __init__(self, path: str):
        line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        super().__init__(path, tf.string, line, tf.int64, number, value_index_offset=1)


def _tokens(raw: tf.Tensor, field: Field) -> tf.Tensor:
    """The lines of the vocabulary that raw values [B] stand for, [B] string."""
    missing_values: list
    if field.kind == "numeric":
        missing_values = missing_numbers(field.missing, "float64")
        missing = tf.math.is_nan(raw)
        tokens = tf.strings.as_string(graph_codes(raw, field.transform))
    elif field.dtype == "int64":
        missing_values = [MISSING_INT, *missing_numbers(field.missing, "int64")]
        missing, tokens = tf.zeros_like(raw, tf.bool), tf.strings.as_string(raw)
    else:
        raw = tf.strings.regex_replace(raw, _SPACES, "") if field.strip else raw
        missing_values = ["", *field.missing]
        missing, tokens = tf.zeros_like(raw, tf.bool), raw
    if missing_values:
        missing |= tf.reduce_any(
            tf.equal(raw[:, tf.newaxis], tf.constant(missing_values, raw.dtype)), axis=1
        )
    return tf.where(missing, MISSING, tokens)


def graph_codes(values: tf.Tensor, transform: str) -> tf.Tensor:
    """`irazor_tf.config.encoding.numeric_codes` in the graph, equal to the last bit.

    Args:
      values: [B] float64; NaN is taken for 0.
      transform: `log_square` or `floor`.

    Returns:
      [B] int64.
    """
    clipped = tf.clip_by_value(
        tf.where(tf.math.is_nan(values), tf.zeros_like(values), values), -(2.0**62), 2.0**62
    )
    # Kernels take denormal numbers for 0, so the negative ones, which numpy floors to -1, are told
    # by their bits: just above -0.0's.
    bits = tf.bitcast(values, tf.int64) - tf.int64.min
    denormal = (bits > 0) & (bits < 2**52)
    floors = tf.where(denormal, tf.constant(-1, tf.int64), tf.cast(tf.floor(clipped), tf.int64))
    if transform == "floor":
        return floors
    if transform == "log_square":
        above = tf.searchsorted(
            tf.constant(log_square_boundaries()), clipped, side="right", out_type=tf.int64
        )
        return tf.where(clipped > 2.0, above, floors - 2)
    raise ValueError(f"`transform` should be log_square or floor. Received: {transform!r}")
