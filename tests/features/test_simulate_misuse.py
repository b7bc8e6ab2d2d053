"""Fraud and return abuse: as much as configured, in the exports, and beside the truth of others."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError
from features.settings import Workspace, validated
from features.simulate import TABLES as EVERY_TABLE
from features.simulate import SimulateConfig, World, draw_world, simulate
from features.simulate.draws import days_of
from features.simulate.misuse import Misuse, as_seen, draw_misuse
from features.simulate.parts import AbuseConfig, FraudConfig, SellingConfig
from features.sources import load_source
from features.tables import build_tables
from tests.features.simulated import fits
from tests.reading import reading_here
from tests.worlds import CONFIGS

MUCH = SimulateConfig(
    customers=300, days=600, fraud=FraudConfig(share=0.08), abuse=AbuseConfig(share=0.05)
)
HONEST = MUCH.model_copy(update={"fraud": FraudConfig(share=0), "abuse": AbuseConfig(share=0)})
OWN_TRUTH = {"fraud.parquet", "abuse.parquet", "misuse_lines.parquet"}
TABLES = ("order_lines", "events", "devices", "locations", "customers")


@pytest.fixture(scope="module")
def world() -> World:
    """A world large enough for shares."""
    return draw_world(
        SimulateConfig(
            customers=6_000,
            fraud=FraudConfig(share=0.03),
            abuse=AbuseConfig(share=0.01),
            selling=SellingConfig(daytime_concentration=4),
        )
    )


@pytest.fixture(scope="module")
def misuse(world: World) -> Misuse:
    """What is done to it."""
    return draw_misuse(world)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exports of a small world with much fraud."""
    folder = tmp_path_factory.mktemp("raw")
    simulate(MUCH, folder)
    return folder


@pytest.fixture(scope="module")
def tables(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The tables built from them, with the shop's own number of each customer."""
    home = tmp_path_factory.mktemp("place")
    place = Workspace(
        store=home / "store", registry=home / "registry", keys=home / "keys", data=raw,
        configs=CONFIGS,
    )  # fmt: skip
    alone: dict[str, object] = {name: None for name in EVERY_TABLE if name not in TABLES}
    with reading_here():
        source = load_source(place, "simulated", {"simulate": None, **alone})
        stored = build_tables(place, source)
    found = {}
    for name in TABLES:
        rows = pq.read_table(stored.published.folder / f"{name}.parquet").to_pandas()
        found[name] = rows.assign(shopper=rows["customer_id"].map(stored.source_ids()))
    return found


# --- fraud ----------------------------------------------------------------------------------------


def test_shares_are_those_that_were_asked_for(world, misuse):
    """Orders of both kinds as expected, within the spread of a sum of bursts."""
    config, fraud = world.config.fraud, misuse.fraud
    wanted = len(world.orders) * config.share / (1 - config.share)
    for kind, share, mean in (
        ("takeover", config.takeover_share, config.takeover_orders),
        ("card testing", 1 - config.takeover_share, config.test_orders),
    ):
        found = fraud.loc[fraud["kind"] == kind]
        # A Poisson number of bursts of 1 + Poisson(m - 1): variance E[N] E[size^2].
        spread = np.sqrt(wanted * share / mean * (mean**2 + mean - 1))
        assert abs(len(found) - wanted * share) < 4 * spread
        sizes = found.groupby("incident").size()
        assert sizes.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / len(sizes)))
    assert ((fraud["charged_back_at"] - fraud["placed_at"]).dropna() > pd.Timedelta(days=1)).all()
    # Half a year before the end whoever would be noticed has been.
    old = fraud.loc[fraud["placed_at"] < "2025-01-01"].groupby("incident")["charged_back_at"].max()
    assert fits(old.notna().sum(), np.full(len(old), config.charged_back_share))


def test_takeovers_come_at_night_to_accounts_that_are_there_and_are_dear(world, misuse):
    """A burst on an account of somebody else, far above what customers spend."""
    taken = misuse.fraud.loc[misuse.fraud["kind"] == "takeover"]
    assert (taken["customer"] < world.config.customers).all()
    people = world.customers.iloc[taken["customer"]]
    assert (taken["placed_at"].to_numpy() > people["acquired_at"].to_numpy()).all()
    first = taken.groupby("incident")["placed_at"].min().dt.hour
    assert first.between(1, 4).all()
    mine = world.orders.loc[world.orders["customer"] >= 0, "placed_at"].dt.hour
    assert mine.between(1, 4).mean() < 0.05
    value = world.config.fraud.takeover_value * world.customers["mean_spend"].mean()
    assert taken["amount_cents"].mean() / 100 == pytest.approx(value, rel=0.1)


def test_cards_are_tested_within_minutes_for_next_to_nothing(world, misuse):
    """Each account has one burst and nothing else."""
    tests = misuse.fraud.loc[misuse.fraud["kind"] == "card testing"]
    assert (tests["customer"] >= world.config.customers).all()
    assert not tests.drop_duplicates(["customer", "incident"])["customer"].duplicated().any()
    bursts = tests.groupby("incident")["placed_at"].agg(["min", "max"])
    assert (bursts["max"] - bursts["min"]).max() < pd.Timedelta(minutes=30)
    cheap = np.quantile(world.products["list_cents"], 0.1)
    assert tests["amount_cents"].max() <= cheap


def test_each_fraudulent_order_is_in_the_exports(raw, tables):
    """Under its number and time, by its account, whether it was found out or not."""
    fraud = pd.read_parquet(raw / "truth" / "fraud.parquet")
    lines = tables["order_lines"]
    sold = lines.loc[~lines["is_return"]].drop_duplicates("order_id").set_index("order_id")
    # What is recorded after the end is not there; a day of delays covers all but the latest.
    early = fraud.loc[fraud["placed_at"] < "2025-06-25"]
    assert len(early) > 50
    hidden = set(early["order_no"]) - set(sold.index)
    assert len(hidden) <= 0.02 * len(early), "but for a damaged single line"
    seen = early.loc[~early["order_no"].isin(hidden)].set_index("order_no")
    found = sold.loc[seen.index]
    assert (found["event_time"] == seen["placed_at"]).all()
    assert (found["shopper"] == seen["shopper"]).all()
    lines = pd.read_parquet(raw / "truth" / "misuse_lines.parquet")
    assert set(lines["order"]) >= set(len(pd.read_parquet(raw / "truth" / "orders.parquet"))
                                      + np.arange(len(fraud)))  # fmt: skip


def test_fraud_leaves_traces_in_the_other_exports(raw, tables):
    """A purchase event, a device that is new, a place that is new, an account."""
    fraud = pd.read_parquet(raw / "truth" / "fraud.parquet")
    fraud = fraud.loc[fraud["placed_at"] < "2025-06-25"]
    bursts = fraud.drop_duplicates("incident")

    def share(rows: pd.DataFrame, of: pd.DataFrame) -> float:
        known = set(zip(rows["shopper"], rows["event_time"], strict=True))
        return float(
            np.mean([k in known for k in zip(of["shopper"], of["placed_at"], strict=True)])
        )

    events = tables["events"]
    assert share(events.loc[events["kind"] == "purchase"], fraud) > 0.97
    assert share(tables["devices"], bursts) > 0.95
    taken = bursts.loc[bursts["kind"] == "takeover"]
    assert share(tables["locations"], taken) > 0.95
    opened = set(bursts.loc[bursts["kind"] == "card testing", "shopper"])
    assert opened <= set(tables["customers"]["shopper"])
    assert not opened & set(pd.read_parquet(raw / "truth" / "customers.parquet")["shopper"])


# --- abuse ----------------------------------------------------------------------------------------


def test_abusers_send_back_far_more_than_others(world, misuse):
    """From the day on they return more by an interval; before it, as much as everybody."""
    abuse, config = misuse.abuse, world.config
    assert fits(len(abuse), np.full(config.customers, config.abuse.share))
    assert fits((abuse["kind"] == "wardrobing").sum(),
                np.full(len(abuse), config.abuse.wardrobing_share))  # fmt: skip
    orders = as_seen(world, misuse).orders.iloc[: len(world.orders)]
    since = abuse.set_index("customer")["since"].reindex(orders["customer"]).to_numpy()
    back = (orders["returned"] != "none").to_numpy()
    during = orders["placed_at"].to_numpy() >= since
    before = orders["placed_at"].to_numpy() < since
    rates = {}
    for name, rows in (("during", during), ("before", before), ("others", pd.isna(since))):
        p, n = back[rows].mean(), rows.sum()
        rates[name] = (p - 1.96 * np.sqrt(p * (1 - p) / n), p + 1.96 * np.sqrt(p * (1 - p) / n))
    assert rates["during"][0] > rates["others"][1] + 0.4
    assert rates["before"][0] < rates["others"][1]


def test_what_is_sent_back_was_bought_and_comes_within_the_window(world, misuse):
    """Whole lines, no more than sold; the dear ones late, or all but the dearest at once."""
    n, lines = len(world.orders), misuse.lines
    back = lines.loc[lines["return_no"].notna() & (lines["order"] < n)]
    orders = world.orders.iloc[back["order"]]
    after = (back["happened_at"].to_numpy() - orders["placed_at"].to_numpy()) / np.timedelta64(
        1, "D"
    )
    assert after.min() >= 1 - 1e-4
    assert after.max() <= world.config.abuse.window_days + 1e-4
    kind = misuse.abuse.set_index("customer")["kind"].reindex(orders["customer"]).to_numpy()
    assert after[kind == "wardrobing"].mean() > 20 > 8 > after[kind == "bracketing"].mean()
    seen = as_seen(world, misuse)
    left = seen.lines.groupby(["order", "product", "unit_cents"])["quantity"].sum()
    assert left.min() >= 0
    value = seen.lines.assign(value=seen.lines["quantity"] * seen.lines["unit_cents"])
    kept = value.groupby("order")["value"].sum().iloc[:n]
    assert ((kept == 0) == (seen.orders["returned"].iloc[:n] == "whole")).all()
    worn = (
        kept.loc[back.loc[kind == "wardrobing", "order"]]
        / orders["amount_cents"].to_numpy()[kind == "wardrobing"]
    )
    assert worn.mean() < 0.5, "most of the value goes back"
    documents = seen.lines.dropna(subset="return_no")[["return_no", "order"]].drop_duplicates()
    assert documents["return_no"].is_unique, "a return is of one order"


# --- beside the others ----------------------------------------------------------------------------


def test_misuse_leaves_all_other_truth_alone(raw, tmp_path):
    """What customers are and do is the same to the last byte; exports it has no part in, too."""
    simulate(HONEST, tmp_path)
    files = {p.name: p for p in (tmp_path / "truth").glob("*.parquet")}
    assert set(files) == {p.name for p in (raw / "truth").glob("*.parquet")}
    same = {n for n, p in files.items() if p.read_bytes() == (raw / "truth" / n).read_bytes()}
    assert set(files) - same == OWN_TRUTH
    changed = {p.name.removesuffix(".csv.gz") for p in tmp_path.glob("*.csv.gz")
               if p.read_bytes() != (raw / p.name).read_bytes()}  # fmt: skip
    assert changed == set(TABLES)
    for name in OWN_TRUTH:
        assert pq.read_table(tmp_path / "truth" / name).num_rows == 0
    facts = json.loads((raw / "truth" / "facts.json").read_text())
    assert facts["config"]["fraud"]["share"] == 0.08


def test_nothing_misused_is_nothing_seen():
    """With both shares at 0 the shop sees the world as it is."""
    world = draw_world(HONEST)
    seen = as_seen(world, draw_misuse(world))
    pd.testing.assert_frame_equal(seen.orders, world.orders)
    pd.testing.assert_frame_equal(seen.lines, world.lines)
    assert days_of(HONEST, seen.orders["placed_at"].to_numpy()).max() < HONEST.days


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fraud": {"share": 0.5}}, "fraud.share"),
        ({"fraud": {"test_orders": 0}}, "fraud.test_orders"),
        ({"abuse": {"share": -0.1}}, "abuse.share"),
        ({"abuse": {"window_days": 1}}, "abuse.window_days"),
        ({"selling": {"daytime_concentration": 0}}, "selling.daytime_concentration"),
        ({"leaving": {"price": 0}}, "leaving.price"),
    ],
)
def test_shares_that_cannot_be_are_refused(given, said):
    """The error names the setting."""
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        validated(SimulateConfig, given, "test")
