"""A request for a list, and the reply to it: the same in a notebook, in replay and over HTTP."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from training.recommend import explain as reasons
from training.recommend.body import Demands, ListRequest, SimilarRequest
from training.recommend.histories import Histories
from training.recommend.lists import (
    BASKET,
    RANKED,
    STEPS,
    Asked,
    make_list,
)
from training.recommend.pick import Listed, Rules
from training.recommend.recommender import Recommender
from training.sentences import Language, meaning

Reply = dict[str, Any]
WITH_BASKET = "{0} together with what is in the basket, or was {0} last"
ALIKE = "{} by the same customers, or described alike"


@dataclass
class Catalogue:
    """Product codes and where they stand."""

    recommender: Recommender
    unknown: set[str] = field(default_factory=set)
    """Codes that were asked for and are not there."""

    @cached_property
    def products(self) -> tuple[str, ...]:
        """Codes by place."""
        return self.recommender.shelf.attributes.products

    def places(self, codes: Iterable[str]) -> list[int]:
        """Places of the codes that are known; the others are remembered as unknown."""
        known = self.recommender.places
        found = [(code, known.get(code.strip().upper(), known.get(code))) for code in codes]
        self.unknown |= {code for code, place in found if place is None}
        return [place for _, place in found if place is not None]


def answer(
    recommender: Recommender,
    body: Mapping[str, Any] | ListRequest,
    explained: bool = False,
    language: Language = "en",
) -> Reply:
    """The reply to a request.

    Unknown products are counted and warned of. A list shorter than asked says why.
    """
    request = body if isinstance(body, ListRequest) else ListRequest.model_validate(body)
    catalogue, warnings = Catalogue(recommender), list[str]()
    basket = frozenset(catalogue.places(request.basket))
    past = history(catalogue, request, warnings)
    if basket and not len(past.item):
        past = _of_today(catalogue, sorted(basket))
    asked = Asked(
        past, basket, request.list, request.k, request.repeat_share,
        _rules(catalogue, request.rules, warnings), _segment(recommender, request, warnings),
    )  # fmt: skip
    made = make_list(recommender, asked)
    if catalogue.unknown:
        warnings.append(
            f"{len(catalogue.unknown)} product(s) are not in the catalogue and left out"
        )
    said = reasons.explain(recommender, asked, made, explained, language)
    return {
        "list": request.list,
        "step": _step(
            recommender, made.items, WITH_BASKET if request.list == BASKET else STEPS[RANKED]
        ),
        "items": [
            {"rank": rank, **_item(recommender, listed), "reason": reason.text}
            | (_explained(recommender, listed, reason, language) if explained else {})
            for rank, (listed, reason) in enumerate(zip(made.items, said, strict=True), 1)
        ],
        "filtered": [{"rule": rule, "items": count} for rule, count in made.filtered.items()],
        "short": made.short,
        "unknown_items": len(catalogue.unknown),
        "warnings": warnings,
    }


def similar(recommender: Recommender, body: Mapping[str, Any] | SimilarRequest) -> Reply:
    """Items like a product: bought by the same customers, or described alike."""
    request = body if isinstance(body, SimilarRequest) else SimilarRequest.model_validate(body)
    catalogue, warnings = Catalogue(recommender), list[str]()
    found = catalogue.places([request.product_id])
    past = Histories.empty(len(catalogue.products))
    asked = Asked(
        past,
        frozenset(found),
        "similar",
        request.k,
        rules=_rules(catalogue, request.rules, warnings),
    )
    made = make_list(recommender, asked)
    if not found:
        warnings.append("the product is not in the catalogue: the list says what sells instead")
    return {
        "step": _step(recommender, made.items, ALIKE),
        "items": [
            {"rank": rank, **_item(recommender, listed)}
            for rank, listed in enumerate(made.items, 1)
        ],
        "filtered": [{"rule": rule, "items": count} for rule, count in made.filtered.items()],
        "short": made.short,
        "unknown_items": len(catalogue.unknown),
        "warnings": warnings,
    }


def history(catalogue: Catalogue, request: ListRequest, warnings: list[str]) -> Histories:
    """The posted lines as one customer's history; what was taken back entirely is not in it."""
    known = catalogue.recommender.places
    rows, net = [], dict[int, float]()
    for line in request.history:
        place = known.get(line.product_id.strip().upper(), known.get(line.product_id))
        if place is None:
            catalogue.unknown.add(line.product_id)
            continue
        net[place] = net.get(place, 0.0) + line.quantity
        if line.quantity > 0:
            age = line.days_ago
            if age is None:
                assert line.date is not None, "the types see to it"
                assert request.today is not None, "the types see to it"
                age = (request.today - line.date).days
            rows.append((place, age, line.quantity, line.amount))
    back = {place for place, quantity in net.items() if quantity <= 0}
    if back:
        warnings.append(f"{len(back)} product(s) were taken back entirely and do not count")
    return _of_one(catalogue, [row for row in rows if row[0] not in back])


def _of_today(catalogue: Catalogue, items: Sequence[int]) -> Histories:
    """The history of someone who has taken ``items`` today, one of each."""
    return _of_one(catalogue, [(item, 0, 1.0, None) for item in items])


def _of_one(
    catalogue: Catalogue, rows: Sequence[tuple[int, int, float, float | None]]
) -> Histories:
    """One customer's history from items, ages, quantities and amounts, None = the usual."""
    usual = catalogue.recommender.shelf.demand.price
    columns = {
        "customer": np.zeros(len(rows), np.int64),
        "item": np.array([row[0] for row in rows], np.int64),
        "age": np.array([row[1] for row in rows], np.int64),
        "quantity": np.array([row[2] for row in rows], np.float64),
        "amount": np.array([usual[i] * q if a is None else a for i, _, q, a in rows], np.float64),
    }
    return Histories.of(columns, 1, len(catalogue.products))


def _rules(catalogue: Catalogue, said: Demands, warnings: list[str]) -> Rules:
    attributes = catalogue.recommender.shelf.attributes
    categories = None
    if said.categories is not None:
        number = dict(zip(attributes.categories, attributes.category.tolist(), strict=False))
        unknown = [name for name in said.categories if name not in number]
        if unknown:
            warnings.append(f"{len(unknown)} categor(ies) are not in the catalogue")
        categories = frozenset(number[name] for name in said.categories if name in number)
    return Rules(
        allow=None if said.allow is None else frozenset(catalogue.places(said.allow)),
        deny=frozenset(catalogue.places(said.deny)),
        out_of_stock=frozenset(catalogue.places(said.out_of_stock)),
        categories=categories,
        low=said.price.low,
        high=said.price.high,
        diversity=said.diversity,
        most_per_category=said.most_per_category,
        most_per_brand=said.most_per_brand,
    )


def _segment(recommender: Recommender, request: ListRequest, warnings: list[str]) -> int | None:
    known = recommender.shelf.demand.segments
    if request.segment is None or request.segment in known:
        return None if request.segment is None else known.index(request.segment)
    warnings.append(f"the segment is none of the {len(known)} that are known, and says nothing")
    return None


def _step(recommender: Recommender, items: Sequence[Listed], ranked: str) -> str:
    """The lowest step of the ladder that the list needed, in words; ``ranked``: of the first."""
    used = {item.step for item in items}
    lowest = next((step for step in reversed(STEPS) if step in used), None)
    if lowest is None:
        return "nothing is listed"
    return (ranked if lowest == RANKED else STEPS[lowest]).format(recommender.said[1])


def _item(recommender: Recommender, listed: Listed) -> dict[str, Any]:
    attributes = recommender.shelf.attributes
    price = float(recommender.prices[listed.item])
    return {
        "product_id": attributes.products[listed.item],
        "name": (attributes.names[listed.item] or None) if attributes.names else None,
        "category": (attributes.categories[listed.item] or None) if attributes.categories else None,
        "price": None if np.isnan(price) else price,
        "score": listed.score,
        "step": listed.step,
        "bought_before": listed.bought,
    }


def _explained(
    recommender: Recommender, listed: Listed, reason: reasons.Reason, language: Language
) -> dict[str, Any]:
    products = recommender.shelf.attributes.products
    total = reason.base + sum(reason.contributions.values())
    return {
        "base": reason.base,
        "sum_check": abs(total - listed.score),
        "contributions": [
            {
                "family": name,
                "contribution": value,
                "text": meaning(reasons.FAMILIES[name], language),
            }
            for name, value in sorted(reason.contributions.items(), key=lambda p: -abs(p[1]))
        ],
        "maker": reason.maker,
        "maker_score": reason.maker_score,
        "purchases": [
            {"product_id": products[h], "contribution": value} for h, value in reason.parts
        ],
    }
