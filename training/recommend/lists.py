"""Lists for one customer: kinds, business rules, and a ladder for those of whom little is known.

A list is never shorter than asked without a reason; every rule says how many items it took away.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp

from training.contract import Floats
from training.recommend.histories import Histories, Ints
from training.recommend.recommender import ALL, DISCOVERY, Recommender

Kind = Literal["all", "repeat", "discovery", "mix", "basket"]
BASKET = "basket"
KINDS = get_args(Kind)
RANKED, SEASON, POPULAR = "ranked", "season", "popular"
STEPS = {
    RANKED: "ranked from the customer's own purchases",
    SEASON: "bought by many in these weeks of last year",
    POPULAR: "bought by many lately",
}
"""The ladder: each step answers where the one before has nothing left to say."""
POOL = 100
"""Diversity chooses among so many of the best."""


@dataclass(frozen=True)
class Rules:
    """What may be listed, decided at request time; places in the catalogue."""

    allow: frozenset[int] | None = None
    """Nothing else; None = everything."""
    deny: frozenset[int] = frozenset()
    out_of_stock: frozenset[int] = frozenset()
    categories: frozenset[int] | None = None
    """Numbers of categories; None = all."""
    low: float | None = None
    """Least price, currency."""
    high: float | None = None
    diversity: float = 0.0
    """0 = by score alone; 1 = by difference alone (maximal marginal relevance)."""
    most_per_category: int | None = None
    most_per_brand: int | None = None


@dataclass(frozen=True)
class Asked:
    """What is asked for, for one customer."""

    past: Histories
    basket: frozenset[int] = frozenset()
    """Items in the basket now: never listed."""
    kind: Kind | Literal["similar"] = "all"
    k: int = 10
    repeat_share: float = 0.5
    """Of a mix."""
    rules: Rules = Rules()


@dataclass(frozen=True)
class Listed:
    """One item of a list."""

    item: int
    score: float
    step: str
    bought: bool
    row: int
    """Row of the candidate, to explain it; -1 where no ranker spoke."""
    ranker: str = ALL


@dataclass
class Made:
    """A list, and what became of everything else."""

    items: list[Listed]
    filtered: dict[str, int] = field(default_factory=dict)
    """Rule -> items that it took away, each counted at the first rule that does."""
    short: str | None = None
    """Why there are fewer items than asked for."""
    X: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """Rows of the candidates."""


def make_list(recommender: Recommender, asked: Asked) -> Made:
    """The list for one customer."""
    owned = np.zeros(asked.past.n_items, bool)
    owned[asked.past.item] = True
    made = Made([])
    allowed = _allowed(recommender, asked, owned, made.filtered)
    pools: dict[str, list[Listed]] = {"repeat": [], "discovery": [], "all": []}
    if asked.kind == BASKET:
        pools["all"] = _going_with(recommender.together, call(asked.past, asked.basket), owned)
    elif asked.kind == "similar":
        pools["all"] = _going_with(recommender.alike, sorted(asked.basket), owned)
    elif len(asked.past.item):
        found, scores = recommender.rank(asked.past)
        made.X = found.X
        orders = {
            "all": (ALL, np.ones(len(found.item), bool)),
            "repeat": (ALL, found.bought),
            "discovery": (DISCOVERY, ~found.bought),
        }
        for name in ("repeat", "discovery") if asked.kind == "mix" else (asked.kind,):
            ranker, kept = orders[name]
            rows = np.flatnonzero(kept)
            rows = rows[np.lexsort((found.item[rows], -scores[ranker][rows]))]
            pools[name] = [
                Listed(int(found.item[i]), float(scores[ranker][i]), RANKED, bool(found.bought[i]),
                       int(i), ranker)
                for i in rows
            ]  # fmt: skip
    pools = {n: [x for x in pool if allowed[x.item]] for n, pool in pools.items()}
    taken = _Taken(recommender, asked.rules)
    if asked.kind == "mix":
        made.items = _mixed(pools, asked, taken)
    else:
        made.items = taken.choose(pools.get(asked.kind, pools["all"]), asked.k)
    if asked.kind != "repeat" and len(made.items) < asked.k:
        open_ = allowed.copy()
        open_[[x.item for x in made.items]] = False
        steps = _ladder(recommender, open_, owned)
        made.items += taken.choose(steps, asked.k - len(made.items), diverse=False)
    made.short = _why_short(asked, made, int(allowed.sum()), taken)
    return made


def _allowed(
    recommender: Recommender, asked: Asked, owned: np.ndarray, filtered: dict[str, int]
) -> np.ndarray:
    """Items that pass every rule; what each rule takes away is counted in ``filtered``."""
    shelf, rules = recommender.shelf, asked.rules
    n = asked.past.n_items
    left = np.ones(n, bool)

    def take_away(rule: str, gone: np.ndarray) -> None:
        count = int((left & gone).sum())
        if count:
            filtered[rule] = count
        left[gone] = False

    def among(places: frozenset[int]) -> np.ndarray:
        made = np.zeros(n, bool)
        made[list(places)] = True
        return made

    take_away("not sold lately", ~shelf.offered)
    if asked.kind == "discovery":
        take_away("bought before", owned)
    if asked.kind == "repeat":
        take_away("never bought", ~owned)
    take_away("in the basket" if asked.kind != "similar" else "asked for", among(asked.basket))
    take_away("out of stock", among(rules.out_of_stock))
    take_away("denied", among(rules.deny))
    if rules.allow is not None:
        take_away("not on the allow list", ~among(rules.allow))
    if rules.categories is not None:
        take_away("another category", ~np.isin(shelf.attributes.category, list(rules.categories)))
    price = prices(recommender)
    if rules.low is not None:
        take_away("below the price range", ~(price >= rules.low))
    if rules.high is not None:
        take_away("above the price range", ~(price <= rules.high))
    return left


def prices(recommender: Recommender) -> Floats:
    """List price of each item where the source gives one, else what was usually paid."""
    listed = recommender.shelf.attributes.prices
    paid = recommender.shelf.demand.price
    return np.where(np.isnan(listed), paid, listed) if len(listed) else paid


def _ladder(recommender: Recommender, open_: np.ndarray, owned: np.ndarray) -> Iterator[Listed]:
    """The open items, each once: those of the season, then those that sell now."""
    demand = recommender.shelf.demand
    lately = demand.buyers_90 + 1e-6 * demand.buyers
    for step, buyers in ((SEASON, demand.season), (POPULAR, lately)):
        worth = np.where(open_, buyers, 0.0)
        for i in np.argsort(-worth, kind="stable")[: int((worth > 0).sum())].tolist():
            open_[i] = False
            yield Listed(i, float(buyers[i]), step, bool(owned[i]), -1)


def call(past: Histories, basket: Collection[int]) -> list[int]:
    """What a list should go with: the basket, else what was bought last."""
    if basket:
        return sorted(basket)
    return sorted(set(past.item[past.age == past.age.min(initial=np.inf)].tolist()))


def _going_with(links: sp.csr_matrix, items: Sequence[int], owned: np.ndarray) -> list[Listed]:
    """Items by the sum of their links from ``items``."""
    score = np.asarray(links[list(items)].sum(axis=0)).ravel() if items else np.zeros(len(owned))
    order = np.lexsort((np.arange(len(score)), -score))
    order = order[score[order] > 0]
    return [Listed(int(i), float(score[i]), RANKED, bool(owned[i]), -1, BASKET) for i in order]


class _Taken:
    """What was listed so far, for caps and diversity."""

    def __init__(self, recommender: Recommender, rules: Rules) -> None:
        attributes = recommender.shelf.attributes
        self.rules, self.alike = rules, recommender.alike
        self.capped = 0
        self._caps = [
            (group, most, dict[int, int]())
            for group, most in (
                (attributes.category, rules.most_per_category),
                (attributes.brand, rules.most_per_brand),
            )
            if most is not None
        ]
        self._items: list[int] = []

    def choose(self, pool: Iterable[Listed], k: int, diverse: bool = True) -> list[Listed]:
        """At most ``k`` of the pool, which is best first."""
        if not (diverse and self.rules.diversity):
            chosen: list[Listed] = []
            for item in pool:
                if len(chosen) == k:
                    break
                if self._room(item):
                    self._add(item)
                    chosen.append(item)
            return chosen
        return self._diverse(list(pool), k)

    def _diverse(self, pool: list[Listed], k: int) -> list[Listed]:
        """Maximal marginal relevance (Carbonell and Goldstein 1998) among the best of the pool."""
        share, left = self.rules.diversity, pool[: max(POOL, 3 * k)]
        scores = np.array([x.score for x in left])
        spread = max(float(np.ptp(scores)) if len(scores) else 0.0, 1e-12)
        worth = (scores - scores.min(initial=np.inf)) / spread if len(scores) else scores
        places = np.array([x.item for x in left], np.int64)
        near = np.zeros(len(left))
        for item in self._items:
            near = np.maximum(near, self._likeness(item, places))
        open_ = np.ones(len(left), bool)
        chosen: list[Listed] = []
        while len(chosen) < k and open_.any():
            value = np.where(open_, (1 - share) * worth - share * near, -np.inf)
            best = int(np.argmax(value))
            open_[best] = False
            if self._room(left[best]):
                self._add(left[best])
                chosen.append(left[best])
                near = np.maximum(near, self._likeness(int(places[best]), places))
        return chosen + self.choose(pool[len(left) :], k - len(chosen), diverse=False)

    def _likeness(self, item: int, places: Ints) -> Floats:
        return np.asarray(self.alike[[item]].toarray()).ravel()[places]

    def _room(self, item: Listed) -> bool:
        full = any(
            group[item.item] >= 0 and counts.get(int(group[item.item]), 0) >= most
            for group, most, counts in self._caps
        )
        self.capped += full
        return not full

    def _add(self, item: Listed) -> None:
        self._items.append(item.item)
        for group, _, counts in self._caps:
            number = int(group[item.item])
            counts[number] = counts.get(number, 0) + 1


def _mixed(pools: dict[str, list[Listed]], asked: Asked, taken: _Taken) -> list[Listed]:
    """Repeats and discoveries interleaved so that every beginning of the list keeps the share."""
    n_repeat = round(asked.repeat_share * asked.k)
    repeats = taken.choose(pools["repeat"], n_repeat)
    new = taken.choose(pools["discovery"], asked.k - len(repeats))
    if len(new) + len(repeats) < asked.k:
        there = {x.item for x in repeats}
        more = [x for x in pools["repeat"] if x.item not in there]
        repeats += taken.choose(more, asked.k - len(repeats) - len(new))
    made: list[Listed] = []
    total = len(repeats) + len(new)
    share = len(repeats) / max(total, 1)
    r = d = 0
    for place in range(1, total + 1):
        if (r < share * place - 1e-9 and r < len(repeats)) or d == len(new):
            made.append(repeats[r])
            r += 1
        else:
            made.append(new[d])
            d += 1
    return made


def _why_short(asked: Asked, made: Made, allowed: int, taken: _Taken) -> str | None:
    lack = asked.k - len(made.items)
    if lack <= 0:
        return None
    catalogue = asked.past.n_items
    if asked.k > catalogue:
        return f"{asked.k} items were asked for, the catalogue has {catalogue}"
    if asked.kind == "repeat" and not len(asked.past.item):
        return "nothing bought before is known, so nothing can be bought again"
    if taken.capped:
        return f"{allowed} items pass the rules, and the caps hold back {taken.capped} of them"
    if asked.kind == "repeat":
        return f"only {allowed} items bought before pass the rules"
    return f"only {allowed} items pass the rules"
