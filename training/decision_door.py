"""Commands about decisions: what a reviewer sees, and what a reviewer does."""

from pathlib import Path
from typing import Annotated

import typer

from features.door import DataDir, Registry, Store, answering, say

Model = Annotated[str, typer.Argument(help="Registered model, such as churn.", show_default=False)]
Version = Annotated[int, typer.Option(help="Version of the model.", show_default=False)]
Reviewer = Annotated[str, typer.Option(help="Who decides; kept in the record.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; kept in the record.", show_default=False)]
Override = Annotated[
    str, typer.Option(help="Why a failed gate or a rejection does not matter; kept in the record.")
]
Release = Annotated[
    bool, typer.Option("--release", help="Demand that the code is the committed code.")
]


def review(
    model: Model,
    version: Annotated[int | None, typer.Option(help="Version; the newest if not given.")] = None,
    every_metric: Annotated[
        bool, typer.Option("--every-metric", help="Also metrics that no gate speaks of.")
    ] = False,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Show gates, metrics beside baselines and champion, the record, and where the pack is."""
    with answering(store, registry) as place:
        from training import review as room

        say(room.show(place, model, version, every_metric))


def ledger(
    model: Model, data_dir: DataDir = None, store: Store = None, registry: Registry = None
) -> None:
    """Evaluate logged answers whose labels have matured, and attach that to their versions.

    The answers are those of the prediction log: of services, and of `python -m serving score`.
    """
    with answering(store, registry, data_dir) as place:
        from training import ledger as book
        from training.report import text_table

        found = book.evaluate(place, model)
        told = book.entries(place, model)
        say(text_table(told) if len(told) else f"nothing logged of {model!r} has matured yet")
        say([f"{len(found)} new", *(text for matured in found for text in matured.alerts)])


def approve(
    model: Model,
    version: Version,
    reviewer: Reviewer,
    reason: Reason,
    override: Override = "",
    release: Release = False,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Make a version the champion; what failed a gate or was rejected takes a written override."""
    with answering(store, registry) as place:
        from training import review as room

        entry = room.approve(place, model, version, reviewer, reason, override, release)
        say(f"{model} version {version} is champion; record entry {entry.number}")


def reject(
    model: Model,
    version: Version,
    reviewer: Reviewer,
    reason: Reason,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Refuse a version; if it is the champion, the one before it stands again."""
    with answering(store, registry) as place:
        from training import review as room

        entry = room.reject(place, model, version, reviewer, reason)
        say(f"{model} version {version} is rejected; record entry {entry.number}")


def expire(
    model: Model,
    version: Version,
    reviewer: Reviewer,
    reason: Reason,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """End the champion's term: nothing is packaged until another version is approved."""
    with answering(store, registry) as place:
        from training import review as room

        entry = room.expire(place, model, version, reviewer, reason)
        say(f"{model} version {version} is expired; record entry {entry.number}")


def rollback(
    model: Model,
    version: Version,
    reviewer: Reviewer,
    reason: Reason,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Make an earlier approved version the champion again."""
    with answering(store, registry) as place:
        from training import review as room

        entry = room.rollback(place, model, version, reviewer, reason)
        say(f"{model} version {version} is champion again; record entry {entry.number}")


def reviewer(
    name: Annotated[str, typer.Argument(help="As given to --reviewer.", show_default=False)],
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Make a reviewer's key pair, which signs that person's decisions."""
    with answering(store, registry) as place:
        from training.keys import add_reviewer

        public = add_reviewer(place.keys, name)
        say([
            f"{name} can decide here; keep {public.with_suffix('.key')} to that person alone",
            f"elsewhere {name} is trusted once {public} is copied there",
        ])  # fmt: skip


def export(
    model: Model,
    version: Version,
    out: Annotated[Path, typer.Option("--out", help="File to write.", show_default=False)],
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Write a version, its run, pack and record entries to one signed file, for another machine."""
    with answering(store, registry) as place:
        from training import carry

        carry.export(place, model, version, out)
        say(f"{out}: {model} version {version}, {out.stat().st_size:,} bytes")
        say(
            f"where it is imported, {place.keys / 'signing.pub'} has to lie as keys/places/NAME.pub"
        )


def import_(
    file: Annotated[Path, typer.Argument(help="What `export` wrote.", show_default=False)],
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Register a version that another machine exported, as an unapproved challenger."""
    with answering(store, registry) as place:
        from training import carry

        entry = carry.import_(place, file)
        say([
            f"{entry.model} version {entry.version}; {entry.reason}",
            f"review it: python -m training review {entry.model} --version {entry.version}",
        ])  # fmt: skip


COMMANDS = (review, ledger, approve, reject, expire, rollback, reviewer, export, import_)
