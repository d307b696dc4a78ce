"""A second planted log: a hidden group of the user decides which fields matter, to test methods
that choose fields row by row.

Every user u belongs to one of two groups, which is no column. With x the letter of the user's
group, a or b, the click of a row is drawn with the probability

    sigmoid(intercept + X1[x_1] + X2[x_2] + 1 / sqrt(4) <U[u], X[x_item]> + .3 S[shared])

so the fields of the other letter say nothing in that row. All tables hold standard normal numbers,
centred and scaled to a variance of 1 over the values of their field: the groups are equally hard,
and no user has a higher mean logit than another, so that a user's clicks tell of the group only
together with the other fields. Users follow a mild Zipf law; of two neighbours in it a coin puts
one in each group, so either has about half of the rows. Every other field is drawn apart from the
user: only the user tells of the group.

The log is a pure function of (rows, seed), made like the one of `data_pipelines.generated.planted`:
tables and intercept depend on the seed alone, rows come in chunks with a stream each, so a longer
log begins as a shorter one. `tests/planted` pins the text: a change here is a change of the
instrument, and of every figure measured on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_pipelines.generated import log
from data_pipelines.generated.log import CHUNK, Columns, Rows
from data_pipelines.generated.streams import Stream

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
LETTERS = ("a", "b")  # of groups 0 and 1
# A part says in which rows a field matters: those of group 0 (a), of group 1 (b), all (shared),
# none (noise).
PARTS = {name: "shared" if name == "user" else name.split("_")[0] for name in FIELDS}
# Exponent of P(k-th value) ~ k^-exponent; every other field is uniform.
ZIPF = {"user": 0.5, "noise_high": 1.05}
LATENT = 4
STRENGTHS = {"x_1": 1.0, "x_2": 1.0, "user_item": 1.0 / LATENT**0.5, "shared": 0.3}
POSITIVE_RATE = 0.3

# Streams of one seed; 0 to 2 are those of `data_pipelines.generated.planted`.
_WORLD, _ROWS, _CALIBRATION = 3, 4, 5


@dataclasses.dataclass(frozen=True)
class World:
    """The tables of numbers from which the clicks are drawn; they depend on the seed alone.

    Args:
      group: group of each user, [400] int64, 0 or 1.
      tables: field -> [V] numbers, or [V, 4] latent vectors for the user and the items.
      intercept: number that makes the expected positive rate `POSITIVE_RATE`.
    """

    group: np.ndarray
    tables: dict[str, np.ndarray]
    intercept: float = 0.0

    @classmethod
    def draw(cls, seed: int) -> World:
        stream = Stream(seed, _WORLD)
        coin = stream.below(2, SIZES["user"] // 2)
        tables = {}
        for name in FIELDS:
            if PARTS[name] != "noise":
                latent = name == "user" or name.endswith("item")
                values = stream.normal(SIZES[name], *((LATENT,) if latent else ()))
                tables[name] = (values - values.mean(axis=0)) / values.std(axis=0)
        world = cls(np.stack([coin, 1 - coin], axis=1).ravel(), tables)
        return dataclasses.replace(world, intercept=world._calibrate(seed))

    def _calibrate(self, seed: int) -> float:
        return log.calibrate(Stream(seed, _CALIBRATION), draw_fields, self.logits, POSITIVE_RATE)

    def logits(self, columns: Columns) -> np.ndarray:
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


def draw_fields(stream: Stream, rows: int = CHUNK) -> Columns:
    """Draws the fields of `rows` rows: field name -> numbers of values, [rows] int64."""
    return {
        name: stream.zipf(size, ZIPF[name], rows) if name in ZIPF else stream.below(size, rows)
        for name, size in SIZES.items()
    }


def chunks(rows: int = ROWS, seed: int = SEED) -> Iterator[Rows]:
    """Draws the log chunk by chunk, with the columns of `draw_fields`."""
    return log.draw_chunks(rows, (seed, _ROWS), draw_fields, World.draw(seed).logits)


def is_complete(path: str, rows: int = ROWS, seed: int = SEED) -> bool:
    """Whether the log of (rows, seed) lies at `path`, whole, as the file with the truth beside it
    says."""
    return log.is_complete(path, lambda: _identity(path, rows, seed))


def _identity(path: str, rows: int, seed: int) -> dict[str, Any]:
    return log.identity(path, VERSION, rows, seed) | {"generator": "planted_groups"}


def generate(path: str, rows: int = ROWS, seed: int = SEED) -> dict[str, Any]:
    """Writes the log as tab-separated text with a header (label first), and `truth.json` beside it.

    Both are written under another name and renamed when whole, the truth last: where it lies, the
    log is complete.

    Args:
      path: the log to write; its folder is made where it does not exist.
      rows: number of rows, at least 1.
      seed: seed of the tables and of the rows, at least 0.

    Returns:
      What `truth.json` holds.

    Raises:
      ValueError: `rows` or `seed` out of range.
    """
    log.check(rows, seed)
    rows_of_user = np.zeros(SIZES["user"], np.int64)

    def watched() -> Iterator[Rows]:
        for columns, labels, logits in chunks(rows, seed):
            rows_of_user[:] += np.bincount(columns["user"], minlength=SIZES["user"])
            yield columns, labels, logits

    written = log.write_log(path, FIELDS, watched(), _tokens)
    world = World.draw(seed)
    truth = {
        **_identity(path, rows, seed),
        **written,
        "intercept": world.intercept,
        "strengths": STRENGTHS,
        "parts": PARTS,
        "letters": list(LETTERS),
        "rows_of_group": [int(rows_of_user[world.group == group].sum()) for group in (0, 1)],
        "group_of_user": {
            f"{_prefix('user')}{user}": group for user, group in enumerate(world.group.tolist())
        },
    }
    log.write_truth(path, truth)
    return truth


def _prefix(name: str) -> str:
    """The letter that the log writes before the number of a value: the first letter of the field's
    name."""
    return name[0]


def _tokens(name: str, column: np.ndarray) -> list[str]:
    """The values of a column as the log spells them.

    Args:
      name: name of the field.
      column: its values, [rows].
    """
    return [f"{_prefix(name)}{value}" for value in column.tolist()]
