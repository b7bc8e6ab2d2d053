"""A request for a list, and the reply to it: the same in a notebook, in replay and over HTTP."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field, StringConstraints, model_validator

from features.settings import Strict
from training.recommend import explain as reasons
from training.recommend.histories import Histories
from training.recommend.lists import (
    BASKET,
    POPULAR,
    RANKED,
    SEASON,
    STEPS,
    Asked,
    Kind,
    Listed,
    Rules,
    make_list,
    prices,
)
from training.recommend.recommender import Recommender

MAX_LINES = 5_000
MAX_K = 1_000
Code = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Codes = Annotated[tuple[Code, ...], Field(max_length=20_000)]
Reply = dict[str, Any]
WITH_BASKET = "bought together with what is in the basket, or was bought last"
ALIKE = "bought by the same customers, or described alike"


class Line(Strict):
    """A purchase, or what was taken back of one."""

    product_id: Code
    days_ago: int | None = Field(default=None, ge=0, le=36_500)
    """Whole days from the purchase to today; 0 = today."""
    date: dt.date | None = None
    """The day instead."""
    quantity: float = Field(default=1.0, ge=-1e9, le=1e9, allow_inf_nan=False)
    """Pieces; below 0 = taken back."""
    amount: float | None = Field(default=None, ge=-1e12, le=1e12, allow_inf_nan=False)
    """Paid for the line; left out, the item's usual price."""

    @model_validator(mode="after")
    def _dated(self) -> "Line":
        if (self.days_ago is None) == (self.date is None):
            raise ValueError("give either days_ago or date")
        return self


class Price(Strict):
    """A range of prices, ends included, in the currency of the source."""

    low: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    high: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class Demands(Strict):
    """Business rules of a request."""

    allow: Codes | None = None
    """Only these products; left out = all."""
    deny: Codes = ()
    out_of_stock: Codes = ()
    categories: Annotated[tuple[str, ...], Field(max_length=1_000)] | None = None
    """Only these categories."""
    price: Price = Price()
    diversity: float = Field(default=0.0, ge=0, le=1)
    """0 = by score alone, 1 = as different as can be."""
    most_per_category: int | None = Field(default=None, ge=1)
    most_per_brand: int | None = Field(default=None, ge=1)


class ListRequest(Strict):
    """What to recommend to one customer."""

    history: Annotated[tuple[Line, ...], Field(max_length=MAX_LINES)] = ()
    """What the customer bought; empty = nothing is known."""
    basket: Annotated[tuple[Code, ...], Field(max_length=1_000)] = ()
    """What lies in the basket now."""
    list: Kind = "all"
    """all, repeat, discovery, mix of both, or basket: what goes with the basket."""
    k: int = Field(default=10, ge=1, le=MAX_K)
    repeat_share: float = Field(default=0.5, ge=0, le=1)
    """Share of a mix that was bought before."""
    rules: Demands = Demands()
    today: dt.date | None = None
    """Day that dates are counted back from; needed where lines have dates."""

    @model_validator(mode="after")
    def _counted(self) -> "ListRequest":
        dated = [line.date for line in self.history if line.date is not None]
        if dated and self.today is None:
            raise ValueError("lines with a date need today, the day they are counted back from")
        if self.today is not None and any(day > self.today for day in dated):
            raise ValueError("a line is dated after today")
        return self


class SimilarRequest(Strict):
    """What is like a product."""

    product_id: Code
    k: int = Field(default=10, ge=1, le=MAX_K)
    rules: Demands = Demands()


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
    recommender: Recommender, body: Mapping[str, Any] | ListRequest, explained: bool = False
) -> Reply:
    """The reply to a request.

    Unknown products are counted and warned of. A list shorter than asked says why.
    """
    request = body if isinstance(body, ListRequest) else ListRequest.model_validate(body)
    catalogue, warnings = Catalogue(recommender), list[str]()
    past = history(catalogue, request, warnings)
    asked = Asked(
        past, frozenset(catalogue.places(request.basket)), request.list, request.k,
        request.repeat_share, _rules(catalogue, request.rules, warnings),
    )  # fmt: skip
    made = make_list(recommender, asked)
    if catalogue.unknown:
        warnings.append(
            f"{len(catalogue.unknown)} product(s) are not in the catalogue and left out"
        )
    said = reasons.explain(recommender, past, made.X, made.items, asked.basket, explained)
    return {
        "list": request.list,
        "step": _step(made.items, WITH_BASKET if request.list == BASKET else STEPS[RANKED]),
        "items": [
            {"rank": rank, **_item(recommender, listed), "reason": reason.text}
            | (_explained(recommender, listed, reason) if explained else {})
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
        "step": _step(made.items, ALIKE),
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
    rows = [row for row in rows if row[0] not in back]
    usual = np.nan_to_num(catalogue.recommender.shelf.demand.price, nan=0.0)
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


def _step(items: Sequence[Listed], ranked: str) -> str:
    """The lowest step of the ladder that the list needed, in words; ``ranked``: of the first."""
    used = {item.step for item in items}
    lowest = next((step for step in (POPULAR, SEASON, RANKED) if step in used), None)
    if lowest is None:
        return "nothing is listed"
    return ranked if lowest == RANKED else STEPS[lowest]


def _item(recommender: Recommender, listed: Listed) -> dict[str, Any]:
    attributes = recommender.shelf.attributes
    price = float(prices(recommender)[listed.item])
    return {
        "product_id": attributes.products[listed.item],
        "name": (attributes.names[listed.item] or None) if attributes.names else None,
        "category": (attributes.categories[listed.item] or None) if attributes.categories else None,
        "price": None if np.isnan(price) else price,
        "score": listed.score,
        "step": listed.step,
        "bought_before": listed.bought,
    }


def _explained(recommender: Recommender, listed: Listed, reason: reasons.Reason) -> dict[str, Any]:
    products = recommender.shelf.attributes.products
    total = reason.base + sum(reason.contributions.values())
    return {
        "base": reason.base,
        "sum_check": abs(total - listed.score),
        "contributions": [
            {"family": name, "contribution": value, "text": reasons.FAMILIES[name]}
            for name, value in sorted(reason.contributions.items(), key=lambda p: -abs(p[1]))
        ],
        "maker": reason.maker,
        "maker_score": reason.maker_score,
        "purchases": [
            {"product_id": products[h], "contribution": value} for h, value in reason.parts
        ],
    }
