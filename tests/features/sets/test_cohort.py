"""The sets ``cohort.Cohort`` and ``cohort.Peers``."""

from datetime import datetime
from typing import Any

import pytest

from features import columns as c
from tests.channel_worlds import row, world_of
from tests.features.sets.oracle import Past, agree, computed, mean, share
from tests.features.sets.ordering import NEW_YEAR, Order, hand, kept_orders, shops
from tests.worlds import line, world

T = NEW_YEAR


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """``Cohort`` in plain Python."""
    orders = kept_orders(past, customer)
    names = (
        "age_periods", "first_quarter", "first_value", "first_items", "first_lines",
        "first_categories", "first_discount_share", "second_after_days",
    )  # fmt: skip
    if not orders:
        return dict.fromkeys(names)
    first = orders[0]
    categories = {entry[c.PRODUCT]: entry[c.CATEGORY] for entry in past.tables["products"]}
    sold = past.of(customer, "order_lines", is_return=False, order_ref=first.ref)
    named = {categories.get(line[c.PRODUCT]) for line in sold} - {None}
    told = first.discount is not None
    return {
        "age_periods": first.age // config.period_days,
        "first_quarter": (first.time.month + 2) // 3,
        "first_value": first.amount / 100,
        "first_items": first.items,
        "first_lines": first.lines,
        "first_categories": len(named) or None,
        "first_discount_share": (
            share(first.discount or 0, (first.discount or 0) + first.amount) if told else None
        ),
        "second_after_days": first.age - orders[1].age if len(orders) > 1 else None,
    }


def peers_slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """``Peers`` in plain Python."""
    everyone = {entry[c.CUSTOMER] for entry in past.tables["order_lines"]}
    histories = {who: kept_orders(past, who) for who in everyone}

    def period(orders: list[Order]) -> Any:
        return orders[0].age // config.period_days

    own = histories.get(customer)
    cohort = [o for o in histories.values() if own and o and period(o) == period(own)]
    return {
        "peers_customers": len(cohort) or None,
        "peers_repeat_share": mean(len(orders) > 1 for orders in cohort),
        "peers_orders_mean": mean(len(orders) for orders in cohort),
        "peers_spend_mean": mean(sum(order.amount for order in o) / 100 for o in cohort),
    }


@pytest.mark.parametrize(("seed", "days"), [(1, 30), (2, 200)])
def test_the_slow_way_agrees(seed: int, days: int) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    some = shops(seed)
    agree("cohort.Cohort", some, slowly, period_days=days)
    agree("cohort.Peers", some, peers_slowly, period_days=days)


def test_worked_by_hand() -> None:
    """The first order of December 2009, 15.00 in two lines; without products no category."""
    found = computed("cohort.Cohort", hand(), [T])
    assert found[1, T] == pytest.approx({
        "age_periods": 12, "first_quarter": 4, "first_value": 15.0, "first_items": 3,
        "first_lines": 2, "first_categories": None, "first_discount_share": None,
        "second_after_days": 168 + 2 / 24,
    })  # fmt: skip
    assert set(found[2, T].values()) == {None}
    peers = computed("cohort.Peers", hand(), [T])
    assert peers[1, T] == pytest.approx({  # customers 1 and 3
        "peers_customers": 2, "peers_repeat_share": 0.5, "peers_orders_mean": 2.5,
        "peers_spend_mean": 22.0,
    })  # fmt: skip
    assert set(peers[2, T].values()) == {None}


def test_first_order_given_back() -> None:
    """Once the first order is taken back as a whole, the second was the first."""
    lines = [
        line(1, "2010-03-01", "S1", 700),
        line(1, "2010-05-01", "S2", 900),
        line(1, "2010-06-01", "C1", -700, -1, ref="S1"),
    ]
    early, late = datetime(2010, 5, 15), datetime(2010, 6, 15)
    found = computed("cohort.Cohort", {"order_lines": world(lines)}, [early, late])
    assert [found[1, t]["first_value"] for t in (early, late)] == [7, 9]
    assert [found[1, t]["first_quarter"] for t in (early, late)] == [1, 2]
    assert [found[1, t]["second_after_days"] for t in (early, late)] == [61, None]


def test_discount_and_categories_of_the_first_order() -> None:
    """Two categories, 2.00 off a list value of 14.00."""
    lines = [
        row("order_lines", when="2010-03-01", product_id=product, amount_minor=400,
            discount_minor=discount)
        for product, discount in (("A", 100), ("B", 0), ("C", 100))
    ]  # fmt: skip
    products = [
        row("products", when="2010-01-01", product_id=product, category=category)
        for product, category in (("A", "pens"), ("B", "ink"), ("C", "pens"))
    ]
    world = world_of(order_lines=lines, products=products)
    found = computed("cohort.Cohort", world, [T])[1, T]
    assert found["first_categories"] == 2
    assert found["first_discount_share"] == pytest.approx(200 / 1400)
