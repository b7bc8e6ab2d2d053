"""The rate of the event among customers alike in recency and frequency."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pydantic import Field

from features.errors import ConfigError
from features.settings import Strict
from training.arrays import packed, unpacked
from training.contract import Explanation, Floats, matrix
from training.models.shapley import shapley

FILE = "model.npz"


class RatesConfig(Strict):
    """Which two columns make the groups, and how many."""

    recency: str = "rfm__recency_days"
    """Divided into ``groups`` of equal size."""
    frequency: str = "rfm__frequency_orders"
    """Divided at ``edges``."""
    groups: int = Field(default=8, ge=2, le=50)
    edges: tuple[float, ...] = (1.0, 2.0, 5.0)
    """From each of these numbers on a customer is in the next group."""
    prior: float = Field(default=5.0, gt=0)
    """Customers with the rate of all that every group is filled up with."""


class Rates:
    """Log-odds of the rate in a customer's group: who has none of both values has one too.

    Where the event's whole horizon was seen, nobody is censored before it, and the rate by a day is
    one less the estimate of Kaplan and Meier (1958) of the group's survival there.
    """

    config: RatesConfig
    answers = ("event",)
    space = "log-odds"

    def __init__(self, config: RatesConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        self._arrays: dict[str, Floats] = {}

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Count events by group.

        Raises
        ------
        ConfigError
            If a column is not among the features.
        """
        self.columns = tuple(X.columns)
        recency, frequency = self._inputs(matrix(X, self.columns))
        heed = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
        told = np.sort(recency[~np.isnan(recency) & (heed > 0)])
        places = np.linspace(0, len(told) - 1, self.config.groups + 1)[1:-1].astype(int)
        edges = np.unique(told[places]) if len(told) else np.zeros(1)
        rows, columns = _groups(recency, edges), _groups(frequency, np.array(self.config.edges))
        shape = (len(edges) + 2, len(self.config.edges) + 2)
        size, came = np.zeros(shape), np.zeros(shape)
        np.add.at(size, (rows, columns), heed)
        np.add.at(came, (rows, columns), heed * y)
        prior = self.config.prior
        rate = np.clip(came.sum() / max(size.sum(), 1.0), 1e-6, 1 - 1e-6)
        share = (came + prior * rate) / (size + prior)
        usual = [float(np.median(v[~np.isnan(v)])) if (~np.isnan(v)).any() else np.nan
                 for v in (recency, frequency)]  # fmt: skip
        self._arrays = {
            "edges": edges, "odds": np.log(share) - np.log1p(-share), "usual": np.array(usual),
        }  # fmt: skip

    def _inputs(self, X: Floats) -> list[Floats]:
        wanted = (self.config.recency, self.config.frequency)
        missing = [name for name in wanted if name not in self.columns]
        if missing:
            raise ConfigError(f"rates: no feature {missing}; add the set to features")
        return [X[:, self.columns.index(name)] for name in wanted]

    def _worth(self, recency: Floats, frequency: Floats) -> Floats:
        rows = _groups(recency, self._arrays["edges"])
        found: Floats = self._arrays["odds"][rows, _groups(frequency, np.array(self.config.edges))]
        return found

    def score(self, X: Floats) -> Floats:
        """Log-odds, shape (n_rows,)."""
        return self._worth(*self._inputs(X))

    def explain(self, X: Floats) -> Explanation:
        """Exact Shapley values of both columns against the median customer."""
        base, moved = shapley(self._worth, self._inputs(X), self._arrays["usual"].tolist())
        contributions = np.zeros_like(X)
        for name, column in zip((self.config.recency, self.config.frequency), moved, strict=True):
            contributions[:, self.columns.index(name)] += column
        return Explanation(np.full(len(X), base), contributions, X, self.columns, self.space)

    def save(self) -> dict[str, bytes]:
        """Edges of recency, log-odds by group, and the median customer."""
        return {FILE: packed(self._arrays)}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore the arrays from verified bytes."""
        self.columns = tuple(columns)
        self._arrays = unpacked(files[FILE])


def _groups(values: Floats, edges: Floats) -> np.ndarray:
    """The group of each value; a missing one is the last."""
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
