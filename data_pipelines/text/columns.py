"""The conversion of columns of text to typed columns. Numbers, labels and missing marks are checked
once per distinct text, and an error names the row of the first bad one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.text.lines import bad_row
from irazor_tf.config.encoding import missing_numbers
from irazor_tf.config.schema import MISSING_INT

COLUMN_KINDS = ("categorical", "numeric", "label", "time", "ignore")
_RESERVED = int(MISSING_INT)
_TOO_LARGE = (
    "a whole number of 64 bits with a sign (larger ids can be read as text, that is "
    "without `dtype: int64`)"
)
_WHOLE = r"^[+-]?[0-9]+(?:\.0+)?$"
_DECIMAL = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"

# Makes the error for the distinct text at a position, from what the field should hold.
Fail = Callable[[str, int], ValueError]


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a text file.

    Args:
      name: name of the field; for a column that is no field, its name in messages.
      kind: one of `COLUMN_KINDS`.
      dtype: `string` or `int64`, of a categorical column; the other kinds are numbers or ignored.
    """

    name: str
    kind: str = "categorical"
    dtype: str = "string"

    @property
    def is_field(self) -> bool:
        """Whether the column becomes a field."""
        return self.kind in ("categorical", "numeric")


@dataclasses.dataclass(frozen=True)
class TextRules:
    """The meaning of texts in a file: missing values, spaces, labels. See `Delimited` for each
    argument."""

    missing: tuple[str, ...] = ()
    strip: bool = False
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()

    def are_numbers(self, column: Column) -> bool:
        """Whether the texts of a column are read as numbers."""
        return (
            column.kind in ("numeric", "time")
            or column.dtype == "int64"
            or (column.kind == "label" and not self.positive)
        )


def convert(
    array: pa.DictionaryArray, column: Column, rules: TextRules, path: str, first_line: int
) -> pa.DictionaryArray:
    """A column of text converted to its type: strings for a categorical column (whole numbers in
    canonical form), float64 for every other kind; null where a value is missing.

    Args:
      array: the texts of the rows.
      column: name, kind and type of the column.
      rules: the meaning of texts in the file.
      path: the file, for messages.
      first_line: line of the first row, for messages.

    Raises:
      ValueError: a bad value; the message names file, line and field.
    """
    numbers = rules.are_numbers(column)
    texts = array.dictionary
    if rules.strip or numbers:
        texts = pc.utf8_trim_whitespace(texts)
    missing = pc.is_in(texts, pa.array(["", *rules.missing], pa.string()))

    def fail(should: str, k: int) -> ValueError:
        row = int(np.argmax(array.indices.to_numpy() == k))
        should = f"Field {column.name!r} should hold {should}."
        return bad_row(should, repr(array.dictionary[k].as_py()), path, first_line + row)

    if column.kind in ("label", "time") and pc.any(missing).as_py():
        raise fail("a value in every row", pc.index(missing, True).as_py())
    values = pc.if_else(missing, pa.scalar(None, pa.string()), texts)
    if column.kind == "label" and rules.positive:
        values = _label_texts(values, rules, fail)
    elif numbers:
        values = _numbers(values, column, rules, fail)
    return pa.DictionaryArray.from_arrays(array.indices, values)


def values_of(array: pa.DictionaryArray) -> np.ndarray:
    """The values of all rows of a converted column of numbers, [B] float64."""
    distinct = array.dictionary.to_numpy(zero_copy_only=False).astype(np.float64)
    return distinct[array.indices.to_numpy()]


def _label_texts(texts: pa.Array, rules: TextRules, fail: Fail) -> pa.Array:
    """Texts of labels as 0 and 1.

    Args:
      texts: distinct texts of the column.
      rules: which texts are positive and which are negative.
      fail: makes the error about a text that is neither.
    """
    labels = rules.positive + rules.negative
    known = pc.is_in(texts, pa.array(labels, pa.string()))
    if rules.negative and not pc.all(known).as_py():
        raise fail(f"one of {', '.join(labels)}", pc.index(known, False).as_py())
    return pc.is_in(texts, pa.array(rules.positive, pa.string())).cast(pa.float64())


def _numbers(texts: pa.Array, column: Column, rules: TextRules, fail: Fail) -> pa.Array:
    """Texts as float64 numbers; in a categorical column, as strings of whole numbers in canonical
    form.

    Args:
      texts: distinct texts of the column, null where missing.
      column: name, kind and type of the column.
      rules: the meaning of texts in the file.
      fail: makes the error about a text that is no such number.
    """
    whole = column.kind == "categorical"
    # As a number or a label, "nan" is for the caller to refuse, or a missing value.
    form = _WHOLE if whole else _DECIMAL
    form += "|^(?i:nan)$" if column.kind in ("numeric", "label") else ""
    # Arrow would also read 0x10 as 16, and Python 1_000 as 1000 and digits of other scripts.
    good = pc.match_substring_regex(texts, form)
    if pc.all(good).as_py() is False:
        should = "a whole number of 64 bits" if whole else "a finite number"
        raise fail(should, pc.index(good, False).as_py())
    numbers = _whole_numbers(texts, fail) if whole else _decimals(texts, fail)
    if column.is_field:
        marks = missing_numbers(rules.missing, "int64" if whole else "float64")
        missing = pc.is_in(numbers, pa.array(marks, numbers.type))
        numbers = pc.if_else(missing, pa.scalar(None, numbers.type), numbers)
    return numbers.cast(pa.string()) if whole else numbers


def _decimals(texts: pa.Array, fail: Fail) -> pa.Array:
    numbers = texts.cast(pa.float64())
    if pc.any(pc.is_inf(numbers)).as_py():
        raise fail("a finite number", pc.index(pc.is_inf(numbers), True).as_py())
    return numbers


def _whole_numbers(texts: pa.Array, fail: Fail) -> pa.Array:
    try:
        numbers = texts.cast(pa.int64())
    except pa.ArrowInvalid:
        # +5, an id as pandas writes those of a column with gaps (83.0), or too large a number.
        texts = pc.replace_substring_regex(texts, r"^\+?(-?)0*([0-9]+)(?:\.0+)?$", r"\1\2")
        for k, text in enumerate(texts.to_pylist()):
            if text is not None and (len(text) > 20 or not _RESERVED < int(text) < 2**63):
                raise fail(_TOO_LARGE, k) from None
        numbers = texts.cast(pa.int64())
    if pc.any(pc.equal(numbers, _RESERVED)).as_py():
        raise fail(_TOO_LARGE, pc.index(numbers, _RESERVED).as_py())
    return numbers
