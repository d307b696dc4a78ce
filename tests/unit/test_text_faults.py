"""Text that is not what it should be: inputs that can be read only once, limits, values that look
like others, schema files."""

import contextlib
import csv
import gzip
import io
import logging
import os
import pathlib
import random
import threading
import time
import tracemalloc
import types

import pyarrow as pa
import pyarrow.parquet
import pytest

from data_pipelines.manifest import load_manifest
from data_pipelines.options import PreprocessOptions
from data_pipelines.preprocess import preprocess
from data_pipelines.reader import READERS
from data_pipelines.readers.table.schema import TableSchema
from data_pipelines.text import lines
from data_pipelines.text.columns import Column
from data_pipelines.text.delimited import Delimited

COLUMNS = "columns: [{name: y, kind: label}, {name: n, dtype: int64}, c, {name: t, kind: time}]\n"
BOM = b"\xef\xbb\xbf"


def rows(reader, *paths):
    """All rows, each as a list of its values, label and time last."""
    result: list[list] = []
    for chunk in reader.chunks(paths):
        times = [None] * chunk.num_rows if chunk.time is None else chunk.time.tolist()
        columns = [column.to_pylist() for column in chunk.columns.values()]
        result += [list(row) for row in zip(*columns, chunk.label.tolist(), times, strict=True)]
    return result


@pytest.fixture
def table(write):
    def make(text="", columns=COLUMNS):
        return READERS.build(f"table(schema={write('schema.yaml', text + columns)!r})")

    return make


@contextlib.contextmanager
def piped(data, link=None):
    """A path from which `data` can be read once; `link` is a name for it in a folder of the
    caller's choice."""
    readable, writable = os.pipe()

    def feed():
        with contextlib.suppress(BrokenPipeError), os.fdopen(writable, "wb") as file:
            file.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    path = f"/dev/fd/{readable}"
    if link is not None:
        os.symlink(path, link)
    try:
        yield path if link is None else str(link)
    finally:
        os.close(readable)
        feeder.join()


# --- inputs that can be read only once ------------------------------------------------------------


@pytest.fixture
def logs(write, table, criteo_lines, tmp_path):
    """For every reader: the reader, and a file of some thousand rows."""

    def make(name):
        if name == "criteo":
            return READERS.build("criteo"), write("criteo.txt", criteo_lines(3000))
        if name == "libfm":
            return READERS.build("libfm(names=('user', 'item'))"), write(
                "libfm.txt", [f"{k % 2} {k}:1 {k % 50}:1" for k in range(20_000)]
            )
        if name == "movielens":
            write("users.dat", ["1::F::1::10::48067", "2::M::56::16::70072"])
            write("movies.dat", ["1::Toy Story (1995)::Animation|Comedy"])
            return READERS.build("movielens"), write(
                "ratings.dat", [f"{1 + k % 2}::1::{1 + k % 5}::{k}" for k in range(20_000)]
            )
        if name in ("table", "table with header"):
            header = ["y,n,c,t"] if name == "table with header" else []
            body = [f'{k % 2},{k},"a, {k % 9}",{k}.5' for k in range(20_000)]
            return table("header: true\n" if header else ""), write("table.csv", header + body)
        reader = READERS.build(f"{name}(rows=3000)")
        return reader, reader.prepare(str(tmp_path))[0]

    return make


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "name",
    ["criteo", "libfm", "movielens", "planted", "planted_groups", "table", "table with header"],
)
def test_a_pipe_gives_every_row(logs, tmp_path, name, packed):
    reader, path = logs(name)
    expected = rows(reader, path)
    data = pathlib.Path(path).read_bytes()
    with piped(gzip.compress(data) if packed else data, link=tmp_path / "once") as pipe:
        reader.inspect([pipe])
        assert rows(reader, pipe) == expected and len(expected) >= 3000


def test_every_reader_is_piped():
    assert set(READERS.names()) == {
        "criteo",
        "libfm",
        "movielens",
        "planted",
        "planted_groups",
        "table",
    }


def test_a_pipe_is_preprocessed_whole(logs, tmp_path, write):
    _, path = logs("table with header")
    with piped(pathlib.Path(path).read_bytes()) as pipe:
        options = PreprocessOptions(
            "table", (pipe,), schema=write("schema.yaml", "header: true\n" + COLUMNS)
        )
        preprocess(options, str(tmp_path / "data"), progress=False)
    assert (
        sum(split["rows"] for split in load_manifest(str(tmp_path / "data"))["splits"].values())
        == 20_000
    )


def test_libfm_without_names_refuses_what_can_be_read_only_once(tmp_path):
    with piped(b"1 3:1 4:1\n") as pipe:
        with pytest.raises(
            ValueError,
            match=r"`names` should be given for an input that can be read only once\. Received: "
            rf"{pipe}",
        ):
            READERS.build("libfm").inspect([pipe])


def test_movielens_through_a_pipe_says_what_it_misses():
    with piped(b"1::1::5::1\n") as pipe:
        with pytest.raises(
            ValueError,
            match=r"should have `users\.dat` and `movies\.dat` beside it\. Received: no "
            r"/dev/fd/users\.dat",
        ):
            rows(READERS.build("movielens"), pipe)


def test_a_reading_that_is_given_up_joins_no_thread(write, monkeypatch):
    """It may end inside `threading`, where the garbage collector runs as well; joining there has
    kept a process waiting for ever."""
    chunks = lines.read_chunks(write("log.txt", ["1,2,a,3"] * 1000), 100)
    next(chunks)
    joined: list = []
    monkeypatch.setattr(
        threading.Thread, "join", lambda thread, timeout=None: joined.append(thread)
    )
    del chunks  # ends the generator
    assert not joined


def test_files_without_rows_yield_no_chunk_and_others_say_whose_rows_they_are(write, table):
    reader = table("header: true\n")
    paths = [
        write("a.csv", ["y,n,c,t"]),
        write("b.csv", ["y,n,c,t", "1,2,a,3"]),
        write("c.csv", ["y,n,c,t", "", ""]),
    ]
    assert [(chunk.path, chunk.num_rows) for chunk in reader.chunks(paths)] == [(paths[1], 1)]
    libfm = READERS.build("libfm")
    paths = [write("empty.txt", ""), write("full.txt", ["1 3:1 4:1"])]
    libfm.inspect(paths)
    assert [(chunk.path, chunk.num_rows) for chunk in libfm.chunks(paths)] == [(paths[1], 1)]
    with pytest.raises(
        ValueError, match=r"should hold a first line, .* Received: .*empty\.txt, empty"
    ):
        READERS.build("libfm").inspect(paths[:1])


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_bytes", [100, 1000, 5000])
@pytest.mark.parametrize(("length", "refused"), [(1000, False), (1001, True), (4000, True)])
def test_a_line_above_the_limit_is_refused(write, monkeypatch, chunk_bytes, length, refused):
    monkeypatch.setattr(lines, "LINE_BYTES", 1000)
    path = write("log.txt", ["a" * 900] * 3 + ["", "", "b" * length, "c"])
    if not refused:
        assert (
            b"".join(text for _, text in lines.read_chunks(path, chunk_bytes))
            == pathlib.Path(path).read_bytes()
        )
        return
    with pytest.raises(
        ValueError, match=r"line.* at most .* MiB\. Received: more \(.*log\.txt, line 6\)"
    ):
        list(lines.read_chunks(path, chunk_bytes))


@pytest.mark.parametrize("what", [b"a", b"\n"])
def test_a_gzip_that_unpacks_to_one_line_takes_little_memory(tmp_path, what):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(16):
            file.write(what * (16 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"at most 16 MiB\. Received: more \(.*bomb\.gz, line 1\)"
        ):
            rows(READERS.build("criteo"), str(path))
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()


def test_joining_the_pieces_of_a_line_takes_time_in_proportion(write):
    path = write("log.txt", "a" * (12 << 20) + "\n")
    start = time.monotonic()
    assert [len(text) for _, text in lines.read_chunks(path, 1024)] == [(12 << 20) + 1]
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "line",
    [
        "1" + " " * 80_000 + "3:1 4:1",
        "1 3:1" + " " * 80_000 + "4:1",
        "1 3:1 4:1" + " " * 80_000 + "x",
    ],
)
def test_spaces_in_a_libfm_line_do_not_keep_it_busy(write, line):
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"libFM line should have a label and 2 ids.* line 2\)"):
        rows(READERS.build("libfm(names=('a', 'b'))"), write("log.txt", ["1 3:1 4:1", line]))
    assert time.monotonic() - start < 5


def test_messages_stay_short(write, table):
    with pytest.raises(
        ValueError, match=r"whole number of 64 bits\. Received: 'x+\.\.\. \(.*log\.csv, line 1\)"
    ) as caught:
        rows(table(), write("log.csv", [f"1,{'x' * 200_000},c,1"]))
    assert len(str(caught.value)) < 1000


# --- values that look like others -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "should"),
    [
        ("1,0x10,a,1", r"Field 'n' should hold a whole number of 64 bits\. Received: '0x10'"),
        ("1,0X1f,a,1", r"Field 'n' should hold a whole number of 64 bits\. Received: '0X1f'"),
        ("1,1_0,a,1", r"Field 'n' should hold a whole number of 64 bits\. Received: '1_0'"),
        ("1,\u0661\u0662,a,1", "Field 'n' should hold a whole number of 64 bits"),
        ("1,83.5,a,1", r"Field 'n' should hold a whole number of 64 bits\. Received: '83\.5'"),
        ("1,8.3e1,a,1", r"Field 'n' should hold a whole number of 64 bits\. Received: '8\.3e1'"),
        ("1,nan,a,1", r"Field 'n' should hold a whole number of 64 bits\. Received: 'nan'"),
        ("1,NaN,a,1", r"Field 'n' should hold a whole number of 64 bits\. Received: 'NaN'"),
        (
            "1,18446744073709551615,a,1",
            r"Field 'n' .* whole number of 64 bits with a sign \(larger ids can be read as text.* "
            r"Received: '18446",
        ),
        ("1,-9223372036854775808,a,1", "Field 'n' .* whole number of 64 bits with a sign"),
        ("1,2,a,nan", r"Field 't' should hold a finite number\. Received: 'nan'"),
        ("1,2,a,-NaN", r"Field 't' should hold a finite number\. Received: '-NaN'"),
        ("1,2,a,0x10", r"Field 't' should hold a finite number\. Received: '0x10'"),
        ("1,2,a,1e400", r"Field 't' should hold a finite number\. Received: '1e400'"),
        ("nan(1),2,a,1", r"Field 'y' should hold a finite number\. Received: 'nan\(1\)'"),
        ('1,2,"a"b,1', r"""should hold whole quoted values.* Received: '"a"b,1'"""),
        ('1,2,""a,1', r"""should hold whole quoted values.* Received: '""a,1'"""),
        ('1,2,"a" ,1', r"""should hold whole quoted values.* Received: '"a" ,1'"""),
        ('1,2,a,"1', r"""should hold whole quoted values.* Received: '"1'"""),
    ],
)
@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 16])
def test_what_looks_like_a_value_is_refused(
    write, table, monkeypatch, bad, should, after, chunk_bytes
):
    monkeypatch.setattr(lines, "CHUNK_BYTES", chunk_bytes)
    with pytest.raises(ValueError, match=rf"{should}.*log\.csv, line 3\)"):
        rows(table(), write("log.csv", ['1,2,"a, ""b""",3', '1,2,"",3', bad] + ["1,2,a,3"] * after))


@pytest.mark.parametrize("text", ["nan", "NaN"])
@pytest.mark.parametrize(("row", "field"), [("{}::1::5::9", "user"), ("1::{}::5::9", "movie")])
def test_an_id_of_movielens_is_a_number(write, row, field, text):
    write("users.dat", ["1::F::1::10::48067"])
    write("movies.dat", ["1::Film (2000)::Drama"])
    path = write("ratings.dat", ["1::1::5::1", row.format(text)])
    with pytest.raises(
        ValueError,
        match=rf"Field '{field}' .* whole number of 64 bits\. Received: '{text}' \(.*ratings\.dat, "
        r"line 2\)",
    ):
        rows(READERS.build("movielens"), path)


def test_whole_numbers_may_be_written_as_pandas_writes_them(write, table):
    texts = [
        "83.0",
        "-7.00",
        "+5",
        "007",
        "",
        "-0",
        "-007.0",
        "9223372036854775807.0",
        "0000000000000000000000000000000000001",
    ]
    got = [row[0] for row in rows(table(), write("log.csv", [f"1,{text},c,1" for text in texts]))]
    assert got == ["83", "-7", "5", "7", None, "0", "-7", "9223372036854775807", "1"]
    assert table().fields()[0].dtype == "int64"


def test_numbers_in_every_decimal_notation(write, table):
    reader = table(
        columns="columns: [{name: y, kind: label}, {name: x, kind: numeric, transform: floor}]\n"
    )
    texts = ["+1", "1.", ".5", "-.5", "1.e5", "1E-5", "+.5e+2", "nan", "NaN", "1e-400", " 7 "]
    got = [row[0] for row in rows(reader, write("log.csv", [f"1,{text}" for text in texts]))]
    assert (
        got[:7] == [1.0, 1.0, 0.5, -0.5, 1e5, 1e-5, 50.0]
        and got[7] != got[7]
        and got[8] != got[8]
        and got[9:] == [0.0, 7.0]
    )
    for bad in ("0x10", "1d5", "nan(1)", "-nan", "inf", "-Infinity", "1_0", "1,5", "--1", "."):
        with pytest.raises(ValueError, match=r"Field 'x' should hold a finite number.*line 2\)"):
            rows(reader, write("log.csv", ["1,1", f'1,"{bad}"']))


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("inside", ["ab ", 'ab",', '"'])
def test_quotes_are_read_as_the_csv_module_reads_them(write, quoting, inside):
    draw = random.Random(0)
    made = [
        ["1", *("".join(draw.choices(inside, k=draw.randrange(4))) for _ in range(3))]
        for _ in range(300)
    ]
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator="\n").writerows(made)
    path = write("log.csv", out.getvalue())
    form = Delimited((Column("y", "label"), Column("a"), Column("b"), Column("c")), ",", '"')
    got = [[chunk.columns[name].to_pylist() for name in "abc"] for chunk in form.chunks(path)]
    assert got == [[[row[k] or None for row in made] for k in (1, 2, 3)]]
    assert [
        form.cells(path, k, line.encode()) for k, line in enumerate(out.getvalue().splitlines())
    ] == made


def test_an_open_quote_is_blamed_where_it_opened(write, table):
    text = ["1,2,a,3", '1,2,"b,3', "1,2,c,3", '1,2,d",3', "1,2,e,3", '1,2,"f,3']
    with pytest.raises(ValueError, match=r"a quote that opens is closed in its line.* line 2\)"):
        rows(table(), write("log.csv", text))


@pytest.mark.parametrize(
    ("bad", "should"),
    [
        ("1 :1 4:1", r"Field 'a' should be written `id:1`.* Received: ':1'"),
        ("1 0x10:1 4:1", r"Field 'a' should hold a whole number of 64 bits\. Received: '0x10'"),
        ("1 83.0:1 4:1", r"Field 'a' should hold a whole number of 64 bits\. Received: '83\.0'"),
        ("1 +3:1 4:1", r"Field 'a' should hold a whole number of 64 bits\. Received: '\+3'"),
        ("1 3\t4:1", "a label and 2 ids"),
        ("1  3:1 4:1", "a label and 2 ids"),
        (" 1 3:1 4:1", "should begin with its label"),
        ("1:1 3 4:1", "should begin with its label"),
        ("1 3:1:1 4", r"Field 'a' should be written `id:1`"),
        ("nan 3:1 4:1", r"label should be -1, 0 or 1\. Received: nan"),
    ],
)
def test_what_looks_like_a_libfm_row_is_refused(write, bad, should):
    with pytest.raises(ValueError, match=rf"{should}.*log\.txt, line 2\)"):
        rows(
            READERS.build("libfm(names=('a', 'b'))"),
            write("log.txt", ["+1 3:1 4:1.0 ", bad, "1 3:1 4:1"]),
        )


def test_colons_that_even_out_over_two_libfm_lines_are_seen(write):
    with pytest.raises(ValueError, match=r"should be written `id:1`.*log\.txt, line 1\)"):
        rows(READERS.build("libfm(names=('a', 'b'))"), write("log.txt", ["1 3 4:1", "1:1 3:1 4:1"]))


def test_names_of_libfm_fields_are_checked_when_they_are_given():
    with pytest.raises(
        ValueError, match=r"`names` of the reader 'libfm' should occur once\. Received: twice a"
    ):
        READERS.build("libfm(names=('a', 'b', 'a'))")
    with pytest.raises(ValueError, match="should be letters, digits"):
        READERS.build("libfm(names=('a', 'b-c'))")


def test_movielens_refuses_tabs_and_ids_that_occur_twice(write):
    write("users.dat", ["1::F::1::10::48067"])
    write("movies.dat", ["1::Toy Story (1995)::Animation"])
    reader, good = READERS.build("movielens"), "1::1::5::978300760"
    for bad in ("1\t1\t5\t978300760", "1::1\t5::978300760"):
        with pytest.raises(
            ValueError,
            match=r"`::` between values, and no tabs\. Received: .*ratings\.dat, line 2\)",
        ):
            rows(reader, write("ratings.dat", [good, bad]))
    path = write("ratings.dat", [good])
    for side, should in (
        (
            ["1::F::1::10::48067", "1::M::1::10::48067"],
            r"An id should occur once\. Received: 1 again \(.*users\.dat, line 2\)",
        ),
        (["1::F::1_0::10::48067"], r"'1_0' is no whole number \(.*users\.dat, line 1\)"),
        (["1::F::1::10::48\r067"], r"carriage return.*users\.dat, line 1\)"),
    ):
        write("users.dat", side)
        with pytest.raises(ValueError, match=should):
            rows(reader, path)


@pytest.mark.parametrize("chunk_bytes", [1 << 20, 8])
def test_a_second_byte_order_mark_is_refused(write, table, monkeypatch, chunk_bytes):
    monkeypatch.setattr(lines, "CHUNK_BYTES", chunk_bytes)
    assert len(rows(table(), write("log.csv", BOM + b"1,2,a,3\n1,2,b,3\n"))) == 2
    for data, line in (
        (BOM + BOM + b"1,2,a,3\n", 1),
        (BOM + b"1,2,a,3\n1,2,a,3\n" + BOM + b"1,2,b,3\n", 3),
    ):
        with pytest.raises(
            ValueError, match=rf"byte-order mark should stand once.*log\.csv, line {line}\)"
        ):
            rows(table(), write("log.csv", data))


# --- files of another kind, headers ---------------------------------------------------------------


def test_files_of_another_kind_are_named(tmp_path, table):
    path = tmp_path / "log.csv"
    pa.parquet.write_table(pa.table({"y": [1, 0], "n": [3, 4]}), path)
    pipe = path.read_bytes()
    with pytest.raises(
        ValueError,
        match=r"should be text, plain or gzip.* Received: .*log\.csv, which is a Parquet file",
    ):
        rows(table(), str(path))
    with (
        piped(gzip.compress(pipe)) as once,
        pytest.raises(ValueError, match="which is a Parquet file"),
    ):
        rows(table("header: true\n"), once)
    for data, kind in (
        ("y,n".encode("utf-16"), "UTF-16 text"),
        (b"PK\x03\x04\x14\x00", "a zip archive or a spreadsheet"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"which is {kind}"):
            rows(table(), str(path))
    path.write_bytes(b"PAR1,2,a,3\n")  # text that begins like one
    with pytest.raises(
        ValueError, match=r"Field 'y' should hold a finite number\. Received: 'PAR1'"
    ):
        rows(table(), str(path))


@pytest.mark.parametrize(
    ("header", "should"),
    [
        (b"y,n\rx,c,t", "should not hold a carriage return or NUL"),
        (b'y,n,"c,t', "should hold whole quoted values"),
        (b'y,n,"c"d,t', "should hold whole quoted values"),
        (b"y,n,\xe9,t", "should be utf-8 text"),
        (b"y,n,c,t,c", "should name column 'c' once. Received: 2 times"),
        (b"", "should have a first line. Received: none"),
    ],
)
def test_a_bad_header_is_named_before_a_row_is_read(write, table, header, should):
    paths = [write("good.csv", ["y,n,c,t", "not a row"]), write("bad.csv", header + b"\n1,2,a,3\n")]
    with pytest.raises(ValueError, match=rf"{should}.*bad\.csv, line 1\)"):
        table("header: true\n").inspect(paths)


def test_a_header_may_be_long(write, table):
    long = "x" * 140_000
    assert rows(table("header: true\n"), write("log.csv", [f"y,{long},n,c,t", "1,,2,a,3"])) == [
        ["2", "a", 1.0, 3.0]
    ]


def test_columns_that_the_schema_leaves_out_are_listed_once(write, table, caplog):
    reader = table("header: true\n")
    paths = [
        write("a.csv", ["y,id,n,c,t,more", "1,,2,a,3,"]),
        write("b.csv", ["y,id,n,c,t,more,new", "1,,2,a,3,,"]),
    ]
    with caplog.at_level(logging.WARNING, "irazor_tf"):
        rows(reader, paths[0])
        rows(reader, *paths)
    assert [record.getMessage() for record in caplog.records] == [
        f"{paths[0]}: left out, as the schema does not name them: 2 columns (id, more)",
        f"{paths[1]}: left out, as the schema does not name them: 1 columns (new)",
    ]


# --- schema files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "should"),
    [
        ("missing: [00000]", "put it in quotes"),
        ("missing: [x, 010]", "put it in quotes"),
        ("missing: [1_000]", "put it in quotes"),
        ("missing: [12:30]", "put it in quotes"),
        ("missing: [0x1F]", "put it in quotes"),
        ("missing: [+1]", "put it in quotes"),
        ("missing: [-0]", "put it in quotes"),
        ("missing: [on]", "put it in quotes"),
        ("missing: [2001-01-01]", "put it in quotes"),
        ("missing: [.5]", "put it in quotes"),
        ("missing: [.nan]", "put it in quotes"),
        ("missing: [=]", "put it in quotes"),
        ("missing: [a, ~]", "put it in quotes"),
        ("missing: 00", "put it in quotes"),
        ("label: {positive: [01]}", "put it in quotes"),
        ("label: {positive: a, negative: [off]}", "put it in quotes"),
        ("separator: 010", "put it in quotes"),
        ("positive_above: 010", "decimal number"),
        ("positive_above: 1_000", "decimal number"),
        ("positive_above: 1:30", "decimal number"),
        ("positive_above: 1e3", "decimal number"),
        ("missing: [[a]]", "should be text"),
        ("missing: {a: b}", "should be text"),
        ('missing: ["\\uD800"]', "should be text. Received: half a character"),
        ('missing: ["\\UFFFFFFFF"]', "should be YAML"),
        ("missing: &a [*a]", "should be text"),
        ("missing: [*a]", "should be YAML. Received: found undefined alias"),
        (
            "missing: [a]\nstrip: true\nmissing: [b]",
            "`missing` should be given once. Received: again, after line 1",
        ),
        ("label: {positive: a, positive: b}", "`positive` should be given once"),
        (
            "label: {positive: [a, b], negative: [b]}",
            "positive or negative. Received: one that is both",
        ),
        ("label: {negative: [b]}", "should say which texts are `positive`"),
        ("label: {positive: [b]}\npositive_above: 3", "Labels should be texts .* or numbers"),
        ("strip: true\nlabel: {positive: [' b']}", "no text of `positive` should"),
        ("missing: " + "[" * 60 + "]" * 60, "nested deeper than 50"),
        ("missing: " + "[" * 100_000, "nested deeper than 50"),
        (
            "missing: !!python/object/apply:os.system [ls]",
            "`missing` of a table schema should be a list",
        ),
        ("header: !!bool x", "should be true or false"),
        ("missing: [a\tb: c]: d", "should be YAML"),
        ("!!python/name:os.system header: true", "A key of a table schema should be one of"),
        ("? [a]\n: b", "A key of a table schema should be one of"),
        ("---\n---\na: b", "should be YAML"),
    ],
)
def test_a_schema_file_is_read_as_it_is_written(write, text, should):
    with pytest.raises(
        ValueError, match=rf"{should}.*schema\.yaml(?:, line \d+(?:, column \d+)?)?\)$"
    ) as caught:
        TableSchema.load(write("schema.yaml", text + "\n" + COLUMNS))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_in_quotes_everything_is_text_and_whole_numbers_need_none(write):
    text = (
        "missing: [-1, 0, 83, '00', \"no\", '1_0', n/a, 1e3, !!str 010, '']\nlabel: {positive: "
        "['01'], negative: 0}\nheader: yes\n"
    )
    schema = TableSchema.load(write("schema.yaml", text + COLUMNS))
    assert (
        schema.form.missing == ("-1", "0", "83", "00", "no", "1_0", "n/a", "1e3", "010", "")
        and schema.header
    )
    assert schema.form.positive == ("01",) and schema.form.negative == ("0",)
    above = [
        TableSchema.load(write("schema.yaml", f"positive_above: {text}\n{COLUMNS}")).positive_above
        for text in ("3", "3.50", "-1", "~")
    ]
    assert above == [3, 3.5, -1, None] and isinstance(above[0], int)


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "hunter2: x",
        "[hunter2]",
        "columns: hunter2",
        "columns: [hunter2-]",
        "columns: [{hunter2: a}]",
        "columns: [{name: a, kind: hunter2}]",
        "columns: [{name: y, kind: label}, {name: a, dtype: hunter2}]",
        "columns: [{name: y, kind: label}, {name: a, role: hunter2}]",
        "header: hunter2",
        "encoding: hunter2",
        "separator: hunter2",
        "label: {hunter2: a}",
        "missing: [hunter2, 1.5]",
        "a: 'hunter2",
        "a: *hunter2",
        "!hunter2 a: b",
        "a: hunter2: b",
        "%hunter2 a\n--- [",
    ],
)
def test_the_content_of_a_schema_file_is_not_quoted(write, text):
    with pytest.raises(ValueError, match=r"\(.*schema\.yaml") as caught:
        TableSchema.load(write("schema.yaml", text))
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_schema_file_that_cannot_be_read_is_named(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"readable YAML file\. Received: 'none\.yaml' \(No such file .*, looked for in "
        rf"{tmp_path}\)",
    ):
        READERS.build("table(schema='none.yaml')")
    with pytest.raises(
        ValueError, match=r"should be YAML in UTF-8\. Received: .* \(.*schema\.yaml, line 2\)"
    ):
        TableSchema.load(write("schema.yaml", b"header: true\nmissing: [\xe9]\n"))
    with pytest.raises(
        ValueError, match=r"at most 8 MiB\. Received: .*schema\.yaml, which is larger"
    ):
        TableSchema.load(write("schema.yaml", "# \n" * (4 << 20)))
    assert TableSchema.load(write("schema.yaml", BOM + COLUMNS.encode())).fields()


# --- and after the job ----------------------------------------------------------------------------


def test_a_pipeline_shows_first_rows_only_of_what_can_be_read_again(write, monkeypatch):
    from irazor_tf.config.layout import JobPaths
    from irazor_tf.jobs import stages as jobs
    from irazor_tf.report import tables
    from irazor_tf.serving import scorer as serving
    from launch import stages

    scored: list = []

    def score_log(path, data, *rest):
        scored.append(data.input)
        return {}, []

    monkeypatch.setattr(serving, "score_log", score_log)
    monkeypatch.setattr(tables, "summary_table", lambda summary: "")
    for name in ("pipeline", "export", "preprocess"):
        monkeypatch.setattr(jobs, name, lambda job: None)
    monkeypatch.setattr(jobs, "opened", lambda config: config)
    log = write("log.csv", ["1,2,a,3"])
    with piped(b"1,2,a,3\n") as pipe:
        for paths in ((log,), (pipe,), (log + ".gone",), ()):
            data = types.SimpleNamespace(input=paths)
            config = types.SimpleNamespace(data=data, records_dir="")
            job = types.SimpleNamespace(config=config, paths=JobPaths(""), reader=None)
            stages.perform("pipeline", job)  # type: ignore[arg-type]
    assert scored == [(log,), ()]
