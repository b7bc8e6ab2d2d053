"""The rule to beat: the longer ago the last order, the likelier the customer is gone."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from features.errors import ConfigError
from features.settings import Strict
from training.arrays import packed, unpacked
from training.contract import Explanation, Floats, matrix

FILE = "model.npz"


class RecencyConfig(Strict):
    """Which column is the rule."""

    column: str = "rfm__recency_days"
    """The one feature that the rule looks at."""


class Recency:
    """Log-odds linear in the logarithm of the days since the last order.

    Any cut of it is a recency rule.
    """

    config: RecencyConfig
    answers = ("event",)
    space = "log-odds"

    def __init__(self, config: RecencyConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        self._line: Floats = np.zeros(3)

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Two numbers by maximum likelihood; the order of customers is recency's own."""
        from sklearn.linear_model import LogisticRegression

        if self.config.column not in X:
            raise ConfigError(
                f"recency rule: no feature {self.config.column!r}; add its set to features"
            )
        self.columns = tuple(X.columns)
        x = self._x(matrix(X, self.columns))
        line = LogisticRegression(C=np.inf, random_state=seed).fit(
            x[:, None], y, sample_weight=weight
        )
        self._line = np.array([line.intercept_[0], line.coef_[0, 0], x.mean()])

    def _x(self, X: Floats) -> Floats:
        values = X[:, self.columns.index(self.config.column)]
        # Without any kept order nothing is more recent than "never": the longest time seen in data.
        return np.log1p(np.where(np.isnan(values), 3650.0, np.maximum(values, 0.0)))

    def score(self, X: Floats) -> Floats:
        """Log-odds, shape (n_rows,)."""
        return self.explain(X).scores

    def explain(self, X: Floats) -> Explanation:
        """One contribution; every other column's is zero."""
        intercept, slope, centre = self._line
        contributions = np.zeros_like(X)
        contributions[:, self.columns.index(self.config.column)] = slope * (self._x(X) - centre)
        return Explanation(
            np.full(len(X), intercept + slope * centre), contributions, X, self.columns, self.space
        )

    def save(self) -> dict[str, bytes]:
        """Intercept, slope and centre."""
        return {FILE: packed({"line": self._line})}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore the three numbers from verified bytes."""
        self.columns = tuple(columns)
        self._line = unpacked(files[FILE])["line"]
