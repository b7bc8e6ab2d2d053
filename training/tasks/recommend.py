"""Recommendations: which items a customer buys next, again or for the first time."""

import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.settings import Strict
from features.sources import Source
from features.views import AGE, View
from training.contract import Kind


class RecommendConfig(Strict):
    """Who gets a list, and by which period lists are judged."""

    horizon_days: int = Field(default=90, ge=1, le=730)
    """Length of the window ``[t, t + horizon)`` whose purchases are the truth."""
    active_within_days: int | None = Field(default=None, ge=1)
    """Customers with an order kept in so many days; None: with any order."""
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
        self.question = (
            f"Which items does a customer buy in the next {config.horizon_days} days, "
            "again or for the first time?"
        )

    def spine(self, view: View) -> ir.Table:
        """Customers with an order kept, as known at the cutoff."""
        orders, active = view.orders, self.config.active_within_days
        asked = orders.filter(orders[AGE] <= active) if active else orders
        return asked.select(c.CUSTOMER, c.CUTOFF).distinct()

    def problems(self, source: Source) -> list[str]:
        """What the question needs and ``source`` does not bring."""
        if "order_lines" in source.tables:
            return []
        return ["it needs the table order_lines, which says who bought which product"]
