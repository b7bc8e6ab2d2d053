"""Churn without a contract: no purchase within the horizon, among customers who are active."""

from pydantic import Field

from features.settings import Strict
from training.questions import Population
from training.tasks.event import Event, EventConfig


class ChurnConfig(Strict):
    """What churn means here."""

    horizon_days: int = Field(default=90, ge=1, le=730)
    """Length of the window ``[t, t + horizon)`` in which nothing is bought."""
    active_within_days: int = Field(default=365, ge=1)
    """Asked about are customers with an order kept in ``[t - active_within, t)``."""
    maturity_days: int = Field(default=0, ge=0)
    """Days after the window until all its rows are known."""


class Churn(Event):
    """The event that an active customer buys nothing within the horizon."""

    config: ChurnConfig  # type: ignore[assignment]

    def __init__(self, config: ChurnConfig) -> None:
        event = EventConfig(
            name="churn",
            output="churn_probability",
            question=f"Will a customer with an order in the last {config.active_within_days} days "
            "buy nothing in the next {horizon_days} days?",
            horizon_days=config.horizon_days,
            maturity_days=config.maturity_days,
            asked=Population(active_within_days=config.active_within_days),
            absent=True,
        )
        super().__init__(event)
        self.config = config
