"""Shuffle, blocks, manifest, and what `verify` finds."""

import json
import shutil

import numpy as np
import pytest

from data_pipelines.manifest import load_manifest, save_manifest, verify
from data_pipelines.records import BlockWriter
from data_pipelines.shuffle import Shuffler, mix, permutation


def split_mix(state, index):
    """The output number `index` (from 0) of SplitMix64 before its step from `state`, in plain
    integers."""
    z = (state + index * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def test_mix_is_split_mix_64():
    assert split_mix(1234567, 1) == 6457827717110365317  # the published test vector of seed 1234567
    for seed, stream in ((2021, 1), (0, 0), (-3, 1_000_005)):
        key = split_mix(split_mix(0x9E3779B97F4A7C15 ^ seed % 2**64, 0) ^ stream, 0)
        assert mix(seed, stream, np.arange(5)).tolist() == [split_mix(key, k) for k in range(5)]


def test_mix_is_random_access():
    whole = mix(7, 1, np.arange(1000))
    assert (mix(7, 1, np.arange(400, 600)) == whole[400:600]).all()
    assert (
        len(
            {
                *whole.tolist(),
                *mix(7, 2, np.arange(1000)).tolist(),
                *mix(8, 1, np.arange(1000)).tolist(),
            }
        )
        == 3000
    )
    uniform = mix(3, 5, np.arange(100_000)) / 2.0**64
    assert (
        np.histogram(uniform, 10, (0, 1))[0].min() > 9_600
        and abs(np.corrcoef(uniform[1:], uniform[:-1])[0, 1]) < 0.01
    )


def test_permutation():
    order = permutation(1, 2, 500)
    assert (
        sorted(order) == list(range(500))
        and (order == permutation(1, 2, 500)).all()
        and (order != permutation(1, 3, 500)).any()
    )


@pytest.mark.parametrize("piece", [1, 37, 1000])
def test_the_shuffle_keeps_every_row_and_forgets_the_order(tmp_path, piece):
    rows = np.arange(2000, dtype=np.int32).reshape(1000, 2)
    shuffler = Shuffler(str(tmp_path), "train", 1000, 2, seed=5, bucket_rows=130)
    for start in range(0, 1000, piece):
        shuffler.add(rows[start : start + piece])
    assert len(list(tmp_path.iterdir())) == 8
    parts = [part for _, part in shuffler.buckets()]
    got = np.concatenate(parts)
    assert list(tmp_path.iterdir()) == [] and max(map(len, parts)) < 180
    assert sorted(map(tuple, got.tolist())) == list(map(tuple, rows.tolist()))
    assert abs(np.corrcoef(got[:, 0], np.arange(1000))[0, 1]) < 0.1
    buckets = mix(5, 1000, np.arange(1000)) % np.uint64(8)
    first = np.flatnonzero(buckets == 0)
    assert (
        parts[0] == rows[first[permutation(5, 1001, len(first))]]
    ).all()  # however the rows came in


def write(directory, split, rows, block_rows=10, num_files=3, piece=7):
    ids = np.arange(rows * 2, dtype=np.int32).reshape(rows, 2)
    with BlockWriter(str(directory), split, rows, block_rows, num_files) as writer:
        for start in range(0, rows, piece):
            writer.add(ids[start : start + piece], ids[start : start + piece, 0] % 4 // 2)
        return writer.finish()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    splits = {
        "train": write(folder, "train", 75),
        "valid": write(folder, "valid", 12),
        "test": write(folder, "test", 0),
    }
    save_manifest(
        str(folder), {"options": {}, "fingerprint": "", "block_rows": 10, "splits": splits}
    )
    (folder / "schema.json").write_text(
        '{"version": 1, "label": "y", "fingerprint": "", "fields": [{"name": "a", "parents": []}, '
        '{"name": "b", "parents": []}]}'
    )
    return folder


@pytest.fixture
def data(made, tmp_path):
    shutil.copytree(made, tmp_path / "data")
    return tmp_path / "data"


def change(data, edit):
    """Edits the manifest and takes its checksums away, as if it had been made before there were
    any."""
    manifest = json.loads((data / "manifest.json").read_text())
    edit(manifest["splits"]["train"])
    for key in ("files", "checksum"):
        manifest.pop(key, None)
    (data / "manifest.json").write_text(json.dumps(manifest))


def test_an_edited_manifest_is_named(data):
    path = data / "manifest.json"
    whole = path.read_text()
    for old, new in (
        ('"rows":75', '"rows":76'),
        ('"checksum"', '"chocksum"'),
        ('"files":{', '"fales":{'),
    ):
        assert old in whole
        path.write_text(whole.replace(old, new, 1))
        with pytest.raises(ValueError, match=r"manifest\.json, with another content"):
            verify(str(data))


def test_blocks_and_manifest(data, read_split):
    ids, label, blocks = read_split(data, "train")
    order = np.argsort(ids[:, 0])
    assert (ids[order] == np.arange(150).reshape(75, 2)).all() and (
        label[order] == np.arange(75) % 2
    ).all()
    assert blocks == [
        (f"train-0000{k}-of-00003.tfrecord", b) for k in range(3) for b in range(k, 8, 3)
    ]
    manifest = verify(str(data), full=True)
    train = manifest["splits"]["train"]
    assert (train["rows"], train["positives"], train["blocks"]) == (75, 37, 8)
    assert [file["blocks"] for file in train["files"]] == [[10, 10, 10], [10, 10, 5], [10, 10]]
    assert len(manifest["splits"]["valid"]["files"]) == 2
    assert manifest["splits"]["test"] == {"rows": 0, "positives": 0, "blocks": 0, "files": []}


def test_pieces_do_not_matter(tmp_path, made):
    assert write(tmp_path, "train", 75, piece=75) == load_manifest(str(made))["splits"]["train"]


def test_promised_rows_must_come(tmp_path):
    with BlockWriter(str(tmp_path), "train", 5, 10, 1) as writer:
        writer.add(np.zeros((4, 1), np.int32), np.zeros(4))
        with pytest.raises(AssertionError, match="4 rows written, 5 promised"):
            writer.finish()


def test_a_folder_without_manifest_is_not_done(data):
    (data / "manifest.json").unlink()
    with pytest.raises(
        ValueError,
        match=r"finished data folder should hold `manifest\.json`\. Received: .*data, without",
    ):
        verify(str(data))
    (data / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"should be JSON"):
        verify(str(data))
    (data / "manifest.json").write_text('{"version": 2}')
    with pytest.raises(ValueError, match=r"`version` 1\. Received: 2"):
        verify(str(data))


def test_a_missing_or_cut_file_is_named(data):
    path = data / "train-00001-of-00003.tfrecord"
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(ValueError, match=r"should exist\. Received: no .*train-00001-of-00003"):
        verify(str(data))
    path.write_bytes(whole[:-3])
    should = rf"train-00001-of-00003\.tfrecord should hold \d+ whole records in {len(whole)} bytes"
    with pytest.raises(
        ValueError,
        match=rf"{should}\. Received: {len(whole) - 3} bytes; block \d+ runs past the end",
    ):
        verify(str(data))
    path.write_bytes(whole + b"0123")
    with pytest.raises(ValueError, match=r"and no more\. Received: 4 bytes after block \d+"):
        verify(str(data))


def test_other_records_of_the_same_size_are_found(data):
    path = data / "train-00001-of-00003.tfrecord"
    change(data, lambda train: train["files"][1].update(bytes=path.stat().st_size - 3))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(
        ValueError,
        match=r"3 whole records in \d+ bytes\. Received: \d+ bytes; block 7 runs past the end of "
        r"the file",
    ):
        verify(str(data))
    path = data / "train-00000-of-00003.tfrecord"
    change(data, lambda train: train["files"][0].update(bytes=path.stat().st_size + 2))
    path.write_bytes(path.read_bytes() + b"xx")
    with pytest.raises(
        ValueError, match=r"3 records and no more\. Received: 2 bytes after block 6"
    ):
        verify(str(data))


def test_a_flipped_byte_is_found_in_full(data):
    path = data / "train-00002-of-00003.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) - 40] ^= 1
    path.write_bytes(bytes(content))
    verify(str(data))
    with pytest.raises(
        ValueError, match=r"Block 5 of .*train-00002-of-00003\.tfrecord should have checksum \d+"
    ):
        verify(str(data), full=True)


@pytest.mark.parametrize(
    ("edit", "should"),
    [
        (
            lambda train: train.update(rows=76),
            r"`rows` of split 'train' should be the sum over its files, 75\. Received: 76",
        ),
        (lambda train: train.update(blocks=9), r"`blocks` of split 'train' .* 8\. Received: 9"),
        (
            lambda train: train["files"][0].update(rows=31) or train.update(rows=76),
            r"list rows and checksum of blocks \[0, 3, 6\]",
        ),
        (
            lambda train: train["files"][0]["crc32"].pop(),
            r"list rows and checksum of blocks \[0, 3, 6\]",
        ),
        (lambda train: train["files"].reverse(), r"list rows and checksum of blocks|checksum"),
    ],
)
def test_counts_that_do_not_agree_are_found(data, edit, should):
    change(data, edit)
    with pytest.raises(ValueError, match=should):
        verify(str(data), full=True)
