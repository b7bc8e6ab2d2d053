"""Popularity: what many customers buy now, or bought in the same season last year."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.recommend.catalogue import YEAR
from training.recommend.histories import Histories
from training.recommend.makers import Shop


class _Popularity:
    """The same score for everybody."""

    def __init__(self) -> None:
        self._share: Floats = np.zeros(0)

    def score(self, past: Histories) -> Floats:
        """Share of buyers, shape (n_customers, n_items)."""
        return np.broadcast_to(self._share, (len(past), len(self._share)))

    def save(self) -> dict[str, NDArray[Any]]:
        """Share of each item."""
        return {"share": self._share}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`save` gave."""
        self._share = arrays["share"]


class RecentConfig(Strict):
    """How recent."""

    half_life_days: float = Field(default=30, gt=0)
    """A purchase counts half as much so many days later."""


class Recent(_Popularity):
    """Purchases by everyone, recent ones counting more, as a share of the most bought item's."""

    config: RecentConfig

    def __init__(self, config: RecentConfig) -> None:
        super().__init__()
        self.config = config

    def fit(self, past: Histories, shop: Shop) -> None:
        """Add up."""
        weight = past.decay(self.config.half_life_days)
        total = np.bincount(past.item, weights=weight, minlength=past.n_items)
        self._share = total / max(total.max(initial=0.0), 1e-12)


class SeasonConfig(Strict):
    """Nothing to set: the season is as long as the horizon."""


class Season(_Popularity):
    """Buyers in the weeks that follow, a year ago; recent popularity where no year was observed.

    Items that nobody bought in the last 90 days are taken for gone.
    """

    config: SeasonConfig

    def __init__(self, config: SeasonConfig) -> None:
        super().__init__()
        self.config = config

    def fit(self, past: Histories, shop: Shop) -> None:
        """Count the buyers of last year's weeks."""
        demand = shop.demand
        observed = demand.observed_days >= YEAR
        total = demand.season * (demand.last_days <= 90) if observed else demand.buyers_90
        self._share = total / max(total.max(initial=0.0), 1.0)
