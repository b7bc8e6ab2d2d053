"""The simulated purchases: their truth is what was asked for, their export holds what it says.

What customers do besides buying is tested in ``test_simulate_processes.py``, the other exports in
``test_simulate_tables.py``.
"""

import gzip
import hashlib
import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError, DataError
from features.settings import Workspace, validated
from features.simulate import (
    TABLES,
    DirtConfig,
    SimulateConfig,
    World,
    draw_world,
    read_world,
    season,
    simulate,
    true_churn_probability,
)
from features.simulate.misuse import draw_misuse
from features.simulate.parts import AbuseConfig, FraudConfig
from features.sources import find_files, load_source
from features.tables import Stored, build_tables, raw_folder
from tests.worlds import CONFIGS

SMALL = SimulateConfig(
    customers=600,
    tables=("order_lines",),
    fraud=FraudConfig(share=0.005),
    abuse=AbuseConfig(share=0.01),
)
ALONE: dict[str, object] = {table: None for table in TABLES if table != "order_lines"}
"""Declares nothing but order lines."""
CLEAN = DirtConfig(
    damaged_share=0,
    repeated_days=0,
    late_share=0,
    gift_share=0,
    shipping_share=0,
    lower_case_share=0,
)
PURCHASES = "c23bc56eb27fed2132f9223be2dd3f1c9bd102d8cdb187c8fd7b91c97914666e"
Config = TypeVar("Config", SimulateConfig, DirtConfig)
REASONS = {
    "extra_field": ("quarantined", "12 fields, expected 11"),
    "no_sku": ("quarantined", "product_id: empty"),
    "qty_text": ("quarantined", "quantity: no integer"),
    "price_comma": ("quarantined", "unit_price: no decimal"),
    "bad_date": ("quarantined", "event_time: no time as %d.%m.%Y %H:%M:%S"),
    "unescaped_quote": ("quarantined", "does not split: ';' expected after '\"'"),
    "unclosed_quote": ("quarantined", "does not split: ';' expected after '\"'"),
    "negative_price": ("quarantined", "negative_price"),
    "lost_sign": ("quarantined", "positive_return"),
    "delivered_twice": ("duplicate", "repeats"),
    "guest": ("filtered", "unknown_customer"),
    "gift": ("filtered", "gift"),
    "shipping": ("filtered", "not_a_product"),
    "blank_line": ("filtered", "blank line"),
}
"""Injected defect -> where the account of the build has it."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw export of a small world."""
    folder = tmp_path_factory.mktemp("raw")
    simulate(SMALL, folder)
    return folder


@pytest.fixture(scope="module")
def facts(raw: Path) -> dict:
    """What was put into it."""
    return _facts(raw)


@pytest.fixture(scope="module")
def stored(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """The tables built from it."""
    return _build(raw, tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def world(raw: Path) -> World:
    """Its truth, read back."""
    return read_world(raw)


@pytest.fixture(scope="module")
def large() -> World:
    """A world large enough for statistics; drawn, not written."""
    return draw_world(SimulateConfig(customers=6_000))


def _facts(folder: Path) -> dict:
    return json.loads((folder / "truth" / "facts.json").read_text())["tables"]["order_lines"]


def _with(config: Config, **changes: object) -> Config:
    return config.model_copy(update=changes)


def _text(folder: Path) -> list[str]:
    """Lines of the raw file: header first, the blank line last."""
    return gzip.decompress((folder / "order_lines.csv.gz").read_bytes()).decode().splitlines()


def _build(raw: Path, place: Path, **overrides: object) -> Stored:
    at = Workspace(
        store=place / "store",
        registry=place / "registry",
        keys=place / "keys",
        data=raw,
        configs=CONFIGS,
    )
    return build_tables(at, load_source(at, "simulated", {"simulate": None, **ALONE, **overrides}))


def _hashes(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _account(facts: dict) -> dict[str, dict[str, int]]:
    account = {
        "accepted": {"all rules passed": facts["sound"]},
        "quarantined": {},
        "duplicate": {},
        "filtered": {},
    }
    found = {defect: n for defect, n in facts["defects"].items() if n}
    for defect, n in found.items():
        kind, reason = REASONS[defect]
        account[kind][reason] = account[kind].get(reason, 0) + n
    return account


def _own_orders(world: World) -> pd.DataFrame:
    return world.orders.loc[world.orders["customer"] >= 0]


def _silent(world: World, cutoff: datetime, days: int) -> set[str]:
    """Customers without an order in ``[cutoff, cutoff + days)``."""
    orders = _own_orders(world)
    inside = (orders["placed_at"] >= cutoff) & (orders["placed_at"] < cutoff + timedelta(days=days))
    return set(world.customers["shopper"]) - set(orders.loc[inside, "shopper"])


def _auc(outcome: np.ndarray, score: np.ndarray) -> float:
    ranks = pd.Series(score).rank().to_numpy()
    n = outcome.sum()
    return float((ranks[outcome].sum() - n * (n + 1) / 2) / (n * (len(outcome) - n)))


def _expected_repeats(world: World, edges: np.ndarray) -> np.ndarray:
    """Expected repeat orders between ``edges`` (days), given rates, acquisition and dropout."""
    config, people = world.config, world.customers
    reached = np.concatenate([[0.0], season(config, config.days).cumsum()])
    start = (people["acquired_at"] - pd.Timestamp(config.first_day)) / pd.Timedelta(days=1)
    stop = start + people["lifetime_days"]
    inside = np.clip(edges, start.to_numpy()[:, None], stop.to_numpy()[:, None])
    exposure = np.diff(np.interp(inside, np.arange(config.days + 1), reached), axis=1)
    return (people["purchase_rate_per_day"].to_numpy()[:, None] * exposure).sum(axis=0)


def _repeats(world: World, edges: np.ndarray) -> np.ndarray:
    orders = _own_orders(world)
    repeats = orders.loc[orders["customer"].duplicated()]
    days = (repeats["placed_at"] - pd.Timestamp(world.config.first_day)) / pd.Timedelta(days=1)
    return np.histogram(days, edges)[0]


def _frames(world: World) -> tuple[pd.DataFrame, ...]:
    return world.customers, world.orders, world.lines, world.products


# --- export ------------------------------------------------------------------------------------


def test_account_of_the_build_equals_what_was_injected(stored, facts):
    """Every injected defect is found, under its reason, and nothing else is."""
    assert set(facts["defects"]) == set(REASONS), "every kind of defect occurs"
    assert min(facts["defects"].values()) >= 1
    assert stored.facts["account"] == _account(facts)
    assert stored.facts["seen"] == facts["records"]
    totals = stored.facts["totals"]
    assert 0 < totals["quarantined"] / facts["records"] < 0.01


def test_account_holds_where_damaged_records_come_twice(tmp_path):
    """A damaged record is damaged on each delivery; one that can be read is a repetition."""
    config = SimulateConfig(
        customers=300,
        days=40,
        last_day=date(2025, 3, 14),
        returned_share=0.3,
        dirt=DirtConfig(damaged_share=0.1),
        tables=("order_lines",),
    )
    simulate(_with(config, dirt=DirtConfig(damaged_share=0.1, repeated_days=0)), tmp_path / "once")
    simulate(config, tmp_path / "twice")
    once, twice = _facts(tmp_path / "once"), _facts(tmp_path / "twice")
    assert once["defects"]["delivered_twice"] == 0
    assert twice["defects"]["delivered_twice"] > 50
    assert all(twice["defects"][kind] >= n for kind, n in once["defects"].items())
    assert twice["defects"]["unclosed_quote"] > once["defects"]["unclosed_quote"]
    stored = _build(tmp_path / "twice", tmp_path, max_quarantined_share=0.2)
    assert stored.facts["account"] == _account(twice)
    assert stored.facts["returns_netted"] == stored.facts["returns"], "no returned line is damaged"


def test_export_ends_with_its_last_day(tmp_path):
    """What is recorded after the end is not in the file, and is counted."""
    dirt = _with(CLEAN, late_share=1.0)
    simulate(SimulateConfig(customers=100, days=60, dirt=dirt, tables=("order_lines",)), tmp_path)
    facts, text = _facts(tmp_path), _text(tmp_path)
    recorded = [datetime.strptime(line.split(";")[3], "%d.%m.%Y %H:%M:%S") for line in text[1:-1]]
    assert max(recorded).date() == SMALL.last_day
    assert recorded == sorted(recorded)
    assert facts["recorded_too_late"] > 5
    assert text[-1] == ""
    assert facts["late_records"] == len(recorded)


def test_accepted_lines_are_those_of_the_truth(stored, world, facts):
    """Goods, quantities and amounts arrive as they were, but for damaged and late records."""
    lines = pq.read_table(stored.published.folder / "order_lines.parquet").to_pandas()
    lines["shopper"] = lines["customer_id"].map(stored.source_ids())
    orders, products = world.orders, world.products
    misuse = draw_misuse(world)
    assert len(misuse.lines) > 0
    orders = pd.concat([orders, misuse.fraud], ignore_index=True)
    truth = pd.concat([world.lines, misuse.lines], ignore_index=True)
    truth = truth.join(products["sku"], on="product").join(
        orders[["shopper", "order_no"]], on="order"
    )
    truth["order_id"] = truth["return_no"].fillna(truth["order_no"])
    truth["amount_minor"] = truth["quantity"] * truth["unit_cents"]
    truth = truth.loc[truth["shopper"].notna()].rename(
        columns={"sku": "product_id", "happened_at": "event_time"}
    )
    keys = ["shopper", "order_id", "product_id", "quantity", "amount_minor", "event_time"]
    found = lines.groupby(keys).size()
    expected = truth.groupby(keys).size()
    lost = expected.sub(found, fill_value=0)
    assert lost.min() >= 0, "nothing is accepted that did not happen"
    damaged = pq.read_table(stored.published.folder / "quarantine.parquet")["raw"].unique()
    assert len(damaged) <= lost.sum() <= len(damaged) + facts["recorded_too_late"]


def test_every_purchase_recorded_in_time_can_be_seen(stored, world, facts):
    """Damage hides no order: only those recorded after the export are missing."""
    lines = pq.read_table(stored.published.folder / "order_lines.parquet").to_pandas()
    hidden = set(_own_orders(world)["order_no"]) - set(lines.loc[~lines["is_return"], "order_id"])
    placed = world.orders.set_index("order_no").loc[sorted(hidden), "placed_at"]
    assert (placed >= pd.Timestamp(SMALL.last_day) - timedelta(days=5)).all()
    assert len(hidden) <= facts["recorded_too_late"]


def test_clocks(stored, facts):
    """Sales are known minutes after they happened, a share of them one to five days."""
    lines = pq.read_table(stored.published.folder / "order_lines.parquet").to_pandas()
    sales = lines.loc[~lines["is_return"]]
    delay = sales["known_time"] - sales["event_time"]
    late = delay >= timedelta(days=1)
    assert (delay >= timedelta(0)).all()
    assert delay.max() < timedelta(days=5, minutes=1)
    assert delay[~late].max() < timedelta(hours=2)
    assert late.mean() == pytest.approx(SMALL.dirt.late_share, abs=0.01)
    assert stored.facts["last_known"] < "2025-07-01"


def test_returns_find_their_sales(stored):
    """A return is of goods that were bought and known before."""
    assert stored.facts["returns"] > 100
    assert stored.facts["returns_netted"] == stored.facts["returns"]


def test_lower_case_codes_are_repaired(stored, raw, facts):
    """Products sold are those of the catalogue, whatever the case of their codes."""
    lines = pq.read_table(stored.published.folder / "order_lines.parquet").to_pandas()
    assert set(lines["product_id"]) <= set(read_world(raw).products["sku"])
    codes = [line.split(";")[4] for line in _text(raw)[1:-1]]
    assert sum(code.islower() for code in codes) == facts["lower_case_records"] > 0


def test_too_much_damage_stops_the_build(tmp_path):
    """Beyond one per cent nothing is published."""
    config = SimulateConfig(customers=100, days=200, dirt=DirtConfig(damaged_share=0.05))
    simulate(config, tmp_path / "raw")
    with pytest.raises(DataError, match="would be quarantined"):
        _build(tmp_path / "raw", tmp_path)


def test_clean_export_has_no_defect(tmp_path):
    """With all shares at 0 every record is sound."""
    config = SimulateConfig(customers=50, days=100, guest_share=0, dirt=CLEAN)
    tables = simulate(config, tmp_path)["tables"]
    assert list(tables) == list(TABLES)
    for facts in tables.values():
        assert {defect: n for defect, n in facts["defects"].items() if n} == {"blank_line": 1}
        assert facts["sound"] == facts["records"] - 1
        assert facts["late_records"] == 0
    assert tables["order_lines"]["lower_case_records"] == 0


def test_source_writes_its_own_export(place):
    """The declared source needs no raw files: it simulates them."""
    config = SimulateConfig(customers=50, days=100, seed=3, tables=("order_lines",))
    asked = {"customers": 50, "days": 100, "seed": 3, "tables": ["order_lines"]}
    source = load_source(place, "simulated", {"simulate": asked, **ALONE})
    stored, folder = build_tables(place, source), raw_folder(place, source)
    assert read_world(folder).config == config
    assert stored.facts["account"] == _account(_facts(folder))


@pytest.mark.parametrize("name", ["simulate", "simulate.customers"])
def test_files_are_not_replaced_by_a_simulation(name):
    """A setting meant for the simulated retailer never stands in for somebody's own data."""
    asked = {"customers": 50} if name == "simulate" else 50
    with pytest.raises(ConfigError, match="'online_retail_II' is read from files.*source={}"):
        load_source(Workspace.locate(configs=CONFIGS), "online_retail_II", {name: asked})


def test_truth_is_no_raw_file(raw, stored):
    """The truth beside the export is not read as data."""
    assert find_files(stored.source, raw) == {"order_lines": [raw / "order_lines.csv.gz"]}


def test_declaration_and_generator_name_the_same_period(stored):
    """The period delivered twice is declared as it is made."""
    repeats, dirt = stored.source.order_lines.repeats, DirtConfig()
    assert repeats.first_day == dirt.repeated_first_day
    assert repeats.end_day == dirt.repeated_first_day + timedelta(days=dirt.repeated_days)


# --- the same again -------------------------------------------------------------------------------


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    """Equal configs give equal files of every table, another seed gives others."""
    config = SimulateConfig(
        customers=60, days=120, fraud=FraudConfig(share=0.1), abuse=AbuseConfig(share=0.5)
    )
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        simulate(_with(config, seed=seed), tmp_path / name)
    a, b, c = (_hashes(tmp_path / name) for name in "abc")
    assert a == b
    assert all(a[name] != c[name] for name in a)
    assert {f"{table}.csv.gz" for table in TABLES} < set(a)


def test_columns_that_results_depend_on_are_those_they_were(tmp_path):
    """Processes that were added later have streams of their own: the purchases are the same.

    The digest is of the first nine columns, as written before there was any other table.
    """
    simulate(SimulateConfig(customers=80, days=200, tables=("order_lines",)), tmp_path)
    text = gzip.decompress((tmp_path / "order_lines.csv.gz").read_bytes()).decode()
    columns = "\n".join(";".join(line.split(";")[:9]) for line in text.split("\n"))
    assert hashlib.sha256(columns.encode()).hexdigest() == PURCHASES


def test_archive_carries_no_time_and_no_name(raw):
    """The archive's header depends on nothing but the config."""
    header = (raw / "order_lines.csv.gz").read_bytes()[:10]
    assert header[3] == 0, "no flags: no name, no comment"
    assert header[4:8] == b"\0\0\0\0"


def test_dirt_leaves_the_truth_alone():
    """What goes wrong in the export changes nothing that happened."""
    config = SimulateConfig(customers=80, days=150)
    dirty, clean = draw_world(config), draw_world(_with(config, dirt=CLEAN))
    for name in ("customers", "orders", "lines", "products"):
        pd.testing.assert_frame_equal(getattr(dirty, name), getattr(clean, name))


def test_catalogue_leaves_the_purchases_alone():
    """Each concern has a random stream of its own."""
    config = SimulateConfig(customers=80, days=150)
    other = draw_world(_with(config, products_per_category=5, lines_per_order=2.0))
    assert other.orders["placed_at"].equals(draw_world(config).orders["placed_at"])


def test_truth_reads_back(world):
    """Reading gives the world that was drawn."""
    drawn = draw_world(SMALL)
    assert world.config == SMALL
    for name in ("customers", "orders", "lines", "products"):
        pd.testing.assert_frame_equal(getattr(world, name), getattr(drawn, name))


def test_folder_without_truth_is_refused(tmp_path):
    """The error names the missing file."""
    with pytest.raises(DataError, match=r"facts\.json"):
        read_world(tmp_path)


def test_unknown_key_is_refused():
    """The error names the key."""
    with pytest.raises(ConfigError, match="costumers"):
        validated(SimulateConfig, {"costumers": 3}, "test")


@pytest.mark.parametrize("seed", [1, 3])
def test_smallest_world(tmp_path, seed):
    """One customer in thirty days is a world, even if nobody visits it."""
    facts = simulate(SimulateConfig(customers=1, days=30, seed=seed), tmp_path)
    assert facts["tables"]["order_lines"]["sound"] >= 1
    assert set(facts["tables"]) == set(TABLES)


# --- processes ------------------------------------------------------------------------------------


def test_rates_and_lifetimes_have_the_configured_distributions(large):
    """Gamma rates and Pareto lifetimes."""
    config, people = large.config, large.customers
    rate, dropout = people["purchase_rate_per_day"], people["dropout_rate_per_day"]
    r, alpha = config.purchase_r, config.purchase_alpha_days
    s, beta = config.dropout_s, config.dropout_beta_days
    assert rate.mean() == pytest.approx(r / alpha, rel=0.05)
    assert rate.var() == pytest.approx(r / alpha**2, rel=0.12)
    assert dropout.mean() == pytest.approx(s / beta, rel=0.05)
    # Pareto: P(lifetime > x) = (beta / (beta + x))^s.
    for days in (30, 180, 720):
        survival = (people["lifetime_days"] > days).mean()
        assert survival == pytest.approx((beta / (beta + days)) ** s, abs=0.02)
    assert (people["dropout_at"].isna() == people["alive_at_end"]).all()


def test_number_of_repeat_orders_is_poisson_with_the_true_rates(large):
    """Repeat orders add up to the rates over the lifetimes."""
    edges = np.array([0.0, large.config.days])
    expected = _expected_repeats(large, edges)[0]
    assert abs(_repeats(large, edges)[0] - expected) < 4 * np.sqrt(expected)
    assert (large.customers["orders"] >= 1).all()
    assert large.customers["orders"].sum() == len(_own_orders(large))


def test_orders_follow_the_season(large):
    """Monthly orders fit the season, and do not fit a flat one."""
    edges = np.arange(0.0, large.config.days + 1, 30.0)
    expected, found = _expected_repeats(large, edges), _repeats(large, edges)
    assert ((found - expected) ** 2 / expected).sum() < 2 * len(found)
    flat = _with(large.config, season_amplitude=0.0, christmas_peak=0.0)
    level = _expected_repeats(World(flat, *_frames(large)), edges)
    assert ((found - level) ** 2 / level).sum() > 20 * len(found)


def test_nobody_orders_before_acquisition_or_after_dropout(large):
    """The first order is the acquisition, none follows the dropout."""
    orders = _own_orders(large).join(large.customers[["acquired_at", "dropout_at"]], on="customer")
    assert (orders["placed_at"] >= orders["acquired_at"]).all()
    assert (orders.groupby("customer")["placed_at"].min() == large.customers["acquired_at"]).all()
    assert not (orders["placed_at"] > orders["dropout_at"]).any()
    assert orders["placed_at"].is_monotonic_increasing
    assert large.orders["placed_at"].max() < pd.Timestamp(large.config.last_day) + timedelta(days=1)


def test_season_has_mean_one_and_peaks_before_christmas():
    """The season moves orders within the year and adds none."""
    multiplier = season(SMALL, 1_461)
    days = [SMALL.first_day + timedelta(days=k) for k in range(1_461)]
    assert multiplier.mean() == pytest.approx(1.0, abs=1e-3)
    assert multiplier.min() > 0.5
    assert days[int(multiplier[:365].argmax())].month == 12
    assert multiplier.max() / multiplier.min() > 2
    flat = _with(SMALL, season_amplitude=0.0, christmas_peak=0.0)
    np.testing.assert_allclose(season(flat, 100), 1.0)


def test_order_values_are_gamma_gamma(large):
    """Order values have the configured mean and spread."""
    config, people, orders = large.config, large.customers, _own_orders(large)
    mean = config.spend_p * config.spend_gamma / (config.spend_q - 1)
    assert people["mean_spend"].mean() == pytest.approx(mean, rel=0.05)
    relative = orders["amount_cents"] / (100 * people["mean_spend"].to_numpy()[orders["customer"]])
    assert relative.mean() == pytest.approx(1.0, abs=0.01)
    assert relative.var() == pytest.approx(1 / config.spend_p, rel=0.05)


def test_lines_add_up_to_their_order(large):
    """An order's amount is the sum of its lines."""
    sold = large.lines.loc[large.lines["return_no"].isna()]
    value = (sold["quantity"] * sold["unit_cents"]).groupby(sold["order"]).sum()
    assert (value.to_numpy() == large.orders["amount_cents"].to_numpy()).all()
    assert sold["quantity"].min() >= 1
    assert sold["unit_cents"].min() >= 1
    assert len(sold) / len(large.orders) == pytest.approx(large.config.lines_per_order, rel=0.02)


def test_products_follow_taste_and_popularity(large):
    """Categories by each customer's taste, products by Zipf's law."""
    config, people = large.config, large.customers
    sold = large.lines.loc[large.lines["return_no"].isna()]
    sold = sold.assign(customer=large.orders["customer"].to_numpy()[sold["order"]])
    sold = sold.loc[sold["customer"] >= 0].join(large.products, on="product")
    taste = people.filter(like="taste_")
    np.testing.assert_allclose(taste.sum(axis=1), 1.0)
    lines = np.bincount(sold["customer"], minlength=config.customers)
    for name in taste:
        expected, spread = (
            (lines * taste[name]).sum(),
            (lines * taste[name] * (1 - taste[name])).sum(),
        )
        found = (sold["category"] == name.removeprefix("taste_")).sum()
        assert abs(found - expected) < 4 * np.sqrt(spread)
    first, second = ((sold["product"] % config.products_per_category == k).sum() for k in (0, 1))
    assert first / second == pytest.approx(2**config.popularity_exponent, rel=0.05)


def test_returns_take_back_at_most_what_was_sold(large):
    """Returns come later, of the same order, in the configured share."""
    lines, orders = large.lines, large.orders
    back = lines["return_no"].notna()
    assert (lines.loc[back, "quantity"] < 0).all()
    left = lines.groupby(["order", "product", "unit_cents"])["quantity"].sum()
    assert left.min() >= 0
    rest = lines["quantity"].groupby(lines["order"]).sum().to_numpy()
    assert ((rest == 0) == (orders["returned"] == "whole")).all()
    gone = lines.loc[back, "happened_at"] - orders["placed_at"].to_numpy()[lines.loc[back, "order"]]
    assert gone.min() >= timedelta(days=1) - timedelta(seconds=1)
    extent = orders["returned"].value_counts(normalize=True)
    assert 1 - extent["none"] == pytest.approx(large.config.returned_share, abs=0.006)
    # A part of one item of one line is the whole: more are whole than are meant to be.
    assert 0 < extent["whole"] / (1 - extent["none"]) - large.config.returned_whole_share < 0.1


def test_guests_are_strangers(large):
    """Guests have no shopper number and come in the configured share."""
    guests = large.orders.loc[large.orders["customer"] < 0]
    assert guests["shopper"].isna().all()
    assert len(guests) / len(large.orders) == pytest.approx(large.config.guest_share, abs=0.004)


# --- true probabilities ---------------------------------------------------------------------------


CUTOFFS = tuple(datetime(2025, 7, 1) - timedelta(days=90 * k) for k in (1, 2, 3, 4))
"""Non-overlapping windows of 90 days; the one from 2024-10-04 holds Christmas."""


@pytest.mark.parametrize("given", ["dropout", "alive", "history"])
def test_calibrated_against_what_happens(large, given):
    """Of customers with probability p a share p stays silent."""
    for cutoff in CUTOFFS:
        p = true_churn_probability(large, cutoff, 90, given)
        silent = p.index.isin(_silent(large, cutoff, 90))
        # Those who dropped out are sure: look at those in doubt, all of them and by fifths.
        doubt = (p < 1).to_numpy()
        p, silent = p[doubt].to_numpy(), silent[doubt]
        for part in (np.arange(len(p)), *np.array_split(np.argsort(p), 5)):
            spread = np.sqrt((p[part] * (1 - p[part])).sum())
            assert abs(silent[part].sum() - p[part].sum()) < 4 * spread


def test_dropped_out_customers_never_come_back(large):
    """Who knows the dropout is sure; who sees orders only is not."""
    cutoff = CUTOFFS[0]
    gone = large.customers.loc[large.customers["dropout_at"] < cutoff, "shopper"]
    for given in ("dropout", "alive"):
        p = true_churn_probability(large, cutoff, 90, given)
        assert (p[gone] == 1).all()
        assert (p.drop(gone) < 1).all()
    history = true_churn_probability(large, cutoff, 90, "history")[gone]
    assert history.between(0, 1).all()
    assert history.mean() < 0.99, "silence is no proof"


def test_equals_the_closed_forms_without_a_season():
    """Equals the formulas of Pareto/NBD with both rates known."""
    config = SimulateConfig(customers=200, season_amplitude=0, christmas_peak=0)
    world, cutoff, h = draw_world(config), datetime(2025, 1, 1), 45
    people = world.customers.set_index("shopper")
    alive = true_churn_probability(world, cutoff, h, "alive")
    people = people.loc[alive.index]
    lam, mu = people["purchase_rate_per_day"], people["dropout_rate_per_day"]
    silent = mu / (lam + mu) + lam / (lam + mu) * np.exp(-(lam + mu) * h)
    there = people["alive_at_end"] | (people["dropout_at"] > cutoff)
    np.testing.assert_allclose(alive[there], silent[there], rtol=1e-9)

    orders = _own_orders(world)
    last = (
        orders.loc[orders["placed_at"] < cutoff].groupby("shopper")["placed_at"].max()[people.index]
    )
    gap = (cutoff - last) / timedelta(days=1)
    # Schmittlein, Morrison, Colombo (1987): P(alive) with both rates known.
    weight = 1 / (1 + mu / (lam + mu) * np.expm1((lam + mu) * gap))
    history = true_churn_probability(world, cutoff, h, "history")
    np.testing.assert_allclose(history, 1 - weight + weight * silent, rtol=1e-7)


def test_limits(world):
    """No time, no order; more time, more orders; nobody is asked before the first day."""
    cutoff = datetime(2025, 1, 1)
    for given in ("dropout", "alive", "history"):
        assert (true_churn_probability(world, cutoff, 0, given) == 1).all()
        short, long = (true_churn_probability(world, cutoff, h, given) for h in (30, 90))
        assert (long <= short + 1e-12).all()
        assert long.mean() < short.mean() - 0.01
    none = true_churn_probability(world, world.config.first_day, 90)
    assert none.empty
    assert true_churn_probability(world, date(2025, 1, 1), 90).equals(
        true_churn_probability(world, cutoff, 90)
    )


def test_kept_share_thins_the_orders(large):
    """Orders sent back entirely do not count: calibrated with the share of those that do."""
    cutoff, config = datetime(2024, 10, 1), large.config
    kept = large.orders.loc[large.orders["returned"] != "whole"]
    thinned = World(config, large.customers, kept, large.lines, large.products)
    p = true_churn_probability(
        large, cutoff, 90, kept_share=1 - config.returned_share * config.returned_whole_share
    )
    silent = p.index.isin(_silent(thinned, cutoff, 90)).sum()
    spread = np.sqrt((p * (1 - p)).sum())
    assert abs(silent - p.sum()) < 3 * spread
    assert p.sum() > true_churn_probability(large, cutoff, 90).sum()


def test_default_world_is_learnable_and_not_trivial():
    """Churn within 90 days of those active in 365: base rates and the best possible AUC."""
    world = draw_world(SimulateConfig())
    orders, end = _own_orders(world), datetime(2025, 6, 30)
    for days in (90, *range(180, 180 + 14 * 30, 30)):
        cutoff = end - timedelta(days=days)
        past = orders.loc[orders["placed_at"] < cutoff]
        asked = past.loc[past["placed_at"] >= cutoff - timedelta(days=365), "shopper"].unique()
        churned = np.isin(asked, list(_silent(world, cutoff, 90)))
        assert 0.3 < churned.mean() < 0.7
        best = true_churn_probability(world, cutoff, 90, "history")[asked].to_numpy()
        assert 0.75 < _auc(churned, best) < 0.92
