"""The set ``assortment``, and the ledger of purchases behind it."""

import math
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import columns as c
from features.sets.assortment import AssortmentConfig
from tests.channel_worlds import row, world_of
from tests.features.sets.oracle import Past, agree, computed, share
from tests.features.sets.ordering import NEW_YEAR, hand, kept_orders, shops
from tests.worlds import DAY, line, random_world, world, worlds

USE = "assortment.Assortment"
T = NEW_YEAR


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    sold = past.of(customer, "order_lines", is_return=False)
    purchases = {(row[c.PRODUCT], row[c.EVENT_TIME]): row["age"] for row in sold}
    moments = defaultdict(list)
    for (product, _), age in purchases.items():
        moments[product].append(age)
    values: dict[str, Any] = {
        "products_total": len(moments),
        "repeat_share": share(len(purchases) - len(moments), len(purchases)),
    }
    for days in config.windows_days:
        inside = sum(age <= days for age in purchases.values())
        products = sum(min(ages) <= days for ages in moments.values())
        firsts = sum(max(ages) <= days for ages in moments.values())
        orders = [order for order in kept_orders(past, customer) if order.age <= days]
        values |= {
            f"products_{days}d": products,
            f"repeat_share_{days}d": share(inside - firsts, inside),
            f"first_time_share_{days}d": share(firsts, products),
            f"unit_price_{days}d": share(
                sum(order.amount for order in orders) / 100, sum(order.items for order in orders)
            ),
        }
    return values | _by_catalogue(past, sold, config)


def _by_catalogue(past: Past, sold: list[dict[str, Any]], config: Any) -> dict[str, Any]:
    days = config.catalogue_days
    latest: dict[str, Any] = {}
    listed: dict[str, float] = {}
    prices = defaultdict(list)
    for entry in past.tables.get("products", []):
        latest[entry[c.PRODUCT]] = entry
        listed.setdefault(entry[c.PRODUCT], entry["age"])
    for entry in latest.values():
        if entry["price_minor"] is not None and entry[c.CATEGORY] is not None:
            prices[entry[c.CATEGORY]].append(entry["price_minor"])
    usual = {category: sum(found) // len(found) for category, found in prices.items()}
    told = [line for line in sold if line["age"] <= days and line[c.PRODUCT] in latest]
    values: dict[str, Any] = {}
    for word, plural in ((c.CATEGORY, "categories"), ("brand", "brands")):
        words = [latest[line[c.PRODUCT]][word] for line in told]
        counts = Counter(word for word in words if word is not None)
        n = counts.total()
        values |= {
            f"{plural}_{days}d": len(counts) or None,
            f"{word}_top_share_{days}d": share(max(counts.values(), default=0), n),
            f"{word}_entropy_nats_{days}d": share(
                sum(k * math.log(n / k) for k in counts.values()), n
            ),
        }
    priced = [line for line in told if latest[line[c.PRODUCT]][c.CATEGORY] in usual]
    paid = sum(line[c.AMOUNT] for line in priced)
    at_usual = sum(line[c.QUANTITY] * usual[latest[line[c.PRODUCT]][c.CATEGORY]] for line in priced)
    values[f"price_level_{days}d"] = share(paid, at_usual)
    new = sum(listed[line[c.PRODUCT]] <= config.launched_days for line in told)
    values[f"new_{config.launched_days}d_share_{days}d"] = share(new, len(told))
    return values


@pytest.mark.parametrize(
    ("seed", "config"),
    [
        (1, {}),
        (2, {"windows_days": (45,), "catalogue_days": 200, "launched_days": 400}),
    ],
)
def test_the_slow_way_agrees(seed: int, config: dict[str, Any]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree(USE, shops(seed), slowly, **config)


def test_without_products_the_catalogue_is_missing() -> None:
    """A source without a product table tells no category, and the rest stays as it is."""
    agree(USE, {"order_lines": random_world(3)}, slowly)


@settings(max_examples=15, deadline=None)
@given(table=worlds(), days=st.integers(20, 500), window=st.integers(1, 400))
def test_ledger_counts_as_the_lines_do(table: pa.Table, days: int, window: int) -> None:
    """News in any order, ties and repeats: the sums of the ledger are the distinct counts."""
    t = datetime(2009, 1, 1) + days * DAY
    past = Past({"order_lines": table}, t)
    found = computed(USE, {"order_lines": table}, [t], windows_days=(window,))
    for (customer, _), values in found.items():
        expected = slowly(past, customer, AssortmentConfig(windows_days=(window,)))
        for name in ("products_total", "repeat_share"):
            assert values[name] == expected[name]
        for name in ("products", "repeat_share", "first_time_share"):
            assert values[f"{name}_{window}d"] == expected[f"{name}_{window}d"]


def test_worked_by_hand() -> None:
    """A twice, B, C, D, and E that was given back: bought, if not kept."""
    found = computed(USE, hand(), [T], windows_days=(90, 365))[1, T]
    told = {name: value for name, value in found.items() if value is not None}
    assert told == pytest.approx({
        "products_total": 5, "repeat_share": 1 / 6,
        "products_90d": 3, "repeat_share_90d": 0, "first_time_share_90d": 1,
        "unit_price_90d": 10 / 4,
        "products_365d": 4, "repeat_share_365d": 1 / 4, "first_time_share_365d": 3 / 4,
        "unit_price_365d": 25 / 7,
    })  # fmt: skip


def test_earlier_purchase_that_is_learned_late() -> None:
    """What was bought for the first time is no first any more, once an older sale is known."""
    lines = [
        line(1, "2010-12-01", "S2"),
        line(1, "2009-06-01", "S1", known="2010-12-10"),
    ]
    before, after = datetime(2010, 12, 5), datetime(2010, 12, 15)
    found = computed(USE, {"order_lines": world(lines)}, [before, after], windows_days=(90,))
    assert [found[1, t]["first_time_share_90d"] for t in (before, after)] == [1, 0]
    assert [found[1, t]["repeat_share_90d"] for t in (before, after)] == [0, 1]
    assert [found[1, t]["products_total"] for t in (before, after)] == [1, 1]


def test_category_known_at_the_cutoff_counts() -> None:
    """A product that moves to another category takes its purchases along, once that is known."""
    lines = [
        row("order_lines", when="2010-11-01", product_id="A", amount_minor=300),
        row("order_lines", when="2010-11-01", product_id="B", amount_minor=100),
    ]
    products = [
        row("products", when="2010-01-01", product_id="A", category="pens", price_minor=200),
        row("products", when="2010-12-01", product_id="B", category="ink", price_minor=100),
        row("products", when="2010-12-01", known="2010-12-20", product_id="A", category="ink",
            price_minor=200),
    ]  # fmt: skip
    early, late = datetime(2010, 12, 10), datetime(2010, 12, 25)
    found = computed(USE, world_of(order_lines=lines, products=products), [early, late])
    assert [found[1, t]["categories_365d"] for t in (early, late)] == [2, 1]
    entropies = [found[1, t]["category_entropy_nats_365d"] for t in (early, late)]
    assert entropies == pytest.approx([math.log(2), 0], abs=1e-6)
    assert [found[1, t]["price_level_365d"] for t in (early, late)] == [400 / 300, 400 / 300]
    assert [found[1, t]["new_90d_share_365d"] for t in (early, late)] == [0.5, 0.5]
    assert found[1, late]["brands_365d"] is None
