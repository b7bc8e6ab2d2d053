"""The set ``subscription``."""

from datetime import timedelta
from typing import Any

import pytest

from features import columns as c
from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, ago, agree, least, of_one

TERMS = ("start", "change", "renew")


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    rows = past.of(customer, "subscriptions")
    names = sorted({entry["subscription_id"] for entry in rows})
    contracts = [_contract([e for e in rows if e["subscription_id"] == n], n, past) for n in names]
    active = [contract for contract in contracts if contract["active"]]
    main = max(active, key=lambda contract: contract["order"], default={})
    values: dict[str, Any] = {
        "active": len(active),
        "cancelled": len(contracts) - len(active),
        "active_price": sum(contract["price"] or 0 for contract in active),
        **{
            name: main.get(name)
            for name in (
                "plan", "payment_method", "price", "term_days", "contract_days", "term_end_days"
            )
        },
    }  # fmt: skip
    for name, kind in (("changes", "change"), ("renewals", "renew"), ("cancellations", "cancel")):
        values[name] = sum(entry[c.KIND] == kind for entry in rows)
    for name, kind in (
        ("last_cancel_days", "cancel"), ("last_payment_days", "pay"),
        ("last_failed_payment_days", "payment_failed"),
    ):  # fmt: skip
        values[name] = least(entry["age"] for entry in rows if entry[c.KIND] == kind)
    for days in config.windows_days:
        inside = [entry[c.KIND] for entry in rows if entry["age"] <= days]
        values[f"payments_{days}d"] = inside.count("pay")
        values[f"failed_payments_{days}d"] = inside.count("payment_failed")
    return values


def _contract(rows: list[dict[str, Any]], name: str, past: Past) -> dict[str, Any]:
    def last(column: str, *kinds: str) -> Any:
        said = [entry[column] for entry in rows if not kinds or entry[c.KIND] in kinds]
        return next((value for value in reversed(said) if value is not None), None)

    started, begun = last(c.EVENT_TIME, "start"), last(c.EVENT_TIME, "start", "renew")
    ended, days = last(c.EVENT_TIME, "cancel"), last("term_days", *TERMS)
    price, end = last("price_minor", *TERMS), None
    if begun is not None and days:
        end = begun
        while end <= past.cutoff:
            end += timedelta(days=days)
    return {
        "active": ended is None or (begun is not None and begun > ended),
        "order": (begun.timestamp() if begun else 0, name),
        "plan": last("plan", *TERMS),
        "payment_method": last("payment_method"),
        "price": None if price is None else price / 100,
        "term_days": days,
        "contract_days": (past.cutoff - started).total_seconds() / 86_400 if started else None,
        "term_end_days": (end - past.cutoff).total_seconds() / 86_400 if end else None,
    }


@pytest.mark.parametrize(("seed", "windows"), [(1, (30, 90, 365)), (2, (200, 900))])
def test_the_slow_way_agrees(seed: int, windows: tuple[int, ...]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree("subscription.Subscription", random_channels(seed), slowly, windows_days=windows)


def happened(kind: str, days: float, name: str = "U1", **more: Any) -> dict[str, Any]:
    """What happened to a contract so many days before the cutoff."""
    return row("subscriptions", when=ago(days), subscription_id=name, **{c.KIND: kind, **more})


TERM = {"term_days": 30, "payment_method": "card"}


def test_worked_by_hand() -> None:
    """A contract cancelled long ago, and one that goes on from term to term."""
    rows = [
        happened("start", 400, "U1", plan="basic", price_minor=490, **TERM),
        happened("cancel", 300, "U1"),
        happened("start", 100, "U2", plan="basic", price_minor=490, **TERM),
        happened("pay", 99, "U2", price_minor=490),
        happened("change", 70, "U2", plan="plus", price_minor=990, **TERM),
        happened("payment_failed", 40, "U2", price_minor=990, payment_method="card"),
        happened("pay", 37, "U2", price_minor=990, payment_method="debit"),
    ]
    found = of_one("subscription.Subscription", world_of(subscriptions=rows))
    assert found == pytest.approx({
        "active": 1, "cancelled": 1, "plan": "plus", "payment_method": "debit", "price": 9.9,
        "term_days": 30, "contract_days": 100, "term_end_days": 20, "active_price": 9.9,
        "changes": 1, "renewals": 0, "cancellations": 1, "last_cancel_days": 300,
        "payments_30d": 0, "failed_payments_30d": 0, "payments_90d": 1, "failed_payments_90d": 1,
        "payments_365d": 2, "failed_payments_365d": 1, "last_payment_days": 37,
        "last_failed_payment_days": 40,
    })  # fmt: skip


@pytest.mark.parametrize(("known", "active"), [(ago(1), 0), (ago(0), 1)])
def test_cancelled_as_known(known: Any, active: int) -> None:
    """A contract is active until its end is known."""
    rows = [happened("start", 50, **TERM), happened("cancel", 2, known_time=known)]
    found = of_one("subscription.Subscription", world_of(subscriptions=rows))
    assert (found["active"], found["cancelled"]) == (active, 1 - active)
    assert (found["term_days"] is None) == (active == 0)


def test_taken_up_again() -> None:
    """A renewal after the cancellation makes the contract active again."""
    rows = [happened("start", 90, **TERM), happened("cancel", 40), happened("renew", 10, **TERM)]
    found = of_one("subscription.Subscription", world_of(subscriptions=rows))
    assert (found["active"], found["contract_days"], found["term_end_days"]) == (1, 90, 20)


def test_end_of_a_term_at_the_cutoff() -> None:
    """The cutoff is the first moment of the next term."""
    found = of_one(
        "subscription.Subscription", world_of(subscriptions=[happened("start", 60, **TERM)])
    )
    assert found["term_end_days"] == 30


def test_main_contract() -> None:
    """Of two active contracts the one begun last speaks; of one moment the greater number."""
    rows = [happened("start", 9, "U2", plan="pro"), happened("start", 5, "U1", plan="basic")]
    assert of_one("subscription.Subscription", world_of(subscriptions=rows))["plan"] == "basic"
    rows = [happened("start", 9, "U2", plan="pro"), happened("start", 9, "U1", plan="basic")]
    assert of_one("subscription.Subscription", world_of(subscriptions=rows))["plan"] == "pro"


def test_contract_of_which_the_start_is_not_known() -> None:
    """Data that begin later: active as long as nobody says otherwise."""
    found = of_one("subscription.Subscription", world_of(subscriptions=[happened("pay", 5)]))
    assert (found["active"], found["contract_days"], found["term_end_days"]) == (1, None, None)
