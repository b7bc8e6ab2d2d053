"""The sets ``devices`` and ``locations``."""

from typing import Any

import pytest

from features import columns as c
from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, T, ago, agree, computed, least


def devices_slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set ``devices`` in plain Python."""
    rows = past.of(customer, "devices")
    mine = {entry["device_id"] for entry in rows}
    others = {e["device_id"] for e in past.tables["devices"] if e[c.CUSTOMER] != customer}
    first = {name: max(e["age"] for e in rows if e["device_id"] == name) for name in mine}
    used = {e["device_id"] for e in rows if e["age"] <= config.window_days}
    return {
        "total": len(mine),
        f"used_{config.window_days}d": len(used),
        **{
            f"{kind}_total": len({e["device_id"] for e in rows if e[c.KIND] == kind})
            for kind in config.kinds
        },
        "shared_total": len(mine & others),
        "last_new_days": least(first.values()),
        "last_seen_days": least(entry["age"] for entry in rows),
    }


def locations_slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set ``locations`` in plain Python."""
    rows = past.of(customer, "locations")
    homes = [entry for entry in rows if entry[c.KIND] == config.home]
    moves = [homes[k] for k in range(1, len(homes)) if homes[k]["place"] != homes[k - 1]["place"]]
    return {
        "places": len({entry["place"] for entry in rows}),
        "other_places": len({e["place"] for e in rows if e[c.KIND] != config.home}),
        "last_seen_days": least(entry["age"] for entry in rows),
        "home": homes[-1]["place"] if homes else None,
        "moves": len(moves),
        "last_move_days": least(entry["age"] for entry in moves),
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_the_slow_way_agrees_on_devices(seed: int) -> None:
    """Plain Python over the rows of all customers gives every value of a random world."""
    agree("devices.Devices", random_channels(seed), devices_slowly)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_slow_way_agrees_on_locations(seed: int) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree("locations.Locations", random_channels(seed), locations_slowly)


def test_devices_by_hand() -> None:
    """Two devices, one of them shared; another one shared after the cutoff."""

    def seen(customer: int, name: str, days: float, kind: str = "phone") -> dict[str, Any]:
        return row("devices", customer, ago(days), device_id=name, **{c.KIND: kind})

    rows = [
        seen(1, "A", 200), seen(1, "A", 100), seen(1, "B", 50, "tablet"),
        seen(2, "A", 10), seen(2, "B", -1),
    ]  # fmt: skip
    found = computed("devices.Devices", world_of(devices=rows))
    assert found[1, T] == {
        "total": 2, "used_90d": 1, "phone_total": 1, "tablet_total": 1, "computer_total": 0,
        "shared_total": 1, "last_new_days": 50, "last_seen_days": 50,
    }  # fmt: skip
    assert found[2, T]["shared_total"] == 1


def test_locations_by_hand() -> None:
    """A move that is known late, and a store."""

    def seen(kind: str, place: str, days: float, **more: Any) -> dict[str, Any]:
        return row("locations", when=ago(days), place=place, **{c.KIND: kind, **more})

    rows = [
        seen("home", "north", 300), seen("store", "mall", 20), seen("store", "north", 9),
        seen("home", "south", 100, known_time=ago(60)), seen("home", "south", 50),
    ]  # fmt: skip
    cutoffs = (ago(70), T)
    found = computed("locations.Locations", world_of(locations=rows), cutoffs)
    assert (found[1, cutoffs[0]]["home"], found[1, cutoffs[0]]["moves"]) == ("north", 0)
    assert found[1, T] == {
        "places": 3, "other_places": 2, "last_seen_days": 9, "home": "south", "moves": 1,
        "last_move_days": 100,
    }  # fmt: skip
