"""Recommendations: which items a customer buys next, again or for the first time."""

import ibis.expr.types as ir
from pydantic import Field, model_validator

from features import columns as c
from features.settings import Strict
from features.sources import Source
from features.views import AGE, View
from training.contract import Kind
from training.questions import KEYS, ORDERS, Selection


class Interactions(Selection):
    """What counts as having had an item: it was bought, viewed, read."""

    item: str = c.PRODUCT
    """Column that says which item it was; rows without one say nothing."""
    said: tuple[str, str] = ("buy", "bought")
    """What customers do with an item, present and past, for reasons in words."""

    @model_validator(mode="after")
    def _plain_orders(self) -> "Interactions":
        if self.table == ORDERS and (self.where or self.item != c.PRODUCT):
            raise ValueError("orders: products bought and kept are all there is; name a table")
        return self


PURCHASES = Interactions()


class Segment(Strict):
    """What tells strangers apart: a column of a table of customers."""

    table: str = "customers"
    column: str = "country"


class RecommendConfig(Strict):
    """Who gets a list, and by which period lists are judged."""

    interactions: Interactions = PURCHASES
    """Products bought; or rows of any table of customers, such as views among the events."""

    horizon_days: int = Field(default=90, ge=1, le=730)
    """Length of the window ``[t, t + horizon)`` whose interactions are the truth."""
    active_within_days: int | None = Field(default=None, ge=1)
    """Customers with an interaction in so many days; None: with any."""
    segment: Segment | None = None
    """Strangers are answered by what sells in theirs; None, or not in the source: in no segment."""
    next_basket: bool = False
    """True: the truth is the first day in the window with any interaction, its basket alone."""
    maturity_days: int = Field(default=0, ge=0)
    """Days after the window until all its rows are known."""


class Recommend:
    """Lists of items: of all, of those bought before, of those never bought."""

    config: RecommendConfig
    kind: Kind = "lists"
    name = "recommend"
    output = "items"

    def __init__(self, config: RecommendConfig) -> None:
        self.config = config
        self.horizon_days, self.maturity_days = config.horizon_days, config.maturity_days
        buy, bought = config.interactions.said
        within = f"in the next {config.horizon_days} days"
        self.question = (
            f"Which items are {bought} together the next time, {within}?"
            if config.next_basket
            else f"Which items does a customer {buy} {within}, again or for the first time?"
        )

    def spine(self, view: View) -> ir.Table:
        """Customers with an interaction, as known at the cutoff."""
        rows, active = self.config.interactions.of(view), self.config.active_within_days
        asked = rows.filter(rows[AGE] <= active) if active else rows
        return asked.select(*KEYS).distinct()

    def problems(self, source: Source) -> list[str]:
        """What the question needs and ``source`` does not bring."""
        said = self.config.interactions
        return said.problems(source, () if said.table == ORDERS else (said.item,))
