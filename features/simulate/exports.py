"""All raw exports of a world, and the truth beside them.

::

    world, people --one process after the other--> rows of tables --files--> <table>.csv.gz
                                               +--> what nobody can see --> truth/
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import DataError
from features.settings import validated
from features.simulate.campaigns import draw_campaigns
from features.simulate.catalogue import draw_catalogue
from features.simulate.config import SimulateConfig, Table
from features.simulate.draws import times
from features.simulate.engagement import draw_engagement
from features.simulate.feedback import draw_feedback
from features.simulate.files import write_table
from features.simulate.identifiers import draw_identifiers
from features.simulate.leaving import draw_leaving
from features.simulate.loyalty import draw_loyalty
from features.simulate.misuse import Misuse, as_seen, draw_misuse, misuse_rows, named
from features.simulate.order_lines import write_order_lines
from features.simulate.people import People, draw_people
from features.simulate.stages import stage_paths
from features.simulate.subscriptions import draw_subscriptions
from features.simulate.world import World, draw_world

TRUTH = "truth"
FRAMES = ("customers", "orders", "lines", "products")
Frames = dict[str, pd.DataFrame]


def simulate(config: SimulateConfig, folder: Path) -> dict[str, Any]:
    """Write the raw exports and the truth of a world into ``folder``; equal configs, equal bytes.

    ``<table>.csv.gz`` is what a system writes, one for each of ``config.tables``. ``truth/`` holds
    Parquet files, which no declaration of a source may match: the frames of
    :class:`~features.simulate.world.World`, ``people`` (what is true of each customer beside
    purchases), ``visits``, ``contacts``, ``experience`` (of orders), ``feedback`` and
    ``contracts``, as the classes of these processes describe them; ``stages`` of customers, why
    they are ``leaving``; ``fraud``, ``abuse`` and ``misuse_lines``, which are in the exports and in
    none of the frames above; and ``facts.json``.

    Returns
    -------
    dict
        What ``facts.json`` says: ``config``; ``tables``: by table the number of ``records``,
        ``sound`` ones, ``defects`` and more, as :func:`~features.simulate.files.write_table` says.
    """
    world = draw_world(config)
    truth = folder / TRUTH
    truth.mkdir(parents=True, exist_ok=True)
    for name in FRAMES:
        _write_truth(getattr(world, name), truth / f"{name}.parquet")
    misuse = draw_misuse(world)
    for name, frame in (
        ("fraud", misuse.fraud), ("abuse", misuse.abuse), ("misuse_lines", misuse.lines),
    ):  # fmt: skip
        _write_truth(frame, truth / f"{name}.parquet")
    tables: dict[str, Any] = {}
    if "order_lines" in config.tables:
        tables["order_lines"] = write_order_lines(as_seen(world, misuse), folder)
    people = draw_people(world)
    shop, further = named(world, misuse), misuse_rows(world, people, misuse)
    known, visits = [people.frame], None
    for rows, latent, more in _processes(world, people, misuse):
        for table in config.tables:
            if table in rows:
                written = _together(rows[table], further.get(table))
                tables[table] = write_table(shop, table, written, folder)
        known.append(latent)
        visits = more.get("visits", visits)
        for name, frame in more.items():
            _write_truth(_dated(config, frame), truth / f"{name}.parquet")
    _write_truth(pd.concat(known, axis=1), truth / "people.parquet")
    _write_truth(stage_paths(world, people, visits), truth / "stages.parquet")
    _write_truth(draw_leaving(world, people), truth / "leaving.parquet")
    facts = {
        "config": config.model_dump(mode="json"),
        "tables": {table: tables[table] for table in config.tables},
    }
    (truth / "facts.json").write_text(json.dumps(facts, indent=1))
    return facts


def _processes(
    world: World, people: People, misuse: Misuse
) -> Iterator[tuple[Frames, pd.DataFrame, Frames]]:
    """Rows by table, columns about customers, and further truth of every process that is wanted."""

    def wanted(*tables: Table) -> bool:
        return not set(tables).isdisjoint(world.config.tables)

    nothing = pd.DataFrame(index=people.frame.index)
    yield people.rows, nothing, {}
    if wanted("products"):
        yield {"products": draw_catalogue(world)}, nothing, {}
    if wanted("contacts", "responses", "consents"):
        sent = draw_campaigns(world, people)
        rows = {"contacts": sent.contacts, "responses": sent.responses, "consents": sent.consents}
        yield rows, sent.customers, {"contacts": sent.contacts}
    if wanted("feedback"):
        said = draw_feedback(world, people)
        yield {"feedback": said.rows}, said.customers, {
            "experience": said.orders, "feedback": said.rows,
        }  # fmt: skip
    if wanted("loyalty"):
        yield {"loyalty": draw_loyalty(world)}, nothing, {}
    if wanted("subscriptions", "outcomes"):
        plans = draw_subscriptions(world, people)
        rows = {"subscriptions": plans.subscriptions, "outcomes": plans.outcomes}
        yield rows, nothing, {"contracts": plans.contracts}
    if wanted("identifiers"):
        known, owners = draw_identifiers(world, people)
        yield {"identifiers": known}, nothing, {"identifiers": owners}
    if wanted("events"):  # by far the largest, so that nothing else lies beside it
        seen = draw_engagement(world, people, misuse)
        yield {"events": seen.events}, seen.customers, {"visits": seen.visits}


def read_world(folder: Path) -> World:
    """The world that :func:`simulate` wrote into ``folder``.

    Raises
    ------
    DataError
        If there is no truth in the folder.
    """
    truth = folder / TRUTH
    if not (truth / "facts.json").is_file():
        raise DataError(f"{truth}: no facts.json; give a folder that `simulate` has written")
    facts = json.loads((truth / "facts.json").read_text())
    config = validated(SimulateConfig, facts["config"], str(truth / "facts.json"))
    return World(config, *(pq.read_table(truth / f"{name}.parquet").to_pandas() for name in FRAMES))


def _together(rows: pd.DataFrame, further: pd.DataFrame | None) -> pd.DataFrame:
    if further is None or further.empty:
        return rows
    return pd.concat([rows, further], ignore_index=True)


def _dated(config: SimulateConfig, frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with times for the seconds at which things happened."""
    if "happened" not in frame:
        return frame
    return frame.assign(happened=times(config, frame["happened"].to_numpy()))


def _write_truth(frame: pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, path, compression="zstd")
