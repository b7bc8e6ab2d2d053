"""Erased customers are gone from all that was made, and stay out; the others lose nothing."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from features import columns as c
from features.__main__ import app
from features.erasure import ERASED, EXPIRED, tombstones
from features.identity import customer_ids, customer_key
from features.ingest import ingest
from features.settings import Workspace
from features.sources import find_files, load_source
from features.store import publish
from features.tables import Stored, build_tables
from tests.features.test_feeds import col, declared, table
from tests.worlds import built, good, raw, source, stored_table, text, write_raw

pytestmark = pytest.mark.usefixtures("reader_here")
WHO = "13085"
NAME = "online_retail_II"
THEIRS = [raw(str(800_000 + k), f"{WHO}.0", f"2010-02-0{1 + k} 09:00:00") for k in range(4)]
ASIDE = [
    text(raw("900001", f"{WHO}.0", quantity="many")),
    f"900002,85048,{WHO},broken\n".encode(),
]
ERASE = ["subject", "erase", NAME, "--customer", WHO]
OTHERS = [*good(30), raw("900003", "13001.0", quantity="some")]


def names_them(folder: Path, place: Workspace) -> bool:
    """Whether any file below ``folder`` holds the customer's number or ours, however written."""
    number = customer_ids(NAME, [WHO], customer_key(place.keys))[WHO]
    spellings = [WHO.encode(), str(number).encode(), number.to_bytes(8, "little")]
    for path in (p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data += repr(pq.read_table(path).to_pylist()).encode()
        if any(re.search(rb"(?<!\d)" + re.escape(found) + rb"(?!\d)", data) for found in spellings):
            return True
    return False


def rows_of_others(stored: Stored) -> list[dict[str, Any]]:
    """Order lines without their place in the files."""
    rows = stored_table(stored, "order_lines").drop_columns(c.ROW).to_pylist()
    return sorted(rows, key=lambda row: row[c.ORDER])


def made_of_them(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source with the customer in its tables, its quarantine and something made of them."""
    monkeypatch.setenv("PERENNIAL_DATA_DIR", str(place.data))
    monkeypatch.chdir(Path(__file__).resolve().parent.parent.parent)
    first = built(place, [*OTHERS, *THEIRS, *ASIDE], max_quarantined_share=0.5)
    assert first.facts["totals"]["quarantined"] == 3
    number = customer_ids(NAME, [WHO], customer_key(place.keys))[WHO]

    def write(folder: Path) -> dict[str, Any]:
        (folder / "answers.json").write_text(json.dumps({str(number): 0.5}))
        (folder / "rows.bin").write_bytes(b"xx" + number.to_bytes(8, "little"))
        return {}

    publish(place.store / "runs", "made-of-them", write)


def test_all_that_is_held_of_a_customer_is_told(
    place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their rows, raw lines and answers and nobody else's, without our numbers."""
    made_of_them(place, monkeypatch)
    ids = customer_ids(NAME, [WHO, "13001"], customer_key(place.keys))
    logged = place.registry / "predictions" / "churn" / "v1" / "one.parquet"
    logged.parent.mkdir(parents=True)
    answers = {c.CUSTOMER: [ids[WHO], ids["13001"], None], "answer": [0.25, 0.5, 0.75]}
    pq.write_table(pa.table(answers), logged)
    out = tmp_path / "told"
    words = ["subject", "export", NAME, "--out", str(out), "--customer", WHO]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    held = pd.read_csv(out / "held.csv").set_index("place")
    lines = pd.read_csv(next(out.rglob("order_lines.parquet.csv")))
    assert sorted(lines[c.ORDER].astype(str)) == [str(800_000 + k) for k in range(4)]
    raw_lines = (out / "raw" / f"{NAME}.csv.txt").read_bytes().splitlines()
    assert len(raw_lines) == 6
    assert all(WHO.encode() in line for line in raw_lines)
    assert pd.read_csv(out / "predictions/churn/v1/one.parquet.csv")["answer"].tolist() == [0.25]
    assert held.loc["runs/made-of-them/answers.json", "written"] == "not made of rows"
    written = [p for p in out.rglob("*") if p.is_file() and p.name != "held.csv"]
    assert sorted(p.relative_to(out).as_posix() for p in written) == sorted(
        held.loc[held["written"] != "not made of rows", "written"]
    )
    text = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())
    assert not any(str(number).encode() in text for number in ids.values())
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "is there already" in again.output
    unknown = CliRunner().invoke(app, [*words[:4], str(tmp_path / "none"), "--customer", "nobody"])
    assert unknown.exit_code == 2
    assert "give the number as the source writes it" in unknown.output
    assert not (tmp_path / "none").exists()


@pytest.fixture
def erased(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the command says that erases them."""
    made_of_them(place, monkeypatch)
    publish(place.store / "runs", "made-of-others", lambda folder: {})
    assert names_them(place.store, place)
    settings = ("max_quarantined_share=0.5", "products=null")
    found = CliRunner().invoke(app, [*ERASE, *(w for s in settings for w in ("--set", s))])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_nothing_made_here_names_an_erased_customer(erased: str, place: Workspace) -> None:
    """Tables, quarantine and what was made of them; the receipt says what went and what is left."""
    assert not names_them(place.store, place)
    assert "removed from the store: runs/made-of-them, 2 traces" in erased
    assert f"removed from the store: tables/{NAME}/" in erased
    assert "kept out of the new tables: 6 records" in erased
    assert f"to erase by their owner: {NAME}.csv, lines 33, 34, 35, 36, 37, 38" in erased
    assert "verified: no file of the store names the customer" in erased
    assert (place.store / "runs" / "made-of-others").is_dir()
    assert not names_them(place.registry, place) or WHO not in (
        place.registry / "erased" / f"{NAME}.json"
    ).read_text()  # fmt: skip


def test_others_lose_nothing(erased: str, place: Workspace) -> None:
    """Their rows and their quarantine are what a file without the customer gives."""
    del erased
    again = build_tables(place, source(place, max_quarantined_share=0.5))
    assert not again.published.fresh
    account = again.facts["account"]
    assert account["filtered"][ERASED] == 6
    assert again.facts["totals"]["quarantined"] == 1
    assert again.facts["seen"] == sum(again.facts["totals"].values()) == 37
    elsewhere = place.model_copy(update={"store": place.store / "elsewhere"})
    assert rows_of_others(again) == rows_of_others(
        built(elsewhere, OTHERS, max_quarantined_share=0.5)
    )


def test_old_files_bring_nobody_back(erased: str, place: Workspace) -> None:
    """The same records under another name are filtered, too."""
    del erased
    assert place.data is not None
    write_raw(place.data / "late.csv", [*good(5, first=700_000), *THEIRS])
    declared = source(place, order_lines__files=["*.csv"], max_quarantined_share=0.5)
    stored = build_tables(place, declared)
    assert stored.facts["account"]["filtered"][ERASED] == 10
    assert WHO not in stored.source_ids().values()
    assert len(tombstones(place, NAME)) == 1


def test_a_source_with_nothing_set_aside(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty quarantine is looked through like any other."""
    monkeypatch.setenv("PERENNIAL_DATA_DIR", str(place.data))
    assert built(place, [*good(30), *THEIRS]).facts["totals"]["quarantined"] == 0
    found = CliRunner().invoke(app, [*ERASE, "--set", "products=null"])
    assert found.exit_code == 0, found.output
    assert not names_them(place.store, place)


def test_lines_that_a_table_of_goods_set_aside_name_nobody(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file that feeds two tables, either has the customer's lines in its quarantine."""
    made_of_them(place, monkeypatch)
    late = raw("900004", f"{WHO}.0", when="some day")
    write_raw((place.data or Path()) / f"{NAME}.csv", [*OTHERS, *THEIRS, *ASIDE, late])
    declared = load_source(place, NAME, {"max_quarantined_share": 0.5})
    aside = stored_table(build_tables(place, declared), "quarantine").to_pylist()
    assert {"order_lines", "products"} == {r["table"] for r in aside if WHO.encode() in r["raw"]}
    found = CliRunner().invoke(app, [*ERASE, "--set", "max_quarantined_share=0.5"])
    assert found.exit_code == 0, found.output
    assert "verified: no file of the store names the customer" in found.stdout
    assert not names_them(place.store, place)


def test_number_that_cannot_be_looked_for(place: Workspace) -> None:
    """A number with marks in it is refused before anything is done."""
    found = CliRunner().invoke(app, ["subject", "erase", NAME, "--customer", "a@b.c"])
    assert found.exit_code == 2
    assert not (place.registry / "erased").exists()


def test_either_end_of_a_relation(tmp_path: Path) -> None:
    """A row that names an erased customer as the other one goes as well."""
    columns = {
        "customer_ref": col("a"),
        "other_ref": col("b"),
        "event_time": {"constant": "2024-01-01"},
        "kind": {"constant": "referral"},
    }
    shop = declared(tmp_path, {"relations": table(columns)})
    write_raw(tmp_path / "t.csv", [("1", "2"), ("2", "3"), ("3", "1"), ("3", "4")], ("a", "b"))
    key = b"k" * 32
    gone = frozenset(customer_ids("shop", ["1"], key).values())
    (tmp_path / "out").mkdir()
    files = find_files(shop, tmp_path)
    facts = ingest(shop, files, key, tmp_path / "out", erased=gone)
    assert facts["account"]["filtered"] == {ERASED: 2}
    links = pq.read_table(tmp_path / "out" / "links.parquet")["source_id"].to_pylist()
    assert links == ["2", "3", "4"]


def test_retention(place: Workspace) -> None:
    """Rows older than is retained are filtered, seen from the table's last row."""
    stored = built(place, good(40), order_lines__retain_days=10)
    assert stored.facts["account"]["filtered"] == {EXPIRED: 29}
    times = stored_table(stored, "order_lines")[c.EVENT_TIME].to_pylist()
    assert (max(times) - min(times)).days == 10
    assert len(times) == 11
