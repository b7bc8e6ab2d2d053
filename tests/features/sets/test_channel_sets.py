"""What the sets of all channels have in common: empty, late and absent tables, windows."""

import re
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from features import columns as c
from features.settings import Part, resolve
from features.snapshot import SETS
from tests.channel_worlds import empty, row, world_of
from tests.features.sets.oracle import T, ago, of_one, together

SECOND = timedelta(seconds=1)
CONFIGS: dict[str, dict[str, Any]] = {
    "attributes.Attributes": {"columns": {"own_word": "category", "own_number": "months"}},
    "contacts.Contacts": {}, "derived.Derived": {}, "devices.Devices": {},
    "engagement.Engagement": {}, "feedback.Feedback": {}, "graph.Graph": {},
    "locations.Locations": {}, "loyalty.Loyalty": {}, "profile.Profile": {},
    "subscription.Subscription": {}, "support.Support": {},
}  # fmt: skip
PARTS = [resolve(SETS, Part(use=use, config=config)) for use, config in CONFIGS.items()]
READ = sorted({name for part in PARTS for name in part.reads})
COLUMNS = [column for part in PARTS for column in part.columns()]
DECLARED = {column.name: column.fill for column in COLUMNS}
BOUGHT = [row("order_lines", 1, ago(100)), row("order_lines", 3, ago(10))]


def unheard_of(table: str) -> pa.Table:
    """A table that says nothing of customers 1 and 3 before the cutoff."""
    own = {"own_word": "a", "own_number": 1.0} if table == "attributes" else {}
    return world_of(**{table: [row(table, 1, T, **own)]})[table]


def test_empty_tables() -> None:
    """Customers of whom a table knows nothing get what the columns declare."""
    made = {name: unheard_of(name).slice(0, 0) for name in READ}
    found = together(PARTS, world_of(order_lines=BOUGHT) | made)
    assert found == {(1, T): DECLARED, (3, T): DECLARED}


def test_tables_that_begin_later() -> None:
    """Before a table begins nothing could be observed: missing, never zero."""
    made = {name: unheard_of(name) for name in READ}
    world = world_of(order_lines=BOUGHT) | made
    found = together(PARTS, world, [T, T + SECOND], dict.fromkeys(READ, T))
    assert set(found[1, T].values()) == set(found[3, T].values()) == {None}
    assert found[3, T + SECOND] == DECLARED


def test_tables_that_are_not_brought() -> None:
    """A source without the channel: every column is there and missing."""
    found = together(PARTS, world_of(order_lines=BOUGHT))
    assert found == {(customer, T): dict.fromkeys(DECLARED) for customer in (1, 3)}


@pytest.mark.parametrize(
    ("use", "table", "name", "values"),
    [
        ("engagement.Engagement", "events", "visits_30d", {}),
        ("contacts.Contacts", "contacts", "sent_30d", {}),
        ("support.Support", "feedback", "tickets_30d", {c.KIND: "ticket"}),
        ("feedback.Feedback", "feedback", "nps_count_90d", {c.KIND: "nps", "score": 1.0}),
        ("subscription.Subscription", "subscriptions", "payments_30d", {c.KIND: "pay"}),
        ("loyalty.Loyalty", "loyalty", "burnt_90d", {c.KIND: "burn", "points": 1}),
        ("derived.Derived", "derived", "rule_hits_30d", {"name": "rule"}),
        ("devices.Devices", "devices", "used_90d", {c.KIND: "phone"}),
    ],
)
def test_windows_are_half_open(use: str, table: str, name: str, values: dict[str, str]) -> None:
    """``[t - w, t)``: the first moment of the window is in it, the cutoff is not."""
    days = int(name.rpartition("_")[2].rstrip("d"))
    edges = (ago(days) - SECOND, ago(days), T - SECOND, T)
    rows = [
        row(table, 1, when, **values, **_own_number(table, number))
        for number, when in enumerate(edges)
    ]
    world = world_of(**{table: rows})
    if table == "contacts":
        world["responses"] = empty("responses")
    assert of_one(use, world)[name] == 2


def _own_number(table: str, number: int) -> dict[str, str]:
    name = {"contacts": "contact_id", "feedback": "thread_id", "devices": "device_id"}.get(table)
    return {name: f"N{number}"} if name else {}


def test_columns_say_what_they_are() -> None:
    """Words are categories, windows are named, and what always has a value is filled."""
    for column in COLUMNS:
        window = re.search(r"_(\d+)d$", column.name)
        assert column.window_days == (int(window[1]) if window else None), column.name
        assert (column.dtype == "string") == (column.unit == "category"), column.name
        assert (column.missing == "never") == (column.fill is not None), column.name
