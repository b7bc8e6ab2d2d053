"""The set ``cadence``."""

import statistics
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.sets.oracle import Past, agree, computed, mean, share
from tests.features.sets.ordering import NEW_YEAR, hand, kept_orders, observable, shops
from tests.worlds import DAY, line, world

USE = "cadence.Cadence"
T = NEW_YEAR


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    orders = kept_orders(past, customer)
    days = sorted({order.time.date() for order in orders})
    gaps = [(b - a).days for a, b in zip(days, days[1:], strict=False)]
    midnight = datetime.combine(days[-1], datetime.min.time()) if days else None
    since = (past.cutoff - midnight) / timedelta(days=1) if midnight else 0.0
    usual, middle = mean(gaps), statistics.median(gaps) if gaps else None
    deviation = statistics.stdev(gaps) if len(gaps) > 1 else None
    seconds = [(order.time - order.time.replace(hour=0, minute=0, second=0)) for order in orders]
    hours = [second / timedelta(hours=1) for second in seconds]
    ago = [o for o in orders if 365 < o.age <= 365 + config.year_ago_days]
    return {
        "gap_mean_days": usual,
        "gap_median_days": middle,
        "gap_sd_days": deviation,
        "gap_last_days": gaps[-1] if gaps else None,
        "gap_max_days": max(gaps, default=None),
        "gap_variation_ratio": deviation / usual if deviation is not None and usual else None,
        "gap_last_over_mean": gaps[-1] / usual if usual else None,
        "overdue_ratio": since / usual if usual else None,
        "overdue_median_ratio": since / middle if middle else None,
        "overdue_max_ratio": since / max(gaps) if gaps else None,
        "expected_in_days": middle - since if middle else None,
        "weekend_share": mean(order.time.weekday() >= 5 for order in orders),
        "evening_share": mean(order.time.hour >= config.evening_from_hour for order in orders),
        "hour_mean_hours": mean(hours),
        "weekday_concentration": concentration(order.time.weekday() for order in orders),
        "daypart_concentration": concentration(order.time.hour // 6 for order in orders),
        f"year_ago_orders_{config.year_ago_days}d": (
            len(ago) if observable(past, 365 + config.year_ago_days) else None
        ),
    }


def concentration(classes: Iterable[Any]) -> float | None:
    """Sum of squared shares."""
    counts = Counter(classes)
    return share(sum(n * n for n in counts.values()), counts.total() ** 2)


@pytest.mark.parametrize(
    ("seed", "config"), [(1, {}), (2, {"evening_from_hour": 12, "year_ago_days": 30})]
)
def test_the_slow_way_agrees(seed: int, config: dict[str, Any]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree(USE, shops(seed), slowly, **config)


def test_worked_by_hand() -> None:
    """Gaps of 168, 184 and 29 days; a Tuesday, two Thursdays, a Friday... and the hours."""
    found = computed(USE, hand(), [T])[1, T]
    spread = ((41**2 + 57**2 + 98**2) / 2) ** 0.5
    assert found == pytest.approx({
        "gap_mean_days": 127, "gap_median_days": 168, "gap_sd_days": spread,
        "gap_last_days": 29, "gap_max_days": 184, "gap_variation_ratio": spread / 127,
        "gap_last_over_mean": 29 / 127, "overdue_ratio": 1 / 127,
        "overdue_median_ratio": 1 / 168, "overdue_max_ratio": 1 / 184, "expected_in_days": 167,
        "weekend_share": 0,
        "evening_share": 0.25,
        "hour_mean_hours": (10 + 12 + 0 + 24 - 1 / 3600) / 4,
        "weekday_concentration": (2 * 2 + 1 + 1) / 16,  # Tuesday twice, Thursday, Friday
        "daypart_concentration": 4 / 16,
        "year_ago_orders_90d": 1,  # the data of tests begin in 2009
    })  # fmt: skip


def test_without_a_second_day_there_is_no_gap() -> None:
    """Several orders of one day are one visit."""
    lines = [line(1, "2010-06-01 08:00", "S1"), line(1, "2010-06-01 20:00", "S2")]
    found = computed(USE, {"order_lines": world(lines)}, [T])[1, T]
    gaps = [name for name in found if name.startswith(("gap", "overdue", "expected"))]
    assert len(gaps) == 11
    assert {found[name] for name in gaps} == {None}
    assert found["evening_share"] == 0.5


def test_year_ago_counts_customers_without_a_kept_order() -> None:
    """Whoever is known and had no order then had zero, not an unknown number."""
    assert computed(USE, hand(), [T])[2, T]["year_ago_orders_90d"] == 0


@settings(max_examples=5, deadline=None)
@given(days=st.lists(st.integers(1, 400), min_size=3, max_size=9, unique=True))
def test_a_shared_pause_moves_nothing_but_what_is_due(days: list[int]) -> None:
    """Looking later changes no gap; what is expected comes nearer by as much."""
    lines = [line(1, T - k * DAY, f"S{k}") for k in days]
    later = T + 10 * DAY
    found = computed(USE, {"order_lines": world(lines)}, [T, later])
    now, then = found[1, T], found[1, later]
    for name in ("gap_mean_days", "gap_median_days", "gap_sd_days", "gap_last_days"):
        assert now[name] == then[name]
    assert now["expected_in_days"] - then["expected_in_days"] == pytest.approx(10)
