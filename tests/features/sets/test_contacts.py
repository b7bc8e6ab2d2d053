"""The set ``contacts``."""

from typing import Any

import pytest

from features import columns as c
from features.sets._declare import slug
from tests.channel_worlds import empty, random_channels, row, world_of
from tests.features.sets.oracle import Past, ago, agree, least, of_one, share

CAME = ("delivered", "opened", "clicked", "converted")


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    sent = [
        contact
        for contact in past.of(customer, "contacts")
        if contact["arm"] not in config.unsent_arms
    ]
    answers = past.of(customer, "responses")
    for contact in sent:
        for kind in (*CAME, "bounced", "unsubscribed"):
            contact[kind] = least(
                a["age"]
                for a in answers
                if a["contact_id"] == contact["contact_id"] and a[c.KIND] == kind
            )

    def lately(days: int, **values: Any) -> list[dict[str, Any]]:
        return [
            contact
            for contact in sent
            if contact["age"] <= days and all(contact[k] == v for k, v in values.items())
        ]

    def count(contacts: list[dict[str, Any]], kind: str) -> int:
        return sum(contact[kind] is not None for contact in contacts)

    def age(kind: str) -> float | None:
        return least(contact[kind] for contact in sent if contact[kind] is not None)

    values: dict[str, Any] = {}
    for days in config.windows_days:
        inside = lately(days)
        values[f"sent_{days}d"] = len(inside)
        values[f"cost_{days}d"] = sum(contact["cost_minor"] or 0 for contact in inside) / 100
        for kind in CAME:
            values[f"{kind}_{days}d"] = count(inside, kind)
    longest = max(config.windows_days)
    recent = lately(longest)
    for kind in CAME:
        values[f"{kind}_rate_{longest}d"] = share(count(recent, kind), len(recent))
    opened = [contact for contact in recent if contact["opened"] is not None]
    values[f"click_to_open_ratio_{longest}d"] = share(count(opened, "clicked"), len(opened))
    for channel in config.channels:
        mine, name = lately(longest, channel=channel), slug(channel)
        values[f"{name}_sent_{longest}d"] = len(mine)
        values[f"{name}_last_sent_days"] = least(
            contact["age"] for contact in sent if contact[c.CHANNEL] == channel
        )
        for kind in ("opened", "clicked"):
            values[f"{name}_{kind}_rate_{longest}d"] = share(count(mine, kind), len(mine))
    for offer in config.offers:
        mine, name = lately(longest, offer=offer), f"offer_{slug(offer)}"
        values[f"{name}_sent_{longest}d"] = len(mine)
        values[f"{name}_converted_rate_{longest}d"] = share(count(mine, "converted"), len(mine))
    last_open = age("opened")
    values |= {
        "sent_since_open": sum(last_open is None or v["age"] < last_open for v in sent),
        "last_sent_days": least(contact["age"] for contact in sent),
        "last_opened_days": last_open,
        "last_clicked_days": age("clicked"),
        "bounced": count(sent, "bounced"),
        "unsubscribed": count(sent, "unsubscribed"),
        "last_unsubscribed_days": age("unsubscribed"),
    }
    return values


@pytest.mark.parametrize(("seed", "windows"), [(1, (7, 30, 90, 365)), (2, (120, 900))])
def test_the_slow_way_agrees(seed: int, windows: tuple[int, ...]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    config = {"channels": ("e-mail", "sms"), "offers": ("ten_off", "gift")}
    agree("contacts.Contacts", random_channels(seed), slowly, windows_days=windows, **config)


def sent(name: str, days: float, **more: Any) -> dict[str, Any]:
    """A message that was sent so many days before the cutoff."""
    return row("contacts", when=ago(days), **{"contact_id": name, c.CHANNEL: "e-mail", **more})


def came(name: str, kind: str, days: float, **more: Any) -> dict[str, Any]:
    """What came of it so many days before the cutoff."""
    return row("responses", when=ago(days), contact_id=name, **{c.KIND: kind, **more})


def test_worked_by_hand() -> None:
    """Four messages, of which one is opened twice and clicked; the control group gets none."""
    contacts = [
        sent("A", 40, cost_minor=5, offer="10 % off"),
        sent("B", 20, cost_minor=5, channel="sms"),
        sent("C", 10, cost_minor=7, offer="10 % off"),
        sent("D", 2),
        sent("E", 1, arm="control", cost_minor=1000),
    ]
    responses = [
        came("A", "delivered", 40), came("A", "opened", 39), came("A", "opened", 15),
        came("A", "clicked", 15), came("A", "converted", 14), came("B", "bounced", 20),
        came("D", "unsubscribed", 1), came("E", "converted", 0.5), came("Z", "opened", 3),
    ]  # fmt: skip
    world = world_of(contacts=contacts, responses=responses)
    found = of_one("contacts.Contacts", world, offers=["10 % off"])
    expected = {
        "sent_7d": 1, "sent_30d": 3, "sent_90d": 4, "cost_30d": 0.12, "delivered_90d": 1,
        "opened_30d": 0, "opened_90d": 1, "clicked_90d": 1, "converted_90d": 1,
        "delivered_rate_365d": 0.25, "opened_rate_365d": 0.25, "click_to_open_ratio_365d": 1,
        "e_mail_sent_365d": 3, "e_mail_opened_rate_365d": 1 / 3, "sms_sent_365d": 1,
        "sms_last_sent_days": 20, "push_sent_365d": 0,
        "offer_10_off_sent_365d": 2, "offer_10_off_converted_rate_365d": 0.5,
        "sent_since_open": 2, "last_sent_days": 2, "last_opened_days": 15, "last_clicked_days": 15,
        "bounced": 1, "unsubscribed": 1, "last_unsubscribed_days": 1,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["push_opened_rate_365d"] is None
    assert found["push_last_sent_days"] is None


def test_response_that_is_known_late() -> None:
    """An opening that is learned after the cutoff has not happened yet."""
    late = came("A", "opened", 3, known_time=ago(-1))
    world = world_of(contacts=[sent("A", 5), sent("B", 4)], responses=[late])
    found = of_one("contacts.Contacts", world)
    assert (found["opened_30d"], found["last_opened_days"]) == (0, None)
    assert found["sent_since_open"] == 2


def test_contacts_without_any_response() -> None:
    """Nothing came of anything: rates are zero, not missing."""
    world = world_of(contacts=[sent("A", 5)], responses=[])
    world["responses"] = empty("responses")
    found = of_one("contacts.Contacts", world)
    assert (found["opened_rate_365d"], found["click_to_open_ratio_365d"]) == (0, None)
