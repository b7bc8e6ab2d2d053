"""What every segmentation is held against: plain rules and plain k-means on R, F and M."""

from typing import Protocol

import numpy as np
import pandas as pd

from training.contract import Floats
from training.segments.cells import Ints
from training.segments.profile import LEAST_SHOWN

RECENCY, FREQUENCY, MONETARY = (
    "rfm__recency_days",
    "rfm__frequency_orders",
    "orders__spend_total",
)
RFM = (RECENCY, FREQUENCY, MONETARY)


class Baseline(Protocol):
    """Groups by R, F and M alone."""

    k: int
    """Groups asked for."""

    def fit(self, X: pd.DataFrame, seed: int) -> None:
        """Learn from customers."""
        ...

    def labels(self, X: pd.DataFrame) -> Ints:
        """Group of each row."""
        ...


def rfm(X: pd.DataFrame) -> Floats:
    """Recency, frequency and spend, shape (n_rows, 3); unknown = never and nothing."""
    found: Floats = X[list(RFM)].to_numpy(np.float64)
    recency = np.where(np.isnan(found[:, 0]), np.nanmax(found[:, 0], initial=0.0), found[:, 0])
    return np.column_stack([recency, np.nan_to_num(found[:, 1:])])


class QuintileSum:
    """Scores 1 to 5 for each of R, F and M, summed, the sum cut into ``k`` groups of like size."""

    def __init__(self, k: int) -> None:
        self.k = k

    def fit(self, X: pd.DataFrame, seed: int) -> None:
        """Learn the quintiles and the cuts of the sum."""
        self._edges = np.quantile(rfm(X), [0.2, 0.4, 0.6, 0.8], axis=0)
        self._cuts = np.quantile(self._sum(X), np.arange(1, self.k) / self.k)

    def _sum(self, X: pd.DataFrame) -> Floats:
        values = rfm(X)
        r, f, m = (np.searchsorted(self._edges[:, j], values[:, j], "right") for j in range(3))
        return np.asarray(4 - r + f + m, dtype=np.float64)

    def labels(self, X: pd.DataFrame) -> Ints:
        """Group of each row, 0 the lowest."""
        return np.asarray(np.searchsorted(self._cuts, self._sum(X), "left"), dtype=np.int64)


class PlainKMeans:
    """k-means on R, F and M, centred and divided by their standard deviations.

    Groups of fewer than ``least`` customers join the one whose centre is nearest, the smallest
    first: on plain values k-means sets a handful of customers apart, of whom nothing can be told.
    """

    def __init__(self, k: int, logged: bool, least: int = 1) -> None:
        self.k, self.logged, self.least = k, logged, least

    def fit(self, X: pd.DataFrame, seed: int) -> None:
        """Learn scale and centres."""
        from sklearn.cluster import KMeans

        values = self._taken(X)
        self._mean, self._scale = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-12)
        scaled = (values - self._mean) / self._scale
        k = min(self.k, len(np.unique(scaled, axis=0)))
        made = KMeans(k, n_init=10, random_state=seed).fit(scaled)
        self._centres, self._group = made.cluster_centers_, np.arange(k)
        while True:
            groups, sizes = np.unique(self._group[made.labels_], return_counts=True)
            if len(groups) < 2 or sizes.min() >= self.least:
                return
            small, others = groups[sizes.argmin()], np.delete(groups, sizes.argmin())
            away = ((self._centres[others] - self._centres[small]) ** 2).sum(axis=1)
            self._group[self._group == small] = others[away.argmin()]

    def _taken(self, X: pd.DataFrame) -> Floats:
        values = rfm(X)
        return np.log1p(np.maximum(values, 0.0)) if self.logged else values

    def labels(self, X: pd.DataFrame) -> Ints:
        """Nearest centre of each row."""
        away = (self._taken(X) - self._mean) / self._scale
        distance = ((away[:, None, :] - self._centres[None]) ** 2).sum(axis=2)
        return np.asarray(self._group[distance.argmin(axis=1)], dtype=np.int64)


def baselines(k: int) -> dict[str, Baseline]:
    """All of them, by the names under which they appear; the first is the declared one."""
    return {
        "rfm_quintiles": QuintileSum(k),
        "rfm_kmeans": PlainKMeans(k, logged=False),
        "rfm_kmeans_20": PlainKMeans(k, logged=False, least=LEAST_SHOWN),
        "rfm_kmeans_log": PlainKMeans(k, logged=True),
    }
