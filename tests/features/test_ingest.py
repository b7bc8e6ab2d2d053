"""Raw file to tables: the account balances, rules do what they say, the past stays as it was."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features import columns as c
from features.compute import compute
from features.errors import ConfigError, DataError
from features.settings import Workspace
from features.tables import Stored, build_tables
from tests.contracts.feature_sets import default, discover
from tests.worlds import (
    DAY,
    HEADER,
    Raw,
    as_bytes,
    built,
    good,
    raw,
    source,
    stored_table,
    text,
    write_raw,
)

pytestmark = pytest.mark.usefixtures("reader_here")
MOST = {"max_quarantined_share": 0.9}


def mixed(records: Iterable[Raw | bytes], seed: int = 0) -> list[Raw | bytes]:
    """``records`` in another order."""
    records = list(records)
    return [records[k] for k in np.random.default_rng(seed).permutation(len(records))]


def lines_of(stored: Stored) -> list[dict[str, Any]]:
    """Order lines with the source's own customer number as ``customer``."""
    names = stored.source_ids()
    rows = stored_table(stored, "order_lines").to_pylist()
    return [{**row, "customer": names[row[c.CUSTOMER]]} for row in rows]


def features_of(stored: Stored, cutoffs: Sequence[datetime]) -> pa.Table:
    """All feature sets with their defaults at ``cutoffs``."""
    tables = stored.open()
    try:
        return compute(tables.backend, tables.asof(cutoffs), [default(use) for use in discover()])
    finally:
        tables.backend.disconnect()


def nothing_published(place: Workspace) -> bool:
    """Whether the store holds no table and no left-over."""
    root = place.store / "tables" / "online_retail_II"
    return not root.exists() or not list(root.iterdir())


# --- the account ----------------------------------------------------------------------------

DEFECTS: dict[str, tuple[Raw | bytes, ...]] = {
    "quantity: no integer": (
        raw(quantity="three"),
        raw(quantity="3.7"),
        raw(quantity="1_000"),
        raw(quantity="0x1F"),
        raw(quantity="1e3"),
        raw(quantity="99999999999999999999"),
        text(HEADER),
    ),
    "quantity: empty": (raw(quantity=""), raw(quantity="  ")),
    "unit_price: no decimal": (
        raw(price="1,50"),
        raw(price="£1.50"),
        raw(price="1_0.5"),
        raw(price="NaN"),
        raw(price="inf"),
        raw(price="1e40"),
    ),
    "event_time: no time as %Y-%m-%d %H:%M:%S": (
        raw(when="01/06/2010 10:00"),
        raw(when="2010-06-01"),
        raw(when="2010-02-30 10:00:00"),
        raw(when="2010-06-01 25:00:00"),
        raw(when="infinity"),
        raw(when="epoch"),
    ),
    r"customer_ref: does not match ^(\d{5})(?:\.0)?$": (raw(customer="1308"), raw(customer="x")),
    "order_id: empty": (raw(invoice=""), raw(invoice="", quantity="two errors")),
    "product_id: empty": (raw(code=" "),),
    "positive_cancellation": (raw(invoice="C500001"),),
    "negative_price": (raw(price="-1.00"),),
    "7 fields, expected 8": (b",".join([b"1"] * 7) + b"\n", text(("Total", *[""] * 6))),
    "9 fields, expected 8": (text(raw())[:-1] + b",\n",),
    "does not split: ',' expected after '\"'": (b'1,"un"q,x,1,t,1,c,UK\n',) * 3,
    "does not split: a quote is not closed within 20 lines": (b'1,"unclosed,x,1,t,1,c,UK\n',),
    "does not split: holds a NUL byte": (text(raw(description="\0")),),
    "not in the declared encoding": (text(raw(description="£")).replace(b"\xc2", b""),) * 2,
    "does not split: longer than 1000000 bytes": (text(raw(description="x" * 1_000_001)),),
}
ODD_BUT_GOOD = [
    text(raw("700001", description="crlf")).replace(b"\n", b"\r\n"),
    raw("700002", description="line\nbreak, comma and £"),
    raw("700003", quantity="+3"),
    raw("700004", quantity="3.0"),
    raw("700005", quantity=" 3 ", price=" 1.5 ", customer=" 13085 "),
    raw("700006", price=".5"),
    raw("700007", price="38970"),
]
FILTERED: dict[str, tuple[Raw | bytes, ...]] = {
    "blank line": (b"\n", b"\r\n"),
    "bad_debt": (raw("A500001", code="B", price="-11062.06", customer=""),),
    "stock_correction": (raw(quantity=-5, price="0", customer=""), raw(quantity=0)),
    "no_price": (raw(price="0"), raw(price="0.00", customer="")),
    "unknown_customer": (raw(customer=""), raw(customer=" ")),
    "not_a_product": (raw(code="POST"), raw(code="m"), raw("C500001", code="D", quantity=-1)),
}


@pytest.mark.usefixtures("reader_child")
def test_account_counts_what_was_injected(place: Workspace) -> None:
    """Every reason has exactly the records that were put in for it, wherever they stand."""
    injected = [r for group in (DEFECTS, FILTERED) for rows in group.values() for r in rows]
    records = mixed([*good(150), *injected, *ODD_BUT_GOOD])
    # The last good rows stand after everything, so that an unclosed quote has lines to swallow.
    records += good(30, first=800_000)
    facts = built(place, records, **MOST).facts
    account = facts["account"]
    assert account["quarantined"] == {reason: len(rows) for reason, rows in DEFECTS.items()}
    assert account["filtered"] == {reason: len(rows) for reason, rows in FILTERED.items()}
    assert account["duplicate"] == {}
    assert facts["totals"]["accepted"] == 180 + len(ODD_BUT_GOOD)
    assert facts["seen"] == sum(facts["totals"].values()) == len(records)


def test_quarantine_keeps_place_and_bytes(place: Workspace) -> None:
    """A quarantined record can be found in its file and repaired: file, line, bytes, reason."""
    bad: dict[int, tuple[Raw | bytes, str]] = {
        3: (raw(quantity="three"), "quantity: no integer"),
        9: (b'1,"un"q,x,1,t,1,c,UK\n', "does not split: ',' expected after '\"'"),
        12: (text(raw(description="£")).replace(b"\xc2", b""), "not in the declared encoding"),
    }
    records: list[Raw | bytes] = list(good(20))
    for line, (record, _) in bad.items():
        records.insert(line - 2, record)
    stored = built(place, records, **MOST)
    rows = stored_table(stored, "quarantine").to_pylist()
    assert [(r["line"], r["raw"], r["reason"]) for r in rows] == [
        (line, text(record), reason) for line, (record, reason) in bad.items()
    ]
    assert {r["file"] for r in rows} == {"online_retail_II.csv"}
    assert len({r["rule_version"] for r in rows}) == 1
    wider = built(place, records, **MOST, order_lines__rules__no_price__then="keep")
    versions = stored_table(wider, "quarantine")["rule_version"].to_pylist()
    assert versions[0] != rows[0]["rule_version"]


def test_rules_that_are_off(place: Workspace) -> None:
    """``keep`` lets a rule's records through to the rules after it."""
    records = [*good(10), *FILTERED["not_a_product"], *FILTERED["no_price"]]
    off = {f"order_lines__rules__{rule}__then": "keep" for rule in ("not_a_product", "no_price")}
    facts = built(place, records, **off).facts
    assert facts["account"]["filtered"] == {"unknown_customer": 1}
    assert facts["totals"]["accepted"] == 14


def test_gross_figures(place: Workspace) -> None:
    """Without netting, returns are left out by name."""
    records = [*good(10), raw("C500001", quantity=-1)]
    facts = built(place, records, order_lines__net_returns=False).facts
    assert facts["account"]["filtered"] == {"returns (gross figures)": 1}
    assert facts["returns"] == 0


def test_repeats_keep_one_of_each_pair(place: Workspace) -> None:
    """Of k equal records in the repeated days ceil(k / 2) stay; elsewhere all do; in any order."""
    inside, first, last, after = "2010-12-05", "2010-12-01", "2010-12-09", "2010-12-10"
    times = {
        **{f"6000{k}": (f"{inside} 10:00:00", k, (k + 1) // 2) for k in range(1, 8)},
        "60010": (f"{first} 00:00:00", 2, 1),
        "60011": (f"{last} 23:59:59", 2, 1),
        "60012": (f"{after} 00:00:00", 2, 2),
        "60013": ("2010-11-30 23:59:59", 2, 2),
    }
    records = [
        raw(order, when=when) for order, (when, copies, _) in times.items() for _ in range(copies)
    ]
    records += [raw("60020", when=f"{inside} 10:00:00", quantity=q) for q in (1, 2)]
    expected = {order: kept for order, (_, _, kept) in times.items()} | {"60020": 2}
    tables = []
    for seed in range(2):
        stored = built(place, mixed(records, seed))
        rows = stored_table(stored, "order_lines")
        assert Counter(rows[c.ORDER].to_pylist()) == expected
        assert stored.facts["totals"]["duplicate"] == len(records) - sum(expected.values())
        by = [(c.ORDER, "ascending"), (c.AMOUNT, "ascending")]
        tables.append(rows.drop_columns(c.ROW).sort_by(by))
    assert tables[0].equals(tables[1])


def test_repeated_earliest_row_stays(place: Workspace) -> None:
    """Of equal records the first is kept, so the second delivery is the surplus."""
    twice = [raw(str(500_000 + k), when="2010-12-02 10:00:00") for k in range(5)]
    stored = built(place, [*twice, *good(3, first=700_000), *twice])
    rows = [row for row in lines_of(stored) if row[c.ORDER] < "6"]
    assert sorted(row[c.ROW] for row in rows) == [0, 1, 2, 3, 4]


# --- tables worked out by hand --------------------------------------------------------------


def test_amounts_by_hand(place: Workspace) -> None:
    """Money is whole minor units, rounded once a line, half away from zero."""
    prices = {
        "1.005": (1, 101),
        "0.001": (4, 0),
        "0.0049": (100, 49),
        "2.55": (3, 765),
        "0.42": (80_995, 3_401_790),
        "38970": (1, 3_897_000),
    }
    records = [
        raw(str(500_000 + k), price=price, quantity=quantity)
        for k, (price, (quantity, _)) in enumerate(prices.items())
    ]
    rows = lines_of(built(place, [*records, raw("500100", when="2010-06-04 10:00:00")]))
    amounts = {row[c.ORDER]: row[c.AMOUNT] for row in rows}
    assert [amounts[str(500_000 + k)] for k in range(len(prices))] == [
        amount for _, amount in prices.values()
    ]


def test_customers_and_links(place: Workspace) -> None:
    """``13085`` and ``13085.0`` are one customer; links name it and say since when it is known."""
    records = [
        raw("500001", "13085.0", "2010-06-03 10:00:00"),
        raw("500002", "13085", "2010-06-01 10:00:00"),
        raw("500003", "13086.0", "2010-06-02 10:00:00", code="85123a"),
    ]
    stored = built(place, records)
    links = stored_table(stored, "links").to_pylist()
    assert [(link["source_id"], link["known_time"]) for link in links] == [
        ("13085", datetime(2010, 6, 1, 10)),
        ("13086", datetime(2010, 6, 2, 10)),
    ]
    assert {link["source"] for link in links} == {"online_retail_II"}
    assert {row["customer"]: row[c.PRODUCT] for row in lines_of(stored)} == {
        "13085": "85048",
        "13086": "85123A",
    }
    assert (stored.facts["customers"], stored.facts["orders"]) == (2, 3)
    assert stored.first == datetime(2010, 6, 1, 10)
    assert stored.end == datetime(2010, 6, 3)


NETTING: dict[str, tuple[list[Raw], str]] = {
    # name: records of one customer, the order that its cancellation C1 is netted against
    "the sale": ([raw("S1", quantity=3), raw("C1", when="2010-06-02 10:00:00", quantity=-3)], "S1"),
    "the latest sale": (
        [
            raw("S1", when="2010-05-01 10:00:00"),
            raw("S2", when="2010-05-02 10:00:00"),
            raw("C1", when="2010-06-02 10:00:00", quantity=-1),
        ],
        "S2",
    ),
    "enough quantity comes before latest": (
        [
            raw("S1", when="2010-05-01 10:00:00", quantity=5),
            raw("S2", when="2010-05-02 10:00:00", quantity=4),
            raw("C1", when="2010-06-02 10:00:00", quantity=-5),
        ],
        "S1",
    ),
    "same price comes before quantity": (
        [
            raw("S1", when="2010-05-01 10:00:00", price="1.00", quantity=1),
            raw("S2", when="2010-05-02 10:00:00", price="1.10", quantity=9),
            raw("C1", when="2010-06-02 10:00:00", price="1.00", quantity=-5),
        ],
        "S1",
    ),
    "another price before none": (
        [raw("S1", price="2.00"), raw("C1", when="2010-06-02 10:00:00", quantity=-1)],
        "S1",
    ),
    "the same minute": ([raw("S1"), raw("C1", quantity=-1)], "S1"),
    "no later sale": ([raw("S1"), raw("C1", when="2010-05-02 10:00:00", quantity=-1)], "C1"),
    "no other product": (
        [raw("S1", code="85049"), raw("C1", when="2010-06-02 10:00:00", quantity=-1)],
        "C1",
    ),
    "nothing before": ([raw("C1", quantity=-1)], "C1"),
    "no sale that was left out": (
        [raw("S1", price="0"), raw("C1", when="2010-06-02 10:00:00", quantity=-1)],
        "C1",
    ),
}


def test_returns_are_netted_by_hand(place: Workspace) -> None:
    """Each cancellation finds the order that it takes back, among its own customer's alone."""
    records = []
    for number, (rows, _) in enumerate(NETTING.values()):
        records += [(*row[:6], f"{14_000 + number}.0", row[7]) for row in rows]
    stored = built(place, mixed(records))
    refs = {row["customer"]: row[c.ORDER_REF] for row in lines_of(stored) if row[c.IS_RETURN]}
    names = {str(14_000 + number): name for number, name in enumerate(NETTING)}
    assert {names[customer]: ref for customer, ref in refs.items()} == {
        name: expected for name, (_, expected) in NETTING.items()
    }
    sales = [row for row in lines_of(stored) if not row[c.IS_RETURN]]
    assert all(row[c.ORDER_REF] == row[c.ORDER] for row in sales)
    assert stored.facts["returns"] == len(NETTING)
    assert stored.facts["returns_netted"] == sum(ref != "C1" for _, ref in NETTING.values())


def test_a_return_under_the_orders_own_number_takes_that_order_back(place: Workspace) -> None:
    """Shops that write refunds as lines of the order say which one: no later sale is taken."""
    records = [
        raw("S1", when="2010-05-01 10:00:00", quantity=1, price="2.00"),
        raw("S2", when="2010-05-20 10:00:00", quantity=9, price="1.00"),
        raw("S1", when="2010-06-02 10:00:00", quantity=-1, price="1.00"),
    ]
    stored = built(
        place, records, order_lines__returns=[{"column": "quantity", "below": 0}],
        order_lines__rules__stock_correction__then="keep",
    )  # fmt: skip
    refs = [row[c.ORDER_REF] for row in lines_of(stored) if row[c.IS_RETURN]]
    assert refs == ["S1"]


def test_net_orders_as_known(place: Workspace) -> None:
    """An order is worth what was known to be kept: before its return all, afterwards the rest."""
    records = [
        raw("S1", when="2010-06-01 10:00:00", quantity=10, price="2.00"),
        raw("C1", when="2010-06-05 10:00:00", quantity=-4, price="2.00"),
        raw("C2", when="2010-06-08 10:00:00", quantity=-6, price="2.00"),
        raw("S9", "13099.0", when="2010-06-20 10:00:00"),
    ]
    tables = built(place, records).open()
    cutoffs = [datetime(2010, 6, day) for day in (1, 2, 6, 9)]
    orders = tables.asof(cutoffs).orders.to_pyarrow().sort_by(c.CUTOFF).to_pylist()
    assert [(row[c.CUTOFF].day, row[c.AMOUNT], row[c.QUANTITY]) for row in orders] == [
        (2, 2_000, 10),
        (6, 1_200, 6),
    ]
    tables.backend.disconnect()


# --- the past does not change ---------------------------------------------------------------


def shop(seed: int, sales: int = 160) -> list[Raw]:
    """Records of a small shop: few customers and products, same-minute orders, cancellations."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(sales):
        when = datetime(2010, 1, 1) + timedelta(hours=int(rng.integers(0, 700 * 4)) * 6)
        customer, code = f"{13_000 + rng.integers(0, 12)}.0", f"8500{rng.integers(0, 3)}"
        quantity, price = int(rng.integers(1, 6)), f"{rng.integers(1, 4)}.50"
        records.append(raw(str(500_000 + number // 2), customer, str(when), code, quantity, price))
        if rng.random() < 0.4:
            later = when + timedelta(hours=int(rng.integers(0, 60)) * 6)
            back = -int(rng.integers(1, quantity + 1))
            records.append(raw(f"C{500_000 + number}", customer, str(later), code, back, price))
    return records


CUTOFFS = [datetime(2010, 7, 1), datetime(2011, 3, 1)]


def test_later_records_leave_the_past_alone(place: Workspace) -> None:
    """Features at a cutoff are the same from a file that ends there as from one that goes on."""
    records = shop(1)
    whole = features_of(built(place, records), CUTOFFS[:1])
    past = [record for record in records if record[4] < str(CUTOFFS[0])]
    assert 0 < len(past) < len(records)
    assert as_bytes(features_of(built(place, past), CUTOFFS[:1])) == as_bytes(whole)


KNOWN: dict[str, Any] = {
    "order_lines__known_time": "known",
    "order_lines__columns__known": {
        "from": "Known",
        "type": "timestamp",
        "category": "transaction",
        "purposes": ["analytics"],
    },
}


def known_later(place: Workspace, records: Sequence[tuple[Raw, str]]) -> Stored:
    """Published tables of records that became known at a time of their own."""
    assert place.data is not None
    rows = [(*record, known) for record, known in records]
    write_raw(place.data / "online_retail_II.csv", rows, (*HEADER, "Known"))
    return build_tables(place, source(place, **KNOWN))


def test_late_records_leave_the_past_alone(place: Workspace) -> None:
    """What was learned after the cutoff changes nothing at it, netting included."""
    rng = np.random.default_rng(2)
    records = []
    for record in shop(2):
        late = timedelta(days=int(rng.integers(0, 60))) if rng.random() < 0.5 else timedelta(0)
        records.append((record, str(datetime.fromisoformat(record[4]) + late)))
    cutoff = CUTOFFS[0]
    whole = features_of(known_later(place, records), [cutoff])
    past = [(record, known) for record, known in records if known < str(cutoff)]
    late = [known for record, known in records if record[4] < str(cutoff) <= known]
    assert late
    assert as_bytes(features_of(known_later(place, past), [cutoff])) == as_bytes(whole)


def test_return_is_not_netted_against_an_order_learned_later(place: Workspace) -> None:
    """A sale that became known after the return takes no part in netting it."""
    sale = raw("S1", when="2010-05-01 10:00:00")
    unknown = raw("S2", when="2010-05-20 10:00:00")
    back = raw("C1", when="2010-06-01 10:00:00", quantity=-1)
    stored = known_later(
        place,
        [(sale, sale[4]), (unknown, "2010-07-01 10:00:00"), (back, "2010-06-02 10:00:00")],
    )
    refs = {row[c.ORDER]: row[c.ORDER_REF] for row in lines_of(stored)}
    assert refs == {"S1": "S1", "S2": "S2", "C1": "S1"}


def test_row_order_does_not_matter(place: Workspace) -> None:
    """Shuffled records give the same features, bit for bit."""
    records = shop(3)
    first, second = (features_of(built(place, mixed(records, seed)), CUTOFFS) for seed in (0, 1))
    assert first.num_rows > 20
    assert as_bytes(first) == as_bytes(second)


def test_same_minute_sales_are_told_apart_by_number(place: Workspace) -> None:
    """Which of two equal sales a return cancels does not depend on the order of the rows."""
    records = [
        raw("S1", code="85001"),
        raw("S2", code="85001"),
        raw("S2", code="85002"),
        raw("C1", code="85001", quantity=-1, when="2010-06-02 10:00:00"),
        raw("S3", when="2010-06-05 10:00:00"),
    ]
    refs = set()
    for rows in (records, records[::-1]):
        found = lines_of(built(place, rows))
        refs |= {row[c.ORDER_REF] for row in found if row[c.IS_RETURN]}
    assert len(refs) == 1


def test_file_order_does_not_matter(place: Workspace) -> None:
    """Records split over files, in whatever order these are read, give the same features."""
    assert place.data is not None
    records = shop(4)
    declared = source(place, order_lines__files=["part-*.csv"])
    tables = []
    for order in ([0, 1, 2], [2, 0, 1]):
        folder = place.data / "".join(map(str, order))
        for position, part in enumerate(order):
            write_raw(folder / f"part-{position}.csv", records[part::3])
        stored = build_tables(place.model_copy(update={"data": folder}), declared)
        assert [file["file"] for file in stored.facts["files"]] == [
            f"part-{k}.csv" for k in range(3)
        ]
        assert sum(file["records"] for file in stored.facts["files"]) == len(records)
        assert stored_table(stored, "order_lines")[c.ROW].to_pylist() != list(range(len(records)))
        tables.append(features_of(stored, CUTOFFS))
    one_file = features_of(built(place, records), CUTOFFS)
    assert as_bytes(tables[0]) == as_bytes(tables[1]) == as_bytes(one_file)


def test_one_changed_cell_changes_the_content(place: Workspace) -> None:
    """Equal files give equal content under equal keys; one changed cell changes it."""
    records = shop(5, sales=30)
    first = built(place, records).published
    assert not built(place, records).published.fresh
    changed = [(*records[0][:5], "9.99", *records[0][6:]), *records[1:]]
    second = built(place, changed).published
    assert second.fresh
    assert second.content != first.content
    assert built(place, records, "online_retail_II.csv.gz").published.fresh


# --- other containers -----------------------------------------------------------------------


def test_workbook_gives_the_same_tables(place: Workspace) -> None:
    """Two sheets of a workbook, typed as a spreadsheet types, give the tables of the CSV file."""
    assert place.data is not None
    start = datetime(2010, 6, 1)
    records = [
        raw(
            f"{'C' if k % 9 == 8 else ''}{500_000 + k}",
            "" if k % 7 == 6 else f"{13_000 + k % 5}.0",
            str(start + k * timedelta(minutes=720 if k % 2 else 37)),
            "85123a" if k % 4 else "85048",
            -1 if k % 9 == 8 else 1 + k,
            ("2.1", "0.85", "38970", "0.001", "12.75")[k % 5],
            description=("A, B", 'say "x"', "£5")[k % 3],
        )
        for k in range(120)
    ]
    records += [raw("600001", when=f"2010-12-0{day} 00:00:00") for day in (1, 5) for _ in range(2)]
    csv_tables = built(place, records)
    expected = {name: stored_table(csv_tables, name) for name in ("order_lines", "links")}
    (place.data / "online_retail_II.csv").unlink()

    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, part in (("Year 2009-2010", records[:70]), ("Year 2010-2011", records[70:])):
        sheet = book.create_sheet(title)
        sheet.append(HEADER)
        for invoice, code, name, quantity, when, price, customer, country in part:
            sheet.append([
                int(invoice) if invoice.isdigit() else invoice,
                int(code) if code.isdigit() else code,
                name, int(quantity), datetime.fromisoformat(when), float(price),
                float(customer) if customer else None, country,
            ])  # fmt: skip
    book.save(place.data / "online_retail_II.xlsx")
    stored = build_tables(place, source(place))
    for name, table in expected.items():
        assert stored_table(stored, name).equals(table), name
    for fact in ("seen", "totals", "account", "first", "last", "returns_netted"):
        assert stored.facts[fact] == csv_tables.facts[fact], fact


def test_packed_file_gives_the_same_features(place: Workspace) -> None:
    """The file as it was published, packed, gives what the unpacked one gives."""
    records = shop(6, sales=40)
    plain = features_of(built(place, records), CUTOFFS)
    packed = features_of(built(place, records, "online_retail_II.csv.gz"), CUTOFFS)
    assert as_bytes(plain) == as_bytes(packed)


# --- what is refused ------------------------------------------------------------------------


def test_too_much_in_quarantine(place: Workspace) -> None:
    """More quarantine than allowed stops the build, names the reasons, publishes nothing."""
    bad = [raw(quantity="x"), raw(price="y"), raw(price="z")]
    with pytest.raises(DataError) as caught:
        built(place, [*good(97), *bad], max_quarantined_share=0.029)
    message = str(caught.value)
    assert "3 of 100 records (3.0%)" in message
    assert "unit_price: no decimal: 2\n  - quantity: no integer: 1" in message
    assert nothing_published(place)
    assert built(place, [*good(97), *bad], max_quarantined_share=0.03).published.fresh


def test_nothing_is_accepted(place: Workspace) -> None:
    """A file of which no record is left is refused with the account."""
    with pytest.raises(DataError, match="none of 2 records is accepted") as caught:
        built(place, FILTERED["no_price"])
    assert "no_price" in str(caught.value)
    assert nothing_published(place)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (raw(quantity=10**15, price="99999999999.99"), "amount"),
        (raw(quantity=9_223_372_036_854_775_807, price="2"), "amount"),
        (raw(quantity=-9_223_372_036_854_775_808, invoice="C1", price="0.01"), "amount"),
    ],
)
def test_absurd_amount_costs_one_record(place: Workspace, record: Raw, reason: str) -> None:
    """An amount that no column can hold is quarantined by name; the others are read."""
    facts = built(place, [*good(10), record], **MOST).facts
    assert facts["totals"] == {"accepted": 10, "quarantined": 1, "duplicate": 0, "filtered": 0}
    assert reason in next(iter(facts["account"]["quarantined"]))


def test_broken_files_publish_nothing(place: Workspace) -> None:
    """A file that is cut off, empty or lacks a column leaves the store as it was."""
    assert place.data is not None
    path = write_raw(place.data / "online_retail_II.csv.gz", good(500))
    path.write_bytes(path.read_bytes()[:-20])
    for content in (None, b"", text(HEADER), text(HEADER).replace(b"Price", b"Prices")):
        if content is not None:
            path.unlink(missing_ok=True)
            path = place.data / "online_retail_II.csv"
            path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            build_tables(place, source(place))
        assert str(path) in str(caught.value)
        assert nothing_published(place)
    assert "column 'Price' is missing; did 'Prices' replace it?" in str(caught.value)


def test_single_day_has_no_complete_day(place: Workspace) -> None:
    """Data of less than a day cannot be asked about."""
    with pytest.raises(DataError, match="no complete day"):
        built(place, [raw(str(k)) for k in range(3)])


def test_no_file_and_no_folder(place: Workspace) -> None:
    """Files that are not there are listed with where they were looked for."""
    with pytest.raises(ConfigError, match="--data-dir or PERENNIAL_DATA_DIR"):
        build_tables(place.model_copy(update={"data": None}), source(place))
    with pytest.raises(ConfigError) as caught:
        build_tables(place, source(place))
    assert str(place.data / "online_retail_II" / "online_retail_II.xlsx") in str(caught.value)


def test_relative_folder(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder given relative to the current one is read."""
    assert place.data is not None
    write_raw(place.data / "online_retail_II.csv", good(5))
    monkeypatch.chdir(place.data.parent)
    relative = place.model_copy(update={"data": Path(place.data.name)})
    stored = build_tables(relative, source(relative))
    assert stored.facts["seen"] == 5


def test_business_days(place: Workspace) -> None:
    """The end is the midnight before the last row: its day may not be complete."""
    stored = built(place, good(5))
    last = pc.max(stored_table(stored, "order_lines")[c.EVENT_TIME]).as_py()
    assert stored.end <= last < stored.end + DAY
    assert stored.end == datetime(2010, 1, 5)
