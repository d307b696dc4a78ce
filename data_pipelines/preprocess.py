"""From a log to a data folder: spool, count, scatter, write; see `preprocess`."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm  # type: ignore[import-untyped]

from data_pipelines import records, vocabulary
from data_pipelines.lines import bad_row
from data_pipelines.options import PreprocessOptions
from data_pipelines.reader import Chunk, RawField, Reader
from data_pipelines.records import SPLITS
from irazor_tf.config import integrity, recipe
from irazor_tf.config.schema import Field, Schema

_notices = logging.getLogger("irazor_tf")

_SPLIT_STREAM, _SHADOW_STREAM = 1, 1_000_000
_PATH_OPTIONS = ("input", "valid_input", "test_input", "schema")


@dataclasses.dataclass
class _Spool:
    """The rows of one group of files as read: an Arrow stream of dictionary-encoded tokens, `label`
    and `time`."""

    path: str
    rows: int = 0
    files: dict[str, int] = dataclasses.field(
        default_factory=dict
    )  # rows read of each file, those left out by their label too

    def __iter__(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches, each with the position of its first row."""
        position = 0
        with pa.OSFile(self.path) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                yield position, batch
                position += batch.num_rows


def preprocess(options: PreprocessOptions, output_dir: str, progress: bool = True) -> Schema:
    """Writes schema, vocabularies, counts, records and manifest into `output_dir`, which appears
    only when everything is there.

    The log is parsed once, into a spool of dictionary-encoded tokens on disk; tokens of the
    training rows are counted; every row, now ids, is scattered to a random bucket of its split;
    each bucket is shuffled and written as blocks. Memory holds a chunk, a bucket and the
    vocabularies.

    Args:
      options: what to do.
      output_dir: folder to make; it must not exist, or be empty. Work goes on in `output_dir +
        ".partial"`, which is cleared first.
      progress: whether to show progress bars.

    Raises:
      ValueError: a bad row, a bad option or an empty training split.
    """
    output_dir = output_dir.rstrip("/" + os.sep)
    if os.path.exists(output_dir) and (not os.path.isdir(output_dir) or os.listdir(output_dir)):
        manifest = os.path.join(output_dir, "manifest.json")
        there = (
            "a file"
            if not os.path.isdir(output_dir)
            else f"with {'a' if os.path.exists(manifest) else 'files, but no'} {manifest}"
        )
        should = "`output_dir` should not exist yet, or be empty (delete it, and it is made anew)"
        raise ValueError(f"{should}. Received: {output_dir}, {there}")
    partial = output_dir + ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    scratch = os.path.join(partial, "scratch")
    os.makedirs(scratch)
    reader = options.make_reader()
    sources = _sources(options, reader, partial)
    reader.inspect([path for paths in sources.values() for path in paths])
    fields = reader.fields()
    if options.numeric_transform is not None:
        override = options.numeric_transform
        fields = tuple(
            dataclasses.replace(f, transform=override) if f.kind == "numeric" else f for f in fields
        )
    _check_names(fields, options)
    spools = {
        source: _spool(
            reader, fields, paths, options, os.path.join(scratch, f"{source}.arrow"), progress
        )
        for source, paths in sources.items()
    }
    counts, rows = _count(spools, fields, options, progress)
    if not rows[0]:
        read = "; ".join(
            f"{name}: {number} rows"
            for spool in spools.values()
            for name, number in spool.files.items()
        )
        held = dict(zip(SPLITS, rows, strict=True))
        raise ValueError(
            f"The training split should hold at least one row. Received: {held} rows ({read})"
        )
    resolved = {"min_count": recipe.min_count(rows[0])} if options.min_count == recipe.AUTO else {}
    least = int(resolved.get("min_count", options.min_count))
    vocabularies = {}
    for field in fields:
        vocabularies[field.name] = vocabulary.build(
            counts.pop(field.name), least, options.max_vocab, field.name
        )
    shufflers = [
        records.Shuffler(scratch, split, number, len(fields) + 1, options.seed)
        for split, number in zip(SPLITS, rows, strict=True)
    ]
    _scatter(spools, fields, vocabularies, shufflers, options, progress)
    splits = {}
    for split, number, shuffler in zip(SPLITS, rows, shufflers, strict=True):
        splits[split] = _write(partial, split, number, shuffler, len(fields), options, progress)
    shutil.rmtree(scratch)
    inputs = {
        source: [{"file": name, "rows": read} for name, read in spool.files.items()]
        for source, spool in spools.items()
    }
    return _finish(options, reader, fields, vocabularies, splits, inputs, resolved, output_dir)


def _check_names(fields: Sequence[RawField], options: PreprocessOptions) -> None:
    """Raises ValueError where a shadow would be called as a field is, before rows are read."""
    names = {field.name for field in fields}
    for name in sorted(names) if options.shadow_fields else ():
        if f"{name}_shadow" in names:
            raise ValueError(
                "With `shadow_fields` no field should be called as the shadow of another one. "
                f"Received: {name!r} and {name + '_shadow'!r}"
            )


def named_inputs(options: PreprocessOptions) -> tuple[str, ...]:
    """Every file that the options name; none for a log that is generated.

    Raises:
      ValueError: a pattern that matches none.
    """
    keys = ("input", "valid_input", "test_input")
    return tuple(path for key in keys for path in expand(getattr(options, key), key))


def _sources(
    options: PreprocessOptions, reader: Reader, partial: str
) -> dict[str, tuple[str, ...]]:
    """Files per source: `input` (split by the rule), `valid` and `test`."""
    inputs = expand(options.input, "input") if options.input else ()
    if not inputs:
        os.makedirs(os.path.join(partial, "log"))
        inputs = tuple(reader.prepare(os.path.join(partial, "log")))
    sources = {"input": inputs}
    for split in ("valid", "test"):
        paths = expand(getattr(options, f"{split}_input"), f"{split}_input")
        if paths:
            sources[split] = paths
    return sources


def expand(patterns: Sequence[str], name: str) -> tuple[str, ...]:
    """The files that patterns of the option `name` match; raises ValueError for one that matches
    none."""
    paths: list[str] = []
    for pattern in patterns:
        found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
        if not found:
            raise ValueError(
                f"`{name}` should name existing files, or patterns that match some. Received: "
                f"{pattern!r}"
            )
        paths += found
    return tuple(paths)


def _spool(
    reader: Reader,
    fields: Sequence[RawField],
    paths: Sequence[str],
    options: PreprocessOptions,
    path: str,
    progress: bool,
) -> _Spool:
    spool = _Spool(path)
    spool.files = dict.fromkeys(paths, 0)
    # Fields by their number: they may be called `label` and `time`, too.
    kinds = [(str(k), vocabulary.TOKENS) for k in range(len(fields))] + [
        ("label", pa.int8()),
        ("time", pa.float64()),
    ]
    schema = pa.schema(kinds)
    with (
        integrity.naming(path),
        pa.OSFile(path, "wb") as file,
        pa.ipc.new_stream(file, schema) as stream,
        _bar("read", progress) as bar,
    ):
        for chunk in reader.chunks(paths):
            label, kept = _labels(chunk, reader, options)
            if options.split == "time" and chunk.time is None:
                raise ValueError(
                    "`split` should be random or sequential for a log without time. Received: "
                    f"'time' ({chunk.path})"
                )
            time = np.zeros(chunk.num_rows) if chunk.time is None else chunk.time
            if options.split == "time" and not np.isfinite(time).all():
                row = int(np.argmin(np.isfinite(time)))
                raise bad_row(
                    "A time should be a finite number.",
                    repr(float(time[row])),
                    chunk.path,
                    chunk.first_line + row,
                )
            spool.files[chunk.path] = spool.files.get(chunk.path, 0) + chunk.num_rows
            columns = [vocabulary.tokenize(chunk.columns[field.name], field) for field in fields]
            batch = pa.record_batch([*columns, pa.array(label), pa.array(time)], schema=schema)
            batch = batch if kept is None else batch.filter(pa.array(kept))
            stream.write_batch(batch)
            spool.rows += batch.num_rows
            bar.update(batch.num_rows)
    for name, rows in spool.files.items():
        if not rows:
            _notices.warning("%s holds no row", name)
    return spool


def _labels(
    chunk: Chunk, reader: Reader, options: PreprocessOptions
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels as 0 and 1, and which rows stay (None: all)."""
    label = chunk.label
    kept = ~np.isin(label, options.drop_labels) if options.drop_labels else None
    above = reader.positive_above if options.positive_above is None else options.positive_above
    with np.errstate(invalid="ignore"):
        result = label if above is None else np.where(np.isfinite(label), label > above, np.nan)
    bad = (result != 0) & (result != 1)
    if kept is not None:
        bad &= kept
    if bad.any():
        row = int(np.argmax(bad))
        should = (
            "A label should be 0 or 1; where it is a rating, `positive_above` says which are "
            "positive."
        )
        raise bad_row(should, repr(float(label[row])), chunk.path, chunk.first_line + row)
    return np.where(bad, 0, result).astype(np.int8), kept


def _split(
    options: PreprocessOptions,
    spools: dict[str, _Spool],
    source: str,
    position: int,
    batch: pa.RecordBatch,
) -> np.ndarray:
    """Split number of each row of a batch, [B] int8: 0 training, 1 validation, 2 test."""
    rows = batch.num_rows
    if source != "input":
        return np.full(rows, SPLITS.index(source), np.int8)
    if options.split == "time":
        assert options.time_boundaries is not None
        split = np.searchsorted(
            options.time_boundaries, batch.column("time").to_numpy(), side="left"
        ).astype(np.int8)
        for k, name in enumerate(SPLITS[1:], 1):
            rows = int((split == k).sum())
            if name in spools and rows:
                raise ValueError(
                    f"With `{name}_input` given, `time_boundaries` should put no row of `input` "
                    f"there. Received: {rows} rows"
                )
        return split
    fractions = np.array(
        [
            0.0 if name in spools else part
            for name, part in zip(SPLITS, options.fractions, strict=True)
        ]
    )
    ends = np.cumsum(fractions) / fractions.sum()
    counters = np.arange(position, position + rows)
    if options.split == "sequential":
        return np.searchsorted(
            np.round(ends[:2] * spools["input"].rows), counters, side="right"
        ).astype(np.int8)
    uniform = (records.mix(options.seed, _SPLIT_STREAM, counters) >> np.uint64(11)) * 2.0**-53
    return np.searchsorted(ends[:2], uniform, side="right").astype(np.int8)


def _count(
    spools: dict[str, _Spool],
    fields: Sequence[RawField],
    options: PreprocessOptions,
    progress: bool,
) -> tuple[dict[str, vocabulary.TokenCounts], list[int]]:
    counts = {field.name: vocabulary.TokenCounts() for field in fields}
    rows = np.zeros(3, np.int64)
    with _bar("count", progress, sum(spool.rows for spool in spools.values())) as bar:
        for source, spool in spools.items():
            for position, batch in spool:
                split = _split(options, spools, source, position, batch)
                rows += np.bincount(split, minlength=3)
                train = split == 0
                if train.any():
                    for k, field in enumerate(fields):
                        counts[field.name].add_column(batch.column(k), train)
                bar.update(batch.num_rows)
    return counts, rows.tolist()


def _scatter(
    spools: dict[str, _Spool],
    fields: Sequence[RawField],
    vocabularies: dict[str, vocabulary.Vocabulary],
    shufflers: Sequence[records.Shuffler],
    options: PreprocessOptions,
    progress: bool,
) -> None:
    with _bar("encode", progress, sum(spool.rows for spool in spools.values())) as bar:
        for source, spool in spools.items():
            for position, batch in spool:
                split = _split(options, spools, source, position, batch)
                matrix = np.empty((batch.num_rows, len(fields) + 1), np.int32)
                for k, field in enumerate(fields):
                    column = batch.column(k)
                    matrix[:, k] = vocabularies[field.name].encode(column.dictionary)[
                        column.indices.to_numpy()
                    ]
                matrix[:, -1] = batch.column("label").to_numpy()
                for k, shuffler in enumerate(shufflers):
                    shuffler.add(matrix[split == k])
                bar.update(batch.num_rows)
            os.remove(spool.path)


def _write(
    directory: str,
    split: str,
    rows: int,
    shuffler: records.Shuffler,
    width: int,
    options: PreprocessOptions,
    progress: bool,
) -> dict[str, Any]:
    block_writer = records.BlockWriter(
        directory, split, rows, options.block_rows, options.num_files
    )
    with block_writer as writer, _bar(f"write {split}", progress, rows) as bar:
        for bucket, matrix in shuffler.buckets():
            ids, label = matrix[:, :width], matrix[:, -1]
            if options.shadow_fields:
                stream = _SHADOW_STREAM * (1 + SPLITS.index(split)) + bucket * width
                shadows = [
                    ids[records.permutation(options.seed, stream + k, len(ids)), k]
                    for k in range(width)
                ]
                ids = np.concatenate([ids, np.stack(shadows, axis=1)], axis=1)
            writer.add(ids, label)
            bar.update(len(ids))
        return writer.finish()


def _finish(
    options: PreprocessOptions,
    reader: Reader,
    raw_fields: Sequence[RawField],
    vocabularies: dict[str, vocabulary.Vocabulary],
    splits: dict[str, Any],
    inputs: dict[str, list[dict[str, Any]]],
    resolved: dict[str, Any],
    output_dir: str,
) -> Schema:
    """Everything but the records, and the rename."""
    partial = output_dir + ".partial"
    fields: list[Field] = [field.to_field(vocabularies[field.name].size) for field in raw_fields]
    counts = {name: vocabulary_.counts for name, vocabulary_ in vocabularies.items()}
    if options.shadow_fields:
        for field in list(fields):
            shadow = dataclasses.replace(
                field, name=f"{field.name}_shadow", role="shadow", parents=(field.name,)
            )
            fields.append(shadow)
            counts[shadow.name] = counts[field.name]
            vocabularies[shadow.name] = vocabularies[field.name]
    vocabulary.save(partial, vocabularies, counts)
    schema = Schema(tuple(fields), reader.label)
    kept = {key: value for key, value in options.to_json().items() if key not in _PATH_OPTIONS}
    digest = hashlib.sha256(json.dumps([kept, schema.to_json(), splits], sort_keys=True).encode())
    for field in fields:
        with open(os.path.join(partial, "vocab", f"{field.name}.txt"), "rb") as file:
            digest.update(hashlib.sha256(file.read()).digest())
    schema = dataclasses.replace(schema, fingerprint=digest.hexdigest(), directory=output_dir)
    schema.save(partial)
    manifest = {
        "options": options.to_json(),
        "described": reader.described(),
        "fingerprint": schema.fingerprint,
    }
    manifest |= {
        "block_rows": options.block_rows,
        "inputs": inputs,
        "splits": splits,
        "resolved": resolved,
    }
    records.save_manifest(partial, manifest)
    os.rename(partial, output_dir)
    return schema


def _bar(stage: str, progress: bool, total: int | None = None) -> tqdm:
    return tqdm(desc=stage, total=total, unit="row", unit_scale=True, disable=not progress)
