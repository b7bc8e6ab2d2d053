"""Orders worked out slowly from lines, and a small history that the sets of orders share."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from features import columns as c
from tests.channel_worlds import random_channels
from tests.features.sets.oracle import Past
from tests.worlds import BEGAN, line, world

NEW_YEAR = datetime(2011, 1, 1)
"""The cutoff of :data:`HAND`."""
HAND = [
    # Two lines; the first order.
    line(1, "2009-12-15 10:00", "S1", 1000, 2, "A"),
    line(1, "2009-12-15 10:00", "S1", 500, 1, "B"),
    # Four bought, one of them taken back nine days later: worth 15.00.
    line(1, "2010-06-01 12:00", "S2", 2000, 4, "A"),
    line(1, "2010-06-10 12:00", "C2", -500, -1, "A", ref="S2"),
    # Taken back as a whole: no order at all.
    line(1, "2010-11-01 12:00", "S3", 700, 1, "E"),
    line(1, "2010-11-05 12:00", "C3", -700, -1, "E", ref="S3"),
    # On the edge of the last 30 days, and a second before the cutoff.
    line(1, "2010-12-02 00:00", "S4", 900, 3, "C"),
    line(1, "2010-12-31 23:59:59", "S5", 100, 1, "D"),
    # At the cutoff, and known only then: neither is seen.
    line(1, "2011-01-01 00:00", "S6", 9999, 9, "F"),
    line(1, "2010-12-20 00:00", "S7", 8888, 8, "G", known="2011-01-01 00:00"),
    # A return of something bought before the data begin, and nothing else.
    line(2, "2010-10-01 12:00", "C8", -300, -1, "H"),
    # One order, a year and ten days ago.
    line(3, "2009-12-22 00:00", "S9", 400, 2, "A"),
]


def hand() -> dict[str, Any]:
    """The world of :data:`HAND`."""
    return {"order_lines": world(HAND)}


def shops(seed: int) -> dict[str, pa.Table]:
    """Random orders and products, and customers of whom only a visit is known."""
    made = random_channels(seed)
    return {name: made[name] for name in ("order_lines", "products", "events")}


@dataclass(frozen=True, order=True)
class Order:
    """A kept order, net of what was taken back; the later one is the greater."""

    time: datetime
    ref: str
    age: float
    amount: int
    items: int
    lines: int
    discount: int | None
    """None where the source says it of no line."""


def kept_orders(past: Past, customer: int) -> list[Order]:
    """Orders of a customer as known then, oldest first."""
    by_order = defaultdict(list)
    for row in past.of(customer, "order_lines"):
        by_order[row[c.ORDER_REF]].append(row)
    orders = []
    for ref, rows in by_order.items():
        sold = [row for row in rows if not row[c.IS_RETURN]]
        amount = sum(row[c.AMOUNT] for row in rows)
        if sold and amount > 0:
            first = min(sold, key=lambda row: row[c.EVENT_TIME])
            told = [row[c.DISCOUNT] for row in sold if row[c.DISCOUNT] is not None]
            orders.append(
                Order(
                    first[c.EVENT_TIME], ref, first["age"], amount,
                    max(sum(row[c.QUANTITY] for row in rows), 0), len(sold),
                    sum(told) if told else None,
                )
            )  # fmt: skip
    return sorted(orders)


def observable(past: Past, days: float) -> bool:
    """Whether so many days before the cutoff lie within the data of the worlds of tests."""
    return (past.cutoff - BEGAN).days >= days
