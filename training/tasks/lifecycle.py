"""Lifecycle: in which stage a customer is, judged by who buys in the next period."""

import ibis.expr.types as ir
from pydantic import Field

from features.settings import Strict
from features.sources import Source
from features.views import View
from training.contract import Kind, Task
from training.questions import Population
from training.tasks.amount import Amount, AmountConfig


class LifecycleConfig(Strict):
    """How long a period is, and who is looked at."""

    period_days: int = Field(default=30, ge=1, le=366)
    """Length of a period, and of the window ``[t, t + period)`` that answers are judged by."""
    asked: Population = Population()
    """Everybody known, or fewer."""
    maturity_days: int = Field(default=0, ge=0)
    """Days after the window until all its rows are known."""


class Lifecycle:
    """Stages by rules, states learned without any outcome."""

    config: LifecycleConfig
    kind: Kind = "lifecycle"
    name = "lifecycle"
    output = "stage"

    def __init__(self, config: LifecycleConfig) -> None:
        self.config = config
        days = self.horizon_days = config.period_days
        self.maturity_days = config.maturity_days
        self.question = f"In which stage is a customer, and what follows in the next {days} days?"
        self.spend: Task = Amount(
            AmountConfig(
                name=self.name,
                output="spend",
                question="How much will a customer spend in the next {horizon_days} days?",
                horizon_days=days,
                maturity_days=config.maturity_days,
                asked=config.asked,
            )
        )
        """The amount by which stages are judged, and never learned."""

    def spine(self, view: View) -> ir.Table:
        """Everyone who is looked at."""
        return self.spend.spine(view)

    def problems(self, source: Source) -> list[str]:
        """What the question needs and ``source`` does not bring."""
        return self.spend.problems(source)
