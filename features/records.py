"""Staged records -> typed rows, each with one disposition.

Typing and rules are Ibis expressions. A record's disposition is decided in this order: it does not
split, a column cannot be typed, it repeats another delivery, the first rule that fits.
"""

import functools
import operator
from collections.abc import Callable
from datetime import datetime

import ibis
import ibis.expr.types as ir

from features import columns as c
from features.currencies import named_other, names_of
from features.feeds import (
    DTYPES,
    UNIT_PRICE,
    ColumnType,
    Condition,
    Feed,
    Repeats,
    SourceColumn,
    constant_value,
    targets,
    type_of,
)
from features.schema import TableSchema
from features.staging import BLANK

INTEGER_TEXT = r"^[+-]?\d+(\.0*)?$"
COMMA_TEXT = r"^[+-]?(\d+|\d{1,3}([. ]\d{3})+)(,\d+)?$"
DECIMAL_TEXT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
DECIMAL, MONEY = "decimal(18, 4)", "decimal(30, 12)"
MOST = 10**12
# A slipped digit in one year would move the source's first or last day, and all cutoffs with it.
EARLIEST, LATEST = datetime(1970, 1, 1), datetime(2100, 1, 1)
STAGED = ("row", "line", "lines", "raw", "problem", "file")
"""What is known of a record before it is typed; stands beside its columns as ``_row`` and so on."""
REPAIRED = "_repaired:"
"""Begins the name of the mark beside a column: whether a record's value is not the file's text."""
DISPOSITION = "_disposition"
ACCEPTED, QUARANTINED = "accepted", "quarantined:"


def try_strptime(text: str, format: str) -> datetime:
    """DuckDB's parser that gives NULL instead of an error; only its name and types count here."""
    raise NotImplementedError


def timezone(zone: str, moment: datetime) -> datetime:
    """DuckDB's: a naive time of ``zone`` to the moment it is, a moment to the time in ``zone``."""
    raise NotImplementedError


time_or_null: Callable[..., ir.Value] = ibis.udf.scalar.builtin(try_strptime)
moment_or_null: Callable[..., ir.Value] = ibis.udf.scalar.builtin(
    try_strptime, signature=(("string", "string"), "timestamp('UTC')")
)
moment_of: Callable[..., ir.Value] = ibis.udf.scalar.builtin(
    timezone, signature=(("string", "timestamp"), "timestamp('UTC')")
)
time_in: Callable[..., ir.Value] = ibis.udf.scalar.builtin(
    timezone, signature=(("string", "timestamp('UTC')"), "timestamp")
)


def disposed(
    staged: ir.Table, schema: TableSchema, feed: Feed, time_zone: str, currency: str
) -> ir.Table:
    """``staged`` with the columns of ``feed`` typed, and where each record belongs.

    Parameters
    ----------
    staged
        ``_row`` and the others of ``STAGED``, and the texts of the file under ``text:<name>``.
    time_zone
        The source's: clocks with an offset or a zone of their own are brought to it.
    currency
        The source's: a record that names another one is set aside.

    Returns
    -------
    ibis.Table
        ``STAGED``, the declared columns, marks of repaired values, ``is_return`` for order lines
        and the disposition:
        ``accepted``, or ``quarantined:``, ``duplicate:`` or ``filtered:`` with the reason.
    """
    typed = _typed(staged, schema, feed, time_zone, currency)
    if c.IS_RETURN in schema and c.IS_RETURN not in feed.columns:
        back = _all(typed, feed.returns) if feed.returns else ibis.literal(False)
        typed = typed.mutate(**{c.IS_RETURN: back})
    branches: list[tuple[ir.BooleanValue, str | ir.StringValue]] = [
        (typed._untyped == BLANK, f"filtered:{BLANK}"),
        (typed._untyped.notnull(), ibis.literal(QUARANTINED) + typed._untyped),
    ]
    if feed.repeats:
        branches.append((_surplus_copy(typed, feed, feed.repeats), "duplicate:repeats"))
    for name, rule in feed.rules.items():
        if rule.then != "keep":
            kind = "quarantined" if rule.then == "quarantine" else "filtered"
            branches.append((_all(typed, rule.when), f"{kind}:{name}"))
    needed = [name for name, target in targets(schema).items() if target.required]
    loose = [name for name in needed if feed.columns[name].required is False]
    branches += [(typed[name].isnull(), f"{QUARANTINED}{name}: empty") for name in loose]
    if not feed.net_returns:
        branches.append((typed[c.IS_RETURN], "filtered:returns (gross figures)"))
    return typed.mutate(**{DISPOSITION: ibis.cases(*branches, else_=ACCEPTED)})


def _typed(
    staged: ir.Table, schema: TableSchema, feed: Feed, time_zone: str, currency: str
) -> ir.Table:
    values: dict[str, ir.Value] = {}
    marks: dict[str, ir.BooleanValue] = {}
    problems: list[ir.StringValue] = []
    other = f"another than {currency}; convert it, or declare a source of its own for it"
    if feed.currency:
        told = staged[f"text:{feed.currency}"].strip().nullif("")
        problems = [
            _if(told.isnull(), "currency: empty"),
            _if(told.upper().notin(names_of(currency)), f"currency: {other}"),
        ]
    wanted = targets(schema)
    for name, column in feed.columns.items():
        kind = type_of(schema, name, column)
        assert kind is not None, "load_source has seen to it"
        if kind == "money" or name == UNIT_PRICE:
            marked = (staged[f"text:{n}"].re_search(named_other(currency)) for n in column.source)
            problems += [_if(found, f"{name}: a currency {other}") for found in marked]
        values[name], given, repaired, reasons = _value(staged, column, kind, time_zone)
        marks |= {f"{REPAIRED}{name}": repaired} if column.repairs else {}
        problems += [_if(met, f"{name}: {reason}") for reason, met in reasons.items()]
        required = column.required
        if required is None:
            required = name == feed.clock or name == UNIT_PRICE or (
                name in wanted and wanted[name].required
            )  # fmt: skip
        if required:
            problems.append(_if(~given, f"{name}: empty"))
    if UNIT_PRICE in values:
        quantity, price = values[c.QUANTITY], values[UNIT_PRICE]
        amount = quantity.cast("float64") * price.cast("float64")
        problems.append(_if(~_bounded(amount), f"quantity and amount: beyond {MOST}"))
    kept = {f"_{name}": staged[f"_{name}"] for name in STAGED}
    untyped = ibis.coalesce(staged._problem, *problems)
    return staged.select(**kept, **values, **marks, _untyped=untyped)


def _value(
    staged: ir.Table, column: SourceColumn, kind: ColumnType, time_zone: str
) -> tuple[ir.Value, ir.BooleanValue, ir.BooleanValue, dict[str, ir.BooleanValue]]:
    """The typed value, whether it is given, whether repaired, what is wrong if it cannot be had."""
    if column.constant is not None:
        value = ibis.literal(constant_value(column.constant, kind))
        return value.cast(_ibis(kind)), ibis.literal(True), ibis.literal(False), {}
    if column.row:
        return staged._row.cast(str), ibis.literal(True), ibis.literal(False), {}
    written = [staged[f"text:{name}"] for name in column.source]
    texts = [text.strip().nullif("") for text in written]
    if kind == "text":
        written = [functools.reduce(lambda joined, text: joined + "-" + text, written)]
        texts = [functools.reduce(lambda joined, text: joined + "-" + text, texts)]
    given: ir.BooleanValue = ibis.literal(True)
    repaired: ir.BooleanValue = ibis.literal(False)
    reasons: dict[str, ir.BooleanValue] = {}
    values = []
    for text, before in zip(texts, written, strict=True):
        given, known = given & text.notnull(), text.notnull()
        if column.extract:
            found = ibis.ifelse(
                text.re_search(column.extract), text.re_extract(column.extract, 1), ibis.null(str)
            ).nullif("")
            _blame(reasons, f"does not match {column.extract}", text, found)
            text = found
        if column.upper:
            text = text.upper()
        if column.map:
            ours = text.substitute(
                column.map, else_=text if column.unmapped == "keep" else ibis.null(str)
            )
            if column.unmapped == "missing":
                given = given & (text.isnull() | ours.notnull())
            else:
                _blame(reasons, "not in its map", text, ours)
            text = ours
        changed = text.isnull() | (text != before)
        if column.decimal_comma:
            changed = changed | text.re_search("[ .,]")
        repaired = repaired | (known & changed)
        value = parsed(text, column, kind, time_zone)
        wanted = f"time as {' or '.join(column.format)}" if kind == "timestamp" else kind
        _blame(reasons, f"no {wanted}", text, value)
        values.append(value)
    total = functools.reduce(operator.add, values)
    if kind in ("integer", "money"):
        reasons[f"amount beyond {MOST}"] = ~_bounded(total)
    return total, given, repaired.fill_null(False), reasons


def _blame(
    reasons: dict[str, ir.BooleanValue], reason: str, before: ir.Value, after: ir.Value
) -> None:
    lost = before.notnull() & after.isnull()
    reasons[reason] = reasons[reason] | lost if reason in reasons else lost


def parsed(
    text: ir.StringValue, column: SourceColumn, kind: ColumnType, time_zone: str
) -> ir.Value:
    """``text`` as its type; missing where it is none."""
    if column.decimal_comma and kind in ("decimal", "money", "number"):
        text = _matching(text, COMMA_TEXT)
        text = text.replace(".", "").replace(" ", "").replace(",", ".")
    # The engine alone would read "3.7" as 4, "1_000" and "0x1F" as integers and "epoch" as a time.
    if kind == "integer":
        return _matching(text, INTEGER_TEXT).try_cast("int64")
    if kind == "decimal":
        return _matching(text, DECIMAL_TEXT).try_cast(DECIMAL)
    if kind == "money":
        exact = _matching(text, DECIMAL_TEXT).try_cast(MONEY)
        return (exact * 100).round(0).try_cast("int64")
    if kind == "number":
        number = _matching(text, DECIMAL_TEXT).try_cast("float64")
        return ibis.ifelse(number.isinf(), None, number)
    if kind == "boolean":
        return ibis.cases((text == "true", True), (text == "false", False), else_=ibis.null(bool))
    if kind == "timestamp":
        dated = _matching(text, "[0-9]")
        time = ibis.coalesce(*(_time(dated, k, column.zone, time_zone) for k in column.format))
        return ibis.ifelse((time >= EARLIEST) & (time < LATEST), time, None)
    return text


def _time(text: ir.StringValue, format: str, zone: str | None, time_zone: str) -> ir.Value:
    if "%z" in format:
        return time_in(time_zone, moment_or_null(text, format)).cast("timestamp(6)")
    time = time_or_null(text, format)
    return (time_in(time_zone, moment_of(zone, time)) if zone else time).cast("timestamp(6)")


def _matching(text: ir.StringValue, pattern: str) -> ir.StringValue:
    return ibis.ifelse(text.re_search(pattern), text, None)


def _bounded(number: ir.NumericValue) -> ir.BooleanValue:
    return number.between(-MOST, MOST)


def _if(met: ir.BooleanValue, reason: str) -> ir.StringValue:
    return ibis.ifelse(met, reason, ibis.null(str))


def _ibis(kind: ColumnType) -> str:
    return {"timestamp": "timestamp(6)", "decimal": DECIMAL}.get(kind, str(DTYPES[kind]))


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


def _surplus_copy(typed: ir.Table, feed: Feed, repeats: Repeats) -> ir.BooleanValue:
    """In the repeated period every record came ``copies`` times: all but each n-th are surplus.

    An order-free rule: k equal records keep ceil(k / copies) of them, the earliest rows first.
    """
    time = typed[c.EVENT_TIME]
    inside = (time >= repeats.first_day) & (time < repeats.end_day)
    equal = [typed[name] for name, column in feed.columns.items() if column.source] + [inside]
    window = ibis.window(group_by=equal, order_by=typed._row)
    rank = ibis.row_number().over(window)
    copies = typed.count().over(ibis.window(group_by=equal))
    kept = (copies + (repeats.copies - 1)) // repeats.copies
    return (inside & (rank >= kept)).fill_null(False)
