"""Choosing from ordered pools: caps, diversity, and the mix of two lists."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from training.contract import Floats
from training.recommend.histories import Ints
from training.recommend.recommender import ALL, Recommender

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


class Listed(NamedTuple):
    """One item of a list."""

    item: int
    score: float
    step: str
    bought: bool
    row: int
    """Row of the candidate, to explain it; -1 where no ranker spoke."""
    ranker: str = ALL


class Taken:
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


def mixed(
    pools: Mapping[str, list[Listed]], k: int, repeat_share: float, taken: Taken
) -> list[Listed]:
    """Repeats and discoveries interleaved so that every beginning of the list keeps the share."""
    n_repeat = round(repeat_share * k)
    repeats = taken.choose(pools["repeat"], n_repeat)
    new = taken.choose(pools["discovery"], k - len(repeats))
    if len(new) + len(repeats) < k:
        there = {x.item for x in repeats}
        more = [x for x in pools["repeat"] if x.item not in there]
        repeats += taken.choose(more, k - len(repeats) - len(new))
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
