"""Why an item is listed: contributions that add up to the score, in families, and a sentence.

The ranker's score is explained by TreeSHAP over its columns; columns are added up by family, since
single ones of a family (decay over 90 and over 180 days) say nearly the same. Beside it, past
purchases and what each adds to the item-to-item score that speaks loudest for the item.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from training.contract import Floats
from training.recommend.histories import Histories
from training.recommend.lists import BASKET, POPULAR, SEASON, Listed, call
from training.recommend.makers.linear import Linear
from training.recommend.recommender import Recommender

FAMILIES = {
    "own": "how often and how lately the customer bought it",
    "goes_with": "what goes with the customer's other purchases",
    "taste": "whether its price, category and brand are the customer's",
    "habits": "how the customer shops",
    "demand": "how it sells now",
    "season": "how it sells at this time of the year",
}
"""Family of columns -> what it says."""
SPACE = "rank score"
WEEK = 7


def family(column: str) -> str:
    """The family of a ranker's column."""
    head, _, name = column.partition("__")
    if "season" in name:
        return "season"
    if head in ("score", "rank"):
        return {"decayed": "own", "due": "own", "recent": "demand"}.get(name, "goes_with")
    return {
        "own": "own", "customer": "habits", "item": "demand",
        "price": "taste", "category": "taste", "brand": "taste",
    }[head]  # fmt: skip


@dataclass(frozen=True)
class Reason:
    """Why one item is listed."""

    base: float
    contributions: dict[str, float]
    """Family -> what it adds; ``base + sum = score``."""
    maker: str | None
    """Item-to-item maker that says most for the item; None where none does."""
    maker_score: float
    parts: list[tuple[int, float]]
    """Past items and what each adds to the maker's score, all of them, largest first."""
    text: str


def explain(
    recommender: Recommender,
    past: Histories,
    X: np.ndarray,
    items: Sequence[Listed],
    basket: Collection[int] = (),
    whole: bool = True,
) -> list[Reason]:
    """Reasons of listed items, for the one customer of ``past`` with candidates' rows ``X``.

    Parameters
    ----------
    basket
        What the items go with, where the list is of that kind.
    whole
        Take the rankers' scores apart, too; else sentences and past purchases are all.
    """
    columns = recommender.columns
    found: dict[int, tuple[float, Floats]] = {}
    for name, ranker in recommender.rankers.items() if whole else ():
        own = [i for i, x in enumerate(items) if x.ranker == name and x.row >= 0]
        if own:
            base, values = ranker.explain(X[[items[i].row for i in own]])
            found |= {i: (base, row) for i, row in zip(own, values, strict=True)}
    of = np.array([list(FAMILIES).index(family(name)) for name in columns])
    parts = loudest(recommender, past, X, items, basket)
    made = []
    for i, listed in enumerate(items):
        maker, added = parts[i]
        text = sentence(recommender, past, listed, added)
        score = sum(a for _, a in added)
        if listed.ranker == BASKET:
            made.append(Reason(0.0, {"goes_with": score}, maker, score, added, text))
            continue
        # A score of the ladder is the item's buyers: nothing is taken apart.
        base, row = found.get(i, (listed.score, np.zeros(len(columns))))
        sums = np.bincount(of, weights=row, minlength=len(FAMILIES))
        by_family = dict(zip(FAMILIES, sums.tolist(), strict=True))
        made.append(Reason(base, by_family, maker, score, added, text))
    return made


def loudest(
    recommender: Recommender,
    past: Histories,
    X: np.ndarray,
    items: Sequence[Listed],
    basket: Collection[int] = (),
) -> list[tuple[str | None, list[tuple[int, float]]]]:
    """For each item the item-to-item maker that ranks it best, and the parts of its score there."""
    makers = {n: m for n, m in recommender.shelf.makers.items() if isinstance(m, Linear)}
    names = list(makers)
    ranks = [recommender.columns.index(f"rank__{name}") for name in names]
    profiles: dict[str, dict[int, float]] = {}
    made: list[tuple[str | None, list[tuple[int, float]]]] = []
    for listed in items:
        if listed.ranker == BASKET:
            profile = dict.fromkeys(call(past, basket), 1.0)
            name = "together"
        elif listed.row >= 0 and names:
            name = names[int(np.argmin(X[listed.row, ranks]))]
            if name not in profiles:
                weights = makers[name].profile(past)
                profiles[name] = dict(
                    zip(weights.indices.tolist(), weights.data.tolist(), strict=True)
                )
            profile = profiles[name]
        else:
            made.append((None, []))
            continue
        links = makers[name].into(listed.item)
        added = [(h, profile[h] * link) for h, link in links if h in profile]
        made.append((name, sorted(added, key=lambda p: (-p[1], p[0]))))
    return made


def sentence(
    recommender: Recommender, past: Histories, listed: Listed, parts: list[tuple[int, float]]
) -> str:
    """One reason in words, with numbers that are the customer's own where there are any."""
    speaks = [h for h, a in parts if a > 0][:2]
    if listed.ranker == BASKET:
        return f"often bought together with {named(recommender, speaks)}"
    own = np.sort(past.age[past.item == listed.item])
    if len(own) > 1:
        every = float(own[-1] - own[0]) / (len(own) - 1)
        return f"you buy this every {_span(every)}; last time {_ago(own[0])}"
    if len(own):
        return f"you bought this {_ago(own[0])}"
    demand, attributes = recommender.shelf.demand, recommender.shelf.attributes
    season, now = int(demand.season[listed.item]), int(demand.buyers_30[listed.item])
    if listed.step == SEASON:
        return f"in season: {season} customers bought it in these weeks last year"
    if listed.step == POPULAR:
        return f"{int(demand.buyers_90[listed.item])} customers bought it in the last 90 days"
    if speaks:
        return f"goes with {named(recommender, speaks)}, which you bought"
    category = attributes.category
    known = category[listed.item] >= 0
    if known and (category[past.item] == category[listed.item]).any():
        return f"from {attributes.categories[listed.item]}, where you buy"
    return f"{now} customers bought it in the last 30 days"


def named(recommender: Recommender, items: Sequence[int]) -> str:
    """Names of items, codes where there are none."""
    attributes = recommender.shelf.attributes
    words = [
        (attributes.names[i] if attributes.names else "") or attributes.products[i] for i in items
    ]
    return " and ".join(words)


def _span(days: float) -> str:
    if days < 2 * WEEK:
        return f"{max(days, 1):.0f} days" if days >= 1.5 else "day"
    return f"{days / WEEK:.0f} weeks" if days < 120 else f"{days / 30.4:.0f} months"


def _ago(days: float) -> str:
    if days < 1:
        return "today"
    if days < 1.5:
        return "yesterday"
    return f"{_span(days)} ago"
