"""Checks measure what they say, failures stop a build, and what was set aside can be mended."""

import hashlib
import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from features import columns as c
from features.__main__ import app
from features.checks import Check, findings, stability_index
from features.errors import ConfigError, DataError
from features.quality import PAGE, read_report
from features.settings import Workspace, load_yaml
from features.store import current
from features.tables import Stored, build_tables
from tests.worlds import (
    BEGAN,
    CONFIGS,
    DAY,
    built,
    good,
    line,
    raw,
    source,
    stored_table,
    world,
    write_raw,
)

pytestmark = pytest.mark.usefixtures("reader_here")

# --- what each test measures ----------------------------------------------------------------

LINES = [
    line(k % 4, BEGAN + k * DAY, f"o{k // 2}", 100 * k - 300, 1 + k % 3, "ABCD"[k % 4],
         known=BEGAN + (k + (10 if k % 5 == 0 else 0)) * DAY)
    for k in range(20)
]  # fmt: skip


def published(folder: Path, name: str, rows: list[dict[str, Any]] = LINES) -> Path:
    """A folder with order lines and products."""
    place = folder / name
    place.mkdir()
    pq.write_table(world(rows), place / "order_lines.parquet")
    pq.write_table(pa.table({"product_id": ["A", "B", "C"]}), place / "products.parquet")
    return place


FACTS = {
    "order_lines": {"rows": 20, "last_known": BEGAN + 25 * DAY},
    "products": {"rows": 3, "last_known": BEGAN + 30 * DAY},
}
LATE = sum(row[c.KNOWN_TIME] - row[c.EVENT_TIME] > 7 * DAY for row in LINES)
LOW = sum(row[c.AMOUNT] < 0 for row in LINES)


@pytest.mark.parametrize(
    ("check", "verdict", "measured"),
    [
        ({"column": "amount_minor", "not_null": True}, "passed", "0 of 20 rows without a value"),
        ({"column": "channel", "not_null": True}, "failed", "20 of 20 rows without a value"),
        ({"columns": ["order_id", "product_id"], "unique": True}, "passed", "0 of 20"),
        ({"column": "order_id", "unique": True}, "failed", "10 of 20 rows repeat another"),
        ({"column": "order_id", "unique": True, "at_most": 0.5}, "passed", "10 of 20"),
        ({"column": "amount_minor", "between": [0, None]}, "failed", f"{LOW} of 20 rows outside"),
        ({"column": "amount_minor", "between": [-300, 1600]}, "passed", "0 of 20 rows outside"),
        ({"column": "amount_minor", "between": [None, 1500]}, "failed", "1 of 20 rows outside"),
        ({"column": "amount_minor", "outliers": {"by": "iqr", "beyond": 0.4}}, "failed",
         "2 of 20 rows outside [-205, 1505]"),
        ({"column": "amount_minor", "outliers": {"by": "z_score"}}, "passed", "0 of 20 rows"),
        ({"column": "product_id", "among": ["A", "B"]}, "failed", "10 of 20 rows with other words"),
        ({"column": "channel", "among": ["web"]}, "passed", "0 of 20 rows with other words"),
        ({"column": "order_id", "matches": "^o[0-9]$"}, "passed", "0 of 20 rows written otherwise"),
        ({"column": "order_id", "matches": "^o[0-8]$"}, "failed", "2 of 20 rows written otherwise"),
        ({"column": "product_id", "references": "products.product_id"}, "failed",
         "5 of 20 rows without a row of products"),
        ({"column": "product_id", "references": "products.product_id", "at_most": 0.25}, "passed",
         "5 of 20"),
        ({"fresh_within_days": 5}, "passed", "5.0 days behind"),
        ({"fresh_within_days": 4.9}, "failed", "5.0 days behind"),
        ({"known_within_days": 7}, "failed", f"{LATE} of 20 rows known later"),
        ({"known_within_days": 10}, "passed", "0 of 20 rows known later"),
        ({"volume": [0.5, 2]}, "passed", "20 rows, 10 before"),
        ({"volume": [0.5, 1.9]}, "failed", "20 rows, 10 before"),
        ({"column": "product_id", "drift_below": 0.1}, "passed", "index 0.0"),
    ],
)  # fmt: skip
def test_each_test_by_hand(
    tmp_path: Path, check: dict[str, Any], verdict: str, measured: str
) -> None:
    """Numbers counted by hand from the rows above."""
    folder = published(tmp_path, "now")
    last = published(tmp_path, "last", LINES[:10])
    declared = Check.model_validate(check)
    (found,) = findings("order_lines", {"it": declared}, folder, FACTS, last)
    assert found.measured.startswith(measured)
    assert (found.verdict, found.severity, found.check) == (verdict, "error", "it")
    assert found.stops == (verdict == "failed")


@pytest.mark.parametrize("test", [{"volume": [0.5, 2]}, {"column": "quantity", "drift_below": 1}])
def test_first_build_has_nothing_to_compare_with(tmp_path: Path, test: dict[str, Any]) -> None:
    """Neither passed nor failed."""
    folder = published(tmp_path, "now")
    (found,) = findings("order_lines", {"it": Check.model_validate(test)}, folder, FACTS, None)
    assert (found.verdict, found.stops) == ("not measured", False)


def test_stability_index_of_words_by_brute_force() -> None:
    """Half a row in each bin, p before and q now."""
    before, now = list("aaaaabbbc") + [None], list("aabbbbbd") + [None, None, None]
    bins: list[Any] = ["a", "b", "c", "rest", None]
    counts = [Counter(w if w in "abc" else "rest" for w in ws if w) for ws in (before, now)]
    shares = []
    for words, seen in zip((before, now), counts, strict=True):
        held = [seen[b] + 0.5 if b else words.count(None) + 0.5 for b in bins]
        shares.append([n / sum(held) for n in held])
    expected = sum((q - p) * np.log(q / p) for p, q in zip(*shares, strict=True))
    columns = (pa.chunked_array([before]), pa.chunked_array([now]))
    assert stability_index(*columns) == pytest.approx(expected, rel=1e-12)


def test_stability_index_of_numbers() -> None:
    """Nothing for the same numbers; more the further they go; the normal's own value nearly."""
    rng = np.random.default_rng(1)
    before = rng.normal(size=20_000)
    index = [
        stability_index(pa.chunked_array([before]), pa.chunked_array([rng.normal(by, 1, 20_000)]))
        for by in (0, 0.2, 0.5, 1.0)
    ]
    assert stability_index(pa.chunked_array([before]), pa.chunked_array([before])) == 0
    assert index[0] < 0.005
    assert index == sorted(index)
    # Of two normals with one variance the divergence is the squared distance of their means.
    assert index[1] == pytest.approx(0.04, abs=0.01)
    assert index[2] == pytest.approx(0.25, abs=0.03)
    assert stability_index(*(pa.chunked_array([pa.nulls(3, pa.int64())]),) * 2) == 0


@pytest.mark.parametrize("by", ["iqr", "z_score"])
def test_outliers_need_a_spread(tmp_path: Path, by: str) -> None:
    """Where most values are one, every other one would be an outlier: that is said, not counted."""
    folder = published(tmp_path, "now", [{**row, c.AMOUNT: 5} for row in LINES])
    check = Check.model_validate({"column": "amount_minor", "outliers": {"by": by}})
    (found,) = findings("order_lines", {"it": check}, folder, FACTS, None)
    assert (found.verdict, found.stops) == ("not measured", False)
    assert "one and the same" in found.measured


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"column": "price", "not_null": True}, "'price', which is none of its columns"),
        ({"column": "order_id", "between": [0, 1]}, "between needs a number"),
        ({"column": "order_id", "outliers": {"by": "iqr"}}, "outliers needs a number"),
        ({"column": "quantity", "matches": "x"}, "matches needs a text"),
        ({"column": "product_id", "references": "products.product_id"}, "does not bring"),
        ({"column": "quantity"}, "give exactly one test"),
        ({"not_null": True}, "tests a column"),
        ({"column": "quantity", "volume": [0, 1]}, "tests the table"),
    ],
)
def test_checks_that_make_no_sense(place: Workspace, check: dict[str, Any], message: str) -> None:
    """They are refused before anything is read."""
    with pytest.raises(ConfigError, match=message):
        source(place, order_lines__checks={"it": check})


# --- what was repaired --------------------------------------------------------------------


def test_repaired_values_are_counted(place: Workspace) -> None:
    """By column, of accepted records: trimmed, cut out, put into upper case, mapped."""
    records = [
        raw("500001", "13085.0", code="85048a"),  # cut out of the text; upper case
        raw("500002", "13085", code=" 85048A "),  # trimmed
        raw("500003", "13086.0", code="85048"),
        raw("A50004", "13087.0", code="85048b"),  # filtered: not one of the table
        raw("500005", "13088.0", "2010-06-09 10:00:00", code="85049", quantity=" 2"),
    ]
    stored = built(place, records)
    rows = {row["column"]: row for row in read_report(stored.published.folder, "repairs")}
    assert {name: (row["by"], row["repaired"]) for name, row in rows.items()} == {
        "customer_ref": ("trim extract", "3"), "product_id": ("trim upper", "2"),
        "quantity": ("trim", "1"),
    }  # fmt: skip
    assert {row["records"] for row in rows.values()} == {"4"}
    table = pq.read_table(stored.published.folder / "order_lines.parquet").to_pandas()
    marks = pq.read_table(stored.published.folder / "repaired.parquet").to_pandas()
    assert set(marks["table"]) == {"order_lines"}
    orders = marks.merge(table[[c.ROW, "order_id"]], on=c.ROW, validate="many_to_one")
    assert set(zip(orders["column"], orders["order_id"], strict=True)) == {
        ("customer_ref", "500001"), ("customer_ref", "500003"), ("customer_ref", "500005"),
        ("product_id", "500001"), ("product_id", "500002"), ("quantity", "500005"),
    }  # fmt: skip
    page = (stored.published.folder / PAGE).read_text()
    assert "<h2>Repairs</h2>" in page
    assert stored.facts["tables"]["order_lines"]["repairs"]["quantity"]["repaired"] == 1


def test_words_and_decimal_commas_count_as_repaired(place: Workspace) -> None:
    """A word that becomes another one, or missing; one that stays is none."""
    records = [
        raw(str(500_000 + k), when=f"2010-06-{10 + 3 * k} 10:00:00", price=price, code=code)
        for k, (price, code) in enumerate(
            [("1,50", "85048"), ("2", "85049"), ("1.000,00", "85050"), ("3", "85051")]
        )
    ]
    columns = {
        "product_id.upper": False, "product_id.map": {"85048": "85099", "85049": "85049"},
        "product_id.unmapped": "missing", "product_id.required": False,
        "unit_price.decimal_comma": True,
    }  # fmt: skip
    changed = {f"order_lines.columns.{name}": value for name, value in columns.items()}
    rules = {"order_lines.rules.not_a_product.then": "keep",
             "order_lines.rules.none": {"when": [{"column": "product_id", "missing": True}],
                                        "then": "filter", "why": "unknown words"}}  # fmt: skip
    stored = built(place, records, **changed, **rules)
    rows = {row["column"]: row for row in read_report(stored.published.folder, "repairs")}
    assert (rows["product_id"]["by"], rows["product_id"]["repaired"]) == ("trim map", "1")
    assert rows["unit_price"]["repaired"] == "1"
    assert rows["unit_price"]["records"] == "2"


# --- in a build -----------------------------------------------------------------------------

UNIQUE = {"columns": ["order_id"], "unique": True}


def test_failed_check_stops_the_build(place: Workspace) -> None:
    """All failures are named, the store stays as it was; warnings are published."""
    records = [*good(20), *good(2)]
    checks = {"one": UNIQUE, "small": {"column": "amount_minor", "between": [0, 500]},
              "fine": {"column": "order_id", "not_null": True}}  # fmt: skip
    with pytest.raises(DataError) as caught:
        built(place, records, order_lines__checks=checks)
    message = str(caught.value)
    assert "2 check(s) failed; nothing was published" in message
    assert (
        "order_lines, check one: 2 of 22 rows repeat another; expected order_id unique" in message
    )
    assert "check small:" in message
    assert current(place.store / "tables" / "online_retail_II") is None
    warned = {name: {**check, "severity": "warn"} for name, check in checks.items()}
    stored = built(place, records, order_lines__checks=warned)
    found = {row["check"]: row["verdict"] for row in read_report(stored.published.folder, "checks")}
    assert found == {"one": "failed", "small": "failed", "fine": "passed"}
    page = (stored.published.folder / "quality.html").read_text()
    assert "2 of 22 rows repeat another" in page
    assert "<script" not in page
    assert "http" not in page


def test_volume_and_drift_compare_with_the_last_build(place: Workspace) -> None:
    """The build before is the measure; a build that was stopped is none."""
    checks = {"volume": {"volume": [0.8, 1.2]},
              "stable": {"column": "quantity", "drift_below": 0.25}}  # fmt: skip
    first = built(place, good(100), order_lines__checks=checks)
    verdicts = [row["verdict"] for row in read_report(first.published.folder, "checks")]
    assert verdicts == ["not measured", "not measured"]
    with pytest.raises(DataError, match="50 rows, 100 before"):
        built(place, good(50), order_lines__checks=checks)
    moved = [raw(str(k), quantity=7, when=str(datetime(2010, 1, 1) + k * DAY)) for k in range(100)]
    with pytest.raises(DataError, match="check stable: index"):
        built(place, moved, order_lines__checks=checks)
    again = built(place, good(110), order_lines__checks=checks)
    measured = [row["measured"] for row in read_report(again.published.folder, "checks")]
    assert measured[0] == "110 rows, 100 before"


def test_report_counts_what_the_tables_hold(place: Workspace) -> None:
    """Days, gaps and lineage against the rows and the bytes."""
    bad = [raw(quantity="x"), raw(price="0"), raw(invoice="")]
    stored = built(place, [*good(30), *bad, *good(5, first=700_000)], max_quarantined_share=0.9)
    folder, lines = stored.published.folder, stored_table(stored, "order_lines")
    days = Counter(str(time.date()) for time in lines[c.EVENT_TIME].to_pylist())
    assert {row["day"]: int(row["rows"]) for row in read_report(folder, "days")} == days
    for row in read_report(folder, "columns"):
        assert int(row["missing"]) == lines[row["column"]].null_count
    (trace,) = read_report(folder, "lineage")
    path = (place.data or Path()) / "online_retail_II.csv"
    assert trace["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert int(trace["bytes"]) == path.stat().st_size
    assert int(trace["lines"]) == path.read_bytes().count(b"\n")
    kinds = ("accepted", "quarantined", "duplicate", "filtered")
    assert [int(trace[kind]) for kind in kinds] == [35, 2, 0, 1]
    assert int(trace["records"]) == 38
    assert trace["last_known"] == str(max(lines[c.KNOWN_TIME].to_pylist()))


def test_lineage_by_file(place: Workspace) -> None:
    """Each file of a table has its own account; one that came twice is all duplicates."""
    assert place.data is not None
    write_raw(place.data / "a.csv", [*good(10), raw(quantity="x")])
    write_raw(place.data / "b.csv", good(7, first=600_000))
    write_raw(place.data / "c.csv", good(7, first=600_000))
    declared = source(place, order_lines__files=["*.csv"], max_quarantined_share=0.5)
    stored = build_tables(place, declared)
    rows = read_report(stored.published.folder, "lineage")
    told = {row["file"]: (row["accepted"], row["quarantined"], row["duplicate"]) for row in rows}
    assert told == {"a.csv": ("10", "1", "0"), "b.csv": ("7", "0", "0"), "c.csv": ("0", "0", "7")}
    totals = stored.facts["totals"]
    assert totals == {"accepted": 17, "quarantined": 1, "duplicate": 7, "filtered": 0}


# --- mending --------------------------------------------------------------------------------

SLASHED = [raw(str(700_000 + k), when=f"0{1 + k}/06/2010 10:00") for k in range(3)]
BOTH = {"order_lines__columns__event_time__format": ["%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M"]}
LOOSE = {"max_quarantined_share": 0.5}


@pytest.fixture
def shop(tmp_path: Path, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run commands in, with the declaration of a source that a test may change."""
    folder = tmp_path / "shop"
    (folder / "configs" / "data").mkdir(parents=True)
    declared = load_yaml(CONFIGS / "data" / "online_retail_II.yaml") | LOOSE
    (folder / "configs" / "data" / "online_retail_II.yaml").write_text(
        json.dumps(declared, default=str)
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PERENNIAL_DATA_DIR", str(place.data))
    return folder


def run(*words: str) -> str:
    """What a command says; it ends well."""
    found = CliRunner().invoke(app, list(words))
    assert found.exit_code == 0, found.output
    return found.stdout


def as_told(stored: Stored) -> list[dict[str, Any]]:
    """Order lines without their number in the files, which says where they stood."""
    rows = stored_table(stored, "order_lines").drop_columns(c.ROW).to_pylist()
    return sorted(rows, key=lambda row: (row[c.ORDER], row[c.EVENT_TIME]))


def test_replay_after_a_mended_mapping(place: Workspace, shop: Path) -> None:
    """What a second format reads leaves the quarantine, and ends in the table of a clean file."""
    del shop
    records = [*good(20), *SLASHED, raw("x", quantity="many")]
    before = built(place, records, **LOOSE)
    listed = run("quarantine", "online_retail_II", "--reason", "no time")
    for number in (22, 23, 24):
        assert f"online_retail_II.csv  {number}" in " ".join(listed.split(" ")).replace("   ", "  ")
    assert "3 records, of the build" in listed
    override = "order_lines.columns.event_time.format=" + json.dumps(
        BOTH["order_lines__columns__event_time__format"]
    )
    lines = ("--set", "products=null", "--set", override)
    said = run("quarantine", "online_retail_II", "--replay", *lines)
    fates = {line.split("  ")[-1].strip() for line in said.splitlines()[1:-1]}
    assert fates == {"accepted, filtered or a duplicate", "in quarantine"}
    mended = built(place, records, **LOOSE, **BOTH)
    assert not mended.published.fresh, "the replay built just that"
    assert mended.facts["totals"]["quarantined"] == 1
    assert before.published.folder.is_dir(), "the build before stays"
    clean = [raw(str(700_000 + k), when=f"2010-06-0{1 + k} 10:00:00") for k in range(3)]
    elsewhere = place.model_copy(update={"store": place.store / "elsewhere"})
    assert as_told(mended) == as_told(built(elsewhere, [*good(20), *clean]))


def test_corrected_file_supersedes(place: Workspace, shop: Path) -> None:
    """The same name with other bytes is the file from now on; what it said before is kept."""
    first = built(place, [*good(20), *SLASHED], **LOOSE)
    old = stored_table(first, "order_lines")
    clean = [raw(str(700_000 + k), when=f"2010-06-0{1 + k} 10:00:00") for k in range(3)]
    write_raw((place.data or Path()) / "online_retail_II.csv", [*good(20), *clean])
    said = run("quarantine", "online_retail_II", "--replay")
    assert "no longer in the file" in said
    second = built(place, [*good(20), *clean], **LOOSE)
    assert second.facts["totals"]["quarantined"] == 0
    assert stored_table(second, "order_lines").num_rows == old.num_rows + 3
    assert stored_table(first, "order_lines").equals(old)
    sums = [read_report(s.published.folder, "lineage")[0]["sha256"] for s in (first, second)]
    assert sums[0] != sums[1]
    del shop


def test_export_of_the_quarantine(place: Workspace, shop: Path) -> None:
    """The raw lines as they stood, in a file that others cannot read."""
    built(place, [*good(20), *SLASHED], **LOOSE)
    run("quarantine", "online_retail_II", "--export", "aside.csv")
    lines = (shop / "aside.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in lines] == [record[0] for record in SLASHED]
    assert (shop / "aside.csv").stat().st_mode & 0o077 == 0
    found = CliRunner().invoke(app, ["quarantine", "telco_churn"])
    assert found.exit_code == 2
    assert "python -m features quality telco_churn" in found.stderr


def test_quality_and_lineage_commands(place: Workspace, shop: Path) -> None:
    """Accounts, reasons and where it all lies; the same as JSON."""
    write_raw((place.data or Path()) / "online_retail_II.csv", [*good(20), *SLASHED])
    del shop
    said = run("quality", "online_retail_II")
    assert "order_lines  23    20        3" in said
    assert "no check is declared" in said
    told = json.loads(run("quality", "online_retail_II", "--json"))
    assert told["tables"]["order_lines"]["totals"]["quarantined"] == 3
    assert (Path(told["folder"]) / "quality.html").is_file()
    assert "online_retail_II.csv" in run("lineage", "online_retail_II")
    failing = "order_lines.checks.one={column: order_id, among: [x]}"
    found = CliRunner().invoke(app, ["quality", "online_retail_II", "--set", failing])
    assert found.exit_code == 2
    assert "1 check(s) failed" in found.stderr


CONTRACTS = """
name: box
description: contracts of a shop
time_zone: UTC
currency: USD
lawful_basis: contract
subscriptions:
  owner: a
  steward: b
  files: [contracts.csv]
  columns:
    customer_ref: {from: who, category: identifier, purposes: [analytics]}
    event_time: {from: at, format: '%Y-%m-%d', category: contract, purposes: [analytics]}
    subscription_id: {from: contract, category: contract, purposes: [analytics]}
    kind: {from: what, map: {begin: start}, unmapped: keep, category: contract, purposes: [analytics]}
    price_minor: {from: price, category: contract, purposes: [analytics]}
"""  # noqa: E501


def test_remarks_on_words_and_cents(place: Workspace, shop: Path) -> None:
    """Words that no feature counts and cents that were read as dollars; told, they are gone."""
    declared = shop / "configs" / "data" / "box.yaml"
    rows = [(f"c{k}", f"2024-01-{1 + k:02d}", f"s{k}", ("begin", "ended")[k % 3 == 2], "1490")
            for k in range(24)]  # fmt: skip
    write_raw(
        (place.data or Path()) / "contracts.csv", rows, ("who", "at", "contract", "what", "price")
    )
    declared.write_text(CONTRACTS)
    said = run("quality", "box")
    assert "look at subscriptions.kind (8 rows): no feature counts ended; those counted" in said
    assert "look at subscriptions.price_minor (24 rows): all are whole USD" in said
    mended = CONTRACTS.replace("from: price,", "from: price, type: integer,")
    declared.write_text(mended.replace("begin: start", "begin: start, ended: cancel"))
    assert "look at" not in run("quality", "box")


def test_late_rows_keep_their_own_known_time(place: Workspace) -> None:
    """A late delivery adds rows with the time at which they became known, and changes no other."""
    assert place.data is not None
    header = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price",
              "Customer ID", "Country", "known")  # fmt: skip
    early = [(*record, record[4]) for record in good(30)]
    late = [(*raw("800000", when="2010-01-05 10:00:00"), "2010-06-01 00:00:00")]
    said = {"type": "timestamp", "category": "transaction", "purposes": ["analytics"]}
    declared = source(
        place, order_lines__files=["*.csv"], order_lines__known_time="recorded_at",
        order_lines__columns__recorded_at={"from": "known", **said},
    )  # fmt: skip
    write_raw(place.data / "1.csv", early, header)
    before = stored_table(build_tables(place, declared), "order_lines").to_pylist()
    write_raw(place.data / "2.csv", late, header)
    after = stored_table(build_tables(place, declared), "order_lines").to_pylist()
    (new,) = [row for row in after if row[c.ORDER] == "800000"]
    assert new[c.EVENT_TIME] == datetime(2010, 1, 5, 10)
    assert new[c.KNOWN_TIME] - new[c.EVENT_TIME] > timedelta(days=140)
    assert [row for row in after if row is not new] == before
