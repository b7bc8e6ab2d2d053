"""Raw file -> staged records, before anything is typed. Runs in a guarded child process.

Database CSV readers can drop the rest of a file after one stray quote. Here the standard ``csv``
module splits records in strict mode, physical lines are counted as they pass, and whatever does not
split is kept as raw bytes with its line and the reason. An independent pass over the bytes must
find the same number of lines.
"""

import csv
import difflib
import gzip
import json
import resource
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from datetime import date, datetime
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import DataError
from features.settings import Strict

MAX_RECORD_LINES = 20
MAX_RECORD_BYTES = 1_000_000
BATCH = 50_000
CHILD_MEMORY = 8 << 30
CHILD_CPU_SECONDS = 3_600
BLANK = "blank line"


class Dialect(Strict):
    """How the records of a text file are written."""

    delimiter: str = ","
    encoding: str = "utf-8"


class Staged(Strict):
    """What one file held; ``lines`` and ``bytes`` of the unpacked file (sheet rows for Excel)."""

    file: str
    records: int
    header_lines: int
    lines: int
    bytes: int
    independent_lines: int
    independent_bytes: int


def stage(
    path: Path, dialect: Dialect, wanted: dict[str, str], first_row: int, out: Path
) -> Staged:
    """Stage ``path`` into the Parquet file ``out`` in a child process with limits.

    Parameters
    ----------
    wanted
        Canonical column name -> column name in the file. Nothing else is loaded.
    first_row
        Number given to the first record; rows are numbered over all files of a table.

    Returns
    -------
    Staged
        Counts; ``out`` has one row a record: ``row, line, lines, raw, problem``, wanted texts.

    Raises
    ------
    DataError
        If the file cannot be read to its end, lacks a column, is empty, or kills the child.
    """
    request = {
        "path": str(path.absolute()),
        "dialect": dialect.model_dump(),
        "wanted": wanted,
        "first_row": first_row,
        "out": str(out.absolute()),
    }
    child = subprocess.run(
        [sys.executable, "-m", "features.staging"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
        check=False,
    )
    if child.returncode != 0:
        out.unlink(missing_ok=True)
        tail = child.stderr.strip().splitlines()[-1:] or ["no message"]
        raise DataError(
            f"{path}: the reading process ended with code {child.returncode} ({tail[0]}); "
            "the file is set aside untouched, nothing was loaded from it"
        )
    reply = json.loads(child.stdout)
    if "error" in reply:
        out.unlink(missing_ok=True)
        raise DataError(reply["error"])
    staged = Staged(**reply)
    if (staged.lines, staged.bytes) != (staged.independent_lines, staged.independent_bytes):
        raise DataError(
            f"{path}: {staged.lines} lines and {staged.bytes} bytes were staged, an independent "
            f"reader finds {staged.independent_lines} and {staged.independent_bytes}; "
            "the file changed while it was read, or the reader lost rows: load it again"
        )
    return staged


class _Lines:
    """Physical lines for ``csv.reader`` that can be taken back, and a limit on one record."""

    def __init__(self, lines: Iterator[bytes], encoding: str) -> None:
        self._lines, self._encoding = lines, encoding
        self._back: list[bytes] = []
        self.taken: list[bytes] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if len(self.taken) >= MAX_RECORD_LINES:
            raise csv.Error(f"a quote is not closed within {MAX_RECORD_LINES} lines")
        line = self._back.pop() if self._back else next(self._lines)
        self.taken.append(line)
        if len(line) > MAX_RECORD_BYTES:
            raise csv.Error(f"longer than {MAX_RECORD_BYTES} bytes")
        if b"\0" in line:
            raise csv.Error("holds a NUL byte")
        return line.decode(self._encoding).removeprefix("\ufeff")

    def give_back_all_but_first(self) -> bytes:
        first, *rest = self.taken
        self._back.extend(reversed(rest))
        self.taken = []
        return first

    def take(self) -> tuple[bytes, int]:
        raw, count = b"".join(self.taken), len(self.taken)
        self.taken = []
        return raw, count


def _split(
    lines: _Lines, delimiter: str, width: int | None
) -> Iterator[tuple[list[str], str, bytes, int]]:
    """Yield ``(fields, problem, raw, lines)``; a record that does not split costs one line only."""
    while True:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                if fields and width is not None and len(fields) != width and len(lines.taken) > 1:
                    # Two stray quotes glued lines together: let the lines speak for themselves.
                    raise csv.Error(
                        f"{len(fields)} fields over {len(lines.taken)} lines, expected {width}"
                    )
                problem = ""
                if not fields:
                    problem = BLANK
                elif width is None:
                    width = len(fields)
                elif len(fields) != width:
                    problem = f"{len(fields)} fields, expected {width}"
                raw, count = lines.take()
                yield fields, problem, raw, count
            return
        except UnicodeDecodeError:
            # Keep what stood before the unreadable line: only that first line is set aside.
            yield [], "not in the declared encoding", lines.give_back_all_but_first(), 1
        except csv.Error as error:
            if not lines.taken:
                return
            yield [], f"does not split: {error}", lines.give_back_all_but_first(), 1


def _text_records(
    stream: Iterable[bytes], dialect: Dialect
) -> Iterator[tuple[list[str], str, bytes, int]]:
    return _split(_Lines(iter(stream), dialect.encoding), dialect.delimiter, None)


def _sheet_records(path: Path) -> Iterator[tuple[list[str], str, bytes, int]]:
    """All sheets of a workbook, one after the other; only the first header is passed on."""
    from python_calamine import CalamineError, CalamineWorkbook

    header: list[str] | None = None
    try:
        book = CalamineWorkbook.from_path(str(path))
    except CalamineError as error:
        raise DataError(
            f"{path}: the workbook is cut off or damaged ({error}); copy it again"
        ) from None
    for sheet in book.sheet_names:
        for number, cells in enumerate(book.get_sheet_by_name(sheet).iter_rows()):
            fields = [_cell_text(cell) for cell in cells]
            raw = json.dumps(fields, ensure_ascii=False).encode()
            if not any(fields):
                continue
            if number == 0 and header is not None:
                if fields != header:
                    raise DataError(
                        f"{path}: sheet {sheet!r} has the columns {fields}, the first one "
                        f"{header}; sheets of one table need the same header"
                    )
                yield [], "header", raw, 1
                continue
            header = header or fields
            problem = (
                "" if len(fields) == len(header) else f"{len(fields)} cells, expected {len(header)}"
            )
            yield fields, problem, raw, 1


def _cell_text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, date) and not isinstance(cell, datetime):
        cell = datetime(cell.year, cell.month, cell.day)  # how the reader gives a midnight
    return str(cell)


def _independent_count(path: Path) -> tuple[int, int]:
    """(lines, bytes) by a second way that shares no code with the records above."""
    if path.suffix == ".xlsx":
        return _filled_sheet_rows(path), 0
    lines = size = 0
    last = b"\n"
    with path.open("rb") as stream:
        unpack = zlib.decompressobj(wbits=31) if path.suffix == ".gz" else None
        while chunk := stream.read(1 << 20):
            while chunk:
                data = unpack.decompress(chunk) if unpack else chunk
                chunk = b""
                if unpack and unpack.eof and unpack.unused_data:
                    chunk, unpack = unpack.unused_data, zlib.decompressobj(wbits=31)
                lines += data.count(b"\n")
                size += len(data)
                last = data[-1:] or last
    return lines + (last != b"\n"), size


def _filled_sheet_rows(path: Path) -> int:
    rows = 0
    state = {"filled": False}

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal rows
        if tag == "row":
            state["filled"] = False
        elif tag in ("v", "t") and not state["filled"]:
            state["filled"] = True
            rows += 1

    with ZipFile(path) as book:
        for name in book.namelist():
            if name.startswith("xl/worksheets/sheet"):
                parser = expat.ParserCreate()
                parser.StartElementHandler = start
                with book.open(name) as sheet:
                    parser.ParseFile(sheet)
    return rows


def _write(request: dict[str, Any]) -> dict[str, Any]:
    path, wanted = Path(request["path"]), request["wanted"]
    dialect = Dialect(**request["dialect"])
    excel = path.suffix == ".xlsx"
    counts = {"records": 0, "lines": 0, "bytes": 0, "header_lines": 0}
    schema = pa.schema(
        [("row", pa.int64()), ("line", pa.int64()), ("lines", pa.int32()), ("raw", pa.binary()),
         ("problem", pa.string()), *[(name, pa.string()) for name in wanted]]
    )  # fmt: skip
    stream: BufferedIOBase | None = None
    if not excel:
        stream = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115
    records = _sheet_records(path) if stream is None else _text_records(stream, dialect)
    writer = pq.ParquetWriter(request["out"], schema, compression="zstd", compression_level=1)
    batch: list[tuple[Any, ...]] = []
    places: list[int] = []

    def flush() -> None:
        if batch:
            columns = [
                pa.array(v, t) for v, t in zip(zip(*batch, strict=True), schema.types, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            batch.clear()

    with stream or nullcontext(), writer:
        header: list[str] = []
        for fields, problem, raw, lines in records:
            line = counts["lines"] + 1
            counts["lines"] += lines
            counts["bytes"] += 0 if excel else len(raw)
            if problem == "header" or (not header and problem == BLANK):
                counts["header_lines"] += lines
                continue
            if not header:
                header = [name.lstrip("\ufeff").strip() for name in fields]
                places = _places(path, header, problem, wanted)
                counts["header_lines"] += lines
                continue
            values = [fields[i] for i in places] if not problem else [None] * len(places)
            row = request["first_row"] + counts["records"]
            batch.append((row, line, lines, raw, problem or None, *values))
            counts["records"] += 1
            if len(batch) >= BATCH:
                flush()
        if not header:
            raise DataError(f"{path}: the file is empty; expected a header line and records")
        if not counts["records"]:
            raise DataError(f"{path}: a header but no record; export the file again")
        flush()
    lines, size = _independent_count(path)
    return {"file": path.name, "independent_lines": lines, "independent_bytes": size, **counts}


def _places(path: Path, header: list[str], problem: str, wanted: dict[str, str]) -> list[int]:
    if problem:
        raise DataError(f"{path}: line 1: the header {problem}")
    problems = []
    for name in wanted.values():
        if header.count(name) == 1:
            continue
        if name in header:
            problems.append(f"column {name!r} stands {header.count(name)} times")
            continue
        near = difflib.get_close_matches(name, header, n=1, cutoff=0.5)
        hint = f"; did {near[0]!r} replace it?" if near else ""
        problems.append(f"column {name!r} is missing{hint}")
    if problems:
        remedy = f"the file has {header}; map the new names in the source's YAML"
        raise DataError.listing(f"{path}: {len(problems)} column problem(s); {remedy}", problems)
    return [header.index(name) for name in wanted.values()]


def main() -> None:
    """Child process: a request on standard input, a JSON reply on standard output."""
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY, CHILD_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CHILD_CPU_SECONDS, CHILD_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path = request["path"]
    try:
        reply = _write(request)
    except DataError as error:
        reply = {"error": str(error)}
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reply = {"error": f"{path}: the gzip file is cut off or damaged ({error}); copy it again"}
    except BadZipFile as error:
        reply = {"error": f"{path}: the workbook is cut off or damaged ({error}); copy it again"}
    except (OSError, UnicodeError, LookupError, ValueError, expat.ExpatError) as error:
        reply = {"error": f"{path}: cannot be read: {type(error).__name__}: {error}"}
    except MemoryError:
        reply = {"error": f"{path}: reading it takes more than {CHILD_MEMORY >> 30} GiB of memory"}
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()
