"""Logistic regression on ranks of the features, with a flag for missing values."""

import numpy as np
import pandas as pd
from pydantic import Field

from features.settings import Strict
from training.arrays import InArrays
from training.contract import Explanation, Floats, category_columns, matrix


class LogisticConfig(Strict):
    """Settings of the regression."""

    C: float = Field(default=0.1, gt=0)
    """Inverse strength of the L2 penalty, as in scikit-learn."""
    knots: int = Field(default=33, ge=2, le=257)
    """Quantiles of a feature between which its rank is interpolated."""


class Logistic(InArrays):
    """A linear model that no heavy tail can upset: each feature enters as its rank in [-1, 1].

    A missing value enters as rank 0 and as a flag with its own weight, a category as rank 0 and as
    a flag for its code; all add to one contribution, so that explanations stay in the original
    columns.
    """

    config: LogisticConfig
    answers = ("event",)
    space = "log-odds"

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Quantiles of each column, then scikit-learn's L2-penalised maximum likelihood."""
        from sklearn.linear_model import LogisticRegression

        self.columns = tuple(X.columns)
        values = matrix(X, self.columns)
        grid = np.linspace(0.0, 1.0, self.config.knots)
        knots = np.stack([_quantiles(column, grid) for column in values.T])
        flags = [
            (self.columns.index(name), code)
            for name in category_columns(X)
            for code in range(len(X[name].cat.categories))
        ]
        self._arrays = {"knots": knots, "flags": np.array(flags, np.float64).reshape(-1, 2)}
        design = np.hstack(self._design(values))
        fitted = LogisticRegression(C=self.config.C, max_iter=1000, random_state=seed)
        fitted.fit(design, y, sample_weight=weight)
        weights, missing, words = np.split(fitted.coef_[0], self._parts)
        self._arrays |= {
            "weights": weights,
            "missing": missing,
            "words": words,
            "centre": design.mean(axis=0),
            "intercept": fitted.intercept_,
        }

    @property
    def _parts(self) -> list[int]:
        """Where, in a line of the design, missing flags and flags of codes begin."""
        return [len(self.columns), 2 * len(self.columns)]

    def _design(self, X: Floats) -> tuple[Floats, Floats, Floats]:
        """Ranks, missing flags, each (n_rows, n_features), and flags of codes (n_rows, n_codes)."""
        grid = np.linspace(-1.0, 1.0, self.config.knots)
        columns = [_rank(x, k, grid) for x, k in zip(X.T, self._arrays["knots"], strict=True)]
        missing, (owner, code) = np.isnan(X), self._arrays["flags"].T
        words = X[:, owner.astype(int)] == code
        ranks = np.where(missing, 0.0, np.stack(columns, axis=1))
        ranks[:, np.unique(owner.astype(int))] = 0.0
        return ranks, missing.astype(np.float64), words.astype(np.float64)

    def score(self, X: Floats) -> Floats:
        """Log-odds, shape (n_rows,)."""
        return self.explain(X).scores

    def explain(self, X: Floats) -> Explanation:
        """Exact Shapley values of a linear model: weight times distance from the training mean."""
        a = self._arrays
        ranks, missing, words = self._design(X)
        rank_centre, missing_centre, word_centre = np.split(a["centre"], self._parts)
        contributions = a["weights"] * (ranks - rank_centre) + a["missing"] * (
            missing - missing_centre
        )
        for j, word, weight, centre in zip(
            a["flags"][:, 0].astype(int), words.T, a["words"], word_centre, strict=True
        ):
            contributions[:, j] += weight * (word - centre)
        base = a["intercept"] + a["weights"] @ rank_centre + a["missing"] @ missing_centre
        base = base + a["words"] @ word_centre
        return Explanation(np.full(len(X), base[0]), contributions, X, self.columns, self.space)


def _quantiles(column: Floats, grid: Floats) -> Floats:
    known = column[~np.isnan(column)]
    return np.quantile(known, grid) if len(known) else np.zeros(len(grid))


def _rank(x: Floats, knots: Floats, grid: Floats) -> Floats:
    """Mean of left and right rank, so that ties (many zeros) land in the middle of their run."""
    left = np.interp(x, *_unique(knots, grid, last=False))
    right = np.interp(x, *_unique(knots, grid, last=True))
    return (left + right) / 2.0


def _unique(knots: Floats, grid: Floats, *, last: bool) -> tuple[Floats, Floats]:
    values, first = np.unique(knots, return_index=True)
    if last:
        first = np.append(first[1:], len(knots)) - 1
    return values, grid[first]
