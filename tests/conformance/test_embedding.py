"""The fused tables put out what one table per field would."""

from __future__ import annotations

import numpy as np
import pytest

from irazor_tf.config.field_config import BitMask, FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.embedding.tables import FieldEmbedding


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["space", "awkward"])
def test_lookup_equals_one_table_per_field(name, masked, tiny):
    config = getattr(tiny, name)
    generator = np.random.default_rng(1)
    if masked:
        fields = dict(config.fields)
        for field in ("pair_a", "strong_b"):
            size, dim = tiny.schema.field(field).vocabulary_size, fields[field].dim
            shape = (size, dim) if field == "pair_a" else (size,)
            fields[field] = FieldConfig(
                dim, fields[field].columns, BitMask.from_array(generator.random(shape) < 0.5)
            )
        config = InputConfig(fields)
    embedding = FieldEmbedding(tiny.schema, config, stddev=0.1, seed=3)
    ids = tiny.batch()["ids"].numpy()
    # The last ids of every field too: they lie next to the next field's first.
    ids = np.concatenate([ids, [tiny.schema.vocabulary_sizes - 1], 0 * ids[:1]])
    embedding(ids)
    tables = {}
    values = {
        variable.ref(): np.full(variable.shape, np.nan, np.float32) for variable in embedding.tables
    }
    pieces = list(embedding.pieces())
    for piece in pieces:
        field = piece.key.split("/")[1]
        tables[field] = generator.normal(
            size=(tiny.schema.field(field).vocabulary_size, config.fields[field].dim)
        ).astype(np.float32)
        assert piece.rows is not None and piece.variable is not None
        values[piece.variable.ref()][piece.rows[0] : piece.rows[1]] = tables[field]
    for variable in embedding.tables:
        assert not np.isnan(values[variable.ref()]).any(), "the fields' rows should fill the table"
        variable.assign(values[variable.ref()])
    assert set(tables) == set(config.kept)
    stacked = np.zeros((len(ids), config.num_fields, config.max_dim), np.float32)
    for i, field in enumerate(config.kept):
        table, mask = tables[field].copy(), config.fields[field].mask
        if mask is not None:
            kept = mask.to_array()
            table *= kept if kept.ndim == 2 else kept[:, None]
        np.testing.assert_array_equal(embedding.field_table(field), table)
        stacked[:, i, : table.shape[1]] = table[ids[:, tiny.schema.index(field)]]
    rows = embedding(ids)
    np.testing.assert_array_equal(embedding.stack(rows), stacked)
    labels = [config.fields[field].labels for field in config.kept]
    flat = [
        stacked[:, config.kept.index(field), labels[config.kept.index(field)].index(label)]
        for field, label in embedding.column_labels
    ]
    np.testing.assert_array_equal(embedding.flatten(rows), np.stack(flat, axis=1))
    np.testing.assert_array_equal(
        embedding.flatten_stacked(embedding.stack(rows)), np.stack(flat, axis=1)
    )
