"""Changes of a world that no honest feature can notice.

A world is canonical tables in memory. Each function gives another world in which everything that
may be known at the cutoff is as it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features import columns as c
from features.canonical import CANONICAL

YEARS = 28
CYCLE = 1461 * timedelta(weeks=1)
"""28 years: until 2099 the calendar is the same again, weekdays and leap days included."""
COPIES = 5_000
"""Rows that are added to a table at most."""
ALIKE = (c.CUSTOMER, c.EVENT_TIME, c.KNOWN_TIME, c.ROW)
"""Columns of an added row that are not mixed."""


@dataclass(frozen=True)
class World:
    """Canonical tables in memory, and the time of each one's first row."""

    tables: Mapping[str, pa.Table]
    began: Mapping[str, datetime]


def later_rows(world: World, cutoff: datetime) -> World:
    """What happens from ``cutoff`` on is something else, some of it announced before."""
    made = {}
    for name, table in world.tables.items():
        past = table.filter(pc.less(table[c.EVENT_TIME], _moment(cutoff)))
        added = _mixed(past)
        ahead = np.arange(added.num_rows) % 2
        event = np.datetime64(cutoff, "us") + ahead * np.timedelta64(3, "D")
        known = np.where(ahead == 0, np.datetime64(cutoff - timedelta(days=5), "us"), event)
        made[name] = _renumbered(pa.concat_tables([past, _timed(added, event, known)]))
    return World(made, world.began)


def late_news(world: World, cutoff: datetime) -> World:
    """What is learned from ``cutoff`` on is something else, however long ago it happened."""
    made = {}
    for name, table in world.tables.items():
        past = table.filter(pc.less(table[c.KNOWN_TIME], _moment(cutoff)))
        added = _mixed(past.filter(pc.less(past[c.EVENT_TIME], _moment(cutoff))))
        event = added[c.EVENT_TIME].to_numpy()
        known = np.datetime64(cutoff, "us") + np.arange(len(event)) % 2 * np.timedelta64(3, "D")
        made[name] = _renumbered(pa.concat_tables([past, _timed(added, event, known)]))
    return World(made, world.began)


def shuffled(world: World) -> World:
    """Rows in another order with other numbers; those of equal clocks keep their sequence.

    The number says which of two rows of equal clocks is the later one, and nothing else.
    """
    made = {}
    for name, table in world.tables.items():
        rng = np.random.default_rng(5)
        number = rng.permutation(table.num_rows)
        rank = pc.sort_indices(table, [(k, "ascending") for k in ALIKE[1:]]).to_numpy()
        clocks = np.stack([table[k].to_numpy().astype("int64")[rank] for k in ALIKE[1:3]])
        tie = np.cumsum(np.r_[False, (np.diff(clocks) != 0).any(axis=0)][: len(rank)])
        number[rank] = number[rank][np.lexsort((number[rank], tie))]
        moved = _put(table, c.ROW, pa.array(number + 7))
        made[name] = moved.take(rng.permutation(table.num_rows))
    return World(made, world.began)


def of_customers(world: World, customers: Iterable[int]) -> World:
    """The rows of some customers alone; what belongs to no customer stays."""
    chosen = pa.array(sorted(customers), pa.int64())
    made = {
        name: table.filter(pc.is_in(table[c.CUSTOMER], chosen))
        if c.CUSTOMER in table.column_names else table
        for name, table in world.tables.items()
    }  # fmt: skip
    return World(made, world.began)


def another_time(world: World) -> World:
    """The same, 28 years later: times, dates and years of birth."""
    made = {}
    for name, table in world.tables.items():
        years = {k.name for k in CANONICAL[name].columns if k.unit == "year"}
        for field in table.schema:
            if pa.types.is_timestamp(field.type):
                later = pc.add(table[field.name], pa.scalar(CYCLE, pa.duration("us")))
                table = _put(table, field.name, later)
            elif field.name in years:
                table = _put(table, field.name, pc.add(table[field.name], YEARS))
        made[name] = table
    return World(made, {name: began + CYCLE for name, began in world.began.items()})


def _mixed(past: pa.Table) -> pa.Table:
    """Rows of the same customers that say something else: values of other rows, or unheard ones."""
    rng = np.random.default_rng(3)
    added = past.take(np.sort(rng.permutation(past.num_rows)[:COPIES]))
    unheard = pa.array(rng.random(added.num_rows) < 0.5)
    for field in added.schema:
        if field.name in ALIKE:
            continue
        values = added[field.name].take(rng.permutation(added.num_rows))
        if pa.types.is_string(field.type):
            values = pc.if_else(unheard, pc.binary_join_element_wise(values, "new", "-"), values)
        elif pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            values = pc.add(pc.multiply(values, 10), 1).cast(field.type)
        added = _put(added, field.name, values)
    return added


def _timed(
    table: pa.Table, event: NDArray[np.datetime64], known: NDArray[np.datetime64]
) -> pa.Table:
    for name, values in ((c.EVENT_TIME, event), (c.KNOWN_TIME, known)):
        table = _put(table, name, pa.array(values.astype("datetime64[us]")))
    return table


def _renumbered(table: pa.Table) -> pa.Table:
    return _put(table, c.ROW, pa.array(np.arange(table.num_rows)))


def _put(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), table.schema.field(name), values)


def _moment(cutoff: datetime) -> pa.Scalar:
    return pa.scalar(cutoff, pa.timestamp("us"))
