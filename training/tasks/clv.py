"""Customer lifetime value: spend of a horizon is learned, longer windows hang on to it."""

import ibis.expr.types as ir
from pydantic import Field, model_validator

from features import columns as c
from features.settings import Part, Strict
from features.views import View
from training.questions import KEYS, Population
from training.tasks.amount import Amount, AmountConfig

MINOR = 100
"""Minor units of a whole one."""


class ClvConfig(Strict):
    """Who is asked, how far the learned horizon reaches, and what money is worth."""

    horizon_days: int = Field(default=90, ge=1, le=730)
    """Length of the window ``[t, t + horizon)`` whose spend is learned."""
    maturity_days: int = Field(default=0, ge=0)
    """Days after the window until all its rows are known."""
    active_within_days: int | None = Field(default=None, ge=1)
    """Asked are customers with an order kept in ``[t - active_within, t)``; None: at any time."""
    wholesale_order: float | None = Field(default=None, gt=0)
    """Who had a single order of at least so much before the cutoff buys to sell: he is not asked.

    In whole units of the source's currency. The rule looks at the past alone, before any split.
    """
    windows_days: tuple[int, ...] = (90, 365, 1095, 1825)
    """Windows of lifetime value."""
    yearly_discount: float = 0.1
    """At 0.1 an amount in a year is worth 1 / 1.1 of one today."""
    gross_margin: float = 1.0
    """Share of spend that is left after the goods are paid for."""
    cost_of_service: float = 0.0
    """Share of spend that service costs."""
    coverage: float = 0.8
    """Share of intervals that hold what comes."""
    tier_days: int = 365
    """The window that value tiers are made by."""
    tier_shares: tuple[float, float] = (0.2, 0.3)
    """Shares of customers that are high and medium."""
    planned: dict[str, float] = {}
    """Cohort, such as 2024Q3 for those who first ordered then -> planned spend of the horizon."""
    churn_model: str = "churn"
    """Registered model that value is held against, if a version of it is approved."""

    @model_validator(mode="after")
    def _worth(self) -> "ClvConfig":
        from training.details.value import ValueConfig

        ValueConfig(**_value(self))
        return self


class Clv(Amount):
    """Net spend of the horizon; what it tells beside it is ``details/value.py``."""

    config: ClvConfig  # type: ignore[assignment]

    def __init__(self, config: ClvConfig) -> None:
        known = config.active_within_days or 3650
        who = (
            f"an order in the last {config.active_within_days} days"
            if config.active_within_days
            else "any order so far"
        )
        amount = AmountConfig(
            name="clv",
            output=f"spend_next_{config.horizon_days}d",
            question=f"How much will a customer with {who} spend in the next "
            "{horizon_days} days, and be worth beyond?",
            horizon_days=config.horizon_days,
            maturity_days=config.maturity_days,
            asked=Population(active_within_days=known),
        )
        super().__init__(amount)
        self.config = config
        self.details = Part(use="value.CustomerValue", config=_value(config))

    def spine(self, view: View) -> ir.Table:
        """Everyone asked, wholesale buyers left out."""
        asked = super().spine(view)
        if self.config.wholesale_order is None:
            return asked
        least = round(self.config.wholesale_order * MINOR)
        large = view.orders.filter(view.orders[c.AMOUNT] >= least)
        return asked.anti_join(large.select(*KEYS).distinct(), KEYS)


def _value(config: ClvConfig) -> dict[str, object]:
    """The part of the config that is about value, as plain data."""
    shared = (
        "horizon_days", "windows_days", "yearly_discount", "gross_margin", "cost_of_service",
        "coverage", "tier_days", "tier_shares", "planned", "churn_model",
    )  # fmt: skip
    told = config.model_dump(mode="json")
    return {name: told[name] for name in shared}
