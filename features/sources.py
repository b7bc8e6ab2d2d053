"""Declarations of source bases: which canonical tables one brings, from which files, by what right.

``configs/data/<source>.yaml`` declares what a source holds; this module reads it, and nothing that
is not declared.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from features.canonical import MINOR, SOURCED
from features.contradictions import contradictions
from features.databases import extract
from features.errors import ConfigError
from features.feeds import (
    DTYPES,
    Feed,
    TableSource,
    targets,
    type_of,
)
from features.linkage.declared import Identity
from features.objects import fetch, is_url
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
        If the file is missing, has unknown keys or contradicts itself or the canonical tables, or
        ``overrides`` would put simulated data in the place of files.
    """
    path = place.source_yaml(name)
    written = load_yaml(path)
    if "simulate" not in written and any(k.partition(".")[0] == "simulate" for k in overrides):
        raise ConfigError(
            f"source.simulate: {name!r} is read from files, by {path}, and nothing of it is "
            "simulated; leave source.simulate out (`--set source={}` empties what a YAML sets)"
        )
    values = overlaid(written, overrides, f"source, over {path}")
    return source_of(values, name, str(path))


def source_of(values: Mapping[str, object], name: str, path: str) -> Source:
    """The source ``name`` that ``values`` of the YAML ``path`` declare.

    Raises
    ------
    ConfigError
        If there are unknown keys, or the source contradicts itself or the canonical tables.
    """
    source = validated(Source, values, path)
    problems = contradictions(source, name)
    if problems:
        raise ConfigError.listing(f"{path}: {len(problems)} problem(s)", problems)
    return source


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
