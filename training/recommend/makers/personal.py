"""Personal frequency: what a customer bought often, and lately, is bought again."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.recommend.histories import Histories
from training.recommend.makers import Shop
from training.recommend.scores import Summed, Sums

NEVER = 1e9
"""Half-life in days of what is not forgotten."""
TIES = 1e-6
"""Weight of popularity that decides between equals alone."""


class _Habit(Summed):
    """Decayed days with a purchase, and a share of the item's popularity."""

    config: Any

    def __init__(self, half_life_days: float, popularity: float) -> None:
        self._half_life_days, self._weight = half_life_days, popularity
        self._popular: Floats = np.zeros(0)

    def fit(self, past: Histories, shop: Shop) -> None:
        """Keep the popularity of items, that alone."""
        buyers = shop.demand.buyers_90
        self._popular = self._weight * buyers / max(buyers.max(initial=0.0), 1.0)

    def sums(self, past: Histories) -> Sums:
        """Scores of shape (n_customers, n_items)."""
        own = Sums.own(past.decayed(self._half_life_days))
        return own.plus(self._popular) if self._weight else own

    def save(self) -> dict[str, NDArray[Any]]:
        """Popularity of the items."""
        return {"popular": self._popular}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`save` gave."""
        self._popular = arrays["popular"]


class DecayedConfig(Strict):
    """How fast purchases are forgotten, and how far popularity decides between equals."""

    half_life_days: float = Field(default=180, gt=0)
    popularity: float = Field(default=0.0, ge=0)
    """Weight of the item's share among the last 90 days' buyers."""


class Decayed(_Habit):
    """Days with a purchase of the item, halved in weight every ``half_life_days``."""

    config: DecayedConfig

    def __init__(self, config: DecayedConfig) -> None:
        self.config = config
        super().__init__(config.half_life_days, config.popularity)


class FrequencyConfig(Strict):
    """Nothing to set."""


class Frequency(_Habit):
    """Days with a purchase of the item, ever; nothing is forgotten."""

    config: FrequencyConfig

    def __init__(self, config: FrequencyConfig) -> None:
        self.config = config
        super().__init__(NEVER, 0.0)


class TopFrequency(_Habit):
    """GP-TopFreq (Li et al. 2023): personal frequency, tied and filled up by popularity."""

    config: FrequencyConfig

    def __init__(self, config: FrequencyConfig) -> None:
        self.config = config
        super().__init__(NEVER, TIES)
