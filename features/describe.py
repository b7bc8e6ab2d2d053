"""Drafts the YAML of a source from somebody's own files, with its doubts as comments.

The drafted mapping is tried on the sample with the code that a build uses, so the counts in the
comments are what a build would set aside of these records.
"""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.canonical import CANONICAL
from features.currencies import SIGNS
from features.draft_text import draft_text
from features.drafted import Drafted
from features.drafting import draft, nearest
from features.engine import available_threads, connect
from features.errors import ConfigError, DataError
from features.feeds import Feed
from features.ingest import staged_texts
from features.profiling import look_at
from features.records import DISPOSITION, disposed
from features.sampling import Sample, unpacked_name
from features.sheets import Sheet
from features.sources import Source, source_of
from features.staging import sample, stage

MOST_ASIDE = 0.005
"""A larger share of a table in quarantine is written into the draft, twice as high."""
Tables = dict[str, list[Drafted]]


@dataclass(frozen=True)
class Draft:
    """A drafted source: the text of its YAML, and where its files lie."""

    text: str
    source: Source
    folder: Path
    tables: Tables
    unused: Sequence[Path]
    """Files that seem to be no table."""

    @property
    def doubts(self) -> int:
        """How many remarks ask for a person."""
        return sum(
            len(notes) for drafts in self.tables.values() for d in drafts
            for notes in d.doubts.values()
        )  # fmt: skip


def describe(
    paths: Sequence[Path], name: str, time_zone: str = "", currency: str = "", basis: str = ""
) -> Draft:
    """Draft the source ``name`` from ``paths``: files, or folders of files.

    Parameters
    ----------
    time_zone, currency, basis
        What no file tells; doubts stand in their places where they are not given.

    Raises
    ------
    ConfigError
        If there is no file.
    DataError
        If a file cannot be read, or none of them is like a table.
    """
    files = sorted({file.resolve() for path in paths for file in _files(path)})
    folder = Path(os.path.commonpath([file.parent for file in files]))
    with tempfile.TemporaryDirectory() as held:
        place = Path(held)
        backend = connect(place)
        try:
            folders = [place / str(number) for number in range(len(files))]
            # The threads wait: each file is read by child processes of its own.
            with ThreadPoolExecutor(available_threads()) as pool:
                staged = list(pool.map(_staged, files, folders))
            seen = look_at(
                backend, [(file, *read) for file, read in zip(files, staged, strict=True)]
            )
            tables: Tables = {}
            for looked in seen:
                for drafted in draft(looked):
                    tables.setdefault(drafted.table, []).append(drafted)
            _prefer_catalogue(tables)
            tables = {table: tables[table] for table in CANONICAL if table in tables}
            used = {d.looked.path for drafts in tables.values() for d in drafts}
            if not used:
                raise DataError.listing(
                    "no file is like a table; a table needs columns such as a customer number, a "
                    "date and what happened. There are",
                    [
                        f"{looked.path.name}: {nearest(looked) or ', '.join(looked.columns)}"
                        for looked in seen
                    ],
                )
            head = _head(name, sorted(used), time_zone, currency or _named(tables), basis)
            values: dict[str, Any] = {key: value for key, (value, _) in head.items()}
            values |= {table: _declared(folder, drafts) for table, drafts in tables.items()}
            source = source_of(values, name, "the draft")
            for table, drafts in tables.items():
                most = max(_tried(backend, source, table, d) for d in drafts)
                if most > MOST_ASIDE:
                    values[table]["max_quarantined_share"] = min(1.0, round(2 * most + 0.005, 2))
            source = source_of(values, name, "the draft")
        finally:
            backend.disconnect()
    text = draft_text(head, values, tables, seen)
    return Draft(text, source, folder, tables, [f for f in files if f not in used])


def _prefer_catalogue(tables: Tables) -> None:
    """Where a file lists the products, what lines of orders call them is not needed."""
    sales = {drafted.looked.path for drafted in tables.get("order_lines", ())}
    listed = [d for d in tables.get("products", ()) if d.looked.path not in sales]
    if listed:
        tables["products"] = listed


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        inside = [p for p in path.iterdir() if p.is_file() and not p.name.startswith((".", "_"))]
        if inside:
            return inside
    if not path.is_file():
        raise ConfigError(f"{path}: no such file, and no folder with files")
    return [path]


def _staged(path: Path, folder: Path) -> tuple[Sample, Sheet]:
    """A sample of ``path`` with all its columns as texts."""
    folder.mkdir()
    drawn = folder / unpacked_name(path)
    found = sample(path, drawn)
    texts = {name: f"text{k}" for k, name in enumerate(found.columns)}
    out = folder / "staged.parquet"
    counts = stage(drawn, found.dialect, {to: name for name, to in texts.items()}, 0, out)
    return found, Sheet(path.name, out, counts, texts)


# --- the declaration ------------------------------------------------------------------------------


def _head(
    name: str, used: Sequence[Path], time_zone: str, currency: str, basis: str
) -> dict[str, tuple[str, str]]:
    """Key -> value and doubt."""
    files = ", ".join(path.name for path in used)
    return {
        "name": (name, ""),
        "description": (f"drafted from {files}", "say what the base holds, and where it is from"),
        "time_zone": (time_zone or "UTC", "" if time_zone else "in which zone are the clocks?"),
        "currency": (currency or "XXX", "" if currency else "give the ISO 4217 code"),
        "lawful_basis": (
            basis or "not stated",
            "" if basis else "why may these people's data be processed?",
        ),
    }  # fmt: skip


def _named(tables: Tables) -> str:
    """The code of the currency that most records name; empty where no column does."""
    named = Counter[str]()
    for drafted in (d for drafts in tables.values() for d in drafts if "currency" in d.more):
        named.update(dict(drafted.looked.columns[drafted.more["currency"]].common))
    return next((word.upper() for word, _ in named.most_common(1) if word.upper() in SIGNS), "")


def _declared(folder: Path, drafts: Sequence[Drafted]) -> dict[str, Any]:
    """A table of one file, of equal files under one pattern, or of parts."""
    owned = {"owner": "unnamed", "steward": "unnamed"}
    feeds = [_feed(folder, d) for d in drafts]
    alike = all(_without_files(feed) == _without_files(feeds[0]) for feed in feeds)
    pattern = _pattern(folder, [d.looked.path for d in drafts])
    if alike and pattern:
        return {"files": [pattern], **owned, **_without_files(feeds[0])}
    if len(drafts) == 1:
        return {**feeds[0], **owned}
    names = _part_names([d.looked.path for d in drafts])
    checks: dict[str, Any] = {}
    for feed in feeds:
        checks |= feed.pop("checks", {})
    parts = dict(zip(names, feeds, strict=True))
    return {**owned, **({"checks": checks} if checks else {}), "parts": parts}


def _feed(folder: Path, drafted: Drafted) -> dict[str, Any]:
    dialect = drafted.looked.sample.dialect
    text = {"encoding": dialect.encoding} if dialect.encoding != "utf-8" else {}
    usual = "\t" if drafted.looked.path.name.removesuffix(".gz").endswith((".tsv", ".tab")) else ","
    if dialect.delimiter not in (None, usual):
        text["delimiter"] = dialect.delimiter
    files = {"files": [drafted.looked.path.relative_to(folder).as_posix()]}
    return {**files, **({"dialect": text} if text else {}), "columns": drafted.columns,
            **drafted.more}  # fmt: skip


def _without_files(feed: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in feed.items() if key != "files"}


def _pattern(folder: Path, paths: Sequence[Path]) -> str:
    """A glob that matches ``paths`` and no other file; empty where there is none."""
    names = [path.relative_to(folder).as_posix() for path in paths]
    if len(names) == 1:
        return names[0]
    start = os.path.commonprefix(names)
    end = os.path.commonprefix([name[len(start) :][::-1] for name in names])[::-1]
    pattern = f"{start}*{end}"
    return pattern if sorted(folder.glob(pattern)) == sorted(paths) else ""


def _part_names(paths: Sequence[Path]) -> list[str]:
    names: list[str] = []
    for path in paths:
        stem = re.sub("[^a-z0-9]+", "_", path.name.partition(".")[0].lower()).strip("_") or "part"
        names.append(stem if stem not in names else f"{stem}_{len(names)}")
    return names


# --- the trial ------------------------------------------------------------------------------------


def _tried(backend: Any, source: Source, table: str, drafted: Drafted) -> float:
    """Dispose of the sample as a build would; note what is set aside, and return its share."""
    declared = source.tables[table]
    feed = _feed_of(declared.feeds, drafted)
    texts = staged_texts(backend, drafted.looked.sheet, feed, 0)
    schema = source.table_schema(table)
    typed = disposed(texts, schema, feed, source.time_zone, source.currency)
    kept = backend.create_table("tried", typed, temp=True, overwrite=True)
    counts = kept.group_by(DISPOSITION).aggregate(n=kept.count()).to_pyarrow().to_pylist()
    rows = sum(row["n"] for row in counts)
    aside = 0
    for row in sorted(counts, key=lambda row: (-row["n"], row[DISPOSITION])):
        kind, _, reason = row[DISPOSITION].partition(":")
        if kind == "quarantined":
            aside += row["n"]
            column = reason.partition(":")[0]
            where = column if column in drafted.columns else ""
            drafted.doubt(where, f"{row['n']} of {rows} would be set aside: {reason}")
    return float(aside / rows)


def _feed_of(feeds: Mapping[str, Feed], drafted: Drafted) -> Feed:
    """The feed that was made of ``drafted``: the one with its file, or the only one."""
    name = drafted.looked.path.name
    return next(
        (feed for feed in feeds.values() if any(f.endswith(name) for f in feed.files)),
        next(iter(feeds.values())),
    )
