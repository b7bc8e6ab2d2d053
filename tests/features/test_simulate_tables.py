"""The raw exports of every table: what was put into them is what the build finds in them."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.settings import Workspace
from features.simulate import TABLES, DirtConfig, SimulateConfig, simulate
from features.simulate.layouts import LAYOUTS
from features.sources import load_source
from features.tables import Stored, build_tables
from tests.reading import reading_here
from tests.worlds import CONFIGS

SMALL = SimulateConfig(customers=400, days=600, dirt=DirtConfig(damaged_share=0.009))
OTHERS = tuple(table for table in TABLES if table != "order_lines")
PURPOSELY_UNREAD = {"customers": {"name", "email"}}
"""Columns of the files that nothing may load."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All exports of a small world with much damage."""
    folder = tmp_path_factory.mktemp("raw")
    simulate(SMALL, folder)
    return folder


@pytest.fixture(scope="module")
def facts(raw: Path) -> dict:
    """What was put into them, by table."""
    return json.loads((raw / "truth" / "facts.json").read_text())["tables"]


@pytest.fixture(scope="module")
def stored(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """The tables built from them."""
    home = tmp_path_factory.mktemp("place")
    place = Workspace(
        store=home / "store", registry=home / "registry", keys=home / "keys", data=raw,
        configs=CONFIGS,
    )  # fmt: skip
    with reading_here():
        return build_tables(place, load_source(place, "simulated", {"simulate": None}))


@pytest.fixture(scope="module")
def tables(stored: Stored) -> dict[str, pd.DataFrame]:
    """Their frames by name."""
    folder = stored.published.folder
    return {name: pq.read_table(folder / f"{name}.parquet").to_pandas() for name in TABLES}


def _hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.csv.gz")}


def _canonical(stored: Stored, table: str, header: str) -> str:
    """The name under which a column of the file is declared."""
    columns = getattr(stored.source, table).columns
    return next(name for name, column in columns.items() if column.source == (header,))


def _reason(stored: Stored, table: str, kind: str, header: str) -> str:
    """The reason that the build has for a kind of damage."""
    layout, columns = LAYOUTS[table], getattr(stored.source, table).columns
    if kind == "extra_field":
        return f"{len(layout.fields) + 1} fields, expected {len(layout.fields)}"
    if kind == "unescaped_quote":
        return f"does not split: '{layout.delimiter}' expected after '\"'"
    name = _canonical(stored, table, header)
    number = "money" if name.endswith("_minor") else "integer"
    return {
        "bad_date": f"{name}: no time as {columns[name].format[0]}",
        "no_value": f"{name}: empty",
        "no_number": f"{name}: no {'number' if name in ('score', 'value') else number}",
        "unknown_word": f"{name}: not in its map",
    }[kind]


@pytest.mark.parametrize("table", OTHERS)
def test_account_equals_what_was_injected(stored, facts, table):
    """Every injected defect is found under its reason, and nothing else is."""
    found, defects = stored.facts["tables"][table], facts[table]["defects"]
    damage = {
        _reason(stored, table, kind, header): defects[kind]
        for kind, header in LAYOUTS[table].damage
        if defects[kind]
    }
    filtered = {"blank line": 1}
    if "guest" in defects:
        filtered["unknown_customer"] = defects["guest"]
    assert found["account"] == {
        "accepted": {"all rules passed": facts[table]["sound"]},
        "quarantined": damage,
        "duplicate": {},
        "filtered": filtered,
    }
    assert found["seen"] == facts[table]["records"]


def test_every_kind_of_damage_occurs(facts):
    """In some table or other; guests in the events."""
    kinds = {kind for layout in LAYOUTS.values() for kind, _ in layout.damage}
    for kind in kinds:
        assert sum(facts[table]["defects"].get(kind, 0) for table in OTHERS) > 0
    assert facts["events"]["defects"]["guest"] > 0


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_known_before_it_happens(tables, table):
    """Both clocks lie in the period; some rows are days late."""
    rows = tables[table]
    assert (rows["known_time"] >= rows["event_time"]).all()
    assert rows["event_time"].min() >= pd.Timestamp(SMALL.first_day)
    assert rows["known_time"].max() < pd.Timestamp(SMALL.last_day) + pd.Timedelta(days=1)
    delay = rows["known_time"] - rows["event_time"]
    assert (delay > pd.Timedelta(days=1)).any()
    if table not in ("customers", "locations", "relations", "outcomes"):
        assert delay.max() < pd.Timedelta(days=5, hours=1)


def test_late_rows_are_counted(facts):
    """About the configured share of each large table."""
    for table in ("events", "contacts", "responses", "consents"):
        share = facts[table]["late_records"] / facts[table]["records"]
        assert share == pytest.approx(SMALL.dirt.late_share, abs=0.012)


def test_rows_refer_to_rows_that_are_there(tables, stored):
    """Responses to contacts, replies to tickets, payments to contracts, a session to a person."""
    lost = pq.read_table(stored.published.folder / "quarantine.parquet").to_pandas()
    damaged = {name: (lost["table"] == name).sum() for name in TABLES}

    def orphans(rows: pd.DataFrame, key: str, heads: pd.DataFrame) -> int:
        pairs = rows[[key, "customer_id"]].drop_duplicates()
        known = heads[[key, "customer_id"]].drop_duplicates()
        found = pairs.merge(known, on=[key, "customer_id"], how="left", indicator=True)
        return int((found["_merge"] == "left_only").sum())

    assert orphans(tables["responses"], "contact_id", tables["contacts"]) <= damaged["contacts"]
    feedback, plans = tables["feedback"], tables["subscriptions"]
    opened = feedback["kind"].isin(["ticket", "complaint"])
    later = feedback.loc[feedback["thread_id"].notna() & ~opened]
    assert orphans(later, "thread_id", feedback.loc[opened]) <= damaged["feedback"]
    started = plans.loc[plans["kind"] == "start"]
    assert orphans(plans, "subscription_id", started) <= damaged["subscriptions"]
    assert tables["contacts"]["contact_id"].is_unique
    sessions = tables["events"][["session_id", "customer_id"]].drop_duplicates()
    assert sessions["session_id"].is_unique
    products = set(tables["products"]["product_id"])
    for name in ("events", "feedback", "order_lines"):
        unknown = set(tables[name]["product_id"].dropna()) - products
        assert len(unknown) <= damaged["products"]


def test_everybody_is_the_same_person_in_every_table(tables, stored):
    """One internal number for a shopper; nobody without an order but through damage."""
    accounts = set(tables["customers"]["customer_id"])
    assert len(accounts) == pytest.approx(SMALL.customers, abs=5)
    for name, rows in tables.items():
        if name != "products":
            assert len(set(rows["customer_id"]) - accounts) <= 5
    relations = tables["relations"]
    assert (relations["customer_id"] != relations["other_customer_id"]).all()
    assert stored.facts["customers"] == SMALL.customers


def test_online_orders_are_purchases_on_the_web(tables):
    """The two systems tell the same story: an event at the time of each order."""
    lines, events = tables["order_lines"], tables["events"]
    orders = lines.loc[~lines["is_return"] & (lines["channel"] != "store")]
    orders = orders.groupby(["customer_id", "event_time"])["channel"].first().reset_index()
    bought = events.loc[events["kind"] == "purchase", ["customer_id", "event_time", "channel"]]
    both = orders.merge(bought, on=["customer_id", "event_time", "channel"], how="inner")
    assert len(both) > 0.97 * len(orders)
    assert (lines["discount_minor"] != 0).mean() == pytest.approx(0.25, abs=0.05)
    assert (lines["discount_minor"] * lines["quantity"] >= 0).all()


def test_latest_row_of_an_account_is_its_last_home(tables, raw):
    """Moved customers have a later row of another region."""
    accounts = tables["customers"].sort_values(["customer_id", "event_time"])
    moved = accounts.loc[accounts["customer_id"].duplicated(keep=False)]
    assert moved["customer_id"].nunique() > 10
    assert (moved.groupby("customer_id")["region"].nunique() == 2).all()
    people = pd.read_parquet(raw / "truth" / "people.parquet")
    assert moved["customer_id"].nunique() <= people["moved_day"].notna().sum()


def test_direct_identifiers_are_not_loaded(stored, tables):
    """Names and addresses are in the raw file for identity work, and in no table."""
    for table, headers in PURPOSELY_UNREAD.items():
        declared = {k.source[0] for k in getattr(stored.source, table).columns.values()}
        assert declared.isdisjoint(headers)
        assert headers <= set(LAYOUTS[table].fields)
    for rows in tables.values():
        assert not any("@mail.example" in str(value) for value in rows.iloc[0])


def test_every_other_column_of_the_files_is_declared(stored):
    """Nothing else is left lying."""
    people = load_source(Workspace.locate(configs=CONFIGS), "simulated_people", {})
    for table, layout in LAYOUTS.items():
        source = people if table == "identifiers" else stored.source
        declared = {k.source[0] for k in getattr(source, table).columns.values()}
        assert set(layout.fields) - declared == PURPOSELY_UNREAD.get(table, set())


def test_texts_keep_their_script(tables):
    """Chinese and German texts arrive as they were written."""
    texts = " ".join(tables["feedback"]["text"].dropna())
    assert any(ord(sign) > 0x4E00 for sign in texts)
    assert "ä" in texts


def test_tables_left_out_change_nothing_in_the_others(raw, tmp_path):
    """A small demo can do without some exports."""
    for table in ("responses", "devices", "outcomes", "feedback"):
        simulate(SMALL.model_copy(update={"tables": (table,)}), tmp_path / table)
        assert _hashes(tmp_path / table) == {f"{table}.csv.gz": _hashes(raw)[f"{table}.csv.gz"]}


def test_one_process_leaves_the_others_alone(raw, tmp_path):
    """Other parameters of visits change the events and nothing else."""
    other = SMALL.engagement.model_copy(update={"cart_share": 0.3, "visits_before_order": 2.0})
    simulate(SMALL.model_copy(update={"engagement": other}), tmp_path)
    a, b = _hashes(raw), _hashes(tmp_path)
    assert {name for name in a if a[name] != b[name]} == {"events.csv.gz"}
