"""Review: show, approve, reject, expire and roll back versions."""

import json
import logging
import os
from collections.abc import Callable
from typing import Any

import pandas as pd

from features.errors import ConfigError, NotApproved
from features.settings import Workspace
from training import card
from training.gates import failed
from training.mirror import mirror
from training.notify import tell
from training.record import Entry, Event, Record, champion, last_decision
from training.report import text_table
from training.tracker import review_folder
from training.versions import (
    approved,
    entries_of,
    registered,
    registered_entry,
    verified_folder,
    withdrawn,
)

log = logging.getLogger("perennial")

TEAM = "PERENNIAL_TEAM"
"""Set to anything: nobody approves what they made themselves."""
MOST_METRICS = 20
"""From here on those that gates speak of are shown alone, unless all are asked for."""


def show(
    place: Workspace, model: str, version: int | None = None, every_metric: bool = False
) -> str:
    """What a reviewer sees first: gates, metrics, decisions so far, and where the whole pack is.

    Parameters
    ----------
    every_metric
        Also those that no gate speaks of.

    Raises
    ------
    ConfigError
        If the model or version does not exist.
    """
    entries = entries_of(place, model)
    entry = registered(entries, model, version)
    pack = review_folder(place, model, entry.version)
    gates = pd.DataFrame(json.loads((pack / "gates.json").read_text()))
    metrics = pd.read_csv(pack / "metrics.csv")
    beside = card.beside(metrics, "answer", card.with_intervals(metrics, "value"))
    shown = beside
    if not every_metric and len(shown) > MOST_METRICS:
        gated = {str(name).partition(" ")[0] for name in gates["gate"]}
        headline = shown["metric"].isin(gated)
        shown = shown[headline] if headline.any() else shown.head(MOST_METRICS)
    left = len(beside) - len(shown)
    decisions = [e for e in entries if e.version == entry.version]
    standing = champion(entries)
    return "\n".join([
        f"{model} version {entry.version}, bundle {entry.digest[:16]}, registered {entry.time}",
        f"code: commit {entry.evidence['code']['commit']}, tree {entry.evidence['code']['tree']}",
        f"champion: {'version ' + str(standing.version) if standing else 'none yet'}",
        "", "Gates", text_table(gates),
        "", "Test cutoff, value [95 % interval]", text_table(shown),
        *([f"{left} more metrics: --every-metric, or the report"] if left else []),
        "", "Record",
        *[f"  {e.number} {e.time} {e.event} by {e.actor}: {e.reason}" for e in decisions],
        "", f"report: {pack / 'report.html'}", f"card: {pack / 'CARD.md'}",
    ])  # fmt: skip


def approve(
    place: Workspace,
    model: str,
    version: int,
    reviewer: str,
    reason: str,
    override: str = "",
    release: bool = False,
) -> Entry:
    """Make ``version`` the champion.

    Parameters
    ----------
    override
        Written reason for approving in spite of a failed gate or an earlier rejection; kept in the
        record.
    release
        Whether this is a release: then the code must be the committed code.

    Raises
    ------
    NotApproved
        If a gate failed or the version was rejected, both without override; the champion has
        changed since the gates were judged; the version is the champion already; a release comes
        from a changed tree; or in a team the reviewer is who ran the pipeline.
    """
    _named(reviewer, reason)
    entry = registered_entry(place, model, version)
    if os.environ.get(TEAM) and reviewer == entry.evidence.get("author"):
        raise NotApproved(
            f"model {model!r} version {version} was made by {reviewer!r}; somebody else of the "
            f"team has to approve it ({TEAM} is set)"
        )
    # The gates of the record count, which is sealed; the pack's are a copy to look at.
    gates = entry.evidence.get("gates")
    if not gates:
        raise NotApproved(
            f"model {model!r} version {version} has no gate results in the record; "
            "run its pipeline again, then approve the new version"
        )
    verified_folder(place, entry)
    review_folder(place, model, version)
    stopping = failed(gates)
    if stopping and not override:
        raise NotApproved.listing(
            f"model {model!r} version {version}: {len(stopping)} gate(s) failed; reject it, "
            "or give --override TEXT:",
            [f"{g['gate']}: found {g['found']}, demanded {g['demand']}" for g in stopping],
        )
    tree = entry.evidence["code"]["tree"]
    if release and tree != "clean":
        raise NotApproved(
            f"model {model!r} version {version}: its tree is {tree}; "
            "commit, run again and release that version"
        )

    def allow(entries: list[Entry]) -> None:
        standing = champion(entries)
        if standing is not None and standing.version == version:
            raise NotApproved(f"model {model!r} version {version} is the champion already")
        last = last_decision(entries, version)
        if last is not None and last.event == "rejected" and not override:
            raise NotApproved(
                f"model {model!r} version {version} {withdrawn(entries, version)}; run its "
                "pipeline again and approve the new version, or say with --override TEXT why that "
                "no longer holds"
            )
        present = standing.digest if standing else ""
        elsewhere = "imported" in entry.evidence and override
        if present not in (entry.evidence["against_champion"], entry.digest) and not elsewhere:
            raise NotApproved(
                f"model {model!r} version {version} was judged against another champion than the "
                f"present one ({'version ' + str(standing.version) if standing else 'none'}); "
                "run its pipeline again, then approve the new version"
                + ("; or give --override TEXT" if "imported" in entry.evidence else "")
            )

    evidence = {
        "failed_gates": [g["gate"] for g in stopping],
        "override": override,
        "release": release,
        "tree": tree,
    }
    return _decide(place, "approved", entry, reviewer, reason, evidence, allow)


def reject(place: Workspace, model: str, version: int, reviewer: str, reason: str) -> Entry:
    """Refuse ``version``; if it is the champion, the one before it stands again."""
    _named(reviewer, reason)
    entry = registered_entry(place, model, version)
    return _decide(place, "rejected", entry, reviewer, reason, {}, lambda _: None)


def expire(place: Workspace, model: str, version: int, reviewer: str, reason: str) -> Entry:
    """End the term of the champion ``version``; nobody stands until a version is approved.

    Raises
    ------
    NotApproved
        If the version is not the champion.
    """
    _named(reviewer, reason)
    entry = registered_entry(place, model, version)

    def allow(entries: list[Entry]) -> None:
        standing = champion(entries)
        if standing is None or standing.version != version:
            stands = f"version {standing.version}" if standing else "nobody"
            raise NotApproved(
                f"model {model!r} version {version} is not the champion ({stands} is); only the "
                "champion has a term to end"
            )

    return _decide(place, "expired", entry, reviewer, reason, {}, allow)


def rollback(place: Workspace, model: str, version: int, reviewer: str, reason: str) -> Entry:
    """Make an earlier approved ``version`` the champion again.

    Raises
    ------
    NotApproved
        If the version was never approved, was rejected since, or is the champion.
    """
    _named(reviewer, reason)
    approved(place, model, version)
    entry = registered_entry(place, model, version)

    def allow(entries: list[Entry]) -> None:
        standing = champion(entries)
        if standing is not None and standing.version == version:
            raise NotApproved(f"model {model!r} version {version} is the champion already")
        if state := withdrawn(entries, version):
            raise NotApproved(f"model {model!r} version {version} {state} meanwhile")

    return _decide(place, "rolled back", entry, reviewer, reason, {}, allow)


def _decide(
    place: Workspace,
    event: Event,
    entry: Entry,
    reviewer: str,
    reason: str,
    evidence: dict[str, Any],
    allow: Callable[[list[Entry]], None],
) -> Entry:
    for line in mirror(place, entry.model):
        log.warning("MLflow differed from the record and was repaired: %s", line)
    record = Record(place)
    decided = record.append(
        event, entry.model, entry.version, entry.digest, reviewer, reason, evidence, allow
    )
    mirror(place, entry.model)
    tell(decided)
    return decided


def _named(reviewer: str, reason: str) -> None:
    if not reviewer.strip() or not reason.strip():
        raise ConfigError(
            "a decision needs --reviewer NAME and --reason TEXT, neither of them empty"
        )
