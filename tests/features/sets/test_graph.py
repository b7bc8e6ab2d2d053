"""The set ``graph``."""

from typing import Any

import pytest

from features import columns as c
from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, T, ago, agree, computed, least, share
from tests.worlds import line, world


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python; orders as they are where nothing is taken back."""
    home, made, received, ages = set(), set(), set(), []
    for entry in past.tables["relations"]:
        one, other, kind = entry[c.CUSTOMER], entry[c.OTHER], entry[c.KIND]
        if one == other or customer not in (one, other):
            continue
        neighbour = other if customer == one else one
        if kind == "household":
            home.add(neighbour)
        elif customer == one:
            made.add(neighbour)
            ages.append(entry["age"])
        else:
            received.add(neighbour)
    everyone, days = home | made | received, config.window_days
    orders = {one: _orders(past, one, days) for one in everyone}
    return {
        "household_others": len(home),
        "referrals_made": len(made),
        "referrals_received": len(received),
        "last_referral_days": least(ages),
        "neighbours": len(everyone),
        f"household_orders_{days}d": sum(orders[one] for one in home) if home else None,
        f"neighbour_orders_{days}d": sum(orders.values()) if everyone else None,
        f"active_neighbours_share_{days}d": share(
            sum(n > 0 for n in orders.values()), len(everyone)
        ),
    }


def _orders(past: Past, customer: int, days: int) -> int:
    lines = past.of(customer, "order_lines")
    kept = 0
    for ref in {entry[c.ORDER_REF] for entry in lines}:
        mine = [entry for entry in lines if entry[c.ORDER_REF] == ref]
        sold = [entry["age"] for entry in mine if not entry[c.IS_RETURN]]
        kept += bool(sold) and sum(e[c.AMOUNT] for e in mine) > 0 and max(sold) <= days
    return kept


@pytest.mark.parametrize(("seed", "days"), [(1, 90), (2, 400)])
def test_the_slow_way_agrees(seed: int, days: int) -> None:
    """Plain Python over the rows of all customers gives every value of a random world."""
    agree("graph.Graph", random_channels(seed, customers=30), slowly, window_days=days)


def relation(one: int, other: int, kind: str, days: float, **more: Any) -> dict[str, Any]:
    """A relation that begins so many days before the cutoff."""
    return row("relations", one, ago(days), **{c.OTHER: other, c.KIND: kind, **more})


def test_worked_by_hand() -> None:
    """Two of a household, stated from both sides, and a referral; the one referred buys."""
    relations = [
        relation(1, 2, "household", 100), relation(2, 1, "household", 99),
        relation(1, 3, "referral", 50), relation(4, 1, "referral", 200),
        relation(1, 1, "household", 10),
    ]  # fmt: skip
    lines = world([
        line(2, ago(91), "A"), line(3, ago(10), "B"), line(3, ago(5), "C"),
        line(4, ago(5), "D"), line(4, ago(4), "E", -100, -1, ref="D"),
    ])  # fmt: skip
    found = computed("graph.Graph", {**world_of(relations=relations), "order_lines": lines})
    assert found[1, T] == pytest.approx({
        "household_others": 1, "referrals_made": 1, "referrals_received": 1,
        "last_referral_days": 50, "neighbours": 3, "household_orders_90d": 0,
        "neighbour_orders_90d": 2, "active_neighbours_share_90d": 1 / 3,
    })  # fmt: skip
    assert found[3, T]["referrals_received"] == 1
    assert found[2, T]["household_others"] == 1


def test_what_neighbours_do_is_known_late() -> None:
    """An order of a neighbour counts from when it is known, and so does the relation."""
    lines = world([line(1, ago(300), "A"), line(2, ago(5), "B", known=ago(0))])
    relations = [relation(1, 2, "household", 5), relation(3, 1, "household", 9, known_time=ago(0))]
    found = computed("graph.Graph", {**world_of(relations=relations), "order_lines": lines})
    assert (found[1, T]["household_orders_90d"], found[1, T]["household_others"]) == (0, 1)


def test_source_without_orders() -> None:
    """Who belongs together is known, what they order is not."""
    found = computed("graph.Graph", world_of(relations=[relation(1, 2, "household", 5)]))[1, T]
    assert found["household_others"] == 1
    assert found["household_orders_90d"] is found["active_neighbours_share_90d"] is None


def test_customer_who_is_only_named_by_others() -> None:
    """Somebody of whom there is no row is no customer yet, and gets none."""
    found = computed("graph.Graph", world_of(relations=[relation(1, 2, "referral", 5)]))
    assert set(found) == {(1, T)}
