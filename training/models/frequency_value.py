"""The rule of thumb for amounts: how often, times how much an order, times who stays."""

import numpy as np
import pandas as pd
from pydantic import Field

from training.arrays import InArrays
from training.contract import Explanation, Floats, matrix
from training.models.history import HistoryColumns, history

YEAR = 365.0


class FrequencyValueConfig(HistoryColumns):
    """The horizon, and which columns are the history."""

    horizon_days: float = Field(default=90, gt=0)
    """Take the task's horizon."""


class FrequencyValue(InArrays):
    """Orders a year x mean value of an order x yearly retention, for the horizon's share of a year.

    Orders are counted from the first one, over a year at least. Retention is one number: of the
    customers whose first order is a year old or more, the share that ordered within the year; over
    h days it is retention^(h / 365). Labels are not looked at. Who has no kept order is taken for
    one with the mean log value of an order.
    """

    config: FrequencyValueConfig
    answers = ("amount",)
    space = "log-currency"
    file = "frequency.npz"

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Retention, and the means of the three logarithms that explanations start from."""
        self.columns = tuple(X.columns)
        counts = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
        recency, _, T, value = history(matrix(X, self.columns), self.columns, self.config)
        old, known = counts * (T >= YEAR), counts * (value > 0)
        stayed = float(old @ (recency < YEAR) / old.sum()) if old.sum() > 0 else 1.0
        usual = float(known @ np.log(np.where(value > 0, value, 1.0)) / max(known.sum(), 1e-9))
        self._arrays = {"retention": np.array([max(stayed, 0.01)]), "usual": np.array([usual])}
        logs = self._logs(matrix(X, self.columns))
        self._arrays["centre"] = np.array([np.average(log, weights=counts) for log in logs])

    def _logs(self, X: Floats) -> Floats:
        """Logarithms of orders, of one over their years, of an order's value; (3, n_rows)."""
        _, x, T, value = history(X, self.columns, self.config)
        worth = np.where(value > 0, np.log(np.where(value > 0, value, 1.0)), self._arrays["usual"])
        return np.stack([np.log(x + 1.0), -np.log(np.maximum(T, YEAR) / YEAR), worth])

    def score(self, X: Floats) -> Floats:
        """Logarithms of expected values, shape (n_rows,)."""
        orders, pace, worth = self._logs(X)
        scores: Floats = orders + pace + worth + self._share
        return scores

    @property
    def _share(self) -> float:
        """Logarithm of the horizon's share of a year times who stays through it."""
        years = self.config.horizon_days / YEAR
        return float(np.log(years) + years * np.log(self._arrays["retention"][0]))

    def explain(self, X: Floats) -> Explanation:
        """One contribution for each of three columns; every other column's is zero."""
        c, centre = self.config, self._arrays["centre"]
        moved, contributions = self._logs(X) - centre[:, None], np.zeros_like(X)
        for name, column in zip((c.frequency, c.T, c.monetary), moved, strict=True):
            contributions[:, self.columns.index(name)] += column
        base = np.full(len(X), centre.sum() + self._share)
        return Explanation(base, contributions, X, self.columns, self.space)
