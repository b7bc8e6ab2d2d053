"""How the records of a raw file are told apart: delimited text, JSON Lines, workbooks, Parquet.

Each reader yields the texts of the wanted columns, record by record, and sets aside what it cannot
read with its bytes and the reason. They run in the guarded child process of
:mod:`features.staging` and nowhere else.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from features.cells import parquet_records, sheet_records
from features.errors import DataError
from features.raw_files import (
    BLANK,
    MAX_RECORD_BYTES,
    MAX_RECORD_LINES,
    Dialect,
    Record,
    delimiter_of,
    header_names,
    kind_of,
    physical_lines,
    places_of,
    see_columns,
    text_of,
)


def records(path: Path, dialect: Dialect, wanted: Sequence[str]) -> Iterator[Record]:
    """The records of ``path``, with the texts of the columns ``wanted``.

    Raises
    ------
    DataError
        If a column is missing or stands twice, or the file is damaged as a whole.
    """
    kind = kind_of(path)
    if kind in ("sheet", "parquet") and path.suffix == ".gz":
        raise DataError(f"{path}: {kind} files are packed already; unpack the .gz around it")
    if kind == "sheet":
        return sheet_records(path, wanted)
    if kind == "parquet":
        return parquet_records(path, wanted)
    if kind == "json":
        return _json_records(path, dialect, wanted)
    return _text_records(path, dialect, wanted)


# --- delimited text -------------------------------------------------------------------------------


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


Split = tuple[list[str], str, bytes, int]
"""Fields, problem, raw bytes and number of lines of a record."""


def split(lines: Iterable[bytes], dialect: Dialect, delimiter: str) -> Iterator[Split]:
    """All fields of each record; a record that does not split costs one line only."""
    taken, width = _Lines(iter(lines), dialect.encoding), None
    while True:
        reader = csv.reader(taken, delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                if fields and width is not None and len(fields) != width and len(taken.taken) > 1:
                    # Two stray quotes glued lines together: let the lines speak for themselves.
                    raise csv.Error(
                        f"{len(fields)} fields over {len(taken.taken)} lines, expected {width}"
                    )
                problem = ""
                if not fields:
                    problem = BLANK
                elif width is None:
                    width = len(fields)
                elif len(fields) != width:
                    problem = f"{len(fields)} fields, expected {width}"
                raw, count = taken.take()
                yield fields, problem, raw, count
            return
        except UnicodeDecodeError:
            # Keep what stood before the unreadable line: only that first line is set aside.
            yield [], "not in the declared encoding", taken.give_back_all_but_first(), 1
        except csv.Error as error:
            if not taken.taken:
                return
            yield [], f"does not split: {error}", taken.give_back_all_but_first(), 1


def _text_records(path: Path, dialect: Dialect, wanted: Sequence[str]) -> Iterator[Record]:
    found = split(physical_lines(path), dialect, delimiter_of(path, dialect))
    for fields, problem, raw, lines in found:
        yield Record(header_names(fields), problem, raw, lines, header=True)
        if problem != BLANK:
            places = places_of(path, fields, problem, wanted)
            break
    for fields, problem, raw, lines in found:
        values = [] if problem else [fields[place] for place in places]
        yield Record(values, problem, raw, lines)


# --- JSON Lines -----------------------------------------------------------------------------------


def _json_records(path: Path, dialect: Dialect, wanted: Sequence[str]) -> Iterator[Record]:
    """An object a line; ``a.b`` is field ``b`` of the object ``a``, numbers stay as written."""
    seen: dict[str, None] = {}
    for raw in physical_lines(path):
        if not raw.strip():
            yield Record([], BLANK, raw)
            continue
        try:
            values = json_object(raw, dialect.encoding)
        except ValueError as error:
            yield Record([], str(error), raw)
            continue
        seen |= dict.fromkeys(values)
        yield Record([values.get(name) for name in wanted], "", raw)
    if seen:  # without any record the file is refused anyway
        see_columns(path, list(seen), wanted)
        yield Record(list(seen), "", b"", 0, header=True)


def json_object(raw: bytes, encoding: str) -> dict[str, str | None]:
    """Fields of the object in ``raw`` as texts; ValueError says what is wrong with it."""
    if len(raw) > MAX_RECORD_BYTES:
        raise ValueError(f"longer than {MAX_RECORD_BYTES} bytes")
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise ValueError("not in the declared encoding") from None
    fields: dict[str, str | None] = {}
    try:
        value = json.loads(
            text, parse_int=str, parse_float=str, parse_constant=_refused, object_pairs_hook=_once
        )
        if not isinstance(value, dict):
            raise ValueError("no JSON object")
        _flatten(value, "", fields)
        "".join(text for text in fields.values() if text).encode()
    except RecursionError:
        raise ValueError("no JSON object: nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("no JSON object: half a character") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON object: {error.msg}") from None
    return fields


def _refused(word: str) -> None:
    raise ValueError(f"no JSON object: {word}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("no JSON object: a key stands twice")
    return found


def _flatten(value: dict[str, Any], stem: str, fields: dict[str, str | None]) -> None:
    for name, inner in value.items():
        if isinstance(inner, dict):
            _flatten(inner, f"{stem}{name}.", fields)
        elif stem + name in fields:
            raise ValueError("no JSON object: a key stands twice")
        else:
            fields[stem + name] = text_of(inner)
