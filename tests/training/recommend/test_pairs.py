"""The ranker's rows against loops over plain lists, and the same in any company."""

import numpy as np
import pytest

from tests.training.recommend.worlds import DAYS, HORIZON, Shop
from training.recommend.pairs import OWN, columns
from training.recommend.recommender import Recommender


def test_rows_of_own_purchases_by_loops(world: Shop, made: Recommender):
    """Counts, ages, gaps, rhythm and shares of every bought candidate of some customers."""
    seen = world.asof(DAYS - HORIZON)
    found = made.shelf.candidates(seen.past.take(np.arange(12)))
    names = columns(list(made.shelf.makers))
    now = DAYS - HORIZON
    for c, item, bought, row in zip(found.customer, found.item, found.bought, found.X, strict=True):
        value = dict(zip(names, row.tolist(), strict=True))
        own = (world.customer == seen.customers[c]) & (world.day < now)
        ages = sorted(set((now - world.day[own & (world.item == item)]).tolist()))
        baskets = sorted(set((now - world.day[own]).tolist()))
        assert bool(ages) == bought
        if not ages:
            assert value["own__purchases"] == 0
            assert np.isnan(value["own__last_days"])
            continue
        expected = {
            "own__purchases": len(ages),
            "own__last_days": ages[0],
            "own__first_days": ages[-1],
            "own__decayed_90": sum(2 ** (-a / 90) for a in ages),
            "own__basket_share": len(ages) / len(baskets),
            "own__baskets_since": baskets.index(ages[0]),
            "own__share_since": len(ages) / (baskets.index(ages[-1]) + 1),
            "own__season": sum(365 - HORIZON < a <= 365 for a in ages),
            "customer__baskets": len(baskets),
            "customer__tenure_days": baskets[-1],
            "category__share": 1.0,
        }
        if len(ages) > 1:
            expected["own__gap_days"] = (ages[-1] - ages[0]) / (len(ages) - 1)
        for name, number in expected.items():
            assert value[name] == pytest.approx(number, rel=1e-5), name


def test_alone_as_in_company(world: Shop, made: Recommender):
    """One customer's rows are the same bits alone and among others."""
    past = world.asof(DAYS - HORIZON).past
    together = made.shelf.candidates(past.take(np.arange(10)))
    for c in (0, 3, 9):
        alone = made.shelf.candidates(past.take([c]))
        own = together.customer == c
        assert np.array_equal(alone.item, together.item[own])
        assert np.array_equal(alone.X, together.X[own], equal_nan=True)


def test_future_purchases_change_nothing(world: Shop):
    """What happens from the cutoff on is not in the rows."""
    day = DAYS - HORIZON
    kept = world.day < day
    cut = Shop(world.customer[kept], world.item[kept], world.day[kept], 60, 24)
    before, after = (w.asof(day).past for w in (world, cut))
    assert np.array_equal(before.item, after.item)
    assert np.array_equal(before.age, after.age)
    assert len(OWN) == len(set(OWN))
