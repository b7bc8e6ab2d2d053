"""Staged records -> typed rows, each with one disposition -> tables, quarantine, account.

Typing and rules are Ibis expressions on DuckDB. A record's disposition is decided in this order:
it does not split, a column cannot be typed, it repeats another delivery, the first rule that fits.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from features import columns as c
from features.engine import connect
from features.errors import DataError
from features.identity import customer_ids
from features.schema import LINKS, ORDER_LINES, check
from features.settings import code_fingerprint, fingerprint
from features.sources import Condition, OrderLinesSource, Repeats, Source, SourceColumn
from features.staging import BLANK, Staged, stage

DECIMAL = "decimal(18, 4)"
INTEGER_TEXT = r"^[+-]?\d+(\.0*)?$"
DECIMAL_TEXT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
MOST = 10**12
# A slipped digit in one year would move the source's first or last day, and all cutoffs with it.
EARLIEST, LATEST = datetime(1970, 1, 1), datetime(2100, 1, 1)
STAGED_COLUMNS = ("row", "line", "lines", "raw", "problem")


def try_strptime(text: str, format: str) -> datetime:
    """DuckDB's parser that gives NULL instead of an error; only its name and types count here."""
    raise NotImplementedError


time_or_null: Callable[..., ir.Value] = ibis.udf.scalar.builtin(try_strptime)


def ingest(source: Source, files: list[Path], key: bytes, folder: Path) -> dict[str, Any]:
    """Read ``files``; write ``order_lines``, ``links`` and ``quarantine`` Parquet to ``folder``.

    Returns
    -------
    dict
        The account (records by disposition, per file), the span of both clocks, netting counts.

    Raises
    ------
    DataError
        If a file cannot be staged, the account does not balance, too much is quarantined, or
        nothing is left.
    """
    spec = source.order_lines
    wanted = {name: column.source for name, column in spec.columns.items()}
    staged: list[Staged] = []
    paths = []
    for number, path in enumerate(files):
        out = folder / f"staged-{number}.parquet"
        staged.append(stage(path, spec.dialect, wanted, sum(s.records for s in staged), out))
        paths.append(out)
    backend = connect(folder)
    parts = [
        backend.read_parquet(out, table_name=f"staged_{i}").mutate(file=ibis.literal(path.name))
        for i, (out, path) in enumerate(zip(paths, files, strict=True))
    ]
    raw = ibis.union(*parts) if len(parts) > 1 else parts[0]
    # The table is written out in full before anything is counted: a count alone would skip casts.
    records = backend.create_table("records", _disposed(_typed(raw, spec), spec))
    account = _account(records, source, staged)
    lines = _order_lines(backend, records, source, key, folder)
    _quarantine(records, source, folder)
    backend.disconnect()
    for path in paths:
        path.unlink()
    return {**account, **lines, "files": [s.model_dump() for s in staged]}


def _typed(raw: ir.Table, spec: OrderLinesSource) -> ir.Table:
    values, problems = {}, []
    for name, column in spec.columns.items():
        text = raw[name].strip().nullif("")
        value = _value(text, column)
        values[name] = value
        problems.append(
            ibis.ifelse(text.notnull() & value.isnull(), _reason(name, column), ibis.null(str))
        )
        if column.required:
            problems.append(ibis.ifelse(text.isnull(), f"{name}: empty", ibis.null(str)))
    quantity, price = values["quantity"], values["unit_price"]
    fits = quantity.between(-MOST, MOST) & (
        quantity.cast("float64") * price.cast("float64")
    ).between(-MOST, MOST)
    problems.append(ibis.ifelse(~fits, f"quantity and amount: beyond {MOST}", ibis.null(str)))
    kept = {n: raw[n] for n in (*STAGED_COLUMNS, "file")}
    return raw.select(**kept, **values, untyped=ibis.coalesce(raw.problem, *problems))


def _value(text: ir.StringValue, column: SourceColumn) -> ir.Value:
    if column.extract:
        text = ibis.ifelse(
            text.re_search(column.extract), text.re_extract(column.extract, 1), ibis.null(str)
        ).nullif("")
    if column.upper:
        text = text.upper()
    # The engine alone would read "3.7" as 4, "1_000" and "0x1F" as integers and "epoch" as a time.
    if column.type == "integer":
        return ibis.ifelse(text.re_search(INTEGER_TEXT), text, None).try_cast("int64")
    if column.type == "decimal":
        return ibis.ifelse(text.re_search(DECIMAL_TEXT), text, None).try_cast(DECIMAL)
    if column.type == "timestamp":
        text = ibis.ifelse(text.re_search("[0-9]"), text, None)
        time = time_or_null(text, column.format).cast("timestamp(6)")
        return ibis.ifelse((time >= EARLIEST) & (time < LATEST), time, None)
    return text


def _reason(name: str, column: SourceColumn) -> str:
    expected = {
        "timestamp": f"no time as {column.format}",
        "text": f"does not match {column.extract}",
    }.get(column.type, f"no {column.type}")
    return f"{name}: {expected}"


def _disposed(typed: ir.Table, spec: OrderLinesSource) -> ir.Table:
    branches: list[tuple[ir.BooleanValue, str | ir.StringValue]] = [
        (typed.untyped == BLANK, f"filtered:{BLANK}"),
        (typed.untyped.notnull(), ibis.literal("quarantined:") + typed.untyped),
    ]
    if spec.repeats:
        branches.append((_surplus_copy(typed, spec, spec.repeats), "duplicate:repeats"))
    for name, rule in spec.rules.items():
        if rule.then != "keep":
            kind = "quarantined" if rule.then == "quarantine" else "filtered"
            branches.append((_all(typed, rule.when), f"{kind}:{name}"))
    is_return = _all(typed, spec.returns) if spec.returns else ibis.literal(False)
    if not spec.net_returns:
        branches.append((is_return, "filtered:returns (gross figures)"))
    return typed.mutate(
        disposition=ibis.cases(*branches, else_="accepted"), **{c.IS_RETURN: is_return}
    )


def _all(table: ir.Table, conditions: tuple[Condition, ...]) -> ir.BooleanValue:
    met = ibis.literal(True)
    for condition in conditions:
        column = table[condition.column]
        if condition.missing is not None:
            test = column.isnull() if condition.missing else column.notnull()
        elif condition.matches is not None:
            test = column.re_search(condition.matches)
        elif condition.not_matches is not None:
            test = ~column.re_search(condition.not_matches)
        elif condition.below is not None:
            test = column < condition.below
        elif condition.at_least is not None:
            test = column >= condition.at_least
        else:
            test = column == condition.equals
        met = met & test.fill_null(False)
    return met


def _surplus_copy(typed: ir.Table, spec: OrderLinesSource, repeats: Repeats) -> ir.BooleanValue:
    """In the repeated period every record came ``copies`` times: all but each n-th are surplus.

    An order-free rule: k equal records keep ceil(k / copies) of them, the earliest rows first.
    """
    inside = (typed.event_time >= repeats.first_day) & (typed.event_time < repeats.end_day)
    equal = [typed[name] for name in spec.columns] + [inside]
    window = ibis.window(group_by=equal, order_by=typed.row)
    rank = ibis.row_number().over(window)
    copies = typed.count().over(ibis.window(group_by=equal))
    kept = (copies + (repeats.copies - 1)) // repeats.copies
    return (inside & (rank >= kept)).fill_null(False)


def _account(records: ir.Table, source: Source, staged: list[Staged]) -> dict[str, Any]:
    """Records and physical lines by disposition; both must add up to what was staged."""
    rows = records.aggregate(
        by=[records.disposition], n=records.count(), n_lines=records["lines"].sum()
    ).to_pyarrow().to_pylist()  # fmt: skip
    account: dict[str, dict[str, int]] = {
        k: {} for k in ("accepted", "quarantined", "duplicate", "filtered")
    }
    for row in sorted(rows, key=lambda row: str(row["disposition"])):
        kind, _, reason = row["disposition"].partition(":")
        account[kind][reason or "all rules passed"] = row["n"]
    totals = {kind: sum(reasons.values()) for kind, reasons in account.items()}
    seen = sum(s.records for s in staged)
    lines = sum(s.independent_lines - s.header_lines for s in staged)
    disposed = sum(row["n_lines"] for row in rows)
    if sum(totals.values()) != seen or disposed != lines:
        raise DataError(
            f"source {source.name}: the account does not balance: {seen} records on {lines} lines "
            f"seen, {totals} on {disposed} lines disposed; nothing was published"
        )
    share = totals["quarantined"] / seen
    if share > source.max_quarantined_share:
        reasons = sorted(account["quarantined"].items(), key=lambda item: -item[1])
        raise DataError.listing(
            f"source {source.name}: {totals['quarantined']} of {seen} records ({share:.1%}) "
            "would be quarantined, "
            f"max_quarantined_share is {source.max_quarantined_share:.1%}; nothing was published. "
            "Reasons",
            [f"{reason}: {n}" for reason, n in reasons],
        )
    if not totals["accepted"]:
        raise DataError.listing(
            f"source {source.name}: none of {seen} records is accepted",
            [f"{k}: {v}" for k, v in account.items()],
        )
    return {"seen": seen, "totals": totals, "account": account}


def _order_lines(
    backend: Backend, records: ir.Table, source: Source, key: bytes, folder: Path
) -> dict[str, Any]:
    spec = source.order_lines
    accepted = records.filter(records.disposition == "accepted")
    refs = accepted.select("customer_ref").distinct().order_by("customer_ref").to_pyarrow()
    ids = customer_ids(source.name, refs.column(0).to_pylist(), key)
    mapping = backend.create_table(
        "customers",
        pa.table({"customer_ref": list(ids), c.CUSTOMER: pa.array(ids.values(), pa.int64())}),
    )
    amount = (accepted.quantity * accepted.unit_price * 100).round(0).cast("int64")
    lines = accepted.join(mapping, "customer_ref").select(
        c.CUSTOMER, c.EVENT_TIME, c.ORDER, c.PRODUCT, c.QUANTITY, c.IS_RETURN, "unit_price",
        **{c.KNOWN_TIME: accepted[spec.known_time], c.AMOUNT: amount, c.ROW: accepted.row},
    )  # fmt: skip
    lines = backend.create_table("lines", lines)
    cancelled = backend.create_table("cancelled", _cancelled(lines))
    netted = lines.left_join(cancelled, c.ROW).select(
        *[n for n in ORDER_LINES.arrow.names if n != c.ORDER_REF],
        **{c.ORDER_REF: ibis.coalesce(cancelled[c.ORDER_REF], lines[c.ORDER])},
    )
    ordered = netted.select(*ORDER_LINES.arrow.names).order_by(c.CUSTOMER, c.EVENT_TIME, c.ROW)
    table = ordered.to_pyarrow().cast(ORDER_LINES.arrow)
    check(table, ORDER_LINES.arrow, ORDER_LINES.key, ORDER_LINES.name)
    pq.write_table(table, folder / "order_lines.parquet", compression="zstd")
    _links(lines, mapping, source, folder)
    span = lines.aggregate(
        first=lines[c.EVENT_TIME].min(), last=lines[c.EVENT_TIME].max(),
        last_known=lines[c.KNOWN_TIME].max(), customers=lines[c.CUSTOMER].nunique(),
        orders=lines[c.ORDER].nunique(), returns=lines[c.IS_RETURN].sum(),
    ).to_pyarrow().to_pylist()[0]  # fmt: skip
    return {**span, "returns_netted": cancelled.count().to_pyarrow().as_py()}


def _cancelled(lines: ir.Table) -> ir.Table:
    """For each return the order it cancels: the latest earlier sale of the product to the customer.

    A sale at the same price and of at least the quantity taken back comes before any other; equal
    ones are told apart by order number, never by row. Sales learned of after the return take no
    part: wherever the return is seen, so is the sale. A return without such a sale (bought before
    the data begin) is left out and keeps its own number.
    """
    returns = lines.filter(lines[c.IS_RETURN]).select(
        c.CUSTOMER, c.PRODUCT, c.ROW, return_time=c.EVENT_TIME, return_known=c.KNOWN_TIME,
        taken=c.QUANTITY, price=_.unit_price,
    )  # fmt: skip
    sales = lines.filter(~lines[c.IS_RETURN]).select(
        c.CUSTOMER,
        c.PRODUCT,
        c.EVENT_TIME,
        c.KNOWN_TIME,
        c.QUANTITY,
        "unit_price",
        **{c.ORDER_REF: c.ORDER},
    )
    pairs = returns.join(sales, [c.CUSTOMER, c.PRODUCT]).filter(
        _[c.EVENT_TIME] <= _.return_time, _[c.KNOWN_TIME] <= _.return_known
    )
    best = ibis.row_number().over(ibis.window(
        group_by=c.ROW,
        order_by=[
            (pairs.unit_price == pairs.price).desc(), (pairs[c.QUANTITY] >= -pairs.taken).desc(),
            pairs[c.EVENT_TIME].desc(), pairs[c.ORDER_REF].desc(),
        ],
    ))  # fmt: skip
    return pairs.mutate(best=best).filter(_.best == 0).select(c.ROW, c.ORDER_REF)


def _links(lines: ir.Table, mapping: ir.Table, source: Source, folder: Path) -> None:
    known = lines.group_by(c.CUSTOMER).aggregate(**{c.KNOWN_TIME: lines[c.KNOWN_TIME].min()})
    links = mapping.join(known, c.CUSTOMER).select(
        source=ibis.literal(source.name),
        source_id=_.customer_ref,
        rule=ibis.literal("same source id"),
        confidence=ibis.literal(1.0),
        **{c.CUSTOMER: mapping[c.CUSTOMER], c.KNOWN_TIME: known[c.KNOWN_TIME]},
    )
    table = links.order_by("source_id").select(*LINKS.arrow.names).to_pyarrow().cast(LINKS.arrow)
    check(table, LINKS.arrow, LINKS.key, LINKS.name)
    pq.write_table(table, folder / "links.parquet", compression="zstd")


def _quarantine(records: ir.Table, source: Source, folder: Path) -> None:
    rows = records.filter(records.disposition.startswith("quarantined:")).order_by("row")
    kept = rows.select(
        "row", "file", "line", "lines", "raw", reason=rows.disposition.substr(len("quarantined:"))
    )
    table = kept.to_pyarrow()
    version = pa.array([rule_version(source)] * table.num_rows, pa.string())
    pq.write_table(table.append_column("rule_version", version), folder / "quarantine.parquet")


def rule_version(source: Source) -> str:
    """Fingerprint of the rules and of the code that applies them."""
    return fingerprint(source, code_fingerprint("features"))


_ = ibis._
