"""The account of a table: each record that was read is in exactly one place.

``seen = accepted + quarantined + duplicates + filtered``, each by reason, and so for the physical
lines; what is quarantined is kept with its place and its bytes.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from features.errors import DataError
from features.records import DISPOSITION, QUARANTINED
from features.staging import Staged

KINDS = ("accepted", "quarantined", "duplicate", "filtered")
AGAIN = "the same file again"
QUARANTINE = pa.schema(
    [("table", pa.string()), ("row", pa.int64()), ("file", pa.string()), ("line", pa.int64()),
     ("lines", pa.int32()), ("raw", pa.binary()), ("reason", pa.string()),
     ("rule_version", pa.string())]
)  # fmt: skip


def balanced(
    where: str,
    records: Sequence[ir.Table],
    staged: Iterable[Staged],
    again: Iterable[Staged] = (),
) -> dict[str, Any]:
    """The account of all ``records`` of a table.

    Parameters
    ----------
    staged
        The files of ``records``.
    again
        Files that hold what one of those holds, byte by byte: all their records are duplicates.

    Returns
    -------
    dict
        ``seen``, ``totals`` by disposition and ``account`` by disposition and reason.

    Raises
    ------
    DataError
        If records or physical lines do not add up to what was staged.
    """
    parts = [table.select(DISPOSITION, "_lines") for table in records]
    both = ibis.union(*parts) if len(parts) > 1 else parts[0]
    rows = both.aggregate(
        by=[both[DISPOSITION]], n=both.count(), n_lines=both["_lines"].sum()
    ).to_pyarrow().to_pylist()  # fmt: skip
    account: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    for row in sorted(rows, key=lambda row: str(row[DISPOSITION])):
        kind, _, reason = row[DISPOSITION].partition(":")
        account[kind][reason or "all rules passed"] = row["n"]
    seen = lines = 0
    disposed = sum(row["n_lines"] for row in rows)
    for counts in again:
        account["duplicate"][AGAIN] = account["duplicate"].get(AGAIN, 0) + counts.records
        seen += counts.records
    totals = {kind: sum(reasons.values()) for kind, reasons in account.items()}
    for counts in staged:
        seen += counts.records
        lines += counts.independent_lines - counts.header_lines
    if sum(totals.values()) != seen or disposed != lines:
        raise DataError(
            f"{where}: the account does not balance: {seen} records on {lines} lines seen, "
            f"{totals} on {disposed} lines disposed; nothing was published"
        )
    return {"seen": seen, "totals": totals, "account": account}


def refusal(where: str, found: dict[str, Any], most: float) -> str:
    """Why a table with the account ``found`` is not published; empty where it may be.

    ``most`` is the largest share of records in quarantine.
    """
    seen, totals, account = found["seen"], found["totals"], found["account"]
    share = totals["quarantined"] / seen
    if share > most:
        heading = (
            f"{where}: {totals['quarantined']} of {seen} records ({share:.1%}) would be "
            f"quarantined, max_quarantined_share is {most:.1%}; nothing was published. Reasons"
        )
        shown = sorted(account["quarantined"].items(), key=lambda item: -item[1])
    elif not totals["accepted"]:
        heading = f"{where}: none of {seen} records is accepted"
        shown = list(account.items())
    else:
        return ""
    return str(DataError.listing(heading, [f"{reason}: {n}" for reason, n in shown]))


def added(accounts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The accounts of all tables as one; equal reasons are added."""
    seen, totals = 0, Counter[str](dict.fromkeys(KINDS, 0))
    account: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for found in accounts:
        seen += found["seen"]
        totals.update(found["totals"])
        for kind in KINDS:
            account[kind].update(found["account"][kind])
    return {
        "seen": seen, "totals": dict(totals), "account": {k: dict(v) for k, v in account.items()}
    }  # fmt: skip


def set_aside(name: str, records: ir.Table, first_row: int, version: str) -> pa.Table:
    """The quarantined records of the table ``name``: place, bytes, reason, version of the rules."""
    rows = records.filter(records[DISPOSITION].startswith(QUARANTINED)).order_by("_row")
    return rows.select(
        table=ibis.literal(name),
        row=rows["_row"] + first_row,
        **{column: rows[f"_{column}"] for column in ("file", "line", "lines", "raw")},
        reason=rows[DISPOSITION].substr(len(QUARANTINED)),
        rule_version=ibis.literal(version),
    ).to_pyarrow().cast(QUARANTINE)  # fmt: skip
