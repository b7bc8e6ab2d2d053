"""Versions as the record knows them: which one is approved, and its files, verified."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import ConfigError, DataError, NotApproved
from features.settings import Workspace
from training import bundle as bundles
from training.keys import verifying_key
from training.mirror import in_mlflow
from training.record import Entry, Record, champion, last_decision
from training.tracker import bundle_folder, client, review_folder

WITHDRAWN = {"rejected": "was rejected", "expired": "was declared expired"}


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
    entries = entries_of(place, model)
    if version is None:
        standing = champion(entries)
        if standing is None:
            raise NotApproved(
                f"model {model!r} has no approved version; look at one with "
                f"`python -m training review {model}`, then `python -m training approve {model} "
                "--version N --reviewer NAME --reason TEXT`"
            )
    else:
        registered(entries, model, version)
        standing = last_decision(entries, version)
        if standing is None or standing.event in WITHDRAWN:
            state = withdrawn(entries, version) or "has not been reviewed"
            raise NotApproved(
                f"model {model!r} version {version} {state}; only an approved version can "
                f"be champion or be packaged: `python -m training approve {model} "
                f"--version {version} --reviewer NAME --reason TEXT`"
            )
    Record(place).vouch(standing)
    in_mlflow(place, client(place), model, entries)
    return Approved(
        model,
        standing.version,
        standing.digest,
        verified_folder(place, standing),
        standing.actor,
        standing.time,
    )


def withdrawn(entries: list[Entry], version: int) -> str:
    """By whom and why a version was last rejected or declared expired; empty if it was not."""
    last = last_decision(entries, version)
    if last is None or last.event not in WITHDRAWN:
        return ""
    return f"{WITHDRAWN[last.event]} by {last.actor} ({last.reason})"


def registered_entry(place: Workspace, model: str, version: int | None) -> Entry:
    """The entry that registered a version of ``model``, or the newest one.

    Raises
    ------
    ConfigError
        If the model or version does not exist.
    """
    return registered(entries_of(place, model), model, version)


def entries_of(place: Workspace, model: str) -> list[Entry]:
    """What the record says of a model.

    Raises
    ------
    ConfigError
        If it says nothing.
    """
    record = Record(place)
    entries = record.entries(model)
    if not entries:
        known = sorted({entry.model for entry in record.entries()})
        raise ConfigError(
            f"no model {model!r} in {place.registry}; "
            f"known: {known or 'none, run a pipeline first'}"
        )
    return entries


def registered(entries: list[Entry], model: str, version: int | None) -> Entry:
    """The entry among ``entries`` that registered a version, or the newest one.

    Raises
    ------
    ConfigError
        If there is no such version.
    """
    found = {e.version: e for e in entries if e.event == "registered"}
    if version is None:
        return found[max(found)]
    if version not in found:
        raise ConfigError(
            f"model {model!r} has no version {version} with a review pack; "
            f"registered by a run: {sorted(found)}"
        )
    return found[version]


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


def bundle_of(place: Workspace, entry: Entry) -> bundles.Loaded:
    """The verified bundle of a recorded version."""
    return bundle_at(place, verified_folder(place, entry))


def data_of(place: Workspace, entry: Entry) -> dict[str, Any]:
    """The account of the data that a recorded version was made of, as its review pack tells it."""
    folder = review_folder(place, entry.model, entry.version)
    account: dict[str, Any] = json.loads((folder / "data.json").read_text())
    return account


def bundle_at(place: Workspace, folder: Path) -> bundles.Loaded:
    """The bundle in ``folder``, verified with the key of this place."""
    return bundles.load(folder, verifying_key(place.keys))
