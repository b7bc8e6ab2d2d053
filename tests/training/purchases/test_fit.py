"""Fits find the parameters that customers were drawn with, published ones, and say how surely."""

import time
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

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
    fit,
)

TRUTHS: dict[str, tuple[Any, tuple[float, ...], Any]] = {
    "BgNbd": (BgNbd, (0.6, 40.0, 0.8, 2.5), worlds.bg_histories),
    "MbgNbd": (
        MbgNbd,
        (0.6, 40.0, 0.8, 2.5),
        lambda n, *p, seed: worlds.bg_histories(n, *p, seed=seed, first=True),
    ),
    "ParetoNbd": (ParetoNbd, (0.6, 40.0, 0.7, 200.0), worlds.pareto_histories),
    "BgBb": (
        BgBb,
        (1.2, 0.75, 0.66, 2.8),
        lambda n, *p, seed: worlds.occasions(n, *p, most=10, seed=seed),
    ),
    "ShiftedBeta": (
        ShiftedBeta,
        (0.7, 3.8),
        lambda n, *p, seed: worlds.contracts(n, *p, most=10, seed=seed),
    ),
    "GammaGamma": (GammaGamma, (3.0, 4.0, 90.0), worlds.spend),
}


def misses(found: Any, truth: tuple[float, ...]) -> np.ndarray:
    """Distances of log-parameters from the truth, in standard errors."""
    return (found.estimates - np.log(truth)) / np.sqrt(np.diag(found.covariance))


@pytest.mark.parametrize("name", TRUTHS)
def test_recovers_the_truth_by_its_own_standard_errors(name: str) -> None:
    """Within 4 of them at two sizes, and they shrink as the root of the size."""
    family, truth, draw = TRUTHS[name]
    errors = []
    for n in (3_000, 12_000):
        found = fit(family, draw(n, *truth, seed=n))
        assert np.abs(misses(found, truth)).max() < 4.0, found.parameters
        errors.append(np.sqrt(np.diag(found.covariance)))
    assert errors[1] == pytest.approx(errors[0] / 2.0, rel=0.45)


@pytest.mark.parametrize("name", ["ShiftedBeta", "GammaGamma", "BgNbd"])
def test_standard_errors_cover(name: str) -> None:
    """Over repeated samples the misses have the spread that the standard errors say."""
    family, truth, draw = TRUTHS[name]
    z = np.stack([misses(fit(family, draw(1_500, *truth, seed=s)), truth) for s in range(30)])
    # The root mean square of 30 standard normals lies in [0.65, 1.40] but for 1 time in 300.
    spread = np.sqrt((z**2).mean(axis=0))
    assert (spread > 0.65).all(), spread
    assert (spread < 1.40).all(), spread


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTHS)
def test_recovers_the_truth_of_many(name: str) -> None:
    """The same of 300,000 customers."""
    family, truth, draw = TRUTHS[name]
    assert np.abs(misses(fit(family, draw(300_000, *truth, seed=1)), truth)).max() < 4.0


def test_donors() -> None:
    """BG/BB on 11,104 donors: the parameters and likelihood of Fader, Hardie, Shang (2010)."""
    x, t_x, count = worlds.DONORS.T
    found = fit(BgBb, Occasions(x, t_x, np.full(22, 6), count))
    assert found.n_customers == 11_104
    said = {"alpha": 1.204, "beta": 0.750, "gamma": 0.657, "delta": 2.783}
    assert found.parameters == pytest.approx(said, abs=6e-4)
    assert found.log_likelihood == pytest.approx(-33_225.6, abs=0.05)


@pytest.mark.parametrize(
    ("segment", "said"), [("regular", (0.704, 1.182)), ("high end", (0.668, 3.806))]
)
def test_renewals(segment: str, said: tuple[float, float]) -> None:
    """The sBG on 7 years: the parameters of Fader, Hardie (2007), and years 8 to 12."""
    survivors = np.array(worlds.RENEWALS[segment], dtype=float)
    found = fit(ShiftedBeta, Contracts.of_survivors(survivors[:8]))
    assert tuple(found.parameters.values()) == pytest.approx(said, abs=6e-4)
    later = found.model.survival(np.arange(8.0, 13.0))
    assert later == pytest.approx(survivors[8:] / 1000.0, abs=0.02)


@pytest.mark.parametrize("name", TRUTHS)
def test_no_better_parameters_are_found_without_slopes(name: str) -> None:
    """A search by values alone, from the maximum and from aside, ends where the fit did."""
    family, truth, draw = TRUTHS[name]
    rows = draw(600, *truth, seed=5)
    found = fit(family, rows, prior=1e-3)  # the smallest samples may leave a parameter open

    def loss(theta: np.ndarray) -> float:
        away = theta - [np.log(rows.scale) * (n in family.scales) for n in family.names]
        likely = family(*np.exp(theta)).log_likelihood(rows).sum()
        return float(-likely + 1e-3 * (away @ away) / 8.0)

    aside = minimize(
        loss, found.estimates + 0.3, method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4_000, "maxfev": 4_000},
    )  # fmt: skip
    assert aside.fun >= loss(found.estimates) - 1e-7
    assert aside.fun <= loss(found.estimates) + 1e-3


@pytest.mark.parametrize(
    ("family", "effects"),
    [(BgNbd, {"alpha": 0.5, "a": 0.4, "b": 0.0}), (ParetoNbd, {"alpha": 0.5, "beta": -0.6})],
)
def test_covariates_are_recovered(family: Any, effects: dict[str, float]) -> None:
    """Two groups whose rates differ by known factors; coefficients within 4 standard errors."""
    truth = TRUTHS[family.__name__][1]
    draw = TRUTHS[family.__name__][2]
    parts = []
    for z in (0.0, 1.0):
        signs = family.covariates
        moved = [
            value * np.exp(signs.get(name, 0.0) * effects.get(name, 0.0) * z)
            for name, value in zip(family.names, truth, strict=True)
        ]
        parts.append((draw(6_000, *moved, seed=int(z)), np.full((6_000, 1), z)))
    joined = [np.concatenate([getattr(h, c) for h, _ in parts]) for c in ("x", "t_x", "T")]
    rows = Histories(*joined, z=np.concatenate([z for _, z in parts]))
    found = fit(family, rows)
    assert found.names == (*family.names, *(f"{name}:0" for name in family.covariates))
    expected = [*np.log(truth), *(effects[name] for name in family.covariates)]
    z = (found.estimates - expected) / np.sqrt(np.diag(found.covariance))
    assert np.abs(z).max() < 4.0, found.parameters
    # Of each group it says what a fit to that group alone says.
    first = rows.take(np.arange(6_000))
    alone = fit(family, Histories(first.x, first.t_x, first.T))
    together = found.at(np.zeros((6_000, 1))).expected(first, 90.0).mean()
    assert together == pytest.approx(alone.model.expected(first, 90.0).mean(), rel=0.03)
    assert found.error_of(lambda m: m.expected(first, 90.0), np.zeros((6_000, 1))).shape == (6_000,)


def test_delta_method() -> None:
    """Errors of parameters and of a mean agree with the spread over bootstrap samples."""
    rows = worlds.contracts(3_000, 0.7, 3.8, most=10)
    found = fit(ShiftedBeta, rows)
    values = []
    for seed in range(40):
        drawn = rows.take(np.random.default_rng(seed).integers(0, 3_000, 3_000))
        values.append(fit(ShiftedBeta, drawn).model.expected(np.zeros(1), 20)[0])
    said = found.error_of(lambda m: m.expected(np.zeros(1), 20))[0]
    assert said == pytest.approx(np.std(values), rel=0.35)
    own = found.error_of(lambda m: np.array([m.alpha, m.beta]))
    assert own == pytest.approx(list(found.standard_errors.values()), rel=1e-6)


def test_a_prior_gives_way_to_data() -> None:
    """It moves few customers' parameters towards its centre, and many customers' hardly."""
    moved = []
    for n in (100, 20_000):
        rows = worlds.bg_histories(n, 0.6, 40.0, 0.8, 2.5, seed=1)
        weak, strong = (fit(BgNbd, rows, prior=p).estimates for p in (0.01, 10.0))
        moved.append(np.abs(weak - strong).max())
    assert moved[0] > 10.0 * moved[1]
    assert moved[1] < 0.1


def test_the_same_customers_in_any_order_and_unit() -> None:
    """Order and compression leave every bit as it is; weeks for days only rescale alpha."""
    days = worlds.bg_histories(4_000, 0.6, 40.0, 0.8, 2.5)
    turned = days.take(np.random.default_rng(0).permutation(4_000))
    found = fit(BgNbd, days)
    assert np.array_equal(found.estimates, fit(BgNbd, turned).estimates)
    twice = Histories(days.x, days.t_x, days.T, np.full(4_000, 2.0))
    assert fit(BgNbd, twice).estimates == pytest.approx(found.estimates, abs=1e-6)
    weeks = fit(BgNbd, Histories(days.x, days.t_x / 7.0, days.T / 7.0))
    rescaled = {**found.parameters, "alpha": found.parameters["alpha"] / 7.0}
    assert weeks.parameters == pytest.approx(rescaled, rel=1e-5)


@pytest.mark.slow
def test_a_million_customers() -> None:
    """Fitted in seconds; P(alive) and the value of a year within 10 s on one thread."""
    rows = worlds.bg_histories(1_000_000, 0.6, 40.0, 0.8, 2.5)
    rows = Histories(rows.x, np.ceil(rows.t_x), rows.T)
    model = fit(BgNbd, rows).model
    model.expected(rows.take(np.arange(2)), 365.0)  # compiled on first use
    begun = time.process_time()  # one thread; what else runs here does not count
    alive, worth = model.p_alive(rows), model.discounted(rows, 365.0, np.log(1.1) / 365.0)
    assert time.process_time() - begun < 10.0
    assert np.isfinite(alive).all()
    assert np.isfinite(worth).all()
