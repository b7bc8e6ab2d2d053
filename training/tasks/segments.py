"""Segments: which customers are alike, judged by what they do in the time that follows."""

import ibis.expr.types as ir
from pydantic import Field

from features.settings import Strict
from features.sources import Source
from features.views import View
from training.contract import Kind, Task
from training.questions import Population
from training.tasks.amount import Amount, AmountConfig

EVER = 36_500


class SegmentsConfig(Strict):
    """Who is segmented, and by which period segments are judged."""

    horizon_days: int = Field(default=90, ge=1, le=730)
    """Length of the window ``[t, t + horizon)`` whose spend tells how much segments say."""
    active_within_days: int | None = Field(default=None, ge=1)
    """Customers with an order kept in so many days; None: with any order."""
    maturity_days: int = Field(default=0, ge=0)
    """Days after the window until all its rows are known."""


class Segments:
    """Groups of customers, learned without any outcome."""

    config: SegmentsConfig
    kind: Kind = "segments"
    name = "segments"
    output = "segment"

    def __init__(self, config: SegmentsConfig) -> None:
        self.config = config
        active = config.active_within_days
        who = f"with an order in the last {active} days" if active else "who ever ordered"
        self.question = f"To which of a few segments does a customer {who} belong?"
        self.horizon_days, self.maturity_days = config.horizon_days, config.maturity_days
        self.spend: Task = Amount(
            AmountConfig(
                name=self.name,
                output="spend",
                question="How much will a customer spend in the next {horizon_days} days?",
                horizon_days=config.horizon_days,
                maturity_days=config.maturity_days,
                asked=Population(active_within_days=active or EVER),
            )
        )
        """The amount by which segments are judged, and never learned."""

    def spine(self, view: View) -> ir.Table:
        """Everyone who is segmented."""
        return self.spend.spine(view)

    def problems(self, source: Source) -> list[str]:
        """What the question needs and ``source`` does not bring."""
        return self.spend.problems(source)
