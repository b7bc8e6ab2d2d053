"""Why an item is listed: contributions that add up to the score, in families, and a sentence.

The ranker's score is explained by TreeSHAP over its columns; columns are added up by family, since
single ones of a family (decay over 90 and over 180 days) say nearly the same. Beside it, past
purchases and what each adds to the item-to-item score that speaks loudest for the item.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.contract import Floats
from training.recommend.lists import (
    CONTENT,
    LINKS,
    POPULAR,
    SEASON,
    SEGMENT,
    UPSELL,
    Asked,
    Made,
)
from training.recommend.makers.linear import Linear
from training.recommend.pick import Listed
from training.recommend.recommender import TOGETHER, Recommender
from training.recommend.tiers import step_up
from training.sentences import Language, say, segment_name, verbs

FAMILIES = {
    "own": "how often and how lately the customer had it",
    "goes_with": "what goes with the rest of the customer's history",
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
    recommender: Recommender, asked: Asked, made: Made, whole: bool, language: Language = "en"
) -> list[Reason]:
    """Reasons of the listed items.

    ``whole``: take the rankers' scores apart, too; else sentences and past purchases are all.
    """
    columns, items = recommender.columns, made.items
    found: dict[int, tuple[float, Floats]] = {}
    for name, ranker in recommender.rankers.items() if whole else ():
        own = [i for i, x in enumerate(items) if x.ranker == name and x.row >= 0]
        if own:
            base, values = ranker.explain(made.X[[items[i].row for i in own]])
            found |= {i: (base, row) for i, row in zip(own, values, strict=True)}
    of = np.array([list(FAMILIES).index(family(name)) for name in columns])
    reasons = []
    for i, (maker, added) in enumerate(loudest(recommender, asked, made)):
        listed, score = items[i], sum(a for _, a in added)
        text = sentence(recommender, asked, listed, added, language)
        if listed.ranker == LINKS:
            reasons.append(Reason(0.0, {"goes_with": score}, maker, score, added, text))
            continue
        # A score of the ladder is the item's buyers: nothing is taken apart.
        base, row = found.get(i, (listed.score, np.zeros(len(columns))))
        sums = np.bincount(of, weights=row, minlength=len(FAMILIES))
        by_family = dict(zip(FAMILIES, sums.tolist(), strict=True))
        reasons.append(Reason(base, by_family, maker, score, added, text))
    return reasons


def loudest(
    recommender: Recommender, asked: Asked, made: Made
) -> Iterator[tuple[str | None, list[tuple[int, float]]]]:
    """For each item the item-to-item maker that ranks it best, and the parts of its score there."""
    makers = {n: m for n, m in recommender.shelf.makers.items() if isinstance(m, Linear)}
    names = list(makers)
    ranks = [recommender.columns.index(f"rank__{name}") for name in names]
    weights: dict[str, Floats] = {}
    for listed in made.items:
        if listed.ranker == LINKS:
            name, own = (
                CONTENT if listed.step == CONTENT else TOGETHER,
                np.zeros(asked.past.n_items),
            )
            own[asked.calls] = 1.0
        elif listed.row >= 0 and names:
            name = names[int(np.argmin(made.X[listed.row, ranks]))]
            if name not in weights:
                weights[name] = makers[name].weights(asked.past)
            own = weights[name]
        else:
            yield None, []
            continue
        added = makers[name].parts(own, listed.item)
        yield name, sorted(added.items(), key=lambda p: (-p[1], p[0]))


def sentence(
    recommender: Recommender,
    asked: Asked,
    listed: Listed,
    parts: list[tuple[int, float]],
    language: Language = "en",
) -> str:
    """One reason in words, with numbers that are the customer's own where there are any."""
    past, speaks = asked.past, [h for h, a in parts if a > 0][:2]

    def told(name: str, **values: object) -> str:
        return say(name, language, **verbs(recommender.said, language), **values)

    if listed.step == CONTENT:
        return told("alike", items=named(recommender, speaks, language))
    if listed.ranker == LINKS:
        return told("together", items=named(recommender, speaks, language))
    if asked.kind == UPSELL:
        own, upper = step_up(recommender, past)
        # Of all that it tops, the dearest: the smallest step.
        topped = own[upper[:, listed.item]]
        below = int(topped[np.argmax(recommender.prices[topped])])
        now, then = recommender.prices[[listed.item, below]]
        items = named(recommender, [below], language)
        return told("step up", items=items, now=f"{now:.2f}", then=f"{then:.2f}")
    ages = np.sort(past.age[past.item == listed.item])
    if len(ages) > 1:
        every = _span(float(ages[-1] - ages[0]) / (len(ages) - 1), language)
        return told("every", every=every, ago=_ago(ages[0], language))
    if len(ages):
        return told("had", ago=_ago(ages[0], language))
    demand = recommender.shelf.demand
    if listed.step == SEASON:
        return told("season", count=int(demand.season[listed.item]))
    if listed.step == SEGMENT:
        segment = segment_name(demand.segments[asked.segment or 0], language)
        return told("segment", count=int(listed.score), segment=segment)
    if listed.step == POPULAR:
        return told("popular", count=int(demand.buyers_90[listed.item]), days=90)
    if speaks:
        return told("goes with", items=named(recommender, speaks, language))
    attributes = recommender.shelf.attributes
    category = attributes.category
    known = category[listed.item] >= 0
    if known and (category[past.item] == category[listed.item]).any():
        return told("category", category=attributes.categories[listed.item])
    return told("popular", count=int(demand.buyers_30[listed.item]), days=30)


def named(recommender: Recommender, items: Sequence[int], language: Language = "en") -> str:
    """Names of items, codes where there are none."""
    attributes = recommender.shelf.attributes
    words = [
        (attributes.names[i] if attributes.names else "") or attributes.products[i] for i in items
    ]
    return say("and", language).join(words)


def _span(days: float, language: Language) -> str:
    if days < 1.5:
        return say("day", language)
    if days < 2 * WEEK:
        return say("days", language, n=f"{days:.0f}")
    if days < 120:
        return say("weeks", language, n=f"{days / WEEK:.0f}")
    return say("months", language, n=f"{days / 30.4:.0f}")


def _ago(days: float, language: Language) -> str:
    if days < 1.5:
        return say("today" if days < 1 else "yesterday", language)
    return say("ago", language, span=_span(days, language))
