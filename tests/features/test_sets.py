"""The sets ``rfm`` and ``orders``: values worked out by hand, and by a second, slower way."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from features import columns as c
from features.settings import Part, resolve
from features.snapshot import SETS
from tests.contracts.feature_sets import default
from tests.worlds import BEGAN, DAY, computed, line, random_world, world

T = datetime(2011, 1, 1)
SECOND = timedelta(seconds=1)
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


def rows(
    lines: Sequence[dict[str, Any]], cutoffs: Sequence[datetime] = (T,), **config: Any
) -> dict[tuple[int, datetime], dict[str, Any]]:
    """Features of both sets by customer and cutoff."""
    orders = resolve(SETS, Part(use="orders.Orders", config=config))
    found = computed([default("rfm.Rfm"), orders], world(lines), cutoffs).to_pylist()
    return {(values.pop(c.CUSTOMER), values.pop(c.CUTOFF)): values for values in found}


@cache
def by_hand() -> dict[tuple[int, datetime], dict[str, Any]]:
    """Features of ``HAND`` at ``T``."""
    return rows(HAND)


def test_worked_by_hand() -> None:
    """All features of one customer with four kept orders, netted as known at the cutoff."""
    found = by_hand()[1, T]
    expected = {
        "rfm__recency_days": 1 / 86_400,
        "rfm__frequency_orders": 3,
        "rfm__T_days": 381 + 14 / 24,
        "rfm__monetary_value": 10.0,  # (15.00 + 15.00 + 9.00 + 1.00) / 4
        "orders__orders_30d": 2,
        "orders__spend_30d": 10.0,
        "orders__items_30d": 4,
        "orders__orders_90d": 2,
        "orders__spend_90d": 10.0,
        "orders__items_90d": 4,
        "orders__orders_180d": 2,
        "orders__spend_180d": 10.0,
        "orders__items_180d": 4,
        "orders__orders_365d": 3,
        "orders__spend_365d": 25.0,
        "orders__items_365d": 7,
        "orders__spend_total": 40.0,
        "orders__active_months": 3,  # days 0, 30 and 213.5 before the cutoff
        "orders__basket_items": 2.5,  # (3 + 3 + 3 + 1) / 4
        "orders__basket_lines": 1.25,  # (2 + 1 + 1 + 1) / 4
        "orders__last_order_value": 1.0,
        "orders__last_over_mean": 0.1,
        "orders__gap_mean_days": 127.0,  # 168, 184 and 29 days
        "orders__gap_sd_days": math.sqrt((41**2 + 57**2 + 98**2) / 2),
        "orders__gap_last_days": 29.0,
        "orders__gap_max_days": 184.0,
        "orders__overdue_ratio": 1 / 127,
        "orders__trend_orders": 2 / 3,
        "orders__trend_spend": 10 / 25,
        "orders__returns_365d": 2,
        "orders__returned_spend_365d": 12.0,
        "orders__products_total": 5,  # A to E
        "orders__products_365d": 4,  # A, C, D, E
        "orders__season_orders": 0,  # data reach back a year; nothing in [2010-01-01, 2010-04-01)
        "orders__season_spend": 0,
    }
    assert found == pytest.approx(expected, rel=1e-12)


def test_customer_with_a_return_alone() -> None:
    """Observed nothing is zero, what could not be observed is missing."""
    found = by_hand()[2, T]
    assert {name: value for name, value in found.items() if value} == {
        "orders__returns_365d": 1,
        "orders__returned_spend_365d": 3.0,
    }
    assert found["rfm__recency_days"] is None
    assert found["rfm__T_days"] is None
    assert found["rfm__frequency_orders"] == 0
    assert found["orders__spend_total"] == 0
    assert found["orders__season_orders"] == 0
    for name in ("basket_items", "last_order_value", "gap_mean_days", "trend_orders"):
        assert found[f"orders__{name}"] is None


def test_single_order_long_ago() -> None:
    """One order has no gap and, a year later, no trend."""
    found = by_hand()[3, T]
    assert found["rfm__recency_days"] == found["rfm__T_days"] == 375
    assert (found["rfm__frequency_orders"], found["rfm__monetary_value"]) == (0, 4.0)
    assert (found["orders__orders_365d"], found["orders__spend_total"]) == (0, 4.0)
    for name in ("gap_mean", "gap_sd", "gap_last", "gap_max"):
        assert found[f"orders__{name}_days"] is None
    for name in ("overdue_ratio", "trend_orders", "trend_spend"):
        assert found[f"orders__{name}"] is None


def test_netted_as_known() -> None:
    """An order counts in full until its return is known, and from then on for the rest."""
    expected = {
        datetime(2010, 6, 1, 12): (1, 15.0),
        datetime(2010, 6, 1, 12, 0, 1): (2, 35.0),
        datetime(2010, 6, 10, 12): (2, 35.0),
        datetime(2010, 6, 10, 12, 0, 1): (2, 30.0),
        datetime(2010, 11, 3): (3, 37.0),
        datetime(2010, 11, 6): (2, 30.0),
        datetime(2011, 1, 1, 0, 0, 1): (6, 228.87),
    }
    found = rows(HAND, list(expected))
    assert {
        t: (found[1, t]["rfm__frequency_orders"] + 1, found[1, t]["orders__spend_total"])
        for t in expected
    } == expected


def test_windows_are_half_open() -> None:
    """``[t - w, t)``: an order at the start of the window is in, one at the cutoff is not."""
    windows = (1, 30, 365)
    lines = []
    for days in windows:
        edge = T - days * DAY
        times = (BEGAN, edge - SECOND, edge, T - SECOND, T, T + SECOND)
        lines += [line(days, when, f"S{days}-{k}") for k, when in enumerate(times)]
    found = rows(lines, windows_days=list(windows))
    for days in windows:
        assert found[days, T][f"orders__orders_{days}d"] == 2
        assert found[days, T]["rfm__frequency_orders"] == 3


def test_window_to_infinity_is_the_total() -> None:
    """A window longer than the history gives the lifetime sums."""
    found = rows(HAND, windows_days=[100_000])
    for values in found.values():
        assert values["orders__spend_100000d"] == values["orders__spend_total"]
    assert found[1, T]["orders__orders_100000d"] == found[1, T]["rfm__frequency_orders"] + 1


def test_season_is_half_open() -> None:
    """The season ahead, a year ago: ``[t - 365, t - 365 + 90)`` days."""
    times = {
        1: T - 365 * DAY - SECOND,
        2: T - 365 * DAY,
        3: T - 275 * DAY - SECOND,
        4: T - 275 * DAY,
    }
    found = rows([line(customer, when, f"S{customer}", 700) for customer, when in times.items()])
    assert [found[customer, T]["orders__season_orders"] for customer in times] == [0, 1, 1, 0]
    assert [found[customer, T]["orders__season_spend"] for customer in times] == [0, 7, 7, 0]


def test_season_is_missing_where_it_could_not_be_observed() -> None:
    """Less than a year of data before the cutoff: missing for everyone, never zero."""
    part = default("orders.Orders")
    table = world([line(1, "2010-03-01", "S1"), line(2, "2010-12-01", "S2")])
    for began, observed in ((T - 365 * DAY, True), (T - 365 * DAY + SECOND, False)):
        found = computed([part], table, [T], began=began)
        values = {
            "season_orders": found["orders__season_orders"].to_pylist(),
            "season_spend": found["orders__season_spend"].to_pylist(),
        }
        assert values == {
            "season_orders": [1.0, 0.0] if observed else [None, None],
            "season_spend": [1.0, 0.0] if observed else [None, None],
        }


def test_orders_of_one_moment() -> None:
    """Of two orders in one second the one with the higher number is the last; no gap of zero."""
    lines = [line(1, "2010-06-01", "S2", 300), line(1, "2010-06-01", "S1", 700)]
    found = rows(lines)[1, T]
    assert found["orders__last_order_value"] == 3.0
    assert found["orders__gap_mean_days"] is None
    assert found["rfm__frequency_orders"] == 1


def test_items_are_not_below_zero() -> None:
    """A return of more, but cheaper, pieces than were sold leaves no negative basket."""
    sold, back = line(1, "2010-12-01", "S1", 1000, 1), line(1, "2010-12-05", "C1", -500, -5)
    found = rows([sold, {**back, c.ORDER_REF: "S1"}])[1, T]
    assert found["orders__items_90d"] >= 0
    assert found["orders__basket_items"] >= 0


# --- a second way ---------------------------------------------------------------------------


def slowly(table: pa.Table, cutoff: datetime, began: datetime) -> dict[int, dict[str, Any]]:
    """The features of both sets, one customer at a time in plain Python."""
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for values in table.to_pylist():
        if values[c.EVENT_TIME] < cutoff and values[c.KNOWN_TIME] < cutoff:
            rows[values[c.CUSTOMER]].append(values)
    return {customer: _one(lines, cutoff, began) for customer, lines in rows.items()}


def _one(lines: list[dict[str, Any]], cutoff: datetime, began: datetime) -> dict[str, Any]:
    orders = []
    for ref in sorted({values[c.ORDER_REF] for values in lines}):
        mine = [values for values in lines if values[c.ORDER_REF] == ref]
        sold = [values for values in mine if not values[c.IS_RETURN]]
        amount = sum(values[c.AMOUNT] for values in mine)
        if sold and amount > 0:
            when = min(values[c.EVENT_TIME] for values in sold)
            orders.append((when, ref, amount, sum(v[c.QUANTITY] for v in mine), len(sold)))
    orders.sort()

    def within(days: float) -> list[tuple[Any, ...]]:
        return [order for order in orders if order[0] >= cutoff - timedelta(days=days)]

    def money(found: list[tuple[Any, ...]]) -> float:
        return sum(order[2] for order in found) / 100

    n, last = len(orders), orders[-1] if orders else None
    year, back = within(365), [v for v in lines if v[c.IS_RETURN]]
    recent = [v for v in lines if v[c.EVENT_TIME] >= cutoff - timedelta(days=365)]
    days = sorted({order[0].date() for order in orders})
    gaps = [(b - a).days for a, b in zip(days, days[1:], strict=False)]
    mean = sum(gaps) / len(gaps) if gaps else None
    spread = sum((gap - mean) ** 2 for gap in gaps) if mean is not None else 0
    ages = [(cutoff - order[0]).total_seconds() / 86_400 for order in orders]
    season = [o for o in year if o[0] < cutoff - timedelta(days=275)]
    observable = cutoff >= began + timedelta(days=365)
    found = {
        "rfm__recency_days": min(ages) if n else None,
        "rfm__frequency_orders": max(n - 1, 0),
        "rfm__T_days": max(ages) if n else None,
        "rfm__monetary_value": money(orders) / n if n else None,
        "orders__spend_total": money(orders),
        "orders__active_months": len({int(age // 30) for age in ages if age < 360}),
        "orders__basket_items": sum(o[3] for o in orders) / n if n else None,
        "orders__basket_lines": sum(o[4] for o in orders) / n if n else None,
        "orders__last_order_value": last[2] / 100 if last else None,
        "orders__last_over_mean": last[2] * n / sum(o[2] for o in orders) if last else None,
        "orders__gap_mean_days": mean,
        "orders__gap_sd_days": math.sqrt(spread / (len(gaps) - 1)) if len(gaps) > 1 else None,
        "orders__gap_last_days": gaps[-1] if gaps else None,
        "orders__gap_max_days": max(gaps) if gaps else None,
        "orders__overdue_ratio": (
            (cutoff - datetime.combine(days[-1], datetime.min.time())).total_seconds()
            / 86_400
            / mean
            if mean
            else None
        ),
        "orders__trend_orders": len(within(182.5)) / len(year) if year else None,
        "orders__trend_spend": money(within(91.25)) / money(year) if year else None,
        "orders__returns_365d": sum(v[c.IS_RETURN] for v in recent),
        "orders__returned_spend_365d": -sum(v[c.AMOUNT] for v in back if v in recent) / 100,
        "orders__products_total": len({v[c.PRODUCT] for v in lines if not v[c.IS_RETURN]}),
        "orders__products_365d": len({v[c.PRODUCT] for v in recent if not v[c.IS_RETURN]}),
        "orders__season_orders": len(season) if observable else None,
        "orders__season_spend": money(season) if observable else None,
    }
    for window in (30, 90, 180, 365):
        inside = within(window)
        found[f"orders__orders_{window}d"] = len(inside)
        found[f"orders__spend_{window}d"] = money(inside)
        found[f"orders__items_{window}d"] = sum(order[3] for order in inside)
    return found


def numbers(values: dict[str, Any]) -> dict[str, float]:
    """``values`` with NaN for what is missing."""
    return {name: math.nan if value is None else value for name, value in values.items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_slow_way_agrees(seed: int) -> None:
    """Plain Python over each customer's rows gives every value of a random world."""
    table = random_world(seed, customers=60)
    cutoffs = [BEGAN + days * DAY for days in (200, 365, 640)]
    parts = [default("rfm.Rfm"), default("orders.Orders")]
    found = computed(parts, table, cutoffs).to_pylist()
    expected = {
        (customer, cutoff): numbers(values)
        for cutoff in cutoffs
        for customer, values in slowly(table, cutoff, BEGAN).items()
    }
    assert len(found) == len(expected)
    for values in found:
        key = (values.pop(c.CUSTOMER), values.pop(c.CUTOFF))
        assert numbers(values) == pytest.approx(expected[key], rel=1e-9, nan_ok=True), key
