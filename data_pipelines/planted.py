"""The planted log: made-up clicks whose truth is known, to test whether a method finds the fields
that matter.

For a row with user u, item i, hour h, pair (a, b), weak values w1, w2 and price p, the click is
drawn with the probability

    sigmoid(intercept + 1.2 / sqrt(6) <U[u], V[i]> + H[h] + .8 S[a, b] + W1[w1] + W2[w2] + .5 (log p
    - 2))

where U and V hold standard normal vectors of length 6, H ~ N(0, .4), W ~ N(0, .15), S is a balanced
sign matrix (each of its rows
and columns sums to 0: neither field says anything alone), and the last term is 0 where the price is
missing. Every other field says
nothing new: `item_copy` renames the item, `category` is a function of it, the noise fields are
drawn apart from everything.

The log is a pure function of (rows, seed). Everything is made from uniform numbers of PCG64 (normal
ones by Box-Muller, Zipf ones by inversion), because that stream is the part of numpy least likely
ever to change. Tables, effects and the intercept depend on the seed alone, and rows are drawn in
chunks with a stream each, so two logs of one seed tell of the same world and differ, as far as the
shorter goes, in `noise_id` only. `tests/planted` pins the text: a change here is a change of the
instrument, and of every figure measured on it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from irazor_tf.config import integrity

ROWS = 200_000
SEED = 7
VERSION = 1

# Column order after the label. Strong fields carry most of the logit; a method that ranks fields
# should put them first.
_FIRST = ("user", "item", "hour", "pair_a", "pair_b", "item_copy", "category", "weak_1", "weak_2")
FIELDS = (*_FIRST, "price", "noise_number", "noise_low", "noise_high", "noise_id")
COLUMNS = ("label", *FIELDS)
NUMERIC = ("price", "noise_number")
STRONG = ("user", "item", "hour", "pair_a", "pair_b", "price")
WEAK = ("weak_1", "weak_2")
NOISE = ("noise_number", "noise_low", "noise_high", "noise_id")
REDUNDANT = {
    "item_copy": "item",
    "category": "item",
}  # field -> the field that already says all it says

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
ZIPF = {
    "user": 1.1,
    "item": 1.1,
    "noise_high": 1.05,
}  # P(k-th value) ~ k^-exponent; every other field is uniform
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

_CHUNK = 65_536
_WORLD, _ROWS, _CALIBRATION = 0, 1, 2  # streams of one seed


class Stream:
    """Random numbers of one stream, all made from the uniform ones of PCG64."""

    def __init__(self, *key: int):
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def uniform(self, *shape: int) -> np.ndarray:
        return self._generator.random(shape)

    def normal(self, *shape: int) -> np.ndarray:
        """Box-Muller, the cosine half."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(*shape)))
        return radius * np.cos(2.0 * np.pi * self.uniform(*shape))

    def below(self, size: int, rows: int) -> np.ndarray:
        """Uniform integers 0 .. size - 1."""
        return np.floor(self.uniform(rows) * size).astype(np.int64)

    def zipf(self, size: int, exponent: float, rows: int) -> np.ndarray:
        """Integers 0 .. size - 1, the k-th (from 1) with a probability in proportion to
        k^-exponent."""
        cumulative = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -exponent)
        return np.minimum(
            np.searchsorted(cumulative / cumulative[-1], self.uniform(rows), side="right"), size - 1
        )

    def permutation(self, size: int) -> np.ndarray:
        return np.argsort(self.uniform(size), kind="stable")


@dataclasses.dataclass(frozen=True)
class World:
    """The tables that the clicks come from; a function of the seed alone.

    Args:
      user, item: latent vectors, [2000, 6] and [1000, 6].
      hour: effect of each hour, [24].
      pair: signs, [8, 8], rows and columns sum to 0.
      weak_1, weak_2: effects, [50] each.
      item_copy: the other name of each item, a permutation, [1000].
      category: category of each item, [1000].
      intercept: makes the expected positive rate `POSITIVE_RATE`.
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
        """Bisection for the intercept, on rows of their own so that it does not depend on the
        length of the log."""
        stream = Stream(seed, _CALIBRATION)
        return calibrated(
            np.concatenate([self.logits(draw_fields(stream, self, _CHUNK)) for _ in range(8)]),
            POSITIVE_RATE,
        )

    def logits(self, columns: dict[str, np.ndarray]) -> np.ndarray:
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


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logits))


def calibrated(logits: np.ndarray, rate: float) -> float:
    """The intercept that makes the mean probability of these logits `rate`."""
    low, high = -20.0, 20.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(logits + middle).mean() < rate else (low, middle)
    return round(
        (low + high) / 2, 4
    )  # few digits, so that the last bits of a mean cannot reach the labels


def draw_fields(stream: Stream, world: World, rows: int, ids: int = 1) -> dict[str, np.ndarray]:
    """Draws the fields of `rows` rows.

    Args:
      stream: where the random numbers come from.
      world: the tables, for the fields that are functions of the item.
      rows: number of rows.
      ids: number of names that `noise_id` is drawn from.

    Returns:
      Field name -> [rows]: int64 numbers of values, and float64 for `price` (nan: missing) and
      `noise_number`, rounded as they are written, so that the logit is a function of what a reader
      sees.
    """
    columns: dict[str, np.ndarray] = {}
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
    columns["noise_number"] = (
        np.round(NOISE_NUMBER_SCALE * stream.normal(rows), 2) + 0.0
    )  # + 0: no "-0.00"
    columns["noise_id"] = stream.below(ids, rows)
    return columns


def chunks(
    rows: int = ROWS, seed: int = SEED
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]]:
    """Draws the log chunk by chunk.

    Yields:
      Columns as of `draw_fields`, labels [B] int64, true logits [B].
    """
    world = World.draw(seed)
    for number, start in enumerate(range(0, rows, _CHUNK)):
        stream = Stream(seed, _ROWS, number)
        columns = draw_fields(
            stream, world, _CHUNK, _ids(rows)
        )  # always a whole chunk, so that a shorter log is the start of a longer one
        logits = world.logits(columns)
        labels = (stream.uniform(_CHUNK) < sigmoid(logits)).astype(np.int64)
        kept = slice(0, min(_CHUNK, rows - start))
        yield {name: column[kept] for name, column in columns.items()}, labels[kept], logits[kept]


def _ids(rows: int) -> int:
    return max(1, round(NOISE_ID_NAMES * rows))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; nan where one class is missing."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives, negatives = int(labels.sum()), int(len(labels) - labels.sum())
    if not positives or not negatives:
        return float("nan")
    return float(
        (ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    )


def truth_path(path: str) -> str:
    """Where the truth about the log at `path` lies."""
    return os.path.join(os.path.dirname(path), "truth.json")


def is_complete(path: str, rows: int = ROWS, seed: int = SEED) -> bool:
    """Whether `path` holds the whole log of (rows, seed), as the truth beside it says."""
    try:
        with open(truth_path(path), encoding="utf-8") as file:
            truth = json.load(file)
        return identity(path, rows, seed).items() <= truth.items()
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def identity(path: str, rows: int, seed: int) -> dict[str, Any]:
    return {
        "version": VERSION,
        "log": os.path.basename(path),
        "rows": rows,
        "seed": seed,
        "bytes": os.path.getsize(path),
    }


def check(rows: int, seed: int) -> None:
    """Raises a ValueError where `rows` is below 1 or `seed` below 0."""
    for name, value, least in (("rows", rows, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"`{name}` should be at least {least}. Received: {value}")


def generate(path: str, rows: int = ROWS, seed: int = SEED) -> dict[str, Any]:
    """Writes the log as tab-separated text with a header (label first, a missing price is empty),
    and `truth.json` beside it.

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
    check(rows, seed)
    all_labels, all_logits = [], []
    seen = {name: np.zeros(size, bool) for name, size in {**SIZES, "noise_id": _ids(rows)}.items()}

    def tokens() -> Iterator[list[Iterable[str]]]:
        for columns, chunk_labels, chunk_logits in chunks(rows, seed):
            yield [
                map(str, chunk_labels.tolist()),
                *(_tokens(name, columns[name]) for name in FIELDS),
            ]
            for name, values in seen.items():
                values[columns[name]] = True
            all_labels.append(chunk_labels)
            all_logits.append(chunk_logits)

    sha256 = write_log(path, COLUMNS, tokens())
    labels, logits, world = np.concatenate(all_labels), np.concatenate(all_logits), World.draw(seed)
    truth = {
        **identity(path, rows, seed),
        "sha256": sha256,
        **ceilings(labels, logits),
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
    write_truth(path, truth)
    return truth


def write_log(path: str, columns: Sequence[str], chunks: Iterable[list[Iterable[str]]]) -> str:
    """Writes a tab-separated log with a header beside and renames; each chunk has the tokens of
    every column. Returns its SHA-256."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if os.path.exists(truth_path(path)):
        os.remove(truth_path(path))  # it would speak for a log that is about to be replaced
    digest = hashlib.sha256()
    with integrity.naming(path), open(path + ".partial", "wb") as file:
        file.write(header := ("\t".join(columns) + "\n").encode("ascii"))
        digest.update(header)
        for tokens in chunks:
            text = "".join("\t".join(row) + "\n" for row in zip(*tokens, strict=True)).encode(
                "ascii"
            )
            file.write(text)
            digest.update(text)
    os.replace(path + ".partial", path)
    return digest.hexdigest()


def write_truth(path: str, truth: Mapping[str, Any]) -> None:
    """Writes what is known of the log at `path` beside it, and renames."""
    with integrity.beside(truth_path(path)) as file:
        json.dump(truth, file, indent=1)


def ceilings(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """The log's rate of positives, and what its true logits score."""
    ceiling = auc(labels, logits)
    return {
        "positive_rate": float(labels.mean()),
        "ceiling_auc": None if np.isnan(ceiling) else ceiling,  # nan is no JSON
        "ceiling_log_loss": float(np.mean(np.logaddexp(0.0, logits) - labels * logits)),
    }


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
    if name in NUMERIC:
        return ["" if value != value else f"{value:.2f}" for value in column.tolist()]
    return [f"{_PREFIXES[name]}{value}" for value in column.tolist()]
