"""A sample of a raw file: whole records from all over it, and how they are written.

For :mod:`features.describe`, in the guarded child process. A sample is a file of the same kind, so
what reads a file reads its sample.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.errors import DataError
from features.raw_files import (
    Dialect,
    delimiter_of,
    header_names,
    kind_of,
    physical_lines,
)
from features.readers import json_object, split
from features.settings import Strict

SAMPLE_BYTES = 3 << 20
"""Text to look at; a smaller file is looked at in full."""
BLOCKS = 16
SAMPLE_ROWS = 50_000
SNIFFED_LINES = 300
DELIMITERS = ",;\t|"
MOSTLY = 0.8
"""Share of the lines with other than ASCII letters that an encoding has to read."""


class Sample(Strict):
    """What a file looks like."""

    columns: tuple[str, ...]
    dialect: Dialect
    whole: bool
    """Whether the sample is all of the file."""
    share: float
    """Of the file's bytes (rows of Parquet) that were looked at."""


def draw(request: dict[str, Any]) -> dict[str, Any]:
    """Write the sample of ``request["path"]`` to ``request["out"]``; the reply is a Sample."""
    path, out = Path(request["path"]), Path(request["out"])
    kind, dialect, share = kind_of(path), Dialect(), 1.0
    if kind == "sheet":
        out.write_bytes(path.read_bytes())
        columns = _sheet_columns(path)
    elif kind == "parquet":
        columns, share = _parquet_sample(path, out)
    else:
        lines, share = _sampled_lines(path)
        if not lines:
            raise DataError(f"{path}: the file is empty; expected a header line and records")
        dialect = Dialect(encoding=_encoding(path, lines))
        if kind == "text":
            dialect = dialect.model_copy(update={"delimiter": _delimiter(path, lines, dialect)})
            columns = _header(path, lines, dialect)
        else:
            columns = _keys(path, lines, dialect)
        out.write_bytes(b"".join(lines))
    doubled = sorted(name for name, n in Counter(columns).items() if n > 1 or not name)
    if doubled:
        raise DataError(f"{path}: the columns {doubled} need names of their own in the header")
    found = Sample(columns=tuple(columns), dialect=dialect, whole=share == 1.0, share=share)
    return found.model_dump(mode="json")


def _sampled_lines(path: Path) -> tuple[list[bytes], float]:
    """The head and whole lines of blocks spread evenly; of packed files the head and every n-th."""
    size = path.stat().st_size
    if path.suffix == ".gz":
        return _packed_lines(path)
    if size <= SAMPLE_BYTES:
        return list(physical_lines(path)), 1.0
    block = SAMPLE_BYTES // BLOCKS
    lines: list[bytes] = []
    with path.open("rb") as stream:
        for number in range(BLOCKS):
            stream.seek(number * (size - block) // (BLOCKS - 1))
            whole = stream.read(block).split(b"\n")
            lines += [line + b"\n" for line in whole[1 if number else 0 : -1]]
    if not lines:
        raise DataError(f"{path}: no line ends within {block} bytes: this is no file of records")
    return lines, SAMPLE_BYTES / size


def _packed_lines(path: Path) -> tuple[list[bytes], float]:
    """Runs of lines, ever further apart: what is kept is halved whenever it grows too large."""
    block, every, kept, size = SAMPLE_BYTES // BLOCKS, 1, 0, 0
    runs: list[list[bytes]] = []
    run: list[bytes] = []
    room = number = 0
    for line in physical_lines(path):
        size += len(line)
        run.append(line)
        room += len(line)
        if room < block:
            continue
        if number % every == 0:
            runs.append(run)
        if len(runs) >= 2 * BLOCKS:
            runs, every = runs[::2], 2 * every
        number, run, room = number + 1, [], 0
    if number % every == 0:
        runs.append(run)
    lines = [line for run in runs for line in run]
    kept = sum(map(len, lines))
    return lines, kept / size if size else 1.0


def _encoding(path: Path, lines: Sequence[bytes]) -> str:
    head = lines[0][:4]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[1:2] == b"\0":
        raise DataError(f"{path}: looks like UTF-16; save it as UTF-8")
    odd = [line for line in lines if not line.isascii()]
    # GB 2312 takes no letter for half a character, as its larger successor does.
    for encoding, means in (("utf-8", "utf-8"), ("gb2312", "gb18030"), ("cp1252", "cp1252")):
        if sum(_readable(line, encoding) for line in odd) >= MOSTLY * len(odd):
            return means
    return "latin-1"


def _readable(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(path: Path, lines: Sequence[bytes], dialect: Dialect) -> str:
    """The one that splits most lines into equally many fields, and into more than one."""
    head = [line for line in lines[:SNIFFED_LINES] if line.strip()]
    usual = delimiter_of(path, dialect)
    best, most = usual, (0.0, 0)
    for delimiter in [usual, *(d for d in DELIMITERS if d != usual)]:
        widths = [len(fields) for fields, *_ in split(head, dialect, delimiter) if fields]
        if not widths or widths[0] < 2:
            continue
        score = (round(widths.count(widths[0]) / len(widths), 1), widths[0])
        if score > most:
            best, most = delimiter, score
    return best


def _header(path: Path, lines: Sequence[bytes], dialect: Dialect) -> list[str]:
    found = split((line for line in lines if line.strip()), dialect, delimiter_of(path, dialect))
    fields, problem, *_ = next(found)
    if problem:
        raise DataError(f"{path}: line 1: the header {problem}")
    names = header_names(fields)
    if values := [name for name in names if re.fullmatch(r"[\d.,:/ +-]+", name)]:
        raise DataError(
            f"{path}: the first line holds {values[0]!r}, a value and no name: "
            "write a line with the names of the columns above it"
        )
    return names


def _keys(path: Path, lines: Sequence[bytes], dialect: Dialect) -> list[str]:
    keys: dict[str, None] = {}
    for line in lines:
        try:
            keys |= dict.fromkeys(json_object(line, dialect.encoding))
        except ValueError:
            continue  # counted when the sample is staged
    if not keys:
        raise DataError(f"{path}: no line is a JSON object; expected one object a line")
    return list(keys)


def _sheet_columns(path: Path) -> list[str]:
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_path(str(path))
    for sheet in book.sheet_names:
        for cells in book.get_sheet_by_name(sheet).iter_rows():
            if any(str(cell) for cell in cells):
                return header_names(str(cell) for cell in cells)
    raise DataError(f"{path}: the file is empty; expected a header line and records")


def _parquet_sample(path: Path, out: Path) -> tuple[list[str], float]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows, groups = file.metadata.num_rows, file.metadata.num_row_groups
        chosen = sorted({k * groups // BLOCKS for k in range(BLOCKS)}) if groups else []
        taken = 0
        with pq.ParquetWriter(out, file.schema_arrow) as writer:
            for group in chosen:
                part = file.read_row_group(group).slice(0, SAMPLE_ROWS // max(len(chosen), 1))
                writer.write_table(part)
                taken += part.num_rows
        return file.schema_arrow.empty_table().flatten().column_names, taken / rows if rows else 1.0


def unpacked_name(path: Path) -> str:
    """The name of the sample of ``path``: the same kind, never packed."""
    return path.name.removesuffix(".gz")
