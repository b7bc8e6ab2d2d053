"""Who should hear of an item: the approved recommender's audience, as one file."""

from pathlib import Path

from features import columns as c
from features.errors import ConfigError
from features.settings import Workspace
from serving.score import Scored, check_name, consenting, scoring, write
from training.recommend.asof import read_lines
from training.recommend.audience import Who, audience
from training.recommend.bundle import ListsBundle


def write_audience(
    place: Workspace,
    model: str,
    product: str,
    out: Path,
    *,
    size: int,
    who: Who = "discovery",
    number: int | None = None,
    as_of: str | None = None,
    purpose: str | None = None,
    channel: str | None = None,
) -> Scored:
    """Write the customers who are likeliest to take ``product`` next, best first.

    Parameters
    ----------
    product
        The source's own id of an item that is offered.
    out
        ``.csv`` or ``.parquet``: ``source_id``, ``rank``, ``log_odds``, ``had_before``.
    size
        At most so many customers, at least 20.
    who
        Those who never had it, who had it, or all.
    number, as_of, purpose, channel
        As :func:`serving.score.score`.

    Raises
    ------
    ConfigError
        If the model makes no lists, or the file's kind is unknown.
    NotApproved, DataError
        As :func:`serving.score.score` and :func:`training.recommend.audience.audience`.
    """
    check_name(out)
    version = scoring(place, model, number, as_of)
    if not isinstance(version.loaded, ListsBundle):
        kind = version.loaded.answer.kind
        raise ConfigError(f"{model!r} answers a question of kind {kind!r}: it knows no items")
    with version.stored.open(version.plan.config.sample) as tables:
        lines = read_lines(tables, version.moment, version.loaded.answer.interactions)
        without: set[int] = set()
        if purpose is not None:
            without = {*lines[c.CUSTOMER]} - consenting(tables, version.moment, purpose, channel)
    found = audience(version.loaded.recommender, lines, product, size, who, without)
    found.insert(0, "source_id", found.pop(c.CUSTOMER).map(version.stored.source_ids()))
    write(found.assign(product=product, **version.head), out)
    return Scored(out, len(found), version.moment, version.granted.version, len(without))
