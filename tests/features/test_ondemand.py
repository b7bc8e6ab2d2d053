"""Histories in a request: what is computed, what is refused, what requests share (nothing)."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from features import columns as c
from features import ondemand
from features.canonical import CANONICAL
from features.errors import ConfigError, DataError
from features.ondemand import OnDemand
from features.posted import MAX_ROWS, OURS
from features.settings import Part, resolve
from features.snapshot import SETS
from tests.contracts.feature_sets import default
from tests.worlds import BEGAN, DAY, computed, line, random_world

SCHEMAS = {n: CANONICAL[n].arrow for n in ("order_lines", "customers", "products", "events")}
MOMENT = BEGAN + 731 * DAY


@pytest.fixture(scope="module")
def compiled() -> OnDemand:
    """Order features of a source that brings four tables."""
    return OnDemand(
        [default("rfm.Rfm"), default("orders.Orders")], SCHEMAS, dict.fromkeys(SCHEMAS, BEGAN)
    )


def posted(**changes: Any) -> dict[str, Any]:
    """An order line as a request has it."""
    row = line(1, BEGAN + 700 * DAY, "A1") | changes
    return {k: v for k, v in row.items() if k not in OURS}


def history(*rows: Any) -> dict[str, list[Any]]:
    """A history of order lines alone."""
    return {"order_lines": list(rows)}


def test_rows_equal_the_table(compiled: OnDemand) -> None:
    """Customers of a random world, each with its own rows, get what the feature table holds."""
    table = random_world(seed=4, customers=40)
    parts = [default("rfm.Rfm"), default("orders.Orders")]
    expected = computed(parts, table, [MOMENT]).drop_columns([c.CUTOFF]).to_pylist()
    rows: dict[int, list[Any]] = {}
    for row in table.to_pylist():
        rows.setdefault(row[c.CUSTOMER], []).append({k: row[k] for k in row if k not in OURS})
    for values in expected:
        assert compiled.row(history(*rows[values.pop(c.CUSTOMER)]), MOMENT) == values


def test_nothing_posted_is_what_columns_declare(compiled: OnDemand) -> None:
    """A customer without rows has fills where rows could be observed, and nothing before that."""
    for column in compiled.columns:
        assert compiled.row({}, MOMENT)[column.name] == column.fill
        assert compiled.row(history(), BEGAN)[column.name] is None


def test_later_rows_are_left_out(compiled: OnDemand) -> None:
    """Rows at the moment or later, or known only then, change nothing."""
    alone = compiled.row(history(posted()), MOMENT)
    late = posted(order_id="B", order_ref="B", event_time=MOMENT, known_time=MOMENT)
    news = posted(order_id="C", order_ref="C", known_time=MOMENT + DAY)
    assert compiled.row(history(posted(), late, news), MOMENT) == alone


def test_moments_as_text(compiled: OnDemand) -> None:
    """JSON has no moments: ISO text says the same."""
    as_text = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in posted().items()}
    assert compiled.row(history(as_text), MOMENT) == compiled.row(history(posted()), MOMENT)


def test_quotes_and_odd_texts_are_values(compiled: OnDemand) -> None:
    """Text cannot leave its place in the statement."""
    plain = compiled.row(history(posted(product_id="A")), MOMENT)
    for text in ("'", "''); DROP TABLE x; --", '"', "\\", "\\u0000", "é\u2028😀", "$1", "{}"):
        assert compiled.row(history(posted(product_id=text)), MOMENT) == plain


BAD: list[tuple[Any, str]] = [
    (
        {"orders": []},
        r"a table that is not known: expected one of \['order_lines', 'customers', 'events'\]",
    ),
    ({"products": []}, "a table that is not known: expected one of"),
    ({"order_lines": {}}, "table order_lines: expected a list of rows"),
    ([], "a history is a mapping"),
    (history("x"), "table order_lines, row 0: expected a mapping"),
    (history(posted(), posted(colour="red")), r"row 1: 1 unknown column\(s\)"),
    (history({**posted(), c.CUSTOMER: 1}), r"row 0: 1 unknown column\(s\)"),
    (history(posted(amount_minor=None)), "row 0, column amount_minor: a value is required"),
    (history(posted(amount_minor=1.5)), "row 0, column amount_minor: expected an integer"),
    (history(posted(amount_minor=True)), "column amount_minor: expected an integer"),
    (history(posted(amount_minor=2**63)), "column amount_minor: the integer does not fit"),
    (history(posted(is_return="no")), "column is_return: expected true or false"),
    (history(posted(product_id=7)), "column product_id: expected text"),
    (history(posted(product_id="x" * 20_000)), "column product_id: expected at most"),
    (history(posted(product_id="a\0b")), "none of them zero"),
    (history(posted(product_id="\ud800")), "column product_id: .*surrogates"),
    (
        history(posted(event_time="yesterday")),
        "column event_time: expected a moment without a zone",
    ),
    (history(posted(event_time=5)), "column event_time: expected a moment without a zone"),
    (history(posted(event_time=datetime(2010, 1, 1, tzinfo=UTC))), "without a zone"),
    (history(*[posted()] * (MAX_ROWS + 1)), f"{MAX_ROWS + 1} rows; at most"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_bad_rows_are_named(compiled: OnDemand, bad: Any, message: str) -> None:
    """What does not fit is refused with table, row and column; a good request works afterwards."""
    with pytest.raises(DataError, match=message):
        compiled.row(bad, MOMENT)
    assert compiled.row(history(posted()), MOMENT)["rfm__frequency_orders"] == 0


def test_all_problems_at_once(compiled: OnDemand) -> None:
    """Two wrong values are two lines of one error; in several histories, the history is named."""
    with pytest.raises(DataError) as caught:
        compiled.rows([{}, history(posted(quantity="a", is_return=None))], MOMENT)
    assert str(caught.value).count("history 1, table order_lines, row 0, column") == 2


def test_sets_about_others_are_refused() -> None:
    """What depends on other customers cannot be made of one customer's rows."""
    with pytest.raises(ConfigError, match="Peers look at other customers"):
        OnDemand([resolve(SETS, Part(use="cohort.Peers"))], SCHEMAS, dict.fromkeys(SCHEMAS, BEGAN))


def test_tables_a_source_lacks_are_missing_values() -> None:
    """As in a feature table: nothing could be observed."""
    made = OnDemand([default("loyalty.Loyalty")], SCHEMAS, dict.fromkeys(SCHEMAS, BEGAN))
    assert set(made.row(history(posted()), MOMENT).values()) == {None}


def test_requests_share_nothing(compiled: OnDemand) -> None:
    """Threads ask at once for different customers and get their own; no table is left behind."""
    orders = [history(*[posted(order_id=f"{k}", order_ref=f"{k}") for k in range(n)]) for n in
              range(1, 9)]  # fmt: skip
    wrong: list[Any] = []

    def ask(number: int) -> None:
        for _ in range(5):
            found = compiled.row(orders[number], MOMENT)["rfm__frequency_orders"]
            if found != number:
                wrong.append((number, found))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert compiled._backend.raw_sql("SHOW TABLES").fetchall() == []


def test_plans_are_forgotten_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """More choices of tables than plans are kept: the oldest goes, answers stay."""
    monkeypatch.setattr(ondemand, "MAX_PLANS", 1)
    made = OnDemand([default("rfm.Rfm")], SCHEMAS, dict.fromkeys(SCHEMAS, BEGAN))
    known = {"event_time": BEGAN, "known_time": BEGAN}
    alone = made.row(history(posted()), MOMENT)
    for _ in range(3):
        assert made.row({**history(posted()), "customers": [known]}, MOMENT) == alone
        assert made.row(history(posted()), MOMENT) == alone


def test_large_amounts(compiled: OnDemand) -> None:
    """Sums beyond 64 bits are sums, not another number."""
    row = compiled.row(history(*[posted(amount_minor=2**62)] * 8), MOMENT)
    assert row["orders__spend_total"] == 2.0**65 / 100


def test_moment_within_a_day(compiled: OnDemand) -> None:
    """Requests come at any time of the day."""
    row = compiled.row(history(posted()), BEGAN + 701 * DAY + timedelta(hours=12))
    assert row["rfm__recency_days"] == 1.5
