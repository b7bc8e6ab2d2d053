"""What of a source's declaration contradicts itself, or does not fit the canonical tables."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from features import columns as c
from features.canonical import IDENTIFIERS, SOURCED
from features.checks import misfits
from features.feeds import (
    MADE,
    UNIT_PRICE,
    Condition,
    Feed,
    amounts,
    constant_value,
    targets,
    type_of,
    types,
)
from features.objects import is_url, unreadable
from features.schema import TableSchema

if TYPE_CHECKING:
    from features.sources import Source


def contradictions(source: "Source", name: str) -> list[str]:
    """All that is wrong with a source that should be called ``name``; empty if nothing is."""
    problems = [f"time_zone: {source.time_zone!r} is unknown"] * (not _zone(source.time_zone))
    if source.name != name:
        problems.append(f"name is {source.name!r}, expected {name!r} as the file is called")
    if not source.tables:
        problems.append(f"no table; a source brings at least one of {', '.join(SOURCED)}")
    for table, declared in source.tables.items():
        for part, feed in declared.feeds.items():
            where = f"{table}.{part}" if part else table
            problems += [f"{where}: {problem}" for problem in _of_feed(SOURCED[table], feed)]
    problems += _of_identity(source)
    if not problems:  # the schema of an open table follows from its columns
        brought = {table: source.table_schema(table) for table in source.tables}
        problems = [
            f"{table}: check {label!r}: {problem}"
            for table, declared in source.tables.items()
            for label, check in declared.checks.items()
            for problem in misfits(check, brought[table], brought)
        ]
    return problems


def _of_identity(source: "Source") -> list[str]:
    """What does not fit between the table of identifiers and what finds persons in it."""
    if (source.identity is None) != (IDENTIFIERS.name not in source.tables):
        return [f"give both the table {IDENTIFIERS.name!r} and identity, or neither"]
    if source.identity is None:
        return []
    feeds = source.tables[IDENTIFIERS.name].feeds.values()
    brought = {name for feed in feeds for name in feed.columns}
    problems = source.identity.problems(sorted(brought))
    if "merges" in source.tables:
        problems.append("identity finds the merges: give it, or the table 'merges'")
    return problems


def _of_feed(schema: TableSchema, feed: Feed) -> list[str]:
    """What of ``feed`` does not fit the canonical table."""
    allowed, kinds = targets(schema), {}
    rules = [condition for rule in feed.rules.values() for condition in rule.when]
    conditions = [*rules, *feed.returns]
    needed = [name for name, target in allowed.items() if target.required]
    problems = [f"column {name!r} is missing" for name in needed if name not in feed.columns]
    if bool(feed.files) == bool(feed.database):
        problems.append("files: none named" if not feed.files else "give one of files and database")
    problems += [text for pattern in feed.files for text in _unreachable(pattern)]
    if len({is_url(pattern) for pattern in feed.files}) > 1:
        problems.append("files: addresses and names below the data folder; give one of them")
    if UNIT_PRICE in allowed and (UNIT_PRICE in feed.columns) == (c.AMOUNT in feed.columns):
        problems.append(f"give one of the columns {UNIT_PRICE!r} and {c.AMOUNT!r}")
    used = {feed.clock, *(condition.column for condition in conditions)}
    for name, column in feed.columns.items():
        kind = kinds[name] = type_of(schema, name, column)
        fitting = types(allowed[name]) if name in allowed else ()
        if name in MADE:
            instead = f"; map {MADE[name]!r}" if MADE[name] else ""
            problems.append(f"column {name!r} is made here{instead}")
        elif not re.fullmatch("[a-z][a-z0-9_]*", name):
            problems.append(f"column {name!r}: names are small letters, digits and _")
        elif name not in allowed and not schema.open and name not in used:
            problems.append(
                f"column {name!r} is none of the table's, and neither known_time nor a rule reads "
                f"it; it has {', '.join(allowed)}"
            )
        elif kind is None:
            problems.append(f"column {name!r} needs a type")
        elif fitting and kind not in fitting:
            problems.append(f"column {name!r} must be of type {' or '.join(fitting)}, not {kind}")
        elif column.zone and not (kind == "timestamp" and _zone(column.zone)):
            problems.append(f"column {name!r}: zone {column.zone!r} is unknown or of no clock")
        elif column.decimal_comma and kind not in ("number", "decimal", "money"):
            problems.append(f"column {name!r}: decimal_comma is for numbers and amounts")
        elif column.row and kind != "text":
            problems.append(f"column {name!r}: a row number is a text, not {kind}")
        elif column.constant is not None:
            try:
                constant_value(column.constant, kind)
            except (ValueError, ArithmeticError):
                problems.append(f"column {name!r}: constant {column.constant!r} is no {kind}")
    if feed.currency and not amounts(schema, feed):
        problems.append("currency: no column is an amount")
    if kinds.get(feed.clock) != "timestamp" and (feed.known_time or c.EVENT_TIME in feed.columns):
        problems.append(f"known_time: {feed.clock!r} is no timestamp column")
    problems += [text for condition in conditions for text in _untestable(condition, kinds)]
    if feed.repeats and not (c.EVENT_TIME in feed.columns and feed.dated):
        problems.append("repeats: a repeated period needs an event_time from the file")
    if feed.returns and c.IS_RETURN not in schema:
        problems.append("returns: only order lines are taken back")
    if feed.returns and c.IS_RETURN in feed.columns:
        problems.append(f"returns: either conditions or the column {c.IS_RETURN!r}")
    return problems


def _unreachable(pattern: str) -> list[str]:
    """Why ``pattern`` names nothing in object storage or below the data folder."""
    path = PurePosixPath(pattern)
    if is_url(pattern):
        return unreadable(pattern)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in pattern:
        return [f"files: {pattern!r} leads out of the data folder"]
    return []


def _zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError):
        return False
    return True


def _untestable(condition: Condition, kinds: Mapping[str, str | None]) -> list[str]:
    name = condition.column
    if name not in kinds:
        return [f"a rule tests {name!r}, which is not declared"]
    pattern = condition.matches is not None or condition.not_matches is not None
    if pattern and kinds[name] != "text":
        return [f"a rule matches {name!r}, which is no text"]
    if condition.missing is None and not pattern and kinds[name] in ("text", "timestamp"):
        return [f"a rule compares {name!r}, which is no number"]
    return []
