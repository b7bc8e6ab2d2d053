"""Where a customer is named: in all that was made of a source, and in its raw files."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.errors import DataError
from features.links import SOURCE_ID
from features.raw_files import kind_of, physical_lines
from features.settings import Workspace
from features.sources import Source
from features.store import current

WORD = re.compile(rb"[0-9A-Za-z_-]+")
TELLING = 5
"""Letters of a number that stands for nothing else by chance."""
SHOWN = 10
"""Of the lines that name a customer, so many are listed."""


def see_ref(ref: str) -> None:
    """Refuse a customer number that is not one word.

    Raises
    ------
    DataError
        If it holds other than letters, digits, ``_`` and ``-``.
    """
    if not WORD.fullmatch(ref.encode()):
        raise DataError(
            f"customer {ref!r}: only numbers of ASCII letters, digits, _ and - can be looked for "
            "in raw lines"
        )


def linked_refs(place: Workspace, source: Source, ref: str) -> list[str]:
    """Further numbers of the same person in the source, as the last build knows them."""
    built = current(place.store / "tables" / source.name)
    if built is None:
        return []
    links = pq.read_table(built.folder / "links.parquet", columns=[SOURCE_ID, c.CUSTOMER])
    owners = dict(zip(links[SOURCE_ID].to_pylist(), links[c.CUSTOMER].to_pylist(), strict=True))
    return sorted(k for k, owner in owners.items() if owner == owners.get(ref) and k != ref)


def naming(place: Workspace, ref: str, number: int) -> Iterator[tuple[Path, int]]:
    """Files of the store that name the customer, and how often."""
    simulated = place.store / "simulated"  # raw files, though made here: nobody's own
    files = sorted(p for p in place.store.rglob("*") if p.is_file())
    for path in (p for p in files if simulated not in p.parents):
        count = (
            len(rows_of(path, ref, number))
            if path.suffix == ".parquet"
            else _words_of(path, ref, number)
        )
        if count:
            yield path, count


def rows_of(path: Path, ref: str, number: int) -> pa.Table:
    """The rows of a Parquet file that belong to the customer."""
    table = pq.read_table(path)
    theirs = np.zeros(len(table), bool)
    for name in table.column_names:
        column = table[name]
        if name in (c.CUSTOMER, c.OTHER, c.ACCOUNT) and pa.types.is_int64(column.type):
            theirs |= pc.equal(column, number).fill_null(False).to_numpy()
        elif name == SOURCE_ID and pa.types.is_string(column.type):
            theirs |= pc.equal(column, ref).fill_null(False).to_numpy()
        elif name == "raw" and pa.types.is_binary(column.type):
            said = (ref.encode() in WORD.findall(raw) for raw in column.to_pylist())
            theirs |= np.fromiter(said, bool, len(table))
    return table.filter(pa.array(theirs))


def _words_of(path: Path, ref: str, number: int) -> int:
    """How often another file names the customer.

    In digits, in the bytes of an array or a database, or, where it is long enough to be told from
    other words, by the source's own number.
    """
    wanted = {str(number).encode(), *([ref.encode()] if len(ref) >= TELLING else [])}
    packed = {number.to_bytes(8, "little"), number.to_bytes(8, "big")}
    lines = physical_lines(path) if path.suffix == ".gz" else iter([path.read_bytes()])
    return sum(
        sum(word in wanted for word in WORD.findall(line)) + sum(map(line.count, packed))
        for line in lines
    )


def lines_of(path: Path, ref: str) -> list[tuple[int, bytes]] | None:
    """Number and bytes of the lines of a raw file that name the customer; None: packed columns."""
    if kind_of(path) in ("sheet", "parquet"):
        return None
    lines = enumerate(physical_lines(path), start=1)
    return [(n, line) for n, line in lines if ref.encode() in WORD.findall(line)]


def said_lines(path: Path, ref: str) -> str:
    """Which lines of a raw file name the customer; empty where none does."""
    found = lines_of(path, ref)
    if found is None:
        return "not looked into: packed columns"
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"lines {', '.join(str(n) for n, _ in found[:SHOWN])}{more}" * bool(found)
