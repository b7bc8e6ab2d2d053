"""Gamma-Gamma: what an order of a customer is worth on average, when few have been seen."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

from features.errors import DataError
from training.contract import Floats
from training.metrics import Ranked, spearman
from training.models.purchases.rows import Rows


@dataclass(frozen=True)
class Spend(Rows):
    """Orders and their mean value, a customer a row; both of shape (n_rows,).

    Raises
    ------
    DataError
        If orders are no whole number, or the mean of some is not above 0.
    """

    kind = "spend"
    columns = ("orders", "mean")

    orders: Floats
    """Orders that the mean is taken of; 0 where none is known, and the mean is then not read."""
    mean: Floats
    """Their mean value, in any currency."""
    count: Floats | None = None
    """Customers with these; 1 unless given."""

    def __post_init__(self) -> None:
        orders, mean = np.atleast_1d(self.orders), np.atleast_1d(self.mean)
        if orders.shape == mean.shape:
            object.__setattr__(self, "mean", np.where(orders == 0, 0.0, mean))
        super().__post_init__()

    def problems(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """What no spend can be."""
        orders = self.orders
        return [
            ("orders is no whole number", (orders < 0) | (orders != np.floor(orders))),
            (
                "mean spend is 0 or negative: leave out free and returned orders, here and in "
                "orders alike",
                (orders > 0) & (self.mean <= 0),
            ),
        ]

    def teaches(self) -> None:
        """Nothing, if customers with several orders show how orders of one customer vary."""
        counted = self.counts > 0
        if not (self.orders[counted] > 1).any():
            raise DataError(
                f"{self.kind}: nobody has more than one order; how orders of one customer vary "
                "cannot be told from how customers do. Observe longer"
            )
        known = counted & (self.orders > 0)
        if np.ptp(self.mean[known]) == 0:
            raise DataError(f"{self.kind}: all means are equal; there is nothing to learn")

    def dependence(self) -> tuple[float, float]:
        """Rank correlation of orders with their mean value, and its standard error.

        Gamma-Gamma takes them for independent; of customers with two orders or more (NaN if there
        are fewer than three of those).
        """
        again = self.orders > 1
        n = float(self.counts[again].sum())
        if n < 3:
            return float("nan"), float("nan")
        rho = spearman(Ranked.of(self.orders[again], self.mean[again], 0.0), self.counts[again])
        return rho, (1.0 - rho**2) / np.sqrt(n - 1.0)

    @property
    def scale(self) -> float:
        """Mean of an order, over customers with any."""
        known = self.orders > 0
        return float(np.average(self.mean[known], weights=self.counts[known]))


@dataclass(frozen=True)
class GammaGamma:
    """The Gamma-Gamma model of Fader, Hardie, Lee (2005) and Fader, Hardie (2013).

    "RFM and CLV: using iso-value curves for customer base analysis", J. of Marketing Research
    42(4); "The Gamma-Gamma model of monetary value". Orders of a customer are Gamma(p, nu), and nu
    ~ Gamma(q, gamma) over customers. Spend is taken to be independent of how often one buys.
    """

    names: ClassVar[tuple[str, ...]] = ("p", "q", "gamma")
    scales: ClassVar[tuple[str, ...]] = ("gamma",)
    covariates: ClassVar[dict[str, float]] = {}

    p: float
    """Shape of one customer's orders."""
    q: float
    """Shape over customers; their mean spend is finite only above 1."""
    gamma: float
    """Scale over customers, in the currency of spend."""

    @classmethod
    def starts(cls, rows: Spend) -> list[tuple[float, ...]]:
        """The mean of an order, customers alike and unlike."""
        return [(p, q, rows.scale * (q - 1.0) / p) for p in (1.0, 4.0) for q in (2.0, 5.0)]

    def terms(self, rows: Spend) -> tuple[Floats, Floats]:
        """Log-densities of the mean of x orders, and derivatives by ln p, ln q and ln gamma.

        Equation 1a of the note of 2013; without orders nothing is said, and it is 0.
        """
        p, q, gamma = self.p, self.q, self.gamma
        known = rows.orders > 0
        x, m = np.where(known, rows.orders, 1.0), np.where(known, rows.mean, 1.0)
        whole, total = p * x + q, np.log(gamma + m * x)
        value = (
            gammaln(whole) - gammaln(p * x) - gammaln(q)
            + q * np.log(gamma) + p * x * np.log(m * x) - np.log(m) - whole * total
        )  # fmt: skip
        slopes = [
            p * x * (digamma(whole) - digamma(p * x) + np.log(m * x) - total),
            q * (digamma(whole) - digamma(q) + np.log(gamma) - total),
            q - whole * gamma / (gamma + m * x),
        ]
        return np.where(known, value, 0.0), np.where(known, np.stack(slopes), 0.0)

    def log_likelihood(self, rows: Spend) -> Floats:
        """Log-densities of the means, shape (n_rows,)."""
        return self.terms(rows)[0]

    def expected(self, rows: Spend) -> Floats:
        """Mean value of a customer's orders to come, equation 5 of the note of 2013.

        p (gamma + x m) / (p x + q - 1): between his own mean m and everybody's, gamma p / (q - 1),
        which is the answer where no order is known.

        Raises
        ------
        DataError
            If q is not above 1, so that everybody's mean is infinite, and somebody needs it.
        """
        left = self.p * rows.orders + self.q - 1.0
        if (left <= 0).any():
            raise DataError(
                f"Gamma-Gamma: q = {self.q:.3g} and p = {self.p:.3g} give {int((left <= 0).sum())} "
                "customers no finite mean; cut off outliers of spend, or fit with a prior"
            )
        found: Floats = self.p * (self.gamma + rows.orders * rows.mean) / left
        return found
