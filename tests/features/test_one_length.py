"""Tables of one length: at every cutoff as if data had begun so late that they are no longer."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import columns as c
from features.canonical import CANONICAL, LASTING
from features.catalogue import discover
from features.compute import compute
from features.errors import DataError
from features.passes import Passes
from features.settings import Part, resolve
from features.snapshot import SETS
from tests.channel_worlds import random_channels
from tests.contracts.feature_sets import default
from tests.worlds import BEGAN, as_bytes, computed, line, random_world, tables, world

DAY = timedelta(days=1)
PARTS = [
    resolve(SETS, Part(use=use))
    for use in ("rfm.Rfm", "orders.Orders", "cadence.Cadence", "assortment.Assortment")
]


def seen(table: Any, reference: datetime, cutoff: datetime, parts: Sequence[Any]) -> pa.Table:
    """Features at ``cutoff`` of data no longer than at ``reference``."""
    opened = replace(tables(table), as_at=reference)
    try:
        return compute(opened.backend, opened.asof([cutoff]), parts)
    finally:
        opened.backend.disconnect()


@settings(max_examples=4)
@given(st.integers(0, 50), st.integers(60, 500), st.integers(0, 380))
def test_features_are_those_of_a_file_that_begins_so_late(seed: int, length: int, on: int) -> None:
    """Of every set, bit for bit, the first days' missing values among them."""
    table, reference = random_world(seed, customers=30), BEGAN + length * DAY
    late = table.filter(pc.greater_equal(table[c.EVENT_TIME], pa.scalar(BEGAN + on * DAY)))
    expected = computed(PARTS, late, [reference + on * DAY], began=BEGAN + on * DAY)
    found = seen(table, reference, reference + on * DAY, PARTS)
    assert found.num_rows > 0
    assert as_bytes(found) == as_bytes(expected)


def test_statements_written_once_hold_for_every_cutoff() -> None:
    """Of every set over every table: a later cutoff of a build is as if it had been alone."""
    parts, whole = [default(use) for use in discover()], random_channels(seed=5, customers=40)
    reference, later = BEGAN + 200 * DAY, 250 * DAY
    opened = replace(tables(whole), as_at=reference)
    passes = Passes(opened.backend, opened.asof, parts)
    passes.at([reference])
    found = passes.at([reference + later])
    late = {
        name: table if name in LASTING
        else table.filter(pc.greater_equal(table[c.EVENT_TIME], pa.scalar(BEGAN + later)))
        for name, table in whole.items()
    }  # fmt: skip
    began = {name: BEGAN if name in LASTING else BEGAN + later for name in whole}
    alone = replace(tables(late), began=began)
    expected = compute(alone.backend, alone.asof([reference + later]), parts)
    odd = [name for name in found.column_names
           if as_bytes(found.select([name])) != as_bytes(expected.select([name]))]  # fmt: skip
    assert (found.num_rows > 0, odd) == (True, [])
    for backend in (opened.backend, alone.backend):
        backend.disconnect()


def test_what_holds_until_it_is_replaced_is_known_all_the_same() -> None:
    """Who signed up before, and has not ordered since, is a customer still; the orders are gone."""
    schema = CANONICAL["customers"].arrow
    told = {c.CUSTOMER: 1, c.EVENT_TIME: BEGAN, c.KNOWN_TIME: BEGAN, c.ROW: 0}
    signed = pa.Table.from_pylist([{name: told.get(name) for name in schema.names}], schema=schema)
    old = world([line(1, BEGAN + DAY, "a"), line(2, BEGAN + DAY, "b")])
    brought = {"customers": signed, "order_lines": old}
    found = seen(brought, BEGAN + 50 * DAY, BEGAN + 300 * DAY, PARTS[:1])
    assert found[c.CUSTOMER].to_pylist() == [1]
    assert found["rfm__recency_days"].null_count == 1


def test_a_view_holds_one_cutoff_alone() -> None:
    """Each has tables of its own; asked for two, it says what to do."""
    opened = replace(tables(random_world(0, customers=3)), as_at=BEGAN + 90 * DAY)
    cutoffs = [BEGAN + 100 * DAY, BEGAN + 130 * DAY]
    assert opened.passes(cutoffs) == [(t,) for t in cutoffs]
    with pytest.raises(DataError, match=r"take one of Tables.passes\(cutoffs\) at a time"):
        opened.asof(cutoffs)
    opened.backend.disconnect()
