"""Logs made on the spot, and record files read back."""

import gzip
import pathlib
import random

import numpy as np
import pytest

from irazor_tf.config.schema import Schema


@pytest.fixture(scope="session")
def criteo_lines():
    """Makes lines in Criteo's form: `criteo_lines(rows)`; C1 is different in every row, C2 has 10
    values, a tenth of all is missing."""

    def make(rows, seed=0):
        draw = random.Random(seed)

        def maybe(text):
            return "" if draw.random() < 0.1 else text

        lines = []
        for row in range(rows):
            numbers = [maybe(str(draw.randrange(-2, 1000))) for _ in range(13)]
            tokens = [f"{row:08x}", maybe(f"v{row % 10}")] + [
                maybe(f"{draw.randrange(20):08x}") for _ in range(24)
            ]
            lines.append("\t".join([str(int(draw.random() < 0.3)), *numbers, *tokens]))
        return lines

    return make


@pytest.fixture
def write(tmp_path):
    """Writes a file: `write(name, lines or text or bytes)` gives its path; a name that ends in .gz
    makes it gzip."""

    def save(name, content):
        if isinstance(content, list):
            content = "".join(line + "\n" for line in content)
        data = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
        return str(path)

    return save


@pytest.fixture(scope="session")
def read_split():
    """Reads a split back as the training side does: `read_split(folder, split)` gives ids [rows,
    N], labels and block numbers."""

    def read(folder, split):
        import tensorflow as tf

        width = len(Schema.load(str(folder)).fields)
        ids, labels, blocks = [np.zeros((0, width), np.int32)], [np.zeros(0, np.float32)], []
        for path in sorted(pathlib.Path(folder).glob(f"{split}-*.tfrecord")):
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                feature = tf.train.Example.FromString(record).features.feature
                ids.append(
                    np.frombuffer(feature["ids"].bytes_list.value[0], "<i4").reshape(-1, width)
                )
                labels.append(np.frombuffer(feature["label"].bytes_list.value[0], "<f4"))
                blocks.append((path.name, feature["block"].int64_list.value[0]))
        return np.concatenate(ids), np.concatenate(labels), blocks

    return read
