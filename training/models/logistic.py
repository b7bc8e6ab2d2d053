"""Logistic regression on ranks of the features, with a flag for missing values."""

from functools import cached_property

import numpy as np
import pandas as pd
from pydantic import Field

from features.settings import Strict
from training.arrays import InArrays
from training.contract import Explanation, Floats, category_columns, matrix

ROWS_AT_ONCE = 256
"""Rows that are held against all knots of all columns together: bounds the memory."""


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
        self.__dict__.pop("_ranking", None)
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

    @cached_property
    def _ranking(self) -> "Ranking":
        return Ranking(self._arrays["knots"])

    def _design(self, X: Floats) -> tuple[Floats, Floats, Floats]:
        """Ranks, missing flags, each (n_rows, n_features), and flags of codes (n_rows, n_codes)."""
        missing, (owner, code) = np.isnan(X), self._arrays["flags"].T
        words = X[:, owner.astype(int)] == code
        ranks = np.where(missing, 0.0, self._ranking(X))
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


class Ranking:
    """Ranks in [-1, 1] among the knots of columns, interpolated between them.

    Ties (many zeros) land in the middle of their run.

    Parameters
    ----------
    knots
        Quantiles of each column, rising, shape (n_columns, n_knots).
    """

    def __init__(self, knots: Floats) -> None:
        grid = np.linspace(-1.0, 1.0, knots.shape[1])
        self._at = np.full(knots.shape, np.inf)  # no value reaches what is not there
        self._ranks, self._rises = np.zeros(knots.shape), np.zeros(knots.shape)
        self._steps = np.ones(knots.shape)
        for k, column in enumerate(knots):
            values, first, times = np.unique(column, return_index=True, return_counts=True)
            ranks, n = (grid[first] + grid[first + times - 1]) / 2.0, len(values)
            self._at[k, :n], self._ranks[k, :n] = values, ranks
            self._rises[k, : n - 1], self._steps[k, : n - 1] = np.diff(ranks), np.diff(values)
        self._least, self._greatest = knots[:, 0], knots[:, -1]
        self._columns = np.arange(len(knots))

    def __call__(self, X: Floats) -> Floats:
        """Ranks of the columns of ``X``, same shape; missing stays missing."""
        ranks = np.empty(X.shape)
        for start in range(0, len(X), ROWS_AT_ONCE):
            block = slice(start, start + ROWS_AT_ONCE)
            held = np.clip(X[block], self._least, self._greatest)
            below = np.maximum((held[:, :, None] >= self._at).sum(axis=2) - 1, 0)
            at = (self._columns, below)
            passed = (held - self._at[at]) / self._steps[at]
            ranks[block] = self._ranks[at] + self._rises[at] * passed
        return ranks
