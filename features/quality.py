"""The quality report of a build: what was promised, how full columns are, where rows came from.

Written beside the tables: ``checks.csv``, ``remarks.csv``, ``repairs.csv``, ``repaired.parquet``,
``columns.csv``, ``days.csv``, ``lineage.csv`` and ``quality.html``, a page that shows them.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.checks import Finding, findings
from features.errors import DataError
from features.quality_page import quality_page
from features.records import DISPOSITION, REPAIRED
from features.remarks import Remark, remarks

if TYPE_CHECKING:
    from features.ingest import Records
    from features.sources import Source

Row = dict[str, Any]
PAGE = "quality.html"
FILES: dict[str, tuple[str, ...]] = {
    "checks": Finding._fields,
    "remarks": Remark._fields,
    "repairs": ("table", "column", "by", "records", "repaired"),
    "columns": ("table", "column", "rows", "missing", "missing_share"),
    "days": ("table", "day", "rows"),
    "lineage": (
        "table", "part", "file", "sha256", "bytes", "lines", "header_lines", "records", "accepted",
        "quarantined", "duplicate", "filtered", "first_known", "last_known",
    ),
}  # fmt: skip
"""File of the report -> its columns."""
MARKS = pa.schema([("table", pa.string()), ("column", pa.string()), (c.ROW, pa.int64())])
"""Of ``repaired.parquet``, which marks each value that is not the text of the file."""


def report(
    source: "Source",
    folder: Path,
    tables: Mapping[str, Row],
    traces: Sequence[Row],
    last: Path | None,
) -> None:
    """Measure the tables below ``folder`` and write the report there.

    Parameters
    ----------
    tables
        Facts of each table: account, rows, spans.
    traces
        Rows of :func:`lineage`.
    last
        The folder of the last build, or None.

    Raises
    ------
    DataError
        If checks of severity ``error`` fail: all that failed are named.
    """
    found = [
        finding
        for name, declared in source.tables.items()
        for finding in findings(name, declared.checks, folder, tables, last)
    ]
    if any(finding.stops for finding in found):
        failed = [str(finding) for finding in found if finding.verdict == "failed"]
        heading = f"source {source.name}: {len(failed)} check(s) failed; nothing was published"
        raise DataError.listing(heading, failed)
    rows: dict[str, list[Row]] = {
        "checks": [finding._asdict() for finding in found],
        "remarks": [k._asdict() for name in source.tables for k in remarks(source, folder, name)],
        "repairs": [
            {"table": name, "column": column, **row}
            for name, facts in tables.items()
            for column, row in facts["repairs"].items()
        ],
        "columns": [row for name in tables for row in _columns(folder, name)],
        "days": [row for name in tables for row in _days(folder, name)],
        "lineage": list(traces),
    }
    for name, head in FILES.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, head, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[name])
    page = quality_page(source.name, tables, rows)
    (folder / PAGE).write_text(page, encoding="utf-8")


def read_report(folder: Path, name: str) -> list[dict[str, str]]:
    """Rows of a file of the report, such as ``checks``; see ``FILES``."""
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def lineage(name: str, part: "Records") -> Iterator[Row]:
    """Where the rows of a table came from: each file, its bytes, and what became of its records."""
    told, clock = part.table, part.table[part.feed.clock]
    kind = told[DISPOSITION].split(":")[0]
    accepted = kind == "accepted"
    by_file = told.aggregate(
        by=[told["_file"]],
        accepted=accepted.sum(),
        quarantined=(kind == "quarantined").sum(),
        duplicate=(kind == "duplicate").sum(),
        filtered=(kind == "filtered").sum(),
        first_known=clock.min(where=accepted),
        last_known=clock.max(where=accepted),
    ).to_pyarrow().to_pylist()  # fmt: skip
    became = {row.pop("_file"): row for row in by_file}
    for sheet in (*part.sheets, *part.again):
        counts = sheet.counts.model_dump(
            include={"sha256", "bytes", "lines", "header_lines", "records"}
        )
        trace = {"table": name, "part": part.part, "file": sheet.name, **counts}
        if sheet in part.again:
            again = {"accepted": 0, "quarantined": 0, "duplicate": counts["records"], "filtered": 0}
            yield {**trace, **again, "first_known": None, "last_known": None}
        else:
            yield {**trace, **became[sheet.name]}


def marked(name: str, parts: Sequence["Records"], counted: Mapping[str, Row]) -> pa.Table:
    """The repaired values of a table: in which column, and in the row of which number."""
    found = [
        told.filter(told[f"{REPAIRED}{column}"])
        .select(table=ibis.literal(name), column=ibis.literal(column),
                **{c.ROW: told["_row"] + part.first_row})
        .order_by(c.ROW)
        .to_pyarrow()
        .cast(MARKS)
        for part in parts for told in [part.accepted] for column, row in counted.items()
        if row["repaired"] and f"{REPAIRED}{column}" in told.columns
    ]  # fmt: skip
    return pa.concat_tables(found) if found else MARKS.empty_table()


def repaired(parts: Sequence["Records"]) -> dict[str, Row]:
    """Column -> how many accepted records have a value that is not the text of the file.

    Columns of declared repairs, and those of which blanks were trimmed.
    """
    found: dict[str, Row] = {}
    for part in parts:
        told = part.accepted
        marks = [name for name in told.columns if name.startswith(REPAIRED)]
        sums = {name: told[name].sum() for name in marks}
        (counts,) = told.aggregate(records=told.count(), **sums).to_pyarrow().to_pylist()
        for name in marks:
            column = name.removeprefix(REPAIRED)
            by, n = part.feed.columns[column].repairs, counts[name] or 0
            if n or len(by) > 1:
                row = found.setdefault(column, {"by": " ".join(by), "records": 0, "repaired": 0})
                row["records"] += counts["records"]
                row["repaired"] += n
    return found


def _columns(folder: Path, name: str) -> Iterator[Row]:
    table = pq.read_table(folder / f"{name}.parquet")
    for column in table.column_names:
        missing = table[column].null_count
        yield {
            "table": name, "column": column, "rows": table.num_rows, "missing": missing,
            "missing_share": f"{missing / table.num_rows:.6f}",
        }  # fmt: skip


def _days(folder: Path, name: str) -> Iterator[Row]:
    times = pq.read_table(folder / f"{name}.parquet", columns=[c.EVENT_TIME])[c.EVENT_TIME]
    days = pc.value_counts(times.cast(pa.timestamp("s"), safe=False).cast(pa.date32(), safe=False))
    for day in sorted(days.to_pylist(), key=lambda day: day["values"]):
        yield {"table": name, "day": day["values"], "rows": day["counts"]}
