"""What is true of customers beyond their orders: hours, stages, reasons for leaving."""

import numpy as np
import pandas as pd
import pytest

from features.simulate import World, draw_world
from features.simulate.draws import days_of
from features.simulate.engagement import draw_engagement
from features.simulate.leaving import REASONS, draw_leaving
from features.simulate.misuse import draw_misuse
from features.simulate.people import People
from features.simulate.selling import DAYTIMES
from features.simulate.stages import GONE, INTEREST, STAGES, stage_paths, stages_at
from tests.features.simulated import CONFIG, drawn_people, drawn_world, fits


@pytest.fixture(scope="module")
def world() -> World:
    """Customers and orders."""
    return drawn_world()


@pytest.fixture(scope="module")
def people() -> People:
    """Their accounts."""
    return drawn_people()


@pytest.fixture(scope="module")
def paths(world: World, people: People) -> pd.DataFrame:
    """Their stages, with the visits."""
    visits = draw_engagement(world, people, draw_misuse(world)).visits
    return stage_paths(world, people, visits)


# --- hours ----------------------------------------------------------------------------------------


def test_orders_come_at_the_hours_that_customers_like(world):
    """Shares of the parts of the day: as configured on average, and each customer's own."""
    own = world.orders.loc[world.orders["customer"] >= 0]
    part = own["placed_at"].dt.hour.to_numpy() // 6
    shares = np.array([getattr(CONFIG.selling, name) for name in DAYTIMES])
    first = ~own["customer"].duplicated().to_numpy()
    day = own["placed_at"].dt.normalize().to_numpy()
    lived = world.customers[["acquired_at", "dropout_at"]].apply(lambda k: k.dt.normalize())
    edge = (lived.to_numpy()[own["customer"]] == day[:, None]).any(axis=1)
    for k, share in enumerate(shares / shares.sum()):
        mine = world.customers[f"share_{DAYTIMES[k]}"].to_numpy()
        assert mine.mean() == pytest.approx(share, abs=0.015)
        assert fits((part[~edge] == k).sum(), mine[own["customer"]][~edge])
        assert fits((part[first] == k).sum(), np.full(first.sum(), share)), "first orders"


def test_hours_move_no_order_to_another_day(world):
    """The same customers order as often, on the same days, where all hours are alike."""
    alike = CONFIG.selling.model_copy(update={"daytime_concentration": None})
    other = draw_world(CONFIG.model_copy(update={"selling": alike}))
    assert not any(f"share_{name}" in other.customers for name in DAYTIMES)

    def days(one: World) -> pd.Series:
        own = one.orders.loc[one.orders["customer"] >= 0]
        return own.groupby(["shopper", own["placed_at"].dt.normalize()]).size()

    assert days(world).sort_index().equals(days(other).sort_index())
    for name in ("acquired_at", "dropout_at"):
        lived = (one.customers.set_index("shopper")[name].dt.normalize() for one in (world, other))
        first, second = (k.sort_index() for k in lived)
        assert first.equals(second)
    until = days_of(CONFIG, world.customers["acquired_at"].to_numpy())
    until = until + world.customers["lifetime_days"].to_numpy()
    dropout = days_of(CONFIG, world.customers["dropout_at"].to_numpy())
    gone = ~world.customers["alive_at_end"].to_numpy()
    np.testing.assert_allclose(until[gone], dropout[gone], atol=3 / 86_400)


# --- stages ---------------------------------------------------------------------------------------


def test_paths_begin_with_the_account_and_follow_the_process(world, people, paths):
    """In time, in order; a buyer from the first order, gone from the dropout."""
    assert (paths.groupby("customer")["stage"].first() == STAGES[0]).all()
    assert paths["customer"].nunique() == CONFIG.customers
    later = paths["customer"].diff() == 0
    assert (paths["since"].diff()[later] >= pd.Timedelta(0)).all()
    assert (paths["stage"].cat.codes.diff()[later] > 0).all()
    by = {name: rows.set_index("customer")["since"] for name, rows in paths.groupby("stage")}
    bought = pd.concat([by["frequent"], by["rare"]]).sort_index()
    customers = world.customers
    assert (bought == customers["acquired_at"]).all()
    assert by["gone"].to_dict() == customers["dropout_at"].dropna().to_dict()
    orders = world.orders.loc[world.orders["customer"] >= 0]
    assert (orders.groupby("customer")["placed_at"].min() == bought).all()
    assert not (orders["placed_at"].to_numpy() > by["gone"].reindex(orders["customer"])).any()
    rate = customers["purchase_rate_per_day"]
    assert rate[by["frequent"].index].min() >= np.median(rate) > rate[by["rare"].index].max()
    opened = days_of(CONFIG, by["awareness"].to_numpy())
    np.testing.assert_allclose(opened, people.frame["signup_day"], atol=1.1 / 86_400)
    assert 0.1 < len(by["interest"]) / CONFIG.customers < 0.6


def test_stages_at_a_moment_are_those_of_the_processes(world, people, paths):
    """A buyer while alive, gone after the dropout, at most interested before the first order."""
    moments = pd.DatetimeIndex(["2023-06-01", "2024-06-01", "2025-07-01"])
    at = stages_at(paths, moments)
    customers = world.customers
    rare = customers["purchase_rate_per_day"] < customers["purchase_rate_per_day"].median()
    for k, moment in enumerate(moments):
        begun, gone = customers["acquired_at"] < moment, customers["dropout_at"] < moment
        active = np.where(rare, STAGES.index("rare"), STAGES.index("frequent"))
        assert (at[:, k][begun] == np.where(gone, GONE, active)[begun]).all()
        assert at[:, k][~begun].max(initial=-1) <= INTEREST
    first = stages_at(paths, pd.DatetimeIndex([CONFIG.first_day]))
    assert (first == -1).all()


def test_paths_do_without_visits(world, people, paths):
    """Where no events are drawn nobody shows interest, and all else is the same."""
    alone = stage_paths(world, people)
    rest = paths.loc[paths["stage"] != "interest"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, rest)


# --- leaving --------------------------------------------------------------------------------------


def test_reasons_of_leaving_compete(world, people):
    """Hazards add up to the dropout rate; who is gone went for a reason with its share of it."""
    leaving = draw_leaving(world, people)
    hazards = leaving[[f"hazard_{name}" for name in REASONS]].to_numpy()
    np.testing.assert_allclose(hazards.sum(axis=1), world.customers["dropout_rate_per_day"])
    gone = ~world.customers["alive_at_end"].to_numpy()
    assert (leaving["reason"].notna() == gone).all()
    share = hazards / hazards.sum(axis=1, keepdims=True)
    for k, name in enumerate(REASONS):
        assert fits((leaving["reason"] == name).sum(), share[gone, k])
    deals = world.customers["deal_share"]
    price = deals[leaving["reason"] == "price"]
    others = deals[gone & (leaving["reason"] != "price")]
    error = np.sqrt(price.var() / len(price) + others.var() / len(others))
    assert price.mean() - others.mean() > 3 * error
