"""Logs damaged at random, from seeds: refused in one line that names the file, or read as a plain
reading of the same bytes reads them.

The plain reading below shares nothing with the readers: it splits lines and cells in Python, one by
one, and takes nothing that is not written as it should be. That a reader refuses a log which the
plain reading takes is allowed; that it reads other rows never is."""

import collections
import csv
import functools
import gzip
import math
import pathlib
import random
import re
import tempfile
from typing import Any

import numpy as np
import pytest

from data_pipelines.generated import planted, planted_groups
from data_pipelines.options import PreprocessOptions
from data_pipelines.preprocess import preprocess
from data_pipelines.reader import READERS
from irazor_tf.config.schema import MISSING, Schema

BOM = b"\xef\xbb\xbf"
CRITEO = [
    ("label", "label"),
    *((f"I{k}", "number") for k in range(1, 14)),
    *((f"C{k}", "text") for k in range(1, 27)),
]
PLAIN: dict[str, Any] = {
    "schema": "missing: ['?', -1]\ncolumns: [{name: y, kind: label}, {name: n, dtype: int64}, "
    "{name: skip, kind: ignore}, c,"
    " {name: x, kind: numeric, transform: floor}, {name: t, kind: time}]\n",
    "columns": [
        ("y", "label"),
        ("n", "whole"),
        ("skip", "ignore"),
        ("c", "text"),
        ("x", "number"),
        ("t", "time"),
    ],
    "missing": ("?", "-1"),
    "separator": ",",
    "quote": '"',
}
HEADED: dict[str, Any] = {
    "schema": "header: true\nstrip: true\nseparator: ';'\nencoding: latin-1\nlabel: {positive: "
    "[yes!], negative: ['no']}\n"
    "columns: [{name: c, column: a-c}, {name: y, kind: label}, {name: n, dtype: int64}]\n",
    "columns": [("c", "text"), ("y", "label"), ("n", "whole")],
    "names": {"c": "a-c", "y": "y", "n": "n"},
    "separator": ";",
    "quote": '"',
    "encoding": "latin-1",
    "strip": True,
    "labels": {"yes!": 1.0, "no": 0.0},
}
UNQUOTED: dict[str, Any] = {
    "schema": 'separator: "\\t"\nquote: null\npositive_above: 3\ncolumns: [c, {name: y, kind: '
    "label}, {name: n, dtype: int64}]\n",
    "columns": [("c", "text"), ("y", "label"), ("n", "whole")],
    "separator": "\t",
    "above": 3,
}
TABLES = {"plain table": PLAIN, "headed table": HEADED, "unquoted table": UNQUOTED}
SEPARATORS = {
    "movielens": b"::",
    "plain table": b",",
    "headed table": b";",
    "libfm": b" ",
    "libfm without names": b" ",
}
COLUMNS = {
    "planted": ("label", *planted.FIELDS),
    "planted_groups": ("label", *planted_groups.FIELDS),
}
FORMATS = (
    "criteo",
    "libfm",
    "libfm without names",
    "movielens",
    *TABLES,
    "planted",
    "planted_groups",
)
ODD = (
    "0x10 0X1F 1_0 nan NaN inf -inf 1e5 1e400 83.0 83.5 8.3e1 -0 +7 007 18446744073709551615 "
    "9223372036854775807 -9223372036854775808 - . "
    "12:30 true no ? -1 -1.0 :1 5:1 5: 1:1.0 ,, ;; :: \"\" \"a\" \"a\"b a\"b \"a \u0661 \u00e9 "
    "\ufeff \u2028 __ yes! 0.5 2 1"
).split() + ["", " ", " 3 ", "a b", "\x1f", "\x0b", "'", "\\", "\x85"]  # fmt: skip

# By the kind of a column, what could pass for a value of another kind.
ODD_OF = {
    "whole": "nan NaN 0x10 1_0 inf 1e5 83.0 83.5 -0 +7 007 18446744073709551615 "
             "-9223372036854775808 . true \u0661".split(),
    "number": "nan -nan 0x10 1_0 inf -Infinity 1e400 1d5 nan(1) 8.3e1 +.5 - . 12:30 true "
              "\u0661".split(),
    "label": "nan 0x1 1_0 inf -1 2 1.0 0.5 +1 01 1e0 true yes! \u0661".split() + ["", " 1"],
    "time": "nan NaN inf 0x10 1_0 1e400 -1 83.5 8.3e1 ? 12:30 2020-01-01 \u0661".split() + [""],
    "pair": "nan:1 0x10:1 1_0:1 83.0:1 +7:1 007:1 5:nan 5:1.0 5:01 5:1:1 :1 5: 5 "
            "18446744073709551615:1 \u0661:1 1:\u0661".split(),
    "text": "nan null ? -1 \"\" \"a\" \"a\"b a\"b \"a \u0661 \ufeff \u2028 0.5".split() + ["", " ", "\x1f", "\x85"],  # noqa: E501
}  # fmt: skip


# --- good logs ------------------------------------------------------------------------------------


def make(name, draw):
    """The files of a good log of 50 to 300 rows, as name -> bytes, the rows in the first."""
    count = draw.randrange(50, 301)
    if name == "criteo":
        cells = [
            [
                str(draw.randrange(2)),
                *(draw.choice(["", str(draw.randrange(-2, 900))]) for _ in range(13)),
                # fmt: skip
                *(draw.choice(["", f"{draw.randrange(40):08x}"]) for _ in range(26)),
            ]
            for _ in range(count)
        ]
        return {"log.txt": lines("\t".join(row) for row in cells)}
    if name.startswith("libfm"):

        def ids():
            return " ".join(f"{draw.randrange(90)}:{draw.choice(['1', '1.0'])}" for _ in range(3))

        return {
            "log.libfm": lines(f"{draw.choice(['-1', '0', '1'])} {ids()}" for _ in range(count))
        }
    if name == "movielens":
        users = [
            f"{k}::{draw.choice('FM')}::{draw.randrange(1, 57)}::{draw.randrange(21)}::{draw.randrange(99999)}"  # noqa: E501
            for k in range(1, 21)
        ]
        movies = [
            f"{k}::Film {draw.choice(['', 'Misérables '])}({draw.randrange(1930, 2001)})::Drama|War"
            for k in range(1, 31)
        ]
        ratings = [
            f"{draw.randrange(1, 21)}::{draw.randrange(1, 31)}::{draw.randrange(1, 6)}::{978300000 + k}"  # noqa: E501
            for k in range(count)
        ]
        return {
            "ratings.dat": lines(ratings),
            "users.dat": lines(users),
            "movies.dat": lines(movies, "latin-1"),
        }
    if name == "plain table":
        texts = ["a", "b c", '"d, e"', '"f ""g"""', '""', "", "?", "-1", "\u00e9", "h'i"]
        rows = [
            [
                str(draw.randrange(2)),
                draw.choice(["7", "-1", "", "83.0", str(draw.randrange(10**6))]),
                "x",
                draw.choice(texts),
                # fmt: skip
                draw.choice(["", "2.5", "-1", "1e3", str(draw.random())]),
                str(k),
            ]
            for k in range(count)
        ]
        return {"log.csv": lines(map(",".join, rows))}
    if name == "headed table":
        texts = ["caf\u00e9", " b", '"c;d"', ""]
        rows = [
            [draw.choice(["yes!", " no "]), "z", draw.choice(texts), str(draw.randrange(99))]
            for _ in range(count)
        ]
        return {"log.csv": lines(["y;more;a-c;n", *map(";".join, rows)], "latin-1")}
    if name == "unquoted table":
        rows = [
            [
                draw.choice(['"a', "b", "", 'c"d"']),
                str(draw.randrange(1, 6)),
                str(draw.randrange(99)),
            ]
            for _ in range(count)
        ]
        return {"log.tsv": lines(map("\t".join, rows))}
    return {"log.tsv": generated(name)}


@functools.cache
def generated(name):
    with tempfile.TemporaryDirectory() as folder:
        return pathlib.Path(READERS.build(f"{name}(rows=300)").prepare(folder)[0]).read_bytes()


def lines(texts, encoding="utf-8"):
    return "".join(text + "\n" for text in texts).encode(encoding)


# --- the plain reading ----------------------------------------------------------------------------


class Refused(Exception):
    """The plain reading does not take the log."""


def require(condition):
    if not condition:
        raise Refused


def plain_lines(data, encoding="utf-8"):
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except Exception:
            raise Refused from None
    data = data[3:] if data[:3] == BOM else data
    found = data.split(b"\n")
    while found and not found[-1].strip(b"\r"):
        found.pop()
    texts = []
    for line in found:
        line = line[:-1] if line[-1:] == b"\r" else line
        require(not line.startswith(BOM) and b"\r" not in line and b"\0" not in line)
        texts.append(line.decode(encoding, "surrogateescape"))
    return texts


def decoded(text):
    return not re.search("[\ud800-\udfff]", text)


def number(text):
    """A finite number, or None for `nan`."""
    text = text.strip()
    if text.lower() == "nan":
        return None
    require(
        re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
        and math.isfinite(float(text))
    )
    return float(text)


def whole(text):
    text = text.strip()
    require(re.fullmatch(r"[+-]?[0-9]{1,4000}(\.0+)?", text))
    value = int(text.split(".")[0])
    require(-(2**63) < value < 2**63)
    return value


def plain_table(
    data,
    columns,
    separator,
    quote=None,
    missing=(),
    encoding="utf-8",
    strip=False,
    labels=None,
    above=None,
    names=None,
    header=None,
):
    """Rows as [values of the fields in the schema's order, label, time]."""
    texts = plain_lines(data, encoding)
    rows = []
    try:
        if quote:
            cells = [
                next(csv.reader([text], delimiter=separator, quotechar=quote, strict=True), [""])
                for text in texts
            ]
        else:
            cells = [text.split(separator) for text in texts]
    except csv.Error:
        raise Refused from None
    order = list(range(len(columns)))
    width = len(columns)
    if header is not None:
        require(cells and cells.pop(0) == list(header))
    if names is not None:
        require(cells)
        head = [cell.strip() for cell in cells.pop(0)]
        width = len(head)
        require(all(head.count(names[name]) == 1 for name, _ in columns))
        order = [head.index(names[name]) for name, _ in columns]
    for row in cells:
        require(len(row) == width)
        values, label, time = [], None, None
        for (_, kind), k in zip(columns, order, strict=True):
            text = row[k]
            require(
                kind == "ignore" or decoded(text)
            )  # what is in a column that nobody reads does not matter
            bare = (
                text.strip()
                if strip or kind in ("number", "whole", "time") or (kind == "label" and not labels)
                else text
            )
            absent = bare == "" or bare in missing
            if kind in ("label", "time"):
                require(not absent)
            if kind == "label" and labels:
                require(bare in labels)
                label = labels[bare]
            elif kind == "label":
                label = number(bare)
                require(label is not None)
                label = float(label > above) if above is not None else label
                require(label in (0, 1))
            elif kind == "time":
                time = number(bare)
                require(time is not None)
            elif kind == "number":
                value = None if absent else number(bare)
                values.append(
                    None
                    if value is not None
                    and value in [float(mark) for mark in missing if mark != "?"]
                    else value
                )
            elif kind == "whole":
                value = None if absent else whole(bare)
                values.append(None if value is None or str(value) in missing else str(value))
            elif kind == "text":
                values.append(None if absent else bare)
        rows.append([*values, label, time])
    return rows


def plain_libfm(data, fields=3):
    rows = []
    for text in plain_lines(data):
        label, *cells = text.rstrip(" ").split(" ")
        require(len(cells) == fields and decoded(text) and number(label) in (-1, 0, 1))
        require(all(re.fullmatch(r"-?[0-9]+:1(\.0*)?", cell) for cell in cells))
        rows.append(
            [*(str(whole(cell.split(":")[0])) for cell in cells), max(number(label), 0.0), None]
        )
    return rows


def plain_side(data, encoding, parse):
    table = {}
    for text in plain_lines(data, encoding):
        require("\t" not in text and decoded(text))
        key, *values = text.split("::")
        require(re.fullmatch("[0-9]{1,18}", key) and str(int(key)) not in table)
        table[str(int(key))] = parse(values)
    return table


def plain_movielens(files):
    def user(values):
        require(
            len(values) == 4 and all(re.fullmatch("[0-9]{1,18}", value) for value in values[1:3])
        )
        return [values[0] or None, str(int(values[1])), str(int(values[2])), values[3] or None]

    def movie(values):
        require(len(values) == 2)
        year = re.search(r"\(([0-9]{4})\)\s*$", values[0])
        return [values[1] or None, str(int(year[1])) if year else None]

    users, movies = (
        plain_side(files["users.dat"], "utf-8", user),
        plain_side(files["movies.dat"], "latin-1", movie),
    )
    rows = []
    for text in plain_lines(files["ratings.dat"]):
        cells = text.split("::")
        require(len(cells) == 4 and "\t" not in text and decoded(text) and all(cells))
        one, other, rating, time = (
            str(whole(cells[0])),
            str(whole(cells[1])),
            number(cells[2]),
            number(cells[3]),
        )
        require(one in users and other in movies and rating is not None and time is not None)
        rows.append([one, other, *users[one], *movies[other], float(rating > 3), time])
    return rows


def plain(name, files):
    """The rows of a log, each as [values, label, time]; raises `Refused`."""
    data = next(iter(files.values()))
    if name == "criteo":
        return plain_table(data, CRITEO, "\t")
    if name.startswith("libfm"):
        if "without" not in name:
            return plain_libfm(data)
        texts = plain_lines(data)
        require(texts and len(texts[0].split()) > 1)
        return plain_libfm(data, len(texts[0].split()) - 1)
    if name == "movielens":
        return plain_movielens(files)
    if name in TABLES:
        return plain_table(
            data, **{key: value for key, value in TABLES[name].items() if key != "schema"}
        )
    header = COLUMNS[name]
    return plain_table(data, list(zip(header, kinds_of(name), strict=True)), "\t", header=header)


# --- damage ---------------------------------------------------------------------------------------


def damage(draw, data, separator):
    """One damage to plain text."""
    kind = draw.choice(
        "flip cut line exchange cell separator quote byte bom cr crlf huge encoding odd odd odd "
        "blank garbage".split()
    )
    found = data.split(b"\n")
    k = draw.randrange(max(1, len(found) - 1))
    cells = found[k].split(separator)
    c = draw.randrange(len(cells))
    place = draw.randrange(len(data) + 1)
    if kind == "flip" and data:
        place = min(place, len(data) - 1)
        return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
    if kind == "cut":
        return draw.choice(
            [data[:place], data[place:], data[:place] + data[place + draw.randrange(40) :]]
        )
    if kind == "line":
        found[k : k + 1] = draw.choice([[], [found[k]] * 2])
    elif kind == "exchange":
        other = draw.randrange(len(found))
        found[k], found[other] = found[other], found[k]
    elif kind == "cell":
        other = draw.randrange(len(cells))
        found[k] = separator.join(
            draw.choice(
                [
                    cells[:c] + cells[c + 1 :],
                    [*cells[:c], cells[other], *cells[c:]],
                    swapped(cells, c, other),
                ]
            )
        )
    elif kind == "separator":
        wrong = draw.choice([b"\t", b" ", b",", b";", b"|", b":", b"::", b"", separator * 2])
        found = [line.replace(separator, wrong) for line in found] if draw.random() < 0.3 else found
        found[k] = found[k].replace(separator, wrong, draw.choice([1, -1]))
    elif kind == "quote":
        cells[c] = draw.choice(
            [
                b'"' + cells[c],
                cells[c] + b'"',
                b'"' + cells[c] + b'"x',
                b'"' + cells[c] + b'"',
                b'"' + cells[c] + b"\n" + cells[c] + b'"',
            ]
        )
        found[k] = separator.join(cells)
    elif kind == "byte":
        wrong = draw.choice(
            [
                b"\0",
                b"\x1a",
                b"\xff",
                b"\xc3",
                b"\xed\xa0\x80",
                b"\xa0",
                b"\x0c",
                b"\xc2\xa0",
                b"\xc2\x85",
            ]
        )
        return data[:place] + wrong + data[place:]
    elif kind == "bom":
        found[draw.choice([0, k])] = BOM * draw.choice([1, 2]) + found[0]
    elif kind == "cr":
        return data[:place] + b"\r" + data[place:]
    elif kind == "crlf":
        return data.replace(b"\n", draw.choice([b"\r\n", b"\r", b"\r\r\n", b"\n\r"]))
    elif kind == "huge":
        cells[c] = draw.choice([b"x", b"7", b'"', b" ", b"\xc3\xa9"]) * draw.choice(
            [1000, 140_000, 200_001]
        )
        found[k] = separator.join(cells)
    elif kind == "encoding":
        text = data.decode("latin-1")
        return draw.choice(
            [
                text.encode("utf-16"),
                text.encode("utf-8"),
                text.encode("utf-16-le"),
                data.replace(b"a", b"\xe9", 1),
            ]
        )
    elif kind == "odd":
        cells[c] = draw.choice(ODD).encode()
        found[k] = separator.join(cells)
    elif kind == "blank":
        found[k:k] = [draw.choice([b"", b"\r", b" ", separator])] * draw.randrange(1, 3)
        found += [b""] * draw.choice([0, 2])
    else:
        return data + draw.randbytes(draw.randrange(1, 9))
    return b"\n".join(found)


def kinds_of(name):
    """The kinds of the columns of a format, in the order in which they stand in a line."""
    if name == "criteo":
        return [kind for _, kind in CRITEO]
    if name.startswith("libfm"):
        return ["label", *["pair"] * 3]
    if name == "movielens":
        return ["whole", "whole", "label", "time"]
    if name == "headed table":
        return ["label", "ignore", "text", "whole"]
    if name in TABLES:
        return [kind for _, kind in TABLES[name]["columns"]]
    kinds = {"label": "label"} | dict.fromkeys(
        planted.NUMERIC if name == "planted" else (), "number"
    )
    return [kinds.get(column, "text") for column in COLUMNS[name]]


def odd_cells(seed):
    """For every kind of column in the format of a seed, a log in which one cell of such a column
    holds an odd value of that kind."""
    draw = random.Random(-1 - seed)
    name = FORMATS[seed % len(FORMATS)]
    kinds, separator = kinds_of(name), SEPARATORS.get(name, b"\t")
    for kind in sorted(set(kinds) & set(ODD_OF)):
        files = make(name, draw)
        target = next(iter(files))
        found = files[target].split(b"\n")
        # Not in a header, and not where a quoted value holds the separator.
        k = draw.choice(
            [k for k, line in enumerate(found) if k and line.count(separator) == len(kinds) - 1]
        )
        cells = found[k].split(separator)
        cells[draw.choice([place for place, other in enumerate(kinds) if other == kind])] = (
            draw.choice(ODD_OF[kind]).encode()
        )
        found[k] = separator.join(cells)
        yield name, {**files, target: b"\n".join(found)}, target


def swapped(cells, one, other):
    result = list(cells)
    result[one], result[other] = result[other], result[one]
    return result


def damage_packed(draw, data):
    place = draw.randrange(len(data))
    return draw.choice(
        [
            data[:place],
            data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :],
            data + draw.randbytes(4),
            data + b"\0" * 8,
            data + data,
            data + data[: len(data) // 2],
            data[place:],
            data[:-4] + b"\0\0\0\0",
        ]
    )


def damaged(seed):
    """The format and the files of a damaged log, and the names of those that were damaged."""
    draw = random.Random(seed)
    name = FORMATS[seed % len(FORMATS)]
    files = make(name, draw)
    separator = SEPARATORS.get(name, b"\t")
    target = draw.choice(list(files))
    data = files[target]
    packed = draw.random() < 0.4
    if not packed or draw.random() < 0.6:
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            data = damage(draw, data, separator)
        files[target] = gzip.compress(data, mtime=0) if packed else data
    else:
        files[target] = damage_packed(draw, gzip.compress(data, mtime=0))
    return name, files, target


# --- the readers' reading -------------------------------------------------------------------------


def options(name, folder):
    path = str(next(path for path in folder.iterdir() if path.name.startswith(("log.", "ratings"))))
    schema = None
    if name in TABLES:
        schema = str(folder / "schema.yaml")
        pathlib.Path(schema).write_text(TABLES[name]["schema"])
    reader = {"libfm": "libfm(names=('a', 'b', 'c'))", "libfm without names": "libfm"}.get(
        name, "table" if schema else name
    )
    return PreprocessOptions(
        reader,
        (path,),
        schema=schema,
        min_count=1,
        fractions=(1.0, 0.0, 0.0),
        block_rows=64,
        num_files=1,
    )


def read(name, chosen):
    """The rows as the reader yields them, in the form of the plain reading."""
    reader = chosen.make_reader()
    reader.inspect(chosen.input)
    names = [field.name for field in reader.fields()]
    if name == "headed table":
        assert names == ["c", "n"]
    result = []
    for chunk in reader.chunks(chosen.input):
        columns = [
            [
                None if value is None or value == "" or value != value else value
                for value in chunk.columns[n].to_pylist()
            ]
            for n in names
        ]
        above = reader.positive_above
        label = (
            chunk.label
            if above is None
            else np.where(np.isnan(chunk.label), np.nan, chunk.label > above)
        )
        time = [None] * chunk.num_rows if chunk.time is None else chunk.time.tolist()
        result += [list(row) for row in zip(*columns, label.tolist(), time, strict=True)]
    return result, reader.fields()


def token(value, field):
    """What the vocabulary calls a value."""
    if value is None:
        return MISSING
    if field.kind != "numeric":
        return value
    value = max(-(2.0**62), min(2.0**62, value))
    if field.transform == "floor" or value <= 2:
        return str(math.floor(value) - (0 if field.transform == "floor" else 2))
    return str(math.floor(math.log(value) ** 2))


def read_records(folder):
    """How often each row of tokens and label stands in the training split."""
    import tensorflow as tf

    schema = Schema.load(str(folder))
    vocabularies = [
        [None, *(folder / "vocab" / f"{n}.txt").read_bytes().decode().split("\n")]
        for n in schema.names
    ]
    found: collections.Counter = collections.Counter()
    for path in sorted(folder.glob("train-*.tfrecord")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            ids = np.frombuffer(feature["ids"].bytes_list.value[0], "<i4").reshape(
                -1, len(schema.fields)
            )
            labels = np.frombuffer(feature["label"].bytes_list.value[0], "<f4")
            found.update(
                (*(v[k] for v, k in zip(vocabularies, row, strict=True)), float(label))
                for row, label in zip(ids, labels, strict=True)
            )
    return found


def check(seed, folder):
    """Judges the damaged log of one seed, and those with an odd value in a column of each kind,
    read in pieces of some size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_pipelines.text.lines.CHUNK_BYTES", (24 << 20, 5000, 700)[seed % 4 % 3])
        for number, (name, files, target) in enumerate([damaged(seed), *odd_cells(seed)]):
            judge(name, files, target, folder / str(number))


def judge(name, files, target, folder):
    """What became of a log: `refused` or `read`."""
    folder.mkdir(parents=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    chosen = options(name, folder)
    try:
        expected = plain(name, files)
    except Refused:
        expected = None
    outcomes = []
    try:
        rows, fields = read(name, chosen)
    except ValueError as error:
        outcomes.append(error)
    else:
        # Whether a label is 0 or 1 the options may decide, so the rows are whole only after
        # preprocessing.
        if all(row[-2] in (0, 1) for row in rows):
            assert expected is not None, "read, though it is no log of this format"
            assert rows == expected
    try:
        preprocess(chosen, str(folder / "data"), progress=False)
    except ValueError as error:
        outcomes.append(error)
    else:
        assert not outcomes, "preprocessed, though the reader refuses it"
        assert expected is not None, "preprocessed, though it is no log of this format"
        wanted = collections.Counter(
            (*(token(v, f) for v, f in zip(row, fields, strict=False)), row[-2]) for row in expected
        )
        assert read_records(folder / "data") == wanted
    for refusal in map(str, outcomes):
        assert (
            target in refusal
            and "\n" not in refusal
            and "Received: " in refusal
            and len(refusal) < 1500
        ), refusal
    return "refused" if outcomes else "read"


@pytest.fixture(autouse=True)
def wide_cells():
    before = csv.field_size_limit(1 << 30)
    yield
    csv.field_size_limit(before)


@pytest.mark.parametrize("name", FORMATS)
def test_an_undamaged_log_is_read(tmp_path, name):
    files = make(name, random.Random(name))
    assert judge(name, files, next(iter(files)), tmp_path / "log") == "read"


def check_seeds(seeds, folder):
    for seed in seeds:
        try:
            check(seed, folder / str(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}, {FORMATS[seed % len(FORMATS)]}: {error}") from error


@pytest.mark.parametrize("start", range(0, 60, 12))
def test_a_damaged_log_is_refused_or_read_as_it_stands(tmp_path, start):
    check_seeds(range(start, start + 12), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1300, 30))
def test_more_damaged_logs_are_refused_or_read_as_they_stand(tmp_path, start):
    check_seeds(range(start, start + 30), tmp_path)


def test_the_damage_is_of_both_kinds():
    taken = 0
    for seed in range(60):
        name, files, _ = damaged(seed)
        try:
            plain(name, files)
            taken += 1
        except Refused:
            pass
    assert 10 <= taken <= 40
