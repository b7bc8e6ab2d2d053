"""Due for repeat: how likely an item bought before is bought again within the horizon.

A purchase opens an episode that ends with the customer's next purchase of the item, or is still
open. Time runs in units of the gap ``g`` to expect: the item's mean gap, worth ``prior`` gaps, and
the customer's own. The share of episodes still open after so much time, ``S``, is estimated by
Kaplan and Meier (1958), apart by how often the item had been bought; "never again" is the height
at which the curve ends. The score is the chance that an episode open for ``a`` days ends within
the next ``H``: ``1 - S((a + H) / g) / S(a / g)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.recommend.histories import Histories, Ints
from training.recommend.makers import Shop
from training.recommend.scores import Summed, Sums

GRID = np.r_[0.0, np.geomspace(0.02, 50, 120)]
"""Edges of time, in expected gaps."""
TIMES = np.array([1, 2, 3, 5])
"""Lower ends of the groups by purchases so far."""


class DueConfig(Strict):
    """Settings of the due score."""

    prior: float = Field(default=2.0, gt=0)
    """Gaps of the customer's own that the item's mean gap is worth."""


class Due(Summed):
    """Chance of a repeat within the horizon; 0 for items never bought."""

    config: DueConfig

    def __init__(self, config: DueConfig) -> None:
        self.config = config
        self._gap: Floats = np.zeros(0)
        self._open: Floats = np.ones((len(TIMES), len(GRID)))
        self._horizon = 0.0

    def fit(self, past: Histories, shop: Shop) -> None:
        """Estimate the curves from every episode."""
        self._gap, self._horizon = shop.demand.gap_days, float(shop.horizon_days)
        seen = _episodes(past)
        expected = self._expected(seen.item, seen.earlier, seen.earlier_days)
        time = np.searchsorted(GRID, seen.days / expected, side="right") - 1
        group = np.searchsorted(TIMES, seen.earlier + 1, side="right") - 1
        size = len(GRID)
        for g in range(len(TIMES)):
            own = group == g
            ended = np.bincount(time[own & seen.ended], minlength=size)
            left = np.bincount(time[own], minlength=size)
            at_risk = left[::-1].cumsum()[::-1]
            stay = 1 - ended / np.maximum(at_risk, 1)
            # Open at an edge: what stayed through all steps before it.
            self._open[g] = np.r_[1.0, np.cumprod(stay)[:-1]]

    def sums(self, past: Histories) -> Sums:
        """Chances of shape (n_customers, n_items): each item bought speaks for itself."""
        seen = _episodes(past)
        last = ~seen.ended
        chance = self.chance(
            seen.item[last], seen.days[last], seen.earlier[last], seen.earlier_days[last]
        )
        places, shape = (seen.customer[last], seen.item[last]), (len(past), past.n_items)
        return Sums.own(sp.csr_matrix((chance, places), shape=shape))

    def chance(self, item: Ints, days: Floats, earlier: Ints, earlier_days: Floats) -> Floats:
        """Chance of a repeat within the horizon, for episodes open since ``days``."""
        expected = self._expected(item, earlier, earlier_days)
        group = np.searchsorted(TIMES, earlier + 1, side="right") - 1
        now, then = (self._still_open(group, t / expected) for t in (days, days + self._horizon))
        return 1 - then / np.maximum(now, 1e-12)

    def _still_open(self, group: Ints, time: Floats) -> Floats:
        made = np.empty(len(time))
        for g in range(len(TIMES)):
            made[group == g] = np.interp(time[group == g], GRID, self._open[g])
        return made

    def _expected(self, item: Ints, earlier: Ints, earlier_days: Floats) -> Floats:
        prior = self.config.prior
        return np.maximum((prior * self._gap[item] + earlier_days) / (prior + earlier), 1.0)

    def save(self) -> dict[str, NDArray[Any]]:
        """Curves and the items' gaps."""
        return {"gap": self._gap, "open": self._open, "horizon": np.array([self._horizon])}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`save` gave."""
        self._gap, self._open = arrays["gap"], arrays["open"]
        self._horizon = float(arrays["horizon"][0])


@dataclass(frozen=True)
class _Episodes:
    """From each purchase to the next of the item, or to the moment."""

    customer: Ints
    item: Ints
    days: Floats
    """Length so far."""
    ended: NDArray[np.bool_]
    earlier: Ints
    """Gaps before it."""
    earlier_days: Floats
    """Their sum."""


def _episodes(past: Histories) -> _Episodes:
    order = np.lexsort((-past.age, past.item, past.customer))  # oldest first
    customer, item, age = past.customer[order], past.item[order], past.age[order]
    n = len(order)
    new = np.r_[True, (np.diff(customer) != 0) | (np.diff(item) != 0)] if n else np.zeros(0, bool)
    first = np.maximum.accumulate(np.where(new, np.arange(n), 0)) if n else np.zeros(0, np.int64)
    ended = np.r_[~new[1:], False] if n else new
    following = np.r_[age[1:], 0.0] if n else age
    days = np.where(ended, age - following, age)
    return _Episodes(customer, item, days, ended, np.arange(n) - first, age[first] - age)
