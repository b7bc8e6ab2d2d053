"""What every purchase process in continuous time can be asked, from three answers of its own."""

from abc import ABC, abstractmethod

import numpy as np

from features.errors import ConfigError
from training.contract import Floats
from training.models.purchases.histories import Histories

NEW = Histories(np.zeros(1), np.zeros(1), np.zeros(1))
"""The history of a customer at the moment of the first purchase."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(6)
"""Of the discount's integral over (-1, 1)."""


class Process(ABC):
    """Purchases at a rate of one's own until an unseen end.

    Answers are of shape (n_rows,), for the customers of ``histories`` after their T. Times are in
    the unit of the histories.
    """

    @abstractmethod
    def terms(self, histories: Histories) -> tuple[Floats, Floats]:
        """Log-likelihoods (n_rows,), and derivatives by log-parameters (n_parameters, n_rows)."""

    @abstractmethod
    def log_p_alive(self, histories: Histories) -> Floats:
        """Logarithm of the probability of not having ended by T."""

    @abstractmethod
    def expected_if_alive(self, histories: Histories, horizon: float) -> Floats:
        """Mean number of purchases in (T, T + horizon] of those who are alive at T."""

    def log_likelihood(self, histories: Histories) -> Floats:
        """Logarithm of the density of each history."""
        return self.terms(histories)[0]

    def p_alive(self, histories: Histories) -> Floats:
        """Probability of not having ended by T."""
        alive: Floats = np.exp(self.log_p_alive(histories))
        return alive

    def expected(self, histories: Histories, horizon: float) -> Floats:
        """Mean number of purchases in (T, T + horizon]."""
        checked("horizon", horizon)
        return self.p_alive(histories) * self.expected_if_alive(histories, horizon)

    def expected_new(self, horizon: float) -> Floats:
        """Mean number of repeat purchases in (0, horizon] of a new customer, shape (1,)."""
        return self.expected(NEW, horizon)

    def log_no_purchase(self, histories: Histories, horizon: float) -> tuple[Floats, Floats]:
        """Logarithms of the probabilities of no purchase in (T, T + horizon], and of any.

        No purchase leaves the history (x, t_x, T + horizon), so the probability is the ratio of two
        likelihoods, L(x, t_x, T + horizon) / L(x, t_x, T).
        """
        checked("horizon", horizon)
        x, t_x, T = histories.x, histories.t_x, histories.T
        later = Histories(x, t_x, T + horizon, histories.count)
        none = np.minimum(self.log_likelihood(later) - self.log_likelihood(histories), 0.0)
        with np.errstate(divide="ignore"):
            return none, np.log(-np.expm1(none))

    def no_purchase(self, histories: Histories, horizon: float) -> Floats:
        """P(X(T, T + horizon) = 0 | x, t_x, T), the probability of no purchase in the horizon."""
        none: Floats = np.exp(self.log_no_purchase(histories, horizon)[0])
        return none

    def discounted(self, histories: Histories, horizon: float, rate: float) -> Floats:
        """Purchases in (T, T + horizon], each worth exp(-rate * time from T).

        Times a customer's mean margin, this is his residual value over the horizon. By parts,

            int_0^h e^(-rate u) dE(u) = e^(-rate h) E(h) + rate int_0^h e^(-rate u) E(u) du,

        E(u) being the expectation up to u: no period has to be chosen. The integral is made small
        by the rate, and Gauss-Legendre points in sqrt(u) sit where E(u) bends: 6 of them miss the
        whole by less than 1e-6 over a year and 1e-4 over ten.

        Parameters
        ----------
        rate
            Continuous rate per unit of time: ln(1.10) / 365 for 10 % a year and days.
        """
        return self.p_alive(histories) * self.discounted_if_alive(histories, horizon, rate)

    def discounted_if_alive(self, histories: Histories, horizon: float, rate: float) -> Floats:
        """The same of those who are alive at T."""
        checked("horizon", horizon)
        checked("rate", rate)
        total = np.exp(-rate * horizon) * self.expected_if_alive(histories, horizon)
        if rate > 0:
            for node, weight in zip(NODES, WEIGHTS, strict=True):
                root = (1.0 + node) / 2.0
                u = horizon * root**2
                share = weight * horizon * root * rate * np.exp(-rate * u)
                total = total + share * self.expected_if_alive(histories, u)
        found: Floats = total
        return found


def log_sum(a: Floats, b: Floats) -> Floats:
    """Logarithm of exp(a) + exp(b): ``numpy.logaddexp`` by its vectorised parts, 4 times as fast.

    ``a`` is finite, ``b`` may be minus infinity.
    """
    found: Floats = np.maximum(a, b) + np.log1p(np.exp(-np.abs(a - b)))
    return found


def checked(name: str, value: float) -> None:
    """Nothing, if ``value`` is 0 or more; else a ConfigError that names it."""
    if not (np.isfinite(value) and value >= 0):
        raise ConfigError(f"{name}: {value}: expected 0 or more, finite")
