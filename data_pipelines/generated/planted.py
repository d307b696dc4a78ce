"""The planted log: clicks that are drawn from a known formula, to test whether a method finds the
fields that matter.

For a row with user u, item i, hour h, pair (a, b), weak values w1, w2 and price p, the click is
drawn with the probability

    sigmoid(intercept + 1.2 / sqrt(6) <U[u], V[i]> + H[h] + .8 S[a, b] + W1[w1] + W2[w2]
            + .5 (log p - 2))

where U and V hold standard normal vectors of length 6, H ~ N(0, .4), W ~ N(0, .15), S is a balanced
sign matrix (each of its rows and columns sums to 0: neither field says anything alone), and the
last term is 0 where the price is missing. Every other field says nothing new: `item_copy` renames
the item, `category` is a function of it, the noise fields are drawn apart from everything.

The log is a pure function of (rows, seed). Tables, effects and the intercept depend on the seed
alone, and rows are drawn in chunks with a stream each, so two logs of one seed tell of the same
world and differ, as far as the shorter goes, in `noise_id` only. `tests/planted` pins the text: a
change here is a change of the instrument, and of every figure measured on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_pipelines.generated import log
from data_pipelines.generated.log import CHUNK, Columns, Rows
from data_pipelines.generated.streams import Stream

ROWS = 200_000
SEED = 7
VERSION = 1

# Column order after the label. Strong fields carry most of the logit; a method that ranks fields
# should put them first.
_FIRST = ("user", "item", "hour", "pair_a", "pair_b", "item_copy", "category", "weak_1", "weak_2")
FIELDS = (*_FIRST, "price", "noise_number", "noise_low", "noise_high", "noise_id")
NUMERIC = ("price", "noise_number")
STRONG = ("user", "item", "hour", "pair_a", "pair_b", "price")
WEAK = ("weak_1", "weak_2")
NOISE = ("noise_number", "noise_low", "noise_high", "noise_id")
# Field -> the field that already says all it says.
REDUNDANT = {"item_copy": "item", "category": "item"}

SIZES = {
    "user": 2_000,
    "item": 1_000,
    "hour": 24,
    "pair_a": 8,
    "pair_b": 8,
    "item_copy": 1_000,
    "category": 20,
}
SIZES |= {"weak_1": 50, "weak_2": 50, "noise_low": 10, "noise_high": 20_000}
# Exponent of P(k-th value) ~ k^-exponent; every other field is uniform.
ZIPF = {"user": 1.1, "item": 1.1, "noise_high": 1.05}
LATENT = 6
STRENGTHS = {
    "user_item": 1.2 / LATENT**0.5,
    "hour": 0.4,
    "pair": 0.8,
    "weak_1": 0.15,
    "weak_2": 0.15,
    "price": 0.5,
}
LOG_PRICE_MEAN = 2.0
PRICE_MISSING = 0.1
POSITIVE_RATE = 0.25
NOISE_NUMBER_SCALE = 100.0
# Rows draw `noise_id` from .628 n names, of which n * .628 * (1 - exp(-1 / .628)), that is about n
# / 2, then occur.
NOISE_ID_NAMES = 0.628

_WORLD, _ROWS, _CALIBRATION = 0, 1, 2  # streams of one seed


@dataclasses.dataclass(frozen=True)
class World:
    """The tables of numbers from which the clicks are drawn; they depend on the seed alone.

    Args:
      user, item: latent vectors, [2000, 6] and [1000, 6].
      hour: effect of each hour on the logit, [24].
      pair: sign of each pair of values, [8, 8]; rows and columns sum to 0.
      weak_1, weak_2: effects of the weak fields' values on the logit, [50] each.
      item_copy: the other name of each item, a permutation, [1000].
      category: category of each item, [1000].
      intercept: number that makes the expected positive rate `POSITIVE_RATE`.
    """

    user: np.ndarray
    item: np.ndarray
    hour: np.ndarray
    pair: np.ndarray
    weak_1: np.ndarray
    weak_2: np.ndarray
    item_copy: np.ndarray
    category: np.ndarray
    intercept: float = 0.0

    @classmethod
    def draw(cls, seed: int) -> World:
        stream = Stream(seed, _WORLD)
        user, item = (stream.normal(SIZES[name], LATENT) for name in ("user", "item"))
        hour, weak_1, weak_2 = (
            STRENGTHS[name] * stream.normal(SIZES[name]) for name in ("hour", "weak_1", "weak_2")
        )
        # A circulant half-plus half-minus matrix with its rows and columns shuffled: balanced, and
        # of rank 4, so that it is more than a product of two scalars.
        half = np.where((np.arange(8)[:, None] - np.arange(8)[None, :]) % 8 < 4, 1.0, -1.0)
        pair = half[stream.permutation(8)][:, stream.permutation(8)]
        item_copy = stream.permutation(SIZES["item"])
        category = stream.permutation(SIZES["item"]) % SIZES["category"]
        world = cls(user, item, hour, pair, weak_1, weak_2, item_copy, category)
        return dataclasses.replace(world, intercept=world._calibrate(seed))

    def _calibrate(self, seed: int) -> float:
        return log.calibrate(
            Stream(seed, _CALIBRATION),
            lambda stream: draw_fields(stream, self, CHUNK),
            self.logits,
            POSITIVE_RATE,
        )

    def logits(self, columns: Columns) -> np.ndarray:
        """True logit of each row, [B], from the columns of `draw_fields`."""
        product = np.zeros(len(columns["user"]))
        for axis in range(LATENT):
            product += self.user[columns["user"], axis] * self.item[columns["item"], axis]
        logits = self.intercept + STRENGTHS["user_item"] * product + self.hour[columns["hour"]]
        logits += STRENGTHS["pair"] * self.pair[columns["pair_a"], columns["pair_b"]]
        logits += self.weak_1[columns["weak_1"]] + self.weak_2[columns["weak_2"]]
        return logits + np.nan_to_num(
            STRENGTHS["price"] * (np.log(columns["price"]) - LOG_PRICE_MEAN), nan=0.0
        )


def draw_fields(stream: Stream, world: World, rows: int, ids: int = 1) -> Columns:
    """Draws the fields of `rows` rows.

    Args:
      stream: source of the random numbers.
      world: the tables, for the fields that are functions of the item.
      rows: number of rows.
      ids: number of names that `noise_id` is drawn from.

    Returns:
      Field name -> [rows]: int64 numbers of values, and float64 for `price` (nan: missing) and
      `noise_number`, rounded as they are written, so that the logit is a function of what a reader
      sees.
    """
    columns: Columns = {}
    for name, size in SIZES.items():
        if name in REDUNDANT:
            continue
        columns[name] = (
            stream.zipf(size, ZIPF[name], rows) if name in ZIPF else stream.below(size, rows)
        )
    columns["item_copy"] = world.item_copy[columns["item"]]
    columns["category"] = world.category[columns["item"]]
    price = np.maximum(np.round(np.exp(LOG_PRICE_MEAN + stream.normal(rows)), 2), 0.01)
    columns["price"] = np.where(stream.uniform(rows) < PRICE_MISSING, np.nan, price)
    # + 0, since the log should hold no "-0.00".
    columns["noise_number"] = np.round(NOISE_NUMBER_SCALE * stream.normal(rows), 2) + 0.0
    columns["noise_id"] = stream.below(ids, rows)
    return columns


def chunks(rows: int = ROWS, seed: int = SEED) -> Iterator[Rows]:
    """Draws the log chunk by chunk, with the columns of `draw_fields`."""
    world = World.draw(seed)
    return log.draw_chunks(
        rows,
        (seed, _ROWS),
        lambda stream: draw_fields(stream, world, CHUNK, _ids(rows)),
        world.logits,
    )


def _ids(rows: int) -> int:
    """Number of names that `noise_id` is drawn from in a log of `rows` rows."""
    return max(1, round(NOISE_ID_NAMES * rows))


def is_complete(path: str, rows: int = ROWS, seed: int = SEED) -> bool:
    """Whether the log of (rows, seed) lies at `path`, whole, as the file with the truth beside it
    says."""
    return log.is_complete(path, lambda: log.identity(path, VERSION, rows, seed))


def generate(path: str, rows: int = ROWS, seed: int = SEED) -> dict[str, Any]:
    """Writes the log as tab-separated text with a header (label first, a missing price is empty),
    and `truth.json` beside it.

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
    seen = {name: np.zeros(size, bool) for name, size in {**SIZES, "noise_id": _ids(rows)}.items()}

    def watched() -> Iterator[Rows]:
        for columns, labels, logits in chunks(rows, seed):
            for name, values in seen.items():
                values[columns[name]] = True
            yield columns, labels, logits

    written = log.write_log(path, FIELDS, watched(), _tokens)
    world = World.draw(seed)
    truth = {
        **log.identity(path, VERSION, rows, seed),
        **written,
        "intercept": world.intercept,
        "strengths": STRENGTHS,
        "strong": list(STRONG),
        "weak": list(WEAK),
        "redundant": REDUNDANT,
        "noise": list(NOISE),
        "values_in_log": {name: int(values.sum()) for name, values in seen.items()},
        "hour_effects": world.hour.tolist(),
        "pair_signs": world.pair.astype(int).tolist(),
    }
    log.write_truth(path, truth)
    return truth


_PREFIXES = {
    "user": "u",
    "item": "i",
    "hour": "h",
    "pair_a": "a",
    "pair_b": "b",
    "item_copy": "c",
    "category": "g",
}
_PREFIXES |= {"weak_1": "v", "weak_2": "w", "noise_low": "l", "noise_high": "n", "noise_id": "x"}


def _tokens(name: str, column: np.ndarray) -> list[str]:
    """The values of a column as the log spells them.

    Args:
      name: name of the field.
      column: its values, [rows].
    """
    if name in NUMERIC:
        return ["" if value != value else f"{value:.2f}" for value in column.tolist()]
    return [f"{_PREFIXES[name]}{value}" for value in column.tolist()]
