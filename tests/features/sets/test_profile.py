"""The set ``profile``."""

from typing import Any

import pytest

from features import columns as c
from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, T, ago, agree, computed, least, of_one

SAID = ("acquisition_channel", "region", "country", "language", "gender")


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    versions = past.of(customer, "customers")
    said = [tuple(version[name] for name in (*SAID, "birth_year")) for version in versions]
    changed = [
        versions[k]["age"] for k in range(1, len(versions)) if said[k] != said[k - 1]
    ]  # fmt: skip
    last = versions[-1] if versions else dict.fromkeys((*SAID, "signup_time", "birth_year"))
    born, since = last["birth_year"], last["signup_time"]
    age = None if born is None else past.cutoff.year - born
    return {
        **{name: last[name] for name in SAID},
        "tenure_days": (
            (past.cutoff - since).total_seconds() / 86_400
            if since and since < past.cutoff
            else None
        ),
        "age_years": age if age is not None and 0 <= age <= 120 else None,
        "changes": len(changed),
        "last_change_days": least(changed),
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_the_slow_way_agrees(seed: int) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree("profile.Profile", random_channels(seed), slowly)


def test_worked_by_hand() -> None:
    """A customer who moved, and whose move is known a week later."""
    customers = [
        row("customers", when=ago(300), signup_time=ago(310), region="north", birth_year=1980),
        row("customers", when=ago(50), known=ago(43), signup_time=ago(310), region="south",
            birth_year=1980, gender="f"),
    ]  # fmt: skip
    cutoffs = (ago(45), T)
    found = computed("profile.Profile", world_of(customers=customers), cutoffs)
    before, after = found[1, cutoffs[0]], found[1, T]
    assert (before["region"], before["changes"], before["last_change_days"]) == ("north", 0, None)
    assert (after["region"], after["changes"], after["last_change_days"]) == ("south", 1, 50)
    assert (before["tenure_days"], after["tenure_days"]) == (265, 310)
    assert (after["age_years"], after["gender"], after["country"]) == (30, "f", None)


def test_correction_of_one_moment() -> None:
    """Of two versions of one moment the one learned last counts, else the later row."""
    first = row("customers", when=ago(9), region="north")
    second = row("customers", when=ago(9), region="south")
    late = row("customers", when=ago(9), known=ago(5), region="east")
    for rows, region in (
        ([first, second], "south"),
        ([second, first], "north"),
        ([late, first], "east"),
    ):
        found = of_one("profile.Profile", world_of(customers=rows))
        assert (found["region"], found["changes"]) == (region, 1)


def test_delivered_again_is_no_change() -> None:
    """Versions that say the same, missing values too, change nothing."""
    rows = [row("customers", when=ago(days), region="north") for days in (90, 60, 30)]
    assert of_one("profile.Profile", world_of(customers=rows))["changes"] == 0


@pytest.mark.parametrize(("born", "age"), [(2010, 0), (1890, 120), (1889, None), (2011, None)])
def test_age_in_its_bounds(born: int, age: int | None) -> None:
    """A year of birth that nobody can have is no year of birth."""
    world = world_of(customers=[row("customers", when=ago(1), birth_year=born)])
    assert of_one("profile.Profile", world)["age_years"] == age


def test_account_of_the_future() -> None:
    """A time of signing up that lies after the cutoff says nothing of tenure."""
    world = world_of(customers=[row("customers", when=ago(1), signup_time=ago(-1))])
    assert of_one("profile.Profile", world)["tenure_days"] is None
    assert c.CUSTOMER not in of_one("profile.Profile", world)
