"""Each reader on good rows, on every kind of bad row, and on the real logs where they are."""

import gzip
import pathlib

import numpy as np
import pytest

from data_pipelines.reader import READERS, RawField
from data_pipelines.text import lines

ADULT = """
header: false
strip: true
missing: ["?"]
label: {positive: [">50K", ">50K."], negative: ["<=50K", "<=50K."]}
columns: [
  {name: age, kind: numeric, transform: floor}, workclass, {name: fnlwgt, kind: ignore}, education, {name: education_num, dtype: int64},
  marital_status, occupation, relationship, race, sex, {name: capital_gain, kind: numeric}, {name: capital_loss, kind: numeric},
  {name: hours_per_week, kind: numeric, transform: floor}, native_country, {name: income, kind: label}]
"""  # noqa: E501
SMALL = (
    "header: {header}\nquote: {quote}\ncolumns: [{{name: y, kind: label}}, {{name: n, dtype: "
    "int64}}, c, {{name: t, kind: time}}]\n"
)


def rows(reader, *paths):
    """All chunks as one table of Python values: field -> list."""
    result: dict[str, list] = {}
    for chunk in reader.chunks(paths):
        for name, column in chunk.columns.items():
            result.setdefault(name, []).extend(column.to_pylist())
        result.setdefault("label", []).extend(chunk.label.tolist())
        result.setdefault("time", []).extend([] if chunk.time is None else chunk.time.tolist())
        result.setdefault("line", []).extend(
            range(chunk.first_line, chunk.first_line + chunk.num_rows)
        )
    return result


@pytest.fixture
def table(write):
    def make(text="", header="false", quote="'\"'"):
        return READERS.build(
            f"table(schema={write('schema.yaml', text or SMALL.format(header=header, quote=quote))!r})"  # noqa: E501
        )

    return make


def criteo_row(label="1", numbers=("7",) * 13, tokens=("ab",) * 26):
    return "\t".join([label, *numbers, *tokens])


def test_the_registry_finds_the_readers():
    assert {"criteo", "libfm", "movielens", "table"} <= set(READERS.names())


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "cross"},
        {"kind": "numeric"},
        {"role": "shadow"},
        {"name": "a-b"},
        {"dtype": "bytes"},
    ],
)
def test_a_raw_field_is_checked(options):
    with pytest.raises(ValueError, match="Received: "):
        RawField(**({"name": "f"} | options))


@pytest.mark.parametrize("name", ["log.txt", "log.gz"])
def test_criteo(write, name):
    path = write(
        name,
        [criteo_row("1", ("", "-2", *("7",) * 11), ("", "h2_0", *("ab",) * 24)), criteo_row("0")],
    )
    got = rows(READERS.build("criteo"), path)
    assert got["label"] == [1.0, 0.0]
    assert got["I1"] == [None, 7.0] and got["I2"] == [-2.0, 7.0]
    assert got["C1"] == [None, "ab"] and got["C2"] == ["h2_0", "ab"] and got["C26"] == ["ab", "ab"]
    assert [field.name for field in READERS.build("criteo").fields()][12:14] == ["I13", "C1"]


@pytest.mark.parametrize(
    ("bad", "should"),
    [
        (criteo_row() + "\tmore", r"40 columns\. Received: 41 columns"),
        ("1\t2", r"40 columns\. Received: 2 columns"),
        ("", r"Field 'label' should hold a value in every row\. Received: ''"),
        (
            criteo_row(numbers=("7",) * 4 + ("7x",) + ("7",) * 8),
            r"Field 'I5' should hold a finite number\. Received: '7x'",
        ),
        (
            criteo_row(numbers=("inf",) * 13),
            r"Field 'I1' should hold a finite number\. Received: 'inf'",
        ),
        (criteo_row(label=""), r"Field 'label' should hold a value in every row\. Received: ''"),
        (criteo_row(label="yes"), r"Field 'label' should hold a finite number\. Received: 'yes'"),
        (criteo_row(tokens=("a\rb",) * 26), r"should not hold a carriage return or NUL"),
        (criteo_row(tokens=("a\0b",) * 26), r"should not hold a carriage return or NUL"),
        (criteo_row(tokens=("\udce9",) * 26), r"should be utf-8 text\. Received: .* at byte"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 256])
def test_a_bad_criteo_row_is_named(write, monkeypatch, bad, should, chunk_bytes):
    monkeypatch.setattr(lines, "CHUNK_BYTES", chunk_bytes)
    text = "\n".join([criteo_row()] * 6 + [bad] + [criteo_row()] * 6)
    path = write("log.txt", text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=rf"{should}.*log\.txt, line 7\)"):
        rows(READERS.build("criteo"), path)


def test_line_ends_and_blank_lines_at_the_end(write, monkeypatch):
    monkeypatch.setattr(lines, "CHUNK_BYTES", 100)
    text = "\r\n".join([criteo_row()] * 9) + "\r\n\r\n\n\n" + "\n" * 300
    got = rows(READERS.build("criteo"), write("log.txt", b"\xef\xbb\xbf" + text.encode()))
    assert got["line"] == list(range(1, 10)) and set(got["C26"]) == {"ab"}
    assert rows(READERS.build("criteo"), write("empty.txt", "")) == {}


@pytest.mark.parametrize("chunk_bytes", [1 << 20, 1000])
def test_a_cut_off_gzip_names_the_last_line_read(write, criteo_lines, monkeypatch, chunk_bytes):
    monkeypatch.setattr(lines, "CHUNK_BYTES", chunk_bytes)
    whole = pathlib.Path(write("log.gz", criteo_lines(500))).read_bytes()
    path = pathlib.Path(write("cut.txt", whole[: len(whole) // 2]))
    with pytest.raises(
        ValueError, match=r"gzip file should be complete.*cut\.txt, last line read (\d+)"
    ) as caught:
        rows(READERS.build("criteo"), str(path))
    assert 100 < int(str(caught.value).rstrip(")").split()[-1]) < 400
    damaged = bytearray(whole)
    damaged[-6] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(
        ValueError, match=r"gzip file should be complete.*cut\.txt, last line read 500"
    ):
        rows(READERS.build("criteo"), str(path))


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"should be readable\. Received: /nowhere/log"):
        rows(READERS.build("criteo"), "/nowhere/log")


def test_chunks_are_bounded_and_keep_line_numbers(write, criteo_lines, monkeypatch):
    monkeypatch.setattr(lines, "CHUNK_BYTES", 10_000)
    text = criteo_lines(300)
    path = write("log.gz", text)
    chunks = list(READERS.build("criteo").chunks([path]))
    assert len(chunks) > 5 and max(chunk.num_rows for chunk in chunks) < 100
    got = rows(READERS.build("criteo"), path)
    assert got["line"] == list(range(1, 301)) and got["C1"] == [
        line.split("\t")[14] for line in text
    ]


def test_libfm(write):
    path = write("log.txt", ["-1 3:1 10:1 ", "1 4:1.0 11:1", "0 03:1 10:1"])
    named = READERS.build("libfm(names=('user', 'thing'))")
    assert rows(named, path) | {"time": 0, "line": 0} == {
        "user": ["3", "4", "3"], "thing": ["10", "11", "10"], "label": [0.0, 1.0, 0.0], "time": 0, "line": 0  # noqa: E501
    }  # fmt: skip
    assert [(field.name, field.dtype, field.role) for field in named.fields()] == [
        ("user", "int64", "user"),
        ("thing", "int64", "context"),
    ]
    counted = READERS.build("libfm")
    counted.inspect([path])
    assert [field.name for field in counted.fields()] == ["field_0", "field_1"]


@pytest.mark.parametrize(
    ("bad", "should"),
    [
        ("1 3:1", r"a label and 2 ids\. Received: 1 ids"),
        ("1 3:1 4:1 5:1", r"a label and 2 ids\. Received: 3 ids"),
        (
            "1 3:2 4:1",
            r"Field 'field_0' should be written `id:1`: one id per field, of value 1\. Received: "
            r"'3:2'",
        ),
        ("1 3:1 4:1.5", r"Field 'field_1' should be written .* Received: '4:1\.5'"),
        ("1 3 4:1", r"Field 'field_0' should be written .* Received: '3'"),
        ("1 x:1 4:1", r"Field 'field_0' should hold a whole number of 64 bits\. Received: 'x'"),
        ("1 9223372036854775808:1 4:1", r"Field 'field_0' should hold a whole number of 64 bits"),
        ("1 -9223372036854775808:1 4:1", r"Field 'field_0' should hold a whole number of 64 bits"),
        ("2 3:1 4:1", r"label should be -1, 0 or 1\. Received: 2\.0"),
    ],
)
def test_a_bad_libfm_row_is_named(write, bad, should):
    path = write("log.txt", ["1 3:1 4:1", bad, "1 3:1 4:1"])
    reader = READERS.build("libfm")
    with pytest.raises(ValueError, match=rf"{should}.*log\.txt, line 2\)"):
        rows(reader, path)


@pytest.fixture
def movielens(write):
    write("users.dat", ["1::F::1::10::48067", "2::M::56::16::70072"])
    films = (
        "1::Toy Story (1995)::Animation|Comedy\n7::Mis\u00e9rables, Les "
        "(1998)::Drama\n8::Untitled::Drama\n"
    )
    write("movies.dat", films.encode("latin-1"))
    return lambda *ratings: write("ratings.dat.gz", list(ratings))


def test_movielens(movielens):
    path = movielens("1::1::5::978300760", "2::7::3::978300761", "1::8::1::978300762")
    reader = READERS.build("movielens")
    got = rows(reader, path)
    assert got["label"] == [5.0, 3.0, 1.0] and got["time"] == [
        978300760.0,
        978300761.0,
        978300762.0,
    ]
    assert (
        got["user"] == ["1", "2", "1"]
        and got["zip"] == ["48067", "70072", "48067"]
        and got["age"] == ["1", "56", "1"]
    )
    assert got["genres"] == ["Animation|Comedy", "Drama", "Drama"] and got["year"] == [
        "1995",
        "1998",
        None,
    ]
    assert reader.positive_above == 3 and [field.name for field in reader.fields()] == list(got)[:8]


@pytest.mark.parametrize(
    ("bad", "should"),
    [
        ("3::1::5::1", r"user in `users\.dat`\. Received: '3'"),
        ("1::2::5::1", r"movie in `movies\.dat`\. Received: '2'"),
        ("1::1::5", r"4 columns\. Received: 3 columns"),
        ("1::one::5::1", r"Field 'movie' should hold a whole number"),
    ],
)
def test_a_bad_rating_is_named(movielens, bad, should):
    with pytest.raises(ValueError, match=rf"{should}.*ratings\.dat\.gz, line 2\)"):
        rows(READERS.build("movielens"), movielens("1::1::5::1", bad))


def test_a_bad_side_file_is_named(movielens, write):
    write("users.dat", ["1::F::1::10::48067", "2::M"])
    with pytest.raises(ValueError, match=r"`::` between values.*users\.dat, line 2\)"):
        rows(READERS.build("movielens"), movielens("1::1::5::1"))


def test_table_with_header_quotes_and_own_names(write, table):
    reader = table(
        "header: true\nmissing: [NA]\ncolumns: [{name: y, kind: label}, {name: c_1, column: c-1}, "
        "{name: x, kind: numeric}]"
    )
    path = write("log.csv", ["x,more,c-1,y", '1.5,,"a,""b""",1', "NA,,NA,0", ",,,1"])
    got = rows(reader, path)
    assert got == {
        "x": [1.5, None, None],
        "c_1": ['a,"b"', None, None],
        "label": [1.0, 0.0, 1.0],
        "time": [],
        "line": [2, 3, 4],
    }
    assert [(field.name, field.transform) for field in reader.fields()] == [
        ("c_1", "none"),
        ("x", "log_square"),
    ]
    with pytest.raises(
        ValueError,
        match=r"header should name column 'c-1' once\. Received: 0 times .*other\.csv, line 1\)",
    ):
        rows(reader, write("other.csv", ["x,c_1,y", "1,2,0"]))


def test_table_strips_maps_labels_and_decodes(write, table):
    reader = table(ADULT + "encoding: latin-1\n")
    text = "39, Caf\u00e9, 1, B, 013, M, A, N, W, Male, 2174, 0, 40, ?, <=50K\n"
    text += "39,Caf\u00e9, 1, B, 13, M, A, N, W, Male, ?, 0, 40, US, >50K.\n"
    got = rows(reader, write("adult.csv", text.encode("latin-1")))
    assert (
        got["workclass"] == ["Caf\u00e9"] * 2
        and got["education_num"] == ["13", "13"]
        and got["native_country"] == [None, "US"]
    )
    assert (
        got["capital_gain"] == [2174.0, None]
        and got["label"] == [0.0, 1.0]
        and "fnlwgt" not in got
        and reader.label == "income"
    )
    with pytest.raises(
        ValueError,
        match=r"Field 'income' should hold one of >50K, .*Received: ' maybe' .*, line 1\)",
    ):
        rows(reader, write("adult.csv", text.replace("<=50K", "maybe").encode("latin-1")))


@pytest.mark.parametrize(
    ("bad", "should"),
    [
        ('1,2,"a\nb",3', r"should hold whole quoted values.*line 2\)"),
        ('1,2,"a,3', r"should hold whole quoted values.*line 2\)"),
        (
            "1,2.5,a,3",
            r"Field 'n' should hold a whole number of 64 bits\. Received: '2\.5'.*line 2\)",
        ),
        ("1,2,a,", r"Field 't' should hold a value in every row.*line 2\)"),
        ("1,2,a,noon", r"Field 't' should hold a finite number\. Received: 'noon'.*line 2\)"),
        ("1,2,a", r"4 columns\. Received: 3 columns.*line 2\)"),
    ],
)
def test_a_bad_table_row_is_named(write, table, bad, should):
    with pytest.raises(ValueError, match=should):
        rows(table(), write("log.csv", ["1,2,a,3", bad, "1,2,a,3"]))


def test_quotes_may_mean_nothing(write, table):
    assert rows(table(quote="null"), write("log.csv", ['1,2,"a,3']))["c"] == ['"a']


@pytest.mark.parametrize(
    ("text", "should"),
    [
        ("[1]", "should be a mapping with `columns`. Received: a list"),
        ("columns: {", "should be YAML"),
        (
            "separatr: x",
            "A key of .* should be one of separator.* Received: another; did you mean separator",
        ),
        (
            "columns: [{name: y, kind: label}]",
            "one label, at most one time and at least one field. Received: 0 categorical",
        ),
        ("columns: [a, b]", "one label.* Received: 2 categorical, 0 numeric, 0 label"),
        (
            "columns: [a, a, {name: y, kind: label}]",
            "`name` of .* should occur once. Received: again, after line 1",
        ),
        ("columns: [{name: a, knd: label}]", "A key of a column .* did you mean kind"),
        ("columns: [{name: a, kind: text}]", "`kind` of a column should be one of categorical"),
        ("columns: [a-b, {name: y, kind: label}]", "should be letters, digits"),
        ("columns: [a, {name: y, kind: label}]\nseparator: '::'", "one ASCII character"),
        ('columns: [a, {name: y, kind: label}]\nseparator: "\\n"', "one ASCII character"),
        (
            "columns: [a, {name: y, kind: label}]\nquote: ','",
            "`separator` and `quote` .* should differ",
        ),
        ("columns:", "`columns` of .* should be a list. Received: nothing"),
        ("missing: x", "should have a list of `columns`. Received: none"),
        (
            "columns: [a, {name: y, kind: label}]\nmissing: 1.5",
            "`missing` of .* put it in quotes.* Received: a number",
        ),
        (
            "columns: [a, {name: y, kind: label}]\nmissing: [n/a, no]",
            "`missing` of .* put it in quotes.* Received: a truth value",
        ),
        (
            "columns: [a, {name: y, kind: label}]\nmissing: null",
            "`missing` of .* put it in quotes.* Received: nothing",
        ),
        (
            "columns: [a, {name: y, kind: label}]\nlabel: {positive: [yes]}",
            "`positive` of .* in quotes.* Received: a truth value",
        ),
        (
            "columns: [a, {name: y, kind: label}]\nencoding: utf-16",
            "extends ASCII. Received: another",
        ),
        (
            "columns: [a, {name: y, kind: label}]\nencoding: utf-7",
            "extends ASCII. Received: another",
        ),
        ("columns: [a, {name: y, kind: label}]\nencoding: hex", "extends ASCII. Received: another"),
        (
            "columns: [a, {name: y, kind: label}]\nheader: 'false'",
            "`header` of .* should be true or false, .* Received: a text",
        ),
        (
            "columns: [a, {name: y, kind: label}]\nstrip: 1",
            "`strip` of .* should be true or false, .* Received: a whole number",
        ),
        (
            "columns: [a, {name: y, kind: label}]\npositive_above: '3'",
            "`positive_above` of .* decimal number .* Received: a text",
        ),
        (
            "columns: [a, {name: y, kind: label}]\npositive_above: .nan",
            "`positive_above` of .* decimal number .* Received: a number",
        ),
        (
            "columns: [a, {name: y, kind: label}]\npositive_above: true",
            "`positive_above` of .* decimal number .* Received: a truth value",
        ),
    ],
)
def test_a_bad_schema_file_is_refused(table, text, should):
    with pytest.raises(ValueError, match=should):
        table(text)


# What leaves every byte below 128 as it is, but not every text of them.
@pytest.mark.parametrize(
    "encoding",
    [
        "unicode_escape",
        "raw_unicode_escape",
        "idna",
        "iso2022_jp",
        "iso2022_kr",
        "punycode",
        "hz",
        "undefined",
    ],
)
def test_an_encoding_in_which_ascii_means_something_else_is_refused(table, encoding):
    with pytest.raises(
        ValueError, match=r"`encoding` of .* that extends ASCII\. Received: another \(.*, line 2\)"
    ):
        table(f"columns: [a, {{name: y, kind: label}}]\nencoding: {encoding}")


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "ascii", "latin-1", "cp1252", "koi8-r", "shift_jis", "gb18030", "big5", "euc-kr"],
)
def test_an_encoding_that_extends_ascii_is_taken(table, encoding):
    table(f"columns: [a, {{name: y, kind: label}}]\nencoding: {encoding}")


def test_only_generated_logs_go_without_input(tmp_path):
    with pytest.raises(ValueError, match="'criteo' should be given its input files"):
        READERS.build("criteo").prepare(str(tmp_path))
    with pytest.raises(ValueError, match="given a `schema` file"):
        READERS.build("table")


def test_real_criteo(shared_data):
    [chunk] = list(
        READERS.build("criteo").chunks(
            [str(shared_data / "criteo" / "dac_sample_rows_0_79999.tsv.gz")]
        )
    )
    assert chunk.num_rows == 80_000 and chunk.label.mean() == pytest.approx(0.2245, abs=1e-4)
    distinct = {
        name: len(column.dictionary) - column.dictionary.null_count
        for name, column in chunk.columns.items()
    }
    assert (distinct["C1"], distinct["C3"], distinct["C20"], distinct["C26"]) == (
        484,
        35121,
        3,
        8166,
    )


def test_real_movielens(shared_data):
    chunks = list(
        READERS.build("movielens").chunks([str(shared_data / "ml-1m" / "ratings.dat.gz")])
    )
    label = np.concatenate([chunk.label for chunk in chunks])
    assert np.bincount(label.astype(int)).tolist() == [0, 56174, 107557, 261197, 348971, 226310]
    assert (
        len({user for chunk in chunks for user in chunk.columns["user"].dictionary.to_pylist()})
        == 6040
    )


def test_real_adult_avazu_and_frappe(shared_data, table):
    got = rows(table(ADULT), str(shared_data / "adult" / "adult.test.gz"))
    assert len(got["label"]) == 16_281 and np.mean(got["label"]) == pytest.approx(0.2362, abs=1e-4)
    path = str(shared_data / "avazu" / "avazu_first9999.csv.gz")
    with gzip.open(path, "rt") as file:
        names = [
            name
            for name in file.readline().strip().split(",")
            if name not in ("id", "click", "hour")
        ]
    got = rows(
        table(
            f"header: true\ncolumns: [{{name: click, kind: label}}, {{name: hour, kind: time}}, "
            f"{', '.join(names)}]"
        ),
        path,
    )
    assert (
        len(got["label"]) == 9_999
        and np.mean(got["label"]) == pytest.approx(0.1706, abs=1e-4)
        and set(got["time"]) == {14102100.0}
    )
    got = rows(READERS.build("libfm"), str(shared_data / "frappe" / "frappe.test.libfm.gz"))
    assert (
        len(got["label"]) == 28_860
        and len(got) == 13
        and np.mean(got["label"]) == pytest.approx(0.330, abs=1e-3)
    )
