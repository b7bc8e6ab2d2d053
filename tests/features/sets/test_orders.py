"""The set ``orders``."""

import re
from datetime import timedelta
from typing import Any

import pytest

from features import columns as c
from features.settings import Part, resolve
from features.snapshot import SETS
from tests.features.sets.oracle import Past, agree, computed, mean, share, together
from tests.features.sets.ordering import NEW_YEAR, hand, kept_orders, observable, shops
from tests.worlds import BEGAN, DAY, line, world

USE = "orders.Orders"
SECOND = timedelta(seconds=1)
T = NEW_YEAR


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    orders = kept_orders(past, customer)

    def within(days: float) -> list[Any]:
        return [order for order in orders if order.age <= days]

    def money(found: list[Any]) -> Any:
        return sum(order.amount for order in found) / 100

    year = within(365)
    season = [order for order in year if order.age > 365 - config.season_days]
    back = [
        row for row in past.of(customer, "order_lines") if row[c.IS_RETURN] and row["age"] <= 365
    ]
    returned = -sum(row[c.AMOUNT] for row in back) / 100
    told = [order for order in year if order.discount is not None]
    discount = sum(order.discount for order in told) / 100
    values: dict[str, Any] = {
        "spend_total": money(orders),
        "active_months": len({int(order.age // 30) for order in orders if order.age < 360}),
        "basket_items": mean(order.items for order in orders),
        "basket_lines": mean(order.lines for order in orders),
        "last_order_value": orders[-1].amount / 100 if orders else None,
        "last_over_mean": orders[-1].amount / 100 * len(orders) / money(orders) if orders else None,
        "since_second_last_days": orders[-2].age if len(orders) > 1 else None,
        "since_third_last_days": orders[-3].age if len(orders) > 2 else None,
        "trend_orders": share(len(within(365 / 2)), len(year)),
        "trend_spend": share(money(within(365 / 4)), money(year)),
        "returns_365d": len(back),
        "returned_spend_365d": returned,
        "refund_rate_365d": share(returned, returned + money(year)),
        "discount_share_365d": share(discount, discount + money(told)),
        "discounted_orders_share_365d": mean(order.discount > 0 for order in told),
        "season_orders": len(season) if observable(past, 365) else None,
        "season_spend": money(season) if observable(past, 365) else None,
    }
    for days in config.windows_days:
        inside = within(days)
        values |= {
            f"orders_{days}d": len(inside),
            f"spend_{days}d": money(inside),
            f"items_{days}d": sum(order.items for order in inside),
            f"basket_value_{days}d": share(money(inside), len(inside)),
            f"basket_items_{days}d": mean(order.items for order in inside),
        }
    for short, long in config.trends_days:
        values[f"orders_{short}d_of_{long}d"] = share(len(within(short)), len(within(long)))
        values[f"spend_{short}d_of_{long}d"] = share(money(within(short)), money(within(long)))
    return values


@pytest.mark.parametrize(
    ("seed", "config"),
    [(1, {}), (2, {"windows_days": (7,), "trends_days": ((7, 500),), "season_days": 30})],
)
def test_the_slow_way_agrees(seed: int, config: dict[str, Any]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree(USE, shops(seed), slowly, **config)


def test_worked_by_hand() -> None:
    """Four kept orders, netted as known at the cutoff: 15.00, 15.00, 9.00 and 1.00."""
    found = computed(USE, hand(), [T], windows_days=(30, 365), trends_days=((30, 365),))[1, T]
    assert found == pytest.approx({
        "orders_30d": 2, "spend_30d": 10.0, "items_30d": 4,
        "basket_value_30d": 5.0, "basket_items_30d": 2,
        "orders_365d": 3, "spend_365d": 25.0, "items_365d": 7,
        "basket_value_365d": 25 / 3, "basket_items_365d": 7 / 3,
        "spend_total": 40.0,
        "active_months": 3,  # days 0, 30 and 213.5 before the cutoff
        "basket_items": 2.5,  # (3 + 3 + 3 + 1) / 4
        "basket_lines": 1.25,  # (2 + 1 + 1 + 1) / 4
        "last_order_value": 1.0,
        "last_over_mean": 0.1,
        "since_second_last_days": 30,
        "since_third_last_days": 213.5,
        "trend_orders": 2 / 3,
        "trend_spend": 10 / 25,
        "orders_30d_of_365d": 2 / 3,
        "spend_30d_of_365d": 10 / 25,
        "returns_365d": 2,
        "returned_spend_365d": 12.0,
        "refund_rate_365d": 12 / 37,
        "discount_share_365d": None,  # the source does not say it
        "discounted_orders_share_365d": None,
        "season_orders": 0,  # data reach back a year; nothing in [2010-01-01, 2010-04-01)
        "season_spend": 0,
    })  # fmt: skip


def test_customer_with_a_return_alone() -> None:
    """Observed nothing is zero, what could not be observed is missing."""
    found = computed(USE, hand(), [T])[2, T]
    assert {name: value for name, value in found.items() if value} == {
        "returns_365d": 1, "returned_spend_365d": 3.0, "refund_rate_365d": 1.0,
    }  # fmt: skip
    assert found["spend_total"] == found["season_orders"] == 0
    for name in ("basket_items", "last_order_value", "trend_orders", "basket_value_30d"):
        assert found[name] is None


def test_windows_are_half_open() -> None:
    """``[t - w, t)``: an order at the start of the window is in, one at the cutoff is not."""
    windows = (1, 30, 365)
    lines = []
    for days in windows:
        edge = T - days * DAY
        times = (BEGAN, edge - SECOND, edge, T - SECOND, T, T + SECOND)
        lines += [line(days, when, f"S{days}-{k}") for k, when in enumerate(times)]
    found = computed(USE, {"order_lines": world(lines)}, [T], windows_days=windows)
    assert [found[days, T][f"orders_{days}d"] for days in windows] == [2, 2, 2]


def test_window_to_infinity_is_the_total() -> None:
    """A window longer than the history gives the lifetime sums."""
    found = computed(USE, hand(), [T], windows_days=(100_000,))
    for values in found.values():
        assert values["spend_100000d"] == values["spend_total"]
        assert values["basket_items_100000d"] == values["basket_items"]


def test_season_is_half_open() -> None:
    """The season ahead, a year ago: ``[t - 365, t - 365 + 90)`` days."""
    times = (
        T - 365 * DAY - SECOND, T - 365 * DAY, T - 275 * DAY - SECOND, T - 275 * DAY
    )  # fmt: skip
    lines = [line(k, when, f"S{k}", 700) for k, when in enumerate(times)]
    found = computed(USE, {"order_lines": world(lines)}, [T])
    assert [found[k, T]["season_orders"] for k in range(4)] == [0, 1, 1, 0]
    assert [found[k, T]["season_spend"] for k in range(4)] == [0, 7, 7, 0]


def test_season_is_missing_where_it_could_not_be_observed() -> None:
    """Less than a year of data before the cutoff: missing for everyone, never zero."""
    part = resolve(SETS, Part(use=USE))
    lines = {"order_lines": world([line(1, "2010-03-01", "S1"), line(2, "2010-12-01", "S2")])}
    for began, seasons in ((T - 365 * DAY, [1, 0]), (T - 365 * DAY + SECOND, [None, None])):
        found = together([part], lines, [T], began={"order_lines": began})
        assert [found[k, T]["orders__season_orders"] for k in (1, 2)] == seasons
        assert [found[k, T]["orders__season_spend"] for k in (1, 2)] == seasons


def test_orders_of_one_moment() -> None:
    """Of two orders in one second the one with the higher reference is the last."""
    lines = [line(1, "2010-06-01", "S2", 300), line(1, "2010-06-01", "S1", 700)]
    found = computed(USE, {"order_lines": world(lines)}, [T])[1, T]
    assert found["last_order_value"] == 3.0
    assert found["since_second_last_days"] == 214


def test_items_are_not_below_zero() -> None:
    """A return of more, but cheaper, pieces than were sold leaves no negative basket."""
    lines = [
        line(1, "2010-12-01", "S1", 1000, 1), line(1, "2010-12-05", "C1", -500, -5, ref="S1")
    ]  # fmt: skip
    found = computed(USE, {"order_lines": world(lines)}, [T])[1, T]
    assert found["items_90d"] == found["basket_items"] == 0
    assert found["spend_90d"] == 5.0


def test_columns_say_their_windows() -> None:
    """Each window in a column's name is the one it declares."""
    for column in resolve(SETS, Part(use=USE)).columns():
        named = re.search(r"_(\d+)d$", column.name)
        if named:
            assert column.window_days == int(named[1]), column.name
