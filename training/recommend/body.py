"""What a request for a list says."""

import datetime as dt
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from features.settings import Strict
from training.recommend.lists import Kind

MAX_LINES = 5_000
MAX_K = 1_000
Code = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Codes = Annotated[tuple[Code, ...], Field(max_length=20_000)]


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

    history: tuple[Line, ...] = ()
    """What the customer bought; empty = nothing is known."""
    basket: Annotated[tuple[Code, ...], Field(max_length=1_000)] = ()
    """What lies in the basket now: never listed; of a customer without a history all that is
    known, so it is taken for one."""
    list: Kind = "all"
    """all, repeat, discovery, mix of both; basket: what goes with the basket, else with what was
    bought last; upsell: a step up from what was bought."""
    k: int = Field(default=10, ge=1, le=MAX_K)
    repeat_share: float = Field(default=0.5, ge=0, le=1)
    """Share of a mix that was bought before."""
    rules: Demands = Demands()
    segment: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """The customer's, such as a country: what sells in it comes before what sells to everyone."""
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


class PostedRequest(ListRequest):
    """The same from outside, where what one customer may send has a limit."""

    history: Annotated[tuple[Line, ...], Field(max_length=MAX_LINES)] = ()
    """What the customer bought; empty = nothing is known."""


class SimilarRequest(Strict):
    """What is like a product."""

    product_id: Code
    k: int = Field(default=10, ge=1, le=MAX_K)
    rules: Demands = Demands()
