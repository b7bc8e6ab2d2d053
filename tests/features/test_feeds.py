"""Any canonical table from any layout: what is declared is read, and all is accounted for."""

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import columns as c
from features.canonical import CANONICAL
from features.errors import ConfigError, DataError
from features.feeds import targets, types
from features.identity import customer_ids
from features.ingest import ingest
from features.schema import TableSchema
from features.settings import Workspace
from features.sources import Source, find_files, load_source
from tests.worlds import write_raw

pytestmark = pytest.mark.usefixtures("reader_here")
KEY = b"k" * 32
WHEN = "2024-01-02 03:04:05"
KINDLY = {"category": "test", "purposes": ["analytics"]}
HEAD = {
    "name": "shop", "description": "a shop", "time_zone": "UTC", "currency": "EUR",
    "lawful_basis": "invented",
}  # fmt: skip


def col(source: str | list[str], **more: Any) -> dict[str, Any]:
    """A column of the file."""
    return {"from": source, **KINDLY, **more}


def table(columns: dict[str, Any], files: str | None = "t.csv", **more: Any) -> dict[str, Any]:
    """The declaration of a table."""
    named = {"files": [files]} if files else {}
    return {**named, "owner": "o", "steward": "s", "columns": columns, **more}


def declared(folder: Path, tables: dict[str, Any]) -> Source:
    """A source with ``tables``, through its YAML file."""
    path = folder / "configs" / "data" / "shop.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(HEAD | tables, default=str))  # which is YAML without aliases
    return load_source(Workspace.locate(configs=folder / "configs"), "shop", {})


class Built:
    """Facts and tables of an ingested source; raw files are rows of text, the header first."""

    def __init__(
        self, folder: Path, tables: dict[str, Any], files: dict[str, list[tuple[str, ...] | bytes]]
    ) -> None:
        for name, (header, *rows) in files.items():
            write_raw(folder / "raw" / name, rows, header)
        source = declared(folder, tables)
        self.out = Path(tempfile.mkdtemp(dir=folder))
        self.facts = ingest(source, find_files(source, folder / "raw"), KEY, self.out)

    def __getitem__(self, name: str) -> pa.Table:
        return pq.read_table(self.out / f"{name}.parquet")

    def column(self, name: str, column: str) -> list[Any]:
        """Values of a column in the order of the source's rows."""
        return self[name].sort_by(c.ROW)[column].to_pylist()


# --- values ---------------------------------------------------------------------------------------

PRODUCT = {"product_id": col("sku"), "event_time": {"constant": "2024-01-01"}}


def test_money_by_hand(tmp_path: Path) -> None:
    """Decimal texts become minor units, rounded once and half away from zero, or are set aside."""
    prices = {
        "1.005": 101, "-1.005": -101, "1.00499999": 100, "2.675": 268, "0.0049": 0, "7": 700,
        ".5": 50, "2.00E+05": 20_000_000, "+3.10": 310, " 4.20 ": 420, "": None,
        "9999999999.99": 999_999_999_999,
    }  # fmt: skip
    bad = ["1,50", "€1", "NaN", "1e40", "1_0", "10000000000.01"]  # € is the source's own
    built = Built(
        tmp_path,
        {"products": table(PRODUCT | {"price_minor": col("p")}, max_quarantined_share=0.5)},
        {"t.csv": [("sku", "p"), *[(f"A{k}", p) for k, p in enumerate([*prices, *bad])]]},
    )
    assert built.column("products", "price_minor") == list(prices.values())
    assert built.facts["account"]["quarantined"] == {
        "price_minor: no money": 5, "price_minor: amount beyond 1000000000000": 1,
    }  # fmt: skip


def test_other_currencies_are_set_aside(tmp_path: Path) -> None:
    """Amounts with another sign or code, or a record that names one, go to quarantine by count.

    Also where a pattern cuts the sign off. The source's own are read.
    """
    told = "another than EUR; convert it, or declare a source of its own for it"
    rows = [
        ("1.50 EUR", "EUR"), ("€2", "eur"), ("3", "€"), ("4 net", "EUR"), ("$5", "EUR"),
        ("6 GBP", "EUR"), ("7usd", "EUR"), ("8", "USD"), ("$9", "USD"), ("10", ""),
    ]  # fmt: skip
    built = Built(
        tmp_path,
        {"products": table(PRODUCT | {"price_minor": col("p", extract=r"([0-9.]+)")},
                           max_quarantined_share=0.7, currency="money")},
        {"t.csv": [("sku", "p", "money"), *[(f"A{k}", *row) for k, row in enumerate(rows)]]},
    )  # fmt: skip
    assert built.column("products", "price_minor") == [150, 200, 300, 400]
    assert built.facts["account"]["quarantined"] == {
        f"price_minor: a currency {told}": 3, f"currency: {told}": 2, "currency: empty": 1
    }  # fmt: skip


def test_too_many_of_another_currency_stop_the_build(tmp_path: Path) -> None:
    """Nothing is published; the error names table, count and remedy."""
    rows = [(f"A{k}", "1" if k % 2 else "£1") for k in range(10)]
    with pytest.raises(DataError, match=r"table products: 5 of 10 .*\n.*EUR; convert it, or.*: 5"):
        Built(
            tmp_path,
            {"products": table(PRODUCT | {"price_minor": col("p")})},
            {"t.csv": [("sku", "p"), *rows]},
        )


def test_numbers_and_booleans_by_hand(tmp_path: Path) -> None:
    """Numbers, integers and booleans are read strictly; ``map`` says what other words mean."""
    columns = {
        "customer_ref": col("id"),
        "event_time": {"constant": "2024-01-01 10:00:00"},
        "number": col("n", type="number"),
        "whole": col("w", type="integer"),
        "plain": col("b", type="boolean"),
        "words": col("y", type="boolean", map={"Yes": True, "No": False}),
        "level": col("l", type="integer", map={"low": 1, "high": 2}, unmapped="keep"),
        "group": col("g", type="text", upper=True, map={"A": "first"}, unmapped="missing"),
    }
    rows = [
        ("1", "1e-3", "-7", "true", "Yes", "low", "a"),
        ("2", "-2.5", "+8.0", "false", "No", "7", "b"),
        ("3", "", "", "", "", "", ""),
    ]
    bad = [
        ("4", "1e400", "1", "true", "Yes", "1", "a"),
        ("5", "x", "1", "true", "Yes", "1", "a"),
        ("6", "1", "1.5", "true", "Yes", "1", "a"),
        ("7", "1", "1", "True", "Yes", "1", "a"),
        ("8", "1", "1", "true", "yes", "1", "a"),
        ("9", "1", "1", "true", "Yes", "middle", "a"),
    ]
    header = ("id", "n", "w", "b", "y", "l", "g")
    declaration = {"attributes": table(columns, max_quarantined_share=0.9)}
    built = Built(tmp_path, declaration, {"t.csv": [header, *rows, *bad]})
    assert built.facts["account"]["quarantined"] == {
        "number: no number": 2, "whole: no integer": 1, "plain: no boolean": 1,
        "words: not in its map": 1, "level: no integer": 1,
    }  # fmt: skip
    found = built["attributes"]
    assert found.schema.names[:4] == [c.CUSTOMER, c.EVENT_TIME, c.KNOWN_TIME, c.ROW]
    assert {f.name: str(f.type) for f in found.schema if f.name in columns} == {
        "event_time": "timestamp[us]", "number": "double", "whole": "int64", "plain": "bool",
        "words": "bool", "level": "int64", "group": "string",
    }  # fmt: skip
    expected = {
        "number": [0.001, -2.5, None], "whole": [-7, 8, None], "plain": [True, False, None],
        "words": [True, False, None], "level": [1, 7, None], "group": ["first", None, None],
        "event_time": [datetime(2024, 1, 1, 10)] * 3, "known_time": [datetime(2024, 1, 1, 10)] * 3,
    }  # fmt: skip
    assert {name: built.column("attributes", name) for name in expected} == expected


def test_constants_row_numbers_and_joined_columns(tmp_path: Path) -> None:
    """Constants of every type, the record's number, and what several columns make together."""
    contacts = {
        "customer_ref": {"row": True, **KINDLY},
        "contact_id": col(["household", "campaign"]),
        "event_time": {"constant": datetime(2024, 3, 1, 12)},
        "known_time": {"constant": "2024-03-02"},
        "channel": {"constant": "post"},
        "cost_minor": col(["print", "stamp"]),
        "assignment_probability": {"constant": 0.25},
    }
    consents = {
        "customer_ref": {"row": True, **KINDLY},
        "event_time": {"constant": "2024-03-01"},
        "purpose": {"constant": "marketing"},
        "granted": {"constant": False},
    }
    subscriptions = {
        "customer_ref": {"row": True, **KINDLY},
        "event_time": {"constant": "2024-03-01"},
        "subscription_id": {"row": True, **KINDLY},
        "kind": {"constant": "start"},
        "price_minor": {"constant": "9.995"},
        "term_days": {"constant": 30},
    }
    rows = [("7", "C", "0.505", "0.50"), ("8", "C", "1", ""), ("9", "D", "2", "3")]
    built = Built(
        tmp_path,
        {"contacts": table(contacts), "subscriptions": table(subscriptions),
         "consents": table(consents)},
        {"t.csv": [("household", "campaign", "print", "stamp"), *rows]},
    )  # fmt: skip
    assert built.column("contacts", "contact_id") == ["7-C", "8-C", "9-D"]
    assert built.column("contacts", "cost_minor") == [101, None, 500]
    assert set(built.column("contacts", "known_time")) == {datetime(2024, 3, 2)}
    assert set(built.column("contacts", "assignment_probability")) == {0.25}
    assert built.column("consents", "granted") == [False] * 3
    assert built.column("subscriptions", "subscription_id") == ["0", "1", "2"]
    assert set(built.column("subscriptions", "price_minor")) == {1_000}
    assert set(built.column("subscriptions", "term_days")) == {30}
    ids = customer_ids("shop", "012", KEY)
    assert built.column("contacts", c.CUSTOMER) == built.column("consents", c.CUSTOMER)
    assert built.column("contacts", c.CUSTOMER) == [ids[k] for k in "012"]
    assert built.facts["snapshot"]
    assert built.facts["first"] == built.facts["last"].replace(hour=0) == datetime(2024, 3, 1)
    assert len(built.facts["files"]) == 1, "a file that feeds three tables is read once"


# --- tables, parts, links -------------------------------------------------------------------------


def test_parts_of_a_table(tmp_path: Path) -> None:
    """Parts share what stands above them; rows are numbered on, people are the part's records."""
    outcomes = table(
        {"customer_ref": {"row": True, **KINDLY}, "event_time": {"constant": "2024-01-01"}},
        files="wide.csv",
        parts={
            "visit": {"columns": {"name": {"constant": "visit"}, "value": col("visit")}},
            "spend": {
                "columns": {"name": {"constant": "spend"}, "value": col("spend")},
                "rules": {"none": {
                    "when": [{"column": "value", "equals": 0}], "then": "filter", "why": "nothing",
                }},
            },
            "old": {
                "files": ["old-*.csv"],
                "dialect": {"delimiter": ";"},
                "columns": {
                    "name": col("what"), "value": col("v"),
                    "event_time": col("day", format="%Y%m%d"),
                },
            },
        },
    )  # fmt: skip
    files: dict[str, list[tuple[str, ...] | bytes]] = {
        "wide.csv": [("visit", "spend"), ("1", "2.5"), ("0", "0"), ("1", "x")],
        "old-1.csv": [("what;v;day",), ("visit;1;20200101",)],
        "old-2.csv": [("day;v;what",), ("20200102;0;visit",), b"\n"],
    }
    built = Built(tmp_path, {"outcomes": outcomes, "max_quarantined_share": 0.2}, files)
    rows = built["outcomes"].sort_by(c.ROW).to_pylist()
    assert [(r[c.ROW], r["name"], r["value"], r[c.EVENT_TIME].year) for r in rows] == [
        (0, "visit", 1.0, 2024), (1, "visit", 0.0, 2024), (2, "visit", 1.0, 2024),
        (3, "spend", 2.5, 2024),
        (6, "visit", 1.0, 2020), (7, "visit", 0.0, 2020),
    ]  # fmt: skip
    people = customer_ids("shop", "012", KEY)
    assert [r[c.CUSTOMER] for r in rows] == [people[k] for k in "012001"]
    facts = built.facts["tables"]["outcomes"]
    assert facts["account"] == {
        "accepted": {"all rules passed": 6}, "quarantined": {"value: no number": 1},
        "duplicate": {}, "filtered": {"blank line": 1, "none": 1},
    }  # fmt: skip
    assert (facts["seen"], facts["clock"], built.facts["customers"]) == (9, "file", 3)
    (aside,) = built["quarantine"].to_pylist()
    assert {k: aside[k] for k in ("table", "row", "file", "line", "raw", "reason")} == {
        "table": "outcomes", "row": 5, "file": "wide.csv", "line": 4, "raw": b"1,x\n",
        "reason": "value: no number",
    }  # fmt: skip
    assert [f["file"] for f in built.facts["files"]] == ["wide.csv", "old-1.csv", "old-2.csv"]


def test_one_person_in_all_tables(tmp_path: Path) -> None:
    """An id is one customer wherever it stands, known since its first row in any table."""
    relations = {
        "customer_ref": col("a"), "other_ref": col("b"), "event_time": col("t"),
        "kind": {"constant": "household"},
    }  # fmt: skip
    events = {
        "customer_ref": col("who"), "event_time": col("t"), "known": col("k", type="timestamp"),
        "channel": {"constant": "web"}, "kind": col("kind"),
    }  # fmt: skip
    built = Built(
        tmp_path,
        {"events": table(events, "e.csv", known_time="known"), "relations": table(relations)},
        {
            "e.csv": [("who", "t", "k", "kind"), ("p1", "2024-01-01 00:00:00", WHEN, "view"),
                      ("p2", "2023-01-01 00:00:00", "2024-05-01 00:00:00", "view")],
            "t.csv": [("a", "b", "t"), ("p2", "p3", "2024-02-01 00:00:00")],
        },
    )  # fmt: skip
    links = built["links"].to_pylist()
    assert [(k["source_id"], str(k["known_time"])) for k in links] == [
        ("p1", WHEN), ("p2", "2024-02-01 00:00:00"), ("p3", "2024-02-01 00:00:00"),
    ]  # fmt: skip
    ids = {k["source_id"]: k[c.CUSTOMER] for k in links}
    (pair,) = built["relations"].to_pylist()
    assert (pair[c.CUSTOMER], pair[c.OTHER]) == (ids["p2"], ids["p3"])
    assert set(built.column("events", c.CUSTOMER)) == {ids["p1"], ids["p2"]}
    facts = built.facts
    assert (facts["customers"], facts["seen"], facts["snapshot"]) == (3, 3, False)
    assert (str(facts["first"]), str(facts["last"])) == (
        "2023-01-01 00:00:00",
        "2024-02-01 00:00:00",
    )
    assert str(facts["tables"]["events"]["last_known"]) == "2024-05-01 00:00:00"
    assert "orders" not in facts


def test_order_lines_with_amounts(tmp_path: Path) -> None:
    """Amounts given by the line need no price; the file may say itself what is a return."""
    columns = {
        "customer_ref": col("who"), "order_id": col("o"), "product_id": col("p"),
        "quantity": col("q"), "amount_minor": col("sum"), "event_time": col("t"),
        "discount_minor": col("d"), "channel": {"constant": "store"},
        "is_return": col("back", map={"1": True, "0": False}),
    }  # fmt: skip
    rows = [
        ("a", "1", "P", "2", "4.00", "2024-01-01 10:00:00", "0.50", "0"),
        ("a", "2", "P", "2", "5.00", "2024-01-02 10:00:00", "", "0"),
        ("a", "0", "P", "0", "1.00", "2024-01-02 10:00:00", "", "0"),
        ("a", "3", "P", "-1", "-2.00", "2024-01-03 10:00:00", "0", "1"),
    ]
    header = ("who", "o", "p", "q", "sum", "t", "d", "back")
    built = Built(tmp_path, {"order_lines": table(columns)}, {"t.csv": [header, *rows]})
    assert built.column("order_lines", c.AMOUNT) == [400, 500, 100, -200]
    assert built.column("order_lines", c.DISCOUNT) == [50, None, None, 0]
    assert built.column("order_lines", c.ORDER_REF) == ["1", "2", "0", "1"], "at the same price"
    assert (built.facts["orders"], built.facts["returns"]) == (4, 1)
    assert built.facts["returns_netted"] == 1


def test_unattached_record_is_not_lost(tmp_path: Path) -> None:
    """Where no rule speaks of a missing customer, the record is set aside, not dropped."""
    columns = {
        "customer_ref": col("who", required=False), "event_time": col("t"),
        "device_id": col("d"),
    }  # fmt: skip
    rows = [("a", WHEN, "1"), ("", WHEN, "2")]
    declaration = {"devices": table(columns), "max_quarantined_share": 0.5}
    built = Built(tmp_path, declaration, {"t.csv": [("who", "t", "d"), *rows]})
    assert built.facts["account"]["quarantined"] == {"customer_ref: empty": 1}
    assert built["devices"].num_rows == 1


# --- any subset -----------------------------------------------------------------------------------

GOOD = {
    "text": ["a", "b c"], "integer": ["3", "-4.0"], "number": ["1.5", "-2e3"], "decimal": ["2.50"],
    "money": ["1.25", "7"], "boolean": ["true", "false"],
    "timestamp": [WHEN, "2023-05-06 00:00:00"],
}  # fmt: skip


def _layout(schema: TableSchema) -> dict[str, Any]:
    """Every column that a table may have, each from a column of its own name."""
    names = [name for name in targets(schema) if name not in (c.AMOUNT, c.IS_RETURN)]
    return table({name: col(name) for name in names}, f"{schema.name}.csv")


@st.composite
def _records(draw: st.DrawFn, schema: TableSchema) -> list[tuple[tuple[str, ...], str]]:
    """Records with the kind of disposition that each must get."""
    columns = {k: v for k, v in targets(schema).items() if k not in (c.AMOUNT, c.IS_RETURN)}
    records = []
    for _ in range(draw(st.integers(1, 5))):
        cells = [draw(st.sampled_from(GOOD[types(column)[0]])) for column in columns.values()]
        kind = "accepted"
        defect = draw(st.sampled_from(["none", "none", "bad", "empty", "blank"]))
        place = draw(st.integers(0, len(cells) - 1))
        name, column = list(columns.items())[place]
        if defect == "blank":
            records.append(((), "filtered"))
            continue
        if defect == "bad" and types(column)[0] != "text":
            cells[place], kind = "?", "quarantined"
        if defect == "empty":
            cells[place] = " "
            if column.required or name in ("unit_price", "known_time"):
                kind = "quarantined"
        records.append((tuple(cells), kind))
    return records


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_subset_of_tables(tmp_path: Path, data: st.DataObject) -> None:
    """Every record of every table is where it belongs, in the table or in quarantine by row."""
    names = data.draw(
        st.lists(st.sampled_from(sorted(CANONICAL)), min_size=1, max_size=4, unique=True)
    )
    layouts = {name: _layout(CANONICAL[name]) for name in names}
    records = {name: data.draw(_records(CANONICAL[name]), label=name) for name in names}
    files: dict[str, list[Any]] = {
        f"{name}.csv": [tuple(layouts[name]["columns"]), *[cells or b"\n" for cells, _ in rows]]
        for name, rows in records.items()
    }
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    if any(all(kind != "accepted" for _, kind in rows) for rows in records.values()):
        with pytest.raises(DataError) as caught:
            Built(folder, layouts | {"max_quarantined_share": 1}, files)
        for name, rows in records.items():
            none_left = all(kind != "accepted" for _, kind in rows)
            assert (f"table {name}: none of {len(rows)}" in str(caught.value)) == none_left
        return
    built = Built(folder, layouts | {"max_quarantined_share": 1}, files)
    aside = built["quarantine"].to_pylist()
    assert list(built.facts["tables"]) == [name for name in CANONICAL if name in names]
    for name, rows in records.items():
        found = built[name]
        assert found.schema.equals(CANONICAL[name].arrow)
        want = {kind: [n for n, (_, k) in enumerate(rows) if k == kind] for _, kind in rows}
        facts = built.facts["tables"][name]
        assert facts["seen"] == sum(facts["totals"].values()) == len(rows)
        assert {k: n for k, n in facts["totals"].items() if n} == {
            k: len(v) for k, v in want.items()
        }
        assert sorted(found[c.ROW].to_pylist()) == want["accepted"]
        assert [r["row"] for r in aside if r["table"] == name] == want.get("quarantined", [])
        order = [found.schema.names[0], c.EVENT_TIME, c.ROW]
        assert found.equals(found.sort_by([(column, "ascending") for column in order]))


def test_every_canonical_table_can_be_declared() -> None:
    """A table that is added to the canonical ones is one that a source can bring."""
    assert set(CANONICAL) <= set(Source.model_fields)


# --- what is refused ------------------------------------------------------------------------------


def test_declaration_that_does_not_fit(tmp_path: Path) -> None:
    """Unknown and missing columns, types that do not fit and bad constants: one list of all."""
    events = {
        "customer_id": col("id"),
        "event_time": col("t", type="text"),
        "kind": {"constant": "view"},
        "device": {"row": True, **KINDLY},
        "duration_s": col("s", type="money"),
        "shoe_size": col("x", type="integer"),
        "Session": col("x"),
    }
    attributes = {
        "customer_ref": col("id"),
        "event_time": {"constant": "2024-13-01"},
        "age": col("age"),
        "seen": col("seen", type="boolean"),
    }
    rules = {"odd": {"when": [{"column": "age", "matches": "x"}, {"column": "nose", "below": 1}],
                     "then": "filter", "why": "-"}}  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        declared(tmp_path, {
            "events": table(events, files=None, returns=[{"column": "kind", "matches": "x"}]),
            "attributes": table(attributes, rules=rules, known_time="seen"),
            "order_lines": table({}),
        })  # fmt: skip
    message = str(caught.value)
    for problem in (
        "events: column 'customer_ref' is missing",
        "events: column 'channel' is missing",
        "events: column 'customer_id' is made here; map 'customer_ref'",
        "events: column 'event_time' must be of type timestamp, not text",
        "events: column 'duration_s' must be of type integer, not money",
        "events: column 'shoe_size' is none of the table's",
        "events: column 'Session': names are small letters, digits and _",
        "events: known_time: 'event_time' is no timestamp column",
        "events: files: none named",
        "events: returns: only order lines are taken back",
        "attributes: column 'event_time': constant '2024-13-01' is no timestamp",
        "attributes: column 'age' needs a type",
        "attributes: known_time: 'seen' is no timestamp column",
        "attributes: a rule matches 'age', which is no text",
        "attributes: a rule tests 'nose', which is not declared",
        "order_lines: column 'quantity' is missing",
        "order_lines: give one of the columns 'unit_price' and 'amount_minor'",
    ):
        assert f"- {problem}" in message
    assert "device" not in message.replace("shoe_size' is none", "").split("it has")[0]


def test_columns_that_contradict_themselves(tmp_path: Path) -> None:
    """Two origins, none, a repair of a constant, no purpose, no word: each with its place."""
    columns = {
        "customer_ref": {"from": "a", "row": True, **KINDLY},
        "event_time": {"type": "timestamp", **KINDLY},
        "device_id": {"from": "d"},
        "kind": {"constant": "x", "upper": True},
        "channel": {"from": False, **KINDLY},
    }
    with pytest.raises(ConfigError) as caught:
        declared(tmp_path, {"devices": table(columns)})
    message = str(caught.value)
    assert message.count("give exactly one of from, constant and row") == 2
    assert "devices.columns.device_id: Value error, category and purposes are needed" in message
    assert "extract, upper and map repair what comes from a column of a file" in message
    assert "YAML reads this word as False; put it into quotes" in message


def test_source_without_tables(tmp_path: Path) -> None:
    """A source brings at least one table."""
    with pytest.raises(ConfigError, match="a source brings at least one of order_lines, products"):
        declared(tmp_path, {})


def test_all_refused_tables_and_files_at_once(tmp_path: Path) -> None:
    """Files that are missing or lack a column and tables with too much set aside come in one go."""
    devices = table(
        {"customer_ref": col("who"), "event_time": col("t"), "device_id": col("d")}, "d.csv"
    )
    places = table({"customer_ref": col("who"), "event_time": col("t"), "place": col("p")}, "p.csv")
    both = {"devices": devices, "locations": places}
    with pytest.raises(ConfigError) as missing:
        Built(tmp_path, both, {})
    assert "devices: " in str(missing.value)
    assert "locations: " in str(missing.value)
    with pytest.raises(DataError) as broken:
        Built(tmp_path, both, {"d.csv": [("who", "t"), ("a", WHEN)], "p.csv": [("p",), ("a",)]})
    assert "column 'd' is missing" in str(broken.value)
    assert "column 'who' is missing" in str(broken.value)
    files: dict[str, list[Any]] = {
        "d.csv": [("who", "t", "d"), ("a", WHEN, "1"), ("a", "?", "1")],
        "p.csv": [("who", "t", "p"), ("", WHEN, "1")],
    }
    with pytest.raises(DataError) as refused:
        Built(tmp_path, both, files)
    message = str(refused.value)
    assert "table devices: 1 of 2 records (50.0%) would be quarantined" in message
    assert "table locations: 1 of 1 records (100.0%) would be quarantined" in message
