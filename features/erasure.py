"""Erasing a customer: out of all that was made of the source, and kept out of what will be made.

A tombstone is the customer's internal number, a keyed hash of the source's own: it says nothing
without the key, and the source's number is written nowhere. Builds filter every record of an erased
customer, and every quarantined record that names one. What lies outside the store (raw files, the
database behind a source, model versions in the registry) is not ours to change: it is named.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import ibis
import ibis.expr.types as ir

from features import columns as c
from features.feeds import OTHER_REF, REF
from features.identity import customer_ids, customer_key
from features.records import ACCEPTED, DISPOSITION, QUARANTINED
from features.settings import Workspace
from features.sources import Source, find_files, raw_paths
from features.store import MANIFEST, write_synced
from features.traces import WORD, naming, said_lines

ERASED, EXPIRED = "erased", "older than is retained"


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


def clear(place: Workspace, ref: str, number: int) -> list[tuple[str, int]]:
    """Remove from the store every published folder and file that names the customer."""
    held: dict[Path, int] = {}
    for path, count in naming(place, ref, number):
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
    elsewhere = [(path.name, lines) for path in files if (lines := said_lines(path, ref))]
    left = sorted({str(path) for path, _ in naming(place, ref, number)})
    return Receipt(tuple(removed), tuple(elsewhere), tuple(left))


def without_erased(records: ir.Table, source: str, key: bytes, erased: frozenset[int]) -> ir.Table:
    """Disposed records, those of erased customers filtered.

    By their own number or the other's, and in quarantine also where the raw bytes name one, in any
    table: of a file that feeds several, a line is set aside by each that cannot take it.
    """
    gone = ibis.literal(False)
    for ref in (REF, OTHER_REF):
        if ref in records.columns:
            refs = records.select(ref).distinct().to_pyarrow()[ref].drop_null().to_pylist()
            ids = customer_ids(source, refs, key)
            theirs = sorted(ref for ref in refs if ids[ref] in erased)
            gone = gone | records[ref].isin(theirs).fill_null(False)
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
