"""What is known at a cutoff: netted, on both clocks, with the truth of the window after it."""

from datetime import datetime

import numpy as np
import pytest

from tests.channel_worlds import filled, row
from tests.worlds import line, random_world, tables, world
from training.recommend.asof import read_asof
from training.tasks.recommend import (
    PURCHASES,
    Interactions,
    Recommend,
    RecommendConfig,
    Segment,
)

CUTOFF = datetime(2011, 1, 1)


def _seen(lines, said=PURCHASES, next_basket=False, segment=None, **more):
    opened = tables({"order_lines": world(lines), **more} if more else world(lines))
    try:
        return read_asof(opened, CUTOFF, 90, 0, said, next_basket, segment)
    finally:
        opened.backend.disconnect()


def _items(seen, customer):
    c = int(np.flatnonzero(seen.customers == customer)[0])
    span = slice(seen.past.start[c], seen.past.start[c + 1])
    return [
        (seen.attributes.products[i], int(age), int(q), round(amount, 2))
        for i, age, q, amount in zip(
            seen.past.item[span], seen.past.age[span], seen.past.quantity[span],
            seen.past.amount[span], strict=True,
        )
    ]  # fmt: skip


def test_lines_of_a_day_are_one_and_returns_are_taken_off():
    """Two sales of a day add up; what was taken back is gone, a part of it less."""
    seen = _seen([
        line(1, "2010-12-01T09", "a", 200, 2, "A"), line(1, "2010-12-01T18", "b", 100, 1, "A"),
        line(1, "2010-12-05", "c", 500, 5, "B"), line(1, "2010-12-09", "x", -200, -2, "B", ref="c"),
        line(1, "2010-12-07", "d", 300, 1, "C"), line(1, "2010-12-20", "y", -300, -1, "C", ref="d"),
        line(2, "2010-12-31T23:59", "e", 50, 1, "A"),
    ])  # fmt: skip
    assert _items(seen, 1) == [("B", 27, 3, 3.0), ("A", 31, 3, 3.0)]
    assert _items(seen, 2) == [("A", 1, 1, 0.5)]
    assert seen.attributes.products == ("A", "B")


def test_the_future_is_truth_and_never_history():
    """From the cutoff on, by either clock; items not known yet are counted beyond the catalogue."""
    seen = _seen([
        line(1, "2010-12-01", "a", product="A"),
        line(1, "2010-12-30", "late", product="B", known="2011-01-02"),
        line(1, "2011-01-01", "b", product="A"), line(1, "2011-02-01", "c", product="NEW"),
        line(1, "2011-03-31", "d", product="NEW"), line(1, "2011-04-01", "too late", product="A"),
        line(2, "2011-01-05", "e", product="A"),
    ])  # fmt: skip
    assert seen.customers.tolist() == [1]
    assert _items(seen, 1) == [("A", 31, 1, 1.0)]
    assert seen.truth.toarray().tolist() == [[1.0]]
    assert seen.beyond.tolist() == [1]
    assert seen.asked.tolist() == [0]


def test_attributes_are_those_known_then():
    """The last version before the cutoff; a product listed but never sold is in the catalogue."""
    import pyarrow as pa

    from features.canonical import PRODUCTS

    rows = [
        ("A", "2010-01-01", "old", "x", 100), ("A", "2010-06-01", "new", "x", 150),
        ("A", "2011-06-01", "newest", "x", 900), ("Z", "2010-05-01", "unsold", "y", None),
    ]  # fmt: skip
    table = pa.Table.from_pylist(
        [
            {"product_id": code, "event_time": datetime.fromisoformat(t),
             "known_time": datetime.fromisoformat(t), "name": name, "category": category,
             "brand": None, "price_minor": price, "source_row": i}
            for i, (code, t, name, category, price) in enumerate(rows)
        ],
        schema=PRODUCTS.arrow,
    )  # fmt: skip
    seen = _seen([line(1, "2010-12-01", "a", product="A")], products=table)
    assert seen.attributes.products == ("A", "Z")
    assert seen.attributes.names == ("new", "unsold")
    assert seen.attributes.categories == ("x", "y")
    assert seen.attributes.brands == ()
    assert seen.attributes.prices[0] == 1.5
    assert np.isnan(seen.attributes.prices[1])
    assert seen.attributes.category.tolist() == [0, 1]


def test_next_basket_is_the_first_day_of_the_window():
    """All of that day, by customer, and nothing of later days."""
    seen = _seen([
        line(1, "2010-12-01", "a", product="A"), line(1, "2010-12-02", "b", product="B"),
        line(2, "2010-12-02", "c", product="A"),
        line(1, "2011-01-05T09", "d", product="B"), line(1, "2011-01-05T18", "e", product="NEW"),
        line(1, "2011-01-06", "f", product="A"), line(2, "2011-02-01", "g", product="A"),
    ], next_basket=True)  # fmt: skip
    assert seen.truth.toarray().tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert seen.beyond.tolist() == [1, 0]


def test_segments_are_those_known_then():
    """As the source said last before the cutoff; none where it brings no such table or column."""
    lines = [
        *(line(customer, "2010-12-01", "a", product="A") for customer in (1, 2, 3)),
        line(1, "2011-01-05", "b", product="A"), line(4, "2011-01-05", "c", product="A"),
    ]  # fmt: skip
    people = [
        row("customers", 1, "2010-01-01", region="west"), row("customers", 2, "2010-01-01"),
        row("customers", 1, "2010-06-01", region="north"),
        row("customers", 1, "2011-02-01", region="south"),
    ]  # fmt: skip
    table = filled("customers", people)
    seen = _seen(lines, segment=Segment(column="region"), customers=table)
    assert seen.segment == ("north", "", "")
    assert seen.newcomers == 0.5
    assert _seen(lines, segment=Segment(column="no such"), customers=table).segment == ()
    assert _seen(lines, segment=Segment()).segment == ()


def test_interactions_are_rows_of_any_table():
    """Views that meet the conditions, one line a day; rows without an item say nothing."""
    views = Interactions(
        table="events", where=[{"column": "kind", "equals": "view"}], said=("view", "viewed")
    )
    rows = [
        row("events", 1, "2010-12-30T10", kind="view", product_id="X"),
        row("events", 1, "2010-12-30T11", kind="view", product_id="X"),
        row("events", 1, "2010-12-30T12", kind="cart_add", product_id="Y"),
        row("events", 1, "2010-12-30T12", kind="view", product_id=None),
        row("events", 1, "2011-01-02", kind="view", product_id="X"),
        row("events", 1, "2011-01-02", kind="view", product_id="Z"),
    ]
    bought = [line(9, "2010-12-01", "a", product="A")]
    seen = _seen(bought, views, events=filled("events", rows))
    assert _items(seen, 1)[0][:3] == ("X", 2, 2)
    assert seen.attributes.products == ("X",)
    assert (seen.truth.toarray().tolist(), seen.beyond.tolist()) == ([[1.0]], [1])
    task = Recommend(RecommendConfig(interactions=views))
    assert task.question.startswith("Which items does a customer view in the next 90 days")


def test_conditions_on_orders_are_refused():
    """Bought and kept is all that orders say; anything else is rows of a table."""
    with pytest.raises(ValueError, match="name a table"):
        Interactions(where=[{"column": "quantity", "at_least": 2}])


def test_histories_lie_in_the_order_of_the_source_whatever_customers_are_numbered():
    """Another customer key gives other numbers, and the same histories in the same order."""
    plain = random_world(seed=4).to_pylist()
    renamed = {number: 10_007 - 31 * number for number in {x["customer_id"] for x in plain}}
    one, two = (
        _seen([{**x, "customer_id": name(x["customer_id"])} for x in plain])
        for name in (int, renamed.__getitem__)
    )
    assert [renamed[number] for number in one.customers.tolist()] == two.customers.tolist()
    assert sorted(two.customers.tolist()) != two.customers.tolist()
    for field in ("start", "item", "age", "quantity", "amount"):
        assert np.array_equal(getattr(one.past, field), getattr(two.past, field)), field
    assert one.truth.nnz
    assert (one.truth != two.truth).nnz == 0
    assert one.beyond.tolist() == two.beyond.tolist()
