"""Review: show, approve, reject and roll back versions. The record decides, MLflow mirrors it."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from features.errors import ConfigError, DataError, NotApproved
from features.settings import Workspace
from training import bundle as bundles
from training.gates import failed
from training.keys import verifying_key
from training.notify import tell
from training.record import DECISIONS, Entry, Event, Record, champion
from training.report import text_table
from training.track import CHALLENGER, bundle_folder, client, review_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

log = logging.getLogger("perennial")

CHAMPION, PREVIOUS = "champion", "previous"
WITHDRAWN = {"rejected": "was rejected", "expired": "was declared expired"}
HEAD = "record_head"
"""Tag of a registered model in MLflow: hash of the record's newest entry about it."""
TEAM = "PERENNIAL_TEAM"
"""Set to anything: nobody approves what they made themselves."""


MOST_METRICS = 20
"""From here on those that gates speak of are shown alone, unless all are asked for."""


@dataclass(frozen=True)
class Approved:
    """An approved version with its bundle, whose digest is the approved one."""

    model: str
    version: int
    digest: str
    folder: Path
    """The bundle's files."""
    reviewer: str
    approved_at: str


def bundle_of(place: Workspace, entry: Entry) -> bundles.Loaded:
    """The verified bundle of a recorded version."""
    return bundle_at(place, verified_folder(place, entry))


def bundle_at(place: Workspace, folder: Path) -> bundles.Loaded:
    """The bundle in ``folder``, verified with the key of this place."""
    return bundles.load(folder, verifying_key(place.keys))


def approved(place: Workspace, model: str, version: int | None = None) -> Approved:
    """The champion of ``model``, or one ``version`` that was approved and not rejected since.

    Raises
    ------
    ConfigError
        If the model or version does not exist.
    NotApproved
        If no reviewer has approved it.
    DataError
        If its files are not what was approved.
    """
    entries = _entries(place, model)
    if version is None:
        standing = champion(entries)
        if standing is None:
            raise NotApproved(
                f"model {model!r} has no approved version; look at one with "
                f"`python -m training review {model}`, then `python -m training approve {model} "
                "--version N --reviewer NAME --reason TEXT`"
            )
    else:
        registered = _registered(entries, model, version)
        decisions = [e for e in entries if e.version == version and e.event in DECISIONS]
        if not decisions or decisions[-1].event in WITHDRAWN:
            state = "has not been reviewed"
            if decisions:
                state = f"{WITHDRAWN[decisions[-1].event]} by {decisions[-1].actor}"
            raise NotApproved(
                f"model {model!r} version {registered.version} {state}; only an approved version "
                f"can be packaged: `python -m training approve {model} --version {version} "
                "--reviewer NAME --reason TEXT`"
            )
        standing = decisions[-1]
    Record(place).vouch(standing)
    _in_mlflow(place, client(place), model, entries)
    return Approved(
        model,
        standing.version,
        standing.digest,
        verified_folder(place, standing),
        standing.actor,
        standing.time,
    )


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
    entries = _entries(place, model)
    entry = _registered(entries, model, version)
    pack = review_folder(place, model, entry.version)
    gates = pd.DataFrame(json.loads((pack / "gates.json").read_text()))
    metrics = pd.read_csv(pack / "metrics.csv")
    metrics["value"] = [
        f"{v:.4f} [{low:.4f}, {high:.4f}]"
        for v, low, high in zip(
            metrics["value"], metrics["ci_low"], metrics["ci_high"], strict=True
        )
    ]
    beside = metrics.pivot_table(
        index="metric", columns="answer", values="value", aggfunc="first", sort=False
    )
    shown = beside.reset_index()
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
        Written reason for approving in spite of a failed gate; kept in the record.
    release
        Whether this is a release: then the code must be the committed code.

    Raises
    ------
    NotApproved
        If a gate failed without override, the champion has changed since the gates were judged, the
        version is the champion already, a release comes from a changed tree, or in a team the
        reviewer is who ran the pipeline.
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
        decisions = [e for e in entries if e.version == version and e.event in DECISIONS]
        if decisions[-1].event in WITHDRAWN:
            raise NotApproved(
                f"model {model!r} version {version} {WITHDRAWN[decisions[-1].event]} meanwhile"
            )

    return _decide(place, "rolled back", entry, reviewer, reason, {}, allow)


def mirror(place: Workspace, model: str) -> list[str]:
    """Make MLflow's aliases and tags say what the record says; return what had to be repaired."""
    entries = Record(place).entries(model)
    api = client(place)
    standing = champion(entries)
    before = champion([e for e in entries if standing and e.version != standing.version])
    wanted = {
        CHAMPION: standing.version if standing else None,
        PREVIOUS: before.version if before else None,
    }
    registered = _in_mlflow(place, api, model, entries)
    aliases = dict(registered.aliases)
    repaired = []
    for alias, version in wanted.items():
        found = int(aliases[alias]) if alias in aliases else None
        if found == version:
            continue
        repaired.append(
            f"alias {alias} stood at {found or 'nothing'}, the record says {version or 'nothing'}"
        )
        if version is None:
            api.delete_registered_model_alias(model, alias)
        else:
            api.set_registered_model_alias(model, alias, str(version))
    for entry in {e.version: e for e in entries if e.event in ("registered", *DECISIONS)}.values():
        repaired += _mirror_tags(api, entry)
    if standing and int(aliases.get(CHALLENGER, 0)) == standing.version:
        api.delete_registered_model_alias(model, CHALLENGER)
    if entries and registered.tags.get(HEAD) != entries[-1].hash:
        api.set_registered_model_tag(model, HEAD, entries[-1].hash)
    return repaired


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


def _in_mlflow(
    place: Workspace, api: "MlflowClient", model: str, entries: list[Entry]
) -> "RegisteredModel":
    """The model as MLflow has it; refused if MLflow has seen entries that the record lacks."""
    from mlflow.exceptions import MlflowException

    try:
        found = api.get_registered_model(model)
    except MlflowException as error:
        raise DataError(
            f"model {model!r} is in the record of {place.registry} and not in MLflow ({error}); "
            "restore the registry folder from its backup; nothing was decided"
        ) from None
    seen = found.tags.get(HEAD)
    if seen is not None and seen not in {entry.hash for entry in entries}:
        raise DataError(
            f"{Record(place).path}: MLflow has seen an entry about {model!r} ({seen[:16]}) that is "
            "not there: the newest entries were cut off, or record and MLflow are of different "
            "moments; restore the registry folder from its backup"
        )
    return found


def _mirror_tags(api: "MlflowClient", entry: Entry) -> list[str]:
    version = str(entry.version)
    wanted = {
        "review": entry.event,
        "reviewed_by": entry.actor,
        "review_reason": entry.reason,
        "review_time": entry.time,
    }
    if entry.event == "registered":
        wanted = {"review": "pending"}
    found = api.get_model_version(entry.model, version).tags
    differing = [name for name, value in wanted.items() if found.get(name) != value]
    for name in differing:
        api.set_model_version_tag(entry.model, version, name, wanted[name])
    return [f"version {version}: tag {name}" for name in differing]


def _entries(place: Workspace, model: str) -> list[Entry]:
    record = Record(place)
    entries = record.entries(model)
    if not entries:
        known = sorted({entry.model for entry in record.entries()})
        raise ConfigError(
            f"no model {model!r} in {place.registry}; "
            f"known: {known or 'none, run a pipeline first'}"
        )
    return entries


def _registered(entries: list[Entry], model: str, version: int | None) -> Entry:
    registered = {e.version: e for e in entries if e.event == "registered"}
    if version is None:
        return registered[max(registered)]
    if version not in registered:
        raise ConfigError(
            f"model {model!r} has no version {version} with a review pack; "
            f"registered by a run: {sorted(registered)}"
        )
    return registered[version]


def verified_folder(place: Workspace, entry: Entry) -> Path:
    """Folder of a recorded version's bundle, which is what was recorded.

    Raises
    ------
    DataError
        If it is not, or is gone.
    """
    folder = bundle_folder(place, entry.model, entry.version)
    _, digest = bundles.read_verified(folder, verifying_key(place.keys))
    if digest != entry.digest:
        raise DataError(
            f"{folder}: bundle {digest[:16]}, the record of {entry.model!r} version "
            f"{entry.version} says {entry.digest[:16]}; the artifacts were exchanged: restore them"
        )
    return folder


def registered_entry(place: Workspace, model: str, version: int | None) -> Entry:
    """The entry that registered a version, or the newest one.

    Raises
    ------
    ConfigError
        If the model or version does not exist.
    """
    return _registered(_entries(place, model), model, version)


def _named(reviewer: str, reason: str) -> None:
    if not reviewer.strip() or not reason.strip():
        raise ConfigError(
            "a decision needs --reviewer NAME and --reason TEXT, neither of them empty"
        )
