"""Damaged files of every kind: each is read with nothing lost, or refused with a message.

The mutator is seeded. A part of its files runs always, 500 with the large sizes.
"""

import gzip
import io
import json
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import staging
from features.errors import DataError
from features.ingest import ingest
from features.raw_files import Dialect, kind_of
from features.settings import Workspace
from features.sources import find_files
from features.staging import Staged, stage
from tests.reading import reading_forked
from tests.worlds import HEADER, good, raw, source, text

pytestmark = pytest.mark.usefixtures("reader_here")
WANTED = {"order_id": "Invoice", "quantity": "Quantity", "customer_ref": "Customer ID"}
RECORDS = [*good(40), raw("900001", description='a "b", c\nd'), *good(25, first=910_000)]
ROWS = [dict(zip(HEADER, record, strict=True)) for record in RECORDS]
Random = random.Random
Run = Callable[..., subprocess.CompletedProcess[str]]


# --- files before the damage ----------------------------------------------------------------


@cache
def _csv() -> bytes:
    return b"".join([text(HEADER), *map(text, RECORDS)])


@cache
def _jsonl() -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


@cache
def _parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out, row_group_size=20)
    return out.getvalue()


@cache
def _xlsx() -> bytes:
    book, out = openpyxl.Workbook(write_only=True), io.BytesIO()
    sheet = book.create_sheet()
    for record in [HEADER, *RECORDS]:
        sheet.append(list(record))
    book.save(out)
    return out.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "data.csv": _csv, "data.jsonl": _jsonl, "data.parquet": _parquet, "data.xlsx": _xlsx,
}  # fmt: skip


# --- damage ---------------------------------------------------------------------------------


def _at(rng: Random, data: bytes, what: bytes, instead: int = 0) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + what + data[place + instead :]


def truncated(rng: Random, data: bytes) -> bytes:
    """Cut off anywhere."""
    return data[: rng.randrange(len(data))]


def flipped(rng: Random, data: bytes) -> bytes:
    """A few bytes changed at random."""
    found = bytearray(data)
    for _ in range(rng.randrange(1, 12)):
        found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found)


def quoted(rng: Random, data: bytes) -> bytes:
    """Stray quotes."""
    for _ in range(rng.randrange(1, 4)):
        data = _at(rng, data, b'"')
    return data


def with_nul(rng: Random, data: bytes) -> bytes:
    """NUL bytes."""
    return _at(rng, data, b"\0" * rng.randrange(1, 9), rng.randrange(9))


def marked(rng: Random, data: bytes) -> bytes:
    """A byte order mark where it belongs, or in the middle."""
    return b"\xef\xbb\xbf" + data if rng.random() < 0.5 else _at(rng, data, b"\xef\xbb\xbf")


def mixed_encodings(rng: Random, data: bytes) -> bytes:
    """Letters of other encodings in some lines."""
    for letter in (b"\xa3", b"\xfc", "茶".encode("gb18030"), "ü".encode("utf-16")):
        data = _at(rng, data, letter)
    return data


def other_delimiter(rng: Random, data: bytes) -> bytes:
    """Another delimiter from some line on."""
    place = rng.randrange(len(data))
    return data[:place] + data[place:].replace(b",", rng.choice([b";", b"\t", b"|"]))


def giant_line(rng: Random, data: bytes) -> bytes:
    """A line longer than any record."""
    return _at(rng, data, b"x" * rng.choice([150_000, 1_200_000]))


def ragged(rng: Random, data: bytes) -> bytes:
    """Fields too many and too few."""
    for _ in range(4):
        data = _at(rng, data, rng.choice([b",", b",,,", b"\n", b"\r", b"\r\n"]))
    return data


def glued(rng: Random, data: bytes) -> bytes:
    """Lines run into one another, others stand twice, one is moved."""
    lines = data.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    lines.insert(rng.randrange(len(lines)), lines[place])
    lines[place] = lines[place].rstrip(b"\n")
    lines.append(lines.pop(rng.randrange(len(lines))))
    return b"".join(lines)


def footed(rng: Random, data: bytes) -> bytes:
    """A footer, blank lines, and the file again."""
    return data + rng.choice([b"\n\n\n", b"Total,66\n", data, b"\x1a", b"-- end"])


def emptied(rng: Random, data: bytes) -> bytes:
    """Nothing left, or next to it."""
    return rng.choice([b"", b"\n", b" ", data.splitlines(keepends=True)[0], b"\xff\xfe"])


def bomb(rng: Random, data: bytes) -> bytes:
    """What unpacks to far more than it says: one line without an end."""
    return data + b"0" * rng.choice([1, 3]) * (1 << 20)


DAMAGE = [
    truncated, flipped, quoted, with_nul, marked, mixed_encodings, other_delimiter, giant_line,
    ragged, glued, footed, emptied, bomb,
]  # fmt: skip
OF_PACKED = [truncated, flipped, footed, emptied]


def damaged(number: int) -> tuple[str, bytes, str]:
    """The file of a number: its name, its bytes, and what was done to it."""
    rng = Random(number)
    name = rng.choices(list(FILES), [8, 4, 2, 1])[0]
    data, done = FILES[name](), []
    if kind_of(Path(name)) in ("parquet", "sheet"):
        damage = rng.choice([truncated, flipped, with_nul, emptied])
        return name, damage(rng, data), damage.__name__
    for damage in rng.sample(DAMAGE, rng.choice([1, 1, 2, 3])):
        data = damage(rng, data) if data else data
        done.append(damage.__name__)
    if rng.random() < 0.3:
        name, data = f"{name}.gz", gzip.compress(data, 1)
        if rng.random() < 0.6:
            damage = rng.choice(OF_PACKED)
            data = damage(rng, data)
            done.append(f"packed and {damage.__name__}")
    return name, data, ", ".join(done)


OUTCOMES = ("read", "set aside", "refused")

# --- what has to hold -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def forked() -> Iterator[Run]:
    """Reads in a process of its own."""
    with reading_forked() as run:
        yield run


def _staged(path: Path, forked: Run) -> Staged | str:
    """What was staged, or the message. Formats that native code parses go to the child."""
    out = path.with_name("out.parquet")
    with pytest.MonkeyPatch.context() as patch:
        if kind_of(path) in ("parquet", "sheet"):
            patch.setattr(staging, "subprocess", SimpleNamespace(run=forked))
        try:
            return stage(path, Dialect(), WANTED, 0, out)
        except DataError as error:
            assert not out.exists(), "what is refused leaves nothing behind"
            return str(error)


def _check(case: str, data: bytes, path: Path, forked: Run) -> str:
    path.write_bytes(data)
    found, name = _staged(path, forked), path.name
    if isinstance(found, str):
        assert name in found, case
        assert len(found) > len(str(path)) + 10, case
        assert "Traceback" not in found, case
        return "refused"
    table = pq.read_table(path.with_name("out.parquet"))
    assert table.num_rows == found.records, case
    assert found.header_lines + sum(table["lines"].to_pylist()) == found.lines, case
    if kind_of(path) in ("text", "json"):
        plain = gzip.decompress(data) if name.endswith(".gz") else data
        kept = b"".join(table["raw"].to_pylist())
        assert plain.endswith(kept), case
        head = plain[: len(plain) - len(kept)]
        assert head.count(b"\n") == found.header_lines, case
        assert found.lines == plain.count(b"\n") + (not plain.endswith(b"\n")), case
    problems = [problem for problem in table["problem"].to_pylist() if problem]
    return "set aside" if problems else "read"


def _names(refused: DataError, file: str) -> None:
    assert file in str(refused)


def _run(numbers: range, folder: Path, forked: Run) -> Counter[str]:
    found: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("features.raw_files.LIKELY_BYTES", 1 << 19)
        patch.setattr("features.raw_files.MAX_LINE_BYTES", 2 << 20)
        for number in numbers:
            name, data, done = damaged(number)
            found.update([_check(f"{number}: {name}, {done}", data, folder / name, forked)])
            found.update(done.split(", "))
    return found


def test_damaged_files(tmp_path: Path, forked: Run) -> None:
    """500 of them; every kind of damage is among them, and each outcome often."""
    found = _run(range(500), tmp_path, forked)
    assert {damage.__name__ for damage in DAMAGE} <= found.keys()
    assert min(found[outcome] for outcome in OUTCOMES) >= 20


@pytest.mark.slow
def test_5_000_damaged_files(tmp_path: Path, forked: Run) -> None:
    """Ten times as many."""
    found = _run(range(1_000, 6_000), tmp_path, forked)
    assert min(found[outcome] for outcome in OUTCOMES) >= 200


@pytest.mark.parametrize("number", range(12))
def test_damaged_files_through_a_build(place: Workspace, tmp_path: Path, number: int) -> None:
    """What is staged is accounted for to the last record: seen is what the places add up to."""
    rng = Random(number)
    data = _csv()
    for damage in rng.sample([flipped, quoted, with_nul, ragged, glued, mixed_encodings], 2):
        data = damage(rng, data)
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "online_retail_II.csv").write_bytes(data)
    declared = source(place, max_quarantined_share=1.0)
    (tmp_path / "out").mkdir()
    try:
        facts = ingest(declared, find_files(declared, folder), b"k" * 32, tmp_path / "out")
    except DataError as refused:
        _names(refused, "online_retail_II")
        return
    aside = pq.read_table(tmp_path / "out" / "quarantine.parquet")
    assert facts["seen"] == sum(facts["totals"].values())
    assert facts["totals"]["quarantined"] == aside.num_rows
    assert facts["totals"]["accepted"] == pq.read_table(
        tmp_path / "out" / "order_lines.parquet"
    ).num_rows  # fmt: skip
    for row in aside.to_pylist():
        assert row["raw"] in data
        assert 1 < row["line"] <= data.count(b"\n") + 1


def test_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked: Run) -> None:
    """A packed file that unpacks without end is refused before memory or disk are gone."""
    monkeypatch.setattr("features.raw_files.LIKELY_BYTES", 1 << 20)
    monkeypatch.setattr("features.raw_files.MAX_RATIO", 20)
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(text(HEADER) + text(raw()) * 60_000, 9))
    found = _staged(path, forked)
    assert isinstance(found, str)
    assert "taken for a zip bomb" in found
    path = tmp_path / "data.csv"
    path.write_bytes(text(HEADER) + b"0" * (65 << 20))
    assert "is longer than 64 MiB" in str(_staged(path, forked))
