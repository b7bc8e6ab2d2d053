"""What MLflow shows of the decisions. The record decides; aliases and tags say what it says."""

from typing import TYPE_CHECKING

from features.errors import DataError
from features.settings import Workspace
from training.record import DECISIONS, Entry, Record, champion
from training.tracker import CHALLENGER, client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

CHAMPION, PREVIOUS = "champion", "previous"
HEAD = "record_head"
"""Tag of a registered model in MLflow: hash of the record's newest entry about it."""


def mirror(place: Workspace, model: str) -> list[str]:
    """Make MLflow's aliases and tags say what the record says; return what had to be repaired."""
    entries, api = Record(place).entries(model), client(place)
    registered, standing = in_mlflow(place, api, model, entries), champion(entries)
    moved = _moved(registered, entries)
    for alias, (_, version) in moved.items():
        if version is None:
            api.delete_registered_model_alias(model, alias)
        else:
            api.set_registered_model_alias(model, alias, str(version))
    repaired = _said(moved)
    for entry in {e.version: e for e in entries if e.event in ("registered", *DECISIONS)}.values():
        repaired += _mirror_tags(api, entry)
    if standing and int(registered.aliases.get(CHALLENGER, 0)) == standing.version:
        api.delete_registered_model_alias(model, CHALLENGER)
    if entries and registered.tags.get(HEAD) != entries[-1].hash:
        api.set_registered_model_tag(model, HEAD, entries[-1].hash)
    return repaired


def misplaced(place: Workspace, model: str) -> list[str]:
    """Which of MLflow's aliases do not stand where the record says; nothing is repaired."""
    entries = Record(place).entries(model)
    return _said(_moved(in_mlflow(place, client(place), model, entries), entries))


def _moved(
    registered: "RegisteredModel", entries: list[Entry]
) -> dict[str, tuple[int | None, int | None]]:
    """By alias that stands elsewhere: the version found, and the one that the record says."""
    standing = champion(entries)
    before = champion([e for e in entries if standing and e.version != standing.version])
    wanted = {
        CHAMPION: standing.version if standing else None,
        PREVIOUS: before.version if before else None,
    }
    found = {name: int(registered.aliases[name]) for name in wanted if name in registered.aliases}
    return {a: (found.get(a), v) for a, v in wanted.items() if found.get(a) != v}


def _said(moved: dict[str, tuple[int | None, int | None]]) -> list[str]:
    return [
        f"alias {alias} stood at {found or 'nothing'}, the record says {version or 'nothing'}"
        for alias, (found, version) in moved.items()
    ]


def in_mlflow(
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
