"""Raw files: what kind one is, its lines, its records, and typed values as texts."""

import difflib
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from features.errors import DataError
from features.settings import Strict

MAX_RECORD_LINES = 20
MAX_RECORD_BYTES = 1_000_000
MAX_LINE_BYTES = 64 << 20
"""A longer line is no line: the file is refused."""
LIKELY_BYTES = 1 << 30
"""Packed files may unpack to so much, or to ``MAX_RATIO`` times their size."""
MAX_RATIO = 200
BLANK = "blank line"
KINDS = {".xlsx": "sheet", ".parquet": "parquet", ".jsonl": "json", ".ndjson": "json"}
TABBED = (".tsv", ".tab")


class Dialect(Strict):
    """How the records of a text file are written."""

    delimiter: str | None = None
    """None: a tab in ``.tsv`` and ``.tab`` files, else a comma."""
    encoding: str = "utf-8"


class Record(NamedTuple):
    """One record of a file, or its header."""

    values: Sequence[str | None]
    """Texts of the wanted columns; none where there is a problem. Of a header all its names."""
    problem: str
    raw: bytes
    lines: int = 1
    header: bool = False


def kind_of(path: Path) -> str:
    """``text``, ``json``, ``sheet`` or ``parquet``, by the name of the file."""
    return KINDS.get(_unpacked(path).suffix.lower(), "text")


def delimiter_of(path: Path, dialect: Dialect) -> str:
    """The declared delimiter, or what the name of the file says."""
    if dialect.delimiter is not None:
        return dialect.delimiter
    return "\t" if _unpacked(path).suffix.lower() in TABBED else ","


def physical_lines(path: Path) -> Iterator[bytes]:
    """The lines of a text file, unpacked where its name ends in ``.gz``.

    Raises
    ------
    DataError
        If a line or what is unpacked is too large to be what it says it is.
    """
    packed = path.suffix == ".gz"
    with gzip.open(path, "rb") if packed else path.open("rb") as stream:
        lines: Iterator[bytes] = iter(partial(stream.readline, MAX_LINE_BYTES), b"")
        for line in _metered(lines, path) if packed else lines:
            if len(line) == MAX_LINE_BYTES:
                raise DataError(
                    f"{path}: a line is longer than {MAX_LINE_BYTES >> 20} MiB: this is no file of "
                    "records; export it again with one record a line"
                )
            yield line


def _metered(lines: Iterator[bytes], path: Path) -> Iterator[bytes]:
    most = max(LIKELY_BYTES, MAX_RATIO * path.stat().st_size)
    size = 0
    for line in lines:
        size += len(line)
        if size > most:
            raise DataError(
                f"{path}: unpacks to more than {most} bytes, over {MAX_RATIO} times its size: "
                "taken for a zip bomb; unpack it yourself if it is none"
            )
        yield line


def header_names(fields: Iterable[str | None]) -> list[str]:
    """The names in a header, without marks and padding."""
    return [(name or "").lstrip("\ufeff").strip() for name in fields]


def places_of(
    path: Path, fields: Iterable[str | None], problem: str, wanted: Sequence[str]
) -> list[int]:
    """Where the columns ``wanted`` stand in the header with ``fields``.

    Raises
    ------
    DataError
        If the header cannot be read, or a column is not there or there twice.
    """
    if problem:
        raise DataError(f"{path}: line 1: the header {problem}")
    header = header_names(fields)
    see_columns(path, header, wanted)
    return [header.index(name) for name in wanted]


def see_columns(path: object, header: list[str], wanted: Sequence[str]) -> None:
    """Refuse a file or table at ``path`` that lacks a wanted column or has it twice.

    Raises
    ------
    DataError
        All columns at fault, each with the near name that may have taken its place.
    """
    problems = []
    for name in wanted:
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


def text_of(value: Any) -> str | None:
    """A typed value as the text that a file would hold; None where there is none.

    Whole floats lose their point, days are midnights, and moments with an offset are told in UTC.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return None if value != value else str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return str(value if value.tzinfo is None else value.astimezone(UTC))
    if isinstance(value, date):
        return str(datetime(value.year, value.month, value.day))
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode()
    return as_json(value) if isinstance(value, list | dict) else str(value)


def as_json(value: Any) -> str:
    """``value`` as JSON; what JSON does not know as its text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _unpacked(path: Path) -> Path:
    return path.with_suffix("") if path.suffix == ".gz" else path
