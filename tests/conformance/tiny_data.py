"""A tiny data set in the format of `data_pipelines`: four fields that matter, two of them only
together, and two of pure noise."""

from __future__ import annotations

import os

import numpy as np

from data_pipelines import manifest, records
from irazor_tf.config.schema import Field, Schema, save_counts

# name -> ids, out-of-vocabulary included
SIZES = {
    "strong_a": 13,
    "noise_low": 3,
    "pair_a": 6,
    "strong_b": 31,
    "noise_high": 300,
    "pair_b": 6,
}
STRONG = ("strong_a", "strong_b", "pair_a", "pair_b")
NOISE = ("noise_low", "noise_high")
ROWS = {"train": 3200, "valid": 500, "test": 300}
BLOCK_ROWS = 128


def write(directory: str, rows: dict[str, int] | None = None, seed: int = 5) -> Schema:
    """Writes records, manifest, schema, counts and vocabularies into `directory`."""
    rows = rows or ROWS
    os.makedirs(os.path.join(directory, "vocab"))
    generator = np.random.Generator(np.random.PCG64(seed))
    effects = {
        name: generator.choice([-1.2, 1.2], SIZES[name]) for name in ("strong_a", "strong_b")
    }
    splits, counts = {}, {}
    total = sum(rows.values())
    # No row twice, so that a law can tell where a row came from.
    every = np.unique(
        np.stack([generator.integers(0, n, 2 * total) for n in SIZES.values()], axis=1).astype(
            np.int32
        ),
        axis=0,
    )
    every = generator.permutation(every)[:total]
    for split, size in rows.items():
        ids, every = every[:size], every[size:]
        columns = dict(zip(SIZES, ids.T, strict=True))
        together = np.where((columns["pair_a"] + columns["pair_b"]) % 2 == 0, 1.2, -1.2)
        logit = (
            effects["strong_a"][columns["strong_a"]]
            + effects["strong_b"][columns["strong_b"]]
            + together
            - 0.5
        )
        label = (generator.random(size) < 1 / (1 + np.exp(-logit))).astype(np.float32)
        with records.BlockWriter(directory, split, size, BLOCK_ROWS, 3) as writer:
            writer.add(ids, label)
            splits[split] = writer.finish()
        if split == "train":
            counts = {
                name: np.bincount(column, minlength=SIZES[name]).astype(np.int64)
                for name, column in columns.items()
            }
    save_counts(directory, counts)
    for name, size in SIZES.items():
        with open(os.path.join(directory, "vocab", f"{name}.txt"), "w", encoding="utf-8") as file:
            file.writelines(f"{name}_{k}\n" for k in range(1, size))
    fields = tuple(Field(name, vocabulary_size=size) for name, size in SIZES.items())
    schema = Schema(fields, fingerprint=f"tiny-{seed}", directory=directory)
    schema.save(directory)
    manifest.save_manifest(
        directory,
        {
            "options": {},
            "fingerprint": schema.fingerprint,
            "block_rows": BLOCK_ROWS,
            "splits": splits,
        },
    )
    manifest.verify(directory, full=True)
    return schema
