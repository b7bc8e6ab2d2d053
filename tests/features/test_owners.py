"""Accounts that turn out to be one person: at the cutoff for features, at maturity for labels."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from features import columns as c
from features.canonical import CUSTOMERS, MERGES
from features.compute import compute
from features.errors import DataError
from features.tables import Tables
from tests.contracts.feature_sets import default
from tests.worlds import BEGAN, DAY, line, tables, world

T = BEGAN + 200 * DAY
ANN, WEB, BOB = 1, 2, 3


def merge(account: int, into: int, when: datetime, known: datetime | None = None) -> dict[str, Any]:
    """``account`` belongs to ``into`` from ``when`` on, learned at ``known``."""
    return {c.CUSTOMER: account, c.EVENT_TIME: when, c.KNOWN_TIME: known or when, c.OTHER: into}


def opened(lines: list[dict[str, Any]], merges: list[dict[str, Any]]) -> Tables:
    """Order lines and merges as tables."""
    numbered = [{**values, c.ROW: number} for number, values in enumerate(merges)]
    merged = pa.Table.from_pylist(numbered, schema=MERGES.arrow)
    return tables({"order_lines": world(lines), "merges": merged})


LINES = [
    line(ANN, BEGAN + 10 * DAY, "a1", amount=1_000),
    line(WEB, BEGAN + 50 * DAY, "w1", amount=500),
    line(WEB, BEGAN + 90 * DAY, "w2", amount=700),
    line(BOB, BEGAN + 20 * DAY, "b1", amount=100),
    line(WEB, T + 5 * DAY, "w3", amount=900),
]


def rfm(open_tables: Tables, t: datetime) -> dict[int, tuple[float, float]]:
    """Customer -> (repeat orders, mean value) at ``t``."""
    table = compute(open_tables.backend, open_tables.asof([t]), [default("rfm.Rfm")])
    names = (c.CUSTOMER, "rfm__frequency_orders", "rfm__monetary_value")
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    return {customer: values for customer, *values in rows}


def test_features_know_a_merge_from_when_it_was_learned() -> None:
    """Before it is learned there are two customers, after it one with both histories."""
    found = opened(LINES, [merge(WEB, ANN, BEGAN + 60 * DAY, known=T - DAY)])
    before = rfm(found, T - DAY)
    assert before == {ANN: [0, 10.0], WEB: [1, 6.0], BOB: [0, 1.0]}
    assert rfm(found, T) == {ANN: [2, pytest.approx(22 / 3)], BOB: [0, 1.0]}


def test_gaps_go_over_both_accounts() -> None:
    """Days between orders are those of the person, whichever account ordered."""
    found = opened(LINES, [merge(WEB, ANN, T - DAY)])
    table = compute(found.backend, found.asof([T]), [default("cadence.Cadence")])
    gaps = dict(
        zip(table[c.CUSTOMER].to_pylist(), table["cadence__gap_mean_days"].to_pylist(), strict=True)
    )
    assert gaps == {ANN: 40.0, BOB: None}


def test_a_merge_can_be_taken_back() -> None:
    """A later row that names the account itself splits it off again."""
    merges = [merge(WEB, ANN, BEGAN + 60 * DAY), merge(WEB, WEB, BEGAN + 150 * DAY)]
    found = opened(LINES, merges)
    assert set(rfm(found, BEGAN + 100 * DAY)) == {ANN, BOB}
    assert set(rfm(found, T)) == {ANN, WEB, BOB}


@pytest.mark.parametrize(
    ("learned", "buyers"),
    [
        (T - DAY, {ANN}),  # known before the cutoff: one customer, who bought
        (T + 20 * DAY, {ANN, WEB}),  # learned in the window: both are who bought
        (T + 100 * DAY, {WEB}),  # learned after maturity: nobody knows yet
    ],
)
def test_labels_use_what_is_known_at_maturity(learned: datetime, buyers: set[int]) -> None:
    """A purchase counts for every customer of the cutoff who is that person at maturity."""
    found = opened(LINES, [merge(WEB, ANN, learned)])
    following = found.following([T], 30, 0)
    orders = found.backend.to_pyarrow(following.orders.select(c.CUSTOMER).distinct())
    assert set(orders[c.CUSTOMER].to_pylist()) == buyers


def test_an_account_first_seen_in_the_window_counts_for_its_owner() -> None:
    """A visitor who is recognised before maturity tells about the customer that was known."""
    visitor = 9
    lines = [*LINES[:4], line(visitor, T + 5 * DAY, "v1", amount=900)]
    found = opened(lines, [merge(visitor, ANN, T + 6 * DAY)])
    following = found.following([T], 30, 0)
    orders = found.backend.to_pyarrow(following.orders.select(c.CUSTOMER, c.AMOUNT))
    assert (ANN, 900) in zip(*(orders[n].to_pylist() for n in orders.column_names), strict=True)


def test_passes_hold_one_cutoff_each() -> None:
    """Who is who depends on the cutoff, so a view of several is refused with the way out."""
    found = opened(LINES, [merge(WEB, ANN, T)])
    cutoffs = [T, T + timedelta(days=30)]
    assert found.passes(cutoffs) == [(t,) for t in cutoffs]
    assert tables(world(LINES)).passes(cutoffs) == [tuple(cutoffs)]
    with pytest.raises(DataError, match=r"one of Tables\.passes"):
        found.asof(cutoffs)


def test_attributes_survive_a_merge() -> None:
    """The newest value that is not missing counts, or the oldest where told; never one of later."""
    told = {c.CUSTOMER: ANN, c.EVENT_TIME: BEGAN, "birth_year": 1970, "acquisition_channel": "web"}
    rows = [
        told,
        told | {c.CUSTOMER: WEB, c.EVENT_TIME: BEGAN + 30 * DAY, "birth_year": None,
                "acquisition_channel": "store", "region": "North"},
        told | {c.EVENT_TIME: BEGAN + 40 * DAY, c.KNOWN_TIME: T + DAY, "region": "South"},
    ]  # fmt: skip
    numbered = [{c.KNOWN_TIME: row[c.EVENT_TIME], **row, c.ROW: n} for n, row in enumerate(rows)]
    merged = [{**merge(WEB, ANN, BEGAN + 60 * DAY), c.ROW: 0}]
    found = tables({
        "customers": pa.Table.from_pylist(numbered, schema=CUSTOMERS.arrow),
        "merges": pa.Table.from_pylist(merged, schema=MERGES.arrow),
    })  # fmt: skip
    expected = {None: (None, "store", "North"), (): (1970, "store", "North"),
                ("acquisition_channel",): (1970, "web", "North")}  # fmt: skip
    for oldest, values in expected.items():
        view = replace(found, oldest=oldest).asof([T])
        (row,) = found.backend.to_pyarrow(view.latest("customers")).to_pylist()
        assert (row["birth_year"], row["acquisition_channel"], row["region"]) == values
