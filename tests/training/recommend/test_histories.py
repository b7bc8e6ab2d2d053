"""One line for each customer, item and day, whatever order rows come in."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.training.recommend.worlds import histories
from training.recommend.catalogue import _buyers, demand
from training.recommend.histories import Histories

lines = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 9), st.integers(1, 5)),
    max_size=30,
)


def _made(rows: list[tuple[int, int, int, int]]) -> Histories:
    values = np.array(rows, np.int64).reshape(-1, 4)
    names = ("customer", "item", "age", "quantity")
    columns = {name: values[:, j] for j, name in enumerate(names)}
    return Histories.of({**columns, "amount": 2.0 * values[:, 3]}, 4, 5)


@given(lines, st.randoms())
def test_order_of_rows_does_not_matter_and_nothing_is_lost(rows, random):
    """Sums by customer, item and day are those of a dict; shuffled rows give equal arrays."""
    expected: dict[tuple[int, int, int], int] = {}
    for customer, item, age, quantity in rows:
        key = (customer, age, item)
        expected[key] = expected.get(key, 0) + quantity
    found = _made(rows)
    keys = zip(found.customer.tolist(), found.age.tolist(), found.item.tolist(), strict=True)
    assert dict(zip(keys, found.quantity.tolist(), strict=True)) == expected
    shuffled = list(rows)
    random.shuffle(shuffled)
    other = _made(shuffled)
    for name in ("start", "item", "age", "quantity", "amount"):
        assert np.array_equal(getattr(found, name), getattr(other, name))


@given(lines)
def test_baskets_are_days_of_a_customer_newest_first(rows):
    """Equal customer and day = equal basket; numbers rise with age within a customer."""
    found = _made(rows)
    seen = dict[int, tuple[int, float]]()
    for basket, customer, age in zip(found.basket, found.customer, found.age, strict=True):
        assert seen.setdefault(int(basket), (int(customer), float(age))) == (customer, age)
    assert list(seen) == list(range(len(seen)))
    own = list(seen.values())
    assert own == sorted(own)


def test_take_and_shards_are_the_same_customers():
    """Shards put together are the whole; taking keeps the given order."""
    past = histories()
    taken = past.take([3, 0, 7])
    for place, customer in enumerate((3, 0, 7)):
        span, own = (
            slice(h.start[i], h.start[i + 1]) for h, i in ((past, customer), (taken, place))
        )
        assert np.array_equal(past.item[span], taken.item[own])
        assert np.array_equal(past.age[span], taken.age[own])
    shards = list(past.shards(5))
    assert [s.start for s, _ in shards] == [0, 5, 10]
    dense = np.vstack([some.matrix().toarray() for _, some in shards])
    assert np.array_equal(dense, past.matrix().toarray())


@given(lines)
def test_buyers_of_an_item_are_different_customers(rows):
    """Of all time and of the last days: the size of a set, whatever was bought twice."""
    found = _made(rows)
    ever, lately = demand(found, 3).buyers, _buyers(found, found.age <= 4)
    for item in range(5):
        assert ever[item] == len({c for c, i, *_ in rows if i == item})
        assert lately[item] == len({c for c, i, age, _ in rows if i == item and age <= 4})
