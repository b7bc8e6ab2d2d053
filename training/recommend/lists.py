"""Lists for one customer: kinds, business rules, and a ladder for those of whom little is known.

A list is never shorter than asked without a reason; every rule says how many items it took away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp

from training.recommend.histories import Histories
from training.recommend.pairs import Candidates
from training.recommend.pick import Listed, Rules, Taken, mixed
from training.recommend.recommender import ALL, DISCOVERY, Recommender
from training.recommend.tiers import step_up

Kind = Literal["all", "repeat", "discovery", "mix", "basket", "upsell"]
BASKET, UPSELL = "basket", "upsell"
LINKS = "links"
"""Stands for the ranker of items that come by their links alone."""
KINDS = get_args(Kind)
RANKED, CONTENT, SEGMENT, SEASON, POPULAR = "ranked", "content", "segment", "season", "popular"
STEPS = {
    RANKED: "ranked from the customer's own history",
    CONTENT: "described like what the customer {}",
    SEGMENT: "{} by many of the same segment lately",
    SEASON: "{} by many in these weeks of last year",
    POPULAR: "{} by many lately",
}
"""The ladder: each step answers where the one before has nothing left to say."""


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
    segment: int | None = None
    """Place among the segments; None = not known."""

    @property
    def calls(self) -> list[int]:
        """What a list should go with: the basket, else what was bought last; or all that was."""
        if self.basket:
            return sorted(self.basket)
        newest = self.past.age.min(initial=np.inf) if self.kind == BASKET else np.inf
        return sorted(set(self.past.item[self.past.age <= newest].tolist()))


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
    upper: np.ndarray | None = None
    if asked.kind == UPSELL:
        upper = np.asarray(step_up(recommender, asked.past)[1].any(axis=0))
    allowed = _allowed(recommender, asked, owned, upper, made.filtered)
    kinds = ("repeat", "discovery") if asked.kind == "mix" else (asked.kind,)
    pools: dict[str, list[Listed]] = {kind: [] for kind in kinds}
    if asked.kind in (BASKET, "similar"):
        links = recommender.together if asked.kind == BASKET else recommender.alike
        pools[asked.kind] = _going_with(links, asked.calls, owned, allowed, RANKED)
    elif len(asked.past.item):
        found = recommender.shelf.candidates(asked.past, upper)
        made.X = found.X
        pools = {kind: _ranked(recommender, found, kind, allowed) for kind in kinds}
    taken = Taken(recommender, asked.rules)
    if asked.kind == "mix":
        made.items = mixed(pools, asked.k, asked.repeat_share, taken)
    else:
        made.items = taken.choose(pools[asked.kind], asked.k)
    if asked.kind not in ("repeat", UPSELL) and len(made.items) < asked.k:
        open_ = allowed.copy()
        open_[[x.item for x in made.items]] = False
        steps = _ladder(recommender, asked, open_, owned)
        made.items += taken.choose(steps, asked.k - len(made.items), diverse=False)
    made.short = _why_short(asked, made, int(allowed.sum()), taken, recommender.said[1])
    return made


def _ranked(
    recommender: Recommender, found: Candidates, kind: str, allowed: np.ndarray
) -> list[Listed]:
    """The allowed candidates of a kind of list, best first; equal scores by item."""
    ranker = ALL if kind in ("all", "repeat") else DISCOVERY
    kept = allowed[found.item]
    if kind != "all":
        kept &= found.bought if kind == "repeat" else ~found.bought
    rows = np.flatnonzero(kept)
    score = recommender.rankers[ranker].score(found.X[rows])
    order = np.lexsort((found.item[rows], -score))
    rows = rows[order]
    columns = (found.item[rows], score[order], found.bought[rows], rows)
    return [
        Listed(item, value, RANKED, bought, row, ranker)
        for item, value, bought, row in zip(*(x.tolist() for x in columns), strict=True)
    ]


def _allowed(
    recommender: Recommender, asked: Asked, owned: np.ndarray, upper: np.ndarray | None,
    filtered: dict[str, int],
) -> np.ndarray:  # fmt: skip
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
    bought = recommender.said[1]
    if asked.kind in ("discovery", UPSELL):
        take_away(f"{bought} before", owned)
    if asked.kind == "repeat":
        take_away(f"never {bought}", ~owned)
    if upper is not None:
        take_away("no step up", ~upper)
    take_away("in the basket" if asked.kind != "similar" else "asked for", among(asked.basket))
    take_away("out of stock", among(rules.out_of_stock))
    take_away("denied", among(rules.deny))
    if rules.allow is not None:
        take_away("not on the allow list", ~among(rules.allow))
    if rules.categories is not None:
        take_away("another category", ~np.isin(shelf.attributes.category, list(rules.categories)))
    price = recommender.prices
    if rules.low is not None:
        take_away("below the price range", ~(price >= rules.low))
    if rules.high is not None:
        take_away("above the price range", ~(price <= rules.high))
    return left


def _ladder(
    recommender: Recommender, asked: Asked, open_: np.ndarray, owned: np.ndarray
) -> Iterator[Listed]:
    """The open items, each once: alike, of the segment, of the season, then those that sell now."""
    demand = recommender.shelf.demand
    for listed in _going_with(recommender.described, asked.calls, owned, open_, CONTENT):
        open_[listed.item] = False
        yield listed
    lately = demand.buyers_90 + 1e-6 * demand.buyers
    steps = [(SEASON, demand.season), (POPULAR, lately)]
    if asked.segment is not None:
        steps.insert(0, (SEGMENT, demand.by_segment[asked.segment]))
    for step, buyers in steps:
        worth = np.where(open_, buyers, 0.0)
        for i in np.argsort(-worth, kind="stable")[: int((worth > 0).sum())].tolist():
            open_[i] = False
            yield Listed(i, float(buyers[i]), step, bool(owned[i]), -1)


def _going_with(
    links: sp.csr_matrix, items: Sequence[int], owned: np.ndarray, allowed: np.ndarray, step: str
) -> list[Listed]:
    """Allowed items by the sum of their links from ``items``."""
    score = np.asarray(links[list(items)].sum(axis=0)).ravel() if items else np.zeros(len(owned))
    order = np.lexsort((np.arange(len(score)), -score))
    order = order[allowed[order] & (score[order] > 0)]
    return [Listed(int(i), float(score[i]), step, bool(owned[i]), -1, LINKS) for i in order]


def _why_short(asked: Asked, made: Made, allowed: int, taken: Taken, bought: str) -> str | None:
    lack = asked.k - len(made.items)
    if lack <= 0:
        return None
    catalogue = asked.past.n_items
    if asked.k > catalogue:
        return f"{asked.k} items were asked for, the catalogue has {catalogue}"
    if asked.kind in ("repeat", UPSELL) and not len(asked.past.item):
        return f"nothing {bought} before is known, which the list would be made from"
    if taken.capped:
        return f"{allowed} items pass the rules, and the caps hold back {taken.capped} of them"
    if asked.kind == "repeat":
        return f"only {allowed} items {bought} before pass the rules"
    return f"only {allowed} items pass the rules"
