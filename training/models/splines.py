"""Logistic regression on natural cubic splines of the features."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from pydantic import Field

from features.settings import Strict
from training.arrays import InArrays
from training.contract import Explanation, Floats, category_columns, matrix

EDGES = (0.01, 0.99)
"""Quantiles of the outer knots; values beyond count as they do."""


class SplinesConfig(Strict):
    """Settings of the regression."""

    knots: int = Field(default=5, ge=3, le=12)
    """Knots of a curve, at quantiles; equal ones are one."""
    C: float = Field(default=0.3, gt=0)
    """Inverse strength of the L2 penalty, as in scikit-learn."""


class Splines(InArrays):
    """A sum of smooth curves, one per feature (Hastie, Tibshirani and Friedman 2009, eq. 5.4, 5.5).

    A missing value has a flag of its own, a category one for each word; all of a column add to one
    contribution, so that explanations stay in the original columns.
    """

    config: SplinesConfig
    answers = ("event",)
    space = "log-odds"

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Knots of each column, then scikit-learn's L2-penalised maximum likelihood."""
        from sklearn.linear_model import LogisticRegression

        self.columns = tuple(X.columns)
        values = matrix(X, self.columns)
        words = {self.columns.index(n): len(X[n].cat.categories) for n in category_columns(X)}
        knots = np.stack([_knots(column, self.config.knots) for column in values.T])
        levels = np.array([words.get(j, 0) for j in range(len(self.columns))], np.float64)
        self._arrays = {"knots": knots, "levels": levels}
        design = np.stack([column for _, column in self._design(values)], axis=1)
        centre, spread = design.mean(axis=0), design.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        fitted = LogisticRegression(C=self.config.C, max_iter=2000, random_state=seed)
        fitted.fit((design - centre) / spread, y, sample_weight=weight)
        self._arrays |= {
            "weights": fitted.coef_[0] / spread, "centre": centre, "intercept": fitted.intercept_
        }  # fmt: skip

    def _design(self, X: Floats) -> Iterator[tuple[int, Floats]]:
        """Column of ``X`` and what is added for it, one array of shape (n_rows,) after another."""
        for j, (x, knots, words) in enumerate(
            zip(X.T, self._arrays["knots"], self._arrays["levels"], strict=True)
        ):
            missing = np.isnan(x)
            yield j, missing.astype(np.float64)
            if words:
                for code in range(int(words)):
                    yield j, (x == code).astype(np.float64)
                continue
            for curve in _natural(x, knots[~np.isnan(knots)]):
                yield j, np.where(missing, 0.0, curve)

    def score(self, X: Floats) -> Floats:
        """Log-odds, shape (n_rows,)."""
        return self.explain(X).scores

    def explain(self, X: Floats) -> Explanation:
        """Exact Shapley values of a linear model: weight times distance from the training mean."""
        a, contributions = self._arrays, np.zeros((len(X), len(self.columns)))
        for k, (j, column) in enumerate(self._design(X)):
            contributions[:, j] += a["weights"][k] * (column - a["centre"][k])
        base = np.full(len(X), a["intercept"][0])
        return Explanation(base, contributions, X, self.columns, self.space)


def _knots(column: Floats, count: int) -> Floats:
    """Different quantiles of the column, shape (count,), NaN where there are fewer."""
    known = column[~np.isnan(column)]
    found = np.full(count, np.nan)
    if len(known):
        different = np.unique(np.quantile(known, np.linspace(*EDGES, count)))
        found[: len(different)] = different
    return found


def _natural(x: Floats, knots: Floats) -> Iterator[Floats]:
    """The curves of a natural cubic spline but the constant one; linear ones for 2 knots.

    Knots are moved to [0, 1], and values beyond count as the outer ones.
    """
    if len(knots) < 2:
        return
    low, high = knots[0], knots[-1]
    u = (np.clip(x, low, high) - low) / (high - low)
    t = (knots - low) / (high - low)
    yield u
    if len(t) < 3:
        return

    def bent(k: int) -> Floats:
        found: Floats = (np.maximum(u - t[k], 0.0) ** 3 - np.maximum(u - 1.0, 0.0) ** 3) / (
            1.0 - t[k]
        )
        return found

    last = bent(len(t) - 2)
    for k in range(len(t) - 2):
        yield bent(k) - last
