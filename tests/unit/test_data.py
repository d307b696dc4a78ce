"""Reading records: every position is a pure function of (seed, epoch, batch), and no row is lost or
seen twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from data_pipelines import manifest, records
from irazor_tf.training.source import Source

ROWS, FIELDS = 1000, 3
BATCH = 64


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    """1,000 training rows in 16 blocks (the last one short) over 3 files; the first column numbers
    the rows."""
    path = str(tmp_path_factory.mktemp("records"))
    splits = {}
    for split, rows in (("train", ROWS), ("valid", 70)):
        ids = np.stack([np.arange(rows), np.arange(rows) % 7, np.arange(rows) % 5], axis=1).astype(
            np.int32
        )
        with records.BlockWriter(path, split, rows, 64, 3) as writer:
            writer.add(ids, (np.arange(rows) % 2).astype(np.float32))
            splits[split] = writer.finish()
    manifest.save_manifest(
        path, {"options": {}, "fingerprint": "", "block_rows": 64, "splits": splits}
    )
    return path


def take(source: Source, count: int, seed: int = 1, start: int = 0) -> list[np.ndarray]:
    """The row numbers of some batches."""
    found = []
    for batch in itertools.islice(source.batches(BATCH, seed, start).as_numpy_iterator(), count):
        assert batch["ids"].shape == (BATCH, FIELDS)
        np.testing.assert_array_equal(batch["label"], batch["ids"][:, 0] % 2)
        np.testing.assert_array_equal(batch["ids"][:, 1], batch["ids"][:, 0] % 7)
        found.append(batch["ids"][:, 0])
    return found


def test_a_later_start_gives_the_later_batches_over_the_end_of_an_epoch(directory: str) -> None:
    source = Source(directory, "train")
    per_epoch = source.batches_per_epoch(BATCH)
    assert per_epoch == ROWS // BATCH
    every = take(source, 2 * per_epoch + 3)
    for start in (1, per_epoch - 1, per_epoch, per_epoch + 4):
        for there, here in zip(every[start:], take(source, 3, start=start), strict=False):
            np.testing.assert_array_equal(there, here)


def test_an_epoch_sees_no_row_twice_and_every_epoch_and_seed_another_order(directory: str) -> None:
    source = Source(directory, "train")
    per_epoch = source.batches_per_epoch(BATCH)
    batches = take(source, 2 * per_epoch)
    first, second = np.concatenate(batches[:per_epoch]), np.concatenate(batches[per_epoch:])
    for epoch in (first, second):
        assert len(np.unique(epoch)) == per_epoch * BATCH
    assert np.mean(first == second) < 0.05
    assert np.mean(first == np.concatenate(take(source, per_epoch, seed=2))) < 0.05
    # Rows of one block are spread over the epoch, not only swapped among themselves.
    assert len(np.unique(batches[0] // 64)) > 8


def test_a_held_out_share_and_the_rest_divide_the_split(directory: str) -> None:
    rest, share = Source(directory, "train").held_out(0.25)
    rows = {}
    for name, source in (("rest", rest), ("share", share)):
        rows[name] = np.concatenate(
            [batch["ids"][:, 0] for batch in source.ordered(100).as_numpy_iterator()]
        )
        assert len(rows[name]) == source.rows
        seen = np.concatenate(take(source, source.batches_per_epoch(BATCH)))
        assert set(seen) <= set(rows[name])
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(ROWS))
    assert share.rows == 4 * 64 - (64 - ROWS % 64)  # 4 of 16 blocks, the short one among them


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
def test_in_order_every_row_comes_once(directory: str, size: int) -> None:
    for split, rows in (("train", ROWS), ("valid", 70)):
        found = np.concatenate(
            [
                batch["ids"][:, 0]
                for batch in Source(directory, split).ordered(size).as_numpy_iterator()
            ]
        )
        np.testing.assert_array_equal(np.sort(found), np.arange(rows))


def test_what_cannot_be_read_is_said(directory: str) -> None:
    with pytest.raises(
        ValueError, match=r"`split` should be one of train, valid\. Received: 'test'"
    ):
        _ = Source(directory, "test").rows
    with pytest.raises(
        ValueError, match=r"A batch of 128 needs as many rows\. Received: 70 in split 'valid'"
    ):
        Source(directory, "valid").batches_per_epoch(128)
    share = 9 / ROWS
    remaining, held_out = Source(directory, "train").held_out(share)
    with pytest.raises(
        ValueError,
        match=r"0 in split 'train' \(a share of 0\.\d+\); shares are whole blocks, and smaller "
        r"`block_rows`",
    ):
        held_out.batches_per_epoch(8)
    with pytest.raises(
        ValueError,
        match=r"Received: \d+ in split 'train' \(the blocks outside a share of 0\.\d+\)$",
    ):
        remaining.batches_per_epoch(10**6)
    with pytest.raises(ValueError, match=r"`share` should lie in \(0, 1\]\. Received: 1\.5"):
        Source(directory, "train", share=1.5)
