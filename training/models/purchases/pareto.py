"""Pareto/NBD: a customer may be gone at any moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import digamma, exprel, gammaln, hyperu

from features.errors import ConfigError
from training.contract import Floats
from training.models.purchases.histories import Histories
from training.models.purchases.process import Process, checked

Rate = Floats | float

NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
FAR = 36.0
"""Where an integrand has fallen by exp(-36) of its value, it is left out."""
CHUNK = 2_048
"""Histories integrated together; their arrays stay in the cache."""


@dataclass(frozen=True)
class ParetoNbd(Process):
    """The Pareto/NBD model of Schmittlein, Morrison, Colombo (1987).

    "Counting your customers: who are they and what will they do next?", Management Science 33(1),
    as derived in Fader, Hardie (2005), "A note on deriving the Pareto/NBD model and related
    expressions". Alive, a customer buys at a rate lambda ~ Gamma(r, alpha) and ends at a rate
    mu ~ Gamma(s, beta). The likelihood is the sum over "alive at T" and "ended at u in (t_x, T]":

        L = Gamma(r + x) alpha^r beta^s / Gamma(r) * [(alpha + T)^-(r + x) (beta + T)^-s
            + s int_{t_x}^T (alpha + u)^-(r + x) (beta + u)^-(s + 1) du].

    The note solves the integral by a difference of two 2F1, which cancel when
    t_x is near T and overflow for large x. Here it is done by quadrature: its integrand is smooth
    and positive on a logarithmic axis, and the same nodes give the gradient.
    """

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "s", "beta")
    scales: ClassVar[tuple[str, ...]] = ("alpha", "beta")
    covariates: ClassVar[Mapping[str, float]] = {"alpha": -1.0, "beta": -1.0}
    """alpha exp(-z g1), beta exp(-z g2): Fader, Hardie (2007), "Incorporating time-invariant
    covariates into the Pareto/NBD and BG/NBD models", section 2."""

    r: float
    """Shape of the purchase rates."""
    alpha: Rate
    """Their inverse scale, in units of time."""
    s: float
    """Shape of the rates of ending."""
    beta: Rate
    """Their inverse scale, in units of time."""

    @classmethod
    def starts(cls, histories: Histories) -> list[tuple[float, ...]]:
        """Rates by the mean of purchases over time, lives short and long."""
        pace, T = histories.average(histories.T) / histories.average(histories.x), histories.scale
        return [
            (r, r * pace, s, T * s * life)
            for r, s, life in ((0.4, 0.5, 0.5), (1.0, 0.5, 1.0), (1.0, 1.0, 4.0), (3.0, 2.0, 1.0))
        ]

    def _summands(self, h: Histories) -> tuple[Floats, Floats, Floats]:
        """Logarithms of alive and ended, and the means (4, n) that the gradient takes of u."""
        log_integral, means = self._integrals(self.r + h.x, self.s + 1.0, h.t_x, h.T)
        alive = -(self.r + h.x) * np.log(self.alpha + h.T) - self.s * np.log(self.beta + h.T)
        return alive, np.log(self.s) + log_integral, means

    def _integrals(self, m: Floats, k: float, start: Floats, end: Floats) -> tuple[Floats, Floats]:
        """:func:`_integral` for many rows, some at a time."""
        log_integral, means = np.empty(len(m)), np.empty((4, len(m)))
        alpha, beta = (np.broadcast_to(p, len(m)) for p in (self.alpha, self.beta))
        for at in range(0, len(m), CHUNK):
            part = slice(at, at + CHUNK)
            log_integral[part], means[:, part] = _integral(
                m[part], k, alpha[part], beta[part], start[part], end[part]
            )
        return log_integral, means

    def terms(self, histories: Histories) -> tuple[Floats, Floats]:
        """Log-likelihoods and their derivatives by the logarithms of r, alpha, s, beta."""
        h, r, alpha, s, beta = histories, self.r, self.alpha, self.s, self.beta
        alive, ended, (log_a, over_a, log_b, over_b) = self._summands(h)
        both = np.logaddexp(alive, ended)
        dead = np.exp(ended - both)
        there = 1.0 - dead
        value = h.by_count(lambda x: gammaln(r + x) - gammaln(r)) + both
        by_r = h.by_count(lambda x: digamma(r + x) - digamma(r))
        slopes = [
            r * (by_r + np.log(alpha) - there * np.log(alpha + h.T) - dead * log_a),
            r - (r + h.x) * alpha * (there / (alpha + h.T) + dead * over_a),
            s * (np.log(beta) - there * np.log(beta + h.T) + dead * (1.0 / s - log_b)),
            s - beta * (there * s / (beta + h.T) + dead * (s + 1.0) * over_b),
        ]
        return value + r * np.log(alpha) + s * np.log(beta), np.stack(slopes)

    def log_p_alive(self, histories: Histories) -> Floats:
        """The share of "alive at T" in the likelihood: equations 11 to 13 of the paper of 1987."""
        alive, ended, _ = self._summands(histories)
        found: Floats = -np.logaddexp(0.0, ended - alive)
        return found

    def expected_if_alive(self, histories: Histories, horizon: float) -> Floats:
        """Equation 41 of the note without the probability of being alive; it holds at s = 1.

        (r + x) (beta + T) / (alpha + T) * (1 - exp(-(s - 1) l)) / (s - 1) with
        l = ln(1 + horizon / (beta + T)).
        """
        h = histories
        checked("horizon", horizon)
        left = np.log1p(horizon / (self.beta + h.T))
        pace = (self.r + h.x) / (self.alpha + h.T)
        found: Floats = pace * (self.beta + h.T) * left * exprel((1.0 - self.s) * left)
        return found

    def log_no_purchase(self, histories: Histories, horizon: float) -> tuple[Floats, Floats]:
        """The general ratio of likelihoods, and P(any) by itself, each exact in its own tail.

        P(any) = P(alive) int_0^horizon E[lambda exp(-(lambda + mu) u)] du, the moment u of the next
        purchase being before the end, with Gamma(r + x, alpha + T) and Gamma(s, beta + T) rates.
        """
        h, m = histories, self.r + histories.x
        none, _ = super().log_no_purchase(h, horizon)
        within, _ = self._integrals(m + 1.0, self.s, h.T, h.T + horizon)
        some = np.log(m) + m * np.log(self.alpha + h.T) + self.s * np.log(self.beta + h.T) + within
        return none, np.minimum(self.log_p_alive(h) + some, 0.0)

    def discounted_forever(self, histories: Histories, rate: float) -> Floats:
        """All future purchases, each worth exp(-rate * time from T), shape (n_rows,).

        DERT, equation 2 of Fader, Hardie, Lee (2005), "RFM and CLV: using iso-value curves for
        customer base analysis", J. of Marketing Research 42(4); Psi is Tricomi's function U:
        P(alive) * (r + x) / (alpha + T) * delta^(s - 1) (beta + T)^s Psi(s, s; delta (beta + T)).

        Raises
        ------
        ConfigError
            If the rate is not positive: the sum may be infinite.
        """
        h = histories
        if not (np.isfinite(rate) and rate > 0):
            raise ConfigError(f"rate: {rate}: expected a positive discount rate per unit of time")
        # With y = delta (beta + T), y^(s - 1) U(s, s, y) = U(1, 2 - s, y) by Kummer.
        life = (self.beta + h.T) * hyperu(1.0, 2.0 - self.s, rate * (self.beta + h.T))
        found: Floats = self.p_alive(h) * (self.r + h.x) / (self.alpha + h.T) * life
        return found


def _integral(
    m: Floats, k: float, alpha: Floats, beta: Floats, start: Floats, end: Floats
) -> tuple[Floats, Floats]:
    """Logarithm of int_start^end (alpha + u)^-m (beta + u)^-k du, and means under its integrand.

    With d = u - start and c = start + min(alpha, beta) the axis is v = ln(1 + d / c), on which the
    integrand is analytic within pi of the real line. It ends at the latest where one of the two
    factors has fallen by exp(-FAR).

    Returns
    -------
    tuple
        Shape (n,); and the means of ln(alpha + u), 1 / (alpha + u), ln(beta + u) and
        1 / (beta + u), shape (4, n).
    """
    at_a, at_b = alpha + start, beta + start
    a_first = at_a <= at_b
    c, far = np.minimum(at_a, at_b), np.maximum(at_a, at_b)
    near_power, far_power = np.where(a_first, m, k), np.where(a_first, k, m)
    with np.errstate(over="ignore"):  # an infinite bound is none
        ends = np.minimum(c * np.expm1(FAR / near_power), far * np.expm1(FAR / far_power))
    length = np.log1p(np.minimum(end - start, ends) / c)
    v = length * (1.0 + NODES[:, None]) / 2.0
    d = c * np.expm1(v)
    log_far = np.log1p(d / far)
    f = np.exp((1.0 - near_power) * v - far_power * log_far) * WEIGHTS[:, None]
    total = f.sum(axis=0)
    # Means of the logarithm and of the inverse of c + d and of far + d.
    near = np.log(c) + _sum(f, v) / total, _sum(f, 1.0 / (c + d)) / total
    away = np.log(far) + _sum(f, log_far) / total, _sum(f, 1.0 / (far + d)) / total
    means = np.where(a_first, np.stack([*near, *away]), np.stack([*away, *near]))
    with np.errstate(divide="ignore"):  # nothing to integrate where start = end
        value = np.log(c * length / 2.0 * total)
    return value - m * np.log(at_a) - k * np.log(at_b), means


def _sum(f: Floats, values: Floats) -> Floats:
    found: Floats = np.einsum("ij,ij->j", f, values)
    return found
