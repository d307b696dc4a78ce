"""Preprocessing, from a log to a data folder, in four passes: spool, count, scatter, write (see
`preprocess`)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from typing import Any

import numpy as np

from data_pipelines import shuffle, vocabulary
from data_pipelines.inputs import INPUT_OPTIONS, files_of
from data_pipelines.manifest import save_manifest
from data_pipelines.options import PreprocessOptions
from data_pipelines.reader import RawField, Reader
from data_pipelines.records import SPLITS, BlockWriter
from data_pipelines.shuffle import Shuffler
from data_pipelines.spool import SpooledLog, read_log, rows_bar
from irazor_tf.config import integrity, recipe
from irazor_tf.config.layout import RecordsPaths
from irazor_tf.config.schema import Field, Schema

_SHADOW_STREAM = 1_000_000
_PATH_OPTIONS = (*INPUT_OPTIONS, "schema")


def preprocess(options: PreprocessOptions, output_dir: str, progress: bool = True) -> Schema:
    """Turns a log into a data folder with schema, vocabularies, counts, records and manifest. The
    folder gets its name only once it is complete.

    The log is parsed once, into a spool of dictionary-encoded tokens on disk; tokens of the
    training rows are counted; every row, now ids, is scattered to a random bucket of its split;
    each bucket is shuffled and written as blocks. Memory holds a chunk, a bucket and the
    vocabularies.

    Args:
      options: the options of preprocessing.
      output_dir: folder to make; it must not exist, or be empty. Until it is complete, its files
        lie in `output_dir + ".partial"`, which is emptied first.
      progress: whether to show progress bars.

    Raises:
      ValueError: a bad row, a bad option or an empty training split.
    """
    output_dir = output_dir.rstrip("/" + os.sep)
    _check_output(output_dir)
    partial = output_dir + integrity.PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    scratch = os.path.join(partial, "scratch")
    os.makedirs(scratch)
    reader = options.make_reader()
    sources = files_of(options, reader, RecordsPaths(partial).log)
    reader.inspect([path for paths in sources.values() for path in paths])
    fields = _fields(reader, options)
    log = read_log(reader, fields, sources, options, scratch, progress)
    counts, rows = _count(log, progress)
    resolved = _resolved(options, rows[0])
    vocabularies = _vocabularies(counts, options, resolved)
    shufflers = {
        split: Shuffler(scratch, split, number, len(fields) + 1, options.seed)
        for split, number in zip(SPLITS, rows, strict=True)
    }
    _scatter(log, vocabularies, shufflers, progress)
    splits = {
        split: _write(partial, split, number, shufflers[split], options, progress)
        for split, number in zip(SPLITS, rows, strict=True)
    }
    shutil.rmtree(scratch)
    return _finish(log, reader, vocabularies, splits, resolved, output_dir)


def _check_output(output_dir: str) -> None:
    """Raises ValueError where `output_dir` exists already and is not an empty folder."""
    if not os.path.exists(output_dir) or (os.path.isdir(output_dir) and not os.listdir(output_dir)):
        return
    received = "a file"
    if os.path.isdir(output_dir):
        manifest = RecordsPaths(output_dir).manifest
        received = f"with {'a' if os.path.exists(manifest) else 'files, but no'} {manifest}"
    should = "`output_dir` should not exist yet, or be empty (delete it, and it is made anew)"
    raise ValueError(f"{should}. Received: {output_dir}, {received}")


def _fields(reader: Reader, options: PreprocessOptions) -> tuple[RawField, ...]:
    """The fields that the reader declares, with the transform that the options ask for.

    Raises:
      ValueError: a field has the name that another one's shadow would get.
    """
    fields = reader.fields()
    if (transform := options.numeric_transform) is not None:
        fields = tuple(
            dataclasses.replace(field, transform=transform) if field.kind == "numeric" else field
            for field in fields
        )
    names = {field.name for field in fields}
    for name in sorted(names) if options.shadow_fields else ():
        if _shadow(name) in names:
            raise ValueError(
                "With `shadow_fields` no field should be called as the shadow of another one. "
                f"Received: {name!r} and {_shadow(name)!r}"
            )
    return fields


def _shadow(name: str) -> str:
    """The name of a field's shadow."""
    return f"{name}_shadow"


def _count(log: SpooledLog, progress: bool) -> tuple[dict[str, vocabulary.TokenCounts], list[int]]:
    """Counts of every field's tokens in the training split (name of the field -> counts), and the
    number of rows of every split.

    Raises:
      ValueError: the training split is empty.
    """
    counts = {field.name: vocabulary.TokenCounts() for field in log.fields}
    rows = np.zeros(len(SPLITS), np.int64)
    with rows_bar("count", progress, log.rows) as bar:
        for batch, split in log.batches():
            rows += np.bincount(split, minlength=len(SPLITS))
            train = split == 0
            if train.any():
                for k, field in enumerate(log.fields):
                    counts[field.name].add_column(batch.column(k), train)
            bar.update(batch.num_rows)
    if not rows[0]:
        held = dict(zip(SPLITS, rows.tolist(), strict=True))
        files = [item for spool in log.spools.values() for item in spool.files.items()]
        read = "; ".join(f"{name}: {number} rows" for name, number in files)
        raise ValueError(
            f"The training split should hold at least one row. Received: {held} rows ({read})"
        )
    return counts, rows.tolist()


def _resolved(options: PreprocessOptions, train_rows: int) -> dict[str, int]:
    """Name -> value of the options that are "auto", by the number of training rows."""
    if options.min_count != recipe.AUTO:
        return {}
    return {"min_count": recipe.min_count(train_rows)}


def _vocabularies(
    counts: dict[str, vocabulary.TokenCounts],
    options: PreprocessOptions,
    resolved: dict[str, int],
) -> dict[str, vocabulary.Vocabulary]:
    """The vocabularies, name of a field -> vocabulary. The counts of a field are removed from
    `counts` as soon as its vocabulary is built. `resolved` has the values of options that are
    "auto"."""
    min_count = int(resolved.get("min_count", options.min_count))
    return {
        name: vocabulary.build(counts.pop(name), min_count, options.max_vocab, name)
        for name in list(counts)
    }


def _scatter(
    log: SpooledLog,
    vocabularies: dict[str, vocabulary.Vocabulary],
    shufflers: dict[str, Shuffler],
    progress: bool,
) -> None:
    """Passes every row, as its ids and the bits of its label, to the shuffler of its split.
    `vocabularies` are by field, `shufflers` by split."""
    with rows_bar("encode", progress, log.rows) as bar:
        for batch, split in log.batches(delete=True):
            matrix = np.empty((batch.num_rows, len(log.fields) + 1), np.int32)
            for k, field in enumerate(log.fields):
                column = batch.column(k)
                ids = vocabularies[field.name].encode(column.dictionary)
                matrix[:, k] = ids[column.indices.to_numpy()]
            matrix[:, -1] = batch.column("label").to_numpy().view(np.int32)
            for number, name in enumerate(SPLITS):
                shufflers[name].add(matrix[split == number])
            bar.update(batch.num_rows)


def _write(
    directory: str,
    split: str,
    rows: int,
    shuffler: Shuffler,
    options: PreprocessOptions,
    progress: bool,
) -> dict[str, Any]:
    """Writes the records of a split, and returns the split's entry in the manifest.

    Args:
      directory: folder for the record files.
      split: name of the split.
      rows: number of rows in the split.
      shuffler: holds the split's rows.
      options: the options.
      progress: whether to show a progress bar.
    """
    block_writer = BlockWriter(directory, split, rows, options.block_rows, options.num_files)
    with block_writer as writer, rows_bar(f"write {split}", progress, rows) as bar:
        for bucket, matrix in shuffler.buckets():
            ids, label = matrix[:, :-1], np.ascontiguousarray(matrix[:, -1]).view(np.float32)
            if options.shadow_fields:
                width = ids.shape[1]
                stream = _SHADOW_STREAM * (1 + SPLITS.index(split)) + bucket * width
                shadows = [
                    ids[shuffle.permutation(options.seed, stream + k, len(ids)), k]
                    for k in range(width)
                ]
                ids = np.concatenate([ids, np.stack(shadows, axis=1)], axis=1)
            writer.add(ids, label)
            bar.update(len(ids))
        return writer.finish()


def _finish(
    log: SpooledLog,
    reader: Reader,
    vocabularies: dict[str, vocabulary.Vocabulary],
    splits: dict[str, Any],
    resolved: dict[str, int],
    output_dir: str,
) -> Schema:
    """Writes all files beside the records, renames the folder to its final name, and returns the
    schema.

    Args:
      log: the log as read.
      reader: its reader.
      vocabularies: field -> vocabulary.
      splits: split -> its entry in the manifest.
      resolved: values of the options that are "auto".
      output_dir: final name of the folder.
    """
    options, partial = log.options, output_dir + integrity.PARTIAL
    fields: list[Field] = [field.to_field(vocabularies[field.name].size) for field in log.fields]
    vocabularies = dict(vocabularies)
    if options.shadow_fields:
        for field in list(fields):
            shadow = dataclasses.replace(
                field, name=_shadow(field.name), role="shadow", parents=(field.name,)
            )
            fields.append(shadow)
            vocabularies[shadow.name] = vocabularies[field.name]
    vocabulary.save(partial, vocabularies)
    schema = Schema(tuple(fields), reader.label)
    schema = dataclasses.replace(
        schema, fingerprint=_fingerprint(partial, options, schema, splits), directory=output_dir
    )
    schema.save(partial)
    inputs = {
        source: [{"file": name, "rows": read} for name, read in spool.files.items()]
        for source, spool in log.spools.items()
    }
    manifest = {
        "options": options.to_json(),
        "described": reader.described(),
        "fingerprint": schema.fingerprint,
        "block_rows": options.block_rows,
        "inputs": inputs,
        "splits": splits,
        "resolved": resolved,
    }
    save_manifest(partial, manifest)
    os.rename(partial, output_dir)
    return schema


def _fingerprint(
    directory: str, options: PreprocessOptions, schema: Schema, splits: dict[str, Any]
) -> str:
    """The data's fingerprint: a digest of options (without the paths of the log), fields, records
    and vocabularies.

    Args:
      directory: folder that holds the vocabularies.
      options: the options.
      schema: the fields.
      splits: split -> its entry in the manifest, with checksums of the records.
    """
    kept = {key: value for key, value in options.to_json().items() if key not in _PATH_OPTIONS}
    digest = hashlib.sha256(json.dumps([kept, schema.to_json(), splits], sort_keys=True).encode())
    for name in schema.names:
        with open(RecordsPaths(directory).vocabulary(name), "rb") as file:
            digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()
