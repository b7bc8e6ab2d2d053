"""Which Bentos there are to serve: the record says what was approved and packaged."""

import logging

from features.errors import ConfigError, NotApproved
from features.settings import Workspace
from serving import bento
from training.record import Record, champion

log = logging.getLogger("perennial")


def packaged(place: Workspace, model: str) -> str:
    """The Bento of the model's champion, as the record has it.

    Raises
    ------
    NotApproved
        If no version is approved.
    ConfigError
        If the champion was not packaged, or its Bento is gone.
    """
    entries = Record(place).entries(model)
    standing = champion(entries)
    if standing is None:
        raise NotApproved(
            f"model {model!r} has no approved version in {place.registry}; "
            f"look at one with `python -m training review {model}` and approve it"
        )
    for entry in reversed(entries):
        tag = str(entry.evidence.get("bento", ""))
        same = (entry.version, entry.digest) == (standing.version, standing.digest)
        if entry.event == "checked" and same and tag and bento.built(bento.home(place), tag):
            return tag
    raise ConfigError(
        f"{model!r} version {standing.version} is approved and not packaged in {place.store}: "
        f"run `python -m serving package {model}`"
    )


def everything(place: Workspace) -> list[str]:
    """The Bentos of all champions that are packaged, by the models' names.

    Raises
    ------
    ConfigError
        If there are none.
    """
    found = []
    for model in sorted({entry.model for entry in Record(place).entries()}):
        try:
            found.append(packaged(place, model))
        except (ConfigError, NotApproved) as error:
            log.info("      left out: %s", error)
    if not found:
        raise ConfigError(f"nothing is packaged in {place.store}: `python -m serving package`")
    return found


def pinned(place: Workspace, tag: str) -> str:
    """The model that a Bento pins, as packaging noted it."""
    for entry in reversed(Record(place).entries(tag.partition(":")[0])):
        if entry.evidence.get("bento") == tag and bento.STORED in entry.evidence:
            return str(entry.evidence[bento.STORED])
    raise ConfigError(
        f"no Bento {tag!r} was packaged from {place.registry}: "
        "run `python -m serving package MODEL`"
    )
