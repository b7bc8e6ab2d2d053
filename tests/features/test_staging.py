"""Staging loses nothing: every line of every file is a record, or is set aside with its reason."""

import csv
import gzip
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import staging
from features.errors import DataError
from features.staging import BLANK, MAX_RECORD_LINES, Dialect, stage
from tests.worlds import HEADER, ROOT, good, raw, text, write_raw

pytestmark = pytest.mark.usefixtures("reader_here")
WANTED = {"order_id": "Invoice", "quantity": "Quantity", "customer_ref": "Customer ID"}


def read(path: Path, **dialect: Any) -> tuple[dict[str, Any], pa.Table]:
    """Counts and staged records of ``path``; in this process, without the guard around it."""
    out = path.with_suffix(".staged")
    request = {
        "path": str(path),
        "dialect": dialect,
        "wanted": WANTED,
        "first_row": 100,
        "out": str(out),
    }
    counts = staging._write(request)
    table = pq.read_table(out)
    out.unlink()
    return counts, table


def read_bytes(folder: Path, data: bytes, **dialect: Any) -> tuple[dict[str, Any], pa.Table]:
    """Counts and staged records of a file that holds ``data``."""
    path = folder / "data.csv"
    path.write_bytes(data)
    return read(path, **dialect)


def reasons(table: pa.Table) -> dict[str, int]:
    """How many records were set aside, by reason."""
    return dict(Counter(p for p in table["problem"].to_pylist() if p))


def assert_nothing_lost(data: bytes, counts: dict[str, Any], table: pa.Table) -> None:
    """The staged records are the file, byte for byte and line for line, after its header."""
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    assert counts["lines"] == counts["independent_lines"] == lines
    assert counts["bytes"] == counts["independent_bytes"] == len(data)
    assert counts["header_lines"] + sum(table["lines"].to_pylist()) == lines
    records = b"".join(table["raw"].to_pylist())
    assert data.endswith(records)
    assert data[: len(data) - len(records)].count(b"\n") == counts["header_lines"]
    assert table["row"].to_pylist() == list(range(100, 100 + counts["records"]))
    line = counts["header_lines"] + 1
    for start, length in zip(table["line"].to_pylist(), table["lines"].to_pylist(), strict=True):
        assert start == line
        line += length


# --- text -----------------------------------------------------------------------------------

BASE = b"".join([
    text(HEADER),
    *map(text, good(6)),
    text(raw("500100", description='a "quoted" one, with a comma')),
    text(raw("500101", description="two\nlines")),
    text(raw("500102")).replace(b"\n", b"\r\n"),
    b"\n",
    *map(text, good(25, first=500_200)),
])  # fmt: skip
MUTATION = st.tuples(
    st.integers(0, len(BASE) - 1),
    st.sampled_from(["replace", "insert", "delete"]),
    st.sampled_from(list(b'"\n\r,\0;\xff\xc3 a1')) | st.integers(0, 255),
)


@settings(max_examples=250)
@given(mutations=st.lists(MUTATION, min_size=1, max_size=6))
def test_damaged_bytes_lose_no_line(
    tmp_path_factory: pytest.TempPathFactory, mutations: Sequence[tuple[int, str, int]]
) -> None:
    """Whatever bytes change, all lines are staged, or the file is refused for its header."""
    data = bytearray(BASE)
    for position, kind, byte in mutations:
        position = min(position, len(data) - 1)
        stop = position if kind == "insert" else position + 1
        data[position:stop] = b"" if kind == "delete" else bytes([byte])
    folder = tmp_path_factory.mktemp("mutated")
    try:
        counts, table = read_bytes(folder, bytes(data))
    except DataError:
        counts = {}
    if not counts:
        assert min(position for position, _, _ in mutations) <= len(text(HEADER))
        return
    assert_nothing_lost(bytes(data), counts, table)
    # A record that was not set aside reads the same on its own: no neighbour lent it a field.
    records = table.filter(pa.compute.is_null(table["problem"])).to_pylist()
    head = bytes(data)[: len(data) - sum(len(raw) for raw in table["raw"].to_pylist())]
    names = [name.strip() for name in split(head)[-1]]
    for record in records:
        (alone,) = split(record["raw"])
        assert len(alone) == len(names)
        for column, name in WANTED.items():
            assert record[column] == alone[names.index(name)]


def split(data: bytes) -> list[list[str]]:
    """Fields of each record in ``data``."""
    return list(csv.reader((line.decode() for line in io.BytesIO(data)), strict=True))


DEFECTS = {
    "few": (b"1,2,3\n", "3 fields, expected 8"),
    "many": (text(raw("600000"))[:-1] + b",more\n", "9 fields, expected 8"),
    "spaces": (b"   \n", "1 fields, expected 8"),
    "quote": (b'1,"un"q,x,1,t,1,c,UK\n', "does not split: ',' expected after '\"'"),
    "nul": (b"1,\0,x,1,t,1,c,UK\n", "does not split: holds a NUL byte"),
    "latin": (b"1,\xa3,x,1,t,1,c,UK\n", "not in the declared encoding"),
    "long": (b"1," + b"x" * 1_000_001 + b"\n", "does not split: longer than 1000000 bytes"),
    "field": (
        b"1," + b"x" * 140_000 + b"\n",
        "does not split: field larger than field limit (131072)",
    ),
    "blank": (b"\n", BLANK),
    "blank with return": (b"\r\n", BLANK),
    "lone return": (b"1,a\rb,x,1,t,1,c,UK\n", None),
}  # fmt: skip


@pytest.mark.parametrize("place", [0, 30, 60], ids=["first", "middle", "last"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_bad_line_costs_itself_alone(tmp_path: Path, defect: str, place: int) -> None:
    """One bad line is set aside with its reason; all its neighbours are read."""
    bad, reason = DEFECTS[defect]
    neighbours = [text(record) for record in good(60)]
    neighbours[10] = text(raw("500010", description="a, b"))
    data = b"".join([text(HEADER), *neighbours[:place], bad, *neighbours[place:]])
    counts, table = read_bytes(tmp_path, data)
    assert_nothing_lost(data, counts, table)
    aside = table.filter(pa.compute.is_valid(table["problem"])).to_pylist()
    assert [record["raw"] for record in aside] == [bad]
    assert aside[0]["line"] == place + 2
    assert reason is None or aside[0]["problem"] == reason
    kept = [t for t in table["order_id"].to_pylist() if t]
    assert kept == [record[0] for record in good(60)]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (0, f"does not split: a quote is not closed within {MAX_RECORD_LINES} lines"),
        (55, "does not split: unexpected end of data"),
    ],
)
def test_unclosed_quote_costs_one_line(tmp_path: Path, place: int, reason: str) -> None:
    """A quote that is never closed sets its own line aside; the lines it swallowed are read."""
    bad = b'1,"unclosed,x,1,t,1,c,UK\n'
    lines = [text(record) for record in good(60)]
    data = b"".join([text(HEADER), *lines[:place], bad, *lines[place:]])
    counts, table = read_bytes(tmp_path, data)
    assert_nothing_lost(data, counts, table)
    assert reasons(table) == {reason: 1}
    assert counts["records"] == 61


def test_two_stray_quotes_cost_two_lines(tmp_path: Path) -> None:
    """Lines between two stray quotes are no field: they are read one by one."""
    stray = b'1,"stray,x,1,t,1,c,UK\n'
    lines = [text(record) for record in good(10)]
    data = b"".join([text(HEADER), *lines[:3], stray, *lines[3:7], stray, *lines[7:]])
    counts, table = read_bytes(tmp_path, data)
    assert_nothing_lost(data, counts, table)
    assert sum(reasons(table).values()) == 2
    assert counts["records"] == 12


@pytest.mark.parametrize(("breaks", "records"), [(19, 1), (20, 21)])
def test_longest_record(tmp_path: Path, breaks: int, records: int) -> None:
    """A quoted text may run over 20 lines; beyond that its lines are set aside one by one."""
    long = text(raw("500000", description="\n".join(["word"] * (breaks + 1))))
    data = text(HEADER) + long
    counts, table = read_bytes(tmp_path, data)
    assert_nothing_lost(data, counts, table)
    assert counts["records"] == records
    assert bool(reasons(table)) == (records > 1)


def test_values_pass_as_they_are(tmp_path: Path) -> None:
    """Quotes, commas, line breaks, blanks and leading zeros inside a value survive."""
    odd = ['a "b", c', " 007 ", "x\ny", "£", ""]
    records = [raw(order, customer=order) for order in odd]
    data = b"".join([text(HEADER), *map(text, records)])
    _, table = read_bytes(tmp_path, data)
    assert table["order_id"].to_pylist() == odd
    assert table["customer_ref"].to_pylist() == odd


def test_wanted_columns_alone_are_loaded(tmp_path: Path) -> None:
    """A column that nobody declared does not leave the raw bytes."""
    _, table = read_bytes(tmp_path, text(HEADER) + text(raw()))
    assert table.column_names == ["row", "line", "lines", "raw", "problem", *WANTED]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """Swapped columns give the same values."""
    order = list(reversed(range(len(HEADER))))
    swapped = [tuple(record[i] for i in order) for record in [HEADER, *good(3)]]
    _, table = read_bytes(tmp_path, b"".join(map(text, swapped)))
    assert table["order_id"].to_pylist() == [record[0] for record in good(3)]
    assert table["customer_ref"].to_pylist() == [record[6] for record in good(3)]


def test_header_again_is_a_record(tmp_path: Path) -> None:
    """A header in the middle of the file is a record for typing to judge, not a line to skip."""
    data = b"".join([text(HEADER), text(raw()), text(HEADER), text(raw())])
    counts, table = read_bytes(tmp_path, data)
    assert_nothing_lost(data, counts, table)
    assert table["quantity"].to_pylist() == ["1", "Quantity", "1"]


@pytest.mark.parametrize(
    "head",
    [
        b"\xef\xbb\xbf" + text(HEADER),
        b"\xef\xbb\xbf" + ",".join(f'"{name}"' for name in HEADER).encode() + b"\n",
        b"\n\n" + text(HEADER),
        text(tuple(f" {name} " for name in HEADER)),
        text(HEADER).replace(b"\n", b"\r\n"),
    ],
    ids=["byte order mark", "mark and quotes", "blank lines before", "padded", "crlf"],
)
def test_header_in_other_dress(tmp_path: Path, head: bytes) -> None:
    """Marks, padding and blank lines around the header do not hide its columns."""
    data = head + text(raw("500007"))
    counts, table = read_bytes(tmp_path, data)
    assert_nothing_lost(data, counts, table)
    assert table["order_id"].to_pylist() == ["500007"]


def test_last_line_without_end(tmp_path: Path) -> None:
    """A last line that is not ended counts as a line."""
    data = (text(HEADER) + text(raw("500001")) + text(raw("500002")))[:-1]
    counts, table = read_bytes(tmp_path, data)
    assert_nothing_lost(data, counts, table)
    assert table["order_id"].to_pylist() == ["500001", "500002"]


def test_other_dialect(tmp_path: Path) -> None:
    """Delimiter and encoding are those declared."""
    data = (text(HEADER) + text(raw("500001£"))).replace(b",", b";").decode().encode("latin-1")
    counts, table = read_bytes(tmp_path, data, delimiter=";", encoding="latin-1")
    assert_nothing_lost(data, counts, table)
    assert table["order_id"].to_pylist() == ["500001£"]


# --- whole files ----------------------------------------------------------------------------


def staged(path: Path) -> staging.Staged:
    """Stage ``path`` as a build does: in a guarded child."""
    return stage(path, Dialect(), WANTED, 0, path.parent / "out.parquet")


def refusal(path: Path) -> str:
    """What staging ``path`` is refused with; it leaves nothing behind."""
    with pytest.raises(DataError) as caught:
        staged(path)
    assert str(path) in str(caught.value)
    assert not (path.parent / "out.parquet").exists()
    return str(caught.value)


@pytest.mark.usefixtures("reader_child")
def test_child_gives_the_same(tmp_path: Path) -> None:
    """The guarded child writes what the reader in this process writes."""
    path = tmp_path / "data.csv"
    path.write_bytes(BASE)
    counts, table = read(path)
    found = staged(path)
    assert found.model_dump(mode="json") == counts
    again = pq.read_table(tmp_path / "out.parquet")
    assert again.drop_columns("row").equals(table.drop_columns("row"))
    assert again["row"].to_pylist() == list(range(counts["records"]))


def test_gzip_of_two_parts(tmp_path: Path) -> None:
    """A gzip file put together from two is read to its end."""
    data = b"".join([text(HEADER), *map(text, good(50))])
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]))
    counts, table = read(path)
    assert_nothing_lost(data, counts, table)
    assert counts["records"] == 50


@pytest.mark.parametrize("kept", [5, 0.5, -1])
def test_truncated_gzip(tmp_path: Path, kept: float) -> None:
    """A gzip file that is cut off anywhere is refused."""
    path = write_raw(tmp_path / "data.csv.gz", good(2_000))
    packed = path.read_bytes()
    path.write_bytes(packed[: int(len(packed) * kept) if isinstance(kept, float) else kept])
    assert "cut off or damaged" in refusal(path)


def test_damaged_gzip(tmp_path: Path) -> None:
    """A gzip file whose checksum does not fit is refused."""
    path = write_raw(tmp_path / "data.csv.gz", good(2_000))
    packed = bytearray(path.read_bytes())
    packed[-6] ^= 1
    path.write_bytes(packed)
    assert "cut off or damaged" in refusal(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\n\n\n", "the file is empty"),
        (text(HEADER), "a header but no record"),
        (b"\xff\xfe" + text(HEADER), "the header not in the declared encoding"),
        (b'"' + text(HEADER), "the header does not split"),
    ],
    ids=["empty", "blank", "header only", "undecodable header", "broken header"],
)
def test_file_without_records(tmp_path: Path, data: bytes, message: str) -> None:
    """A file without a readable header or without a record is refused."""
    path = tmp_path / "data.csv"
    path.write_bytes(data)
    assert message in refusal(path)


def test_empty_gzip(tmp_path: Path) -> None:
    """An empty file does not become readable by being packed, nor by its name."""
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(b""))
    assert "the file is empty" in refusal(packed)
    named = tmp_path / "named.csv.gz"
    named.write_bytes(b"")
    assert "the file is empty" in refusal(named)


def test_missing_and_doubled_columns_are_named_at_once(tmp_path: Path) -> None:
    """All column problems are listed, with the near name that may have taken the place."""
    header = ("Invoice", "StockCode", "Quantity", "Quantity", "Cust ID")
    path = write_raw(tmp_path / "data.csv", [("1", "2", "3", "4", "5")], header)
    message = refusal(path)
    assert "2 column problem(s)" in message
    assert "column 'Quantity' stands 2 times" in message
    assert "column 'Customer ID' is missing; did 'Cust ID' replace it?" in message


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is an error that names it."""
    assert "FileNotFoundError" in refusal(tmp_path / "data.csv")


def test_unknown_encoding(tmp_path: Path) -> None:
    """An encoding that does not exist is an error that names it."""
    path = write_raw(tmp_path / "data.csv", good(2))
    with pytest.raises(DataError, match="unknown encoding: klingon"):
        stage(path, Dialect(encoding="klingon"), WANTED, 0, tmp_path / "out.parquet")


def _child(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    executable = folder / "child"
    executable.write_text(f"#!/bin/sh\n{script}\n")
    executable.chmod(0o700)
    monkeypatch.setattr(staging.sys, "executable", str(executable))


@pytest.mark.usefixtures("reader_child")
def test_killed_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is killed in its work leaves an error, and nothing half-written."""
    path = write_raw(tmp_path / "data.csv", good(2))
    _child(tmp_path, monkeypatch, f"echo half > {tmp_path / 'out.parquet'}; kill -9 $$")
    assert "ended with code -9" in refusal(path)


@pytest.mark.usefixtures("reader_child")
def test_lines_that_do_not_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that an independent reader cannot confirm are not used."""
    path = write_raw(tmp_path / "data.csv", good(2))
    counts, _ = read(path)
    reply = json.dumps({**counts, "independent_lines": counts["lines"] + 1})
    _child(tmp_path, monkeypatch, f"cat > /dev/null; echo '{reply}'")
    with pytest.raises(DataError, match="3 lines and .* an independent reader finds 4"):
        staged(path)


LIMITED = """
import sys
sys.path.insert(0, {root!r})
from features import staging
pages = int(open("/proc/self/statm").read().split()[0])
staging.CHILD_MEMORY = pages * staging.resource.getpagesize() + (20 << 20)
staging.main()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its size from /proc")
@pytest.mark.usefixtures("reader_child")
def test_child_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that takes more memory than the guard allows is refused, and the reason told."""
    path = tmp_path / "data.csv"
    path.write_bytes(text(HEADER) + b"x" * 60_000_000)
    script = tmp_path / "limited.py"
    script.write_text(LIMITED.format(root=str(ROOT)))
    _child(tmp_path, monkeypatch, f"exec {sys.executable} {script}")
    assert "of memory" in refusal(path)


# --- workbooks ------------------------------------------------------------------------------


def workbook(path: Path, *sheets: Sequence[Sequence[Any]]) -> Path:
    """A workbook with ``sheets`` of rows of cells."""
    book = openpyxl.Workbook(write_only=True)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(list(row))
    book.save(path)
    return path


def test_sheets_follow_one_another(tmp_path: Path) -> None:
    """All sheets are read, each header counted, empty rows left out."""
    first = [HEADER, *good(3), (), *good(1, first=500_100)]
    second = [HEADER, *good(2, first=500_200)]
    counts, table = read(workbook(tmp_path / "data.xlsx", first, second))
    assert counts["records"] == 6
    assert counts["header_lines"] == 2
    assert counts["lines"] == counts["independent_lines"] == 8
    orders = [record[0] for record in [*good(3), *good(1, 500_100), *good(2, 500_200)]]
    assert table["order_id"].to_pylist() == orders


def test_sheets_with_different_columns(tmp_path: Path) -> None:
    """Sheets that do not hold one table are refused."""
    path = workbook(tmp_path / "data.xlsx", [HEADER, *good(1)], [HEADER[:-1], good(1)[0][:-1]])
    assert "sheets of one table need the same header" in refusal(path)


@pytest.mark.parametrize("kept", [0, 100, 0.7])
def test_truncated_workbook(tmp_path: Path, kept: float) -> None:
    """A workbook that is cut off is refused."""
    path = workbook(tmp_path / "data.xlsx", [HEADER, *good(50)])
    packed = path.read_bytes()
    path.write_bytes(packed[: int(len(packed) * kept) if isinstance(kept, float) else kept])
    assert "cut off or damaged" in refusal(path)
