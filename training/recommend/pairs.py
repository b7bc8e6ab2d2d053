"""What the ranker sees of a customer and an item: one row for each candidate.

All of it is worked out from histories and item arrays as of the moment, by the same code for a
million customers in shards and for one posted history.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.contract import Floats
from training.recommend.catalogue import YEAR, Attributes, Demand
from training.recommend.highest import ranks
from training.recommend.histories import Histories, Ints
from training.recommend.scores import Scores

Singles = np.ndarray

HALF_LIVES = (30, 90, 180, 365)

OWN = (
    *(f"own__decayed_{d}" for d in HALF_LIVES),
    "own__purchases", "own__last_days", "own__first_days", "own__gap_days", "own__due",
    "own__basket_share", "own__baskets_since", "own__share_since", "own__pieces", "own__season",
    "own__in_recent_rhythm",
)  # fmt: skip
UNKNOWN = ("last_days", "first_days", "gap_days", "due", "baskets_since", "share_since", "pieces")
"""Of them missing, not 0, for an item never bought."""
CUSTOMER = (
    "customer__baskets", "customer__last_days", "customer__tenure_days", "customer__gap_days",
    "customer__basket_items", "customer__items", "customer__repeat_share",
    "customer__basket_amount", "customer__log_price", "customer__log_price_sd",
    "customer__decayed_baskets",
)  # fmt: skip
ITEM = (
    "item__buyers", "item__buyers_30", "item__buyers_90", "item__buyers_365", "item__season",
    "item__before_season", "item__first_days", "item__last_days", "item__repeaters",
    "item__gap_days", "item__price", "item__trend", "item__season_lift", "item__season_share",
)  # fmt: skip
CROSS = (
    "price__affinity",
    "category__share", "category__last_days", "category__purchases", "brand__share",
)  # fmt: skip


@dataclass(frozen=True)
class Candidates:
    """Pairs of customers and items, ascending by customer and item."""

    customer: Ints
    item: Ints
    bought: np.ndarray
    """Whether the customer bought the item before."""
    X: Singles
    """Shape (n_pairs, n_columns), float32; NaN = missing."""
    customers: int
    """Customers of the shard, those without candidates too."""


def columns(makers: Sequence[str]) -> tuple[str, ...]:
    """Names of the ranker's columns."""
    scored = [f"{part}__{name}" for name in makers for part in ("score", "rank")]
    return (*OWN, *CUSTOMER, *ITEM, *CROSS, *scored)


def describe(
    past: Histories,
    scores: Mapping[str, Scores],
    chosen: np.ndarray,
    demand: Demand,
    attributes: Attributes,
    horizon_days: int,
) -> Candidates:
    """The rows of the chosen pairs."""
    key = np.flatnonzero(chosen)  # quicker than the two places of each
    customer, item = np.divmod(key, past.n_items)
    habits, own = _habits(past, demand), _own(past, demand, horizon_days)
    place = np.minimum(np.searchsorted(own.key, key), len(own.key) - 1)
    bought = own.key[place] == key
    X = np.empty((len(key), len(columns(list(scores)))), np.float32)
    at = 0

    def put(block: np.ndarray) -> None:
        nonlocal at
        X[:, at : at + block.shape[1]] = block
        at += block.shape[1]

    put(np.where(bought[:, None], own.values[place], own.never))
    put(habits[customer])
    put(item_columns(demand, horizon_days)[item])
    put(_cross(past, habits, demand, attributes, customer, item))
    start = np.searchsorted(customer, np.arange(len(past) + 1))
    for score in scores.values():
        value = score.at(customer, item)
        put(np.column_stack([value, ranks(value, start)]))
    return Candidates(customer, item, bought, X, len(past))


@dataclass(frozen=True)
class _Own:
    """Columns of what a customer bought, by ascending ``key = customer * n_items + item``."""

    key: Ints
    values: Floats
    never: Floats
    """The columns of an item never bought."""


def _own(past: Histories, demand: Demand, horizon_days: int) -> _Own:
    order = np.lexsort((past.age, past.item, past.customer))
    customer, item, age = past.customer[order], past.item[order], past.age[order]
    key = customer * past.n_items + item
    n = len(key)
    never = np.zeros(len(OWN))
    names = {name: j for j, name in enumerate(OWN)}
    for name in (
        "last_days",
        "first_days",
        "gap_days",
        "due",
        "baskets_since",
        "share_since",
        "pieces",
    ):
        never[names[f"own__{name}"]] = np.nan
    if not n:
        return _Own(np.array([-1]), np.zeros((1, len(OWN))), never)
    first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    count = np.diff(np.r_[first, n]).astype(np.float64)
    owner, of = customer[first], item[first]
    last, oldest = age[first], age[np.r_[first[1:], n] - 1]
    newest_basket = past.basket[past.start[:-1][np.minimum(owner, len(past) - 1)]]
    baskets = _basket_counts(past)[owner]
    since = past.basket[order][first] - newest_basket
    until = past.basket[order][np.r_[first[1:], n] - 1] - newest_basket + 1
    gap = np.where(count > 1, (oldest - last) / np.maximum(count - 1, 1), np.nan)
    expected = (2 * demand.gap_days[of] + oldest - last) / (1 + count)
    decayed = [np.add.reduceat(np.exp2(-age / d), first) for d in HALF_LIVES]
    season = (past.age[order] <= YEAR) & (past.age[order] > YEAR - horizon_days)
    habits = _decayed_baskets(past)[owner]
    values = np.column_stack(
        [
            *decayed,
            count,
            last,
            oldest,
            gap,
            last / np.maximum(expected, 1),
            count / baskets,
            since,
            count / until,
            np.add.reduceat(past.quantity[order], first) / count,
            np.add.reduceat(season.astype(np.float64), first),
            decayed[1] / np.maximum(habits, 1e-9),
        ]
    )
    return _Own(key[first], values, never)


def _basket_counts(past: Histories) -> Floats:
    owner = _basket_owners(past)[0]
    return np.maximum(np.bincount(owner, minlength=len(past)), 1).astype(np.float64)


def _decayed_baskets(past: Histories) -> Floats:
    owner, age = _basket_owners(past)
    decayed = np.bincount(owner, weights=np.exp2(-age / 90), minlength=len(past))
    return decayed.astype(np.float64)


def _basket_owners(past: Histories) -> tuple[Ints, Floats]:
    """Customer and age of each basket."""
    first = np.flatnonzero(np.diff(past.basket, prepend=-1))
    return past.customer[first], past.age[first]


def _habits(past: Histories, demand: Demand) -> Floats:
    """Columns of each customer, shape (n_customers, len(CUSTOMER)); NaN for one without a past."""
    n = len(past)
    lines = np.bincount(past.customer, minlength=n).astype(np.float64)
    baskets, some = _basket_counts(past), lines > 0
    last, tenure = np.full(n, np.nan), np.full(n, np.nan)
    last[some] = past.age[past.start[:-1][some]]
    tenure[some] = past.age[past.start[1:][some] - 1]
    items = np.diff(past.matrix().indptr).astype(np.float64)
    log_price = np.log(np.maximum(np.nan_to_num(demand.price, nan=1.0), 0.01))[past.item]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(past.customer, weights=log_price, minlength=n) / lines
        square = np.bincount(past.customer, weights=log_price**2, minlength=n) / lines
        amount = np.bincount(past.customer, weights=past.amount, minlength=n)
        made = np.column_stack(
            [
                baskets, last, tenure, (tenure - last) / np.maximum(baskets - 1, 1),
                lines / baskets, items, 1 - items / lines, amount / baskets,
                mean, np.sqrt(np.maximum(square - mean**2, 0)), _decayed_baskets(past),
            ]
        )  # fmt: skip
    made[~some] = np.nan
    return made


def item_columns(demand: Demand, horizon_days: int) -> Floats:
    """Columns of each item, shape (n_items, len(ITEM)); seasons only where a year was observed."""
    year = demand.observed_days >= YEAR
    season = demand.season if year else np.full_like(demand.season, np.nan)
    whole = demand.observed_days >= YEAR + horizon_days
    before = demand.before_season if whole else np.full_like(season, np.nan)
    return np.column_stack(
        [
            demand.buyers, demand.buyers_30, demand.buyers_90, demand.buyers_365, season, before,
            demand.first_days, demand.last_days, demand.repeaters, demand.gap_days, demand.price,
            demand.buyers_30 / (demand.buyers_90 / 3 + 1), season / (before + 5),
            season / np.maximum(demand.buyers_365, 1),
        ]
    )  # fmt: skip


def _cross(
    past: Histories, habits: Floats, demand: Demand, attributes: Attributes,
    customer: Ints, item: Ints,
) -> Floats:  # fmt: skip
    """Columns of the customer's taste for an item like this: price, category, brand."""
    names = {name: j for j, name in enumerate(CUSTOMER)}
    log_price = np.log(np.maximum(demand.price, 0.01))[item]
    mean, spread = (
        habits[customer, names[f"customer__{n}"]] for n in ("log_price", "log_price_sd")
    )
    share, last, count = _taste(past, attributes.category, customer, item)
    return np.column_stack(
        [
            (log_price - mean) / (spread + 0.1), share, last, count,
            _taste(past, attributes.brand, customer, item)[0],
        ]
    )  # fmt: skip


def _taste(past: Histories, group: Ints, customer: Ints, item: Ints) -> tuple[Floats, ...]:
    """Share of lines, days since the last, and lines of the item's group; NaN without groups."""
    size = int(group.max(initial=-1)) + 1
    nothing = np.full(len(customer), np.nan)
    if not size:
        return nothing, nothing, nothing
    of, known = group[past.item], group[past.item] >= 0
    key = past.customer * size + of
    count = np.bincount(key[known], minlength=len(past) * size).astype(np.float64)
    last = np.full(len(past) * size, np.nan)
    last[key[known][::-1]] = past.age[known][::-1]  # newest first: the newest is written last
    lines = np.bincount(past.customer, minlength=len(past))[customer]
    place, has = customer * size + np.maximum(group[item], 0), group[item] >= 0
    counts = np.where(has, count[place], np.nan)
    return counts / np.maximum(lines, 1), np.where(has, last[place], np.nan), counts
