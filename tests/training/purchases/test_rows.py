"""Every impossible or unlearnable input is refused, with its rows counted and what to do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from tests.training.purchases import worlds
from training.models.purchases import (
    BgBb,
    BgNbd,
    Contracts,
    GammaGamma,
    Histories,
    MbgNbd,
    Occasions,
    ParetoNbd,
    ShiftedBeta,
    Spend,
    fit,
)

nan, inf = np.nan, np.inf

IMPOSSIBLE: dict[str, Callable[[], object]] = {
    "x is missing or infinite: 1 rows": lambda: Histories([1, nan], [1, 1], [2, 2]),
    "t_x is missing or infinite: 2 rows": lambda: Histories([1, 1], [nan, inf], [2, 2]),
    "T is missing or infinite: 1 rows": lambda: Histories([1, 0], [1, 0], [2, nan]),
    "x is no whole number of repeat purchases: 2 rows": lambda: Histories(
        [1.5, -1], [1, 1], [2, 2]
    ),
    "t_x is negative: 1 rows": lambda: Histories([1, 1], [-1, 1], [2, 2]),
    "t_x > T: .*after the end of observation: 1 rows": lambda: Histories([1, 1], [3, 1], [2, 2]),
    "t_x > 0 without a repeat purchase.*not from the last": lambda: Histories([0], [5], [9]),
    "look like seconds; divide by 86,400: 1 rows": lambda: Histories([1], [1e6], [3e7]),
    "count is no number of customers: 2 rows": lambda: Histories(
        [1, 0, 0], [1, 0, 0], [2, 2, 2], [1, -1, nan]
    ),
    "a covariate is missing or infinite: 1 rows": lambda: Histories(
        [1, 0], [1, 0], [2, 2], z=np.array([[1.0], [nan]])
    ),
    "covariates of shape .1,.: expected two axes": lambda: Histories([1], [1], [2], z=[3.0]),
    "columns differ in length": lambda: Histories([1, 0], [1], [2, 2]),
    "columns differ in length: .*count": lambda: Histories([1, 0], [1, 0], [2, 2], [1.0]),
    "n is no whole number": lambda: Occasions([1], [1], [2.5]),
    "x is no whole number of occasions": lambda: Occasions([0.5], [1], [2]),
    "t_x > n": lambda: Occasions([1], [3], [2]),
    "x > t_x": lambda: Occasions([2], [1], [2]),
    "t_x > 0 without a purchase": lambda: Occasions([0], [1], [2]),
    "n is above 10000": lambda: Occasions([1], [1], [1e6]),
    "n is missing": lambda: Occasions([1], [1], [nan]),
    "periods is no whole number": lambda: Contracts([1.5], [0]),
    "left is neither 0 nor 1": lambda: Contracts([1], [0.5]),
    "left before the first end of a period": lambda: Contracts([0], [1]),
    "left is missing": lambda: Contracts([1], [nan]),
    "expected a falling series": lambda: Contracts.of_survivors([100, 90, 95]),
    "expected a falling series ": lambda: Contracts.of_survivors([100, nan]),
    "mean spend is 0 or negative: leave out free and returned orders": lambda: Spend(
        [1, 2], [0, 5]
    ),
    "mean spend is 0 or negative.*1 rows": lambda: Spend([1, 2], [3, -5]),
    "orders is no whole number": lambda: Spend([1.5], [3]),
    "mean is missing": lambda: Spend([1], [nan]),
}


@pytest.mark.parametrize("said", IMPOSSIBLE)
def test_impossible_rows(said: str) -> None:
    """What cannot be is refused when the rows are made."""
    with pytest.raises(DataError, match=f"(?s){said.strip()}"):
        IMPOSSIBLE[said]()


def test_all_reasons_at_once() -> None:
    """One error names every kind of broken row."""
    with pytest.raises(
        DataError, match=r"(?s)4 rows do not.*whole number.*1 rows.*t_x > T.*2 rows"
    ):
        Histories([1.5, 1, 1, 1], [1, 3, 4, 1], [2, 2, 2, 2])


@pytest.mark.parametrize("family", [BgNbd, MbgNbd, ParetoNbd])
def test_histories_that_teach_nothing(family: Any) -> None:
    """One-time buyers only, times in years, all on one day, nobody at all."""
    with pytest.raises(DataError, match="nobody of 30 customers bought again.*Observe longer"):
        fit(family, Histories(np.zeros(30), np.zeros(30), np.arange(30.0)))
    with pytest.raises(DataError, match="more than 0.9 units.*look like years"):
        fit(family, Histories([1, 2], [0.2, 0.3], [0.8, 0.9]))
    with pytest.raises(DataError, match="falls together with the first"):
        fit(family, Histories([1, 2], [0, 0], [30, 40]))
    with pytest.raises(DataError, match="nobody of 0 customers"):
        fit(family, Histories([1.0], [2.0], [3.0], [0.0]))


UNLEARNABLE: dict[str, tuple[Any, Callable[[], Any]]] = {
    "nobody bought on any occasion": (BgBb, lambda: Occasions([0, 0], [0, 0], [3, 4])),
    "0 left and 7 renewals": (ShiftedBeta, lambda: Contracts([3, 4], [0, 0])),
    "2 left and 0 renewals": (ShiftedBeta, lambda: Contracts([1, 1], [1, 1])),
    "beyond the first period": (ShiftedBeta, lambda: Contracts([1, 1], [1, 0])),
    "nobody has more than one order": (GammaGamma, lambda: Spend([1, 1, 0], [3, 4, nan])),
    "all means are equal": (GammaGamma, lambda: Spend([3, 4], [5, 5])),
}


@pytest.mark.parametrize("said", UNLEARNABLE)
def test_rows_that_teach_nothing(said: str) -> None:
    """What cannot tell the parameters apart is refused before the fit."""
    family, rows = UNLEARNABLE[said]
    with pytest.raises(DataError, match=said):
        fit(family, rows())


def test_no_maximum() -> None:
    """Customers who are all alike leave parameters to run off; a weak prior holds them."""
    rng = np.random.default_rng(0)
    x = rng.poisson(8.0, 400).astype(float)
    alike = Histories(x, np.where(x > 0, 95.0, 0.0), np.full(400, 100.0))
    with pytest.raises(DataError, match=r"(?s)BgNbd: .*400 customers.*no maximum.*prior=1"):
        fit(BgNbd, alike)
    held = fit(BgNbd, alike, prior=1.0)
    assert held.model.expected(alike, 100.0).mean() == pytest.approx(8.0, abs=0.5)


def test_wrong_settings() -> None:
    """A prior without strength, and covariates for a model that takes none."""
    some = worlds.bg_histories(50, 0.6, 40.0, 0.8, 2.5)
    for prior in (-1.0, nan, inf):
        with pytest.raises(ConfigError, match="prior"):
            fit(BgNbd, some, prior=prior)

    class Plain(BgNbd):
        covariates = {}  # noqa: RUF012

    with pytest.raises(ConfigError, match="takes no covariates"):
        fit(Plain, Histories(some.x, some.t_x, some.T, z=np.ones((50, 1))))


def test_covariates_that_cannot_be_told_apart() -> None:
    """Constant ones, one that repeats another, one in raw units."""
    h = worlds.bg_histories(50, 0.6, 40.0, 0.8, 2.5)
    one, two = np.ones((50, 1)), np.arange(50.0)[:, None] / 50.0
    for z in (one, np.hstack([two, 1.0 - two])):
        with pytest.raises(DataError, match="constant, or one is a sum of others"):
            fit(BgNbd, Histories(h.x, h.t_x, h.T, z=z))
    with pytest.raises(DataError, match="reaches 9.8e.03.*mean 0 and standard deviation 1"):
        fit(BgNbd, Histories(h.x, h.t_x, h.T, z=1e4 * two))


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.randoms())
def test_compressed_rows_count_the_same_customers(kinds: list[int], random: Any) -> None:
    """Equal rows become one, whatever their order; sums over customers stay."""
    of = np.array([(0, 0, 9), (0, 0, 30), (1, 4, 9), (1, 5, 9), (2, 5, 9), (2, 5, 30)], dtype=float)
    x, t_x, T = of[kinds].T
    z = (x + T)[:, None]
    rows = Histories(x, t_x, T, np.arange(len(x)) % 3 + 0.5, z)
    order = list(range(len(x)))
    random.shuffle(order)
    model = ParetoNbd(0.6, 40.0, 0.7, 200.0)
    first, second = rows.compressed(), rows.take(np.array(order)).compressed()
    for name in ("x", "t_x", "T", "count", "z"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert len(first) == len(set(kinds))
    total = (rows.counts * model.log_likelihood(rows)).sum()
    assert (first.counts * model.log_likelihood(first)).sum() == pytest.approx(total)


def test_rows_without_a_count_are_left_out() -> None:
    """A weight of 0 is nobody."""
    rows = Histories([1, 0], [2, 0], [3, 3], [0.0, 2.0]).compressed()
    assert rows.x.tolist() == [0.0]
    with pytest.raises(DataError, match="no rows with a count"):
        Histories([1], [2], [3], [0.0]).compressed()
