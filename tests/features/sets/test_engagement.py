"""The set ``engagement``."""

import math
from collections import Counter
from typing import Any

import pytest

from features import columns as c
from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, ago, agree, least, mean, of_one, share


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    events = past.of(customer, "events")
    sessions: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event["session_id"] is not None:
            sessions.setdefault(event["session_id"], []).append(event)
    longest = max(config.windows_days)
    values: dict[str, Any] = {}
    for days in config.windows_days:
        inside = [e for e in events if e["age"] <= days]
        visits = [e for e in inside if e[c.KIND] == "visit"]
        values[f"visits_{days}d"] = len(visits)
        for channel in config.channels:
            values[f"{channel}_visits_{days}d"] = sum(e[c.CHANNEL] == channel for e in visits)
        values[f"active_days_{days}d"] = len({e[c.EVENT_TIME].date() for e in inside})
        values[f"dwell_minutes_{days}d"] = sum(e["duration_s"] or 0 for e in visits) / 60
        for name, kind in (("views", "view"), ("searches", "search"), ("cart_adds", "cart_add")):
            values[f"{name}_{days}d"] = sum(e[c.KIND] == kind for e in inside)
        values[f"funnel_depth_steps_{days}d"] = max(
            (config.funnel.index(e[c.KIND]) + 1 for e in inside if e[c.KIND] in config.funnel),
            default=0,
        )
        left = []
        for steps in sessions.values():
            deep = [e for e in steps if e[c.KIND] in ("cart_add", "checkout", "purchase")]
            kinds = {e[c.KIND] for e in deep}
            if deep and "purchase" not in kinds and deep[-1]["age"] <= days:
                left.append(kinds)
        values[f"abandoned_carts_{days}d"] = sum("cart_add" in kinds for kinds in left)
        values[f"checkout_dropoffs_{days}d"] = sum("checkout" in kinds for kinds in left)
    recent = [e for e in events if e["age"] <= longest]
    visits = [e for e in recent if e[c.KIND] == "visit"]
    seen = {e[c.PRODUCT] for e in recent if e[c.KIND] == "view"} - {None}
    values[f"products_viewed_{longest}d"] = len(seen)
    lengths = [e["duration_s"] / 60 for e in visits if e["duration_s"] is not None]
    values[f"visit_minutes_{longest}d"] = mean(lengths)
    counts = Counter(e[c.KIND] for e in recent if e[c.KIND] in config.kinds)
    n = sum(counts.values())
    values[f"behaviour_entropy_nats_{longest}d"] = (
        -sum(k / n * math.log(k / n) for k in counts.values()) if n else None
    )
    shown = [e["device"] for e in recent if e["device"] is not None]
    for device in config.devices:
        values[f"{device}_share_{longest}d"] = share(shown.count(device), len(shown))
    values[f"visits_trend_ratio_{longest}d"] = share(
        sum(e["age"] <= min(config.windows_days) for e in visits), len(visits)
    )
    values["last_visit_days"] = least(e["age"] for e in events if e[c.KIND] == "visit")
    values["last_cart_days"] = least(e["age"] for e in events if e[c.KIND] == "cart_add")
    values["first_event_days"] = max((e["age"] for e in events), default=None)
    return values


@pytest.mark.parametrize(("seed", "windows"), [(1, (7, 30, 90)), (2, (60, 900))])
def test_the_slow_way_agrees(seed: int, windows: tuple[int, ...]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree("engagement.Engagement", random_channels(seed), slowly, windows_days=windows)


def event(kind: str, days: float, session: str | None = None, **more: Any) -> dict[str, Any]:
    """Something that a customer does so many days before the cutoff."""
    return row("events", when=ago(days), **{c.KIND: kind, "session_id": session, **more})


def test_worked_by_hand() -> None:
    """Two visits: one leaves a cart at the checkout, one buys."""
    events = [
        event("visit", 20, "A", duration_s=600, device="phone"),
        event("view", 19.999, "A", device="phone", product_id="P1"),
        event("view", 19.998, "A", device="phone", product_id="P2"),
        event("cart_add", 19.997, "A", device="phone"),
        event("checkout", 19.996, "A", device="phone"),
        event("visit", 3, "B", duration_s=120, device="computer", channel="app"),
        event("cart_add", 2.999, "B", device="computer", channel="app"),
        event("checkout", 2.998, "B", device="computer", channel="app"),
        event("purchase", 2.997, "B", device="computer", channel="app"),
    ]
    found = of_one("engagement.Engagement", world_of(events=events))
    expected = {
        "visits_7d": 1, "visits_30d": 2, "web_visits_30d": 1, "app_visits_30d": 1,
        "store_visits_30d": 0, "active_days_30d": 2, "dwell_minutes_30d": 12,
        "views_30d": 2, "searches_30d": 0, "cart_adds_30d": 2, "abandoned_carts_7d": 0,
        "abandoned_carts_30d": 1, "checkout_dropoffs_30d": 1, "funnel_depth_steps_7d": 5,
        "products_viewed_90d": 2, "visit_minutes_90d": 6, "phone_share_90d": 5 / 9,
        "tablet_share_90d": 0, "visits_trend_ratio_90d": 0.5, "last_visit_days": 3,
        "last_cart_days": 2.999, "first_event_days": 20,
        # Four kinds twice, one once.
        "behaviour_entropy_nats_90d": round(math.log(9) - 8 / 9 * math.log(2), 9),
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_purchase_that_is_known_late() -> None:
    """Until the purchase is known the cart counts as left behind."""
    cart = event("cart_add", 5, "A")
    bought = row(
        "events", when=ago(4.9), known=ago(-1), **{c.KIND: "purchase", "session_id": "A"}
    )  # fmt: skip
    found = of_one("engagement.Engagement", world_of(events=[cart, bought]))
    assert (found["abandoned_carts_7d"], found["funnel_depth_steps_7d"]) == (1, 3)


def test_carts_without_a_session_are_not_judged() -> None:
    """What belongs to no session may have been bought or not."""
    found = of_one("engagement.Engagement", world_of(events=[event("cart_add", 5)]))
    assert (found["cart_adds_7d"], found["abandoned_carts_7d"]) == (1, 0)


def test_one_kind_has_no_entropy() -> None:
    """All events of one kind: exactly zero; no event of a kind that counts: missing."""
    views = [event("view", days) for days in (1, 2, 3)]
    found = of_one("engagement.Engagement", world_of(events=views))
    assert found["behaviour_entropy_nats_90d"] == 0
    found = of_one("engagement.Engagement", world_of(events=[event("login", 1)]))
    assert found["behaviour_entropy_nats_90d"] is None


def test_even_behaviour_reaches_the_bound() -> None:
    """One event of each kind: the greatest entropy that is declared."""
    kinds = ("visit", "view", "search", "cart_add", "cart_remove", "checkout", "purchase")
    events = [event(kind, days + 1) for days, kind in enumerate(kinds)]
    found = of_one("engagement.Engagement", world_of(events=events))
    assert found["behaviour_entropy_nats_90d"] == round(math.log(7), 9)
