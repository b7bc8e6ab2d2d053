"""What is known of each item at a moment: what the ranker and the lists read beside histories."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from training.contract import Floats
from training.recommend.histories import Histories, Ints

YEAR = 365
RECENT_DAYS = (30, 90, 365)


@dataclass(frozen=True)
class Attributes:
    """What the source says of the items, in the catalogue's order."""

    products: tuple[str, ...]
    """Product codes, ascending: the catalogue."""
    names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    """Words; "" = not known. Empty = the source says nothing of any item."""
    prices: Floats = field(default_factory=lambda: np.zeros(0))
    """List prices, currency; NaN = not known."""

    def codes(self, words: Sequence[str]) -> Ints:
        """Numbers of the distinct ``words``; -1 = not known."""
        known = sorted({word for word in words if word})
        number = {word: i for i, word in enumerate(known)}
        if not words:
            return np.full(len(self.products), -1, np.int64)
        return np.array([number.get(word, -1) for word in words], np.int64)

    @cached_property
    def category(self) -> Ints:
        """Category of each item, numbered; -1 = not known."""
        return self.codes(self.categories)

    @cached_property
    def brand(self) -> Ints:
        """Brand of each item, numbered; -1 = not known."""
        return self.codes(self.brands)


@dataclass(frozen=True)
class Demand:
    """How each item sold before the moment; arrays of shape (n_items,)."""

    buyers: Floats
    """Different customers, ever."""
    buyers_30: Floats
    buyers_90: Floats
    buyers_365: Floats
    season: Floats
    """Different customers in the horizon that began a year before the moment."""
    before_season: Floats
    """Different customers in as many days before that."""
    first_days: Floats
    """Days since the item was first sold; NaN = never."""
    last_days: Floats
    """Days since it was last sold; NaN = never."""
    repeaters: Floats
    """Share of its buyers who bought it on a second day, shrunk to the share of all items."""
    gap_days: Floats
    """Mean days between purchases by one customer, shrunk to the mean of all items."""
    price: Floats
    """Median paid for one piece, currency; NaN = never sold."""
    observed_days: float = 0.0
    """Days from the first line to the moment."""
    segments: tuple[str, ...] = ()
    """Segments of customers; of fewer than 20 none is known."""
    by_segment: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """Different customers of each segment in the last 90 days, shape (n_segments, n_items)."""

    @property
    def sold(self) -> np.ndarray:
        """Whether the item was ever sold before the moment."""
        return self.buyers > 0


SHRINK = 20.0
"""Customers that an item's share or gap is worth when it is nobody's yet."""
LEAST = 20
"""A group of fewer customers could be told apart: nothing is said of it."""


def demand(past: Histories, horizon_days: int, segment: Sequence[str] = ()) -> Demand:
    """The demand for each item that ``past`` shows; ``segment``: each customer's, "" = unknown."""
    n = past.n_items
    span = float(past.age.max()) if len(past.age) else 0.0
    shift = past.age - YEAR
    first_days, last_days = np.full(n, np.nan), np.full(n, np.nan)
    if len(past.item):
        oldest, newest = np.full(n, -1.0), np.full(n, np.inf)
        np.maximum.at(oldest, past.item, past.age)
        np.minimum.at(newest, past.item, past.age)
        first_days, last_days = (
            np.where(oldest < 0, np.nan, oldest),
            np.where(np.isinf(newest), np.nan, newest),
        )
    buyers = _buyers(past, np.ones(len(past.item), bool))
    days = past.matrix()
    repeated = np.bincount(days.indices, weights=days.data > 1, minlength=n)
    gaps, gap_days = _gaps(past)
    all_repeaters = repeated.sum() / max(buyers.sum(), 1)
    all_gap = gap_days.sum() / max(gaps.sum(), 1)
    words, of, size = np.unique(np.array(segment, np.str_), return_inverse=True, return_counts=True)
    groups = [g for g in range(len(words)) if words[g] and size[g] >= LEAST]
    return Demand(
        buyers=buyers,
        **{f"buyers_{d}": _buyers(past, past.age <= d) for d in RECENT_DAYS},
        season=_buyers(past, (shift <= 0) & (shift > -horizon_days)),
        before_season=_buyers(past, (shift > 0) & (shift <= horizon_days)),
        first_days=first_days,
        last_days=last_days,
        repeaters=(repeated + SHRINK * all_repeaters) / (buyers + SHRINK),
        gap_days=(gap_days + SHRINK * all_gap) / (gaps + SHRINK),
        price=_median_price(past),
        observed_days=span,
        segments=tuple(words[groups].tolist()),
        by_segment=np.array(
            [_buyers(past, (past.age <= 90) & (of == g)[past.customer]) for g in groups]
        ).reshape(len(groups), n),
    )


def _buyers(past: Histories, chosen: np.ndarray) -> Floats:
    """Different customers of each item among the chosen lines."""
    order, first = past.pairs
    if not len(first):
        return np.zeros(past.n_items)
    bought = np.logical_or.reduceat(chosen[order], first)
    counts = np.bincount(past.item[order[first]], weights=bought, minlength=past.n_items)
    return counts.astype(np.float64)


def _gaps(past: Histories) -> tuple[Floats, Floats]:
    """Number and sum of the days between a customer's purchases of an item, by item."""
    order = np.lexsort((past.age, past.item, past.customer))
    customer, item, age = past.customer[order], past.item[order], past.age[order]
    same = (np.diff(customer) == 0) & (np.diff(item) == 0)
    gap, of = np.diff(age)[same], item[1:][same]
    n = past.n_items
    return (
        np.bincount(of, minlength=n).astype(np.float64),
        np.bincount(of, weights=gap, minlength=n).astype(np.float64),
    )


def _median_price(past: Histories) -> Floats:
    price = past.amount / np.maximum(past.quantity, 1)
    order = np.lexsort((price, past.item))
    item, price = past.item[order], price[order]
    places, first, count = np.unique(item, return_index=True, return_counts=True)
    made = np.full(past.n_items, np.nan)
    made[places] = price[first + (count - 1) // 2]
    return made
