"""From a trained model to a SavedModel that takes raw feature values.

The vocabularies travel as assets and every transform happens in the graph, so a client sends what
the log holds and needs no code of this project. What is written is what the signature reads, and
nothing else: no removed field, no optimizer slot, no clock."""

from __future__ import annotations

import contextlib
import keyword
from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from irazor_tf.config.schema import Schema
from irazor_tf.evaluation.calibration import EPSILON, Correction
from irazor_tf.model.recommender import Recommender
from irazor_tf.model.routing import RoutedRecommender
from irazor_tf.serving.encoders import FieldEncoder
from irazor_tf.serving.versions import publish

SIGNATURE = "serving_default"
_DTYPES = {"string": tf.string, "int64": tf.int64, "float64": tf.float64}


def export(
    model: Recommender | RoutedRecommender,
    schema: Schema,
    export_dir: str,
    correction: Correction | None = None,
) -> str:
    """Writes the model as the next version under `export_dir` (see `publish`).

    The signature `serving_default` (Predict) takes one [B] tensor per field of `model.kept`, called
    after the field, and gives [B] float32 called `task.output`. A text is cleaned as the log's
    texts were (`strip` and `missing` of the field) and then looked up.

    Args:
      model: a trained model, under any strategy; its gates and hard mask are part of what is
        served.
      schema: the model's schema, loaded from the data folder, whose vocabulary files become assets.
      export_dir: folder of the versions, made where it is not there.
      correction: the calibration of predictions before they are given out. If None (default), they
        are served as trained.

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
        # The variables that are read; `model.weights` would bring metrics and the clock along, the
        # model itself the optimizers.
        read = {variable.name for variable in served.get_concrete_function().graph.variables}
        module.weights = [variable for variable in model.variables if variable.name in read]

        def save(path: str) -> None:
            # Not the trace above: `save` traces anew, and then reads one plain copy of what a
            # strategy spread, on no particular device.
            tf.saved_model.save(module, path, signatures={SIGNATURE: served})

        return publish(export_dir, save)


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
    """Checks that TensorFlow takes these names for the inputs of one model. A job asks before it
    reads a log.

    Raises:
      ValueError: a name that is a Python keyword or `self`, or that differs from another one in
        case only.
    """
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


def _ids(schema: Schema, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Ids of all the schema's fields, [B, N], from those of the served ones, field name -> [B]. The
    model never reads the other fields; they get zeros."""
    zeros = tf.zeros_like(next(iter(columns.values())))
    return tf.stack([columns.get(name, zeros) for name in schema.names], axis=1)
