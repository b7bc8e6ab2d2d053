"""The set ``loyalty``."""

from typing import Any

import pytest

from features import columns as c
from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, ago, agree, least, of_one

POINTS = {"earn": "earned", "burn": "burnt", "expire": "expired"}


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    rows = past.of(customer, "loyalty")

    def age(kind: str) -> float | None:
        return least(entry["age"] for entry in rows if entry[c.KIND] == kind)

    def points(kind: str, days: float = 1e9) -> int:
        inside = [entry for entry in rows if entry[c.KIND] == kind and entry["age"] <= days]
        return sum(entry["points"] or 0 for entry in inside)

    joined, left = age("join"), age("leave")
    member = bool(rows) and (left is None or (joined is not None and joined < left))
    tiers = [entry["tier"] for entry in rows if entry["tier"] is not None]
    values: dict[str, Any] = {
        "member": int(member),
        "member_days": joined if member else None,
        "tier": tiers[-1] if tiers and member else None,
        "tier_changes": sum(entry[c.KIND] == "tier" for entry in rows),
        "balance": points("earn") - points("burn") - points("expire"),
    }
    for kind, name in POINTS.items():
        values[f"last_{name}_days"] = age(kind)
        for days in config.windows_days:
            values[f"{name}_{days}d"] = points(kind, days)
    return values


@pytest.mark.parametrize(("seed", "windows"), [(1, (90, 365)), (2, (300,))])
def test_the_slow_way_agrees(seed: int, windows: tuple[int, ...]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree("loyalty.Loyalty", random_channels(seed), slowly, windows_days=windows)


def happened(kind: str, days: float, points: int | None = None, **more: Any) -> dict[str, Any]:
    """A row of the programme so many days before the cutoff."""
    return row("loyalty", when=ago(days), points=points, **{c.KIND: kind, **more})


def test_worked_by_hand() -> None:
    """Points earned twice, spent once; the next tier."""
    rows = [
        happened("join", 400, tier="bronze"), happened("earn", 300, 120),
        happened("burn", 200, 100),
        happened("earn", 50, 400), happened("tier", 50, tier="silver"), happened("expire", 5, 20),
    ]  # fmt: skip
    found = of_one("loyalty.Loyalty", world_of(loyalty=rows))
    assert found == {
        "member": 1, "member_days": 400, "tier": "silver", "tier_changes": 1,
        "earned_90d": 400, "burnt_90d": 0, "expired_90d": 20,
        "earned_365d": 520, "burnt_365d": 100, "expired_365d": 20, "balance": 400,
        "last_earned_days": 50, "last_burnt_days": 200, "last_expired_days": 5,
    }  # fmt: skip


def test_left_and_joined_again() -> None:
    """Who left is no member and has no tier; who joins again is one from then on."""
    rows = [happened("join", 90, tier="gold"), happened("leave", 30)]
    found = of_one("loyalty.Loyalty", world_of(loyalty=rows))
    assert (found["member"], found["member_days"], found["tier"]) == (0, None, None)
    found = of_one("loyalty.Loyalty", world_of(loyalty=[*rows, happened("join", 10)]))
    assert (found["member"], found["member_days"], found["tier"]) == (1, 10, "gold")


def test_tier_that_is_known_late() -> None:
    """A tier given before the cutoff and learned after it is not there yet."""
    rows = [happened("join", 9, tier="bronze"), happened("tier", 5, tier="gold", known_time=ago(0))]
    assert of_one("loyalty.Loyalty", world_of(loyalty=rows))["tier"] == "bronze"


def test_points_spent_that_were_earned_before_the_data() -> None:
    """The balance may lie below zero where the data begin later."""
    found = of_one("loyalty.Loyalty", world_of(loyalty=[happened("burn", 5, 80)]))
    assert (found["balance"], found["member"], found["member_days"]) == (-80, 1, None)
