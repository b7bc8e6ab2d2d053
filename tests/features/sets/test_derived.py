"""The set ``derived``."""

from typing import Any

import pytest

from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, T, ago, agree, computed, least, of_one


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    rows = past.of(customer, "derived")
    values: dict[str, Any] = {}
    for name in config.labels:
        said = [entry for entry in rows if entry["name"] == name and entry["label"] is not None]
        new = [k == 0 or said[k]["label"] != said[k - 1]["label"] for k in range(len(said))]
        values[name] = said[-1]["label"] if said else None
        values[f"{name}_changed_days"] = least(
            entry["age"] for entry, is_new in zip(said, new, strict=True) if is_new
        )
        values[f"{name}_changes"] = sum(new[1:])
    for name in config.values:
        said = [entry for entry in rows if entry["name"] == name and entry["value"] is not None]
        values[f"{name}_value"] = said[-1]["value"] if said else None
        values[f"{name}_said_days"] = least(entry["age"] for entry in said)
    for name in config.counted:
        ages = [entry["age"] for entry in rows if entry["name"] == name]
        values[f"{name}_last_days"] = least(ages)
        for days in config.windows_days:
            values[f"{name}_hits_{days}d"] = sum(age <= days for age in ages)
    return values


@pytest.mark.parametrize(("seed", "values"), [(1, ()), (2, ("rule", "stage"))])
def test_the_slow_way_agrees(seed: int, values: tuple[str, ...]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree("derived.Derived", random_channels(seed), slowly, values=values)


def said(name: str, days: float, label: str | None = None, **more: Any) -> dict[str, Any]:
    """What a model said so many days before the cutoff."""
    return row("derived", when=ago(days), **{"name": name, "label": label, "value": None, **more})


def test_worked_by_hand() -> None:
    """A segment said three times, changed once; two hits of a rule."""
    rows = [
        said("segment", 90, "new"), said("segment", 60, "loyal"), said("segment", 30, "loyal"),
        said("rule", 40), said("rule", 10), said("risk score", 5, value=0.25),
    ]  # fmt: skip
    found = of_one("derived.Derived", world_of(derived=rows), values=["risk score"])
    expected = {
        "segment": "loyal", "segment_changed_days": 60, "segment_changes": 1, "stage": None,
        "stage_changed_days": None, "stage_changes": 0, "rule_hits_30d": 1, "rule_hits_365d": 2,
        "rule_last_days": 10, "risk_score_value": 0.25, "risk_score_said_days": 5,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_answer_as_known() -> None:
    """An answer counts from when it was known, not from what it is dated."""
    rows = [said("stage", 50, "active"), said("stage", 20, "fading", known_time=ago(5))]
    cutoffs = (ago(5), T)
    found = computed("derived.Derived", world_of(derived=rows), cutoffs)
    assert [found[1, t]["stage"] for t in cutoffs] == ["active", "fading"]
    assert [found[1, t]["stage_changed_days"] for t in cutoffs] == [45, 20]


def test_back_and_forth() -> None:
    """The time counts from the last change, also to what it was before."""
    rows = [said("topic", days, label) for days, label in ((9, "a"), (6, "b"), (3, "a"), (1, "a"))]
    found = of_one("derived.Derived", world_of(derived=rows))
    assert (found["topic"], found["topic_changed_days"], found["topic_changes"]) == ("a", 3, 2)
