"""Raw files -> valid canonical tables, links, quarantine and an account of every record.

Tables are made one after the other: staged records of each of its feeds are typed and disposed
(:mod:`features.records`), counted (:mod:`features.account`), given customers and written.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from features import columns as c
from features.account import QUARANTINE, added, balanced, refusal, set_aside
from features.canonical import IDENTIFIERS, MERGES
from features.engine import connect
from features.erasure import expired, expiry, without_erased
from features.errors import DataError
from features.feeds import MADE, Feed, amounts
from features.linkage.resolve import Decision, Resolution, resolve
from features.links import SOURCE_ID, Links
from features.netting import netted, valued
from features.quality import MARKS, lineage, marked, repaired, report
from features.records import ACCEPTED, DISPOSITION, disposed
from features.schema import TableSchema, check
from features.settings import code_fingerprint, fingerprint
from features.sheets import Sheet, stage_all
from features.sources import Source

ORDER_FACTS = ("orders", "returns", "returns_netted")
RECORDS = "records_{}"
IBIS = {"timestamp": "timestamp(6)"}
IDENTITY, PAIRS = "identity.json", "pairs.parquet"
"""Files beside the tables: how persons were found, and the pairs that a person may look at."""


@dataclass(frozen=True)
class Records:
    """Typed and disposed records of one feed; its rows follow those of the feeds before it."""

    feed: Feed
    part: str
    sheets: tuple[Sheet, ...]
    again: tuple[Sheet, ...]
    """Files that hold what one of ``sheets`` holds, byte by byte; they are not in ``table``."""
    table: ir.Table
    first_row: int

    @property
    def accepted(self) -> ir.Table:
        """The records that go on."""
        return self.table.filter(self.table[DISPOSITION] == ACCEPTED)


def ingest(
    source: Source,
    files: Mapping[str, list[Path]],
    key: bytes,
    folder: Path,
    last: Path | None = None,
    erased: frozenset[int] = frozenset(),
    weights: Mapping[str, Any] | None = None,
    decisions: Sequence[Decision] = (),
) -> dict[str, Any]:
    """Read ``files``; write each table, ``links`` and ``quarantine`` as Parquet to ``folder``.

    The quality report of :mod:`features.quality` goes beside them.

    Parameters
    ----------
    files
        Feed -> its raw files, as :func:`features.sources.find_files` gives them. A file that feeds
        several tables is read once.
    last
        The folder of the last build, for checks that compare with it.
    erased
        Internal numbers of customers whose records are filtered.
    weights, decisions
        Of who is who, as :func:`features.linkage.resolve.resolve` takes them.

    Returns
    -------
    dict
        The account (records by disposition, over all tables and for each in ``tables``), records
        per file, the spans of both clocks, numbers of customers, orders and returns.

    Raises
    ------
    DataError
        If a file cannot be staged, an account does not balance, too much of a table is
        quarantined, nothing of it is left, or a check of severity ``error`` fails.
    """
    staging = folder / "staged"
    staging.mkdir()
    sheets = stage_all(source.feeds, files, staging)
    _see_currencies(source, sheets)
    backend = connect(folder)
    links, version = Links(source.name, key), rule_version(source)
    tables: dict[str, dict[str, Any]] = {}
    refused, traces = [], []
    with (
        pq.ParquetWriter(folder / "quarantine.parquet", QUARANTINE) as quarantine,
        pq.ParquetWriter(folder / "repaired.parquet", MARKS, compression="zstd") as marks,
    ):
        for name, declared in source.tables.items():
            parts = _records(backend, source, name, sheets)
            parts = _retained(backend, source, name, parts, key, erased)
            where = f"source {source.name}, table {name}"
            counts = [sheet.counts for part in parts for sheet in part.sheets]
            again = [sheet.counts for part in parts for sheet in part.again]
            found = balanced(where, [part.table for part in parts], counts, again)
            most = declared.max_quarantined_share
            most = source.max_quarantined_share if most is None else most
            if problem := refusal(where, found, most):
                refused.append(problem)
            if not refused:
                table, more = _table(backend, source.table_schema(name), parts, links)
                pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
                tables[name] = {**found, **_facts(table, parts), **more}
                marks.write_table(marked(name, parts, tables[name]["repairs"]))
                traces += [trace for part in parts for trace in lineage(name, part)]
                for part in parts:
                    rows = set_aside(name, part.table, part.first_row, version)
                    quarantine.write_table(rows)
            for number in range(len(parts)):
                backend.drop_table(RECORDS.format(number))
    backend.disconnect()
    shutil.rmtree(staging)
    if refused:
        raise DataError("\n".join(refused))
    report(source, folder, tables, traces, last)
    people = links.table()
    made: dict[str, Any] = {}
    if source.identity is not None:
        identifiers = folder / f"{IDENTIFIERS.name}.parquet"
        told = pq.read_table(identifiers)
        persons = resolve(people, told, source.identity, folder, weights, decisions)
        identifiers.unlink()  # who is who is known; what tells it is not kept
        people, made = persons.links, written(persons, folder)
    pq.write_table(people, folder / "links.parquet", compression="zstd")
    distinct = {sheet.path: sheet.counts.model_dump() for held in sheets.values() for sheet in held}
    return {
        **added(tables.values()),
        **_span(tables),
        "customers": people.num_rows,
        **{k: v for k, v in tables.get("order_lines", {}).items() if k in ORDER_FACTS},
        "files": list(distinct.values()),
        "tables": tables,
        "made": made,
    }


def written(found: Resolution, folder: Path) -> dict[str, Any]:
    """Write who is who; return the spans of the tables that were made."""
    (folder / IDENTITY).write_text(json.dumps({**found.facts, "model": found.model}, indent=1))
    pq.write_table(found.pairs, folder / PAIRS, compression="zstd")
    if not found.merges.num_rows:
        return {}
    pq.write_table(found.merges, folder / f"{MERGES.name}.parquet", compression="zstd")
    return {MERGES.name: {"first": pc.min(found.merges[c.EVENT_TIME]).as_py()}}


def _see_currencies(source: Source, sheets: Mapping[str, tuple[Sheet, ...]]) -> None:
    """Refuse amounts beside a column that may say that some of them are in another currency."""
    unseen = {
        (name, column): sheet.name
        for name, table in source.tables.items()
        for part, feed in table.feeds.items()
        if feed.currency is None and amounts(source.table_schema(name), feed)
        for sheet in sheets[f"{name}.{part}" if part else name]
        for column in sheet.counts.currencies
        if column not in feed.reads
    }
    if unseen:
        raise DataError.listing(
            f"source {source.name}: columns that may name the currency of amounts are not declared",
            [
                f"table {name}: {column!r} of {file}; declare `currency: {column}`, and what is in "
                f"another one than {source.currency} is set aside, or `currency: false` where it "
                "says nothing of the amounts"
                for (name, column), file in unseen.items()
            ],
        )


def _records(
    backend: Backend, source: Source, name: str, sheets: Mapping[str, tuple[Sheet, ...]]
) -> list[Records]:
    found: list[Records] = []
    first_row = 0
    for part, feed in source.tables[name].feeds.items():
        held = sheets[f"{name}.{part}" if part else name]
        rows, texts = 0, []
        once = {sheet.counts.sha256: sheet for sheet in reversed(held)}
        again = tuple(sheet for sheet in held if once[sheet.counts.sha256] is not sheet)
        held = tuple(sheet for sheet in held if once[sheet.counts.sha256] is sheet)
        for sheet in held:
            texts.append(staged_texts(backend, sheet, feed, rows))
            rows += sheet.counts.records
        schema = source.table_schema(name)
        typed = disposed(_all(texts), schema, feed, source.time_zone, source.currency)
        # Written out in full before anything is counted: a count alone would skip casts.
        table = backend.create_table(RECORDS.format(len(found)), typed)
        found.append(Records(feed, part, held, again, table, first_row))
        first_row += rows
    return found


def _retained(
    backend: Backend,
    source: Source,
    name: str,
    parts: list[Records],
    key: bytes,
    erased: frozenset[int],
) -> list[Records]:
    """The records of a table without those of erased customers and those kept long enough."""
    if erased:
        rest = [without_erased(part.table, source.name, key, erased) for part in parts]
        parts = [_again(backend, *pair) for pair in zip(parts, rest, strict=True)]
    days = source.tables[name].retain_days
    if days is not None:
        until = expiry([part.accepted for part in parts], days)
        parts = [_again(backend, part, expired(part.table, until)) for part in parts]
    return parts


def _again(backend: Backend, part: Records, table: ir.Table) -> Records:
    """``part`` with the records of ``table``, an expression over its own, in their place."""
    name = part.table.get_name()
    held = backend.create_table("held", table, temp=True, overwrite=True)
    return replace(part, table=backend.create_table(name, held, overwrite=True))


def staged_texts(backend: Backend, sheet: Sheet, feed: Feed, first_row: int) -> ir.Table:
    """What is known of the records of ``sheet``, and the texts that ``feed`` reads of them."""
    staged = backend.read_parquet(sheet.path)
    return staged.select(
        _row=staged.row + first_row, _file=ibis.literal(sheet.name),
        **{f"_{k}": staged[k] for k in ("line", "lines", "raw", "problem")},
        **{f"text:{raw}": staged[sheet.texts[raw]] for raw in feed.reads},
    )  # fmt: skip


def _all(parts: list[ir.Table]) -> ir.Table:
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


def _table(
    backend: Backend, schema: TableSchema, parts: list[Records], links: Links
) -> tuple[pa.Table, dict[str, Any]]:
    """The accepted records of ``parts`` as the canonical table, in its order."""
    numbered = {made: ref for made, ref in MADE.items() if ref and made in schema}
    people: ir.Table | None = None
    if numbered:
        seen = _all([
            part.accepted.select(
                **{SOURCE_ID: part.accepted[ref], c.KNOWN_TIME: part.accepted[part.feed.clock]}
            )
            for part in parts for ref in numbered.values()
        ])  # fmt: skip
        first = seen.group_by(SOURCE_ID).aggregate(**{c.KNOWN_TIME: seen[c.KNOWN_TIME].min()})
        met = first.order_by(SOURCE_ID).to_pyarrow()
        people = backend.create_table("people", links.of(met), overwrite=True)
    rows = _all([_rows(part, schema, people) for part in parts])
    more: dict[str, Any] = {}
    if c.ORDER_REF in schema:
        rows, count = netted(backend, backend.create_table("lines", rows))
        more["returns_netted"] = count
    owner = schema.columns[0].name
    ordered = rows.select(*schema.arrow.names).order_by(owner, c.EVENT_TIME, c.ROW)
    table = ordered.to_pyarrow().cast(schema.arrow)
    check(table, schema.arrow, schema.key, schema.name)
    return table, more


def _rows(part: Records, schema: TableSchema, people: ir.Table | None) -> ir.Table:
    """Accepted records of one feed in the columns of the table; what is not mapped is missing."""
    rows, columns = part.accepted, part.feed.columns
    for made, ref in MADE.items():
        if ref and made in schema and people is not None:
            rows = rows.join(people.select(**{ref: SOURCE_ID, made: c.CUSTOMER}), ref)
    values: dict[str, ir.Value] = {c.ROW: rows["_row"] + part.first_row}
    values[c.KNOWN_TIME] = rows[part.feed.clock]
    for column in schema.columns:
        name, dtype = column.name, column.dtype
        if name in columns or (name in MADE and MADE[name]):
            values.setdefault(name, rows[name].cast(IBIS.get(dtype, dtype)))
        values.setdefault(name, ibis.null(IBIS.get(dtype, dtype)))
    if c.ORDER_REF in schema:
        values |= {c.IS_RETURN: rows[c.IS_RETURN], **valued(rows, part.feed)}
    return rows.select(**values)


def _facts(table: pa.Table, parts: list[Records]) -> dict[str, Any]:
    time = pc.min_max(table[c.EVENT_TIME]).as_py()
    facts: dict[str, Any] = {
        "rows": table.num_rows,
        "first": time["min"],
        "last": time["max"],
        "last_known": pc.max(table[c.KNOWN_TIME]).as_py(),
        "clock": "file" if any(part.feed.dated for part in parts) else "declared",
        "repairs": repaired(parts),
    }
    if c.CUSTOMER in table.column_names:
        facts["customers"] = pc.count_distinct(table[c.CUSTOMER]).as_py()
    if c.IS_RETURN in table.column_names:
        facts["orders"] = pc.count_distinct(table[c.ORDER]).as_py()
        facts["returns"] = pc.sum(table[c.IS_RETURN]).as_py()
    return facts


def _span(tables: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """First and last moment of what happened; of declared dates where nothing else has a clock."""
    dated = [facts for facts in tables.values() if facts["clock"] == "file"]
    spans = dated or list(tables.values())
    return {
        "snapshot": not dated,
        "first": min(facts["first"] for facts in spans),
        "last": max(facts["last"] for facts in spans),
        "last_known": max(facts["last_known"] for facts in spans),
    }


def rule_version(source: Source) -> str:
    """Fingerprint of the rules and of the code that applies them."""
    return fingerprint(source, code_fingerprint("features"))
