"""A second planted log: a hidden group of the user decides which fields matter, to test methods
that choose fields row by row.

Every user u belongs to one of two groups, which is no column. With x the letter of the user's
group, a or b, the click of a row is drawn with the probability

    sigmoid(intercept + X1[x_1] + X2[x_2] + 1 / sqrt(4) <U[u], X[x_item]> + .3 S[shared])

so the fields of the other letter say nothing in that row. All tables hold standard normal numbers,
centred and scaled to a variance of
1 over the values of their field: the groups are equally hard, and no user has a higher mean logit
than another, so that a user's clicks tell of the group only together with the other fields. Users
follow a mild Zipf law; of two neighbours in it a coin puts one in each group, so either has about
half of the rows. Every other field is drawn apart from the user: only the user tells of the group.

The log is a pure function of (rows, seed), made like the one of `data_pipelines.planted` and from
its random streams: tables and intercept depend on the seed alone, rows come in chunks with a stream
each, so a longer log begins as a shorter one. `tests/planted` pins the text: a change here is a
change of the instrument, and of every figure measured on it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from data_pipelines import planted

ROWS = 100_000
SEED = 7
VERSION = 1

# Field -> number of values, in column order after the label.
SIZES = {
    "user": 400,
    "a_1": 30,
    "a_2": 30,
    "a_item": 100,
    "b_1": 30,
    "b_2": 30,
    "b_item": 100,
    "shared": 20,
}
SIZES |= {"noise_low": 10, "noise_high": 5_000}
FIELDS = tuple(SIZES)
COLUMNS = ("label", *FIELDS)
LETTERS = ("a", "b")  # of groups 0 and 1
# A part says in which rows a field matters: those of group 0 (a), of group 1 (b), all (shared),
# none (noise).
PARTS = {name: "shared" if name == "user" else name.split("_")[0] for name in FIELDS}
ZIPF = {
    "user": 0.5,
    "noise_high": 1.05,
}  # P(k-th value) ~ k^-exponent; every other field is uniform
LATENT = 4
STRENGTHS = {"x_1": 1.0, "x_2": 1.0, "user_item": 1.0 / LATENT**0.5, "shared": 0.3}
POSITIVE_RATE = 0.3

_CHUNK = 65_536
_WORLD, _ROWS, _CALIBRATION = (
    3,
    4,
    5,
)  # streams of one seed; 0 to 2 are those of `data_pipelines.planted`


@dataclasses.dataclass(frozen=True)
class World:
    """The tables that the clicks come from; a function of the seed alone.

    Args:
      group: group of each user, [400], 0 or 1.
      tables: field -> [V] numbers, or [V, 4] latent vectors for the user and the items.
      intercept: makes the expected positive rate `POSITIVE_RATE`.
    """

    group: np.ndarray
    tables: dict[str, np.ndarray]
    intercept: float = 0.0

    @classmethod
    def draw(cls, seed: int) -> World:
        stream = planted.Stream(seed, _WORLD)
        coin = stream.below(2, SIZES["user"] // 2)
        tables = {}
        for name in FIELDS:
            if PARTS[name] != "noise":
                values = stream.normal(
                    SIZES[name], *((LATENT,) if name == "user" or name.endswith("item") else ())
                )
                tables[name] = (values - values.mean(axis=0)) / values.std(axis=0)
        world = cls(np.stack([coin, 1 - coin], axis=1).ravel(), tables)
        return dataclasses.replace(world, intercept=world._calibrate(seed))

    def _calibrate(self, seed: int) -> float:
        """Bisection for the intercept, on rows of their own so that it does not depend on the
        length of the log."""
        stream = planted.Stream(seed, _CALIBRATION)
        return planted.calibrated(
            np.concatenate([self.logits(draw_fields(stream, _CHUNK)) for _ in range(8)]),
            POSITIVE_RATE,
        )

    def logits(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """True logit of each row, [B], from the columns of `draw_fields`."""
        user, tables = columns["user"], self.tables
        logits = self.intercept + STRENGTHS["shared"] * tables["shared"][columns["shared"]]
        for group, x in enumerate(LETTERS):
            part = sum(
                STRENGTHS[f"x_{k}"] * tables[f"{x}_{k}"][columns[f"{x}_{k}"]] for k in (1, 2)
            )
            for axis in range(LATENT):
                part += (
                    STRENGTHS["user_item"]
                    * tables["user"][user, axis]
                    * tables[f"{x}_item"][columns[f"{x}_item"], axis]
                )
            logits += np.where(self.group[user] == group, part, 0.0)
        return logits


def draw_fields(stream: planted.Stream, rows: int) -> dict[str, np.ndarray]:
    """Field name -> [rows] int64 numbers of values."""
    return {
        name: stream.zipf(size, ZIPF[name], rows) if name in ZIPF else stream.below(size, rows)
        for name, size in SIZES.items()
    }


def chunks(
    rows: int = ROWS, seed: int = SEED
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]]:
    """Draws the log chunk by chunk.

    Yields:
      Columns as of `draw_fields`, labels [B] int64, true logits [B].
    """
    world = World.draw(seed)
    for number, start in enumerate(range(0, rows, _CHUNK)):
        stream = planted.Stream(seed, _ROWS, number)
        columns = draw_fields(
            stream, _CHUNK
        )  # always a whole chunk, so that a shorter log is the start of a longer one
        logits = world.logits(columns)
        labels = (stream.uniform(_CHUNK) < planted.sigmoid(logits)).astype(np.int64)
        kept = slice(0, min(_CHUNK, rows - start))
        yield {name: column[kept] for name, column in columns.items()}, labels[kept], logits[kept]


def is_complete(path: str, rows: int = ROWS, seed: int = SEED) -> bool:
    """Whether `path` holds the whole log of (rows, seed), as the truth beside it says."""
    try:
        with open(planted.truth_path(path), encoding="utf-8") as file:
            truth = json.load(file)
        return identity(path, rows, seed).items() <= truth.items()
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def identity(path: str, rows: int, seed: int) -> dict[str, Any]:
    return planted.identity(path, rows, seed) | {"generator": "planted_groups", "version": VERSION}


def generate(path: str, rows: int = ROWS, seed: int = SEED) -> dict[str, Any]:
    """Writes the log as tab-separated text with a header (label first), and `truth.json` beside it.

    Both are written under another name and renamed when whole, the truth last: where it lies, the
    log is complete.

    Args:
      path: the log to write; its folder is made where it does not exist.
      rows: number of rows, at least 1.
      seed: of the tables and of the rows, not negative.

    Returns:
      What `truth.json` holds.

    Raises:
      ValueError: `rows` or `seed` out of range.
    """
    planted.check(rows, seed)
    drawn = []

    def tokens() -> Iterator[list[Iterable[str]]]:
        for columns, labels, logits in chunks(rows, seed):
            yield [
                map(str, labels.tolist()),
                *([token(name, value) for value in columns[name].tolist()] for name in FIELDS),
            ]
            drawn.append((columns["user"], labels, logits))

    sha256 = planted.write_log(path, COLUMNS, tokens())
    world = World.draw(seed)
    users, labels, logits = (np.concatenate(part) for part in zip(*drawn, strict=True))
    truth = {
        **identity(path, rows, seed),
        "sha256": sha256,
        **planted.ceilings(labels, logits),
        "intercept": world.intercept,
        "strengths": STRENGTHS,
        "parts": PARTS,
        "letters": list(LETTERS),
        "rows_of_group": np.bincount(world.group[users], minlength=2).tolist(),
        "group_of_user": {
            token("user", user): group for user, group in enumerate(world.group.tolist())
        },
    }
    planted.write_truth(path, truth)
    return truth


def token(name: str, value: int) -> str:
    """How the log writes a value: the first letter of the field and the number."""
    return f"{name[0]}{value}"
