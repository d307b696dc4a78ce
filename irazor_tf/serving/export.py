"""From a trained model to a SavedModel that takes raw feature values.

The vocabularies travel as assets and every transform happens in the graph, so a client sends what
the log holds and needs no code of this project. What is written is what the signature reads, and
nothing else: no removed field, no optimizer slot, no clock."""

from __future__ import annotations

import contextlib
import keyword
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf
import tf_keras as keras

from irazor_tf.config import integrity
from irazor_tf.config.encoding import log_square_boundaries, missing_numbers
from irazor_tf.config.schema import MISSING, MISSING_INT, Field, Schema
from irazor_tf.evaluation.calibration import EPSILON, Correction
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import RoutedRecommender

SIGNATURE = "serving_default"
# What Unicode calls white space, as Arrow's `utf8_trim_whitespace` leaves it out.
_SPACE = r"[\t-\r\x1c-\x20\x85\p{Z}]"
_SPACES = f"^{_SPACE}+|{_SPACE}+$"
_DTYPES = {"string": tf.string, "int64": tf.int64, "float64": tf.float64}


def export(
    model: Recommender | RoutedRecommender,
    schema: Schema,
    export_dir: str,
    correction: Correction | None = None,
) -> str:
    """Writes the model as the next version under `export_dir`.

    The version is written beside, in a hidden folder, and renamed last: a serving process that
    watches `export_dir` sees it whole or not at all. `<version>.sha256` beside it holds the
    checksums of its files. One process at a time may export into a folder.

    The signature `serving_default` (Predict) takes one [B] tensor per field of `model.kept`, called
    after the field, and gives [B] float32 called `task.output`. A text is cleaned as the log's
    texts were (`strip` and `missing` of the field) and then looked up.

    Args:
      model: trained, under any strategy; its gates and hard mask are part of what is served.
      schema: the model's schema, loaded from the data folder, whose vocabulary files become assets.
      export_dir: folder of the versions, made where it is not there.
      correction: of the predictions, before they are given out; None: they are served as trained.

    Returns:
      The version's path, `export_dir/<integer>`.

    Raises:
      ValueError: `schema` is not the model's, a vocabulary file does not fit it, or a field cannot
        be an input (see `raw_signature`).
    """
    if schema.fields != model.schema.fields:
        odd = [field.name for field in set(schema.fields) ^ set(model.schema.fields)]
        raise ValueError(
            "`schema` should have the model's fields. Received: one that differs in "
            f"{sorted(set(odd)) or 'their order'}"
        )
    signature = raw_signature(schema, model.kept)
    module = tf.Module(name="served")
    module.encoders = {name: FieldEncoder(schema, name) for name in model.kept}

    def serve(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        ids = _ids(schema, {name: encode(raw[name]) for name, encode in module.encoders.items()})
        predictions = model.predict_proba(ids)
        if correction is not None:
            predictions = corrected(predictions, correction)
        return {model.task.output: tf.cast(predictions, tf.float32)}

    served = tf.function(serve, input_signature=[signature], autograph=False)
    with contextlib.ExitStack() as stack:
        for part in model.models if isinstance(model, RoutedRecommender) else [model]:
            if part.embedding is not None:
                stack.enter_context(part.embedding.served())
        return _write(module, served, model, export_dir)


def _write(
    module: tf.Module,
    served: tf.types.experimental.PolymorphicFunction,
    model: keras.Model,
    export_dir: str,
) -> str:
    """Traces and writes; returns the path."""
    # The variables that are read; `model.weights` would bring metrics and the clock along, the
    # model itself the optimizers.
    read = {variable.name for variable in served.get_concrete_function().graph.variables}
    module.weights = [variable for variable in model.variables if variable.name in read]

    version = next_version(export_dir)
    path = os.path.join(export_dir, str(version))
    # Not tempfile.mkdtemp: its folders are closed to all other users, so to a server run by one.
    partial = os.path.join(export_dir, f".{version}.partial")
    os.makedirs(export_dir, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        # Not the trace above: `save` traces anew, and then reads one plain copy of what a strategy
        # spread, on no particular device.
        tf.saved_model.save(module, partial, signatures={SIGNATURE: served})
        lines = [
            f"{digest}  {version}/{name}\n" for name, digest in integrity.checksums(partial).items()
        ]
        with integrity.beside(_sums(path)) as file:
            file.write("".join(lines))
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _sums(path: str) -> str:
    """Where the checksums of a version lie: beside it, in the form
    that `sha256sum --check` reads."""
    return path + ".sha256"


def has_checksums(path: str) -> bool:
    """Whether the checksums of a version lie beside it."""
    return os.path.exists(_sums(path))


def damage(path: str) -> str:
    """What a version on disk has that it was not written with, in words; empty for a whole one."""
    if not has_checksums(path):
        return f"{os.path.basename(_sums(path))} is gone"
    with open(_sums(path), encoding="utf-8", errors="replace") as file:
        pairs = [line.rstrip("\n").partition("  ")[::2] for line in file]
    written = {name.partition("/")[2]: digest for digest, name in pairs}
    there = integrity.checksums(path)
    odd = [
        f"{name} is {'not as it was written' if name in there else 'gone'}"
        for name in written
        if there.get(name) != written[name]
    ]
    return "; ".join(
        [*odd, *(f"{name} was not written with it" for name in there if name not in written)]
    )


def raw_signature(schema: Schema, kept: Sequence[str]) -> dict[str, tf.TensorSpec]:
    """The inputs of a served model: field name -> [None] of the raw value's type.

    Args:
      schema: the data's fields.
      kept: names of the fields that the model reads.

    Raises:
      ValueError: a field of a kind that cannot be served raw, or a name that TensorFlow does not
        take for an input.
    """
    check_served_names(kept)
    for name in kept:
        field = schema.field(name)
        if field.kind == "cross" or (field.kind == "numeric") != (field.dtype == "float64"):
            raise ValueError(
                "A served field should be a string, an int64, or numeric and float64. Received: "
                f"{field}"
            )
    return {
        name: tf.TensorSpec([None], _DTYPES[schema.field(name).dtype], name=name) for name in kept
    }


def check_served_names(names: Iterable[str]) -> None:
    """Raises ValueError for names that TensorFlow does not take for inputs of one model; jobs ask
    before they read a log."""
    seen: dict[str, str] = {}
    for name in names:
        # Inputs become keyword arguments of a Python function; names of graph nodes are unique
        # without regard to case.
        if keyword.iskeyword(name) or name == "self":
            raise ValueError(
                "A served field should not be called like a Python keyword or `self`. Received: "
                f"{name!r}"
            )
        if name.lower() in seen:
            raise ValueError(
                "Names of served fields should differ in more than case. Received: "
                f"{seen[name.lower()]!r} and {name!r}"
            )
        seen[name.lower()] = name


def size_report(path: str) -> dict[str, float]:
    """Bytes of an exported version: `bytes` in all, those of `variables` and of `assets`, and
    `mib`, all in units of 2^20 bytes."""
    sizes = {"bytes": 0, "variables": 0, "assets": 0}
    for folder, _, names in os.walk(path):
        top = os.path.relpath(folder, path).split(os.sep)[0]
        size = sum(os.path.getsize(os.path.join(folder, name)) for name in names)
        sizes["bytes"] += size
        if top in ("variables", "assets"):
            sizes[top] += size
    if not sizes["bytes"]:
        raise ValueError(f"`path` should be an exported version. Received: {path}, without files")
    return {**sizes, "mib": sizes["bytes"] / 2**20}


class FieldEncoder(tf.Module):
    """Raw values [B] of one field -> ids [B] int32, as preprocessing makes them.

    A missing value is looked up as the token `MISSING`, and so is, as in preprocessing, a text that
    reads exactly so; where the vocabulary has no such line both are id 0, as is every unseen value.

    Args:
      schema: loaded from the data folder.
      name: the field.
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


def corrected(probabilities: tf.Tensor, correction: Correction) -> tf.Tensor:
    """`Correction.apply` in the graph: [B] -> [B] float64, in the same order and equal but for the
    last digits of exp and log.

    It starts from the float32 that would be served without it. Near 1 these stand 6e-8 apart, which
    the logit stretches: with a slope of .5 to 2e-6 at p = .9997, and to 1e-4 at the last ones below
    1."""
    probabilities = tf.cast(probabilities, tf.float64)
    if correction.is_identity:
        return probabilities
    clipped = tf.clip_by_value(probabilities, EPSILON, 1 - EPSILON)
    logits = tf.math.log(clipped) - tf.math.log1p(-clipped)
    return tf.sigmoid(correction.slope * logits + correction.intercept)


def graph_codes(values: tf.Tensor, transform: str) -> tf.Tensor:
    """`irazor_tf.schema.numeric_codes` in the graph, equal to the last bit: [B] float64 -> [B]
    int64."""
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


class _VocabularyFile(tf.lookup.TextFileInitializer):
    """Line k, counted from 1, -> k. The file becomes an asset."""

    # By default tables are shared under their file's path: it would go into the model, and in one
    # process a table of rebuilt data would be that of the old data, without a word where the sizes
    # are equal. Without a name each table gets one of its own.
    _shared_name = ""

    def __init__(self, path: str):
        line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        super().__init__(path, tf.string, line, tf.int64, number, value_index_offset=1)


def _tokens(raw: tf.Tensor, field: Field) -> tf.Tensor:
    """The lines to look for in the vocabulary, [B] string."""
    marks: list
    if field.kind == "numeric":
        marks = missing_numbers(field.missing, "float64")
        missing, tokens = (
            tf.math.is_nan(raw),
            tf.strings.as_string(graph_codes(raw, field.transform)),
        )
    elif field.dtype == "int64":
        marks = [MISSING_INT, *missing_numbers(field.missing, "int64")]
        missing, tokens = tf.zeros_like(raw, tf.bool), tf.strings.as_string(raw)
    else:
        raw = tf.strings.regex_replace(raw, _SPACES, "") if field.strip else raw
        marks = ["", *field.missing]
        missing, tokens = tf.zeros_like(raw, tf.bool), raw
    if marks:
        missing |= tf.reduce_any(
            tf.equal(raw[:, tf.newaxis], tf.constant(marks, raw.dtype)), axis=1
        )
    return tf.where(missing, MISSING, tokens)


def _ids(schema: Schema, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """[B, number of fields in the schema]; fields that are not among the columns are never read and
    get zeros."""
    zeros = tf.zeros_like(next(iter(columns.values())))
    return tf.stack([columns.get(name, zeros) for name in schema.names], axis=1)


def next_version(export_dir: str) -> int:
    """The version that `export` would write."""
    names = os.listdir(export_dir) if os.path.isdir(export_dir) else []
    return 1 + max((int(name) for name in names if name.isascii() and name.isdigit()), default=0)
