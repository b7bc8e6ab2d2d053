"""BG/NBD and its modification: a customer may be gone after each purchase, by chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import digamma, gammaln

from training.contract import Floats
from training.models.purchases.histories import Histories
from training.models.purchases.process import Process, checked, log_sum

Rate = Floats | float


@dataclass(frozen=True)
class BgNbd(Process):
    """The beta-geometric/NBD model of Fader, Hardie, Lee (2005).

    "'Counting your customers' the easy way: an alternative to the Pareto/NBD model", Marketing
    Science 24(2). Alive, a customer buys at a rate lambda ~ Gamma(r, alpha); after each *repeat*
    purchase he is gone with probability p ~ Beta(a, b). Who never came back is certainly alive.

    A history has k chances survived to be gone (k = x here, x + 1 in :class:`MbgNbd`). Its
    likelihood is their equation 6,

        L = Gamma(r + x) alpha^r / Gamma(r) * B(a, b + k) / B(a, b)
            * [(alpha + T)^-(r + x) + {k > 0} a / (b + k - 1) (alpha + t_x)^-(r + x)],

    whose two summands, alive and gone, are added as logarithms.
    """

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b")
    scales: ClassVar[tuple[str, ...]] = ("alpha",)
    covariates: ClassVar[Mapping[str, float]] = {"alpha": -1.0, "a": 1.0, "b": 1.0}
    """alpha exp(-z g1), a exp(z g2), b exp(z g3), as in Fader, Hardie (2007), "Incorporating
    time-invariant covariates into the Pareto/NBD and BG/NBD models", section 3."""
    first: ClassVar[int] = 0
    """Chances to be gone that come with the first purchase."""

    r: float
    """Shape of the rates."""
    alpha: Rate
    """Their inverse scale, in units of time."""
    a: Rate
    b: Rate

    @classmethod
    def starts(cls, histories: Histories) -> list[tuple[float, ...]]:
        """Rates by the mean of purchases over time, lives short and long."""
        pace = histories.average(histories.T) / histories.average(histories.x)
        return [
            (r, r * pace, a, b)
            for r, a, b in ((0.3, 0.7, 2.5), (1.0, 0.7, 2.5), (1.0, 1.0, 10.0), (3.0, 0.3, 0.5))
        ]

    def _summands(self, h: Histories) -> tuple[Floats, Floats, Floats, Floats]:
        """Logarithms of alive and gone, and of alpha + T and alpha + t_x."""
        end, last = np.log(self.alpha + h.T), np.log(self.alpha + h.t_x)
        power = self.r + h.x
        chance = h.by_count(_log_chance, self.a, self.b, self.first)
        return -power * end, chance - power * last, end, last

    def terms(self, histories: Histories) -> tuple[Floats, Floats]:
        """Log-likelihoods and their derivatives by the logarithms of r, alpha, a, b."""
        h, r, alpha, a, b = histories, self.r, self.alpha, self.a, self.b
        alive, gone, end, last = self._summands(h)
        both = log_sum(alive, gone)
        dead = np.exp(gone - both)
        value = h.by_count(_log_counts, r, a, b, self.first) + r * np.log(alpha) + both
        by_r, by_a, by_b, left = h.by_count(_count_slopes, r, a, b, self.first)
        slopes = np.empty((4, len(h)))
        slopes[0] = r * (by_r + np.log(alpha) - end + dead * (end - last))
        slopes[1] = (1.0 - dead) / (alpha + h.T) + dead / (alpha + h.t_x)
        slopes[1] = r - (r + h.x) * alpha * slopes[1]
        slopes[2] = a * by_a + dead
        slopes[3] = b * (by_b - dead / left)
        return value, slopes

    def log_p_alive(self, histories: Histories) -> Floats:
        """Page 2 of Fader, Hardie, Lee (2008), "Computing P(alive) using the BG/NBD model"."""
        alive, gone, _, _ = self._summands(histories)
        found: Floats = -np.logaddexp(0.0, gone - alive)
        return found

    def expected_if_alive(self, histories: Histories, horizon: float) -> Floats:
        """Equation 10 (2005) without the probability of being alive; equation 9 for x = T = 0."""
        from training.models.purchases.expectation import mean_purchases  # brings the compiler

        h = histories
        checked("horizon", horizon)
        share = horizon / (self.alpha + h.T + horizon)
        found: Floats = mean_purchases(self.r + h.x, share, self.a, self.b + h.x + self.first)
        return found

    def log_no_purchase(self, histories: Histories, horizon: float) -> tuple[Floats, Floats]:
        """The general ratio of likelihoods, in closed form.

        Alive at T he cannot be gone before he buys, and his rate is Gamma(r + x, alpha + T), so he
        buys nothing with probability q = ((alpha + T) / (alpha + T + horizon))^(r + x), and
        P(nothing) = 1 - P(alive) + P(alive) q. Both logarithms are exact in their tails.
        """
        h = histories
        checked("horizon", horizon)
        alive, gone, end, _ = self._summands(h)
        log_alive = -np.logaddexp(0.0, gone - alive)
        log_gone = -np.logaddexp(0.0, alive - gone)
        idle = -(self.r + h.x) * np.log1p(horizon / (self.alpha + h.T))
        with np.errstate(divide="ignore"):
            return np.logaddexp(log_gone, log_alive + idle), log_alive + np.log(-np.expm1(idle))


@dataclass(frozen=True)
class MbgNbd(BgNbd):
    """The modified BG/NBD: a customer may be gone right after the first purchase as well.

    Batislam, Denizel, Filiztekin (2007), "Empirical validation and comparison of models for
    customer base analysis", Int. J. of Research in Marketing 24(3), equations 4 (mean purchases),
    5 (P(alive)) and 6 (mean purchases given a history); Hoppe, Wagner (2007), "Customer base
    analysis: the case for a central variant of the betageometric/NBD model", Marketing JRM 3(2). It
    is :class:`BgNbd` with x + 1 chances to be gone for x.
    """

    first: ClassVar[int] = 1


def _log_counts(x: Floats, r: float, a: Rate, b: Rate, first: int) -> Floats:
    """Logarithm of Gamma(r + x) / Gamma(r) * B(a, b + k) / B(a, b)."""
    k = x + first
    found: Floats = gammaln(r + x) - gammaln(r) + _log_rising(b, k) - _log_rising(a + b, k)
    return found


def _log_rising(q: Rate, k: Floats) -> Floats:
    """Logarithm of q (q + 1) ... (q + k - 1)."""
    found: Floats = gammaln(q + k) - gammaln(q)
    return found


def _log_chance(x: Floats, a: Rate, b: Rate, first: int) -> Floats:
    """Logarithm of a / (b + k - 1); minus infinity where there was no chance to be gone."""
    k = x + first
    return np.where(k > 0, np.log(a / _left(b, k)), -np.inf)


def _count_slopes(x: Floats, r: float, a: Rate, b: Rate, first: int) -> Floats:
    """Derivatives of :func:`_log_counts` by r, a and b, and b + k - 1; shape (4, n)."""
    k = x + first
    both = digamma(a + b) - digamma(a + b + k)
    own = digamma(b + k) - digamma(b)
    return np.stack([digamma(r + x) - digamma(r), both, own + both, _left(b, k)])


def _left(b: Rate, k: Floats) -> Floats:
    found: Floats = b + np.maximum(k, 1.0) - 1.0
    return found
