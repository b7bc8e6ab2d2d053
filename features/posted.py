"""Rows of canonical tables as a request brings them: checked, and turned into columns.

Every problem is named by table, row (the first is 0) and column; no error repeats what was posted,
since it may be personal and errors reach logs.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from features import columns as c
from features.canonical import CANONICAL
from features.errors import DataError

MAX_ROWS = 5_000
"""Rows of all tables of one history."""
MAX_HISTORIES = 1_000
MAX_TEXT = 10_000
"""Characters of one text."""
OURS = (c.CUSTOMER, c.ROW)
"""Columns that are not posted: whose rows they are, and their place in the list."""
EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)

Rows = Sequence[Mapping[str, Any]]
History = Mapping[str, Rows]
"""Rows of canonical tables by the table's name, all of one customer."""
Columns = dict[str, dict[str, list[Any]]]
"""Values by table and column."""


def read_histories(
    schemas: Mapping[str, pa.Schema], histories: Sequence[History], reference: History
) -> Columns:
    """Columns of the posted tables that have rows."""
    if not 1 <= len(histories) <= MAX_HISTORIES:
        raise DataError(f"{len(histories)} histories; from 1 to {MAX_HISTORIES} can be asked")
    tables: Columns = {}
    problems: list[str] = []
    for number, history in enumerate(histories):
        where = f"history {number}, " if len(histories) > 1 else ""
        _add(schemas, tables, history, -1 - number, where, problems)
    _add(schemas, tables, reference, None, "reference, ", problems)
    if problems:
        raise DataError.listing("the posted rows cannot be read", problems[:20])
    return tables


def _add(
    schemas: Mapping[str, pa.Schema],
    tables: Columns,
    history: History,
    owner: int | None,
    where: str,
    problems: list[str],
) -> None:
    known = [n for n, schema in schemas.items() if (c.CUSTOMER in schema.names) == bool(owner)]
    if not isinstance(history, Mapping):
        problems.append(f"{where}a history is a mapping of table names to rows")
        return
    lists = {name: rows for name, rows in history.items() if isinstance(rows, list | tuple)}
    for name in history:
        if name not in known:
            problems.append(f"{where}a table that is not known: expected one of {known}")
        elif name not in lists:
            problems.append(f"{where}table {name}: expected a list of rows")
    total = sum(len(rows) for rows in lists.values())
    if total > MAX_ROWS:
        problems.append(f"{where}{total} rows; at most {MAX_ROWS} can be posted")
    if problems:
        return
    for name, rows in lists.items():
        if rows:
            schema = schemas[name]
            columns = tables.setdefault(name, {field.name: [] for field in schema})
            _add_rows(columns, schema, rows, owner, f"{where}table {name}", problems)


def _add_rows(
    columns: dict[str, list[Any]],
    schema: pa.Schema,
    rows: Iterable[Mapping[str, Any]],
    owner: int | None,
    where: str,
    problems: list[str],
) -> None:
    name = where.rsplit(" ", 1)[-1]
    required = {k.name for k in CANONICAL[name].columns if k.required}
    readers = [
        (field.name, columns[field.name].append, _READ[field.type], field.name in required)
        for field in schema
        if field.name not in OURS
    ]
    known = {reader[0] for reader in readers}
    start = len(columns[c.ROW])
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            problems.append(f"{where}, row {number}: expected a mapping of columns to values")
            continue
        unknown = [key for key in row if key not in known]
        if unknown:
            problems.append(
                f"{where}, row {number}: {len(unknown)} unknown column(s); known are "
                f"{', '.join(sorted(known))}"
            )
        for column, add, read, needed in readers:
            value = row.get(column)
            if value is None:
                if needed:
                    problems.append(f"{where}, row {number}, column {column}: a value is required")
            else:
                try:
                    value = read(value)
                except (TypeError, ValueError) as error:
                    problems.append(f"{where}, row {number}, column {column}: {error}")
            add(value)
        if len(problems) > 20:
            return
    count = len(columns[readers[0][0]]) - start
    columns[c.ROW].extend(range(start, start + count))
    if owner is not None:
        columns[c.CUSTOMER].extend([owner] * count)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("expected an integer")
    if not -(2**63) <= value < 2**63:
        raise ValueError("the integer does not fit 64 bits")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError("expected a number")
    if not math.isfinite(value) or abs(value) > 1e15:
        raise ValueError("expected a number within 1e15 of zero")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    if len(value) > MAX_TEXT or "\0" in value:
        raise ValueError(f"expected at most {MAX_TEXT} characters, none of them zero")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("expected text without lone surrogates") from None
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def microseconds(value: Any) -> int:
    """A moment without a zone, as a ``datetime`` or ISO text, as microseconds since 1970."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, datetime) or value.tzinfo is not None:
        raise TypeError("expected a moment without a zone, such as 2025-06-30T12:00:00")
    return (value - EPOCH) // MICROSECOND


_READ: dict[pa.DataType, Callable[[Any], Any]] = {
    pa.int64(): _integer,
    pa.float64(): _number,
    pa.string(): _text,
    pa.bool_(): _flag,
    pa.timestamp("us"): microseconds,
}
