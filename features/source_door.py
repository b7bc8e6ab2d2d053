"""Commands about a source: draft it, its quality, quarantine and lineage, who may be approached."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.door import DataDir, Json, Set, Store, answering, say

if TYPE_CHECKING:
    from features.settings import Workspace
    from features.tables import Stored

SourceName = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="Name of a file in configs/data.", show_default=False),
]


def describe(
    files: Annotated[
        list[Path], typer.Argument(help="Raw files, or folders of them.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="YAML to write, such as configs/data/shop.yaml.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Zone of the clocks: Europe/London, ...")] = "",
    currency: Annotated[str, typer.Option(help="ISO 4217 code of the amounts.")] = "",
    basis: Annotated[str, typer.Option(help="Why these people's data may be processed.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over the YAML.")] = False,
) -> None:
    """Draft the YAML of a source from your own FILES: tables, columns, types, clocks, keys.

    What it cannot know, or may have wrong, stands there as a remark with its evidence.
    """
    with answering():
        from features.describe import describe as drafted
        from features.errors import ConfigError

        name = out.stem if out else "draft"
        if not name.isidentifier() or not name.isascii():
            raise ConfigError(f"--out {out}: a source is called by letters, digits and _ alone")
        if out and out.exists() and not force:
            raise ConfigError(f"--out {out}: there is such a file; --force writes over it")
        found = drafted(files, name, time_zone, currency, basis)
        if out is None:
            say(found.text)
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(found.text, encoding="utf-8")
        say([f"{table}: {', '.join(d.looked.path.name for d in drafts)}"
             for table, drafts in found.tables.items()])  # fmt: skip
        say([f"{path.name}: like no table; its columns stand at the end" for path in found.unused])
        say([f"written: {out}, with {found.doubts} remarks that ask for a person (# ?)",
             f"next: python -m features quality {name} --data-dir {found.folder}"])  # fmt: skip


def quality(
    source: SourceName,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    json_: Json = False,
) -> None:
    """Build the tables of SOURCE and say how good they are: accounts, checks, missing values.

    A failed check of severity error stops the build: nothing is published, exit code 2.
    """
    with answering(store, None, data_dir) as place:
        from features.pages import text_table
        from features.quality import PAGE, read_report

        stored = _built(place, source, set_)
        folder, tables = stored.published.folder, stored.facts["tables"]
        checks = read_report(folder, "checks")
        if json_:
            told = {
                name: {k: t[k] for k in ("seen", "totals", "rows")} for name, t in tables.items()
            }
            say(json.dumps({"tables": told, "checks": checks, "folder": str(folder)}))
            return
        say([*text_table([_line(name, facts) for name, facts in tables.items()]), ""])
        reasons = [
            {"table": name, "kind": kind, "reason": reason, "records": str(n)}
            for name, facts in tables.items()
            for kind in ("quarantined", "duplicate", "filtered")
            for reason, n in facts["account"][kind].items()
        ]
        say([*text_table(reasons), ""] if reasons else [])
        say([*text_table(checks), ""] if checks else ["no check is declared", ""])
        mended = [row for row in read_report(folder, "repairs") if int(row["repaired"])]
        say([*text_table(mended), ""] if mended else [])
        say([f"look at {row['table']}.{row['column']} ({row['rows']} rows): {row['remark']}"
             for row in read_report(folder, "remarks")])  # fmt: skip
        empty = [row for row in read_report(folder, "columns") if int(row["missing"])]
        say([*text_table(empty), ""] if empty else [])
        say(f"report: {folder / PAGE}")


def quarantine(
    source: SourceName,
    table: Annotated[str, typer.Option(help="Of this table alone.")] = "",
    reason: Annotated[str, typer.Option(help="With these words in the reason alone.")] = "",
    replay: Annotated[
        bool, typer.Option("--replay", help="Build anew and say what became of each record.")
    ] = False,
    export: Annotated[
        Path | None, typer.Option(help="Write the records' raw lines to this file; personal data.")
    ] = None,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
) -> None:
    """Show the records of SOURCE that were set aside: file, line and reason.

    Mend the mapping in the YAML, or the file under its old name, then --replay.
    """
    with answering(store, None, data_dir) as place:
        from features.pages import text_table
        from features.quarantine import last_build, read_quarantine, replayed, write_raw_lines

        before = last_build(place, source)
        aside = read_quarantine(before, table, reason)
        if replay:
            stored = _built(place, source, set_)
            say(text_table(replayed(aside, stored.published.folder)))
            say(f"tables: {stored.published.folder}")
            return
        if export is not None:
            write_raw_lines(aside, export)
            say(f"written: {export}, {len(aside)} records")
            return
        shown = ("table", "file", "line", "reason")
        say(text_table([{k: str(row[k]) for k in shown} for row in aside]))
        say(f"{len(aside)} records, of the build {before}")


def lineage(
    source: SourceName,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
) -> None:
    """Show which files the tables of SOURCE came from: bytes, SHA-256, records, known time."""
    with answering(store, None, data_dir) as place:
        from features.pages import text_table
        from features.quality import read_report

        stored = _built(place, source, set_)
        say(text_table(read_report(stored.published.folder, "lineage")))
        say(f"report: {stored.published.folder / 'lineage.csv'}")


def _built(place: "Workspace", source: str, assignments: list[str]) -> "Stored":
    from features.settings import override
    from features.sources import load_source
    from features.tables import build_tables

    return build_tables(place, load_source(place, source, override({}, assignments)))


def _line(name: str, facts: dict[str, Any]) -> dict[str, str]:
    counts = {kind: str(n) for kind, n in facts["totals"].items()}
    span = {"first": facts["first"][:10], "last": facts["last"][:10]}
    return {"table": name, "seen": str(facts["seen"]), **counts, "rows": str(facts["rows"]), **span}


def allowed(
    source: SourceName,
    purpose: Annotated[str, typer.Option(help="As the ledger calls it, such as marketing.")],
    channel: Annotated[
        str | None, typer.Option(help="Such as email; none: consent not tied to a channel.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="Date; default: the end of the data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the customers' numbers here.")] = None,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
) -> None:
    """Customers of SOURCE who may be approached: consent in force as known then, by the ledger.

    What happened last counts; of the same moment, the revocation.
    """
    with answering(store, None, data_dir) as place:
        from datetime import datetime

        from features.consent import allowed_refs
        from features.errors import ConfigError

        stored = _built(place, source, set_)
        try:
            moment = datetime.fromisoformat(as_of) if as_of else stored.end
        except ValueError:
            raise ConfigError(f"--as-of {as_of!r}: expected a date such as 2025-06-30") from None
        refs = allowed_refs(stored, moment, purpose, channel)
        if out is not None:
            out.touch(mode=0o600)
            out.write_text("".join(f"{ref}\n" for ref in ["customer_ref", *refs]))
        everyone = stored.facts["customers"]
        where = channel or "every channel"
        say(f"{len(refs)} of {everyone} customers allow {purpose} by {where}, as of {moment}")


COMMANDS = (describe, quality, quarantine, lineage, allowed)
"""What the door of the package opens."""
