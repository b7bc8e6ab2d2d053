"""What decisions are worth: the sum over the hull against integrals that know nothing of it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta

from features.errors import ConfigError
from features.settings import validated
from training.contract import Floats
from training.supervised.decide import Accept, DecideConfig, curve, emp, table

USUAL = DecideConfig(value=200, contact_cost=1, offer_cost=10)
"""The costs of Verbeke et al. (2012)."""


def labelled(n: int, seed: int) -> tuple[Floats, Floats]:
    """Labels and probabilities, many of them tied."""
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1.5, 4.0, n), rng.integers(1, 4))
    y = (rng.random(n) < p).astype(float)
    y[:2] = 0.0, 1.0
    return y, p


def best(config: DecideConfig, y: Floats, p: Floats, share: float) -> tuple[float, float]:
    """The best profit per customer over all cuts if ``share`` accepts, and who is contacted."""
    found = (0.0, 0.0)
    for cut in np.unique(p):
        named = p >= cut
        won = share * (config.value - config.offer_cost) - config.contact_cost
        wasted = config.offer_cost + config.contact_cost
        profit = float((y[named] * won - (1 - y[named]) * wasted).sum() / len(y))
        if profit > found[0]:
            found = profit, float(named.mean())
    return found


@settings(max_examples=4, deadline=None)
@given(
    n=st.integers(10, 60), seed=st.integers(0, 999), value=st.floats(30, 500),
    contact=st.floats(0, 3), offer=st.floats(0, 20), a=st.floats(1.5, 9), b=st.floats(1.5, 20),
)  # fmt: skip
def test_emp_is_the_integral_of_the_best_profits(
    n: int, seed: int, value: float, contact: float, offer: float, a: float, b: float
) -> None:
    """Against quadrature of the maximum over all cuts, one value of the share at a time."""
    mean = a / (a + b)
    if mean * (value - offer) <= contact:
        return
    accept = Accept(alpha=a, beta=b)
    config = DecideConfig(value=value, contact_cost=contact, offer_cost=offer, accept=accept)
    y, p = labelled(n, seed)
    grid = np.linspace(0, 1, 21)
    wanted = sum(
        quad(
            lambda g: best(config, y, p, g)[0] * beta.pdf(g, a, b), low, high, limit=60,
            epsabs=1e-7, epsrel=1e-6,
        )[0]
        for low, high in zip(grid[:-1], grid[1:], strict=True)
    )  # fmt: skip
    found, contacted = emp(config, y, p)
    assert found == pytest.approx(wanted, rel=2e-4, abs=1e-5)
    assert 0 <= contacted <= 1


def test_a_constant_answer_contacts_everybody_or_nobody() -> None:
    """The hull has no corner between: the integral has a closed form."""
    y, p = labelled(200, 1)[0], np.full(200, 0.3)
    rate, won, wasted = y.mean(), USUAL.value - USUAL.offer_cost, 11.0
    edge = (rate * USUAL.contact_cost + wasted * (1 - rate)) / (rate * won)
    wanted, _ = quad(
        lambda g: (rate * (g * won - 1.0) - wasted * (1 - rate)) * beta.pdf(g, 6, 14), edge, 1
    )
    found, share = emp(USUAL, y, p)
    assert found == pytest.approx(wanted, rel=1e-8)
    assert share == pytest.approx(beta.sf(edge, 6, 14), rel=1e-8)


def test_better_answers_are_worth_more() -> None:
    """The truth is worth most, noise least, and EMP is above any fixed cut's mean profit."""
    y, p = labelled(2_000, 3)
    noise = np.random.default_rng(0).permutation(p)
    told = table(USUAL, y, {"truth": y, "model": p, "noise": noise}).set_index("answer")
    worth = told["expected_maximum_profit"]
    assert worth["truth"] > worth["model"] > worth["noise"]
    assert (worth >= told["profit_at_threshold"] - 1e-12).all()


def test_the_threshold_is_where_a_contact_begins_to_pay() -> None:
    """There the expected profit is 0; below it is lost, above it is won."""
    at = USUAL.threshold
    assert USUAL.profit(np.array([at]))[0] == pytest.approx(0.0, abs=1e-12)
    assert USUAL.profit(np.array([at - 0.01]))[0] < 0 < USUAL.profit(np.array([at + 0.01]))[0]
    assert at == pytest.approx(11 / (0.3 * 190 + 10))


def test_the_curve_ends_where_everybody_is_contacted() -> None:
    """From 0 to the profit of contacting all; no cut by threshold is above its highest point."""
    y, p = labelled(500, 5)
    found = curve(USUAL, y, p)
    assert found["profit"].iloc[0] == 0
    assert found["profit"].iloc[-1] == pytest.approx(USUAL.profit(y).mean())
    assert found["expected"].iloc[-1] == pytest.approx(USUAL.profit(p).mean())
    told = table(USUAL, y, {"model": p})["profit_at_threshold"][0]
    every = pd.Series(np.cumsum(USUAL.profit(y[np.argsort(-p, kind="stable")]))) / len(y)
    assert every.max() >= told - 1e-12


def test_capacity_bounds_the_contacts() -> None:
    """No more than can be made, and those with the highest answers."""
    y, p = labelled(500, 6)
    few = USUAL.model_copy(update={"capacity": 25})
    assert table(few, y, {"model": p})["contacted_at_threshold"][0] == pytest.approx(25 / 500)


def test_costs_that_never_pay_are_refused() -> None:
    """The message says which sum is too small; unknown keys are refused by name."""
    with pytest.raises(ConfigError, match="a contact never pays"):
        validated(DecideConfig, {"value": 10, "contact_cost": 5, "offer_cost": 1}, "decide")
    with pytest.raises(ConfigError, match="gain: unknown key"):
        validated(DecideConfig, {"value": 10, "contact_cost": 0, "offer_cost": 1, "gain": 1}, "x")
