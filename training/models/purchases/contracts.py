"""Shifted beta-geometric: customers under contract, who renew each period or leave."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, digamma, hyp2f1

from features.errors import ConfigError, DataError
from training.contract import Floats
from training.models.purchases.rows import Rows


@dataclass(frozen=True)
class Contracts(Rows):
    """Contracts after some chances to leave; all of shape (n_rows,).

    Raises
    ------
    DataError
        If a contract is impossible.
    """

    kind = "contracts"
    columns = ("periods", "left")

    periods: Floats
    """Ends of period that the contract has come to: it was renewed at all of them, or left at the
    last."""
    left: Floats
    """1 if it was left there, 0 if it still runs."""
    count: Floats | None = None
    """Contracts with this history; 1 unless given."""

    def problems(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """What no contract can be."""
        t, left = self.periods, self.left
        return [
            ("periods is no whole number", (t < 0) | (t != np.floor(t))),
            ("left is neither 0 nor 1", (left != 0) & (left != 1)),
            ("left before the first end of a period", (left == 1) & (t == 0)),
        ]

    def teaches(self) -> None:
        """Nothing, if some left and some stayed, and not all within the first period."""
        n = self.counts
        left = float(n @ self.left)
        renewed = float(n @ np.maximum(self.periods - self.left, 0.0))
        if not (left > 0 and renewed > 0):
            raise DataError(
                f"{self.kind}: {left:g} left and {renewed:g} renewals; both are needed to learn "
                "how customers differ. Observe longer"
            )
        if not self.periods[n > 0].max() > 1:
            raise DataError(
                f"{self.kind}: nobody is observed beyond the first period; how customers differ "
                "shows in the second. Observe longer, or use shorter periods"
            )

    @classmethod
    def of_survivors(cls, survivors: Floats) -> "Contracts":
        """From a cohort's number of customers at the start and after each period.

        Raises
        ------
        DataError
            If it rises or has fewer than two numbers.
        """
        s = np.asarray(survivors, dtype=np.float64)
        if s.ndim != 1 or len(s) < 2 or not (np.diff(s) <= 0).all() or not (s >= 0).all():
            raise DataError(f"contracts: survivors {s.tolist()[:12]}: expected a falling series")
        periods = np.arange(1.0, len(s))
        return cls(
            np.append(periods, periods[-1]),
            np.append(np.ones(len(periods)), 0.0),
            np.append(-np.diff(s), s[-1]),
        )


@dataclass(frozen=True)
class ShiftedBeta:
    """The shifted beta-geometric model of Fader, Hardie (2007).

    "How to project customer retention", J. of Interactive Marketing 21(1). At the end of each
    period a customer leaves with a probability of his own, theta ~ Beta(alpha, beta); retention
    rises with time because those with high theta are the first to leave.
    """

    names: ClassVar[tuple[str, ...]] = ("alpha", "beta")
    scales: ClassVar[tuple[str, ...]] = ()
    covariates: ClassVar[dict[str, float]] = {}

    alpha: float
    beta: float

    @classmethod
    def starts(cls, rows: Contracts) -> list[tuple[float, ...]]:
        """The mean rate of leaving, customers alike and unlike."""
        theta = np.clip(rows.average(rows.left) / rows.average(rows.periods), 0.005, 0.9)
        return [(size * theta, size * (1.0 - theta)) for size in (1.0, 5.0, 30.0)]

    def terms(self, rows: Contracts) -> tuple[Floats, Floats]:
        """Log-likelihoods and their derivatives by the logarithms of alpha and beta.

        B(alpha + 1, beta + t - 1) / B(alpha, beta) for who left at t, equation 5; for who stayed
        B(alpha, beta + t) / B(alpha, beta), equation 6.
        """
        a, b, stays = self.alpha, self.beta, rows.periods - rows.left
        value = betaln(a + rows.left, b + stays) - betaln(a, b)
        both = digamma(a + b) - digamma(a + b + rows.periods)
        by_a = digamma(a + rows.left) - digamma(a) + both
        by_b = digamma(b + stays) - digamma(b) + both
        return value, np.stack([a * by_a, b * by_b])

    def log_likelihood(self, rows: Contracts) -> Floats:
        """Logarithm of the probability of each contract's history, shape (n_rows,)."""
        return self.terms(rows)[0]

    def survival(self, periods: Floats, renewed: Floats | float = 0.0) -> Floats:
        """Share that stays ``periods`` more after m = ``renewed`` ones, S(m + t) / S(m)."""
        m, t = np.asarray(renewed, dtype=np.float64), np.asarray(periods, dtype=np.float64)
        whole_periods("periods", t)
        whole_periods("renewed", m)
        found: Floats = np.exp(
            betaln(self.alpha, self.beta + m + t) - betaln(self.alpha, self.beta + m)
        )
        return found

    def retention(self, period: Floats) -> Floats:
        """Share of those left who renew at the end of ``period`` (1, 2, ...), equation 8."""
        t = np.asarray(period, dtype=np.float64)
        whole_periods("period", t - 1.0)
        found: Floats = (self.beta + t - 1.0) / (self.alpha + self.beta + t - 1.0)
        return found

    def expected(self, renewed: Floats, horizon: int, rate: float = 0.0) -> Floats:
        """Mean renewals at the next ``horizon`` ends of period, the first undiscounted.

        Parameters
        ----------
        renewed
            Renewals of each customer so far, shape (n_rows,).
        rate
            Discount rate per period.
        """
        m = np.asarray(renewed, dtype=np.float64)
        whole_periods("horizon", np.asarray(float(horizon)))
        if not (np.isfinite(rate) and rate >= 0):
            raise ConfigError(f"rate: {rate}: expected 0 or more, per period")
        total = np.zeros(m.shape)
        for j in range(int(horizon)):
            total = total + self.survival(np.asarray(j + 1.0), m) * (1.0 + rate) ** -j
        return total

    def expected_forever(self, renewed: Floats, rate: float) -> Floats:
        """The same over endless periods.

        DERL, equation 6 of Fader, Hardie (2010), "Customer-base valuation in a contractual
        setting: the perils of ignoring heterogeneity", Marketing Science 29(1), with m = n - 1.
        """
        m = np.asarray(renewed, dtype=np.float64)
        whole_periods("renewed", m)
        if not (np.isfinite(rate) and rate > 0):
            raise ConfigError(f"rate: {rate}: expected a positive rate per period")
        first = self.retention(m + 1.0)
        found: Floats = first * hyp2f1(
            1.0, self.beta + m + 1.0, self.alpha + self.beta + m + 1.0, 1.0 / (1.0 + rate)
        )
        return found


def whole_periods(name: str, values: Floats) -> None:
    """Nothing, if ``values`` count periods; else a ConfigError that names them."""
    if not ((values >= 0) & (values == np.floor(values)) & np.isfinite(values)).all():
        raise ConfigError(f"{name}: expected whole numbers of periods, from 0 (period: 1)")
