"""Likelihoods against integrals over individual customers, their slopes, and their limits."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import gammaln, xlogy

from tests.training.purchases import worlds
from tests.training.purchases.worlds import Chances, Rates, mixed
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
)

shapes = st.floats(0.3, 8.0)
scales = st.floats(0.5, 300.0)


@st.composite
def histories(draw: Any) -> tuple[float, float, float]:
    """(x, t_x, T) of any kind: new, silent, busy for years."""
    T = draw(st.sampled_from([0.0, 1.0, 38.86, 400.0, 3000.0]))
    x = draw(st.sampled_from([0, 0, 1, 2, 7, 60])) if T else 0
    return float(x), T * draw(st.sampled_from([0.02, 0.5, 0.98, 1.0])) if x else 0.0, T


def one(history: tuple[float, float, float]) -> Histories:
    """The rows of one customer."""
    return Histories(*(np.array([value]) for value in history))


@settings(max_examples=12)
@given(histories(), shapes, scales, shapes, shapes, st.sampled_from([BgNbd, MbgNbd]))
def test_bg_is_the_mixture_of_its_customers(
    history: tuple[float, float, float], r: float, alpha: float, a: float, b: float, family: Any
) -> None:
    """Likelihood and P(alive) equal the sums over purchase rates and chances to be gone."""
    x, t_x, T = history
    rates, chances = Rates(r, alpha, x), Chances(a, b)
    rate, k = rates.points[:, None], x + family.first
    alive = k * chances.log_others - rate * T + xlogy(x, rate)
    gone = np.full_like(alive, -np.inf)
    if k > 0:
        gone = (k - 1) * chances.log_others + chances.log_points - rate * t_x + xlogy(x, rate)
    expected, posterior = mixed(rates, chances, np.logaddexp(alive, gone))
    model = family(r, alpha, a, b)
    assert model.log_likelihood(one(history))[0] == pytest.approx(expected, abs=1e-8, rel=1e-10)
    share = (posterior * np.exp(alive - np.logaddexp(alive, gone))).sum()
    assert model.p_alive(one(history))[0] == pytest.approx(share, abs=1e-8)


@settings(max_examples=12)
@given(histories(), shapes, scales, shapes, scales)
def test_pareto_is_the_mixture_of_its_customers(
    history: tuple[float, float, float], r: float, alpha: float, s: float, beta: float
) -> None:
    """Likelihood and P(alive) equal the sums over rates of purchase and of ending."""
    x, t_x, T = history
    buys, ends = Rates(r, alpha, x), Rates(s, beta)
    rate, end = buys.points[:, None], ends.points[None, :]
    alive = xlogy(x, rate) - (rate + end) * T
    share = -np.expm1(-(rate + end) * (T - t_x))
    with np.errstate(divide="ignore"):
        gone = xlogy(x, rate) + np.log(end / (rate + end)) - (rate + end) * t_x + np.log(share)
    expected, posterior = mixed(buys, ends, np.logaddexp(alive, gone))
    model = ParetoNbd(r, alpha, s, beta)
    assert model.log_likelihood(one(history))[0] == pytest.approx(expected, abs=1e-8, rel=1e-10)
    share = (posterior * np.exp(alive - np.logaddexp(alive, gone))).sum()
    assert model.p_alive(one(history))[0] == pytest.approx(share, abs=1e-8)


@pytest.mark.parametrize("alpha", [0.01, 1.0, 30.0, 5000.0])
@pytest.mark.parametrize("beta", [0.01, 1.0, 30.0, 5000.0])
@pytest.mark.parametrize("history", [(0, 0, 2500), (1, 3, 2500), (800, 900, 2500), (3, 399, 400)])
def test_pareto_integral_at_awkward_points(alpha: float, beta: float, history: Any) -> None:
    """Scales 5 orders apart, hundreds of purchases, long silence: as by adaptive quadrature."""
    x, t_x, T = history
    r, s = 0.6, 0.7

    def log_f(u: float) -> float:
        return -(r + x) * float(np.log(alpha + u)) - (s + 1) * float(np.log(beta + u))

    edges = [t_x, *(t_x + d for d in np.geomspace(1e-5, T - t_x, 60))]
    parts = [
        quad(lambda u: np.exp(log_f(u) - log_f(t_x)), p, q, epsabs=0)[0]
        for p, q in itertools.pairwise(edges)
    ]
    alive = -(r + x) * np.log(alpha + T) - s * np.log(beta + T)
    both = np.logaddexp(alive, np.log(s * sum(parts)) + log_f(t_x))
    expected = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta) + both
    found = ParetoNbd(r, alpha, s, beta).log_likelihood(one(history))[0]
    assert found == pytest.approx(expected, abs=1e-9, rel=1e-12)


@settings(max_examples=10)
@given(shapes, shapes, shapes, shapes, st.integers(0, 12), st.data())
def test_bgbb_is_the_mixture_of_its_customers(
    alpha: float, beta: float, gamma: float, delta: float, n: int, data: Any
) -> None:
    """Likelihood and P(alive) equal the sums over chances to buy and to be gone."""
    t_x = data.draw(st.integers(0, n))
    x = data.draw(st.integers(1, t_x)) if t_x else 0
    buys, ends = Chances(alpha, beta), Chances(gamma, delta)
    p, q = buys.log_points[:, None], buys.log_others[:, None]
    alive = x * p + (n - x) * q + n * ends.log_others
    total = alive
    for i in range(t_x, n):
        gone = x * p + (i - x) * q + i * ends.log_others + ends.log_points
        total = np.logaddexp(total, gone)
    expected, posterior = mixed(buys, ends, total)
    rows, model = Occasions(x, t_x, n), BgBb(alpha, beta, gamma, delta)
    assert model.log_likelihood(rows)[0] == pytest.approx(expected, abs=1e-8)
    share = (posterior * np.exp(alive + ends.log_others - total)).sum()
    assert model.p_alive(rows)[0] == pytest.approx(share, abs=1e-8)


def test_bgbb_probabilities_of_all_histories_add_up() -> None:
    """Over the 2^7 ways to buy or not on 7 occasions the likelihoods add up to 1."""
    ways = np.array(list(itertools.product((0, 1), repeat=7)))
    last = (ways * np.arange(1, 8)).max(axis=1)
    rows = Occasions(ways.sum(axis=1), last, np.full(len(ways), 7))
    assert np.exp(BgBb(1.2, 0.75, 0.66, 2.8).log_likelihood(rows)).sum() == pytest.approx(1.0)
    mixed_lengths = Occasions([2, 2, 0], [3, 3, 0], [3, 9, 5])
    alone = [BgBb(1.2, 0.75, 0.66, 2.8).log_likelihood(mixed_lengths.take([i])) for i in range(3)]
    together = BgBb(1.2, 0.75, 0.66, 2.8).log_likelihood(mixed_lengths)
    assert together == pytest.approx(np.concatenate(alone), abs=1e-13)


@settings(max_examples=15)
@given(shapes, shapes, st.integers(0, 30), st.booleans())
def test_contract_is_the_mixture_of_its_customers(
    alpha: float, beta: float, periods: int, left: bool
) -> None:
    """The likelihood equals the sum over rates of leaving."""
    left = left and periods > 0
    ends = Chances(alpha, beta)
    log = (periods - left) * ends.log_others + left * ends.log_points + ends.log_density
    expected = np.log(np.exp(log).sum() * (ends.axis[1] - ends.axis[0]))
    found = ShiftedBeta(alpha, beta).log_likelihood(Contracts(periods, left))
    assert found[0] == pytest.approx(expected, abs=1e-8)


@settings(max_examples=15)
@given(shapes, st.floats(1.05, 9.0), scales, st.integers(1, 300), st.floats(0.1, 1e4))
def test_spend_is_the_mixture_of_its_customers(
    p: float, q: float, gamma: float, orders: int, mean: float
) -> None:
    """Density and expected mean equal the sums over customers' scales of spend."""
    nu = Rates(q, gamma, p * orders)
    k = p * orders
    log = k * np.log(nu.points * orders) - gammaln(k) + (k - 1) * np.log(mean)
    log = log - nu.points * orders * mean + nu.log_density
    top = log.max()
    weights = np.exp(log - top)
    expected = top + np.log(weights.sum() * (nu.axis[1] - nu.axis[0]))
    rows, model = Spend(orders, mean), GammaGamma(p, q, gamma)
    assert model.log_likelihood(rows)[0] == pytest.approx(expected, abs=1e-7, rel=1e-9)
    later = (weights * p / nu.points).sum() / weights.sum()
    assert model.expected(rows)[0] == pytest.approx(later, rel=1e-6)


FAMILIES = {
    "BgNbd": (BgNbd, worlds.bg_histories(60, 0.6, 40.0, 0.8, 2.5)),
    "MbgNbd": (MbgNbd, worlds.bg_histories(60, 0.6, 40.0, 0.8, 2.5, first=True)),
    "ParetoNbd": (ParetoNbd, worlds.pareto_histories(60, 0.6, 40.0, 0.7, 200.0)),
    "BgBb": (BgBb, worlds.occasions(60, 1.2, 0.75, 0.66, 2.8, most=9)),
    "ShiftedBeta": (ShiftedBeta, worlds.contracts(60, 0.7, 1.2, most=9)),
    "GammaGamma": (GammaGamma, worlds.spend(60, 3.0, 4.0, 90.0)),
}


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=15)
@given(st.lists(st.floats(-2.0, 2.0), min_size=4, max_size=4))
def test_slopes_are_those_of_the_likelihood(name: str, logs: list[float]) -> None:
    """Derivatives by log-parameters equal central differences, row by row."""
    family, rows = FAMILIES[name]
    theta = np.array(logs[: len(family.names)])
    theta += [3.0 * (n in family.scales) for n in family.names]
    values, slopes = family(*np.exp(theta)).terms(rows)
    assert values == pytest.approx(family(*np.exp(theta)).log_likelihood(rows), abs=1e-13)
    for j in range(len(theta)):
        step = np.zeros(len(theta))
        step[j] = 1e-5
        up, down = (family(*np.exp(t)).terms(rows)[0] for t in (theta + step, theta - step))
        limit = 1e-5 * max(1.0, np.abs(values).max())
        assert slopes[j] == pytest.approx((up - down) / 2e-5, abs=limit), family.names[j]


@pytest.mark.parametrize(
    "immortal",
    [BgNbd(0.6, 40.0, 1e-9, 1.0), MbgNbd(0.6, 40.0, 1e-9, 1.0), ParetoNbd(0.6, 40.0, 1e-10, 1.0)],
    ids=lambda model: type(model).__name__,
)
def test_without_endings_all_are_the_nbd(immortal: Any) -> None:
    """Ehrenberg's NBD: Poisson purchases at Gamma rates, nobody ever gone."""
    rows = worlds.bg_histories(200, 0.6, 40.0, 0.8, 2.5)
    r, alpha = 0.6, 40.0
    nbd = (
        gammaln(r + rows.x) - gammaln(r) + r * np.log(alpha) - (r + rows.x) * np.log(alpha + rows.T)
    )
    assert immortal.log_likelihood(rows) == pytest.approx(nbd, abs=2e-5)
    assert immortal.p_alive(rows) == pytest.approx(1.0, abs=1e-3)
    pace = (r + rows.x) / (alpha + rows.T)
    assert immortal.expected_if_alive(rows, 100.0) == pytest.approx(100.0 * pace, rel=1e-6)


def test_bg_ends_nobody_who_never_came_back_and_mbg_does() -> None:
    """The published difference of the two, for x = 0."""
    silent = Histories([0.0], [0.0], [500.0])
    assert BgNbd(0.6, 40.0, 0.8, 2.5).p_alive(silent)[0] == 1.0
    assert MbgNbd(0.6, 40.0, 0.8, 2.5).p_alive(silent)[0] < 0.6


def test_nothing_overflows() -> None:
    """Times of a century in days, hundreds of thousands of purchases, parameters far out."""
    rows = Histories([0, 1, 900, 3e5], [0, 1, 36_000, 36_000], [36_500] * 4)
    for family, _ in list(FAMILIES.values())[:3]:
        for size in (1e-4, 1.0, 1e4):
            model = family(*[size] * 4)
            with np.errstate(over="raise", invalid="raise"):
                values, slopes = model.terms(rows)
                assert np.isfinite(values).all()
                assert np.isfinite(slopes).all()
                assert np.isfinite(model.p_alive(rows)).all()
