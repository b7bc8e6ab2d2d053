"""Declarations of source bases: which canonical tables one brings, from which files, by what right.

``configs/data/<source>.yaml`` declares what a source holds; this module reads it, and nothing that
is not declared.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

from pydantic import Field

from features import columns as c
from features.canonical import IDENTIFIERS, MINOR, SOURCED
from features.checks import misfits
from features.databases import extract
from features.errors import ConfigError
from features.feeds import (
    DTYPES,
    MADE,
    UNIT_PRICE,
    Condition,
    Feed,
    TableSource,
    amounts,
    constant_value,
    targets,
    type_of,
    types,
)
from features.linkage.declared import Identity
from features.objects import fetch, is_url, unreadable
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
    privacy_budget: float | None = Field(default=None, gt=0)
    """Epsilon that all differentially private aggregates of this base may spend together, for good;
    None: none are made. See :mod:`features.aggregates`."""
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
    identifiers: TableSource | None = None
    identity: Identity | None = None
    """How records of one person are found among ``identifiers``; None: each id is a customer."""

    @property
    def tables(self) -> dict[str, TableSource]:
        """The tables that the source brings; a generator may leave out some of those declared."""
        written = SOURCED if self.simulate is None else self.simulate.tables
        brought = {name: getattr(self, name) for name in SOURCED if name in written}
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
        schema, own = SOURCED[name], {}
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
    return source_of(values, name, str(path))


def source_of(values: Mapping[str, object], name: str, path: str) -> Source:
    """The source ``name`` that ``values`` of the YAML ``path`` declare.

    Raises
    ------
    ConfigError
        If there are unknown keys, or the source contradicts itself or the canonical tables.
    """
    source = validated(Source, values, path)
    problems = [f"time_zone: {source.time_zone!r} is unknown"] * (not _zone(source.time_zone))
    if source.name != name:
        problems.append(f"name is {source.name!r}, expected {name!r} as the file is called")
    if not source.tables:
        problems.append(f"no table; a source brings at least one of {', '.join(SOURCED)}")
    for table, declared in source.tables.items():
        for part, feed in declared.feeds.items():
            where = f"{table}.{part}" if part else table
            problems += [f"{where}: {problem}" for problem in _problems(SOURCED[table], feed)]
    problems += _identity_problems(source)
    if not problems:  # the schema of an open table follows from its columns
        brought = {table: source.table_schema(table) for table in source.tables}
        problems = [
            f"{table}: check {label!r}: {problem}"
            for table, declared in source.tables.items()
            for label, check in declared.checks.items()
            for problem in misfits(check, brought[table], brought)
        ]
    if problems:
        raise ConfigError.listing(f"{path}: {len(problems)} problem(s)", problems)
    return source


def _identity_problems(source: Source) -> list[str]:
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


def _problems(schema: TableSchema, feed: Feed) -> list[str]:
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


def find_files(
    source: Source, folder: Path | None, extracts: Path | None = None
) -> dict[str, list[Path]]:
    """The raw files of each feed below ``folder`` (or below its sub-folder of the source's name).

    Parameters
    ----------
    extracts
        Where to write what feeds read of databases and object storage; None: these are not asked,
        and have no file.

    Raises
    ------
    ConfigError
        If there is no folder, or no declared name of a feed matches.
    DataError
        If a database or an object cannot be read.
    """
    found: dict[str, list[Path]] = {}
    tried = []
    for name, feed in source.feeds.items():
        if feed.database or is_url(feed.files[0]):
            found[name] = []
            if extracts and not feed.database:
                found[name] = [path for url in feed.files for path in fetch(url, extracts)]
            continue
        if folder is None:
            raise ConfigError(
                f"source {source.name!r} reads files: "
                "give their folder by --data-dir or PERENNIAL_DATA_DIR"
            )
        places = [
            (root, pattern) for root in (folder / source.name, folder) for pattern in feed.files
        ]
        matches = (_files(root, pattern) for root, pattern in places)
        found[name] = next((paths for paths in matches if paths), [])
        if not found[name]:
            tried += [f"{name}: {root / pattern}" for root, pattern in places]
    if tried:
        raise ConfigError.listing(f"source {source.name!r}: no raw file found; looked for", tried)
    asked = {name: (f.database, f.reads) for name, f in source.feeds.items() if f.database}
    return found | (extract(asked, extracts) if asked and extracts else {})


def _files(root: Path, pattern: str) -> list[Path]:
    """Files that match, and files in folders that match but for hidden ones and marks (``_*``)."""
    matches = sorted(root.glob(pattern))
    inside = [
        p for f in matches if f.is_dir() for p in f.iterdir() if not p.name.startswith((".", "_"))
    ]
    return sorted({p for p in [*matches, *inside] if p.is_file()})


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
