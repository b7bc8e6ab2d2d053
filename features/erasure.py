"""Erasing a customer: out of all that was made of the source, and kept out of what will be made.

A tombstone is the customer's internal number, a keyed hash of the source's own: it says nothing
without the key, and the source's number is written nowhere. Builds filter every record of an erased
customer, and every quarantined record that names one. What lies outside the store (raw files, the
database behind a source, model versions in the registry) is not ours to change: it is named.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.errors import DataError
from features.feeds import OTHER_REF, REF
from features.identity import customer_ids, customer_key
from features.links import SOURCE_ID
from features.raw_files import kind_of, physical_lines
from features.records import ACCEPTED, DISPOSITION, QUARANTINED
from features.settings import Workspace
from features.sources import Source, find_files, raw_paths
from features.store import MANIFEST, current, write_synced

ERASED, EXPIRED = "erased", "older than is retained"
WORD = re.compile(rb"[0-9A-Za-z_-]+")
TELLING = 5
"""Letters of a number that stands for nothing else by chance."""


@dataclass(frozen=True)
class Receipt:
    """What an erasure removed, what it leaves to others, and what it still finds."""

    removed: tuple[tuple[str, int], ...]
    """Folder or file of the store, and how many records of the customer it held."""
    elsewhere: tuple[tuple[str, str], ...]
    """Raw file and the lines that name the customer: for their owner to erase."""
    left: tuple[str, ...]
    """Files of the store that still name the customer; empty where the erasure is complete."""


def tombstones(place: Workspace, source: str) -> frozenset[int]:
    """Internal numbers of the customers of ``source`` that were erased."""
    path = _tombstones(place, source)
    return frozenset(json.loads(path.read_text())) if path.is_file() else frozenset()


def bury(place: Workspace, source: Source, ref: str) -> int:
    """Add the tombstone of the customer whose number in the source is ``ref``; return theirs."""
    number = customer_ids(source.name, [ref], customer_key(place.keys))[ref]
    path = _tombstones(place, source.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    private = path.with_name(f".{path.name}-{os.getpid()}")
    write_synced(private, json.dumps(sorted(tombstones(place, source.name) | {number})).encode())
    private.replace(path)
    return number


def linked_refs(place: Workspace, source: Source, ref: str) -> list[str]:
    """Further numbers of the same person in the source, as the last build knows them."""
    built = current(place.store / "tables" / source.name)
    if built is None:
        return []
    links = pq.read_table(built.folder / "links.parquet", columns=[SOURCE_ID, c.CUSTOMER])
    owners = dict(zip(links[SOURCE_ID].to_pylist(), links[c.CUSTOMER].to_pylist(), strict=True))
    return sorted(k for k, owner in owners.items() if owner == owners.get(ref) and k != ref)


def clear(place: Workspace, ref: str, number: int) -> list[tuple[str, int]]:
    """Remove from the store every published folder and file that names the customer."""
    held: dict[Path, int] = {}
    for path, count in _naming(place, ref, number):
        folder = next((p for p in path.parents if (p / MANIFEST).is_file()), None)
        held[folder or path] = held.get(folder or path, 0) + count
    for path in held:
        _remove(path)
    return [(path.relative_to(place.store).as_posix(), n) for path, n in sorted(held.items())]


def receipt(
    place: Workspace, source: Source, folder: Path | None, ref: str, number: int,
    removed: Iterable[tuple[str, int]],
) -> Receipt:  # fmt: skip
    """Look for the customer once more, in the store and in the raw files below ``folder``."""
    files = [] if folder is None else raw_paths(find_files(source, folder))
    elsewhere = [(path.name, lines) for path in files if (lines := _lines_naming(path, ref))]
    left = sorted({str(path) for path, _ in _naming(place, ref, number)})
    return Receipt(tuple(removed), tuple(elsewhere), tuple(left))


def without_erased(records: ir.Table, source: str, key: bytes, erased: frozenset[int]) -> ir.Table:
    """Disposed records, those of erased customers filtered.

    By their own number or the other's, and in quarantine also where the raw bytes name one.
    """
    gone = ibis.literal(False)
    for ref in (REF, OTHER_REF):
        if ref in records.columns:
            refs = records.select(ref).distinct().to_pyarrow()[ref].drop_null().to_pylist()
            ids = customer_ids(source, refs, key)
            theirs = sorted(ref for ref in refs if ids[ref] in erased)
            gone = gone | records[ref].isin(theirs).fill_null(False)
    if REF in records.columns:
        aside = records.filter(records[DISPOSITION].startswith(QUARANTINED))
        rows = aside.select("_row", "_raw").to_pyarrow().to_pylist()
        named = [r["_row"] for r in rows if _names_erased(r["_raw"], source, key, erased)]
        gone = gone | records["_row"].isin(named)
    return records.mutate(
        **{DISPOSITION: ibis.ifelse(gone, f"filtered:{ERASED}", records[DISPOSITION])}
    )


def expiry(accepted: Sequence[ir.Table], days: int) -> datetime | None:
    """The moment before which rows of a table are older than ``days``, seen from its last row."""
    lasts = [part[c.EVENT_TIME].max().to_pyarrow().as_py() for part in accepted]
    known = [last for last in lasts if last is not None]
    return max(known) - timedelta(days=days) if known else None


def expired(records: ir.Table, until: datetime | None) -> ir.Table:
    """Disposed records, those of before ``until`` filtered."""
    old = (records[DISPOSITION] == ACCEPTED) & (records[c.EVENT_TIME] < ibis.literal(until))
    return records.mutate(
        **{
            DISPOSITION: ibis.ifelse(
                old.fill_null(False), f"filtered:{EXPIRED}", records[DISPOSITION]
            )
        }
    )


def _names_erased(raw: bytes, source: str, key: bytes, erased: frozenset[int]) -> bool:
    words = {word.decode() for word in WORD.findall(raw)}
    return not erased.isdisjoint(customer_ids(source, words, key).values())


def _tombstones(place: Workspace, source: str) -> Path:
    return place.registry / ERASED / f"{source}.json"


def _remove(path: Path) -> None:
    if path.is_dir():
        (path / MANIFEST).unlink()  # first of all: a folder without it is none
        for inner in sorted(path.rglob("*"), reverse=True):
            inner.rmdir() if inner.is_dir() else inner.unlink()
        path.rmdir()
    else:
        path.unlink()


def _naming(place: Workspace, ref: str, number: int) -> Iterator[tuple[Path, int]]:
    """Files of the store that name the customer, and how often."""
    simulated = place.store / "simulated"  # raw files, though made here: nobody's own
    files = sorted(p for p in place.store.rglob("*") if p.is_file())
    for path in (p for p in files if simulated not in p.parents):
        count = _rows_of(path, ref, number) if path.suffix == ".parquet" else _words_of(
            path, ref, number
        )  # fmt: skip
        if count:
            yield path, count


def _rows_of(path: Path, ref: str, number: int) -> int:
    """Rows of a Parquet file that belong to the customer."""
    found = 0
    table = pq.read_table(path)
    for name in table.column_names:
        column = table[name]
        if name in (c.CUSTOMER, c.OTHER, c.ACCOUNT) and pa.types.is_int64(column.type):
            found += pc.sum(pc.equal(column, number)).as_py() or 0
        elif name == SOURCE_ID and pa.types.is_string(column.type):
            found += pc.sum(pc.equal(column, ref)).as_py() or 0
        elif name == "raw" and pa.types.is_binary(column.type):
            found += sum(ref.encode() in WORD.findall(raw) for raw in column.to_pylist())
    return found


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


def _lines_naming(path: Path, ref: str) -> str:
    """Numbers of the lines that name the customer; the first ten."""
    if kind_of(path) in ("sheet", "parquet"):
        return "not looked into: packed columns"
    lines = [n for n, line in enumerate(physical_lines(path), 1)
             if ref.encode() in WORD.findall(line)]  # fmt: skip
    shown = ", ".join(map(str, lines[:10]))
    return f"lines {shown}{f' and {len(lines) - 10} more' if len(lines) > 10 else ''}" * bool(lines)


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
