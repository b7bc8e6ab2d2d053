"""Accounts of one person become one customer when it is known; who it is does not get out."""

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from features import columns as c
from features.__main__ import app
from features.compute import compute
from features.errors import ConfigError, DataError
from features.identity import customer_ids, customer_key
from features.ingest import IDENTITY, PAIRS
from features.linkage.decisions import decide, decisions
from features.settings import Workspace
from features.simulate import SimulateConfig, simulate
from features.sources import load_source
from features.tables import Stored, build_tables
from tests.contracts.feature_sets import default
from tests.features.test_feeds import col, declared, table
from tests.worlds import CONFIGS, write_raw

pytestmark = pytest.mark.usefixtures("reader_here")
LINES = [
    ("id", "order", "sku", "n", "price", "at"),
    ("card1", "o1", "A", "1", "10.00", "2024-01-05 10:00:00"),
    ("web1", "o2", "A", "1", "5.00", "2024-01-20 10:00:00"),
    ("web1", "o3", "B", "1", "7.00", "2024-02-20 10:00:00"),
    ("web2", "o4", "B", "1", "1.00", "2024-01-06 10:00:00"),
    ("web2", "o5", "B", "1", "1.00", "2024-04-06 10:00:00"),
]
HEADER = ("id", "at", "name", "mail", "device")
KNOWN = [
    ("card1", "2024-01-05 10:00:00", "Bob Quillfeather", "", "kiosk-zq"),
    ("web1", "2024-01-20 10:00:00", "", "q.feather@zephyrmail.example", ""),
    ("card1", "2024-02-01 09:00:00", "Robert Quillfeather", "Q.Feather@zephyrmail.example", ""),
    ("web2", "2024-01-06 10:00:00", "Ada Quillfeather", "", "kiosk-zq"),
]
SECRETS = ["quillfeather", "zephyrmail", "kiosk-zq"]
LINE = {
    "order_id": col("order"), "product_id": col("sku"), "quantity": col("n"),
    "unit_price": col("price"), "event_time": col("at"), "customer_ref": col("id"),
}  # fmt: skip
WHO = {
    "customer_ref": col("id"), "event_time": col("at"), "name": col("name", type="text"),
    "mail": col("mail", type="text"), "device": col("device", type="text"),
}  # fmt: skip
IDENTITY_OF_SHOP: dict[str, Any] = {
    "columns": {"name": "full_name", "mail": "email", "device": "code"},
    "compare": [],
    "keys": {
        "mail": {"columns": ["mail"]},
        "device": {"columns": ["device"], "shared_by_at_most": 3, "unless_differs": ["name"]},
    },
}  # fmt: skip


def opened(tmp_path: Path, known: list[tuple[str, ...]], **more: Any) -> tuple[Workspace, Any]:
    """A shop whose customers are told by what ``known`` says of them."""
    place = Workspace(
        store=tmp_path / "store", registry=tmp_path / "registry", keys=tmp_path / "keys",
        data=tmp_path / "raw", configs=tmp_path / "configs",
    )  # fmt: skip
    write_raw(tmp_path / "raw" / "lines.csv", LINES[1:], LINES[0])
    write_raw(tmp_path / "raw" / "who.csv", known, HEADER)
    source = declared(tmp_path, {
        "order_lines": table(LINE, "lines.csv"),
        "identifiers": table(WHO, "who.csv", max_quarantined_share=0.9),
        "identity": {**IDENTITY_OF_SHOP, **more},
    })  # fmt: skip
    return place, source


def owner_of(stored: Stored) -> dict[str, tuple[str, str]]:
    """Source id -> the source id of its owner, and the rule."""
    own = stored.source_ids()
    links = pq.read_table(stored.published.folder / "links.parquet").to_pylist()
    return {row["source_id"]: (own[row[c.CUSTOMER]], row["rule"]) for row in links}


def orders(stored: Stored, place: Workspace, t: datetime) -> dict[str, float]:
    """Repeat orders of each customer as features see them at ``t``."""
    own = stored.source_ids()
    with stored.open() as tables:
        made = compute(tables.backend, tables.asof([t]), [default("rfm.Rfm")])
    return {own[row[c.CUSTOMER]]: row["rfm__frequency_orders"] for row in made.to_pylist()}


def test_accounts_are_one_from_when_it_was_known(tmp_path: Path) -> None:
    """The card gave its e-mail in February: features join the accounts from then on, not before."""
    place, source = opened(tmp_path, KNOWN)
    stored = build_tables(place, source)
    assert owner_of(stored) == {
        "card1": ("card1", "same source id"), "web1": ("card1", "mail"),
        "web2": ("web2", "same source id"),
    }  # fmt: skip
    assert orders(stored, place, datetime(2024, 2, 1)) == {"card1": 0, "web1": 0, "web2": 0}
    assert orders(stored, place, datetime(2024, 3, 1)) == {"card1": 2, "web2": 0}
    facts = json.loads((stored.published.folder / IDENTITY).read_text())
    assert facts["sizes"] == {"1": 1, "2": 1}
    assert facts["model"] is None


def test_a_shared_device_stops_telling(tmp_path: Path) -> None:
    """Three strangers at one device: whom it joined is apart again from when that is known."""
    known = [("card1", "2024-01-05 10:00:00", "", "", "D1"),
             ("web1", "2024-01-20 10:00:00", "", "", "D1"),
             ("web2", "2024-03-06 10:00:00", "", "", "D1")]  # fmt: skip
    keys = {"device": {"columns": ["device"], "shared_by_at_most": 2}}
    place, source = opened(tmp_path, known, keys=keys)
    stored = build_tables(place, source)
    assert {who for who, _ in owner_of(stored).values()} == {"card1", "web1", "web2"}
    assert set(orders(stored, place, datetime(2024, 2, 15))) == {"card1", "web2"}
    assert set(orders(stored, place, datetime(2024, 3, 7))) == {"card1", "web1", "web2"}


def test_increments_keep_ids_and_history(tmp_path: Path) -> None:
    """Later records add changes behind those that were there; ids of customers stay."""
    before, source = opened(tmp_path, KNOWN[:3])
    first = build_tables(before, source)
    place, source = opened(tmp_path, [*KNOWN, ("web2", "2024-05-01 10:00:00", "",
                                               "q.feather@zephyrmail.example", "")])  # fmt: skip
    then = build_tables(place, source)
    old, new = (pq.read_table(k.published.folder / "merges.parquet").to_pylist()
                for k in (first, then))  # fmt: skip
    drop = lambda rows: [{k: v for k, v in row.items() if k != c.ROW} for row in rows]  # noqa: E731
    assert drop(old)[0] in drop(new)
    assert len(new) == 2
    assert owner_of(then)["web2"] == ("card1", "mail")
    assert build_tables(place, source).published.content == then.published.content


def test_a_person_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions are kept in the registry, hold from their date on, and the last word counts."""
    place, source = opened(tmp_path, KNOWN)
    ids = customer_ids("shop", ["card1", "web1", "web2"], customer_key(place.keys))
    decide(place, "shop", ids["web1"], ids["card1"], same=False, at=datetime(2024, 3, 1))
    decide(place, "shop", ids["web2"], ids["card1"], same=True, at=datetime(2024, 3, 2))
    stored = build_tables(place, source)
    assert orders(stored, place, datetime(2024, 2, 25)) == {"card1": 2, "web2": 0}
    assert orders(stored, place, datetime(2024, 5, 1)) == {"card1": 2, "web1": 1}
    monkeypatch.setenv("PERENNIAL_KEYS_DIR", str(place.keys))
    monkeypatch.chdir(tmp_path)
    words = ["identity", "shop", "--data-dir", str(place.data), "--store", str(place.store),
             "--registry", str(place.registry)]  # fmt: skip
    run = CliRunner().invoke(app, [*words, "--same", "card1", "web1", "--as-of", "2024-03-05"])
    assert run.exit_code == 0, run.output
    assert "3 ids, 1 persons" in run.output
    assert len(decisions(place, "shop")) == 3
    with pytest.raises(DataError, match="these are one number"):
        decide(place, "shop", 1, 1, same=True, at=datetime(2024, 3, 1))


def test_nothing_of_who_it_is_gets_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, addresses and devices are in no table, report, log, error or temporary file."""
    caplog.set_level(logging.DEBUG)
    known = [*KNOWN, ("web3", "2024-01-07 10:00:00", "Ada Quillfeather", "", "kiosk-zq")]
    place, source = opened(tmp_path, known)
    build_tables(place, source)
    monkeypatch.setenv("PERENNIAL_KEYS_DIR", str(place.keys))
    monkeypatch.chdir(tmp_path)
    words = ["identity", "shop", "--data-dir", str(place.data), "--store", str(place.store),
             "--registry", str(place.registry)]  # fmt: skip
    said = "".join(
        CliRunner().invoke(app, [*words, *more]).output
        for more in ([], ["--json"], ["--weights"], ["--review", "9"], ["--pair", "card1", "web2"])
    )
    # A model that cannot be fitted, and identifiers that no record gives.
    never = {"compare": ["name", "mail"], "block": [["device"]]}
    place, source = opened(tmp_path, known[:2], **never)
    with pytest.raises(DataError, match="no two records agree on device") as failed:
        build_tables(place, source)
    told = (said + caplog.text + str(failed.value)).lower()
    assert not [secret for secret in SECRETS if secret in told]
    for path in (p for top in (place.store, place.registry) for p in top.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".parquet":
                data += repr(pq.read_table(path).to_pylist()).encode()
            assert not [k for k in SECRETS if k.encode() in data.lower()], path
    assert not list(tmp_path.rglob("identifiers.parquet"))


def test_identity_needs_its_table(tmp_path: Path) -> None:
    """Columns that are not brought, or merges twice, are refused when the YAML is read."""
    with pytest.raises(ConfigError, match="identifiers has no column 'shoe'"):
        opened(tmp_path, KNOWN, columns={**IDENTITY_OF_SHOP["columns"], "shoe": "code"})
    with pytest.raises(ConfigError, match="give both the table 'identifiers' and identity"):
        declared(tmp_path, {"order_lines": table(LINE, "lines.csv"), "identity": IDENTITY_OF_SHOP})


# --- the model on known truth ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    """A place with the channel records of a small simulated retailer."""
    home = tmp_path_factory.mktemp("people")
    config = SimulateConfig(customers=300, tables=("identifiers",))
    simulate(config, home / "raw")
    place = Workspace(store=home / "store", registry=home / "registry", keys=home / "keys",
                      data=home / "raw", configs=CONFIGS)  # fmt: skip
    return place, home


def test_most_of_the_simulated_are_found(people: tuple[Workspace, Path]) -> None:
    """Of pairs held to be one person nearly all are, and most of those who are one are found."""
    place, home = people
    source = load_source(place, "simulated_people", {"simulate": None})
    stored = build_tables(place, source)
    truth = pq.read_table(home / "raw" / "truth" / "identifiers.parquet").to_pylist()
    person = {row["record"]: row["customer"] for row in truth}
    links = pq.read_table(stored.published.folder / "links.parquet").to_pylist()
    rows = [(person[k["source_id"]], k[c.CUSTOMER]) for k in links]
    pairs = [(a[0] == b[0], a[1] == b[1]) for n, a in enumerate(rows) for b in rows[:n]]
    both = sum(same and found for same, found in pairs)
    assert both / sum(found for _, found in pairs) > 0.97
    assert both / sum(same for same, _ in pairs) > 0.55
    waiting = pq.read_table(stored.published.folder / PAIRS)
    parts = [waiting[k].to_numpy() for k in waiting.column_names if k.startswith("mw_")]
    prior = waiting["weight"].to_numpy() - sum(parts)
    assert waiting["weight"].null_count or prior.max() - prior.min() < 1e-6

    # Fixed weights give the links that they were fitted with, whatever the threads.
    fitted = json.loads((stored.published.folder / IDENTITY).read_text())["model"]
    (home / "configs" / "data").mkdir(parents=True)
    yaml = (CONFIGS / "data" / "simulated_people.yaml").read_text()
    fixed = place.model_copy(update={"configs": home / "configs", "store": home / "other"})
    (home / "configs" / "data" / "simulated_people.yaml").write_text(yaml)
    (home / "configs" / "data" / "w.json").write_text(json.dumps(fitted))
    changed = {"simulate": None, "identity.weights": "w.json"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_THREADS", "2")
        again = build_tables(fixed, load_source(fixed, "simulated_people", changed))
    assert pq.read_table(again.published.folder / "links.parquet").to_pylist() == links
