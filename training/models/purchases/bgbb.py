"""BG/BB: one chance to buy a period, such as a yearly appeal or a concert."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, digamma, logsumexp

from features.errors import ConfigError, DataError
from training.contract import Floats
from training.models.purchases.rows import Rows

MOST = 10_000
"""Occasions per customer; more are moments, and for those there are the other models."""


@dataclass(frozen=True)
class Occasions(Rows):
    """Histories (x, t_x, n) over n occasions after the first purchase; all of shape (n_rows,).

    Raises
    ------
    DataError
        If a history is impossible.
    """

    kind = "histories of occasions"
    columns = ("x", "t_x", "n")

    x: Floats
    """Occasions with a purchase."""
    t_x: Floats
    """Number of the last of them, 0 where x is 0."""
    n: Floats
    """Occasions there were."""
    count: Floats | None = None
    """Customers with this history; 1 unless given."""

    def problems(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """What no history can be."""
        x, t_x, n = self.x, self.t_x, self.n
        broken = [
            (f"{name} is no whole number of occasions", (value < 0) | (value != np.floor(value)))
            for name, value in (("x", x), ("t_x", t_x), ("n", n))
        ]
        return [
            *broken,
            ("t_x > n: the last purchase lies after the last occasion", t_x > n),
            ("x > t_x: more purchases than occasions up to the last one", x > t_x),
            ("t_x > 0 without a purchase", (x == 0) & (t_x > 0)),
            (f"n is above {MOST}: count periods, or take a model in continuous time", n > MOST),
        ]

    def teaches(self) -> None:
        """Nothing, if somebody bought on an occasion."""
        counted = self.counts > 0
        if not (self.x[counted] > 0).any():
            raise DataError(
                f"{self.kind}: nobody bought on any occasion; chances to buy cannot be told from "
                "lifetimes. Observe longer"
            )


class _Sums(NamedTuple):
    """Logarithms of what a likelihood adds up, one part an end i: shape (n_rows, n_most + 1)."""

    parts: Floats
    total: Floats
    i: Floats


@dataclass(frozen=True)
class BgBb:
    """The beta-geometric/beta-Bernoulli model of Fader, Hardie, Shang (2010).

    "Customer-base analysis in a discrete-time noncontractual setting", Marketing Science 29(6).
    Alive, a customer buys on an occasion with probability p ~ Beta(alpha, beta); before each he is
    gone with probability theta ~ Beta(gamma, delta). Equation 5 is the likelihood,

        L = sum over i of B(alpha + x, beta + i - x) / B(alpha, beta)
            * {B(gamma, delta + n) if i = n, else B(gamma + 1, delta + i)} / B(gamma, delta),

    i running from t_x, the last occasion that he was surely alive, to n, alive at the end.
    """

    names: ClassVar[tuple[str, ...]] = ("alpha", "beta", "gamma", "delta")
    scales: ClassVar[tuple[str, ...]] = ()
    covariates: ClassVar[dict[str, float]] = {}

    alpha: float
    beta: float
    gamma: float
    delta: float

    @classmethod
    def starts(cls, rows: Occasions) -> list[tuple[float, ...]]:
        """Chances to buy by the mean of x over n, lives short and long."""
        p = np.clip(rows.average(rows.x) / max(rows.average(rows.n), 1e-9), 0.02, 0.95)
        return [
            (size * q, size * (1 - q), g, d)
            for size in (1.0, 4.0)
            for q, g, d in ((min(1.6 * p, 0.97), 0.7, 3.0), (p, 1.0, 20.0))
        ]

    def _sums(self, rows: Occasions) -> _Sums:
        steps = np.arange(int((rows.n - rows.t_x).max(initial=0.0)) + 1.0)
        i = np.minimum(rows.t_x[:, None] + steps, rows.n[:, None])
        last = i == rows.n[:, None]
        parts = (
            betaln(self.alpha + rows.x[:, None], self.beta + i - rows.x[:, None])
            - betaln(self.alpha, self.beta)
            + np.where(
                last,
                betaln(self.gamma, self.delta + i),
                betaln(self.gamma + 1.0, self.delta + i),
            )
            - betaln(self.gamma, self.delta)
        )
        # Past the end of a shorter history stands its end again, which counts once.
        parts[:, 1:][last[:, :-1]] = -np.inf
        return _Sums(parts, logsumexp(parts, axis=1), i)

    def terms(self, rows: Occasions) -> tuple[Floats, Floats]:
        """Log-likelihoods, and derivatives by the logarithms of alpha, beta, gamma, delta."""
        parts, total, i = self._sums(rows)
        share = np.exp(parts - total[:, None])
        x, ended = rows.x[:, None], (i < rows.n[:, None]).astype(np.float64)
        bought = digamma(self.alpha + self.beta) - digamma(self.alpha + self.beta + i)
        lived = digamma(self.gamma + self.delta) - digamma(self.gamma + self.delta + i + ended)
        slopes = [
            self.alpha * (digamma(self.alpha + x) - digamma(self.alpha) + bought),
            self.beta * (digamma(self.beta + i - x) - digamma(self.beta) + bought),
            self.gamma * (ended / self.gamma + lived),
            self.delta * (digamma(self.delta + i) - digamma(self.delta) + lived),
        ]
        return total, np.stack([(share * slope).sum(axis=1) for slope in slopes])

    def log_likelihood(self, rows: Occasions) -> Floats:
        """Logarithm of the probability of each history, shape (n_rows,)."""
        return self._sums(rows).total

    def _log_lives(self, rows: Occasions, later: int) -> Floats:
        """Logarithm of P(alive on occasion n + later and this history), shape (n_rows,)."""
        found: Floats = (
            betaln(self.alpha + rows.x, self.beta + rows.n - rows.x)
            - betaln(self.alpha, self.beta)
            + betaln(self.gamma, self.delta + rows.n + later)
            - betaln(self.gamma, self.delta)
        )
        return found

    def p_alive(self, rows: Occasions) -> Floats:
        """Probability of being alive on occasion n + 1, equation 11."""
        alive: Floats = np.exp(self._log_lives(rows, 1) - self.log_likelihood(rows))
        return alive

    def no_purchase(self, rows: Occasions, horizon: int) -> Floats:
        """No purchase on the next ``horizon`` occasions, L(x, t_x, n + h) / L(x, t_x, n)."""
        later = Occasions(rows.x, rows.t_x, rows.n + _whole(horizon), rows.count)
        none = self.log_likelihood(later) - self.log_likelihood(rows)
        found: Floats = np.exp(np.minimum(none, 0.0))
        return found

    def expected(self, rows: Occasions, horizon: int) -> Floats:
        """Mean purchases on the next ``horizon`` occasions, equation 13 as a sum over them."""
        return self.discounted(rows, horizon, 0.0)

    def discounted(self, rows: Occasions, horizon: int, rate: float) -> Floats:
        """The same, a purchase on occasion n + j being worth (1 + rate)^-j.

        ``sum_j P(alive on n + j | history) E[p | history] / (1 + rate)^j``; over endless occasions
        it is equation 14. A sum of positive terms: equation 13 is 0 / 0 at gamma = 1.

        Raises
        ------
        ConfigError
            If the horizon is no whole number of occasions or the rate is negative.
        """
        if not (np.isfinite(rate) and rate >= 0):
            raise ConfigError(f"rate: {rate}: expected 0 or more, per occasion")
        p = (self.alpha + rows.x) / (self.alpha + self.beta + rows.n)
        chance = self.p_alive(rows)
        total = np.zeros(len(rows))
        for j in range(1, _whole(horizon) + 1):
            total += chance * (1.0 + rate) ** -j
            lives = self.delta + rows.n + j
            chance = chance * lives / (self.gamma + lives)
        found: Floats = p * total
        return found


def _whole(horizon: int) -> int:
    if horizon != int(horizon) or horizon < 0:
        raise ConfigError(f"horizon: {horizon}: expected a whole number of occasions")
    return int(horizon)
