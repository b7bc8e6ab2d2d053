"""Predictions against integrals over customers, closed forms, simulation and published figures."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import gamma, hyp2f1, hyperu

from features.errors import ConfigError, DataError
from tests.training.purchases import worlds
from tests.training.purchases.worlds import Chances, Rates, mixed
from training.contract import Floats
from training.models.purchases import (
    BgBb,
    BgNbd,
    GammaGamma,
    Histories,
    MbgNbd,
    Occasions,
    ParetoNbd,
    ShiftedBeta,
    Spend,
)
from training.models.purchases.process import Process

HISTORIES = [(0.0, 0.0, 0.0), (0.0, 0.0, 300.0), (3.0, 200.0, 210.0), (9.0, 80.0, 300.0)]
MODELS: dict[str, Process] = {
    "BgNbd": BgNbd(0.6, 40.0, 0.8, 2.5),
    "BgNbd at a = 1": BgNbd(0.6, 40.0, 1.0, 2.5),
    "MbgNbd": MbgNbd(0.6, 40.0, 0.8, 2.5),
    "ParetoNbd": ParetoNbd(0.6, 40.0, 0.7, 200.0),
    "ParetoNbd at s = 1": ParetoNbd(0.6, 40.0, 1.0, 200.0),
}


def rows(*histories: tuple[float, float, float]) -> Histories:
    """Histories, one a row."""
    return Histories(*np.array(histories).T)


def posterior(model: Any, x: float, t_x: float, T: float) -> tuple[Floats, Floats, Floats]:
    """On a grid over customers with this history: P(alive and so), and both parameters."""
    buys = Rates(model.r, model.alpha, x)
    rate = buys.points[:, None]
    if isinstance(model, ParetoNbd):
        ends = Rates(model.s, model.beta)
        end = ends.points[None, :]
        alive = x * np.log(rate) - (rate + end) * T
        with np.errstate(divide="ignore"):
            gone = np.log(-np.expm1(-(rate + end) * (T - t_x))) + np.log(end / (rate + end))
        gone = gone + x * np.log(rate) - (rate + end) * t_x
        both = np.logaddexp(alive, gone)
        weights = mixed(buys, ends, both)[1]
        return weights * np.exp(alive - both), rate, end
    ends = Chances(model.a, model.b)
    k = x + model.first
    alive = k * ends.log_others - rate * T + x * np.log(rate)
    gone = np.full_like(alive, -np.inf)
    if k > 0:
        gone = (k - 1) * ends.log_others + ends.log_points - rate * t_x + x * np.log(rate)
    both = np.logaddexp(alive, gone)
    return mixed(buys, ends, both)[1] * np.exp(alive - both), rate, ends.points[None, :]


def individual(model: Any, rate: Floats, end: Floats, t: float, d: float = 0.0) -> Floats:
    """Purchases of one who is alive, over t, a purchase at u being worth exp(-d u)."""
    # After a purchase he is gone with chance p, so at p * rate; or else at the rate of ending.
    fall = d + (end if isinstance(model, ParetoNbd) else end * rate)
    with np.errstate(invalid="ignore", divide="ignore"):
        return rate * np.where(fall * t > 1e-14, -np.expm1(-fall * t) / fall, t)


@pytest.mark.parametrize("history", HISTORIES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_every_answer_is_the_mean_over_customers(name: str, history: Any) -> None:
    """Mean purchases, discounted ones, and no purchase at all, for short and long horizons."""
    model, (x, t_x, T), one = MODELS[name], history, rows(history)
    alive, rate, end = posterior(model, x, t_x, T)
    for h in (7.0, 90.0, 365.0):
        mean = (alive * individual(model, rate, end, h)).sum()
        assert model.expected(one, h)[0] == pytest.approx(mean, rel=1e-8)
        worth = (alive * individual(model, rate, end, h, 0.0004)).sum()
        assert model.discounted(one, h, 0.0004)[0] == pytest.approx(worth, rel=1e-6)
        if isinstance(model, ParetoNbd):
            silent = (rate * np.exp(-(rate + end) * h) + end) / (rate + end)
        else:
            silent = np.exp(-rate * h) * np.ones_like(alive)
        none = (alive * silent).sum() + 1.0 - alive.sum()
        assert model.no_purchase(one, h)[0] == pytest.approx(none, abs=1e-9)
        some = np.exp(model.log_no_purchase(one, h)[1])[0]
        assert some == pytest.approx((alive * (1.0 - silent)).sum(), rel=1e-6)
    years = (alive * individual(model, rate, end, 3650.0, 0.0004)).sum()
    assert model.discounted(one, 3650.0, 0.0004)[0] == pytest.approx(years, rel=1e-4)
    if isinstance(model, ParetoNbd):
        ever = (alive * rate / (0.0004 + end)).sum()
        assert model.discounted_forever(one, 0.0004)[0] == pytest.approx(ever, rel=1e-8)


@settings(max_examples=60)
@given(
    st.floats(0.2, 30.0), st.floats(1.0, 300.0), st.floats(0.05, 0.9), st.floats(0.3, 20.0),
    st.integers(0, 40), st.floats(0.0, 1500.0), st.floats(0.1, 1000.0),
)  # fmt: skip
def test_expectation_is_equation_10(
    r: float, alpha: float, a: float, b: float, x: int, T: float, h: float
) -> None:
    """The sum of positive terms equals the published 2F1, where that is exact enough."""
    c, z = a + b + x - 1.0, h / (alpha + T + h)
    if abs(c) < 0.1 or z > 0.9:
        return
    # Euler's transformation of the published 2F1(r + x, b + x; c; z) (1 - z)^(r + x).
    inner = (1.0 - z) ** (a - 1.0) * hyp2f1(a - 1.0, a + b - 1.0 - r, c, z)
    published = c / (a - 1.0) * (1.0 - inner)
    found = BgNbd(r, alpha, a, b).expected_if_alive(rows((x, T / 2 * (x > 0), T)), h)[0]
    assert found == pytest.approx(published, rel=1e-7, abs=1e-9)


def test_expectation_of_hundreds_of_purchases() -> None:
    """Where the weights of the sum vanish at first, it equals the integral over chances to go."""
    model, one = BgNbd(0.6, 5.0, 0.8, 2.5), rows((900.0, 30.0, 31.0))
    ends = Chances(0.8, 902.5)
    weights = np.exp(ends.log_density) * (ends.axis[1] - ends.axis[0])
    y = 365.0 / 36.0
    mean = (weights * -np.expm1(-900.6 * np.log1p(ends.points * y)) / ends.points).sum()
    assert model.expected_if_alive(one, 365.0)[0] == pytest.approx(mean, rel=1e-7)


def test_dert_is_equation_2() -> None:
    """The published closed form with Tricomi's function, the likelihood and all constants."""
    r, alpha, s, beta, delta = 0.6, 40.0, 0.7, 200.0, 0.0004
    model, h = ParetoNbd(r, alpha, s, beta), rows((3.0, 200.0, 210.0))
    published = (
        alpha**r * beta**s * delta ** (s - 1) * gamma(r + 3 + 1)
        * hyperu(s, s, delta * (beta + 210.0))
        / (gamma(r) * (alpha + 210.0) ** (r + 3 + 1) * np.exp(model.log_likelihood(h)[0]))
    )  # fmt: skip
    assert model.discounted_forever(h, delta)[0] == pytest.approx(published, rel=1e-10)
    for s in (0.05, 0.7, 1.0, 2.0, 6.5):  # Tricomi's function itself, by its integral
        for rate in (1e-5, 4e-4, 0.05):
            model = ParetoNbd(r, alpha, s, beta)

            def worth(v: float, rate: float = rate, s: float = s) -> float:
                return float(np.exp(-rate * 410.0 * np.expm1(v) + (1.0 - s) * v))

            life = sum(quad(worth, v, v + 1.0, epsrel=1e-12)[0] for v in range(25))
            found = model.discounted_forever(h, rate)[0] / model.p_alive(h)[0]
            assert found == pytest.approx(3.6 / 250.0 * 410.0 * life, rel=1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_answers_move_the_right_way(name: str) -> None:
    """Longer horizons mean more purchases and less silence; nothing is asked of no time at all."""
    model = MODELS[name]
    some = worlds.bg_histories(300, 0.6, 40.0, 0.8, 2.5)
    means = np.stack([model.expected(some, h) for h in (0.0, 1.0, 30.0, 365.0, 3650.0)])
    silent = np.stack([model.no_purchase(some, h) for h in (0.0, 1.0, 30.0, 365.0, 3650.0)])
    assert means[0] == pytest.approx(0.0)
    assert silent[0] == pytest.approx(1.0)
    assert (np.diff(means, axis=0) > 0).all()
    assert (np.diff(silent, axis=0) < 1e-12).all()
    # One who is all but certainly gone shows it in the logarithm of the other side alone.
    bought = [model.log_no_purchase(some, h)[1] for h in (1.0, 30.0, 365.0, 3650.0)]
    assert (np.diff(np.stack(bought[:2]), axis=0) > 0).all()
    assert (np.diff(np.stack(bought), axis=0) > -1e-11).all()
    assert (silent + means >= 1.0 - 1e-9).all(), "P(some) is at most the mean"
    # Discounting takes off something, and nothing at a rate of 0.
    assert model.discounted(some, 365.0, 0.0) == pytest.approx(means[3])
    assert (model.discounted(some, 365.0, 0.001) < means[3]).all()
    closed = model.log_no_purchase(some, 90.0)[0]
    assert closed == pytest.approx(Process.log_no_purchase(model, some, 90.0)[0], abs=1e-9)


def test_silence_of_the_long_gone_and_of_the_busy() -> None:
    """Log-odds stay finite and in order where probabilities are 0 or 1 to the last bit."""
    model = BgNbd(0.6, 4.0, 0.8, 2.5)
    gone, busy = rows((40, 50, 3000), (400, 50, 3000)), rows((40, 400, 400), (400, 400, 400))
    for h in (gone, busy):
        none, some = model.log_no_purchase(h, 90.0)
        assert np.isfinite(none - some).all()
    assert (np.diff(np.subtract(*model.log_no_purchase(gone, 90.0))) > 100).all()
    assert (np.diff(np.subtract(*model.log_no_purchase(busy, 90.0))) < 0).all()


def test_simulated_futures() -> None:
    """Customers simulated on past T buy as often as their histories say, within the noise."""
    whole = worlds.bg_histories(40_000, 0.6, 40.0, 0.8, 2.5, seed=3)
    model = BgNbd(0.6, 40.0, 0.8, 2.5)
    new = Histories(np.zeros(40_000), np.zeros(40_000), np.zeros(40_000))
    gap = whole.x - np.array([model.expected_new(T)[0] for T in range(730)])[whole.T.astype(int)]
    assert abs(gap.mean()) < 4.0 * gap.std() / 200.0
    silent = (whole.x == 0) - np.exp(-0.6 * np.log1p(whole.T / 40.0))
    assert abs(silent.mean()) < 4.0 * silent.std() / 200.0
    assert model.no_purchase(new.take(np.arange(1)), 100.0)[0] == pytest.approx(
        (40.0 / 140.0) ** 0.6
    )


def test_published_customers() -> None:
    """CDNOW, in weeks, with the published parameters.

    BG/NBD: Fader, Hardie, Lee (2005), "Implementing the BG/NBD model for customer base analysis in
    Excel", customer 0001. Pareto/NBD: customer 1516 of the BTYD package's walkthrough.
    """
    bg = BgNbd(0.243, 4.414, 0.793, 2.426)
    assert bg.expected(rows((2.0, 30.43, 38.86)), 39.0)[0] == pytest.approx(1.226, abs=5e-4)
    pareto, one = ParetoNbd(0.5534, 10.5802, 0.6061, 11.6562), rows((26.0, 30.86, 31.0))
    assert pareto.p_alive(one)[0] == pytest.approx(0.9979, abs=5e-5)
    assert pareto.expected(one, 52.0)[0] == pytest.approx(25.46, abs=0.01)
    assert pareto.expected_new(52.0)[0] == pytest.approx(1.473, abs=1e-3)


def test_occasions_to_come_are_the_mean_over_customers() -> None:
    """BG/BB: purchases, silence and an endless discounted future, by sums over customers."""
    model = BgBb(1.204, 0.750, 0.657, 2.783)
    history = Occasions([4.0], [5.0], [6.0])
    buys, ends = Chances(1.204, 0.750), Chances(0.657, 2.783)
    p, q = buys.log_points[:, None], buys.log_others[:, None]
    alive = 4 * p + 2 * q + 6 * ends.log_others
    total = np.logaddexp(alive, 4 * p + q + 5 * ends.log_others + ends.log_points)
    weights = mixed(buys, ends, total)[1] * np.exp(alive - total)
    chance, stays = buys.points[:, None], np.exp(ends.log_others)[None, :]
    mean = sum((weights * chance * stays**j).sum() for j in range(1, 6))
    assert model.expected(history, 5)[0] == pytest.approx(mean, rel=1e-8)
    silent = 1.0 - weights.sum()
    for j in range(1, 6):  # gone before occasion j
        silent += (weights * (1.0 - stays) * (stays * (1.0 - chance)) ** (j - 1)).sum()
    silent += (weights * (stays * (1.0 - chance)) ** 5).sum()
    assert model.no_purchase(history, 5)[0] == pytest.approx(silent, rel=1e-8)
    worth = (weights * chance * stays / (1.1 - stays)).sum()
    assert model.discounted(history, 400, 0.1)[0] == pytest.approx(worth, rel=1e-8)
    assert model.expected(history, 0)[0] == 0.0


def test_renewals_to_come() -> None:
    """Sums over the sBG's future agree with the closed form of DERL and with retention."""
    model = ShiftedBeta(0.668, 3.806)
    renewed = np.array([0.0, 1.0, 4.0])
    ever = model.expected_forever(renewed, 0.1)
    assert model.expected(renewed, 500, 0.1) == pytest.approx(ever, rel=1e-9)
    steps = model.retention(np.arange(1.0, 9.0))
    assert model.survival(np.arange(1.0, 9.0)) == pytest.approx(np.cumprod(steps))
    assert model.survival(3.0, 5.0) == pytest.approx(np.prod(model.retention([6, 7, 8])))
    assert (np.diff(steps) > 0).all(), "who stays is ever likelier to stay"


def test_spend_lies_between_own_and_everybodys() -> None:
    """No order known: the mean of all; ever more orders: one's own mean."""
    model = GammaGamma(6.25, 3.74, 15.44)
    everybody = 15.44 * 6.25 / 2.74
    found = model.expected(Spend([0, 1, 10, 1e6], [np.nan, 80.0, 80.0, 80.0]))
    assert found[0] == pytest.approx(everybody)
    assert (np.diff(found) > 0).all()
    assert found[-1] == pytest.approx(80.0, abs=1e-3)
    with pytest.raises(DataError, match="q = 0.9.*1 customers no finite mean"):
        GammaGamma(6.25, 0.9, 15.44).expected(Spend([0, 5], [0.0, 80.0]))


BAD: dict[str, Any] = {
    "horizon": lambda m: m.expected(rows((0, 0, 9)), -1.0),
    "horizon: nan": lambda m: m.no_purchase(rows((0, 0, 9)), np.nan),
    "horizon: inf": lambda m: m.discounted(rows((0, 0, 9)), np.inf, 0.1),
    "rate": lambda m: m.discounted(rows((0, 0, 9)), 9.0, -0.1),
    "rate: 0": lambda m: m.discounted_forever(rows((0, 0, 9)), 0.0),
    "whole number of occasions": lambda _: BgBb(1, 1, 1, 1).expected(Occasions(0, 0, 3), 1.5),
    "rate: -1": lambda _: BgBb(1, 1, 1, 1).discounted(Occasions(0, 0, 3), 2, -1.0),
    "periods": lambda _: ShiftedBeta(1, 1).survival(np.array([0.5])),
    "period": lambda _: ShiftedBeta(1, 1).retention(np.array([0.0])),
    "rate: -2": lambda _: ShiftedBeta(1, 1).expected(np.array([1.0]), 3, -2.0),
    "positive rate": lambda _: ShiftedBeta(1, 1).expected_forever(np.array([1.0]), 0.0),
}


@pytest.mark.parametrize("said", BAD)
def test_impossible_questions_are_refused(said: str) -> None:
    """Negative, endless or broken horizons and rates, by name."""
    with pytest.raises(ConfigError, match=said):
        BAD[said](MODELS["ParetoNbd"])
