"""The spool: a log after its only reading, as an Arrow stream of dictionary-encoded tokens per
group of files; and the rule that divides its rows into splits."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from tqdm import tqdm  # type: ignore[import-untyped]

from data_pipelines import shuffle, vocabulary
from data_pipelines.inputs import INPUT
from data_pipelines.labels import labelled
from data_pipelines.options import PreprocessOptions
from data_pipelines.reader import Chunk, RawField, Reader
from data_pipelines.records import SPLITS
from data_pipelines.text.lines import bad_row
from irazor_tf.config import integrity

_SPLIT_STREAM = 1
_logger = logging.getLogger("irazor_tf")


@dataclasses.dataclass
class Spool:
    """The rows of one group of files, in a stream on disk.

    Args:
      path: path of the Arrow stream. It has a column per field, named by the field's number, then
        `label` and `time`.
      rows: number of rows in the stream.
      files: path of each file -> number of rows read, including rows left out by their label.
    """

    path: str
    rows: int = 0
    files: dict[str, int] = dataclasses.field(default_factory=dict)

    def batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(position of its first row in the stream, batch) for every batch of rows."""
        position = 0
        with pa.OSFile(self.path) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                yield position, batch
                position += batch.num_rows


@dataclasses.dataclass(frozen=True)
class SpooledLog:
    """A whole log, in streams on disk.

    Args:
      spools: source (see `inputs.files_of`) -> its rows.
      fields: the fields, in column order.
      options: the options of preprocessing.
    """

    spools: Mapping[str, Spool]
    fields: tuple[RawField, ...]
    options: PreprocessOptions

    @property
    def rows(self) -> int:
        """Number of rows in all sources together."""
        return sum(spool.rows for spool in self.spools.values())

    def batches(self, delete: bool = False) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """The rows of the log in batches.

        Args:
          delete: whether a stream is deleted once it has been read to its end.

        Yields:
          A batch, and the number of the split of each of its rows, [B] int8: 0 training, 1
            validation, 2 test.
        """
        for source, spool in self.spools.items():
            for position, batch in spool.batches():
                if source == INPUT:
                    yield batch, self._divided(position, batch)
                else:
                    yield batch, np.full(batch.num_rows, SPLITS.index(source), np.int8)
            if delete:
                os.remove(spool.path)

    def _divided(self, position: int, batch: pa.RecordBatch) -> np.ndarray:
        """Number of the split of each row of a batch of the source `INPUT`, [B] int8, by the rule
        of the options.

        Args:
          position: position of the batch's first row in the stream.
          batch: the batch.
        """
        options = self.options
        if options.split == "time":
            return self._by_time(batch.column("time").to_numpy())
        fractions = np.array(
            [
                0.0 if name in self.spools else part
                for name, part in zip(SPLITS, options.fractions, strict=True)
            ]
        )
        ends = (np.cumsum(fractions) / fractions.sum())[:2]
        counters = np.arange(position, position + batch.num_rows)
        if options.split == "sequential":
            ends = np.round(ends * self.spools[INPUT].rows)
            return np.searchsorted(ends, counters, side="right").astype(np.int8)
        uniform = shuffle.uniform(options.seed, _SPLIT_STREAM, counters)
        return np.searchsorted(ends, uniform, side="right").astype(np.int8)

    def _by_time(self, time: np.ndarray) -> np.ndarray:
        assert self.options.time_boundaries is not None
        boundaries = np.asarray(self.options.time_boundaries)
        split = np.searchsorted(boundaries, time, side="left").astype(np.int8)
        for number, name in enumerate(SPLITS[1:], 1):
            rows = int((split == number).sum())
            if name in self.spools and rows:
                raise ValueError(
                    f"With `{name}_input` given, `time_boundaries` should put no row of `input` "
                    f"there. Received: {rows} rows"
                )
        return split


def read_log(
    reader: Reader,
    fields: tuple[RawField, ...],
    sources: Mapping[str, Sequence[str]],
    options: PreprocessOptions,
    directory: str,
    progress: bool,
) -> SpooledLog:
    """Reads a log into streams on disk.

    Args:
      reader: the reader of the log's format.
      fields: the fields, in column order.
      sources: source -> paths of its files; see `inputs.files_of`.
      options: the options of preprocessing.
      directory: folder for the streams.
      progress: whether to show progress bars.

    Raises:
      ValueError: a bad row, or a log without time that is to be split by time.
    """
    spools = {}
    for source, paths in sources.items():
        path = os.path.join(directory, f"{source}.arrow")
        spools[source] = read_source(reader, fields, paths, options, path, progress)
    return SpooledLog(spools, fields, options)


def read_source(
    reader: Reader,
    fields: Sequence[RawField],
    paths: Sequence[str],
    options: PreprocessOptions,
    path: str,
    progress: bool,
) -> Spool:
    """Reads one group of files into an Arrow stream on disk.

    Args:
      reader, fields, options, progress: see `read_log`.
      paths: paths of the files.
      path: path of the stream.
    """
    spool = Spool(path, files=dict.fromkeys(paths, 0))
    rule = options.label_rule(reader)
    # Fields by their number: they may be called `label` and `time`, too.
    columns = [(str(k), vocabulary.TOKENS) for k in range(len(fields))]
    schema = pa.schema([*columns, ("label", pa.float32()), ("time", pa.float64())])
    with (
        integrity.naming(path),
        pa.OSFile(path, "wb") as file,
        pa.ipc.new_stream(file, schema) as stream,
        rows_bar("read", progress) as bar,
    ):
        for chunk in reader.chunks(paths):
            label, kept = labelled(chunk, rule, options.drop_labels)
            time = _times(chunk, options)
            spool.files[chunk.path] = spool.files.get(chunk.path, 0) + chunk.num_rows
            tokens = [vocabulary.tokenize(chunk.columns[field.name], field) for field in fields]
            batch = pa.record_batch([*tokens, pa.array(label), pa.array(time)], schema=schema)
            batch = batch if kept is None else batch.filter(pa.array(kept))
            stream.write_batch(batch)
            spool.rows += batch.num_rows
            bar.update(batch.num_rows)
    for name, rows in spool.files.items():
        if not rows:
            _logger.warning("%s holds no row", name)
    return spool


def _times(chunk: Chunk, options: PreprocessOptions) -> np.ndarray:
    """The time of each row, [B] float64; zeros for a log without times.

    Raises:
      ValueError: the log is to be split by time, and a row has no finite time.
    """
    if options.split == "time" and chunk.time is None:
        raise ValueError(
            "`split` should be random or sequential for a log without time. Received: "
            f"'time' ({chunk.path})"
        )
    if chunk.time is None:
        return np.zeros(chunk.num_rows)
    finite = np.isfinite(chunk.time)
    if options.split == "time" and not finite.all():
        row = int(np.argmin(finite))
        received = repr(float(chunk.time[row]))
        raise bad_row(
            "A time should be a finite number.", received, chunk.path, chunk.first_line + row
        )
    return chunk.time


def rows_bar(stage: str, progress: bool, total: int | None = None) -> tqdm:
    """A progress bar that counts rows.

    Args:
      stage: text before the bar.
      progress: whether to show it.
      total: number of rows; None where it is not known.
    """
    return tqdm(desc=stage, total=total, unit="row", unit_scale=True, disable=not progress)
