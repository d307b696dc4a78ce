"""The options of preprocessing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from data_pipelines.labels import Binary, LabelRule
from data_pipelines.reader import READERS, Reader
from irazor_tf.config.checks import at_least, check_choice, check_ranges, check_types
from irazor_tf.config.recipe import AUTO
from irazor_tf.config.schema import TRANSFORMS
from irazor_tf.config.specs import parse_spec

SPLIT_RULES = ("random", "sequential", "time")


@dataclasses.dataclass(frozen=True)
class PreprocessOptions:
    """The options of preprocessing. The data that it writes are a pure function of the input files
    and of these options.

    Args:
      reader: spec of the reader, for example `criteo` or `libfm(names=('user', 'item'))`.
      input: files of the log, or glob patterns (a single one may be a plain string); empty for a
        log that its reader generates.
      valid_input: files of the validation split; where given, `input` is split between the others.
      test_input: files of the test split; where given, `input` is split between the others.
      schema: YAML file that describes the columns of the log, for the readers that take one.
      min_count: a feature that occurs less often than this in the training split is
        out-of-vocabulary; auto: 2 to 20, by the number of training rows (`recipe.min_count`).
      max_vocab: largest number of features per field; the most frequent ones are kept. None for
        all.
      split: `random` (by row, seeded), `sequential` (by position in the log) or `time` (by
        `time_boundaries`).
      fractions: shares of training, validation and test rows in `input`; shares of splits that have
        files of their own are left out, and the others scaled to a sum of 1.
      time_boundaries: (t1, t2): training rows have time <= t1, validation rows t1 < time <= t2,
        test rows time > t2.
      seed: seed of the split, of the order of the records and of shadow fields.
      positive_above: a label above this number is positive. None: the reader's own number decides,
        or, where it has none, labels are 0 and 1 already.
      drop_labels: rows with these labels are left out, before `positive_above` is applied.
      numeric_transform: `log_square` or `floor`, for every numeric field. None: the reader's own
        choice for each field.
      shadow_fields: whether to add, for every field F, a field `F_shadow` that holds F's values in
        a random order of the split's rows: noise with the same frequencies.
      block_rows: number of rows per record.
      num_files: number of record files per split.
    """

    reader: str
    input: tuple[str, ...] = ()
    valid_input: tuple[str, ...] = ()
    test_input: tuple[str, ...] = ()
    schema: str | None = None
    min_count: int | str = AUTO
    max_vocab: int | None = None
    split: str = "random"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    time_boundaries: tuple[float, float] | None = None
    seed: int = 2021
    positive_above: float | None = None
    drop_labels: tuple[float, ...] = ()
    numeric_transform: str | None = None
    shadow_fields: bool = False
    block_rows: int = 1024
    num_files: int = 8

    def __post_init__(self) -> None:
        for key in (
            "input",
            "valid_input",
            "test_input",
            "fractions",
            "time_boundaries",
            "drop_labels",
        ):
            value = getattr(self, key)
            if isinstance(value, str | Iterable):
                object.__setattr__(self, key, (value,) if isinstance(value, str) else tuple(value))
        check_types(self)
        if not isinstance(self.min_count, str):
            check_ranges(self, min_count=at_least(1))
        elif self.min_count != AUTO:
            raise ValueError(
                f"`min_count` should be a whole number, or {AUTO}. Received: {self.min_count!r}"
            )
        one = at_least(1)
        check_ranges(self, max_vocab=one, block_rows=one, num_files=one)
        check_choice(self, split=SPLIT_RULES)
        if (
            len(self.fractions) != 3
            or min(self.fractions) < 0
            or self.fractions[0] <= 0
            or abs(sum(self.fractions) - 1) > 1e-6
        ):
            raise ValueError(
                "`fractions` should be three numbers >= 0 that sum to 1, the first above 0. "
                f"Received: {self.fractions}"
            )
        bounds = self.time_boundaries
        if (self.split == "time") != (bounds is not None) or (
            bounds is not None and (len(bounds) != 2 or bounds[0] > bounds[1])
        ):
            raise ValueError(
                "`time_boundaries` should be two ascending times with split=time, and only then. "
                f"Received: {bounds}"
            )
        if self.numeric_transform is not None:
            check_choice(self, numeric_transform=TRANSFORMS[1:])

    def to_json(self) -> dict[str, Any]:
        """The options as a JSON object."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PreprocessOptions:
        """The options of a JSON object.

        Raises:
          ValueError: a key is not the name of an option.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in value:
            if key not in known:
                raise ValueError(
                    f"A preprocessing option should be one of {', '.join(known)}. Received: {key!r}"
                )
        return cls(**value)

    def label_rule(self, reader: Reader) -> LabelRule:
        """The rule that turns the log's labels into 0 and 1: by `positive_above` of the options, or
        else by the reader's own."""
        above = reader.positive_above if self.positive_above is None else self.positive_above
        return Binary(above)

    def make_reader(self) -> Reader:
        """The reader that the spec names, with the schema file of the options where one is
        given."""
        spec = parse_spec(self.reader)
        if self.schema is not None and "schema" in dict(spec.arguments):
            raise ValueError(
                "`schema` should be given once, by itself or as the reader's setting. Received: "
                f"{self.reader} and {self.schema}"
            )
        return READERS.build(spec if self.schema is None else spec.replace(schema=self.schema))
