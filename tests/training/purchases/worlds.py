"""Customers drawn from each model, and integrals over them by plain sums on a grid.

Nothing here uses the formulas under test: histories are simulated purchase by purchase, and the
mixing integrals are trapezoidal sums over the individual customer's two parameters, on axes where
the integrand is smooth and dies out on both sides, so that the sums converge exponentially.
"""

import numpy as np
from scipy.integrate import trapezoid
from scipy.special import expit, log_expit, logsumexp
from scipy.stats import gamma as gamma_law

from training.contract import Floats
from training.models.purchases import Contracts, Histories, Occasions, Spend

ODDS = np.arange(-100.0, 100.0, 0.25)
"""Of ln(p / (1 - p)); shapes from 0.3 on die out within it."""


class Rates:
    """An axis of rates ~ Gamma(shape, 1 / scale), fine enough for the posterior of x purchases."""

    def __init__(self, shape: float, scale: float, x: float = 0.0) -> None:
        self.axis = np.arange(-110.0, 12.0, 0.7 / np.sqrt(8.0 + x))
        self.points = np.exp(self.axis)
        self.log_density = gamma_law.logpdf(self.points, shape, scale=1.0 / scale) + self.axis


class Chances:
    """An axis of probabilities ~ Beta(a, b)."""

    def __init__(self, a: float, b: float) -> None:
        self.points = expit(ODDS)
        self.log_points, self.log_others = log_expit(ODDS), log_expit(-ODDS)
        density = a * self.log_points + b * self.log_others
        top = density.max()
        self.log_density = density - top - np.log(trapezoid(np.exp(density - top), ODDS))
        self.axis = ODDS


def mixed(
    first: Rates | Chances, second: Rates | Chances, log_value: Floats
) -> tuple[float, Floats]:
    """Logarithm of a mixture, and the posterior over the grid (its weights add up to 1).

    ``log_value`` is the individual's log-likelihood on the grid, shape (n_first, n_second).
    """
    logs = log_value + first.log_density[:, None] + second.log_density[None, :]
    step = (first.axis[1] - first.axis[0]) * (second.axis[1] - second.axis[0])
    total = float(logsumexp(logs))
    return total + float(np.log(step)), np.exp(logs - total)


def bg_histories(
    n: int, r: float, alpha: float, a: float, b: float, seed: int = 0, first: bool = False
) -> Histories:
    """Histories of BG/NBD customers, or of its modification, observed for 100 to 730 days."""
    rng = np.random.default_rng(seed)
    T = rng.integers(100, 730, n).astype(np.float64)
    rate, p = rng.gamma(r, 1.0 / alpha, n), rng.beta(a, b, n)
    x, t_x, now = np.zeros(n), np.zeros(n), np.zeros(n)
    alive = rng.random(n) > p if first else np.ones(n, dtype=bool)
    while alive.any():
        at = np.flatnonzero(alive)
        now[at] += rng.exponential(1.0 / rate[at])
        alive[at[now[at] > T[at]]] = False
        at = at[now[at] <= T[at]]
        x[at] += 1.0
        t_x[at] = now[at]
        alive[at[rng.random(len(at)) < p[at]]] = False
    return Histories(x, t_x, T)


def pareto_histories(
    n: int, r: float, alpha: float, s: float, beta: float, seed: int = 0
) -> Histories:
    """Histories of Pareto/NBD customers, observed for 100 to 730 days."""
    rng = np.random.default_rng(seed)
    T = rng.integers(100, 730, n).astype(np.float64)
    rate = rng.gamma(r, 1.0 / alpha, n)
    end = np.minimum(rng.exponential(1.0 / rng.gamma(s, 1.0 / beta, n)), T)
    x = rng.poisson(rate * end).astype(np.float64)
    # The last of x uniform times in (0, end).
    t_x = np.where(x > 0, end * rng.random(n) ** (1.0 / np.maximum(x, 1.0)), 0.0)
    return Histories(x, t_x, T)


def occasions(
    n: int, alpha: float, beta: float, gamma: float, delta: float, most: int, seed: int = 0
) -> Occasions:
    """Histories of BG/BB customers over ``most`` occasions or half of them."""
    rng = np.random.default_rng(seed)
    p, theta = rng.beta(alpha, beta, n), rng.beta(gamma, delta, n)
    there = np.where(rng.random(n) < 0.5, most, most // 2)
    lives = rng.geometric(np.maximum(theta, 1e-12), n) - 1
    x, t_x = np.zeros(n), np.zeros(n)
    for i in range(1, most + 1):
        buys = (i <= np.minimum(lives, there)) & (rng.random(n) < p)
        x += buys
        t_x[buys] = i
    return Occasions(x, t_x, there)


def contracts(n: int, alpha: float, beta: float, most: int, seed: int = 0) -> Contracts:
    """Contracts observed for 1 to ``most`` periods."""
    rng = np.random.default_rng(seed)
    life = rng.geometric(rng.beta(alpha, beta, n))
    seen = rng.integers(1, most + 1, n)
    return Contracts(np.minimum(life, seen), life <= seen)


def spend(n: int, p: float, q: float, gamma: float, seed: int = 0) -> Spend:
    """Mean values of 1 to 12 orders."""
    rng = np.random.default_rng(seed)
    orders = rng.integers(1, 13, n)
    nu = rng.gamma(q, 1.0 / gamma, n)
    return Spend(orders, rng.gamma(p * orders) / (nu * orders))


DONORS = np.array(
    [
        (6, 6, 1203), (5, 6, 728), (4, 6, 512), (3, 6, 357), (2, 6, 234), (1, 6, 129),
        (5, 5, 335), (4, 5, 284), (3, 5, 225), (2, 5, 173), (1, 5, 119), (4, 4, 240),
        (3, 4, 181), (2, 4, 155), (1, 4, 78), (3, 3, 322), (2, 3, 255), (1, 3, 129),
        (2, 2, 613), (1, 2, 277), (1, 1, 1091), (0, 0, 3464),
    ],
    dtype=np.float64,
)  # fmt: skip
"""x, t_x and donors over n = 6 years: Fader, Hardie, Shang (2010), table 1."""

RENEWALS = {
    "regular": (1000, 631, 468, 382, 326, 289, 262, 241, 223, 207, 194, 183, 173),
    "high end": (1000, 869, 743, 653, 593, 551, 517, 491, 468, 445, 427, 409, 394),
}
"""Customers left of 1,000 after 0 to 12 years: Fader, Hardie (2007), table 1, in tenths of %."""
