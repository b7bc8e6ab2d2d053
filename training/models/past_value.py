"""The rule to beat for amounts: a customer goes on spending as in the last year."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pydantic import Field

from features.errors import ConfigError
from features.settings import Strict
from training.arrays import packed, unpacked
from training.contract import Explanation, Floats, matrix

FILE = "model.npz"
LEAST = 0.01
"""What nothing spent counts as, in whole units: a logarithm needs something."""


class PastValueConfig(Strict):
    """Which column is the past, and the lengths of past and horizon."""

    column: str = "orders__spend_365d"
    """What was spent in the last ``window_days``, in the amount's own unit."""
    window_days: float = Field(default=365, gt=0)
    horizon_days: float = Field(default=90, gt=0)
    """Take the task's horizon."""


class PastValue:
    """Spend of the last year times horizon over year; nothing is learned but the mean.

    The mean log value of the teaching rows is the base of explanations, and what a customer with an
    unknown past is taken for.
    """

    config: PastValueConfig
    answers = ("amount",)
    space = "log-currency"

    def __init__(self, config: PastValueConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        self._centre = 0.0

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """The mean over the rows whose past is known."""
        if self.config.column not in X:
            raise ConfigError(
                f"past value: no feature {self.config.column!r}; add its set to features"
            )
        self.columns = tuple(X.columns)
        values = self._values(matrix(X, self.columns))
        known = ~np.isnan(values)
        weights = None if weight is None else weight[known]
        useful = known.any() and (weights is None or weights.sum() > 0)
        self._centre = float(np.average(values[known], weights=weights)) if useful else 0.0

    def _values(self, X: Floats) -> Floats:
        """Logarithm of the past, scaled to the horizon; NaN where it is not known."""
        past = X[:, self.columns.index(self.config.column)]
        share = self.config.horizon_days / self.config.window_days
        return np.log(np.maximum(past * share, LEAST))

    def score(self, X: Floats) -> Floats:
        """Logarithms of expected values, shape (n_rows,)."""
        return self.explain(X).scores

    def explain(self, X: Floats) -> Explanation:
        """One contribution; every other column's is zero."""
        contributions = np.zeros_like(X)
        moved = np.nan_to_num(self._values(X) - self._centre, nan=0.0)
        contributions[:, self.columns.index(self.config.column)] = moved
        base = np.full(len(X), self._centre)
        return Explanation(base, contributions, X, self.columns, self.space)

    def save(self) -> dict[str, bytes]:
        """The mean."""
        return {FILE: packed({"centre": np.array([self._centre])})}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore the mean from verified bytes."""
        self.columns = tuple(columns)
        self._centre = float(unpacked(files[FILE])["centre"][0])
