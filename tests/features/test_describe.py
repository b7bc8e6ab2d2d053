"""Drafts of sources: they say what hand-made ones say, they load, and their doubts are counted."""

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from features import columns as c
from features import sampling
from features.__main__ import app
from features.describe import describe
from features.errors import ConfigError, DataError
from features.guessing import likeness, personal_category, tokens
from features.ingest import ingest
from features.settings import Workspace, load_yaml
from features.simulate import SimulateConfig, simulate
from features.sources import find_files, load_source
from tests.worlds import CONFIGS, write_raw

pytestmark = pytest.mark.usefixtures("reader_here")
KEY = b"k" * 32


def mapped(text: str) -> dict[str, dict[str, Any]]:
    """Table -> canonical column -> column of the file, of a YAML without parts."""
    return {
        table: {name: column.get("from") for name, column in declared["columns"].items()}
        for table, declared in yaml.safe_load(text).items()
        if isinstance(declared, dict) and "columns" in declared
    }


def built(text: str, name: str, data: Path, out: Path) -> dict[str, Any]:
    """Facts of the tables that the draft gives; it is loaded as any other source."""
    path = out / "configs" / "data" / f"{name}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    source = load_source(Workspace.locate(configs=out / "configs"), name, {})
    (out / "tables").mkdir()
    return ingest(source, find_files(source, data), KEY, out / "tables")


def drafted(folder: Path, header: Sequence[str], rows: Sequence[Sequence[str]], **more: Any) -> str:
    """The draft of a CSV file, which loads and is ingested with all records accounted for."""
    name, encoding = more.pop("name", "data.csv"), more.pop("encoding", "utf-8")
    delimiter = more.pop("delimiter", ",")
    lines = [delimiter.join(row) + "\n" for row in [header, *rows]]
    (folder / name).write_bytes("".join(lines).encode(encoding))
    text = describe([folder / name], "mine", **more).text
    out = folder / "out"
    out.mkdir()
    facts = built(text, "mine", folder, out)
    assert facts["seen"] == len(rows) * len(facts["tables"])
    return text


# --- against declarations made by hand ------------------------------------------------------


def by_hand(name: str) -> dict[str, dict[str, Any]]:
    """What a declaration of the project maps."""
    return mapped((CONFIGS / "data" / f"{name}.yaml").read_text())


def test_simulated_exports_are_mapped_as_by_hand(tmp_path: Path) -> None:
    """All fourteen files find their tables, all columns theirs; the draft is ingested."""
    raw = tmp_path / "raw"
    raw.mkdir()
    simulate(SimulateConfig(customers=150), raw)
    found = describe(sorted(raw.glob("*.csv.gz")), "mine")
    expected, draft = by_hand("simulated"), mapped(found.text)
    assert draft == expected
    assert found.unused == []
    facts = built(found.text, "mine", raw, tmp_path)
    assert set(facts["tables"]) == set(expected)
    assert facts["seen"] == sum(facts["totals"].values())
    assert facts["totals"]["quarantined"] < 0.01 * facts["seen"]
    for personal in ("name: personal (name)", "email: personal (contact)"):
        assert f"#   {personal}" in found.text
    spelled = yaml.safe_load(found.text)
    hand = load_yaml(CONFIGS / "data" / "simulated.yaml")
    for table, declared in spelled.items():
        if table in expected:
            assert declared.get("known_time") == hand[table]["known_time"], table
            formats = [column.get("format") for column in declared["columns"].values()]
            wanted = [column.get("format") for column in hand[table]["columns"].values()]
            usual = "%Y-%m-%d %H:%M:%S"
            assert {f for f in formats if f} - {usual} == {f for f in wanted if f}, table
            assert declared.get("dialect", {}).get("delimiter", ",") == hand[table].get(
                "dialect", {}
            ).get("delimiter", ","), table
    kinds = spelled["events"]["columns"]["kind"]["map"]
    for word, ours in kinds.items():
        assert hand["events"]["columns"]["kind"]["map"][word] == ours
    assert spelled["consents"]["columns"]["granted"]["map"] == {"Y": True, "N": False}


def test_telco(real_data: Path, tmp_path: Path) -> None:
    """A labelled snapshot: attributes and the outcome, no record lost."""
    text = describe([real_data / "telco_churn" / "telco_churn.csv.gz"], "mine").text
    hand, draft = by_hand("telco_churn"), mapped(text)
    assert draft["outcomes"] == hand["outcomes"]
    assert set(draft["attributes"].values()) == set(hand["attributes"].values())
    facts = built(text, "mine", real_data / "telco_churn", tmp_path)
    assert facts["totals"] == {
        "accepted": 2 * 7_043, "quarantined": 0, "duplicate": 0, "filtered": 0,
    }  # fmt: skip
    outcome = pq.read_table(tmp_path / "tables" / "outcomes.parquet")["value"].to_pylist()
    assert sum(outcome) == 1_869, "as published"


@pytest.mark.slow
def test_complete_journey(real_data: Path, tmp_path: Path) -> None:
    """Eight files: what is a table is one, and what is none says so."""
    folder = real_data / "complete_journey"
    found = describe(sorted(folder.glob("*.csv.gz")), "mine")
    hand, draft = by_hand("complete_journey"), mapped(found.text)
    assert set(draft) == {"order_lines", "products", "attributes"}
    assert draft["attributes"] == hand["attributes"]
    assert draft["products"] == hand["products"]
    lines = {k: v for k, v in hand["order_lines"].items() if k not in ("discount_minor", "channel")}
    assert lines.items() <= draft["order_lines"].items()
    assert {path.name for path in found.unused} >= {"coupons.csv.gz", "campaigns.csv.gz"}
    facts = built(found.text, "mine", folder, tmp_path)
    assert facts["totals"]["quarantined"] == 0
    assert facts["tables"]["order_lines"]["seen"] == 75_000


def test_online_retail(real_data: Path) -> None:
    """The sample of a packed file comes from all over it."""
    folder = real_data / "online_retail_II"
    found = describe([folder / "online_retail_II.csv.gz"], "mine")
    assert mapped(found.text) == by_hand("online_retail_II")
    declared = yaml.safe_load(found.text)["order_lines"]
    assert declared["columns"]["customer_ref"]["extract"] == r"^(\d+)(?:\.0)?$"
    assert declared["returns"] == [{"column": "quantity", "below": 0}]
    assert "% of the file" in found.text


@pytest.mark.slow
def test_online_retail_is_ingested(real_data: Path, tmp_path: Path) -> None:
    """All 1,067,371 records of the published file, by the draft as it is."""
    folder = real_data / "online_retail_II"
    text = describe([folder / "online_retail_II.csv.gz"], "mine").text
    facts = built(text, "mine", folder, tmp_path)
    assert facts["seen"] == 1_067_371 == sum(facts["totals"].values())
    assert facts["totals"]["quarantined"] == 0


# --- dirty files ----------------------------------------------------------------------------

GERMAN = ("Bestellnummer", "Artikelnummer", "Menge", "Einzelpreis", "Bestelldatum", "Kundennummer",
          "E-Mail", "Straße")  # fmt: skip


def german(count: int) -> list[tuple[str, ...]]:
    """Order lines as a German shop exports them, some dates as its older system wrote them."""
    return [
        (f"B{k}", f"A{k % 9}", str(1 + k % 3), f"1.{100 + k % 900},{k % 100:02d}",
         f"2024-01-{1 + k % 28:02d}" if k % 10 == 0 else f"{1 + k % 28:02d}.03.2024",
         f"{4_000 + k % 20}", f"user{k}@example.com", f"Hauptstraße {k}")
        for k in range(count)
    ]  # fmt: skip


def test_german_file(tmp_path: Path) -> None:
    """Semicolons, Windows letters, decimal commas and two formats of dates, all read."""
    rows = german(200)
    text = drafted(tmp_path, GERMAN, rows, delimiter=";", encoding="cp1252")
    declared = yaml.safe_load(text)["order_lines"]
    assert declared["dialect"] == {"encoding": "cp1252", "delimiter": ";"}
    assert declared["columns"]["unit_price"]["decimal_comma"] is True
    assert declared["columns"]["event_time"]["format"] == ["%d.%m.%Y", "%Y-%m-%d"]
    assert "# ? 2 formats of times: 180 as %d.%m.%Y, 20 as %Y-%m-%d" in text
    assert "E-Mail: personal (contact): 200 of 200 look like e-mail addresses" in text
    assert "Straße: personal (address), by its name" in text
    lines = pq.read_table(tmp_path / "out" / "tables" / "order_lines.parquet")
    assert lines.num_rows == 200
    price = {row[0]: int(row[3].replace(".", "").replace(",", "")) * int(row[2]) for row in rows}
    found = zip(lines[c.ORDER].to_pylist(), lines[c.AMOUNT].to_pylist(), strict=True)
    assert dict(found) == price


def test_german_export_with_totals_and_abbreviations(tmp_path: Path) -> None:
    """``Artikelnr.`` is a product, and a total beside a price is asked about."""
    header = ("Bestellnummer", "Bestelldatum", "Kunden-Nr.", "Artikelnr.", "Menge", "Einzelpreis",
              "Summe", "Währung")  # fmt: skip
    rows = [(f"#{k}", f"0{1 + k % 9}.03.2024 09:30", f"K{k % 7}", f"T-{k % 5}", "2", "9,90",
             "17,82", "EUR") for k in range(40)]  # fmt: skip
    text = drafted(tmp_path, header, rows, delimiter=";", encoding="cp1252")
    assert mapped(text)["order_lines"] == {
        "customer_ref": "Kunden-Nr.", "order_id": "Bestellnummer", "product_id": "Artikelnr.",
        "quantity": "Menge", "unit_price": "Einzelpreis", "event_time": "Bestelldatum",
    }  # fmt: skip
    assert "# ? Summe may be the line's amount, less discounts" in text


SOLD = ("order", "customer", "date", "sku", "item name", "department", "brand", "qty", "price")


def sold(k: int, *, name: str, brand: str) -> tuple[str, ...]:
    """A line of the k-th order; departments are the products', and mostly told."""
    department = "" if k % 7 == 0 else f"D{k % 10 % 3}"
    return (f"o{k}", f"c{k % 23}", f"2024-03-{1 + k % 28:02d}", f"A{k % 10}", name, department,
            brand, "1", "9.90")  # fmt: skip


def test_what_lines_call_their_goods(tmp_path: Path) -> None:
    """Names and departments go with the product; a line that says none of them replaces none."""
    rows = [
        sold(k, name="" if k % 7 == 0 else f"Thing {k % 10}{' (new)' if k > 85 else ''}", brand="")
        for k in range(100)
    ]
    text = drafted(tmp_path, SOLD, rows)
    assert mapped(text)["products"] == {
        "product_id": "sku", "event_time": "date", "name": "item name", "category": "department",
    }  # fmt: skip
    assert re.search(r"# \? 1[0-9]\.[0-9]% of records say something else of a product", text)
    products = pq.read_table(tmp_path / "out" / "tables" / "products.parquet")
    assert products.num_rows == sum(k % 7 > 0 for k in range(100))
    assert None not in products["name"].to_pylist()


def test_a_list_of_products_is_believed_before_lines(tmp_path: Path) -> None:
    """Two files say what goods are called: the one that is about goods."""
    rows = [sold(k, name=f"Thing {k % 10}", brand="") for k in range(100)]
    listed = [(f"A{k}", f"Proper name {k}", f"D{k}") for k in range(10)]
    for name, header, lines in (
        ("orders.csv", SOLD, rows), ("products.csv", ("sku", "name", "category"), listed),
    ):  # fmt: skip
        write_raw(tmp_path / name, lines, header)
    found = mapped(describe([tmp_path], "mine").text)
    assert found["products"]["name"] == "name"
    assert found["products"]["product_id"] == "sku"
    assert set(found) == {"order_lines", "products"}


def test_what_goes_with_the_buyer_is_not_said_of_goods(tmp_path: Path) -> None:
    """A column that is called like a product's, but follows who bought; and goods sold once."""
    rows = [sold(k, name=f"Title {k % 23}", brand=f"B{k % 23}") for k in range(100)]
    assert list(mapped(drafted(tmp_path, SOLD, rows))["products"]) == [
        "product_id", "event_time", "category",
    ]  # fmt: skip
    once = [
        (f"o{k}", f"c{k % 23}", "2024-03-01", f"A{k}", f"Title {k}", "1", "5") for k in range(60)
    ]
    (tmp_path / "once").mkdir()
    text = drafted(
        tmp_path / "once", ("order", "customer", "date", "sku", "title", "qty", "price"), once
    )
    assert set(mapped(text)) == {"order_lines"}


def test_customers_as_they_are_today(tmp_path: Path) -> None:
    """A list of customers has a clock, a customer twice, and a group that the past did not know."""
    rows = [(f"K{k % 30}", "2024-01-05", ("Stammkunde", "Standard")[k % 2], "Berlin")
            for k in range(40)]  # fmt: skip
    text = drafted(tmp_path, ("Kunden-Nr", "Angelegt am", "Kundengruppe", "Ort"), rows)
    assert mapped(text)["customers"]["event_time"] == "Angelegt am"
    assert "# ? 30 customers in 40 records: of one customer the last known counts" in text
    assert "# ? all count as known since Angelegt am: leave out what was decided later" in text


def test_billing_events(tmp_path: Path) -> None:
    """Fields of objects by their own names, a provider's words as ours, cents and other words."""
    kinds = ("subscription.created", "invoice.paid", "subscription.paused", "Cancelled")
    rows = [
        {"id": f"e{k}", "type": kinds[k % 4], "created": f"0{1 + k % 9}/20/2024 {1 + k % 12}:05 PM",
         "data": {"customer": f"c{k // 4}", "subscription": f"s{k // 4}", "amount": 1490}}
        for k in range(60)
    ]  # fmt: skip
    path = tmp_path / "billing.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = describe([path], "mine").text
    declared = yaml.safe_load(text)["subscriptions"]["columns"]
    assert declared["customer_ref"]["from"] == "data.customer"
    assert declared["event_time"]["format"] == "%m/%d/%Y %I:%M %p"
    assert declared["kind"]["map"] == {
        "subscription.created": "start", "invoice.paid": "pay", "Cancelled": "cancel",
    }  # fmt: skip
    assert "pay, payment_failed: subscription.paused" in text
    assert "# ? all are whole: cents already? Then add type: integer" in text


def test_a_clock_that_is_called_like_none(tmp_path: Path) -> None:
    """The first column of times is the clock, with a doubt; one with a known name goes before."""
    lines = ["order_no,customer,sku,qty,price,wann,dann,booked at"]
    lines += [
        f"O{n // 2},C{n % 7},P{n % 5},{1 + n % 3},2.5{n % 10},2025-01-{1 + n % 28:02d} 10:00:00,"
        f"2025-02-{1 + n % 28:02d},2025-03-{1 + n % 28:02d}"
        for n in range(60)
    ]
    file = tmp_path / "export.csv"
    file.write_text("\n".join(lines) + "\n")
    draft = describe([file], "shop")
    declared = draft.source.tables["order_lines"]
    assert declared.columns["event_time"].source == ("wann",)
    assert declared.known_time == "recorded_at"
    assert "of times there are: wann, dann" in draft.text
    file.write_text(file.read_text().replace("dann", "ordered"))
    draft = describe([file], "shop")
    assert draft.source.tables["order_lines"].columns["event_time"].source == ("ordered",)
    assert "of times there are" not in draft.text


@pytest.mark.parametrize("missing", ["", "order_no", "sku", "qty", "customer", "order_no,sku,qty"])
def test_purchases_without_what_a_table_wants(missing: str, tmp_path: Path) -> None:
    """What no column says has a stand-in with a doubt, and all records become order lines."""
    lines = [
        {"order_no": f"O{n // 2}", "customer": f"C{n % 7}", "mail": f"c{n % 7}@example.org",
         "sku": f"P{n % 5}", "qty": f"{1 + n % 3}", "amount": f"2.5{n % 10}",
         "date": f"2025-01-{1 + n % 28:02d}"}
        for n in range(60)
    ]  # fmt: skip
    header = [name for name in lines[0] if name not in missing.split(",")]
    write_raw(tmp_path / "log.csv", [tuple(line[k] for k in header) for line in lines], header)
    draft = describe([tmp_path], "shop")
    assert [t for t in draft.source.tables] == ["order_lines"]
    columns = draft.source.tables["order_lines"].columns
    who = ("mail",) if missing == "customer" else ("customer",)
    assert columns["customer_ref"].source == who
    assert columns["order_id"].source == (("order_no",) if "order_no" in header else (*who, "date"))
    assert (columns["product_id"].constant == "any") == ("sku" not in header)
    assert (columns["quantity"].constant == "1") == ("qty" not in header)
    assert draft.text.count("no column says it") == len(set(missing.split(",")) - {"", "customer"})
    assert "would be set aside" not in draft.text


def test_a_list_of_customers_is_no_list_of_purchases(tmp_path: Path) -> None:
    """Who stands in a file once has bought nothing there, whatever amounts it has."""
    rows = [(f"C{n}", f"2025-01-{1 + n % 28:02d}", f"{n}.50") for n in range(40)]
    write_raw(tmp_path / "people.csv", rows, ("customer", "date", "amount"))
    assert list(describe([tmp_path], "shop").source.tables) == ["customers", "attributes"]


def test_what_the_nearest_table_lacks(tmp_path: Path) -> None:
    """A file that no table can be made of says why, and what its columns hold."""
    write_raw(tmp_path / "things.csv", [(f"{k}", f"P{k}", "Tea") for k in range(9)],
              ("no", "sku", "group"))  # fmt: skip
    header = ("Bestellnummer", "Bestelldatum", "Kundennummer", "Ware", "Menge", "Wert")
    rows = [(f"#{k}", "03.04.2024", f"K{k % 3}", "Tee", "1", "2,50") for k in range(9)]
    (tmp_path / "lines.csv").write_text(
        "\n".join(";".join(row) for row in [header, *rows]) + "\n", encoding="utf-8"
    )
    text = describe([tmp_path], "mine").text
    assert (
        "# ? lines.csv is like no table, nearest to order_lines: it has customer_ref (Kun" in text
    )
    assert "and lacks unit_price or amount_minor; it has\n" in text
    assert "#   Wert: numbers with decimal commas; nothing here waits for it" in text
    assert "#   Ware: the words Tee; nothing here waits for it" in text


def test_chinese_file(tmp_path: Path) -> None:
    """Chinese headers in the encoding that Chinese spreadsheets write."""
    header = ("订单编号", "商品编号", "数量", "单价", "下单时间", "客户编号")
    rows = [(f"单{k}", f"茶{k % 5}", "2", "3.50", f"2024-05-{1 + k % 28:02d} 10:00:00", f"C{k % 7}")
            for k in range(80)]  # fmt: skip
    text = drafted(tmp_path, header, rows, encoding="gb18030")
    assert yaml.safe_load(text)["order_lines"]["dialect"] == {"encoding": "gb18030"}


def test_counts_of_what_would_be_set_aside(tmp_path: Path) -> None:
    """3 of 1,000 no date, 20 without a quantity: said with counts, allowed for, and ingested."""
    rows = [list(row[:6]) for row in german(1_000)]
    for k in range(3):
        rows[100 * k + 5][4] = "soon"
    for k in range(20):
        rows[40 * k + 3][2] = "some"
    text = drafted(tmp_path, GERMAN[:6], rows, delimiter=";")
    assert "# ? 3 of 1000 are no time that is known here" in text
    assert "# ? 3 of 1000 would be set aside: event_time: no time as" in text
    assert "# ? 20 of 1000 would be set aside: quantity: no integer" in text
    assert yaml.safe_load(text)["order_lines"]["max_quarantined_share"] == pytest.approx(0.05)


def test_currencies(tmp_path: Path) -> None:
    """A column that names the currency of amounts is declared, and its other words are counted."""
    rows = [(f"o{k}", f"c{k % 9}", "p1", f"2024-01-{k % 28 + 1:02}", "1", "2.50",
             "GBP" if k % 10 else "USD") for k in range(50)]  # fmt: skip
    header = ("order_id", "customer_id", "product_id", "date", "quantity", "price", "currency")
    text = drafted(tmp_path, header, rows)
    declared = yaml.safe_load(text)
    assert (declared["currency"], declared["order_lines"]["currency"]) == ("GBP", "currency")
    assert "5 of 50 would be set aside: currency: another than GBP" in text


def test_day_or_month_first(tmp_path: Path) -> None:
    """Dates that read both ways are a doubt."""
    rows = [(f"{k}", "p", "1", "1.00", f"0{1 + k % 9}/0{1 + k % 8}/2024", f"c{k % 4}")
            for k in range(60)]  # fmt: skip
    header = ("order_id", "sku", "qty", "price", "date", "customer")
    assert "# ? day or month first? all fit %m/%d/%Y, too" in drafted(tmp_path, header, rows)


def test_other_kinds_of_files(tmp_path: Path) -> None:
    """JSON Lines and Parquet are drafted as CSV is."""
    rows = [
        {"order_id": f"o{k}", "sku": "p", "qty": 1, "price": 1.5, "customer": {"id": f"c{k % 4}"},
         "at": f"2024-05-{1 + k % 28:02d}T10:00:00Z"}
        for k in range(50)
    ]  # fmt: skip
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "orders.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    text = describe([tmp_path / "orders.jsonl.gz"], "mine", time_zone="Asia/Shanghai").text
    columns = yaml.safe_load(text)["order_lines"]["columns"]
    assert columns["customer_ref"]["from"] == "customer.id"
    assert (columns["event_time"]["format"], columns["event_time"]["zone"]) == (
        "%Y-%m-%dT%H:%M:%SZ", "UTC",
    )  # fmt: skip
    built(text, "mine", tmp_path, tmp_path)
    times = pq.read_table(tmp_path / "tables" / "order_lines.parquet")[c.EVENT_TIME].to_pylist()
    assert {time.hour for time in times} == {18}


def test_equal_files_become_a_pattern_and_others_parts(tmp_path: Path) -> None:
    """Monthly files of one layout are one glob; another layout of the same table is a part."""
    header = ("order_id", "sku", "qty", "price", "date", "customer")
    for month in ("01", "02"):
        rows = [(f"{month}-{k}", "p", "1", "1.00", f"2024-{month}-{1 + k % 28:02d}", f"c{k % 4}")
                for k in range(60)]  # fmt: skip
        write_raw(tmp_path / f"orders-{month}.csv", rows, header)
    alike = describe(sorted(tmp_path.glob("orders-*.csv")), "mine").text
    assert yaml.safe_load(alike)["order_lines"]["files"] == ["orders-0*.csv"]
    web = [(f"w{k}", "p", "1", "2024-03-05 10:00", f"c{k}", "9.99") for k in range(60)]
    names = ("invoice", "item", "units", "ordered at", "client", "total")
    write_raw(tmp_path / "web.csv", web, names)
    text = describe([tmp_path], "mine").text
    parts = yaml.safe_load(text)["order_lines"]["parts"]
    assert set(parts) == {"orders_01", "orders_02", "web"}
    facts = built(text, "mine", tmp_path, tmp_path / "x")
    assert facts["totals"]["accepted"] == 180


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", DataError, "the file is empty"),
        (b"1,2,2024-01-01\n3,4,2024-01-02\n", DataError, "a value and no name"),
        (b"a,b\n1,2\n", DataError, "no file is like a table"),
        (b"a,a\n1,2\n", DataError, "need names of their own"),
        ("id,x\n1,2\n".encode("utf-16"), DataError, "looks like UTF-16"),
        (None, ConfigError, "no such file"),
    ],
)
def test_files_that_cannot_be_drafted(
    tmp_path: Path, data: bytes | None, error: type[Exception], message: str
) -> None:
    """What is wrong is said, with the file's name."""
    path = tmp_path / "x.csv"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(error, match=message) as caught:
        describe([path], "mine")
    assert "x.csv" in str(caught.value)


def test_large_files_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records from the whole of a file, each of them whole, and the same every time."""
    monkeypatch.setattr(sampling, "SAMPLE_BYTES", 32_000)
    rows = [(f"o{k:06d}", "p", "1", "1.00", "2024-05-05", f"c{k % 9}") for k in range(20_000)]
    header = ("order_id", "sku", "qty", "price", "date", "customer")
    for name in ("orders.csv", "orders.csv.gz"):
        path = write_raw(tmp_path / name, rows, header)
        request = {"path": str(path), "out": str(tmp_path / "sample.csv")}
        reply = sampling.draw(request)
        lines = (tmp_path / "sample.csv").read_bytes().splitlines()
        assert lines[0].decode() == ",".join(header)
        kept = [line.split(b",") for line in lines[1:]]
        assert all(len(record) == 6 for record in kept)
        numbers = [int(record[0][1:]) for record in kept]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] > 19_000
        assert 500 < len(numbers) < 3_000
        assert 0 < reply["share"] < 0.2
        again = describe([path], "mine").text
        assert again == describe([path], "mine").text


# --- names and the command ------------------------------------------------------------------


def test_names() -> None:
    """Names are read by their words, however they are written."""
    for name in ("CustomerID", "customer_id", "Customer Id", "customer-ID"):
        assert tokens(name) == ("customer", "id")
    assert likeness("CustomerID", "customer id|customer") == 1
    assert likeness("customer", "customer id|customer") == 0.85
    assert likeness("discount", "count") == 0
    assert likeness("Artikelnr.", "artikelnummer") == likeness("order no", "order number") == 1
    assert likeness("data.customer", "customer") == 0.9
    assert personal_category("E-Mail") == "contact"
    assert personal_category("Vorname") == "name"
    assert personal_category("Quantity") == ""


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draft is written once, and over an older one only when asked to."""
    monkeypatch.chdir(tmp_path)
    write_raw(tmp_path / "orders.csv", [row[:6] for row in german(60)], GERMAN[:6])
    words = ["describe", "orders.csv", "--out", "configs/data/shop.yaml", "--currency", "EUR"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    assert "order_lines: orders.csv" in first.stdout
    assert "currency: EUR\n" in (tmp_path / "configs" / "data" / "shop.yaml").read_text()
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "--force writes over it" in again.stderr
    assert CliRunner().invoke(app, [*words, "--force"]).exit_code == 0
    assert CliRunner().invoke(app, ["describe", "orders.csv", "--out", "a b.yaml"]).exit_code == 2
