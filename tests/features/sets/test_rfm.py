"""The set ``rfm``."""

from datetime import datetime
from typing import Any

import pytest

from tests.features.sets.oracle import Past, agree, computed, mean
from tests.features.sets.ordering import NEW_YEAR, hand, kept_orders, shops
from tests.worlds import line, world


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    orders = kept_orders(past, customer)
    ages = [order.age for order in orders]
    return {
        "recency_days": min(ages, default=None),
        "frequency_orders": max(len(orders) - 1, 0),
        "T_days": max(ages, default=None),
        "monetary_value": mean(order.amount / 100 for order in orders),
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_the_slow_way_agrees(seed: int) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree("rfm.Rfm", shops(seed), slowly)


def test_worked_by_hand() -> None:
    """Four kept orders; a return alone; one order long ago."""
    found = computed("rfm.Rfm", hand(), [NEW_YEAR])
    assert found[1, NEW_YEAR] == pytest.approx({
        "recency_days": 1 / 86_400,
        "frequency_orders": 3,
        "T_days": 381 + 14 / 24,
        "monetary_value": 10.0,  # (15.00 + 15.00 + 9.00 + 1.00) / 4
    })  # fmt: skip
    assert found[2, NEW_YEAR] == {
        "recency_days": None, "frequency_orders": 0, "T_days": None, "monetary_value": None,
    }  # fmt: skip
    assert found[3, NEW_YEAR] == {
        "recency_days": 375, "frequency_orders": 0, "T_days": 375, "monetary_value": 4.0,
    }  # fmt: skip


def test_netted_as_known() -> None:
    """An order counts in full until its return is known, and from then on for the rest."""
    expected = {
        datetime(2010, 6, 1, 12): (0, 15.0),
        datetime(2010, 6, 1, 12, 0, 1): (1, 35.0 / 2),
        datetime(2010, 6, 10, 12): (1, 35.0 / 2),
        datetime(2010, 6, 10, 12, 0, 1): (1, 30.0 / 2),
        datetime(2010, 11, 3): (2, 37.0 / 3),
        datetime(2010, 11, 6): (1, 30.0 / 2),
    }
    found = computed("rfm.Rfm", hand(), list(expected))
    for t, values in expected.items():
        row = found[1, t]
        assert (row["frequency_orders"], row["monetary_value"]) == pytest.approx(values)


def test_orders_of_one_second_are_two() -> None:
    """Orders are told apart by reference, not by time."""
    lines = [line(1, "2010-06-01", "S2", 300), line(1, "2010-06-01", "S1", 700)]
    found = computed("rfm.Rfm", {"order_lines": world(lines)}, [NEW_YEAR])[1, NEW_YEAR]
    assert (found["frequency_orders"], found["monetary_value"]) == (1, 5.0)
