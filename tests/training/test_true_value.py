"""Expected spend against the processes that simulated customers buy by, not against luck."""

from datetime import datetime, timedelta
from functools import cache

import numpy as np
import pandas as pd
import pytest

from features.simulate import SimulateConfig, World, draw_world, true_expected_spend
from training.contract import matrix
from training.metrics import Ranked, spearman
from training.models.frequency_value import FrequencyValue, FrequencyValueConfig
from training.models.published_value import PublishedValue, PublishedValueConfig

CUTOFF, H = datetime(2025, 4, 1), 90
DAY = timedelta(days=1)


@cache
def flat() -> World:
    """Customers of a retailer without seasons."""
    return draw_world(SimulateConfig(customers=4_000, season_amplitude=0, christmas_peak=0))


def spent(world: World, start: datetime, end: datetime) -> pd.Series:
    """Gross spend by shopper in ``[start, end)``, in currency."""
    orders = world.orders.dropna(subset="shopper")
    inside = (orders["placed_at"] >= start) & (orders["placed_at"] < end)
    return orders[inside].groupby("shopper")["amount_cents"].sum() / 100.0


def rows(world: World) -> tuple[pd.DataFrame, pd.Index]:
    """Histories at the cutoff under the names of their features, and whose they are."""
    orders = world.orders.dropna(subset="shopper")
    orders = orders[orders["placed_at"] < CUTOFF]
    by = orders.groupby("shopper")
    first, last = by["placed_at"].min(), by["placed_at"].max()
    frame = pd.DataFrame({
        "rfm__recency_days": (CUTOFF - last) / DAY,
        "rfm__frequency_orders": by.size() - 1.0,
        "rfm__T_days": (CUTOFF - first) / DAY,
        "rfm__monetary_value": by["amount_cents"].mean() / 100.0,
    })  # fmt: skip
    return frame.reset_index(drop=True), frame.index


@pytest.mark.parametrize("given", ["dropout", "alive", "history"])
def test_true_spend_is_what_happens_on_average(given):
    """In total and by fifths within four standard deviations, with a season and without."""
    for world in (flat(), draw_world(SimulateConfig(customers=3_000, seed=3))):
        for cutoff in (CUTOFF, CUTOFF - 180 * DAY):
            true = true_expected_spend(world, cutoff, H, given)
            real = spent(world, cutoff, cutoff + H * DAY).reindex(true.index, fill_value=0.0)
            miss = (real - true).to_numpy()
            order = np.argsort(true.to_numpy(), kind="stable")
            for part in (order, *np.array_split(order, 5)):
                assert abs(miss[part].sum()) < 4 * max(np.sqrt((miss[part] ** 2).sum()), 1.0)


def test_true_spend_has_the_closed_form_of_constant_rates():
    """Without a season: lambda (1 - exp(-mu h)) / mu orders at the mean order, if alive."""
    world = flat()
    true = true_expected_spend(world, CUTOFF, H, "alive")
    people = world.customers.set_index("shopper").loc[true.index]
    lam, mu = people["purchase_rate_per_day"], people["dropout_rate_per_day"]
    expected = -lam * np.expm1(-mu * H) / mu * people["mean_spend"]
    there = people["alive_at_end"] | (people["dropout_at"] > CUTOFF)
    assert np.allclose(true[there], expected[there], rtol=1e-9)
    assert (true[~there] == 0).all()
    assert np.allclose(true_expected_spend(world, CUTOFF, H, "alive", 0.9), 0.9 * true)


@pytest.mark.parametrize("process", ["pareto", "mbgnbd"])
def test_published_forecasts_come_near_the_true_expected_value(process):
    """Parameters learned from histories: the total is right, and most of the order of customers.

    The rule of thumb counts the gone as well, and is further off by every measure.
    """
    world = flat()
    X, shoppers = rows(world)
    true = true_expected_spend(world, CUTOFF, H).loc[shoppers].to_numpy()
    errors = {}
    for model in (
        PublishedValue(PublishedValueConfig(process=process, prior=0.0)),
        FrequencyValue(FrequencyValueConfig()),
    ):
        model.fit(X, np.zeros(len(X)))
        found = np.exp(model.score(matrix(X, model.columns)))
        rank = spearman(Ranked.of(true, found, 0.0), np.ones(len(true)))
        errors[type(model).__name__] = (
            abs(found.sum() / true.sum() - 1.0), np.abs(found - true).mean(), 1.0 - rank
        )  # fmt: skip
    ours, plain = errors["PublishedValue"], errors["FrequencyValue"]
    assert ours[0] < 0.08, errors
    assert ours[2] < 0.15, errors
    assert all(a < b for a, b in zip(ours, plain, strict=True)), errors
