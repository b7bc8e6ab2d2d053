"""The set ``periods``."""

import math
from typing import Any

import pytest

from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, ago, agree, of_one
from tests.features.sets.ordering import kept_orders, observable
from tests.worlds import line, world

USE = "periods.Periods"


def counts(name: str, values: dict[str, Any]) -> bool:
    """Whether a row counts, in plain Python."""
    kind, score = values["kind"], values.get("score")
    return {
        "visits": kind == "visit", "carts": kind == "cart_add",
        "opens": kind in ("opened", "clicked"),
        "enquiries": kind in ("ticket", "complaint", "call", "chat"),
        "praise": score is not None and (
            (kind == "review" and score >= 4) or (kind == "nps" and score >= 9)
        ),
        "referrals": kind == "referral",
    }[name]  # fmt: skip


TABLES = {"visits": "events", "carts": "events", "opens": "responses", "enquiries": "feedback",
          "praise": "feedback", "referrals": "relations"}  # fmt: skip


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""

    def of(table: str) -> list[dict[str, Any]]:
        return [r for r in past.tables.get(table, []) if r.get("customer_id") == customer]

    ages = {"orders": [order.age for order in kept_orders(past, customer)]}
    for name, table in TABLES.items():
        ages[name] = [r["age"] for r in of(table) if counts(name, r)]
    heard = max(
        [0.0, *ages["orders"], *(r["age"] for t in (*TABLES.values(), "customers") for r in of(t))]
    )
    found: dict[str, Any] = {}
    for name, own in ages.items():
        for k in range(config.count):
            start, end = k * config.days, (k + 1) * config.days
            known = heard > start and observable(past, end)
            found[f"{name}_p{k}"] = sum(start < age <= end for age in own) if known else None
    return found


@pytest.mark.parametrize(("seed", "config"), [(1, {"count": 4}), (2, {"days": 17, "count": 9})])
def test_the_slow_way_agrees(seed: int, config: dict[str, Any]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree(USE, random_channels(seed=seed, customers=40), slowly, **config)


def test_worked_by_hand() -> None:
    """Edges of periods, periods before the first news of a customer, tables that are not there."""
    lines = world([line(1, ago(days), f"o{days}", 1_000) for days in (30, 31, 75)]
                  + [line(2, ago(400), "old", 1_000)])  # fmt: skip
    visits = world_of(events=[row("events", 1, ago(100)), row("events", 3, ago(350))])
    found = of_one(USE, {"order_lines": lines, **visits}, days=30, count=5)
    orders = [found[f"orders_p{k}"] for k in range(5)]
    assert orders[:4] == [1, 1, 1, 0]
    assert math.isnan(float("nan") if orders[4] is None else orders[4])
    assert [found[f"visits_p{k}"] for k in range(4)] == [0, 0, 0, 1]
    assert found["praise_p0"] is None or math.isnan(found["praise_p0"])
