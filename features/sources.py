"""Declarations of source bases: which canonical tables one brings, from which files, by what right.

``configs/data/<source>.yaml`` declares what a source holds; this module reads it, and nothing that
is not declared.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from features import columns as c
from features.canonical import CANONICAL, MINOR
from features.errors import ConfigError
from features.feeds import (
    DTYPES,
    MADE,
    UNIT_PRICE,
    Condition,
    Feed,
    TableSource,
    constant_value,
    targets,
    type_of,
    types,
)
from features.schema import Column, TableSchema
from features.settings import Strict, Workspace, fingerprint, load_yaml, overlaid, validated
from features.simulate.config import SimulateConfig


class Source(Strict):
    """One source base: where it comes from, under what right, and its tables."""

    name: str
    description: str
    time_zone: str
    """Zone of the clocks in the files; all clocks of a base are kept in this business time."""
    currency: str
    """ISO 4217 code of the amounts."""
    lawful_basis: str
    """Why these people's data may be processed."""
    max_quarantined_share: float = Field(default=0.01, ge=0, le=1)
    """A larger share of a table's records in quarantine stops the build: nothing is published."""
    simulate: SimulateConfig | None = None
    """Parameters of the generator of this source's raw files; None = the files are given."""

    order_lines: TableSource | None = None
    products: TableSource | None = None
    customers: TableSource | None = None
    attributes: TableSource | None = None
    events: TableSource | None = None
    contacts: TableSource | None = None
    responses: TableSource | None = None
    feedback: TableSource | None = None
    loyalty: TableSource | None = None
    devices: TableSource | None = None
    locations: TableSource | None = None
    relations: TableSource | None = None
    merges: TableSource | None = None
    subscriptions: TableSource | None = None
    outcomes: TableSource | None = None
    consents: TableSource | None = None
    derived: TableSource | None = None

    @property
    def tables(self) -> dict[str, TableSource]:
        """The tables that the source brings; a generator may leave out some of those declared."""
        written = CANONICAL if self.simulate is None else self.simulate.tables
        brought = {name: getattr(self, name) for name in CANONICAL if name in written}
        return {name: table for name, table in brought.items() if table is not None}

    @property
    def feeds(self) -> dict[str, Feed]:
        """``table`` or ``table.part`` -> feed."""
        return {
            f"{name}.{part}".rstrip("."): feed
            for name, table in self.tables.items()
            for part, feed in table.feeds.items()
        }

    def table_schema(self, name: str) -> TableSchema:
        """The canonical table ``name``; an open one with the columns that this source adds."""
        schema, own = CANONICAL[name], {}
        if not schema.open:
            return schema
        for feed in self.tables[name].feeds.values():
            for column, declared in feed.columns.items():
                kind = type_of(schema, column, declared)
                if column not in targets(schema) and column != feed.clock and kind is not None:
                    unit = MINOR if kind == "money" else declared.unit
                    own[column] = Column(
                        name=column, dtype=DTYPES[kind], unit=unit, meaning=declared.meaning
                    )
        return schema.model_copy(update={"columns": (*schema.columns, *own.values())})


def load_source(place: Workspace, name: str, overrides: Mapping[str, object]) -> Source:
    """Read ``configs/data/<name>.yaml`` with ``overrides`` (nested or dotted) laid over it.

    Raises
    ------
    ConfigError
        If the file is missing, has unknown keys or contradicts itself or the canonical tables.
    """
    path = place.source_yaml(name)
    values = overlaid(load_yaml(path), overrides, f"source, over {path}")
    source = validated(Source, values, str(path))
    problems = []
    if source.name != name:
        problems.append(f"name is {source.name!r}, expected {name!r} as the file is called")
    if not source.tables:
        problems.append(f"no table; a source brings at least one of {', '.join(CANONICAL)}")
    for table, declared in source.tables.items():
        for part, feed in declared.feeds.items():
            where = f"{table}.{part}" if part else table
            problems += [f"{where}: {problem}" for problem in _problems(CANONICAL[table], feed)]
    if problems:
        raise ConfigError.listing(f"{path}: {len(problems)} problem(s)", problems)
    return source


def _problems(schema: TableSchema, feed: Feed) -> list[str]:
    """What of ``feed`` does not fit the canonical table."""
    allowed, kinds = targets(schema), {}
    rules = [condition for rule in feed.rules.values() for condition in rule.when]
    conditions = [*rules, *feed.returns]
    needed = [name for name, target in allowed.items() if target.required]
    problems = [f"column {name!r} is missing" for name in needed if name not in feed.columns]
    if not feed.files:
        problems.append("files: none named")
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
        elif column.row and kind != "text":
            problems.append(f"column {name!r}: a row number is a text, not {kind}")
        elif column.constant is not None:
            try:
                constant_value(column.constant, kind)
            except (ValueError, ArithmeticError):
                problems.append(f"column {name!r}: constant {column.constant!r} is no {kind}")
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


def find_files(source: Source, folder: Path | None) -> dict[str, list[Path]]:
    """The raw files of each feed below ``folder`` (or below its sub-folder of the source's name).

    Raises
    ------
    ConfigError
        If there is no folder, or no declared name of a feed matches.
    """
    if folder is None:
        raise ConfigError(
            f"source {source.name!r} reads files: "
            "give their folder by --data-dir or PERENNIAL_DATA_DIR"
        )
    found, tried = {}, []
    for name, feed in source.feeds.items():
        places = [
            (root, pattern) for root in (folder / source.name, folder) for pattern in feed.files
        ]
        matches = (sorted(p for p in root.glob(pat) if p.is_file()) for root, pat in places)
        found[name] = next((paths for paths in matches if paths), [])
        if not found[name]:
            tried += [f"{name}: {root / pattern}" for root, pattern in places]
    if tried:
        raise ConfigError.listing(f"source {source.name!r}: no raw file found; looked for", tried)
    return found


def source_fingerprint(source: Source, files: Mapping[str, list[Path]]) -> str:
    """Fingerprint of the declaration and of the files' bytes."""
    digests = {}
    for path in raw_paths(files):
        with path.open("rb") as stream:
            digests[path] = hashlib.file_digest(stream, "sha256").hexdigest()
    named = {name: [(p.name, digests[p]) for p in paths] for name, paths in files.items()}
    return fingerprint(source, named)


def raw_paths(files: Mapping[str, list[Path]]) -> list[Path]:
    """The files of all feeds, each once."""
    return sorted({path for paths in files.values() for path in paths})
